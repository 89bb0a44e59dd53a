#include "tests/unit/storage/snap_util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
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

ssize_t
read(int fd, void *to, size_t len)
{
    off_t at = bad_file == 0 ? 0 : lseek(fd, 0, SEEK_CUR);
    struct stat st;

    if (bad_file != 0 && len > 0 && fstat(fd, &st) == 0 && st.st_ino == bad_file &&
        at < bad_at + PAGE && at + (off_t)len > bad_at) {
        if (at < bad_at) {
            len = (size_t)(bad_at - at);
        } else {
            errno = EIO;
            return -1;
        }
    }
    return syscall(SYS_read, fd, to, len);
}

static void
make_bad(const char *dir, const char *file, off_t at)
{
    char *path = path_join(dir, file);
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    bad_file = st.st_ino;
    bad_at = at;
    free(path);
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

/* ---- can every byte be read? ---- */

/* Looked at a MiB at a time: each page counts, those at the borders and the last, too. */
static void
check_readable__finds_the_one_page_that_is_bad(void **state)
{
    const off_t mib = (off_t)1 << 20;
    const off_t size = 2 * mib + PAGE + 100;
    const off_t at[] = {0, mib - PAGE, mib, 2 * mib - PAGE, 2 * mib, 2 * mib + PAGE};
    char *dir = scratch_dir();
    char *path = path_join(dir, "pack");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat st;
    struct err err = {0};

    (void)state;
    bad_file = 0;
    OK(pack_check_readable(fd, e)); /* of none */
    assert_int_equal(ftruncate(fd, size), 0);
    OK(pack_check_readable(fd, e));
    assert_int_equal(fstat(fd, &st), 0);
    bad_file = st.st_ino;
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        bad_at = at[i];
        assert_int_equal(pack_check_readable(fd, &err), -1);
        assert_int_equal(err.sys_errno, EIO);
        assert_true(pack_is_damage(&err));
    }
    bad_at = size; /* behind its end */
    OK(pack_check_readable(fd, e));
    assert_int_equal(ftruncate(fd, (off_t)PACK_FILE_MAX + 1), 0);
    FAILS(pack_check_readable(fd, e), ERR_CORRUPT);
    bad_file = 0;
    assert_int_equal(close(fd), 0);
    free(path);
    scratch_free(dir);
}

/* ---- packs that the index does not know ---- */

/* One of a writer that died; then a page of it cannot be read. */
static char *
leave_orphan(const char *dir)
{
    char *packs = path_join(dir, "packs");
    char file[PACK_FILE_NAME_BYTES];
    char *path;
    uint8_t data[3 * PAGE];
    struct pack_writer *w = NULL;
    struct pack_entry en = {
        .raw_len = sizeof data, .stored_len = sizeof data, .codec = 1, .kind = 1};
    struct stat st;
    int fd = open(packs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    OK(pack_create(&w, fd, e));
    for (uint64_t i = 0; i < 2; i++) {
        fill_random(data, sizeof data, 77 + i);
        sha256_of(data, sizeof data, &en.id);
        pack_reserve(w, &en);
        OK(pack_write_entry(w, &en, data, e));
    }
    pack_file_name(&w->name, file);
    pack_writer_free(w, fd, false);
    path = path_join(packs, file);
    assert_int_equal(stat(path, &st), 0);
    bad_file = st.st_ino;
    bad_at = PAGE;
    assert_int_equal(close(fd), 0);
    free(packs);
    return path;
}

static void
count_orphan_lines(void *arg, const struct err *line)
{
    *(unsigned *)arg += strstr(line->msg, "is left alone") != NULL ? 1 : 0;
}

static void
gc__goes_on_beside_an_orphan_that_it_cannot_read(void **state)
{
    const struct fsck_options check = {.walk = walk_list, .files = name_none};
    unsigned n_said = 0;
    const struct gc_options o = {
        .walk = walk_list, .say = count_orphan_lines, .say_arg = &n_said};
    struct store_loc locs[CHUNKS + 1];
    struct fsck_result f = {0};
    struct gc_result r;
    struct store *s;
    off_t size;
    char *dir = make_store(locs, &size);
    char *orphan;

    (void)state;
    s = open_test_store(dir);
    OK(snap_make(s, 2, 500, 510, e));
    drop_snap(s, 2);
    store_close(s);
    orphan = leave_orphan(dir);
    s = open_test_store(dir);
    OK(gc_run(s, &o, &r, e));
    store_close(s);
    assert_int_equal(r.n_condemned, 11);
    assert_int_equal(r.n_unreadable, 1);
    assert_int_equal(r.n_orphans, 0);
    assert_int_equal(n_said, 1);
    r = run_gc(dir);
    assert_int_equal(r.n_deleted, 11);
    assert_int_equal(r.n_unreadable, 1);
    assert_true(file_exists(orphan));

    OK(fsck_run(dir, &check, &f, e));
    assert_int_equal(f.n_bad_packs, 1);
    assert_int_equal(f.n_index_errors, 0);
    assert_true(fsck_clean(&f)); /* nobody was promised what lay there */
    assert_false(file_exists(orphan));
    OK(fsck_run(dir, &check, &f, e));
    assert_int_equal(f.n_bad_packs, 0);
    r = run_gc(dir);
    assert_int_equal(r.n_unreadable, 0);
    assert_int_equal(r.n_orphans, 1); /* what was sound of it */
    bad_file = 0;
    s = open_test_store(dir);
    snap_check(s, 1, 0, CHUNKS);
    store_close(s);
    free(orphan);
    scratch_free(dir);
}

static void
forget_packs(const char *dir)
{
    char *path = path_join(dir, "index.db");
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, "DELETE FROM chunk; DELETE FROM pack", NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    free(path);
}

/* What gc sends its reader to fsck for; with and without a page that cannot be read. */
static void
fsck__takes_in_a_pack_that_the_index_has_forgotten(void **state)
{
    const struct fsck_options check = {
        .walk = walk_list, .files = name_none, .check_only = true};
    const struct fsck_options o = {.walk = walk_list, .files = name_none};
    off_t size = 1;

    (void)state;
    for (off_t at = -1; at < size; at = at < 0 ? 0 : at + PAGE) {
        struct store_loc locs[CHUNKS + 1];
        struct fsck_result r = {0};
        char *dir;

        bad_file = 0;
        dir = make_store(locs, &size);
        bad_at = at < 0 ? size : at;
        forget_packs(dir);
        OK(fsck_run(dir, &check, &r, e));
        assert_int_equal(r.n_bad_packs, at < 0 ? 0 : 1);
        assert_true(r.n_index_errors == 1 || at >= 0);
        assert_false(r.index_rebuilt);
        OK(fsck_run(dir, &o, &r, e));
        assert_int_equal(r.n_bad_packs, at < 0 ? 0 : 1);
        assert_true(r.index_rebuilt);
        assert_true(fsck_clean(&r) || at >= 0);
        check_rest(dir, locs);
        bad_file = 0;
        scratch_free(dir);
    }
}

/* ---- records and the index ---- */

#define SNAP "s000000000001"

/* Snapshot 1 once more, with a record of more than two pages in each half. */
static void
make_long(const char *dir)
{
    char *path = path_join(dir, "snaps/" SNAP ".manifest");
    struct store *s = open_test_store(dir);
    char text[101] = "";
    struct manifest *m;

    OK(manifest_read(s, SNAP, &m, e));
    memset(text, 'x', 100);
    for (int i = 0; i < 100; i++) {
        manifest_list_add(&m->arg, text);
    }
    assert_int_equal(unlink(path), 0);
    OK(manifest_write(s, m, test_key(), e));
    manifest_free(m);
    store_close(s);
    free(path);
}

static void
manifest__survives_a_bad_sector_in_either_half(void **state)
{
    const struct fsck_options o = {.walk = walk_list, .files = name_none};
    struct store_loc locs[CHUNKS + 1];
    off_t size;
    char *dir = make_store(locs, &size);
    char *path = path_join(dir, "snaps/" SNAP ".manifest");
    struct stat st;

    (void)state;
    bad_file = 0;
    make_long(dir);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 4 * PAGE);
    for (off_t at = 0; at < st.st_size; at += PAGE) {
        struct fsck_result r = {0};
        struct store *s = open_test_store(dir);

        make_bad(dir, "snaps/" SNAP ".manifest", at);
        if (at / PAGE != st.st_size / 2 / PAGE) { /* a page of both halves is the end */
            snap_check(s, 1, 0, CHUNKS);
            store_close(s);
            OK(fsck_run(dir, &o, &r, e));
            assert_int_equal(r.n_manifests_repaired, 1);
            assert_true(fsck_clean(&r));
        } else {
            store_close(s);
        }
    }
    bad_file = 0;
    free(path);
    scratch_free(dir);
}

/* Of a short one both halves lie on it. It can be given up, and gc is not in its way. */
static void
manifest__that_cannot_be_read_is_damaged_and_can_be_given_up(void **state)
{
    const struct fsck_options o = {.walk = walk_list, .files = name_none};
    struct gc_options g = {.walk = walk_list};
    struct store_loc locs[CHUNKS + 1];
    struct fsck_result r = {0};
    struct gc_result collected;
    struct snap_list l;
    off_t size;
    char *dir = make_store(locs, &size);
    struct store *s;

    (void)state;
    make_bad(dir, "snaps/" SNAP ".manifest", 0);
    OK(fsck_run(dir, &o, &r, e));
    assert_int_equal(r.n_manifests_lost, 1);
    s = open_test_store(dir);
    FAILS(gc_run(s, &g, &collected, e), ERR_CORRUPT);
    OK(snap_list(s, &l, e));
    assert_int_equal(l.n, 1);
    assert_null(l.v[0].m);
    snap_list_free(&l);
    OK(snap_drop(s, SNAP, "removed", e));
    store_close(s);
    assert_int_equal(run_gc(dir).n_condemned, CHUNKS + 1);
    bad_file = 0;
    scratch_free(dir);
}

static void
claim__that_cannot_be_read_counts_as_kept(void **state)
{
    struct store_loc locs[CHUNKS + 1];
    struct snap_claim c;
    off_t size;
    char *dir = make_store(locs, &size);
    struct store *s = open_test_store(dir);

    (void)state;
    bad_file = 0;
    OK(snap_drop(s, SNAP, "removed", e));
    make_bad(dir, "snaps/" SNAP ".claim", 0);
    OK(snap_claim_get(s, SNAP, &c, e));
    assert_int_equal(c.data, SNAP_DATA_KEPT);
    assert_int_equal(c.expires_wall_ns, 0);
    assert_int_equal(run_gc(dir).n_live, CHUNKS + 1);
    OK(snap_drop(s, SNAP, "again", e)); /* in a file that can be read */
    OK(snap_claim_get(s, SNAP, &c, e));
    assert_int_equal(c.data, SNAP_DATA_GONE);
    store_close(s);
    bad_file = 0;
    scratch_free(dir);
}

static void
fsck__makes_an_index_anew_that_cannot_be_read(void **state)
{
    const struct fsck_options check = {
        .walk = walk_list, .files = name_none, .check_only = true};
    const struct fsck_options o = {.walk = walk_list, .files = name_none};
    off_t index_size = 1;

    (void)state;
    for (off_t at = 0; at < index_size; at += PAGE) {
        struct store_loc locs[CHUNKS + 1];
        struct fsck_result r = {0};
        struct err why = {0};
        struct stat st;
        off_t size;
        char *path;
        char *dir;

        bad_file = 0;
        dir = make_store(locs, &size);
        path = path_join(dir, "index.db");
        assert_int_equal(stat(path, &st), 0);
        index_size = st.st_size;
        make_bad(dir, "index.db", at);
        assert_true(fsck_run(dir, &check, &r, &why) == -1 || r.n_index_errors > 0);
        OK(fsck_run(dir, &o, &r, e));
        assert_true(r.index_rebuilt);
        assert_true(fsck_clean(&r));
        bad_file = 0;
        check_rest(dir, locs);
        free(path);
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
        cmocka_unit_test(check_readable__finds_the_one_page_that_is_bad),
        cmocka_unit_test(gc__goes_on_beside_an_orphan_that_it_cannot_read),
        cmocka_unit_test(fsck__takes_in_a_pack_that_the_index_has_forgotten),
        cmocka_unit_test(manifest__survives_a_bad_sector_in_either_half),
        cmocka_unit_test(manifest__that_cannot_be_read_is_damaged_and_can_be_given_up),
        cmocka_unit_test(claim__that_cannot_be_read_counts_as_kept),
        cmocka_unit_test(fsck__makes_an_index_anew_that_cannot_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
