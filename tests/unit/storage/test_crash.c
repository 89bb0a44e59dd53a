#include "tests/unit/storage/snap_util.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "storage/fsck.h"
#include "storage/tarball.h"
#include "storage/verify.h"
#include "tests/unit/storage/crash_archive.h"
#include "tests/unit/storage/crash_place.h"
#include "tests/unit/storage/crash_shim.h"

/*
 * A child does its work and tells, step by step, what it was promised; it dies, or
 * something fails, at the n-th change of the file system. Then the parent looks: all
 * that was promised holds, and the store goes on. Every n is tried with GPURUN_CRASH=all,
 * else a part of them.
 *
 * With GPURUN_POWER=DIR (root, in a mount namespace of its own) the store lies on an ext4
 * of its own in DIR, which is shut down at the n-th change, mounted again and looked at:
 * what the kernel keeps of a power cut, not what the shim thinks it does.
 * GPURUN_POWER_STEP says how far these are apart, GPURUN_POWER_FROM which is the first.
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
    volatile bool imported;
    volatile bool clean_end;
    volatile int errors;
};
static struct told *told;

/* Which accident is being looked at: told if a test ends in the middle of it. */
static bool looking;
static struct accident {
    enum shim_mode mode;
    bool reads;
    uint64_t at;
} current;

/* Snapshots here have lists for trees; the imported one has a tree. */
static int
walk_any(struct store *s, const struct sha256 *tree, gc_chunk_fn *chunk, void *arg,
         struct err *e)
{
    return (sha256_equal(tree, &archive.tree) ? gc_walk_tree : walk_list)(s, tree, chunk,
                                                                          arg, e);
}

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
    const struct gc_options o = {.walk = walk_any};
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

/* A file is read into the store, after another was and before one more is. */
static void
work_import(void)
{
    const struct tarball_options o = {0};
    struct store *s = child_open();
    struct buf manifest = BUF_INIT;
    struct tarball_report r;
    struct err e;
    int fd = open(archive.file, O_RDONLY | O_CLOEXEC);

    child_snap(s, 0);
    if (s != NULL && step(tarball_import(s, fd, &o, &manifest, &r, &e)) == 0 &&
        step(manifest_write_encoded(s, manifest.data, manifest.len, &e)) == 0) {
        told->imported = true;
    }
    child_snap(s, 2);
    store_close(s);
    buf_free(&manifest);
    (void)close(fd);
}

static int
files_any(struct store *s, const struct sha256 *tree, fsck_missing_fn *missing,
          void *missing_arg, fsck_file_fn *file, void *file_arg, struct err *e)
{
    return sha256_equal(tree, &archive.tree)
               ? fsck_files_tree(s, tree, missing, missing_arg, file, file_arg, e)
               : 0;
}

/* A pack is damaged, and mended. */
static void
work_fsck(void)
{
    const struct fsck_options o = {.walk = walk_any, .files = files_any};
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
run_child(const char *store, const char *saves, void (*work)(void),
          const struct accident *a)
{
    shim.mode = a->mode;
    shim.reads = a->reads;
    shim.die_at = a->at;
    shim.seed = a->at;
    shim.count = &told->count;
    (void)snprintf(shim.root, sizeof shim.root, "%s", store);
    (void)snprintf(shim.saves, sizeof shim.saves, "%s", saves);
    (void)test_key();
    shim.on = true;
    work();
    shim.on = false;
    told->clean_end = true;
    _exit(0);
}

/* The imported snapshot, if it is claimed: every byte of it. */
static void
check_imported(struct store *s)
{
    struct verify_result v;
    struct snap_claim c;
    struct err err;

    if (snap_claim_get(s, ARCHIVE_ID, &c, &err) == -1) {
        if (told->imported) {
            fail_msg("what was imported is gone: %s", err.msg);
        }
        return;
    }
    assert_int_equal(c.data, SNAP_DATA_KEPT);
    OK(verify_tree(s, &archive.tree, NULL, NULL, &v, e));
    assert_int_equal(v.n_damaged, 0);
    assert_int_equal(v.n_entries, archive.n_entries);
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
    check_imported(s);
    store_close(s);
}

static void
collect(const char *dir)
{
    const struct gc_options o = {.walk = walk_any};
    struct gc_result r;
    struct store *s = open_test_store(dir);

    OK(gc_run(s, &o, &r, e));
    store_close(s);
}

/* Look at what the child has left, as a process that comes later would. */
static void
check_after(const char *dir)
{
    const struct fsck_options o = {.walk = walk_any, .files = files_any};
    struct fsck_result r;
    struct store *s;

    check_promises(dir);
    OK(fsck_run(dir, &o, &r, e));
    assert_true(fsck_clean(&r));
    assert_int_equal(r.n_manifests_repaired, 0);
    collect(dir);
    collect(dir);
    check_promises(dir);
    s = open_test_store(dir);
    OK(snap_make(s, 100, 0, 40, e)); /* and it goes on */
    store_close(s);
    collect(dir);
    check_promises(dir);
    s = open_test_store(dir);
    snap_check(s, 100, 0, 40);
    store_close(s);
    OK(fsck_run(dir, &o, &r, e));
    assert_true(fsck_clean(&r));
    assert_int_equal(r.n_bad_packs, 0);
}

/* One child, one accident. Returns how many changes (or reads) it made. */
static uint64_t
one_accident(void (*work)(void), struct accident a)
{
    char *dir = place_make();
    char *store = path_join(dir, "disk/store");
    char *saves = path_join(dir, "saves");
    int status = 0;
    uint64_t count;
    pid_t pid;

    memset((void *)told, 0, sizeof *told);
    looking = true;
    current = a;
    pid = fork();
    assert_int_not_equal(pid, -1);
    if (pid == 0) {
        run_child(store, saves, work, &a);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    count = told->count;
    if (!(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) &&
        !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        fail_msg("the child ended badly (%x)", status);
    }
    if (a.mode == SHIM_COUNT || a.mode == SHIM_SHORT) {
        assert_true(told->clean_end);
        assert_int_equal(told->errors, 0);
    }
    place_again(dir);
    check_after(store);
    looking = false;
    free(saves);
    free(store);
    place_free(dir);
    return count;
}

static uint64_t
step_of(uint64_t dflt, const char *name)
{
    const char *all = getenv("GPURUN_CRASH");
    const char *own = getenv(name);

    return own != NULL                              ? strtoull(own, NULL, 10)
           : all != NULL && strcmp(all, "all") == 0 ? 1
                                                    : dflt;
}

/* Every stride-th call of those that the work makes meets this. */
static uint64_t
each_call(void (*work)(void), struct accident a, uint64_t n, uint64_t stride)
{
    uint64_t done = 0;

    const char *only = getenv("GPURUN_CRASH_ONLY"); /* "MODE READS AT", as tell_where */
    int mode;
    int reads;
    uint64_t at;

    if (only != NULL && sscanf(only, "%d %d %" SCNu64, &mode, &reads, &at) == 3) {
        a.at = at;
        if (mode == (int)a.mode && (reads != 0) == a.reads && at <= n) {
            (void)one_accident(work, a);
        }
        return 1;
    }
    a.at = 1 + (uint64_t)a.mode % stride;
    if (power_dir != NULL && getenv("GPURUN_POWER_FROM") != NULL) {
        a.at = strtoull(getenv("GPURUN_POWER_FROM"), NULL, 10);
    }
    for (; a.at <= n; a.at += stride) {
        (void)one_accident(work, a);
        done++;
    }
    return done;
}

static void
every_accident(void (*work)(void), uint64_t stride)
{
    struct accident count = {.mode = SHIM_COUNT};
    uint64_t n = one_accident(work, count);
    uint64_t n_reads;
    uint64_t done = 0;

    assert_true(n > 20);
    if (power_dir != NULL) {
        done = each_call(work, (struct accident){.mode = SHIM_PLUG}, n,
                         step_of(stride, "GPURUN_POWER_STEP"));
        print_message("             %llu changes of files, %llu power cuts\n",
                      (unsigned long long)n, (unsigned long long)done);
        return;
    }
    stride = step_of(stride, "GPURUN_CRASH_STEP");
    for (int mode = SHIM_KILL; mode < SHIM_MODES; mode++) {
        done +=
            each_call(work, (struct accident){.mode = (enum shim_mode)mode}, n, stride);
    }
    count.reads = true;
    n_reads = one_accident(work, count);
    assert_true(n_reads > 20);
    for (int i = 0; i < 2; i++) {
        struct accident a = {.mode = i == 0 ? SHIM_EIO : SHIM_SHORT, .reads = true};

        done += each_call(work, a, n_reads, stride);
    }
    print_message("             %llu changes of files, %llu reads, %llu accidents\n",
                  (unsigned long long)n, (unsigned long long)n_reads,
                  (unsigned long long)done);
}

static int
tell_where(void **state)
{
    (void)state;
    if (looking) {
        print_error("mode %d, %s %llu\n", (int)current.mode,
                    current.reads ? "read" : "change", (unsigned long long)current.at);
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
crash__anywhere_in_an_import_breaks_no_promise(void **state)
{
    (void)state;
    every_accident(work_import, 37);
}

static void
crash__anywhere_in_fsck_breaks_no_promise(void **state)
{
    (void)state;
    every_accident(work_fsck, 37);
}

static int
set_up(void **state)
{
    char *dir;

    power_dir = getenv("GPURUN_POWER");
    /* The shim knows what a disk would have: in memory syncs cost nothing. */
    if (power_dir == NULL && access("/dev/shm", W_OK) == 0) {
        assert_int_equal(setenv("TMPDIR", "/dev/shm", 1), 0);
    }
    dir = scratch_dir();

    *state = dir;
    if (power_dir != NULL) {
        command("cd %s && truncate -s 64M blank && mkfs.ext4 -q -F blank", power_dir);
    }
    make_archive(dir);
    return 0;
}

static int
tear_down(void **state)
{
    free(archive.file);
    scratch_free(*state);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(
            crash__anywhere_in_put_commit_drop_and_gc_breaks_no_promise, tell_where),
        cmocka_unit_test_teardown(crash__anywhere_in_a_rebuild_breaks_no_promise,
                                  tell_where),
        cmocka_unit_test_teardown(crash__anywhere_in_an_import_breaks_no_promise,
                                  tell_where),
        cmocka_unit_test_teardown(crash__anywhere_in_fsck_breaks_no_promise, tell_where),
    };

    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                -1, 0);
    if (told == MAP_FAILED) {
        return 1;
    }
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
