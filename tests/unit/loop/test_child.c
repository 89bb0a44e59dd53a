#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/loop/child.h"
#include "runner/loop/fdio.h"
#include "runner/loop/loop_internal.h"

#define SECOND ((int64_t)1000000000)

struct result {
    struct child *c;
    int ends;
    struct child_end end;
    bool free_self;
};

static void
on_end(void *ctx, const struct child_end *end)
{
    struct result *r = ctx;

    r->ends++;
    r->end = *end;
    if (r->free_self) {
        child_free(r->c);
        r->c = NULL;
    }
}

static struct loop *
new_loop(bool no_pidfd)
{
    struct loop *l;
    struct err e;

    assert_int_equal(loop_new(&l, &e), 0);
    l->no_pidfd = no_pidfd;
    return l;
}

static void
start_sh(struct loop *l, const char *script, struct result *r)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)(uintptr_t)script, NULL};
    struct child_options o = {.file = "sh", .argv = argv};
    struct err e;

    if (child_start(&r->c, l, &o, on_end, r, &e) == -1) {
        fail_msg("%s", e.msg);
    }
}

static void
child__end_is_told_once_as_it_was(void **state)
{
    static const struct {
        const char *script;
        bool signalled;
        int status;
    } cases[] = {
        {"exit 0", false, 0},
        {"exit 1", false, 1},
        {"exit 255", false, 255},
        {"kill -9 $$", true, SIGKILL},
        {"kill -TERM $$", true, SIGTERM},
        {"kill -INT $$", true, SIGINT},
        {"kill -PIPE $$", true, SIGPIPE},
    };

    (void)state;
    for (int no_pidfd = 0; no_pidfd < 2; no_pidfd++) {
        struct loop *l = new_loop(no_pidfd == 1);

        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            struct result r = {.free_self = i % 2 == 0};

            start_sh(l, cases[i].script, &r);
            assert_true(child_pid(r.c) > 0);
            assert_int_equal(child_pidfd(r.c) == -1, no_pidfd == 1);
            loop_run(l); /* ends when the child has */
            assert_int_equal(r.ends, 1);
            assert_int_equal(r.end.signalled, cases[i].signalled);
            assert_int_equal(r.end.status, cases[i].status);
            child_free(r.c);
        }
        loop_free(l);
    }
}

static void
child__many_at_once_are_all_told(void **state)
{
    (void)state;
    for (int no_pidfd = 0; no_pidfd < 2; no_pidfd++) {
        struct loop *l = new_loop(no_pidfd == 1);
        struct result r[20] = {0};
        char script[32];

        for (int i = 0; i < 20; i++) {
            r[i].free_self = true;
            (void)snprintf(script, sizeof script, "exit %d", i);
            start_sh(l, script, &r[i]);
        }
        loop_run(l);
        for (int i = 0; i < 20; i++) {
            assert_int_equal(r[i].ends, 1);
            assert_int_equal(r[i].end.status, i);
        }
        loop_free(l);
    }
}

static void
child_kill__hits_only_the_living(void **state)
{
    struct loop *l = new_loop(false);
    struct result r = {0};
    struct err e;

    (void)state;
    start_sh(l, "exec sleep 1000", &r);
    assert_int_equal(child_kill(r.c, SIGTERM, &e), 0);
    loop_run(l);
    assert_true(r.end.signalled);
    assert_int_equal(r.end.status, SIGTERM);
    assert_int_equal(child_kill(r.c, SIGTERM, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    child_free(r.c);
    loop_free(l);
}

static void
child_free__lets_a_living_child_go(void **state)
{
    (void)state;
    for (int no_pidfd = 0; no_pidfd < 2; no_pidfd++) {
        struct loop *l = new_loop(no_pidfd == 1);
        struct result r = {0};
        pid_t pid;
        int status;

        start_sh(l, "exec sleep 1000", &r);
        pid = child_pid(r.c);
        child_free(r.c);
        loop_run(l);
        assert_int_equal(r.ends, 0);
        loop_free(l);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
    }
}

/* Run a script with these options; what it prints, and its exit status. */
static int
run_and_read(struct child_options o, const char *script, struct buf *out)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)(uintptr_t)script, NULL};
    int fds[2];
    int map[CHILD_FDS_MAX];
    pid_t pid;
    int status;
    struct err e;
    char chunk[4096];
    ssize_t n;

    assert_int_equal(fdio_pipe(fds, false, &e), 0);
    memset(map, -1, sizeof map);
    for (size_t i = 0; i < o.n_fds; i++) {
        map[i] = o.fds[i];
    }
    map[1] = fds[1];
    o.fds = map;
    o.n_fds = o.n_fds < 2 ? 2 : o.n_fds;
    o.file = "/bin/sh";
    o.argv = argv;
    if (child_spawn(&pid, &o, &e) == -1) {
        fail_msg("%s", e.msg);
    }
    close(fds[1]);
    buf_reset(out);
    while ((n = read(fds[0], chunk, sizeof chunk)) > 0) {
        buf_add(out, chunk, (size_t)n);
    }
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void
child__has_exactly_the_descriptors_it_is_given(void **state)
{
    struct buf out = BUF_INIT;
    int stray = open("/dev/null", O_RDONLY); /* not close-on-exec: a stranger's */
    int high = fcntl(stray, F_DUPFD, 200);
    int a[2];
    int b[2];
    int fds[6] = {-1, -1, -1, -1, -1, -1};

    (void)state;
    assert_int_equal(pipe(a), 0);
    assert_int_equal(pipe(b), 0);
    /* ls itself opens one more, the directory: 3 without anything else. */
    assert_int_equal(run_and_read((struct child_options){0}, "ls /proc/self/fd", &out),
                     0);
    assert_string_equal(buf_str(&out), "0\n1\n2\n3\n");
    assert_int_equal(run_and_read((struct child_options){0},
                                  "readlink /proc/$$/fd/0 /proc/$$/fd/2", &out),
                     0);
    assert_string_equal(buf_str(&out), "/dev/null\n/dev/null\n");

    /* Crosswise, where each number is another's source. */
    fds[3] = b[1];
    fds[5] = a[1];
    assert_int_equal(run_and_read((struct child_options){.fds = fds, .n_fds = 6},
                                  "echo three >&3; echo five >&5; ls /proc/self/fd",
                                  &out),
                     0);
    assert_string_equal(buf_str(&out), "0\n1\n2\n3\n4\n5\n");
    {
        char got[16] = {0};

        assert_int_equal(read(b[0], got, sizeof got), 6);
        assert_string_equal(got, "three\n");
        memset(got, 0, sizeof got);
        assert_int_equal(read(a[0], got, sizeof got), 5);
        assert_string_equal(got, "five\n");
    }
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    close(stray);
    close(high);
    buf_free(&out);
}

static void
child__swaps_descriptors_without_losing_one(void **state)
{
    struct buf out = BUF_INIT;
    int a[2];
    int b[2];
    int fds[32];
    char script[64];
    char got[16] = {0};

    (void)state;
    assert_int_equal(pipe(a), 0);
    assert_int_equal(pipe(b), 0);
    /* Each takes the other's number. */
    memset(fds, -1, sizeof fds);
    fds[a[1]] = b[1];
    fds[b[1]] = a[1];
    (void)snprintf(script, sizeof script, "echo A >&%d; echo B >&%d", a[1], b[1]);
    assert_int_equal(
        run_and_read((struct child_options){.fds = fds, .n_fds = 32}, script, &out), 0);
    assert_int_equal(read(b[0], got, sizeof got), 2);
    assert_string_equal(got, "A\n");
    assert_int_equal(read(a[0], got, sizeof got), 2);
    assert_string_equal(got, "B\n");
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
    buf_free(&out);
}

static void
child__starts_with_clean_signals(void **state)
{
    struct buf out = BUF_INIT;
    sigset_t block;
    sigset_t before;
    struct loop *l = new_loop(false); /* ignores SIGPIPE */
    void (*old)(int) = signal(SIGINT, SIG_IGN);

    (void)state;
    (void)sigemptyset(&block);
    (void)sigaddset(&block, SIGUSR1);
    (void)sigaddset(&block, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &block, &before);
    /* posix_spawn, which make uses, leaves glibc's own 32, 33 or both ignored. */
    assert_int_equal(run_and_read((struct child_options){0},
                                  "sed -nE '/^SigIgn/s/[01][08]0000000$/000000000/; "
                                  "/^Sig(Blk|Ign)/p' /proc/self/status",
                                  &out),
                     0);
    assert_string_equal(buf_str(&out), "SigBlk:\t0000000000000000\n"
                                       "SigIgn:\t0000000000000000\n");
    /* Ours are as they were. */
    {
        sigset_t now;

        (void)sigprocmask(SIG_SETMASK, &before, &now);
        assert_true(sigismember(&now, SIGUSR1));
        assert_false(sigismember(&now, SIGUSR2));
    }
    (void)signal(SIGINT, old);
    loop_free(l);
    buf_free(&out);
}

static int
prepare_fails(void *ctx)
{
    return *(int *)ctx;
}

static int
prepare_umask(void *ctx)
{
    (void)ctx;
    (void)umask(0123);
    return 0;
}

static void
child__is_set_up_as_asked(void **state)
{
    struct buf out = BUF_INIT;
    char *envp[] = {(char *)"ONLY=this", NULL};

    (void)state;
    assert_int_equal(
        run_and_read((struct child_options){.cwd = "/usr", .envp = envp},
                     "pwd; env | grep -v ^PWD= | grep -v ^_= | grep -v SHLVL", &out),
        0);
    assert_string_equal(buf_str(&out), "/usr\nONLY=this\n");
    assert_int_equal(run_and_read((struct child_options){.new_session = true},
                                  "cut -d' ' -f1,5,6 /proc/$$/stat; echo $$", &out),
                     0);
    {
        int pid;
        int pgrp;
        int sid;
        int shell;

        assert_int_equal(sscanf(buf_str(&out), "%d %d %d %d", &pid, &pgrp, &sid, &shell),
                         4);
        assert_int_equal(pid, shell);
        assert_int_equal(pgrp, pid);
        assert_int_equal(sid, pid);
    }
    assert_int_equal(run_and_read((struct child_options){.new_group = true},
                                  "cut -d' ' -f5,6 /proc/$$/stat; echo $$", &out),
                     0);
    {
        int pgrp;
        int sid;
        int shell;

        assert_int_equal(sscanf(buf_str(&out), "%d %d %d", &pgrp, &sid, &shell), 3);
        assert_int_equal(pgrp, shell);
        assert_int_equal(sid, getsid(0));
    }
    assert_int_equal(
        run_and_read((struct child_options){.prepare = prepare_umask}, "umask", &out), 0);
    assert_string_equal(buf_str(&out), "0123\n");
    buf_free(&out);
}

static void
child__that_cannot_start_is_an_error_of_the_call(void **state)
{
    char *argv[] = {(char *)"x", NULL};
    char dir[] = "/tmp/test_child.XXXXXX";
    char path[64];
    int nine = ENOMEM;
    const struct {
        struct child_options o;
        enum err_code code;
        const char *msg;
    } cases[] = {
        {{.file = "no-such-program-anywhere"},
         ERR_NOT_FOUND,
         "there is no program 'no-such-program-anywhere'"},
        {{.file = "/no/such/program"},
         ERR_NOT_FOUND,
         "cannot run '/no/such/program': No such file or directory"},
        {{.file = ""}, ERR_NOT_FOUND, "there is no program ''"},
        {{.file = "/usr"}, ERR_DENIED, "cannot run '/usr': Permission denied"},
        {{.file = path},
         ERR_SYSTEM,
         NULL}, /* no binary, no shebang: never a shell's guess */
        {{.file = "true", .cwd = "/no/such"},
         ERR_SYSTEM,
         "cannot enter the directory '/no/such': No such file or directory"},
        {{.file = "true", .prepare = prepare_fails, .prepare_ctx = &nine},
         ERR_SYSTEM,
         "cannot prepare to run 'true': Cannot allocate memory"},
    };
    FILE *f;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/script", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    (void)fputs("echo should never run\n", f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0700), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct child_options o = cases[i].o;
        pid_t pid = -7;
        struct err e = {0};

        o.argv = argv;
        assert_int_equal(child_spawn(&pid, &o, &e), -1);
        assert_int_equal(e.code, cases[i].code);
        if (cases[i].msg != NULL) {
            assert_string_equal(e.msg, cases[i].msg);
        }
        assert_int_equal(pid, -7);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left over */
        assert_int_equal(errno, ECHILD);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* When whoever asked for a death signal dies, the child does. */
static void
child__dies_with_its_parent_where_asked(void **state)
{
    int fds[2];
    char byte;
    pid_t middle;
    struct err e;

    (void)state;
    assert_int_equal(fdio_pipe(fds, false, &e), 0);
    middle = fork();
    assert_true(middle >= 0);
    if (middle == 0) {
        char *argv[] = {(char *)"sleep", (char *)"1000", NULL};
        int map[] = {-1, fds[1]};
        struct child_options o = {.file = "sleep",
                                  .argv = argv,
                                  .fds = map,
                                  .n_fds = 2,
                                  .death_signal = SIGKILL};
        pid_t pid;

        _exit(child_spawn(&pid, &o, &e) == 0 ? 0 : 1);
    }
    close(fds[1]);
    assert_int_equal(waitpid(middle, NULL, 0), middle);
    assert_int_equal(read(fds[0], &byte, 1), 0); /* its copy is closed: it is dead */
    close(fds[0]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(child__end_is_told_once_as_it_was),
        cmocka_unit_test(child__many_at_once_are_all_told),
        cmocka_unit_test(child_kill__hits_only_the_living),
        cmocka_unit_test(child_free__lets_a_living_child_go),
        cmocka_unit_test(child__has_exactly_the_descriptors_it_is_given),
        cmocka_unit_test(child__swaps_descriptors_without_losing_one),
        cmocka_unit_test(child__starts_with_clean_signals),
        cmocka_unit_test(child__is_set_up_as_asked),
        cmocka_unit_test(child__that_cannot_start_is_an_error_of_the_call),
        cmocka_unit_test(child__dies_with_its_parent_where_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
