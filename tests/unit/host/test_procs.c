#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/host/procs.h"

/* A child that waits to be killed; it has said that it runs. */
static pid_t
child(const char *name)
{
    int fds[2];
    char c;
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (name != NULL) {
            (void)prctl(PR_SET_NAME, name, 0, 0, 0);
        }
        (void)!write(fds[1], "x", 1);
        for (;;) {
            (void)pause();
        }
    }
    assert_int_equal(read(fds[0], &c, 1), 1);
    (void)close(fds[0]);
    (void)close(fds[1]);
    return pid;
}

static void
end(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void
proc__reads_names_that_look_like_fields(void **state)
{
    static const char *const names[] = {"plain", ") R 1 (", "a b) Z 1", "))))", "\n"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        pid_t pid = child(names[i]);
        struct proc_stat st;

        assert_true(proc_read_stat(pid, &st));
        assert_int_equal(st.pid, pid);
        assert_int_equal(st.ppid, getpid());
        assert_true(st.state == 'S' || st.state == 'R');
        assert_true(st.start > 0 && st.rss_bytes > 0);
        assert_true(proc_start(pid) == st.start);
        (void)kill(pid, SIGKILL);
        while (proc_start(pid) != 0) { /* a zombie is no process any more */
            (void)usleep(1000);
        }
        assert_true(proc_read_stat(pid, &st));
        assert_int_equal(st.state, 'Z');
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_false(proc_read_stat(pid, &st));
        assert_int_equal(proc_start(pid), 0);
    }
    assert_false(proc_read_stat(-1, &(struct proc_stat){0}));
}

static void
proc__lists_descendants_of_all_generations(void **state)
{
    struct proc_list l = {NULL, 0};
    struct err e = {0};
    pid_t first = child(NULL);
    int fds[2];
    pid_t grandchild;
    pid_t second;
    size_t n_found = 0;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    second = fork();
    if (second == 0) {
        pid_t own = fork();

        if (own == 0) {
            (void)setsid();
            for (;;) {
                (void)pause();
            }
        }
        (void)!write(fds[1], &own, sizeof own);
        for (;;) {
            (void)pause();
        }
    }
    assert_int_equal(read(fds[0], &grandchild, sizeof grandchild), sizeof grandchild);
    assert_ok(proc_descendants(getpid(), &l, &e));
    for (size_t i = 0; i < l.n; i++) {
        assert_int_not_equal(l.v[i].pid, getpid());
        n_found +=
            l.v[i].pid == first || l.v[i].pid == second || l.v[i].pid == grandchild;
    }
    assert_int_equal(n_found, 3);
    proc_list_free(&l);
    (void)kill(grandchild, SIGKILL);
    end(second);
    end(first);
    assert_ok(proc_descendants(getpid(), &l, &e));
    assert_int_equal(l.n, 0);
    proc_list_free(&l);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void
proc__finds_a_variable_of_the_start_environment(void **state)
{
    char *argv[] = {(char *)(uintptr_t) "sleep", (char *)(uintptr_t) "1000", NULL};
    char *envp[] = {(char *)(uintptr_t) "XGPURUN_JOB=no",
                    (char *)(uintptr_t) "EMPTY=", (char *)(uintptr_t) "GPURUN_JOB=a=b",
                    NULL};
    pid_t pid = fork();
    char *v = NULL;

    (void)state;
    if (pid == 0) {
        (void)execve("/usr/bin/sleep", argv, envp);
        _exit(127);
    }
    for (int i = 0; i < 2000 && v == NULL; i++) {
        v = proc_environ(pid, "GPURUN_JOB");
        if (v != NULL && strcmp(v, "a=b") != 0) { /* ours, before it was sleep */
            free(v);
            v = NULL;
        }
        (void)usleep(5000);
    }
    assert_non_null(v);
    free(v);
    v = proc_environ(pid, "EMPTY");
    assert_string_equal(v, "");
    free(v);
    assert_null(proc_environ(pid, "GPURUN_JO"));
    assert_null(proc_environ(pid, "NEVER"));
    end(pid);
    assert_null(proc_environ(pid, "GPURUN_JOB"));
}

static int
listen_on(int family, unsigned *port)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6,
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t n = family == AF_INET ? sizeof a4 : sizeof a6;
    struct sockaddr *a =
        family == AF_INET ? (struct sockaddr *)&a4 : (struct sockaddr *)&a6;

    if (fd == -1 || bind(fd, a, n) != 0 || listen(fd, 1) != 0 ||
        getsockname(fd, a, &n) != 0) {
        if (fd != -1) {
            (void)close(fd);
        }
        return -1;
    }
    *port = ntohs(family == AF_INET ? a4.sin_port : a6.sin6_port);
    return fd;
}

static void
proc__knows_whose_listener_it_is(void **state)
{
    static const int families[] = {AF_INET, AF_INET6};
    pid_t other = child(NULL);

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct proc_stat me;
        struct proc_stat them;
        struct proc_list mine = {&me, 1};
        struct proc_list theirs = {&them, 1};
        struct proc_list none = {NULL, 0};
        uint64_t inode = 0;
        unsigned port = 0;
        bool v6 = false;
        int fd = listen_on(families[i], &port);

        if (fd == -1 && families[i] == AF_INET6) {
            continue; /* no IPv6 here */
        }
        assert_true(fd != -1);
        assert_true(proc_read_stat(getpid(), &me));
        assert_true(proc_read_stat(other, &them));
        assert_true(proc_listens(&mine, port, &v6, &inode));
        assert_true(v6 == (families[i] == AF_INET6));
        assert_true(inode != 0);
        assert_false(proc_listens(&theirs, port, &v6, &inode));
        assert_false(proc_listens(&none, port, &v6, &inode));
        (void)close(fd);
        assert_false(proc_listens(&mine, port, &v6, &inode));
    }
    end(other);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proc__reads_names_that_look_like_fields),
        cmocka_unit_test(proc__lists_descendants_of_all_generations),
        cmocka_unit_test(proc__finds_a_variable_of_the_start_environment),
        cmocka_unit_test(proc__knows_whose_listener_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
