#include "tests/unit/storage/snap_util.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include "storage/fsck.h"
#include "tests/unit/storage/crash_shim.h"

/*
 * A child does its work and tells, step by step, what it was promised; it dies, or
 * something fails, at the n-th change of the file system. Then the parent looks: all
 * that was promised holds, and the store goes on. Every n is tried with GPURUN_CRASH=all,
 * else a part of them.
 */

/* What the child was promised. Snapshot n is of chunks [span][0] to [span][1]. */
#define SNAPS 6
static const uint64_t span[SNAPS][2] = {{0, 12}, {6, 18},  {30, 40},
                                        {0, 9},  {50, 62}, {5, 15}};

struct told {
    volatile uint64_t count; /* changes of the file system */
    volatile bool made[SNAPS];
    volatile bool dropping[SNAPS]; /* asked for, perhaps not done */
    volatile bool dropped[SNAPS];
    volatile bool clean_end;
    volatile int errors;
};
static struct told *told;

/* Which accident is being looked at: told if a test ends in the middle of it. */
static bool looking;
static enum shim_mode current_mode;
static uint64_t current_at;

static int
step(int rc)
{
    told->errors += rc == -1 ? 1 : 0;
    return rc;
}

static struct store *
child_open(void)
{
    struct store *s = NULL;
    struct err e;

    return step(store_open(&s, shim.root, NULL, &e)) == -1 ? NULL : s;
}

static void
child_snap(struct store *s, uint64_t n)
{
    struct err e;

    if (s != NULL && step(snap_make(s, n, span[n][0], span[n][1], &e)) == 0) {
        told->made[n] = true;
    }
}

static void
child_drop(struct store *s, uint64_t n)
{
    char id[MANIFEST_ID_MAX + 1];
    struct err e;

    snap_name(n, id);
    told->dropping[n] = true;
    if (s != NULL && step(snap_drop(s, id, "removed", &e)) == 0) {
        told->dropped[n] = true;
    }
}

static void
child_gc(void)
{
    const struct gc_options o = {.walk = walk_list};
    struct gc_result r;
    struct store *s = child_open();
    struct err e;

    if (s != NULL) {
        (void)step(gc_run(s, &o, &r, &e));
    }
    store_close(s);
}

/* Put, commit, manifest, drop, condemn, rewrite packs, remove packs, and on. */
static void
work_all(void)
{
    struct store *s = child_open();

    child_snap(s, 0);
    child_snap(s, 1);
    store_close(s);
    s = child_open();
    child_snap(s, 2);
    child_drop(s, 0);
    store_close(s);
    child_gc();
    s = child_open();
    child_drop(s, 2);
    child_snap(s, 3);
    store_close(s);
    child_gc();
    child_gc();
    s = child_open();
    child_snap(s, 4);
    store_close(s);
}

/* The index is lost, and made anew. */
static void
work_rebuild(void)
{
    struct store *s = child_open();
    char *db = path_join(shim.root, "index.db");

    child_snap(s, 0);
    child_snap(s, 1);
    store_close(s);
    (void)unlink(db);
    free(db);
    s = child_open();
    child_snap(s, 2);
    store_close(s);
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

/* A pack is damaged, and mended. */
static void
work_fsck(void)
{
    const struct fsck_options o = {.walk = walk_list, .files = no_files};
    struct store *s = child_open();
    struct fsck_result r;
    struct err e;

    char *cmd = xasprintf("cd %s/packs && for p in *.pack; do [ -f $p ] && printf X |"
                          " dd of=$p bs=1 seek=67 conv=notrunc 2>/dev/null; done",
                          shim.root);

    child_snap(s, 0);
    child_snap(s, 1);
    (void)!system(cmd); /* in each pack the first header: no chunk is lost by that */
    free(cmd);
    store_close(s);
    (void)step(fsck_run(shim.root, &o, &r, &e));
    s = child_open();
    child_snap(s, 2);
    store_close(s);
}

static void
run_child(const char *dir, void (*work)(void), enum shim_mode mode, uint64_t die_at)
{
    shim.mode = mode;
    shim.die_at = die_at;
    shim.seed = die_at;
    shim.count = &told->count;
    (void)snprintf(shim.root, sizeof shim.root, "%s/store", dir);
    (void)snprintf(shim.saves, sizeof shim.saves, "%s/saves", dir);
    (void)mkdir(shim.root, 0700);
    (void)mkdir(shim.saves, 0700);
    (void)test_key();
    shim.on = true;
    work();
    shim.on = false;
    told->clean_end = true;
    _exit(0);
}

static void
check_promises(const char *dir)
{
    struct store *s = open_test_store(dir);

    for (uint64_t n = 0; n < SNAPS; n++) {
        char id[MANIFEST_ID_MAX + 1];
        struct snap_claim c;
        struct err err;

        snap_name(n, id);
        if (snap_claim_get(s, id, &c, &err) == -1) {
            if (told->made[n]) {
                fail_msg("snapshot %d is gone: %s", (int)n, err.msg);
            }
            continue;
        }
        if (told->dropped[n]) {
            assert_int_equal(c.data, SNAP_DATA_GONE);
        }
        if (c.data == SNAP_DATA_KEPT) { /* there at all means there as a whole */
            snap_check(s, n, span[n][0], span[n][1]);
        } else {
            assert_true(told->dropping[n]);
        }
    }
    store_close(s);
}

/* Look at what the child has left, as a process that comes later would. */
static void
check_after(const char *dir)
{
    const struct fsck_options o = {.walk = walk_list, .files = no_files};
    struct fsck_result r;
    struct store *s;

    check_promises(dir);
    OK(fsck_run(dir, &o, &r, e));
    assert_true(fsck_clean(&r));
    assert_int_equal(r.n_manifests_repaired, 0);
    (void)run_gc(dir);
    (void)run_gc(dir);
    check_promises(dir);
    s = open_test_store(dir);
    OK(snap_make(s, 100, 0, 40, e)); /* and it goes on */
    store_close(s);
    (void)run_gc(dir);
    check_promises(dir);
    s = open_test_store(dir);
    snap_check(s, 100, 0, 40);
    store_close(s);
    OK(fsck_run(dir, &o, &r, e));
    assert_true(fsck_clean(&r));
    assert_int_equal(r.n_bad_packs, 0);
}

/* One child, one accident. Returns how many changes it made. */
static uint64_t
one_accident(void (*work)(void), enum shim_mode mode, uint64_t die_at)
{
    char *dir = scratch_dir();
    char *store = path_join(dir, "store");
    int status = 0;
    uint64_t count;
    pid_t pid;

    memset((void *)told, 0, sizeof *told);
    pid = fork();
    assert_int_not_equal(pid, -1);
    if (pid == 0) {
        run_child(dir, work, mode, die_at);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    count = told->count;
    if (!WIFSIGNALED(status) && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        fail_msg("mode %d, change %llu: the child ended badly (%x)", (int)mode,
                 (unsigned long long)die_at, status);
    }
    if (mode == SHIM_COUNT || mode == SHIM_SHORT) {
        assert_true(told->clean_end);
        assert_int_equal(told->errors, 0);
    }
    looking = true;
    current_mode = mode;
    current_at = die_at;
    check_after(store);
    looking = false;
    free(store);
    scratch_free(dir);
    return count;
}

static void
every_accident(void (*work)(void), uint64_t stride)
{
    const char *all = getenv("GPURUN_CRASH");
    uint64_t n = one_accident(work, SHIM_COUNT, 0);
    uint64_t done = 0;

    assert_true(n > 20);
    stride = all != NULL && strcmp(all, "all") == 0 ? 1 : stride;
    for (int mode = SHIM_KILL; mode < SHIM_MODES; mode++) {
        for (uint64_t at = 1 + (uint64_t)mode % stride; at <= n; at += stride) {
            (void)one_accident(work, (enum shim_mode)mode, at);
            done++;
        }
    }
    print_message("             %llu changes of files, %llu accidents\n",
                  (unsigned long long)n, (unsigned long long)done);
}

static int
tell_where(void **state)
{
    (void)state;
    if (looking) {
        print_error("mode %d, change %llu\n", (int)current_mode,
                    (unsigned long long)current_at);
    }
    looking = false;
    return 0;
}

static void
crash__anywhere_in_put_commit_drop_and_gc_breaks_no_promise(void **state)
{
    (void)state;
    every_accident(work_all, 37);
}

static void
crash__anywhere_in_a_rebuild_breaks_no_promise(void **state)
{
    (void)state;
    every_accident(work_rebuild, 37);
}

static void
crash__anywhere_in_fsck_breaks_no_promise(void **state)
{
    (void)state;
    every_accident(work_fsck, 37);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(
            crash__anywhere_in_put_commit_drop_and_gc_breaks_no_promise, tell_where),
        cmocka_unit_test_teardown(crash__anywhere_in_a_rebuild_breaks_no_promise,
                                  tell_where),
        cmocka_unit_test_teardown(crash__anywhere_in_fsck_breaks_no_promise, tell_where),
    };

    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                -1, 0);
    if (told == MAP_FAILED) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
