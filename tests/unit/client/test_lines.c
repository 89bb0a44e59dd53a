#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

#include "base/buf.h"
#include "runner/client/lines.h"

/* All of text through lines, `step` bytes at a time; what is shown is text. */
static char *
through(struct lines *l, const char *text, size_t len, size_t step)
{
    struct buf out = BUF_INIT;

    for (size_t at = 0; at < len; at += step) {
        size_t n = len - at < step ? len - at : step;

        assert_int_equal(lines_take(l, at, (const uint8_t *)text + at, n, &out), n);
    }
    assert_true(lines_end(l, &out));
    return buf_steal(&out);
}

static void
lines__are_chosen_whole_in_whatever_pieces_they_come(void **state)
{
    static const char text[] = "one\ntwo\n\nthree two\nlast tw";
    static const struct {
        const char *re, *want;
    } cases[] = {
        {"two", "two\nthree two\n"}, {"^two$", "two\n"}, {"^$", "\n"}, {"tw$", "last tw"},
        {"e", "one\nthree two\n"},   {"absent", ""},     {"", text}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t step = 1; step <= sizeof text; step++) {
            regex_t re;
            struct lines_options o = {.stream = LOGSEG_OUT, .grep = &re};
            struct lines *l;
            char *got;

            assert_int_equal(regcomp(&re, cases[i].re, REG_EXTENDED), 0);
            l = lines_new(&o);
            got = through(l, text, sizeof text - 1, step);
            assert_string_equal(got, cases[i].want);
            free(got);
            lines_free(l);
            regfree(&re);
        }
    }
}

static void
lines__without_an_end_are_looked_at_in_pieces(void **state)
{
    regex_t re;
    struct lines_options o = {.stream = LOGSEG_OUT, .grep = &re};
    struct lines *l;
    struct buf out = BUF_INIT;
    size_t n = 2 * LINES_LINE_MAX + 5;
    uint8_t *data = xcalloc(n + 1, 1); /* a sanitizer's regexec wants a NUL */

    (void)state;
    assert_int_equal(regcomp(&re, "x", REG_EXTENDED), 0);
    l = lines_new(&o);
    memset(data, 'x', n);
    assert_int_equal(lines_take(l, 0, data, n, &out), n);
    assert_true(lines_end(l, &out));
    assert_int_equal(out.len, n + 2);
    assert_int_equal(out.data[LINES_LINE_MAX], '\n');
    assert_int_equal(out.data[n + 1], 'x');
    buf_free(&out);
    free(data);
    lines_free(l);
    regfree(&re);
}

static void
lines__in_one_place_are_as_they_were_written(void **state)
{
    const struct lines *open = NULL;
    struct lines_options oo = {.stream = LOGSEG_OUT, .open = &open};
    struct lines_options eo = {.stream = LOGSEG_ERR, .open = &open};
    struct lines *o = lines_new(&oo);
    struct lines *e = lines_new(&eo);
    struct buf out = BUF_INIT;
    size_t n = 2 * LINES_LINE_MAX + 5;
    uint8_t *data = xmalloc(n);

    (void)state;
    memset(data, 'x', n);
    assert_int_equal(lines_take(o, 0, data, n, &out), n);
    assert_true(lines_end(o, &out));
    assert_int_equal(out.len, n);
    assert_null(memchr(out.data, '\n', n));
    assert_int_equal(lines_take(e, 0, (const uint8_t *)"e\n", 2, &out), 2);
    assert_string_equal(buf_str(&out) + n, "\ne\n");
    buf_free(&out);
    free(data);
    lines_free(o);
    lines_free(e);
}

static void
lines__in_one_place_go_on_in_nobody_elses(void **state)
{
    const struct lines *open = NULL;
    struct lines_options oo = {.stream = LOGSEG_OUT, .open = &open};
    struct lines_options eo = {.stream = LOGSEG_ERR, .open = &open};
    struct lines *o = lines_new(&oo);
    struct lines *e = lines_new(&eo);
    struct buf both = BUF_INIT;

    (void)state;
    assert_int_equal(lines_take(o, 0, (const uint8_t *)"one\ntw", 6, &both), 6);
    assert_int_equal(lines_take(e, 0, (const uint8_t *)"a\nb", 3, &both), 3);
    assert_int_equal(lines_take(o, 6, (const uint8_t *)"o", 1, &both), 1);
    assert_true(lines_end(o, &both));
    assert_true(lines_end(e, &both));
    assert_string_equal(buf_str(&both), "one\na\ntwo\nb");
    buf_free(&both);
    lines_free(o);
    lines_free(e);
}

static void
feed(struct line_times *t, enum logseg_stream s, unsigned flags, uint64_t end,
     int64_t wall_ns)
{
    struct logseg_entry en = {s, flags, end, wall_ns};
    uint8_t raw[LOGSEG_ENTRY_BYTES];

    logseg_entry_format(&en, raw);
    for (size_t i = 0; i < sizeof raw; i += 7) { /* in pieces */
        size_t n = sizeof raw - i < 7 ? sizeof raw - i : 7;

        assert_int_equal(line_times_feed(t, raw + i, n), n);
    }
}

static void
times__are_waited_for_and_stand_before_their_lines(void **state)
{
    struct line_times *t = line_times_new(true, false);
    struct lines_options o = {.stream = LOGSEG_OUT, .times = t};
    struct lines *l;
    struct buf out = BUF_INIT;
    static const char text[] = "ab\ncd\nef";

    (void)state;
    assert_int_equal(setenv("TZ", "UTC", 1), 0);
    l = lines_new(&o);
    assert_int_equal(lines_take(l, 0, (const uint8_t *)text, 8, &out), 0);
    feed(t, LOGSEG_ERR, 0, 100, 5); /* of the other stream: says nothing */
    assert_int_equal(lines_take(l, 0, (const uint8_t *)text, 8, &out), 0);
    feed(t, LOGSEG_OUT, 0, 4, 1000000000); /* "ab\nc" */
    assert_int_equal(lines_take(l, 0, (const uint8_t *)text, 8, &out), 3);
    feed(t, LOGSEG_OUT, 0, 6, 2500000000); /* "d\n" */
    assert_int_equal(lines_take(l, 3, (const uint8_t *)text + 3, 5, &out), 5);
    assert_false(lines_end(l, &out));
    line_times_complete(t);
    assert_true(lines_end(l, &out));
    assert_string_equal(buf_str(&out), "1970-01-01 00:00:01.000 +0000 ab\n"
                                       "1970-01-01 00:00:02.500 +0000 cd\n"
                                       "- ef");
    buf_free(&out);
    lines_free(l);
    line_times_free(t);
}

static void
times__wait_when_too_many_have_no_lines_yet(void **state)
{
    struct line_times *t = line_times_new(true, true);
    struct lines_options o = {.stream = LOGSEG_OUT, .times = t};
    struct lines *l = lines_new(&o);
    struct logseg_entry en = {LOGSEG_OUT, 0, 0, 1};
    struct buf out = BUF_INIT;
    uint8_t raw[LOGSEG_ENTRY_BYTES];
    uint64_t n = 0;

    (void)state;
    do {
        en.end = ++n;
        logseg_entry_format(&en, raw);
        assert_true(n <= 1000000);
    } while (line_times_feed(t, raw, sizeof raw) == sizeof raw);
    assert_int_equal(lines_take(l, 0, (const uint8_t *)"\n\n\n", 3, &out), 3);
    assert_int_equal(line_times_feed(t, raw, sizeof raw), sizeof raw);
    buf_free(&out);
    lines_free(l);
    line_times_free(t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines__are_chosen_whole_in_whatever_pieces_they_come),
        cmocka_unit_test(lines__without_an_end_are_looked_at_in_pieces),
        cmocka_unit_test(lines__in_one_place_are_as_they_were_written),
        cmocka_unit_test(lines__in_one_place_go_on_in_nobody_elses),
        cmocka_unit_test(times__are_waited_for_and_stand_before_their_lines),
        cmocka_unit_test(times__wait_when_too_many_have_no_lines_yet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
