#ifndef TESTS_UNIT_STORAGE_CRASH_RUN_H
#define TESTS_UNIT_STORAGE_CRASH_RUN_H

#include <inttypes.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "storage/fsck.h"
#include "storage/verify.h"
#include "tests/unit/crash_place.h"
#include "tests/unit/crash_shim.h"
#include "tests/unit/storage/crash_archive.h"
#include "tests/unit/storage/snap_util.h"

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
#define SNAPS 7
static const uint64_t span[SNAPS][2] = {{0, 12},  {6, 18}, {30, 40}, {4, 9},
                                        {50, 62}, {5, 15}, {0, 20}};
/* The one that is made afterwards. */
#define LATER      100
#define LATER_FROM 0
#define LATER_TO   40

#define HURTS     4
#define ASKED_MAX 4
#define DAY       ((int64_t)86400 * 1000000000)

struct told {
    volatile uint64_t count; /* changes of the file system */
    volatile bool made[SNAPS];
    volatile bool dropping[SNAPS]; /* asked for, or due, perhaps not done */
    volatile bool dropped[SNAPS];
    volatile bool regaining[SNAPS];
    volatile bool regained[SNAPS];
    volatile int64_t end[SNAPS]; /* of its claim */
    /* And those asked for since, each of them perhaps set: a directory was not synced. */
    volatile int64_t asked_ends[SNAPS][ASKED_MAX];
    volatile uint64_t n_asked[SNAPS];
    volatile bool imported;
    volatile uint64_t hurt[HURTS]; /* chunks whose stored bytes were damaged */
    volatile uint64_t n_hurt;
    volatile bool mended;          /* taken out by fsck, and put again */
    volatile uint64_t n_rewritten; /* packs, by gc */
    volatile int64_t wall_ns;
    volatile int64_t boot_ns;
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

/* Time passes only where a work lets it. */
static inline int64_t
crash_clock(enum clock_kind kind)
{
    return kind == CLOCK_KIND_WALL ? told->wall_ns : told->boot_ns;
}

static inline void
days_pass(int64_t n)
{
    told->wall_ns += n * DAY;
    told->boot_ns += n * DAY;
}

/* Snapshots here have lists for trees; the imported one has a tree. */
static inline int
walk_any(struct store *s, const struct sha256 *tree, gc_chunk_fn *chunk, void *arg,
         struct err *e)
{
    return (sha256_equal(tree, &archive.tree) ? gc_walk_tree : walk_list)(s, tree, chunk,
                                                                          arg, e);
}

static inline int
files_any(struct store *s, const struct sha256 *tree, fsck_missing_fn *missing,
          void *missing_arg, fsck_file_fn *file, void *file_arg, struct err *e)
{
    return (sha256_equal(tree, &archive.tree) ? fsck_files_tree : list_files)(
        s, tree, missing, missing_arg, file, file_arg, e);
}

/* ---- what a child does ---- */

static inline int
step(int rc)
{
    told->errors += rc == -1 ? 1 : 0;
    return rc;
}

static inline struct store *
child_open(void)
{
    struct store *s = NULL;
    struct err e;

    return step(store_open(&s, shim.root, NULL, &e)) == -1 ? NULL : s;
}

static inline void
child_snap(struct store *s, uint64_t n)
{
    struct err e;

    if (s != NULL && step(snap_make(s, n, span[n][0], span[n][1], &e)) == 0) {
        told->made[n] = true;
    }
}

static inline void
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

static inline void
child_gc(void)
{
    const struct gc_options o = {.walk = walk_any};
    struct gc_result r;
    struct store *s = child_open();
    struct err e;

    if (s != NULL && step(gc_run(s, &o, &r, &e)) == 0) {
        told->n_rewritten += r.n_packs_rewritten;
    }
    store_close(s);
}

static inline bool
child_fsck(void)
{
    const struct fsck_options o = {.walk = walk_any, .files = files_any};
    struct fsck_result r;
    struct err e;

    return step(fsck_run(shim.root, &o, &r, &e)) == 0;
}

static inline void
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

/* ---- what the parent sees ---- */

static inline void
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
    OK(verify_tree(s, &archive.tree, &(struct verify_options){.damaged = NULL}, &v, e));
    assert_int_equal(v.n_damaged, 0);
    assert_int_equal(v.n_entries, archive.n_entries);
}

/* May chunk n be missing, as its bytes were damaged? */
static inline bool
is_hurt(uint64_t n)
{
    for (uint64_t i = 0; i < told->n_hurt && !told->mended; i++) {
        if (told->hurt[i] == n) {
            return true;
        }
    }
    return false;
}

/* Every byte of a snapshot that is kept, but for what was damaged. */
static inline void
check_kept(struct store *s, uint64_t n, uint64_t from, uint64_t to)
{
    if (told->n_hurt == 0 || told->mended) {
        snap_check(s, n, from, to);
        return;
    }
    for (uint64_t i = from; i < to; i++) {
        struct sha256 id = snap_chunk_id(i);
        struct buf b = BUF_INIT;
        struct sha256 got;
        struct err err;

        if (store_get(s, &id, &b, &err) == -1) {
            if (!is_hurt(i)) {
                fail_msg("chunk %d of snapshot %d: %s", (int)i, (int)n, err.msg);
            }
        } else {
            sha256_of(b.data, b.len, &got);
            assert_true(sha256_equal(&got, &id));
        }
        buf_free(&b);
    }
}

static inline void
ask_end(uint64_t n, int64_t end)
{
    if (told->n_asked[n] == ASKED_MAX) {
        abort();
    }
    told->asked_ends[n][told->n_asked[n]++] = end;
}

static inline void
end_is_set(uint64_t n, int64_t end)
{
    told->end[n] = end;
    told->n_asked[n] = 0;
}

/* Where a call failed, the clock may have been looked at later: then ends are put off. */
static inline bool
calls_fail(void)
{
    return current.reads || (current.mode >= SHIM_EIO && current.mode < SHIM_MODES);
}

static inline bool
is_this_end(int64_t end, int64_t wanted)
{
    return end == wanted || (calls_fail() && end > wanted);
}

static inline bool
is_an_end(uint64_t n, int64_t end)
{
    bool is = is_this_end(end, told->end[n]);

    for (uint64_t i = 0; i < told->n_asked[n]; i++) {
        is = is || is_this_end(end, told->asked_ends[n][i]);
    }
    return is;
}

static inline void
check_claim(const struct snap_claim *c, uint64_t n)
{
    if (told->dropped[n] && !told->regaining[n]) {
        assert_int_equal(c->data, SNAP_DATA_GONE);
    }
    if (told->regained[n]) {
        assert_int_equal(c->data, SNAP_DATA_KEPT);
    }
    if (c->data == SNAP_DATA_GONE) {
        if (!told->dropping[n]) {
            fail_msg("snapshot %d was given up: %s", (int)n, c->why);
        }
    } else if (!is_an_end(n, c->expires_wall_ns)) {
        fail_msg("snapshot %d ends at %lld, not at %lld", (int)n,
                 (long long)c->expires_wall_ns, (long long)told->end[n]);
    }
}

static inline void
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
        check_claim(&c, n);
        if (c.data == SNAP_DATA_KEPT) { /* there at all means there as a whole */
            check_kept(s, n, span[n][0], span[n][1]);
        }
    }
    check_imported(s);
    store_close(s);
}

static inline void
collect(const char *dir)
{
    const struct gc_options o = {.walk = walk_any};
    struct gc_result r;
    struct store *s = open_test_store(dir);

    OK(gc_run(s, &o, &r, e));
    store_close(s);
}

/* What is due goes; nothing else does, now or later. */
static inline void
expire(const char *dir)
{
    struct store *s = open_test_store(dir);
    struct snap_expiry r;

    OK(snap_expire(s, &r, NULL, NULL, e));
    store_close(s);
}

/* fsck names a file: it has to be one that was damaged. */
static inline void
count_named(void *arg, const char *snap_id, const char *path, size_t path_len,
            const struct err *why)
{
    size_t *n = arg;

    for (uint64_t i = 0; i < told->n_hurt && path != NULL; i++) {
        struct sha256 id = snap_chunk_id(told->hurt[i]);
        char hex[SHA256_HEX_LEN + 1];

        sha256_format(&id, hex);
        if (is_hurt(told->hurt[i]) && path_len == SHA256_HEX_LEN &&
            memcmp(path, hex, SHA256_HEX_LEN) == 0) {
            (*n)++;
            return;
        }
    }
    fail_msg("fsck names %.*s of %s: %s", (int)path_len, path == NULL ? "" : path,
             snap_id, why->msg);
}

/* How often do snapshots that are kept need a chunk that is not there? */
static inline size_t
count_missing_chunks(const char *dir)
{
    struct store *s = open_test_store(dir);
    size_t n_missing = 0;

    for (uint64_t n = 0; n < SNAPS; n++) {
        char id[MANIFEST_ID_MAX + 1];
        struct snap_claim c;
        struct err err;

        snap_name(n, id);
        if (snap_claim_get(s, id, &c, &err) == -1 || c.data != SNAP_DATA_KEPT) {
            continue;
        }
        for (uint64_t i = span[n][0]; i < span[n][1]; i++) {
            struct sha256 chunk = snap_chunk_id(i);

            n_missing += has_one(s, &chunk) ? 0 : 1;
        }
    }
    store_close(s);
    return n_missing;
}

/* fsck finds nothing wrong, or names just what was damaged before. */
static inline struct fsck_result
check_by_fsck(const char *dir)
{
    size_t n_named = 0;
    const struct fsck_options o = {
        .walk = walk_any, .files = files_any, .damaged = count_named, .arg = &n_named};
    struct fsck_result r;

    OK(fsck_run(dir, &o, &r, e));
    assert_int_equal(r.n_manifests_lost, 0);
    assert_int_equal(r.n_manifests_repaired, 0);
    assert_int_equal(n_named, count_missing_chunks(dir));
    assert_int_equal(r.n_snaps_damaged > 0, n_named > 0);
    if (told->n_hurt == 0 || told->mended) {
        assert_true(fsck_clean(&r));
    }
    return r;
}

/* Look at what the child has left, as a process that comes later would. */
static inline void
check_after(const char *dir)
{
    struct fsck_result r;
    struct store *s;

    check_promises(dir);
    (void)check_by_fsck(dir);
    expire(dir);
    collect(dir);
    collect(dir);
    check_promises(dir);
    s = open_test_store(dir);
    OK(snap_make(s, LATER, LATER_FROM, LATER_TO, e)); /* and it goes on */
    store_close(s);
    told->mended = true; /* by that */
    days_pass(3);
    expire(dir);
    collect(dir);
    check_promises(dir);
    s = open_test_store(dir);
    snap_check(s, LATER, LATER_FROM, LATER_TO);
    store_close(s);
    r = check_by_fsck(dir);
    assert_int_equal(r.n_bad_packs, 0);
}

/* ---- every accident ---- */

/* One child, one accident. Returns how many changes (or reads) it made. */
static inline uint64_t
one_accident(void (*work)(void), struct accident a)
{
    char *dir = place_make();
    char *store = path_join(dir, "disk/store");
    char *saves = path_join(dir, "saves");
    int status = 0;
    uint64_t count;
    pid_t pid;

    memset((void *)told, 0, sizeof *told);
    told->wall_ns = 20000 * DAY;
    told->boot_ns = 5 * DAY;
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

/* Every stride-th call of those that the work makes meets this. */
static inline uint64_t
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

static inline void
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

static inline int
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

static inline int
set_up(void **state)
{
    char *dir;

    place_choose();
    dir = scratch_dir();

    *state = dir;
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                -1, 0);
    assert_true(told != MAP_FAILED);
    make_archive(dir);
    clock_set_source(crash_clock);
    return 0;
}

static inline int
tear_down(void **state)
{
    clock_set_source(NULL);
    free_archive();
    scratch_free(*state);
    return 0;
}

#endif
