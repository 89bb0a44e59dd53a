#include "tests/unit/storage/snap_util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "storage/fsck.h"
#include "storage/pack.h"

/* A page of a pack that the disk does not give back any more, however often it is asked.
 */
#define PAGE   ((off_t)4096)
#define CHUNKS 40

static ino_t bad_file; /* 0: none */
static off_t bad_at;

ssize_t
pread(int fd, void *to, size_t len, off_t at)
{
    struct stat st;

    if (bad_file != 0 && len > 0 && fstat(fd, &st) == 0 && st.st_ino == bad_file &&
        at < bad_at + PAGE && at + (off_t)len > bad_at) {
        if (at < bad_at) {
            len = (size_t)(bad_at - at); /* as the kernel does: what comes before */
        } else {
            errno = EIO;
            return -1;
        }
    }
    return syscall(SYS_pread64, fd, to, len, at);
}

ssize_t
pread64(int fd, void *to, size_t len, off64_t at)
{
    return pread(fd, to, len, at);
}

/* A store with one pack of content, and where in it each chunk lies, the list last. */
static char *
make_store(struct store_loc locs[CHUNKS + 1], off_t *size)
{
    char *dir = scratch_dir();
    char *packs = path_join(dir, "packs");
    struct store *s = open_test_store(dir);
    struct sha256 tree;
    struct dirent *en;
    struct stat st;
    DIR *d;

    OK(snap_make(s, 1, 0, CHUNKS, e));
    for (uint64_t i = 0; i < CHUNKS; i++) {
        struct sha256 id = snap_chunk_id(i);

        OK(store_locate(s, &id, 1, &locs[i], e));
    }
    OK(snap_put_tree(s, 0, CHUNKS, &tree, e));
    OK(store_locate(s, &tree, 1, &locs[CHUNKS], e));
    store_close(s);
    d = opendir(packs);
    assert_non_null(d);
    *size = 0;
    while ((en = readdir(d)) != NULL) {
        if (strstr(en->d_name, ".pack") != NULL) {
            assert_int_equal(*size, 0);
            assert_int_equal(fstatat(dirfd(d), en->d_name, &st, 0), 0);
            bad_file = st.st_ino;
            *size = st.st_size;
        }
    }
    assert_true(*size > 4 * PAGE);
    (void)closedir(d);
    free(packs);
    return dir;
}

static bool
is_hit_at(const struct store_loc *loc, off_t page)
{
    off_t from = (off_t)loc->offset;

    return from < page + PAGE &&
           from + (off_t)PACK_ENTRY_LEN + (off_t)loc->stored_len > page;
}

static bool
is_hit(const struct store_loc *loc)
{
    return is_hit_at(loc, bad_at);
}

/* Only what lies on the page may be lost; that is put again, and all is well. */
static void
check_rest(const char *dir, const struct store_loc locs[CHUNKS + 1])
{
    struct fsck_options o = {.walk = walk_list};
    struct fsck_result r = {0};
    struct store *s = open_test_store(dir);
    struct sha256 tree;

    for (uint64_t i = 0; i < CHUNKS; i++) {
        if (!is_hit(&locs[i])) {
            check_chunk(s, i, SNAP_CHUNK);
        }
    }
    OK(snap_put_tree(s, 0, CHUNKS, &tree, e));
    OK(store_commit(s, e));
    snap_check(s, 1, 0, CHUNKS);
    store_close(s);
    OK(fsck_run(dir, &o, &r, e));
    assert_true(fsck_clean(&r));
    assert_int_equal(r.n_bad_packs, 0);
    assert_int_equal(run_gc(dir).n_live, CHUNKS + 1);
}

static int
name_none(struct store *s, const struct sha256 *tree, fsck_missing_fn *missing,
          void *missing_arg, fsck_file_fn *file, void *file_arg, struct err *e)
{
    (void)s;
    (void)tree;
    (void)missing;
    (void)missing_arg;
    (void)e;
    (void)file;
    (void)file_arg;
    return 0;
}

static void
fsck__loses_no_more_than_a_bad_sector_holds(void **state)
{
    const struct fsck_options o = {.walk = walk_list, .files = name_none};
    off_t size = 1;

    (void)state;
    for (off_t at = 0; at < size; at += PAGE) {
        struct store_loc locs[CHUNKS + 1];
        struct fsck_result r = {0};
        char *dir;
        uint64_t n_hit = 0;

        bad_file = 0;
        dir = make_store(locs, &size);
        bad_at = at;
        for (size_t i = 0; i <= CHUNKS; i++) {
            n_hit += is_hit(&locs[i]);
        }
        OK(fsck_run(dir, &o, &r, e));
        assert_int_equal(r.n_bad_packs, 1);
        assert_true(r.n_bad_chunks <= n_hit);
        check_rest(dir, locs);
        bad_file = 0;
        scratch_free(dir);
    }
}

static void
rebuild__loses_no_more_than_a_bad_sector_holds(void **state)
{
    off_t size = 1;

    (void)state;
    for (off_t at = 0; at < size; at += PAGE) {
        struct store_loc locs[CHUNKS + 1];
        char *dir;
        char *db;

        bad_file = 0;
        dir = make_store(locs, &size);
        db = path_join(dir, "index.db");
        bad_at = at;
        assert_int_equal(unlink(db), 0);
        store_close(open_test_store(dir));
        if (at + PAGE < size) {
            const struct fsck_options o = {.walk = walk_list, .files = name_none};
            struct fsck_result r = {0};

            OK(fsck_run(dir, &o, &r, e)); /* the table alone tells of no bad sector */
        }
        check_rest(dir, locs);
        bad_file = 0;
        free(db);
        scratch_free(dir);
    }
}

/* Its pack is left to fsck, and nothing else waits for that, but where the list is lost.
 */
static void
gc__passes_over_a_bad_sector(void **state)
{
    struct store_loc locs[CHUNKS + 1];
    off_t size = 1;

    (void)state;
    for (off_t at = 0; at < size; at += PAGE) {
        struct store *s;
        char *dir;

        bad_file = 0;
        dir = make_store(locs, &size);
        bad_at = is_hit_at(&locs[CHUNKS], at) ? size : at;
        s = open_test_store(dir);
        OK(snap_make(s, 2, 500, 510, e));
        drop_snap(s, 2);
        store_close(s);
        (void)run_gc(dir);
        assert_int_equal(run_gc(dir).n_deleted, 11);
        bad_file = 0;
        scratch_free(dir);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fsck__loses_no_more_than_a_bad_sector_holds),
        cmocka_unit_test(rebuild__loses_no_more_than_a_bad_sector_holds),
        cmocka_unit_test(gc__passes_over_a_bad_sector),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
