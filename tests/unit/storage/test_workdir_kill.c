#include "tests/unit/storage/tree_util.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/file.h"
#include "storage/build.h"
#include "storage/scache.h"
#include "storage/workdir.h"

/*
 * Who changes an ended job's directory in place is killed at each of its calls that
 * change something there, writes cut in half. What has a cache then is whole, who tries
 * again and the next jobs get what they asked for, and nothing stays that nobody claims.
 */

#define KILLED    9
#define TAKEN     "j1" /* the directory that is changed in place */
#define CALLS_MAX 200

static struct counts {
    atomic_uint n;
    atomic_uint n_patched; /* writes into the directory that was taken */
    atomic_bool synced;    /* the place, since the taken directory lost its cache */
    atomic_bool early;     /* written before that */
} * counts;
static unsigned die_at; /* 0: never */
static bool armed;

static bool
path_of(int fd, char out[300])
{
    char link[40];
    ssize_t n;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, out, 299);
    out[n > 0 ? n : 0] = '\0';
    return armed && strstr(out, "/work") != NULL;
}

/* Another call that changes something in the place: is it the last? */
static bool
is_last(int fd, bool contents)
{
    char path[300];

    if (!path_of(fd, path)) {
        return false;
    }
    if (contents && strstr(path, "/" TAKEN "/") != NULL) {
        atomic_fetch_add(&counts->n_patched, 1);
        if (!atomic_load(&counts->synced)) {
            atomic_store(&counts->early, true);
        }
    }
    return atomic_fetch_add(&counts->n, 1) + 1 == die_at;
}

static void
die_if(bool last)
{
    if (last) {
        _exit(KILLED);
    }
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
    bool last = is_last(fd, true);
    ssize_t n = syscall(SYS_pwrite64, fd, data, last ? len / 2 : len, at);

    die_if(last);
    return n;
}

ssize_t
pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    return pwrite(fd, data, len, at);
}

int
ftruncate(int fd, off_t len)
{
    die_if(is_last(fd, true));
    return (int)syscall(SYS_ftruncate, fd, len);
}

int
ftruncate64(int fd, off64_t len)
{
    return ftruncate(fd, len);
}

int
fchmod(int fd, mode_t mode)
{
    die_if(is_last(fd, false));
    return (int)syscall(SYS_fchmod, fd, mode);
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    die_if(is_last(to_fd, false));
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

int
renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    die_if(is_last(to_fd, false));
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int
unlinkat(int fd, const char *name, int flags)
{
    die_if(is_last(fd, false));
    return (int)syscall(SYS_unlinkat, fd, name, flags);
}

int
fsync(int fd)
{
    char path[300];
    size_t len;

    die_if(is_last(fd, false));
    if (path_of(fd, path) && (len = strlen(path)) > 5 &&
        strcmp(path + len - 5, "/work") == 0 && faccessat(fd, "j1.scan", F_OK, 0) == -1) {
        atomic_store(&counts->synced, true);
    }
    return (int)syscall(SYS_fsync, fd);
}

/* ---- the place ---- */

#define BIG_BYTES ((size_t)3 << 20)

struct place {
    char *scratch;
    char *store;
    int work_fd;
    struct sha256 before;
    struct sha256 after; /* one small file and three stretches of a big one differ */
};

static struct sha256
tree_of(const char *dir, struct store *s)
{
    struct build_store_sink into = {.store = s};
    struct build_sink sink = build_sink_store(&into);
    struct build_options o = {.policy = BUILD_SNAPSHOT, .scan = {.everything = true}};
    struct build_report report;
    struct sha256 id;
    int fd = open_dir(dir);

    OK(build_tree(fd, &o, &sink, &report, e));
    id = report.tree;
    build_report_free(&report);
    OK(store_commit(s, e));
    (void)close(fd);
    return id;
}

static struct place
place_new(void)
{
    struct place p = {.scratch = scratch_dir()};
    char *work = path_join(p.scratch, "work");
    char *src = path_join(p.scratch, "src");
    uint8_t *data = xmalloc(BIG_BYTES);
    uint64_t x = 7;
    struct store *s;

    for (size_t i = 0; i < BIG_BYTES; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        data[i] = (uint8_t)(x >> 33);
    }
    p.store = path_join(p.scratch, "store");
    assert_int_equal(mkdir(work, 0700), 0);
    p.work_fd = open_dir(work);
    put_file(src, "big", data, BIG_BYTES);
    put_file(src, "a", "one", 3);
    put_file(src, "b", "two", 3);
    put_file(src, "d/c", "three", 5);
    OK(store_open(&s, p.store, NULL, e));
    p.before = tree_of(src, s);
    data[100] ^= 1;
    data[BIG_BYTES / 2] ^= 1;
    put_file(src, "big", data, BIG_BYTES - 1000);
    put_file(src, "a", "other", 5);
    p.after = tree_of(src, s);
    store_close(s);
    free(data);
    free(work);
    free(src);
    return p;
}

static void
place_free(struct place *p)
{
    (void)close(p->work_fd);
    free(p->store);
    scratch_free(p->scratch);
}

static struct sha256
tree_at(const struct place *p, const char *job, struct store *s)
{
    char *rel = xasprintf("work/%s", job);
    char *path = path_join(p->scratch, rel);
    struct sha256 id = tree_of(path, s);

    free(path);
    free(rel);
    return id;
}

/* ---- the accident ---- */

/* j1 is a job's that ended, and was kept. */
static void
job_ends(const struct place *p)
{
    struct workdir_report r;
    struct build_report report;
    struct store *s;

    OK(store_open(&s, p->store, NULL, e));
    OK(workdir_make(p->work_fd, "j1", s, &p->before, NULL, &r, e));
    wait_by_ctime(p->work_fd, SETTLED_NS);
    OK(workdir_snapshot(p->work_fd, "j1", s, false, &report, e));
    build_report_free(&report);
    store_close(s);
}

/* In a child: 0, or KILLED. */
static int
change_it(const struct place *p, unsigned at)
{
    pid_t pid = fork();
    int status = 0;

    assert_true(pid != -1);
    if (pid == 0) {
        const char *candidates[] = {"j1"};
        struct workdir_options o = {
            .candidates = candidates, .n_candidates = 1, .n_threads = 1};
        struct workdir_report r;
        struct store *s;
        struct err e;

        die_at = at;
        armed = store_open(&s, p->store, NULL, &e) == 0;
        _exit(armed && workdir_make(p->work_fd, "j2", s, &p->after, &o, &r, &e) == 0 &&
                      r.way == WORKDIR_TAKEN_OVER
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
assert_whole_if_trusted(const struct place *p, const char *job, struct store *s)
{
    char *rel = xasprintf("work/%s.scan", job);
    char *path = path_join(p->scratch, rel);
    struct scache *c = scache_open(path);

    if (c != NULL && faccessat(p->work_fd, job, F_OK, 0) == 0) {
        struct sha256 said;
        struct sha256 got = tree_at(p, job, s);

        scache_tree(c, &said);
        assert_true(sha256_equal(&got, &said));
    }
    scache_close(c);
    free(path);
    free(rel);
}

static void
assert_next_gets(const struct place *p, const char *job, const struct sha256 *tree,
                 struct store *s)
{
    const char *candidates[] = {"j2", "j1"};
    struct workdir_options o = {.candidates = candidates, .n_candidates = 2};
    struct workdir_report r;
    struct sha256 got;

    OK(workdir_make(p->work_fd, job, s, tree, &o, &r, e));
    got = tree_at(p, job, s);
    assert_true(sha256_equal(&got, tree));
}

/* Before anything was swept. */
static void
assert_may_be_tried_again(const struct place *p, struct store *s)
{
    if (faccessat(p->work_fd, "j2", F_OK, 0) == -1) {
        assert_next_gets(p, "j2", &p->after, s);
    }
}

static int
is_left_over(void *ctx, int dir_fd, const char *name, struct err *e)
{
    (void)ctx;
    (void)dir_fd;
    return err_set(e, ERR_EXISTS, "%s is left over", name);
}

static void
look(const struct place *p, unsigned at)
{
    static const char *const jobs[] = {"j1", "j2", "j3", "j4"};
    struct store *s;

    OK(store_open(&s, p->store, NULL, e));
    assert_whole_if_trusted(p, "j1", s);
    assert_whole_if_trusted(p, "j2", s);
    assert_may_be_tried_again(p, s);
    OK(workdir_sweep(p->work_fd, e));
    assert_next_gets(p, "j3", at % 2 == 0 ? &p->before : &p->after, s);
    assert_next_gets(p, "j4", at % 2 == 0 ? &p->after : &p->before, s);
    for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
        OK(workdir_give_up(p->work_fd, jobs[i], e));
    }
    OK(workdir_sweep(p->work_fd, e));
    OK(file_each_name(p->work_fd, is_left_over, NULL, e));
    store_close(s);
}

static void
workdir__killed_at_any_call_leaves_nothing_half_patched_trusted(void **state)
{
    struct place p = place_new();
    int rc = KILLED;

    (void)state;
    for (unsigned at = 1; rc == KILLED; at++) {
        assert_true(at < CALLS_MAX);
        *counts = (struct counts){0};
        job_ends(&p);
        rc = change_it(&p, at);
        look(&p, at);
    }
    assert_int_equal(rc, 0);
    /* Two of the big file at least, one of the small one, and their lengths. */
    assert_true(atomic_load(&counts->n_patched) >= 5);
    place_free(&p);
}

/* The power may bring a name back that was not synced away, but not what was written. */
static void
workdir__nothing_is_patched_before_its_cache_is_gone_for_good(void **state)
{
    struct place p = place_new();

    (void)state;
    *counts = (struct counts){0};
    job_ends(&p);
    assert_int_equal(change_it(&p, 0), 0);
    assert_true(atomic_load(&counts->n_patched) > 0);
    assert_true(atomic_load(&counts->synced));
    assert_false(atomic_load(&counts->early));
    place_free(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workdir__killed_at_any_call_leaves_nothing_half_patched_trusted),
        cmocka_unit_test(workdir__nothing_is_patched_before_its_cache_is_gone_for_good),
    };

    scratch_on_disk();
    counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(counts != MAP_FAILED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
