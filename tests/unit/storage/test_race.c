#include "tests/unit/storage/build_util.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>

/*
 * A hostile process of the same user exchanges directories and files for symbolic links,
 * thousands of times, in the place that a tree is extracted to or built from. It leads
 * neither outside: nothing there is written, changed or removed, and nothing of it read
 * into a tree.
 */
#define N_DIRS     4
#define SWAPS_WANT 6000
#define SECRET     "this lies outside and is nobody's business "

static atomic_uint *n_swaps;

/* dN/e/f, dN/f and dN/t (one file with dN/u): in both places the same names. */
static void
fill_dir(const char *dir, bool outside)
{
    char name[64];

    for (unsigned i = 0; i < N_DIRS; i++) {
        static const char *const names[] = {"e/f", "e/g", "f", "t"};
        char *t;
        char *u;

        for (size_t k = 0; k < 4; k++) {
            (void)snprintf(name, sizeof name, "d%u/%s", i, names[k]);
            if (outside) {
                put_text(dir, name, SECRET);
            } else {
                put_random(dir, name, 3000 + 40000 * k, i * 10 + k);
            }
            set_mtime(dir, name, 1600000000 + (int64_t)k, 5);
        }
        (void)snprintf(name, sizeof name, "d%u/t", i);
        t = path_join(dir, name);
        (void)snprintf(name, sizeof name, "d%u/u", i);
        u = path_join(dir, name);
        assert_int_equal(link(t, u), 0);
        free(t);
        free(u);
    }
}

/* ---- the hostile process ---- */

/* What was aside may be a directory by now, which goes elsewhere. */
static void
link_aside(int fd, const char *aside, const char *target)
{
    static unsigned n;
    char was[64];
    char junk[32];

    if (readlinkat(fd, aside, was, sizeof was) == -1) {
        (void)snprintf(junk, sizeof junk, ".junk%u", n++);
        (void)renameat(fd, aside, fd, junk);
        (void)!symlinkat(target, fd, aside);
    }
}

/* Put a link to the same name outside in the name's place, for a moment. */
static void
swap_name(int fd, const char *name, const char *target)
{
    char aside[32];

    (void)snprintf(aside, sizeof aside, ".aside-%s", name);
    link_aside(fd, aside, target);
    if (renameat2(fd, name, fd, aside, RENAME_EXCHANGE) == 0) {
        (void)sched_yield();
        (void)renameat2(fd, name, fd, aside, RENAME_EXCHANGE);
        atomic_fetch_add(n_swaps, 1);
    }
}

/* Only through descriptors of what is inside: it must not go outside itself. */
static void
harass(const char *dir, const char *outside)
{
    int fd = open_dir(dir);

    for (unsigned round = 0;; round++) {
        static const char *const names[] = {"e", "f", "t", "u"};
        char name[16];
        char target[600];
        int in;

        (void)snprintf(name, sizeof name, "d%u", round % N_DIRS);
        (void)snprintf(target, sizeof target, "%s/%s", outside, name);
        swap_name(fd, name, target);
        in = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (in != -1) {
            const char *inner = names[round / N_DIRS % 4];

            (void)snprintf(target, sizeof target, "%s/%s/%s", outside, name, inner);
            swap_name(in, inner, target);
            (void)close(in);
        }
    }
}

static pid_t
start_harassing(const char *dir, const char *outside)
{
    pid_t parent = getpid();
    pid_t pid;

    atomic_store(n_swaps, 0);
    pid = fork();
    assert_int_not_equal(pid, -1);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            harass(dir, outside);
        }
        _exit(0);
    }
    return pid;
}

static void
end_harassing(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(atomic_load(n_swaps) >= SWAPS_WANT);
}

/* ---- what lies outside ---- */

/* Of each name its inode, when that was last changed in any way, and its bytes. */
static void
describe(const char *dir, struct buf *out)
{
    char *cmd =
        xasprintf("cd '%s' && find . -printf '%%p %%i %%m %%u %%g %%n %%C@ %%T@\\n' | "
                  "sort && cat d*/f d*/t d*/e/*",
                  dir);
    FILE *p = popen(cmd, "r"); /* NOLINT(cert-env33-c): names of ours */
    char block[4096];
    size_t n;

    assert_non_null(p);
    while ((n = fread(block, 1, sizeof block, p)) > 0) {
        buf_add(out, block, n);
    }
    assert_int_equal(pclose(p), 0);
    free(cmd);
}

struct outside {
    char *dir;
    struct buf was;
};

static struct outside
outside_new(const struct setup *s)
{
    struct outside o = {.dir = path_join(s->top, "outside"), .was = BUF_INIT};

    assert_int_equal(mkdir(o.dir, 0755), 0);
    fill_dir(o.dir, true);
    describe(o.dir, &o.was);
    assert_true(o.was.len > N_DIRS * 4 * sizeof SECRET);
    return o;
}

static void
outside_is_untouched(struct outside *o)
{
    struct buf now = BUF_INIT;

    describe(o->dir, &now);
    if (now.len != o->was.len || memcmp(now.data, o->was.data, now.len) != 0) {
        fail_msg("outside something changed:\n%s\nwas:\n%s", buf_str(&now),
                 buf_str(&o->was));
    }
    buf_free(&now);
    buf_free(&o->was);
    free(o->dir);
}

/* ---- tests ---- */

static void
extract__under_swaps_writes_nothing_outside(void **state)
{
    struct setup *s = *state;
    struct outside o = outside_new(s);
    struct tree_source from = mem_source(&s->m);
    unsigned n_done = 0;
    unsigned n_tries = 0;
    char *to;
    pid_t pid;
    int fd;

    fill_dir(s->src, false);
    build(s);
    to = extract(s, "to", false);
    fd = open_dir(to);
    pid = start_harassing(to, o.dir);
    for (; atomic_load(n_swaps) < SWAPS_WANT || n_tries < 100; n_tries++) {
        const struct extract_options x = {
            .overwrite = true, .exact = n_tries % 2 == 0, .n_threads = 2};
        struct extract_report r;
        struct err ignored = {0}; /* it may fail: somebody is at work there */

        n_done += extract_tree(fd, &s->r.tree, &from, &x, &r, &ignored) == 0 ? 1 : 0;
    }
    end_harassing(pid);
    print_message("             %u swaps, %u of %u extractions came to their end\n",
                  atomic_load(n_swaps), n_done, n_tries);
    (void)close(fd);
    free(to);
    outside_is_untouched(&o);
}

/* Is any of it in a chunk? */
static bool
holds_secret(const struct mem *m)
{
    for (size_t i = 0; i < m->n; i++) {
        if (memmem(m->v[i].data, m->v[i].len, SECRET, strlen(SECRET)) != NULL) {
            return true;
        }
    }
    return false;
}

static void
build__under_swaps_reads_nothing_outside(void **state)
{
    struct setup *s = *state;
    struct outside o = outside_new(s);
    unsigned n_tries = 0;
    pid_t pid;

    fill_dir(s->src, false);
    pid = start_harassing(s->src, o.dir);
    for (; atomic_load(n_swaps) < SWAPS_WANT || n_tries < 50; n_tries++) {
        struct build_sink sink = mem_build_sink(&s->m);
        struct err ignored = {0};

        build_report_free(&s->r);
        memset(&s->r, 0, sizeof s->r);
        (void)!build_tree(s->fd, &s->o, &sink, &s->r, &ignored);
    }
    end_harassing(pid);
    assert_true(s->m.n > 4);
    assert_false(holds_secret(&s->m));
    outside_is_untouched(&o);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        build_test(extract__under_swaps_writes_nothing_outside),
        build_test(build__under_swaps_reads_nothing_outside),
    };

    n_swaps = mmap(NULL, sizeof *n_swaps, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (n_swaps == MAP_FAILED) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
