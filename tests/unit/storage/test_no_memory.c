#include "tests/unit/storage/snap_util.h"
#include "tests/unit/storage/tree_util.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/stat.h>
#include <zstd.h>

#include "storage/build.h"
#include "storage/fsck.h"
#include "storage/verify.h"

/* Without memory to decode with nothing is known of the bytes: no chunk is called bad. */
static bool none_left;

ZSTD_DCtx *
ZSTD_createDCtx(void)
{
    ZSTD_DCtx *(*real)(void);

    *(void **)&real = dlsym(RTLD_NEXT, "ZSTD_createDCtx");
    return none_left ? NULL : real();
}

static void
fsck__calls_nothing_damaged_without_memory(void **state)
{
    const struct fsck_options o = {.walk = walk_list};
    char *dir = scratch_dir();
    struct store *s = open_test_store(dir);
    struct fsck_result r = {0};

    (void)state;
    OK(snap_make(s, 1, 0, 20, e));
    store_close(s);
    none_left = true;
    FAILS(fsck_run(dir, &o, &r, e), ERR_SPACE);
    none_left = false;
    s = open_test_store(dir);
    snap_check(s, 1, 0, 20);
    store_close(s);
    OK(fsck_run(dir, &o, &r, e));
    assert_true(fsck_clean(&r));
    assert_int_equal(r.n_bad_packs, 0);
    scratch_free(dir);
}

/* Chunk 1 is text: it has to be decoded. */
static int
walk_reading(struct store *s, const struct sha256 *tree, gc_chunk_fn *chunk, void *arg,
             struct err *e)
{
    const struct sha256 id = snap_chunk_id(1);
    struct buf b = BUF_INIT;
    int rc = store_get(s, &id, &b, e);

    buf_free(&b);
    return rc == 0 ? walk_list(s, tree, chunk, arg, e) : -1;
}

/* The room that gc holds back on the disk is of no use then, and stays. */
static void
gc__keeps_its_reserve_where_it_is_memory_that_is_missing(void **state)
{
    const struct gc_options o = {.walk = walk_reading};
    char *dir = scratch_dir();
    char *reserve = path_join(dir, "reserve");
    struct store *s = open_test_store(dir);
    struct gc_result r;
    struct stat was;
    struct stat now;
    struct err err = {0};

    (void)state;
    OK(snap_make(s, 1, 0, 20, e));
    store_close(s);
    assert_int_equal(stat(reserve, &was), 0);
    s = open_test_store(dir);
    none_left = true;
    assert_int_equal(gc_run(s, &o, &r, &err), -1);
    none_left = false;
    assert_int_equal(err.code, ERR_SPACE);
    assert_int_equal(err.sys_errno, ENOMEM);
    store_close(s);
    assert_int_equal(stat(reserve, &now), 0);
    assert_int_equal(now.st_ino, was.st_ino);
    assert_int_equal(now.st_size, was.st_size);
    assert_int_equal(now.st_ctim.tv_sec, was.st_ctim.tv_sec);
    assert_int_equal(now.st_ctim.tv_nsec, was.st_ctim.tv_nsec);
    free(reserve);
    scratch_free(dir);
}

static void
count_file(void *arg, const char *path, size_t path_len, const struct err *why)
{
    (void)path;
    (void)path_len;
    (void)why;
    ++*(unsigned *)arg;
}

/* The tree's own chunk is read first, of a small tree as it is: content is then encoded.
 */
static void
verify__calls_nothing_damaged_without_memory(void **state)
{
    struct build_options o = {.policy = BUILD_SHIP};
    char *dir = scratch_dir();
    char *src = path_join(dir, "src");
    char *store = path_join(dir, "store");
    struct store *s = open_test_store(store);
    struct build_store_sink into = {.store = s};
    struct build_sink sink = build_sink_store(&into);
    struct verify_result sums = {0};
    struct build_report r;
    unsigned n_told = 0;
    int fd;

    (void)state;
    put_text(src, "a",
             "a text that goes on and on and on and on and on and on and on and on"
             " and on and on and on and on and on and on and on and on and on");
    fd = open_dir(src);
    OK(build_tree(fd, &o, &sink, &r, e));
    OK(store_commit(s, e));
    none_left = true;
    FAILS(verify_tree(s, &r.tree,
                      &(struct verify_options){.damaged = count_file, .arg = &n_told},
                      &sums, e),
          ERR_SPACE);
    assert_int_equal(n_told, 0);
    none_left = false;
    OK(verify_tree(s, &r.tree,
                   &(struct verify_options){.damaged = count_file, .arg = &n_told}, &sums,
                   e));
    assert_int_equal(n_told, 0);
    assert_int_equal(sums.n_damaged, 0);
    assert_int_equal(sums.n_entries, 2);
    build_report_free(&r);
    (void)close(fd);
    store_close(s);
    free(store);
    free(src);
    scratch_free(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fsck__calls_nothing_damaged_without_memory),
        cmocka_unit_test(gc__keeps_its_reserve_where_it_is_memory_that_is_missing),
        cmocka_unit_test(verify__calls_nothing_damaged_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
