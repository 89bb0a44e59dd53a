#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/file.h"
#include "runner/job/logseg.h"

struct place {
    char dir[64];
    int fd;
};

static int
place_open(void **state)
{
    struct place *p = xcalloc(1, sizeof *p);

    (void)snprintf(p->dir, sizeof p->dir, "/tmp/test_logseg.XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(p->fd != -1);
    *state = p;
    return 0;
}

static int
place_close(void **state)
{
    struct place *p = *state;
    struct err e = {0};

    (void)close(p->fd);
    assert_int_equal(file_remove_tree(p->dir, &e), 0);
    free(p);
    return 0;
}

static void
log__gives_back_what_was_written(void **state)
{
    struct place *p = *state;
    struct logw *w = NULL;
    struct logr *r = NULL;
    struct err e = {0};
    char got[64] = {0};
    size_t n = 0;
    uint64_t skip = 0;
    uint64_t end = 0;

    assert_int_equal(logw_open(&w, p->fd, 0, &e), 0);
    assert_int_equal(logr_open(&r, p->fd, &e), 0);
    logw_write(w, LOGSEG_OUT, "hello ", 6, 1);
    logw_write(w, LOGSEG_ERR, "oops", 4, 2);
    logw_write(w, LOGSEG_OUT, "world", 5, 3);
    assert_int_equal(logw_end(w, LOGSEG_OUT), 11);
    assert_int_equal(logr_read(r, LOGSEG_OUT, 0, 0, got, sizeof got, &n, &skip, &e), 0);
    assert_int_equal(n, 11);
    assert_memory_equal(got, "hello world", 11);
    assert_int_equal(logr_read(r, LOGSEG_OUT, 6, 9, got, sizeof got, &n, &skip, &e), 0);
    assert_int_equal(n, 3);
    assert_memory_equal(got, "wor", 3);
    assert_int_equal(logr_read(r, LOGSEG_OUT, 11, 0, got, sizeof got, &n, &skip, &e), 0);
    assert_int_equal(n, 0);
    assert_int_equal(skip, 11);
    assert_int_equal(logr_end(r, LOGSEG_ERR, &end, &e), 0);
    assert_int_equal(end, 4);
    assert_int_equal(logw_sync(w, &e), 0);
    assert_false(logw_dirty(w));
    logw_close(w);
    logr_close(r);
}

static void
log__index_tells_order_and_time(void **state)
{
    struct place *p = *state;
    struct logw *w = NULL;
    struct logr *r = NULL;
    struct err e = {0};
    struct logseg_entry en[8];
    size_t n = 0;

    assert_int_equal(logw_open(&w, p->fd, 0, &e), 0);
    assert_int_equal(logr_open(&r, p->fd, &e), 0);
    logw_write(w, LOGSEG_OUT, "a", 1, 1000);
    logw_write(w, LOGSEG_OUT, "b", 1, 2000); /* the same millisecond: one entry */
    logw_write(w, LOGSEG_ERR, "c", 1, 3000);
    logw_write(w, LOGSEG_OUT, "d", 1, 5000000);
    assert_int_equal(logw_sync(w, &e), 0);
    assert_int_equal(logr_index(r, 0, en, 8, &n, &e), 0);
    assert_int_equal(n, 3);
    assert_int_equal(en[0].stream, LOGSEG_OUT);
    assert_int_equal(en[0].end, 2);
    assert_int_equal(en[0].wall_ns, 2000);
    assert_int_equal(en[1].stream, LOGSEG_ERR);
    assert_int_equal(en[2].end, 3);
    assert_int_equal(logr_index(r, 2, en, 8, &n, &e), 0);
    assert_int_equal(n, 1);
    logw_close(w);
    logr_close(r);
}

/* Fill 4 MiB through a cap of 1 MiB: old segments go, offsets stay. */
static void
log__drops_whole_old_segments_above_the_cap(void **state)
{
    struct place *p = *state;
    struct logw *w = NULL;
    struct logr *r = NULL;
    struct err e = {0};
    uint8_t block[65536];
    uint8_t got[16];
    size_t n = 0;
    uint64_t skip = 0;
    const uint64_t end = 64 * sizeof block;

    assert_int_equal(logw_open(&w, p->fd, LOGSEG_CAP_MIN, &e), 0);
    for (int i = 0; i < 64; i++) {
        memset(block, i, sizeof block);
        logw_write(w, LOGSEG_OUT, block, sizeof block, i);
    }
    assert_int_equal(logw_end(w, LOGSEG_OUT), end);
    assert_true(logw_dropped(w) >= end - LOGSEG_CAP_MIN);
    assert_true(logw_dropped(w) < end);
    assert_int_equal(logr_open(&r, p->fd, &e), 0);
    assert_int_equal(logr_read(r, LOGSEG_OUT, 5, end, got, sizeof got, &n, &skip, &e), 0);
    assert_int_equal(n, 0);
    assert_int_equal(skip, logw_dropped(w));
    assert_int_equal(logr_read(r, LOGSEG_OUT, skip, end, got, 1, &n, &skip, &e), 0);
    assert_int_equal(n, 1);
    assert_int_equal(got[0], skip / sizeof block);
    logw_close(w);
    logr_close(r);
}

static void
log__drops_acknowledged_segments_first(void **state)
{
    struct place *p = *state;
    struct logw *w = NULL;
    struct logr *r = NULL;
    struct err e = {0};
    uint8_t block[65536] = {0};
    uint8_t got[16];
    size_t n = 0;
    uint64_t skip = 0;

    assert_int_equal(logw_open(&w, p->fd, LOGSEG_CAP_MIN, &e), 0);
    logw_write(w, LOGSEG_ERR, block, sizeof block, 1); /* old, and nobody has it */
    logw_write(w, LOGSEG_ERR, "x", 1, 1);
    for (int i = 0; i < 64; i++) {
        logw_write(w, LOGSEG_OUT, block, sizeof block, i);
        logw_acked(w, LOGSEG_OUT, logw_end(w, LOGSEG_OUT));
    }
    assert_int_equal(logr_open(&r, p->fd, &e), 0);
    assert_int_equal(logr_read(r, LOGSEG_ERR, 0, 0, got, sizeof got, &n, &skip, &e), 0);
    assert_int_equal(n, sizeof got);
    logw_close(w);
    logr_close(r);
}

static void
log__goes_on_after_an_earlier_writer(void **state)
{
    struct place *p = *state;
    struct logw *w = NULL;
    struct logr *r = NULL;
    struct err e = {0};
    char got[8] = {0};
    size_t n = 0;
    uint64_t skip = 0;

    assert_int_equal(logw_open(&w, p->fd, 0, &e), 0);
    logw_write(w, LOGSEG_OUT, "abc", 3, 1);
    logw_close(w);
    assert_int_equal(logw_open(&w, p->fd, 0, &e), 0);
    assert_int_equal(logw_end(w, LOGSEG_OUT), 3);
    logw_write(w, LOGSEG_OUT, "def", 3, 2);
    assert_int_equal(logr_open(&r, p->fd, &e), 0);
    assert_int_equal(logr_read(r, LOGSEG_OUT, 3, 0, got, sizeof got, &n, &skip, &e), 0);
    assert_int_equal(n, 3);
    assert_memory_equal(got, "def", 3);
    logw_close(w);
    logr_close(r);
}

/* A hole at the very end is only known from the recorded end. */
static void
log__a_hole_nothing_follows_reaches_to_the_end(void **state)
{
    struct place *p = *state;
    struct logw *w = NULL;
    struct logr *r = NULL;
    struct err e = {0};
    char got[8];
    size_t n = 1;
    uint64_t skip = 0;

    assert_int_equal(logw_open(&w, p->fd, 0, &e), 0);
    logw_write(w, LOGSEG_OUT, "abc", 3, 1);
    assert_int_equal(logr_open(&r, p->fd, &e), 0);
    assert_int_equal(logr_read(r, LOGSEG_OUT, 3, 10, got, sizeof got, &n, &skip, &e), 0);
    assert_int_equal(n, 0);
    assert_int_equal(skip, 10);
    logw_close(w);
    logr_close(r);
}

static void
names__are_read_strictly(void **state)
{
    enum logseg_stream s;
    uint64_t start;
    char name[LOGSEG_NAME_MAX];

    (void)state;
    logseg_name(LOGSEG_ERR, 67108864, name);
    assert_string_equal(name, "err.00000000000067108864");
    assert_true(logseg_name_parse(name, &s, &start));
    assert_int_equal(s, LOGSEG_ERR);
    assert_int_equal(start, 67108864);
    assert_false(logseg_name_parse("out.1", &s, &start));
    assert_false(logseg_name_parse("out.0000000000000000000x", &s, &start));
    assert_false(logseg_name_parse("out.99999999999999999999", &s, &start));
    assert_false(logseg_name_parse("index", &s, &start));
    assert_false(logseg_name_parse("", &s, &start));
}

static void
tail__begins_n_lines_before_the_end(void **state)
{
    static const struct {
        const char *text;
        int64_t lines;
        uint64_t start;
    } cases[] = {
        {"", 1, 0},        {"a", 1, 0},          {"a\n", 1, 0},    {"a\nb", 1, 2},
        {"a\nb\n", 1, 2},  {"a\nb\n", 2, 0},     {"a\nb\n", 9, 0}, {"a\n\n\n", 1, 3},
        {"a\n\n\n", 2, 2}, {"a\nbc\nd\n", 2, 2}, {"\n", 1, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        void *inner = NULL;
        struct place *p;
        struct logw *w = NULL;
        struct logr *r = NULL;
        struct err e = {0};
        uint64_t start = 99;

        assert_int_equal(place_open(&inner), 0);
        p = inner;
        assert_int_equal(logw_open(&w, p->fd, 0, &e), 0);
        logw_write(w, LOGSEG_OUT, cases[i].text, strlen(cases[i].text), 1);
        assert_int_equal(logr_open(&r, p->fd, &e), 0);
        assert_int_equal(
            logr_tail(r, LOGSEG_OUT, strlen(cases[i].text), cases[i].lines, &start, &e),
            0);
        if (start != cases[i].start) {
            fail_msg("case %zu: %llu", i, (unsigned long long)start);
        }
        logr_close(r);
        logw_close(w);
        assert_int_equal(place_close(&inner), 0);
    }
}

/* Lines that cross the blocks in which a tail is looked for, and a hole before them. */
static void
tail__looks_through_blocks_and_stops_at_a_hole(void **state)
{
    struct place *p = *state;
    struct logw *w = NULL;
    struct logr *r = NULL;
    struct err e = {0};
    char *text = xmalloc(300000);
    char name[LOGSEG_NAME_MAX];
    uint64_t start = 0;
    int fd;

    memset(text, 'x', 300000);
    text[99999] = text[199999] = text[299999] = '\n';
    assert_int_equal(logw_open(&w, p->fd, 0, &e), 0);
    logw_write(w, LOGSEG_OUT, text, 300000, 1);
    assert_int_equal(logr_open(&r, p->fd, &e), 0);
    assert_int_equal(logr_tail(r, LOGSEG_OUT, 300000, 2, &start, &e), 0);
    assert_int_equal(start, 100000);
    assert_int_equal(logr_tail(r, LOGSEG_OUT, 300000, 3, &start, &e), 0);
    assert_int_equal(start, 0);
    logr_close(r);
    logw_close(w);

    /* The first 70,000 bytes are gone. */
    logseg_name(LOGSEG_OUT, 0, name);
    assert_int_equal(unlinkat(p->fd, name, 0), 0);
    logseg_name(LOGSEG_OUT, 70000, name);
    fd = openat(p->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, text + 70000, 230000), 230000);
    assert_int_equal(close(fd), 0);
    assert_int_equal(logr_open(&r, p->fd, &e), 0);
    assert_int_equal(logr_tail(r, LOGSEG_OUT, 300000, 3, &start, &e), 0);
    assert_int_equal(start, 70000);
    assert_int_equal(logr_tail(r, LOGSEG_OUT, 300000, 2, &start, &e), 0);
    assert_int_equal(start, 100000);
    logr_close(r);
    free(text);
}

static void
since__begins_behind_what_was_written_before(void **state)
{
    struct place *p = *state;
    struct logw *w = NULL;
    struct logr *r = NULL;
    struct err e = {0};
    const int64_t s = INT64_C(1000000000);
    static const struct {
        int64_t at_s;
        uint64_t out, err;
    } cases[] = {{0, 0, 0}, {1, 0, 0}, {2, 3, 0}, {3, 3, 2}, {4, 7, 2}, {9, 7, 2}};

    assert_int_equal(logw_open(&w, p->fd, 0, &e), 0);
    logw_write(w, LOGSEG_OUT, "abc", 3, 1 * s);
    logw_write(w, LOGSEG_ERR, "de", 2, 2 * s);
    logw_write(w, LOGSEG_OUT, "fghi", 4, 3 * s);
    assert_int_equal(logw_sync(w, &e), 0);
    assert_int_equal(logr_open(&r, p->fd, &e), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t start = 99;

        assert_int_equal(logr_since(r, LOGSEG_OUT, cases[i].at_s * s, &start, &e), 0);
        assert_int_equal(start, cases[i].out);
        assert_int_equal(logr_since(r, LOGSEG_ERR, cases[i].at_s * s, &start, &e), 0);
        assert_int_equal(start, cases[i].err);
    }
    logr_close(r);
    logw_close(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tail__begins_n_lines_before_the_end),
        cmocka_unit_test_setup_teardown(tail__looks_through_blocks_and_stops_at_a_hole,
                                        place_open, place_close),
        cmocka_unit_test_setup_teardown(since__begins_behind_what_was_written_before,
                                        place_open, place_close),
        cmocka_unit_test_setup_teardown(log__gives_back_what_was_written, place_open,
                                        place_close),
        cmocka_unit_test_setup_teardown(log__index_tells_order_and_time, place_open,
                                        place_close),
        cmocka_unit_test_setup_teardown(log__drops_whole_old_segments_above_the_cap,
                                        place_open, place_close),
        cmocka_unit_test_setup_teardown(log__drops_acknowledged_segments_first,
                                        place_open, place_close),
        cmocka_unit_test_setup_teardown(log__goes_on_after_an_earlier_writer, place_open,
                                        place_close),
        cmocka_unit_test_setup_teardown(log__a_hole_nothing_follows_reaches_to_the_end,
                                        place_open, place_close),
        cmocka_unit_test(names__are_read_strictly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
