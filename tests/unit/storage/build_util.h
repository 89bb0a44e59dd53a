#ifndef TESTS_UNIT_STORAGE_BUILD_UTIL_H
#define TESTS_UNIT_STORAGE_BUILD_UTIL_H

#include "storage/build.h"
#include "storage/extract.h"
#include "tests/unit/storage/nasty.h"

/* A directory that trees are built from, into memory, with a cache beside it. */
struct setup {
    char *top;
    char *src;
    char *cache;
    int fd;
    struct mem m;
    struct build_options o;
    struct build_report r;
};

static inline int
setup(void **state)
{
    struct setup *s = xcalloc(1, sizeof *s);
    struct err e = {0};

    s->top = scratch_dir();
    s->src = path_join(s->top, "src");
    s->cache = path_join(s->top, "cache");
    assert_ok(file_mkdirs(s->src, 0755, &e));
    s->fd = open_dir(s->src);
    mem_init(&s->m);
    s->o.policy = BUILD_SNAPSHOT;
    s->o.scan.everything = true;
    s->o.cache_path = s->cache;
    *state = s;
    return 0;
}

static inline int
teardown(void **state)
{
    struct setup *s = *state;

    build_report_free(&s->r);
    mem_free(&s->m);
    (void)close(s->fd);
    scratch_free(s->top);
    free(s->src);
    free(s->cache);
    free(s);
    return 0;
}

static inline void
build(struct setup *s)
{
    struct build_sink sink = mem_build_sink(&s->m);
    struct err e = {0};

    build_report_free(&s->r);
    assert_ok(build_tree(s->fd, &s->o, &sink, &s->r, &e));
}

/* Extract what was built last beside the source; the path, to be freed. */
static inline char *
extract(struct setup *s, const char *name, bool exact)
{
    struct extract_options o = {.fresh = true, .exact = exact};
    struct tree_source from = mem_source(&s->m);
    struct extract_report r;
    char *to = path_join(s->top, name);
    struct err e = {0};
    int fd;

    assert_int_equal(mkdir(to, 0700), 0);
    fd = open_dir(to);
    assert_ok(extract_tree(fd, &s->r.tree, &from, &o, &r, &e));
    (void)close(fd);
    return to;
}

#define build_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
