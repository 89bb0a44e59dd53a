/*
 * limit: 400
 * With a sanitizer this takes the longest of all, and is begun early.
 */
#include "tests/unit/storage/snap_util.h"

#include "tests/unit/crash_shim.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "storage/reserve.h"

/*
 * A disk without room that does not look full, as by a quota: the reserve is what gc can
 * let go.
 */
static bool lets_go; /* room comes with the reserve */

static void
on_call(const char *call, const char *path)
{
    const char *name = strrchr(path, '/');

    if (lets_go && strcmp(name, "/reserve") == 0 &&
        (strcmp(call, "truncate") == 0 || strcmp(call, "unlink") == 0)) {
        shim.mode = SHIM_COUNT;
    }
}

static void
no_room(const char *dir, enum shim_mode how)
{
    static volatile uint64_t count;

    count = 0;
    shim.count = &count;
    shim.mode = how;
    shim.die_at = 1;
    shim.watch = on_call;
    (void)snprintf(shim.root, sizeof shim.root, "%s", dir);
    shim.on = true;
}

/* Two snapshots, of which one is given up. */
static char *
make_store(void)
{
    char *dir = scratch_dir();
    struct store *s = open_test_store(dir);

    OK(snap_make(s, 1, 0, 30, e));
    OK(snap_make(s, 2, 20, 60, e));
    drop_snap(s, 1);
    store_close(s);
    return dir;
}

static void
gc__lets_the_reserve_go_where_the_disk_only_looks_free(void **state)
{
    static const enum shim_mode modes[] = {SHIM_EDQUOT, SHIM_ENOSPC};

    (void)state;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        char *dir = make_store();
        char *reserve = path_join(dir, "reserve");
        struct gc_result r;
        struct store *s;

        assert_true(file_exists(reserve));
        lets_go = true;
        no_room(dir, modes[i]);
        r = run_gc(dir);
        shim.on = false;
        assert_int_equal(r.n_manifests, 1); /* counted once */
        assert_int_equal(r.n_live, 41);
        assert_int_equal(r.n_condemned, 21);
        r = run_gc(dir);
        assert_int_equal(r.n_deleted, 21);
        s = open_test_store(dir);
        snap_check(s, 2, 20, 60);
        store_close(s);
        free(reserve);
        scratch_free(dir);
    }
}

static bool
    sealed; /* a new pack is there; from the index's journal on there is no room */

static void
on_journal(const char *call, const char *path)
{
    sealed = sealed || (strcmp(call, "sync") == 0 && strstr(path, ".pack") != NULL);
    if (sealed && strcmp(call, "write") == 0 &&
        strstr(path, "index.db-journal") != NULL) {
        shim.mode = SHIM_ENOSPC;
    }
}

/* A new pack that the index could not be told of takes room that there is not. */
static void
gc__leaves_no_new_pack_where_the_index_has_no_room(void **state)
{
    const struct gc_options o = {.walk = walk_list};
    char *dir = make_store();
    struct gc_result r;
    struct store *s;

    (void)state;
    assert_int_equal(run_gc(dir).n_condemned, 21);
    s = open_test_store(dir);
    sealed = false;
    no_room(dir, SHIM_COUNT);
    shim.watch = on_journal;
    FAILS(gc_run(s, &o, &r, e), ERR_SPACE);
    shim.on = false;
    store_close(s);
    assert_true(sealed);
    r = run_gc(dir);
    assert_int_equal(r.n_orphans, 0);
    assert_int_equal(r.n_deleted, 21);
    s = open_test_store(dir);
    snap_check(s, 2, 20, 60);
    store_close(s);
    scratch_free(dir);
}

static void
gc__says_that_there_is_no_room_where_the_reserve_does_not_help(void **state)
{
    const struct gc_options o = {.walk = walk_list};
    char *dir = make_store();
    char *reserve = path_join(dir, "reserve");
    struct gc_result r;
    struct store *s = open_test_store(dir);

    (void)state;
    lets_go = false;
    no_room(dir, SHIM_EDQUOT);
    FAILS(gc_run(s, &o, &r, e), ERR_SPACE);
    shim.on = false;
    store_close(s);
    assert_int_equal(run_gc(dir).n_condemned, 21);
    assert_true(file_exists(reserve)); /* held again */
    free(reserve);
    scratch_free(dir);
}

/* ---- a directory that cannot be listed ---- */

static struct {
    uint64_t n; /* names asked for */
    uint64_t fail_at;
} listing;

static void
on_listing(const char *call, const char *path)
{
    (void)path;
    if (strcmp(call, "list") == 0 && ++listing.n == listing.fail_at) {
        shim.die_at = *shim.count;
    }
}

/* Does gc read so many names? Then that one fails, and with it gc. */
static bool
gc_fails_at_name(const char *dir, uint64_t nth)
{
    const struct gc_options o = {.walk = walk_list};
    struct store *s = open_test_store(dir);
    struct store_stats stats;
    struct err why = {0};
    struct gc_result r;
    bool fails;

    listing.n = 0;
    listing.fail_at = nth;
    no_room(dir, SHIM_EIO);
    shim.reads = true;
    shim.die_at = 0;
    shim.watch = on_listing;
    fails = gc_run(s, &o, &r, &why) == -1;
    shim.on = shim.reads = false;
    assert_int_equal(fails, listing.n >= nth);
    assert_int_equal(why.sys_errno, fails ? EIO : 0);
    OK(store_stats(s, &stats, e));
    assert_int_equal(stats.n_chunks, fails ? 62 : 41);
    store_close(s);
    return fails;
}

/* A snapshot that was not listed would be taken for none. */
static void
gc__takes_nothing_where_a_name_cannot_be_read(void **state)
{
    char *dir = make_store();
    uint64_t nth = 1;
    struct store *s;

    (void)state;
    assert_int_equal(run_gc(dir).n_condemned, 21);
    while (gc_fails_at_name(dir, nth)) {
        nth++;
    }
    assert_true(nth > 20);
    s = open_test_store(dir);
    snap_check(s, 2, 20, 60);
    store_close(s);
    scratch_free(dir);
}

/* ---- a disk that is full ---- */

/* A file system of its own, in memory; NULL: no right to mount. */
static char *
disk_new(void)
{
    char *dir = scratch_dir();

    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", dir, "tmpfs", 0, "size=2g") != 0) {
        scratch_free(dir);
        return NULL;
    }
    return dir;
}

static void
disk_free(char *dir)
{
    assert_int_equal(umount(dir), 0);
    assert_int_equal(rmdir(dir), 0);
    free(dir);
}

static uint64_t
disk_used(const char *dir)
{
    struct statvfs v;

    assert_int_equal(statvfs(dir, &v), 0);
    return (uint64_t)(v.f_blocks - v.f_bfree) * v.f_frsize;
}

/* Let it have no more room than that beyond what lies on it. */
static void
disk_leave(const char *dir, uint64_t bytes)
{
    char size[64];
    struct statvfs v;

    (void)snprintf(size, sizeof size, "size=%llu",
                   (unsigned long long)(disk_used(dir) + bytes));
    assert_int_equal(mount("none", dir, NULL, MS_REMOUNT, size), 0);
    assert_int_equal(statvfs(dir, &v), 0);
    assert_int_equal((uint64_t)v.f_bavail * v.f_frsize, bytes);
}

static uint64_t
bytes_of(const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    struct stat st;
    uint64_t n = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;

    free(path);
    return n;
}

/* Snapshots 0 … n - 1, of so many chunks each, and no chunk in two. */
static void
make_snaps(const char *dir, uint64_t n, uint64_t chunks)
{
    struct store *s = open_test_store(dir);

    for (uint64_t i = 0; i < n; i++) {
        OK(snap_make(s, i, i * chunks, (i + 1) * chunks, e));
    }
    store_close(s);
}

static void
drop_snaps(const char *dir, uint64_t from, uint64_t to)
{
    struct store *s = open_test_store(dir);

    for (uint64_t i = from; i < to; i++) {
        drop_snap(s, i);
    }
    store_close(s);
}

/*
 * Whatever its size: what the reserve holds is enough to take away what nobody claims;
 * of the last store it holds more than the 8 MiB that once were all there was.
 */
static void
gc__works_on_a_full_disk_at_every_size(void **state)
{
    static const struct {
        uint64_t snaps, chunks;
    } sizes[] = {{2, 1}, {3, 30}, {40, 30}, {3, 3000}, {2, 8000}, {2, 20000}};
    const size_t n = sizeof sizes / sizeof *sizes;

    (void)state;
    for (size_t i = 0; i < n; i++) {
        uint64_t gone = (sizes[i].snaps - 1) * (sizes[i].chunks + 1);
        char *dir = disk_new();
        uint64_t used;
        struct store *s;

        if (dir == NULL) {
            skip();
        }
        make_snaps(dir, sizes[i].snaps, sizes[i].chunks);
        assert_true(bytes_of(dir, "reserve") >= 3 * bytes_of(dir, "index.db") &&
                    bytes_of(dir, "reserve") >= 1 << 20);
        assert_true(i + 1 < n || bytes_of(dir, "reserve") > 8 << 20);
        drop_snaps(dir, 1, sizes[i].snaps);
        used = disk_used(dir);
        disk_leave(dir, 0);
        assert_int_equal(run_gc(dir).n_condemned, gone);
        disk_leave(dir, 0); /* others have taken what was let go */
        assert_int_equal(run_gc(dir).n_deleted, gone);
        assert_true(disk_used(dir) < used);
        s = open_test_store(dir);
        snap_check(s, 0, 0, sizes[i].chunks);
        store_close(s);
        disk_free(dir);
    }
}

/*
 * What needs no copy goes first, and makes the room that copies need: packs that keep
 * more than the reserve holds are written anew in their turn.
 */
static void
gc__makes_the_room_that_it_needs(void **state)
{
    char *dir = disk_new();
    struct gc_result r;
    struct store *s;

    (void)state;
    if (dir == NULL) {
        skip();
    }
    make_snaps(dir, 2, 8000);
    s = open_test_store(dir);
    OK(snap_make(s, 10, 0, 5500, e)); /* of pack 0 more stays than the reserve holds, */
    OK(snap_make(s, 11, 16000, 16100, e));
    OK(snap_make(s, 12, 16000, 16010, e)); /* of another little, of pack 1 nothing */
    store_close(s);
    assert_true(bytes_of(dir, "reserve") < (uint64_t)5500 * 900);
    drop_snaps(dir, 0, 2);
    drop_snaps(dir, 11, 12);
    disk_leave(dir, 0);
    assert_int_equal(run_gc(dir).n_condemned, 2501 + 8001 + 91);
    r = run_gc(dir);
    assert_int_equal(r.n_deleted, 2501 + 8001 + 91);
    assert_int_equal(r.n_packs_removed, 3);
    assert_int_equal(r.n_no_room, 0);
    s = open_test_store(dir);
    snap_check(s, 10, 0, 5500);
    snap_check(s, 12, 16000, 16010);
    store_close(s);
    disk_free(dir);
}

static void
gc__leaves_packs_that_it_has_no_room_to_rewrite(void **state)
{
    const struct gc_options o = {.walk = walk_list};
    char *dir = disk_new();
    struct gc_result r;
    struct store *s;

    (void)state;
    if (dir == NULL) {
        skip();
    }
    make_snaps(dir, 2, 8000);
    s = open_test_store(dir);
    OK(snap_make(s, 10, 0, 5500, e));
    OK(snap_make(s, 11, 8000, 13500, e));
    OK(snap_make(s, 12, 20000, 20010, e)); /* in a pack of its own */
    store_close(s);
    drop_snaps(dir, 0, 2);
    drop_snaps(dir, 12, 13);
    disk_leave(dir, 0);
    assert_int_equal(run_gc(dir).n_condemned, 2 * 2501 + 11);
    r = run_gc(dir);
    assert_int_equal(r.n_deleted, 11);
    assert_int_equal(r.n_no_room, 2);
    disk_leave(dir, 0);
    s = open_test_store(dir);
    FAILS(gc_run(s, &o, &r, e), ERR_SPACE); /* nothing at all can be done */
    snap_check(s, 10, 0, 5500);
    snap_check(s, 11, 8000, 13500);
    store_close(s);
    disk_leave(dir, 64 << 20);
    r = run_gc(dir);
    assert_int_equal(r.n_deleted, 2 * 2501);
    assert_int_equal(r.n_orphans, 0); /* what was begun in vain is not there any more */
    s = open_test_store(dir);
    snap_check(s, 10, 0, 5500);
    snap_check(s, 11, 8000, 13500);
    store_close(s);
    disk_free(dir);
}

/* To give something up has to be noted first, and that takes room as well. */
static void
claims__are_given_up_on_a_full_disk(void **state)
{
    char *dir = disk_new();
    char id[MANIFEST_ID_MAX + 1];
    struct snap_expiry x;
    struct store *s;

    (void)state;
    if (dir == NULL) {
        skip();
    }
    make_snaps(dir, 40, 30);
    disk_leave(dir, 0);
    drop_snaps(dir, 1, 39);
    s = open_test_store(dir);
    OK(snap_expire(s, &x, NULL, NULL, e)); /* the clock is noted */
    store_close(s);
    assert_true(bytes_of(dir, "reserve") >= 3 << 18);
    disk_leave(dir, 0);
    assert_int_equal(run_gc(dir).n_condemned, 38 * 31);
    assert_int_equal(run_gc(dir).n_deleted, 38 * 31);
    s = open_test_store(dir);
    snap_check(s, 0, 0, 30);
    snap_check(s, 39, 39 * 30, 40 * 30);
    store_close(s);
    disk_free(dir);

    dir = disk_new();
    make_snaps(dir, 80, 1);
    disk_leave(dir, 0);
    drop_snaps(dir, 0, 64);
    s = open_test_store(dir);
    snap_name(70, id);
    FAILS(snap_drop(s, id, "removed", e), ERR_SPACE); /* the rest is gc's */
    store_close(s);
    assert_true(bytes_of(dir, "reserve") >= 3 << 18);
    (void)run_gc(dir);
    (void)run_gc(dir);
    drop_snaps(dir, 70, 71);
    disk_free(dir);
}

/* ---- the reserve ---- */

static void
reserve__follows_the_index(void **state)
{
    const uint64_t mib = 1 << 20;

    (void)state;
    assert_int_equal(reserve_bytes(0), mib);
    assert_int_equal(reserve_bytes(mib / 4), mib);
    assert_int_equal(reserve_bytes(mib / 4 + 1), mib + 4);
    assert_int_equal(reserve_bytes(2 * mib), 8 * mib);
    assert_int_equal(reserve_bytes(64 * mib), 256 * mib);
    assert_int_equal(reserve_bytes(UINT64_MAX), 256 * mib);
}

/* One of an older version is 8 MiB whatever the store; where it is gone, gc makes it. */
static void
reserve__is_made_what_it_is_to_be_by_gc(void **state)
{
    char *dir = make_store();
    char *path = path_join(dir, "reserve");

    (void)state;
    assert_int_equal(bytes_of(dir, "reserve"), 1 << 20);
    assert_int_equal(truncate(path, 8 << 20), 0);
    (void)run_gc(dir);
    assert_int_equal(bytes_of(dir, "reserve"), 1 << 20);
    assert_int_equal(unlink(path), 0);
    make_snaps(dir, 1, 3); /* a commit makes none: gc may just have let it go */
    assert_int_equal(bytes_of(dir, "reserve"), 0);
    (void)run_gc(dir);
    assert_int_equal(bytes_of(dir, "reserve"), 1 << 20);
    free(path);
    scratch_free(dir);
}

static void
reserve__is_not_held_by_a_store_for_now(void **state)
{
    const struct store_options o = {.scratch = true};
    char *dir = scratch_dir();
    char *path = path_join(dir, "reserve");
    struct store *s = NULL;

    (void)state;
    OK(store_open(&s, dir, &o, e));
    OK(snap_make(s, 1, 0, 30, e));
    store_close(s);
    assert_false(file_exists(path));
    free(path);
    scratch_free(dir);
}

/* Commits go on where it cannot grow, and it stays as it was. */
static void
reserve__keeps_no_commit_from_its_end(void **state)
{
    char *dir = disk_new();
    uint64_t had;
    struct store *s;

    (void)state;
    if (dir == NULL) {
        skip();
    }
    make_snaps(dir, 1, 3000);
    had = bytes_of(dir, "reserve");
    disk_leave(dir, 24 << 20); /* too little to hold more of it back */
    s = open_test_store(dir);
    OK(snap_make(s, 1, 3000, 13000, e));
    assert_true(4 * bytes_of(dir, "index.db") > 2 * had);
    assert_int_equal(bytes_of(dir, "reserve"), had);
    snap_check(s, 1, 3000, 13000);
    store_close(s);
    disk_free(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gc__lets_the_reserve_go_where_the_disk_only_looks_free),
        cmocka_unit_test(gc__says_that_there_is_no_room_where_the_reserve_does_not_help),
        cmocka_unit_test(gc__leaves_no_new_pack_where_the_index_has_no_room),
        cmocka_unit_test(gc__takes_nothing_where_a_name_cannot_be_read),
        cmocka_unit_test(gc__works_on_a_full_disk_at_every_size),
        cmocka_unit_test(gc__makes_the_room_that_it_needs),
        cmocka_unit_test(gc__leaves_packs_that_it_has_no_room_to_rewrite),
        cmocka_unit_test(claims__are_given_up_on_a_full_disk),
        cmocka_unit_test(reserve__follows_the_index),
        cmocka_unit_test(reserve__is_made_what_it_is_to_be_by_gc),
        cmocka_unit_test(reserve__is_not_held_by_a_store_for_now),
        cmocka_unit_test(reserve__keeps_no_commit_from_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
