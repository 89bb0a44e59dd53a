/* gc of a store in which something is damaged: it takes nothing that may be the only
 * copy. */
#include "tests/unit/storage/snap_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>

#include "storage/index_gc.h"
#include "storage/pack.h"
#include "storage/store_internal.h"

/* ---- the index ---- */

/* Where the nth copy of the only pack's name lies in the index; -1: there are fewer. */
static off_t
find_name(const char *dir, size_t nth)
{
    char *path = path_join(dir, "index.db");
    struct store *s = open_test_store(dir);
    struct index_pack_row *packs;
    struct buf b = BUF_INIT;
    const uint8_t *at;
    off_t found = -1;
    size_t n;

    OK(index_packs(s->ix, &packs, &n, e));
    assert_int_equal(n, 1);
    OK(file_read(path, (size_t)1 << 20, &b, e));
    at = b.data;
    while ((at = memmem(at, b.len - (size_t)(at - b.data), &packs[0].name,
                        PACK_NAME_LEN)) != NULL) {
        if (nth-- == 0) {
            found = at - b.data;
            break;
        }
        at++;
    }
    free(packs);
    buf_free(&b);
    free(path);
    store_close(s);
    return found;
}

/* It lies in the table of packs, and then in that of their names: which one is right? */
static void
gc__takes_no_pack_whose_name_in_the_index_is_damaged(void **state)
{
    static const enum err_code codes[] = {ERR_NOT_FOUND, ERR_CORRUPT};
    const struct gc_options o = {.walk = walk_list};
    const struct fsck_options check = {.walk = walk_list, .files = list_files};
    const char *dir = *state;
    char *path = path_join(dir, "index.db");
    struct fsck_result found;
    struct store *s = open_test_store(dir);
    struct gc_result r;
    size_t n = 0;
    off_t at;

    OK(snap_make(s, 1, 0, 10, e));
    store_close(s);
    for (; (at = find_name(dir, n)) != -1; n++) {
        assert_true(n < sizeof codes / sizeof *codes);
        unit_flip(path, at + 5, 1);
        s = open_test_store(dir);
        FAILS(gc_run(s, &o, &r, e), codes[n]);
        store_close(s);
        OK(fsck_run(dir, &check, &found, e));
        assert_true(found.index_rebuilt);
        assert_int_equal(found.n_snaps_damaged, 0);
        assert_int_equal(run_gc(dir).n_orphans, 0);
        s = open_test_store(dir);
        snap_check(s, 1, 0, 10);
        store_close(s);
    }
    assert_int_equal(n, 2);
    free(path);
}

/* fsck finds that nothing is lost, and puts the index right. */
static void
mend_index(const char *dir)
{
    const struct fsck_options check = {.walk = walk_list, .files = list_files};
    struct fsck_result found;

    OK(fsck_run(dir, &check, &found, e));
    assert_int_equal(found.n_snaps_damaged, 0);
}

static void
change_index(const char *dir, const char *sql)
{
    char *path = path_join(dir, "index.db");
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_true(sqlite3_changes(db) > 0);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    free(path);
}

/* One that the index has forgotten, and whose chunks it has in another: none is there. */
static void
gc__takes_no_pack_for_left_over_that_has_the_only_copy(void **state)
{
    const char *dir = *state;
    struct store *s = open_test_store(dir);
    struct gc_result r;

    OK(snap_make(s, 1, 0, 10, e));
    OK(snap_make(s, 2, 0, 12, e)); /* its list, and what is new, in another pack */
    drop_snap(s, 1);
    store_close(s);
    change_index(dir, "UPDATE chunk SET pack = (SELECT max(no) FROM pack)"
                      " WHERE pack = (SELECT min(no) FROM pack);"
                      "DELETE FROM pack WHERE no = (SELECT min(no) FROM pack)");
    r = run_gc(dir);
    assert_int_equal(r.n_orphans, 0);
    assert_int_equal(r.n_unreadable, 1);
    assert_int_equal(count_packs(dir), 2);
    mend_index(dir);
    assert_int_equal(run_gc(dir).n_unreadable, 0);
    s = open_test_store(dir);
    snap_check(s, 2, 0, 12);
    store_close(s);
}

/* A row of the index that names another pack than holds the chunk: fsck knows better. */
static void
gc__takes_no_chunk_for_a_copy_that_is_none(void **state)
{
    const char *dir = *state;
    struct store *s = open_test_store(dir);
    struct gc_result r;

    OK(snap_make(s, 1, 0, 10, e));
    OK(snap_make(s, 2, 10, 12, e)); /* in another pack */
    OK(snap_make(s, 3, 100, 110, e));
    OK(snap_make(s, 4, 5, 7, e));
    drop_snap(s, 1);
    store_close(s);
    (void)run_gc(dir);
    change_index(dir, "UPDATE chunk SET pack = (SELECT max(no) FROM pack)"
                      " WHERE pack = (SELECT min(no) FROM pack)"
                      " AND id NOT IN (SELECT id FROM doomed)");
    r = run_gc(dir);
    assert_int_equal(r.n_deleted, 0);
    assert_int_equal(r.n_unreadable, 1);
    mend_index(dir);
    (void)run_gc(dir);
    s = open_test_store(dir);
    snap_check(s, 4, 5, 7);
    store_close(s);
}

/* ---- packs ---- */

/* Flip a byte of the chunk, wherever it lies. */
static void
damage_chunk(const char *dir, struct store *s, const struct sha256 *id)
{
    char *packs = path_join(dir, "packs");
    DIR *d = opendir(packs);
    struct store_loc loc;
    struct dirent *en;
    size_t n = 0;

    OK(store_locate(s, id, 1, &loc, e));
    assert_int_not_equal(loc.pack, 0);
    assert_non_null(d);
    while ((en = readdir(d)) != NULL) {
        int fd = openat(dirfd(d), en->d_name, O_RDWR | O_CLOEXEC);
        uint8_t head[PACK_ENTRY_LEN + 1];

        if (fd == -1) {
            continue; /* a directory */
        }
        if (pread(fd, head, sizeof head, (off_t)loc.offset) == (ssize_t)sizeof head &&
            memcmp(head + 16, id->b, SHA256_LEN) == 0) {
            head[PACK_ENTRY_LEN] ^= 1;
            assert_int_equal(pwrite(fd, head, sizeof head, (off_t)loc.offset),
                             sizeof head);
            n++;
        }
        assert_int_equal(close(fd), 0);
    }
    assert_int_equal(n, 1);
    (void)closedir(d);
    free(packs);
}

/*
 * One bad sector must not keep all else from being collected: what was copied of its pack
 * is given back, and what came before and after it in the same group goes on.
 */
static void
gc__leaves_a_pack_alone_that_it_cannot_read(void **state)
{
    const char *dir = *state;
    struct sha256 bad = snap_chunk_id(119);
    struct store *s = open_test_store(dir);
    struct store_stats st;
    struct gc_result r;
    struct buf out = BUF_INIT;

    OK(snap_make(s, 1, 0, 50, e)); /* pack 1 keeps few: the first of the group */
    OK(snap_make(s, 2, 0, 5, e));
    OK(snap_make(s, 3, 100, 150, e)); /* pack 3 keeps more */
    OK(snap_make(s, 4, 100, 120, e));
    OK(snap_make(s, 5, 200, 250, e)); /* pack 5 keeps most */
    OK(snap_make(s, 6, 200, 225, e));
    damage_chunk(dir, s, &bad);
    for (uint64_t n = 1; n <= 5; n += 2) {
        drop_snap(s, n);
    }
    store_close(s);
    (void)run_gc(dir);
    r = run_gc(dir);
    assert_int_equal(r.n_packs_removed, 2);
    assert_int_equal(r.n_deleted, 46 + 26);
    s = open_test_store(dir);
    snap_check(s, 2, 0, 5);
    snap_check(s, 6, 200, 225);
    for (uint64_t n = 100; n < 119; n++) {
        check_chunk(s, n, SNAP_CHUNK);
    }
    FAILS(store_get(s, &bad, &out, e), ERR_CORRUPT); /* and is set aside */
    (void)put_chunk_n(s, 119, SNAP_CHUNK, NULL);
    OK(store_commit(s, e));
    store_close(s);
    r = run_gc(dir); /* what it could not read counts no more */
    assert_int_equal(r.n_packs_removed, 1);
    s = open_test_store(dir);
    snap_check(s, 4, 100, 120);
    OK(store_stats(s, &st, e));
    assert_int_equal(st.n_chunks, 5 + 20 + 25 + 3);
    store_close(s);
    buf_free(&out);
}

/* Before anything else was copied: the pack that was begun for it is not left behind. */
static void
gc__leaves_the_first_pack_alone_that_it_cannot_read(void **state)
{
    const char *dir = *state;
    struct sha256 bad = snap_chunk_id(119);
    struct store *s = open_test_store(dir);
    struct store_stats st;
    struct gc_result r;

    OK(snap_make(s, 1, 0, 50, e));    /* nothing stays of pack 1, */
    OK(snap_make(s, 2, 100, 150, e)); /* something of pack 2 alone */
    OK(snap_make(s, 3, 100, 120, e));
    damage_chunk(dir, s, &bad);
    drop_snap(s, 1);
    drop_snap(s, 2);
    store_close(s);
    (void)run_gc(dir);
    r = run_gc(dir);
    assert_int_equal(r.n_packs_removed, 1);
    assert_int_equal(r.n_packs_rewritten, 0);
    assert_int_equal(r.n_deleted, 51);
    assert_int_equal(count_packs(dir), 2);
    s = open_test_store(dir);
    OK(store_stats(s, &st, e));
    assert_int_equal(st.n_packs, 2);
    OK(snap_make(s, 4, 200, 250, e)); /* and with another behind it, that keeps more */
    OK(snap_make(s, 5, 200, 230, e));
    drop_snap(s, 4);
    store_close(s);
    (void)run_gc(dir);
    r = run_gc(dir);
    assert_int_equal(r.n_packs_removed, 1);
    assert_int_equal(r.n_packs_rewritten, 1);
    assert_int_equal(r.n_deleted, 21);
    assert_int_equal(count_packs(dir), 4); /* 2, the new one, and two with a list */
    assert_int_equal(run_gc(dir).n_orphans, 0);
    s = open_test_store(dir);
    snap_check(s, 5, 200, 230);
    for (uint64_t n = 100; n < 119; n++) {
        check_chunk(s, n, SNAP_CHUNK);
    }
    store_close(s);
}

#define T(f) cmocka_unit_test_setup_teardown(f, scratch_set_up, scratch_tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(gc__takes_no_pack_whose_name_in_the_index_is_damaged),
        T(gc__takes_no_pack_for_left_over_that_has_the_only_copy),
        T(gc__takes_no_chunk_for_a_copy_that_is_none),
        T(gc__leaves_a_pack_alone_that_it_cannot_read),
        T(gc__leaves_the_first_pack_alone_that_it_cannot_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
