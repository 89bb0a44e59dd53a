#include "tests/unit/storage/snap_util.h"

#include <sys/stat.h>

#include "storage/fsck.h"
#include "storage/rebuild.h"
#include "tests/unit/crash_shim.h"

/*
 * What is synced before what. test_crash.c takes the power away at some moments; this one
 * watches every one: when a thing is made to count (a commit of the index, a rename, the
 * removal of the only other copy, the answer to the caller), all that it counts on must
 * be beyond a power cut's reach.
 */

static uint64_t n_calls;

static struct {
    uint64_t n_commits; /* of an index that changed */
    uint64_t n_away;    /* packs removed or moved to bad/ */
    bool in_rebuild;    /* the index is made anew */
} seen;

static bool
is_at(const char *path, const char *name)
{
    size_t n = strlen(shim.root);

    return strncmp(path, shim.root, n) == 0 && path[n] == '/' &&
           strcmp(path + n + 1, name) == 0;
}

static bool
is_pack(const char *path)
{
    size_t n = strlen(shim.root);

    return strncmp(path, shim.root, n) == 0 && strncmp(path + n, "/packs/", 7) == 0;
}

static void
demand_synced(const char *sub, const char *kinds, const char *before)
{
    const char *what = shim_unsynced(sub, kinds);

    if (what != NULL) {
        fail_msg("%s: %s is not synced", before, what);
    }
}

static void
watch(const char *call, const char *path)
{
    if (strcmp(call, "truncate") == 0 && is_at(path, "index.db-journal")) {
        /* That is SQLite's commit: the rows of this moment will stay. */
        seen.n_commits++;
        demand_synced("packs", "bcr", "commit of the index");
    }
    if (strcmp(call, "rename") == 0 && is_at(path, "index.db")) {
        seen.in_rebuild = true;
        demand_synced("packs", "bcr", "a new index takes the old one's place");
        demand_synced("", "u", "a new index takes the old one's place");
    }
    if (strcmp(call, "rename") == 0 && is_at(path, "format")) {
        const char *what = shim_unsynced("", "cdru");

        if (what != NULL && strstr(what, "format.tmp") == NULL) {
            fail_msg("the format file says that all is there: %s is not synced", what);
        }
    }
    if ((strcmp(call, "unlink") == 0 || strcmp(call, "rename") == 0) &&
        (is_pack(path) || strstr(path, "/bad/") != NULL)) {
        seen.n_away++;
        demand_synced("packs", "bcr", "a pack goes");
    }
    if (strcmp(call, "sync") == 0 && is_at(path, "packs")) {
        demand_synced("bad", "bcr", "a pack is out of packs/ for good");
    }
}

static int
set_up(void **state)
{
    char *dir = scratch_dir();

    memset(&shim, 0, sizeof shim);
    memset(&seen, 0, sizeof seen);
    (void)test_key();
    shim.mode = SHIM_POWER_ALL; /* keeps the books; never dies */
    shim.die_at = UINT64_MAX;
    shim.count = &n_calls;
    n_calls = 0;
    (void)snprintf(shim.root, sizeof shim.root, "%s/store", dir);
    (void)snprintf(shim.saves, sizeof shim.saves, "%s/saves", dir);
    assert_int_equal(mkdir(shim.root, 0700), 0);
    assert_int_equal(mkdir(shim.saves, 0700), 0);
    shim.watch = watch;
    shim.on = true;
    *state = dir;
    return 0;
}

static int
tear_down(void **state)
{
    shim.on = false;
    while (shim.n_files > 0) {
        shim_forget(&shim.files[0]);
    }
    scratch_free(*state);
    return 0;
}

/* The caller has been told that it is done. */
static void
demand_all(const char *after)
{
    demand_synced("packs", "bcdruo", after);
    demand_synced("bad", "bcdruo", after);
    demand_synced("snaps", "bcdruo", after);
}

static void
open__leaves_a_store_that_is_there_for_good(void **state)
{
    struct store *s;

    (void)state;
    s = open_test_store(shim.root);
    demand_synced("", "cdr", "an opened store");
    store_close(s);
}

static void
commit__comes_after_packs_and_their_names(void **state)
{
    struct store *s = open_test_store(shim.root);
    struct sha256 tree;
    uint64_t before;

    (void)state;
    OK(snap_put_tree(s, 0, 20, &tree, e));
    assert_non_null(shim_unsynced("packs", "c"));
    before = seen.n_commits;
    OK(store_commit(s, e));
    assert_true(seen.n_commits > before);
    demand_all("a commit");
    OK(snap_write(s, 1, &tree, e));
    demand_all("a manifest");
    store_close(s);
}

/* Snapshots 1 and 2 with chunks of both in one pack; then 1 is given up. */
static void
make_garbage(void)
{
    struct store *s = open_test_store(shim.root);
    struct sha256 one, two;

    OK(snap_put_tree(s, 0, 20, &one, e));
    OK(snap_put_tree(s, 15, 30, &two, e));
    OK(store_commit(s, e));
    OK(snap_write(s, 1, &one, e));
    OK(snap_write(s, 2, &two, e));
    drop_snap(s, 1);
    store_close(s);
}

static void
gc__removes_a_pack_after_its_copy_is_there_for_good(void **state)
{
    struct gc_result r;

    (void)state;
    make_garbage();
    (void)run_gc(shim.root);
    seen.n_away = 0;
    r = run_gc(shim.root);
    assert_int_equal(r.n_packs_rewritten, 1);
    assert_int_equal(seen.n_away, 1);
}

static int
no_files(struct store *s, const struct sha256 *tree, fsck_missing_fn *missing,
         void *missing_arg, fsck_file_fn *file, void *file_arg, struct err *e)
{
    (void)s;
    (void)tree;
    (void)missing;
    (void)missing_arg;
    (void)file;
    (void)file_arg;
    (void)e;
    return 0;
}

/* One byte in each pack is turned, past the shim, at that place. */
static void
damage_packs(off_t at)
{
    char *cmd =
        xasprintf("for p in %s/packs/*.pack; do printf X |"
                  " dd of=$p bs=1 seek=%lld conv=notrunc 2>/dev/null || exit 1; done",
                  shim.root, (long long)at);

    assert_int_equal(system(cmd), 0); /* NOLINT: a test's own command */
    free(cmd);
}

static void
make_two_snaps(void)
{
    struct store *s = open_test_store(shim.root);

    OK(snap_make(s, 1, 0, 20, e));
    OK(snap_make(s, 2, 20, 30, e));
    store_close(s);
}

static void
fsck__puts_a_damaged_pack_away_after_its_copy_is_there_for_good(void **state)
{
    const struct fsck_options o = {.walk = walk_list, .files = no_files};
    struct fsck_result r;

    (void)state;
    make_two_snaps();
    damage_packs(64 + 3); /* the header of the first entry */
    seen.n_away = 0;
    OK(fsck_run(shim.root, &o, &r, e));
    assert_int_equal(r.n_bad_packs, 2);
    assert_int_equal(r.n_bad_chunks, 0);
    assert_int_equal(seen.n_away, 2);
    demand_all("fsck");
}

static void
rebuild__takes_the_old_index_away_for_good_and_salvages_first(void **state)
{
    struct rebuild_result r;
    char *cmd = xasprintf("for p in %s/packs/*.pack; do truncate -s -5 $p || exit 1;"
                          " done",
                          shim.root);

    (void)state;
    make_two_snaps();
    assert_int_equal(system(cmd), 0); /* NOLINT: no pack has a table any more */
    damage_packs(64 + 64);            /* the first entry's bytes */
    seen.n_away = 0;
    OK(store_rebuild(shim.root, &r, e));
    assert_int_equal(r.n_salvaged, 2);
    assert_int_equal(seen.n_away, 2);
    assert_true(seen.in_rebuild);
    demand_all("a rebuild");
    demand_synced("", "cdruo", "a rebuild");
    free(cmd);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(open__leaves_a_store_that_is_there_for_good),
        T(commit__comes_after_packs_and_their_names),
        T(gc__removes_a_pack_after_its_copy_is_there_for_good),
        T(fsck__puts_a_damaged_pack_away_after_its_copy_is_there_for_good),
        T(rebuild__takes_the_old_index_away_for_good_and_salvages_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
