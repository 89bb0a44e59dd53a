#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "runner/loop/unix.h"

#define SECOND ((int64_t)1000000000)

struct place {
    char dir[200];
    int fd;
    struct loop *l;
    int accepted;
    int last;
    struct unix_peer peer;
};

static void
setup(struct place *p)
{
    struct err e;

    /* A path too long for a socket's address. */
    *p = (struct place){.fd = -1, .last = -1};
    (void)snprintf(p->dir, sizeof p->dir, "/tmp/test_unix.XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    for (int i = 0; i < 3; i++) {
        strcat(p->dir, "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        assert_int_equal(mkdir(p->dir, 0700), 0);
    }
    p->fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(p->fd >= 0);
    assert_int_equal(loop_new(&p->l, &e), 0);
}

static void
teardown(struct place *p)
{
    struct err e;

    loop_free(p->l);
    close(p->fd);
    *strchr(p->dir + 5, '/') = '\0';
    assert_int_equal(file_remove_tree(p->dir, &e), 0);
}

static void
on_accept(void *ctx, int fd, const struct unix_peer *peer)
{
    struct place *p = ctx;

    p->accepted++;
    if (p->last != -1) {
        close(p->last);
    }
    p->last = fd;
    p->peer = *peer;
}

static bool
has_accepted(void *ctx)
{
    return ((const struct place *)ctx)->accepted > 0;
}

static int
n_names(const struct place *p)
{
    char cmd[300];
    FILE *f;
    int n = -1;

    (void)snprintf(cmd, sizeof cmd, "ls -A %s | wc -l", p->dir);
    f = popen(cmd, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &n), 1);
    assert_int_equal(pclose(f), 0);
    return n;
}

static void
unix__connects_and_tells_who_is_there(void **state)
{
    struct place p;
    struct unix_listener *u;
    struct unix_peer peer;
    struct stat st;
    int fd = -1;
    char byte = 0;
    struct err e;

    (void)state;
    setup(&p);
    assert_int_equal(unix_listen(&u, p.l, p.fd, "sock", on_accept, &p, &e), 0);
    assert_int_equal(fstatat(p.fd, "sock", &st, 0), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(n_names(&p), 1);
    assert_int_equal(unix_connect(p.fd, "sock", &fd, &peer, &e), 0);
    assert_int_equal(peer.pid, getpid());
    assert_int_equal(peer.uid, geteuid());
    assert_true(loop_run_until(p.l, has_accepted, &p, 60 * SECOND));
    assert_int_equal(p.peer.pid, getpid());
    assert_int_equal(fcntl(p.last, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(fcntl(p.last, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(read(p.last, &byte, 1), 1);
    assert_int_equal(byte, 'x');
    close(fd);
    close(p.last);
    unix_listener_free(u);
    teardown(&p);
}

static void
unix_listen__replaces_what_was_there(void **state)
{
    struct place p;
    struct unix_listener *u;
    struct unix_listener *later;
    int fd = -1;
    struct err e = {0};

    (void)state;
    setup(&p);
    assert_int_equal(unix_listen(&u, p.l, p.fd, "sock", on_accept, &p, &e), 0);
    unix_listener_free(u); /* the name stays, like after a crash */
    assert_int_equal(unix_connect(p.fd, "sock", &fd, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LINK);
    assert_int_equal(unix_listen(&later, p.l, p.fd, "sock", on_accept, &p, &e), 0);
    assert_int_equal(n_names(&p), 1);
    assert_int_equal(unix_connect(p.fd, "sock", &fd, NULL, &e), 0);
    close(fd);
    unix_listener_free(later);
    teardown(&p);
}

static void
unix_connect__refuses_what_is_no_socket_of_ours(void **state)
{
    struct place p;
    int fd = -7;
    struct err e = {0};

    (void)state;
    setup(&p);
    assert_int_equal(unix_connect(p.fd, "sock", &fd, NULL, &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_int_equal(file_replace_at(p.fd, "file", "x", 1, &e), 0);
    assert_int_equal(unix_connect(p.fd, "file", &fd, NULL, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(symlinkat("/run/nothing", p.fd, "link"), 0);
    assert_int_equal(unix_connect(p.fd, "link", &fd, NULL, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(unix_connect(p.fd, "../sock", &fd, NULL, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(unix_connect(p.fd, "", &fd, NULL, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(fd, -7);
    teardown(&p);
}

/* As root only: another user can neither connect nor be connected to. */
static void
unix__turns_other_users_away(void **state)
{
    struct place p;
    struct unix_listener *u;
    struct err e;
    pid_t pid;
    int status;

    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    setup(&p);
    assert_int_equal(unix_listen(&u, p.l, p.fd, "sock", on_accept, &p, &e), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = -1;

        /* A connection that is not ours, made while we may still open the socket. */
        if (unix_connect(p.fd, "sock", &fd, NULL, &e) == -1) {
            _exit(1);
        }
        close(fd);
        if (setuid(65534) == -1) {
            _exit(2);
        }
        _exit(unix_connect(p.fd, "sock", &fd, NULL, &e) == -1 && e.code == ERR_DENIED
                  ? 0
                  : 3);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    /* Opened wide by somebody, the check of who it is still holds. */
    assert_int_equal(fchmodat(p.fd, "sock", 0777, 0), 0);
    assert_int_equal(chmod(p.dir, 0755), 0);
    p.accepted = 0;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = -1;

        if (setuid(65534) == -1) {
            _exit(2);
        }
        _exit(unix_connect(p.fd, "sock", &fd, NULL, &e) == -1 && e.code == ERR_DENIED
                  ? 0
                  : 3);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
    (void)loop_run_until(p.l, has_accepted, &p, SECOND / 5);
    /* Only the connection root made above was let in. */
    assert_int_equal(p.accepted, 1);
    assert_int_equal(p.peer.uid, 0);
    close(p.last);
    unix_listener_free(u);
    teardown(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unix__connects_and_tells_who_is_there),
        cmocka_unit_test(unix_listen__replaces_what_was_there),
        cmocka_unit_test(unix_connect__refuses_what_is_no_socket_of_ours),
        cmocka_unit_test(unix__turns_other_users_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
