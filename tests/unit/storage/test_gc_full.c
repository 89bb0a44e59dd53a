#include "tests/unit/storage/snap_util.h"

#include "tests/unit/storage/crash_shim.h"

/*
 * A disk without room that does not look full, as by a quota: the reserve is what gc can
 * let go.
 */
static bool lets_go; /* room comes with the reserve */

static void
on_call(const char *call, const char *path)
{
    const char *name = strrchr(path, '/');

    if (lets_go && strcmp(call, "unlink") == 0 && strcmp(name, "/reserve") == 0) {
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gc__lets_the_reserve_go_where_the_disk_only_looks_free),
        cmocka_unit_test(gc__says_that_there_is_no_room_where_the_reserve_does_not_help),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
