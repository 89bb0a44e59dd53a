#include "storage/scache.h"
#include "tests/unit/storage/build_util.h"

/* What a build takes from the scan cache, and when it does not. */

static void
cache__makes_an_unchanged_tree_cost_no_reading(void **state)
{
    struct setup *s = *state;
    struct sha256 first;

    make_nasty(s->src);
    let_time_pass();
    build(s);
    first = s->r.tree;
    assert_true(s->r.read_bytes > 0 && !s->r.had_cache);
    build(s);
    assert_true(s->r.had_cache);
    assert_memory_equal(&first, &s->r.cache_tree, sizeof first);
    assert_memory_equal(&first, &s->r.tree, sizeof first);
    assert_int_equal(s->r.read_bytes, 0);
}

static void
cache__lets_only_the_group_of_a_changed_file_be_read(void **state)
{
    struct setup *s = *state;
    struct sha256 cached;

    for (int i = 0; i < 2000; i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "d%d/file%d", i / 100, i);
        put_random(s->src, name, 2000, (uint64_t)i);
    }
    let_time_pass();
    build(s);
    put_random(s->src, "d7/file750", 2000, 99);
    build(s);
    cached = s->r.tree;
    assert_true(s->r.read_bytes >= 2000 && s->r.read_bytes < 200000);
    assert_true(s->r.known_groups > 10);
    s->o.cache_path = NULL;
    build(s);
    assert_memory_equal(&cached, &s->r.tree, sizeof cached);
}

/* Of the groups that are asked about every third one has lost its chunks. */
struct asked {
    struct mem *m;
    size_t n_calls;
    size_t n_groups;
    uint64_t lost_bytes;
};

static int
put_asked(void *ctx, enum store_kind kind, struct build_chunk *chunks, size_t n,
          struct err *e)
{
    struct asked *a = ctx;
    struct build_sink sink = mem_build_sink(a->m);

    return sink.put(sink.ctx, kind, chunks, n, e);
}

static int
lose_a_third(void *ctx, struct build_known *groups, size_t n, struct err *e)
{
    struct asked *a = ctx;

    (void)e;
    a->n_calls++;
    for (size_t i = 0; i < n; i++) {
        groups[i].need_data = a->n_groups++ % 3 == 0;
        for (size_t k = 0; groups[i].need_data && k < groups[i].n; k++) {
            a->lost_bytes += groups[i].chunks[k].len;
        }
    }
    return 0;
}

static void
cache__is_asked_about_by_many_groups_at_a_time(void **state)
{
    struct setup *s = *state;
    struct asked a = {.m = &s->m};
    struct build_sink sink = {.ctx = &a, .put = put_asked, .known = lose_a_third};
    struct sha256 whole;
    struct err e = {0};

    for (int i = 0; i < 6000; i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "d%d/file%d", i / 100, i);
        put_random(s->src, name, 2000, (uint64_t)i);
    }
    let_time_pass();
    build(s);
    whole = s->r.tree;
    build_report_free(&s->r);
    assert_ok(build_tree(s->fd, &s->o, &sink, &s->r, &e));
    assert_memory_equal(&whole, &s->r.tree, sizeof whole);
    assert_true(a.n_groups > 100 && a.n_calls < a.n_groups / 4);
    assert_true(a.lost_bytes > 0);
    assert_int_equal(s->r.read_bytes, a.lost_bytes);
    assert_int_equal(s->r.known_groups, a.n_groups - (a.n_groups + 2) / 3);
}

/* Two programs look at one directory at the same time: one keeps its cache, both go on.
 */
static void
cache__is_written_by_one_at_a_time(void **state)
{
    struct setup *s = *state;
    struct scache_writer *other;
    struct sha256 tree;
    struct err e = {0};

    put_random(s->src, "f", 2000, 1);
    let_time_pass();
    build(s);
    tree = s->r.tree;
    assert_ok(scache_create(&other, s->cache, &e));
    build(s);
    assert_memory_equal(&tree, &s->r.tree, sizeof tree);
    assert_int_equal(s->r.read_bytes, 0); /* the old cache still stands */
    assert_ok(scache_commit(other, &tree, 0, &e));
    build(s);
    assert_memory_equal(&tree, &s->r.tree, sizeof tree);
    build(s);
    assert_int_equal(s->r.read_bytes, 0);
}

static void
cache__needs_no_content_for_a_directory_whose_time_changed(void **state)
{
    struct setup *s = *state;
    char *tmp = path_join(s->src, "d/tmp");
    struct sha256 first;

    put_random(s->src, "d/a", 5000, 1);
    put_random(s->src, "d/b", 5000, 2);
    let_time_pass();
    build(s);
    first = s->r.tree;
    put_text(s->src, "d/tmp", "x");
    assert_int_equal(unlink(tmp), 0);
    build(s);
    assert_int_equal(s->r.read_bytes, 0);
    assert_memory_not_equal(&first, &s->r.tree, sizeof first);
    free(tmp);
}

/* Same size, same mtime, changed right after the build looked: the classic trap. */
static void
cache__is_right_for_files_changed_in_the_same_instant(void **state)
{
    struct setup *s = *state;
    char *path = path_join(s->src, "f");
    struct tree_source from = mem_source(&s->m);

    (void)from;
    put_text(s->src, "other", "x");
    for (uint64_t i = 0; i < 60; i++) {
        struct sha256 cached;

        put_random(s->src, "f", 100, 2 * i);
        set_mtime(s->src, "f", 1700000000, 0);
        build(s);
        put_random(s->src, "f", 100, 2 * i + 1);
        set_mtime(s->src, "f", 1700000000, 0);
        build(s);
        cached = s->r.tree;
        s->o.cache_path = NULL;
        build(s);
        s->o.cache_path = s->cache;
        assert_memory_equal(&cached, &s->r.tree, sizeof cached);
    }
    free(path);
}

static void
cache__that_is_damaged_anywhere_does_no_harm(void **state)
{
    struct setup *s = *state;
    struct buf good = BUF_INIT;
    struct err e = {0};
    struct sha256 want;

    for (int i = 0; i < 300; i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "d%d/file%d", i / 50, i);
        put_random(s->src, name, 3000, (uint64_t)i);
    }
    let_time_pass();
    build(s);
    want = s->r.tree;
    assert_ok(file_read(s->cache, 1 << 24, &good, &e));
    s->o.no_cache_write = true;
    for (size_t i = 0; i < good.len; i += 1 + good.len / 97) {
        good.data[i] ^= 0x10;
        put_file(s->top, "cache", good.data, good.len);
        good.data[i] ^= 0x10;
        build(s);
        assert_memory_equal(&want, &s->r.tree, sizeof want);
        put_file(s->top, "cache", good.data, i);
        build(s);
        assert_memory_equal(&want, &s->r.tree, sizeof want);
    }
    buf_free(&good);
}

static struct err *failing_with;

static int
fail_put(void *ctx, enum store_kind kind, struct build_chunk *chunks, size_t n,
         struct err *e)
{
    (void)ctx;
    (void)kind;
    (void)chunks;
    (void)n;
    *e = *failing_with;
    return -1;
}

static void
build__that_fails_leaves_the_cache_as_it_was(void **state)
{
    struct setup *s = *state;
    struct build_sink sink = {.put = fail_put};
    struct err full = {0};
    struct err e = {0};
    struct buf before = BUF_INIT;
    struct buf after = BUF_INIT;
    struct build_report r;
    char *tmp = xasprintf("%s.tmp", s->cache);

    put_random(s->src, "a", 1000, 1);
    put_random(s->src, "b", 4 << 20, 1);
    let_time_pass();
    build(s);
    assert_ok(file_read(s->cache, 1 << 24, &before, &e));
    put_random(s->src, "a", 1000, 2);
    put_random(s->src, "b", 4 << 20, 2);
    (void)err_set(&full, ERR_SPACE, "no room");
    failing_with = &full;
    assert_refused(build_tree(s->fd, &s->o, &sink, &r, &e), ERR_SPACE);
    assert_string_equal(e.msg, "no room");
    assert_ok(file_read(s->cache, 1 << 24, &after, &e));
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    assert_false(file_exists(tmp));
    buf_free(&before);
    buf_free(&after);
    free(tmp);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        build_test(cache__makes_an_unchanged_tree_cost_no_reading),
        build_test(cache__lets_only_the_group_of_a_changed_file_be_read),
        build_test(cache__is_asked_about_by_many_groups_at_a_time),
        build_test(cache__is_written_by_one_at_a_time),
        build_test(cache__needs_no_content_for_a_directory_whose_time_changed),
        build_test(cache__is_right_for_files_changed_in_the_same_instant),
        build_test(cache__that_is_damaged_anywhere_does_no_harm),
        build_test(build__that_fails_leaves_the_cache_as_it_was),
    };

    scratch_on_disk();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
