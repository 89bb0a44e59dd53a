#include "runner/host/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/host/guard_internal.h"
#include "runner/host/procs.h"

#define START_TIMEOUT_MS 10000
#define END_PAUSE_MS     2
#define NS_PER_MS        ((int64_t)1000000)

struct guard {
    int sock;
    pid_t pid;
    enum sandbox_spaces spaces;
    bool gone;   /* its socket ended */
    bool reaped; /* the process is no more */
};

/* What the process between us says before it exits. */
struct midwife_word {
    pid_t pid;
    int failed;
};

/*
 * The process between supervisor and guard: it enters the new pid name space by having a
 * child there, and leaves. The guard's pid, as we see it, comes back by fork's answer.
 */
static _Noreturn void
midwife(int sock, int word_fd, enum sandbox_spaces spaces)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    struct midwife_word w = {-1, sandbox_unshare(spaces, uid, gid)};

    if (w.failed == 0) {
        w.pid = _Fork(); /* fork would have libuv reopen what the guard closes */
        if (w.pid == 0) {
            (void)close(word_fd);
            guard_main(sock, spaces);
        }
        w.failed = w.pid == -1 ? errno : 0;
    }
    (void)!write(word_fd, &w, sizeof w);
    _exit(0);
}

static int
wait_readable(int fd, int timeout_ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    int n;

    do {
        n = poll(&p, 1, timeout_ms);
    } while (n == -1 && errno == EINTR);
    return n == 1 ? 0 : n == 0 ? ETIMEDOUT : errno;
}

/* The guard's first word: whether it could set itself up. 0 or an errno. */
static int
hear_first(struct guard *g)
{
    struct guard_event ev;
    int failed = wait_readable(g->sock, START_TIMEOUT_MS);

    if (failed != 0) {
        return failed;
    }
    if (!guard_next(g, &ev)) {
        return EPROTO;
    }
    if (ev.kind == GUARD_EV_DONE) {
        return 0;
    }
    return ev.kind == GUARD_EV_FAILED && ev.why.sys_errno != 0 ? ev.why.sys_errno
                                                               : EPROTO;
}

static int
try_start(struct guard *g, enum sandbox_spaces spaces)
{
    int pair[2] = {-1, -1};
    int word[2] = {-1, -1};
    struct midwife_word w = {-1, EPROTO};
    pid_t mid = -1;
    int failed = 0;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0 ||
        pipe2(word, O_CLOEXEC) != 0) {
        failed = errno;
        goto out;
    }
    mid = _Fork();
    if (mid == 0) {
        (void)close(pair[0]);
        (void)close(word[0]);
        midwife(pair[1], word[1], spaces);
    }
    if (mid == -1) {
        failed = errno;
        goto out;
    }
    (void)fd_close(&pair[1]);
    (void)fd_close(&word[1]);
    if (fd_read_full(word[0], &w, sizeof w) != (ssize_t)sizeof w) {
        w.failed = EPROTO;
    }
    while (waitpid(mid, NULL, 0) == -1 && errno == EINTR) {
    }
    failed = w.failed;
    if (failed == 0) {
        g->sock = pair[0];
        g->pid = w.pid;
        g->spaces = spaces;
        pair[0] = -1;
        failed = hear_first(g);
        if (failed != 0) {
            (void)fd_close(&g->sock); /* it ends itself */
            while (waitpid(w.pid, NULL, 0) == -1 && errno == EINTR) {
            }
        }
    }

out:
    (void)fd_close(&pair[0]);
    (void)fd_close(&pair[1]);
    (void)fd_close(&word[0]);
    (void)fd_close(&word[1]);
    return failed;
}

int
guard_start(struct guard **out, struct err *e)
{
    struct guard *g = xcalloc(1, sizeof *g);
    enum sandbox_spaces modes[2] = {
        geteuid() == 0 ? SANDBOX_SPACES_ROOT : SANDBOX_SPACES_USER, SANDBOX_SPACES_NONE};
    int failed = 0;

    g->sock = -1;
    /* The guard outlives the process that forks it, and is to become our child. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
        err_set_sys(e, errno, "cannot become a subreaper");
        free(g);
        return -1;
    }
    for (size_t i = 0; i < 2; i++) {
        failed = try_start(g, modes[i]);
        if (failed == 0) {
            (void)fcntl(g->sock, F_SETFL, O_NONBLOCK);
            *out = g;
            return 0;
        }
    }
    free(g);
    return err_set_sys(e, failed, "cannot start the job's guard");
}

void
guard_close(struct guard *g)
{
    (void)fd_close(&g->sock);
}

void
guard_kill(struct guard *g)
{
    if (!g->reaped) {
        (void)kill(g->pid, SIGKILL);
    }
}

/* pidfds are younger than some kernels: there it is a pause. */
static void
wait_for_exit(pid_t pid, int timeout_ms)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (fd == -1) {
        (void)poll(NULL, 0, timeout_ms < END_PAUSE_MS ? timeout_ms : END_PAUSE_MS);
        return;
    }
    (void)wait_readable(fd, timeout_ms);
    (void)close(fd);
}

/*
 * A guard without a name space that was killed leaves what it guarded to us, its own
 * reaper. true: there is nothing (any more).
 */
static bool
end_orphans(void)
{
    struct proc_list l = {NULL, 0};
    struct err none;
    pid_t pid;

    if (proc_descendants(getpid(), &l, &none) == 0) {
        for (size_t i = 0; i < l.n; i++) {
            (void)kill(l.v[i].pid, SIGKILL);
        }
        proc_list_free(&l);
    }
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
    }
    return pid == -1 && errno == ECHILD;
}

bool
guard_wait(struct guard *g, int timeout_ms)
{
    int64_t until_ns = clock_boot_ns() + timeout_ms * NS_PER_MS;

    for (;;) {
        int64_t left_ns = until_ns - clock_boot_ns();

        if (!g->reaped) {
            g->reaped = waitpid(g->pid, NULL, WNOHANG) != 0;
        }
        if (g->reaped && (g->spaces != SANDBOX_SPACES_NONE || end_orphans())) {
            return true;
        }
        if (left_ns <= 0) {
            return false;
        }
        if (g->reaped) {
            (void)poll(NULL, 0, END_PAUSE_MS);
        } else {
            wait_for_exit(g->pid, (int)(left_ns / NS_PER_MS) + 1);
        }
    }
}

void
guard_free(struct guard *g)
{
    if (g != NULL) {
        guard_close(g);
        free(g);
    }
}

int
guard_fd(const struct guard *g)
{
    return g->sock;
}

pid_t
guard_pid(const struct guard *g)
{
    return g->pid;
}

enum sandbox_spaces
guard_spaces(const struct guard *g)
{
    return g->spaces;
}

/* ---- orders ---- */

static int
send_order(struct guard *g, const struct guard_order *o, const int *fds, size_t n,
           struct err *e)
{
    union {
        char raw[CMSG_SPACE(GUARD_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {(void *)(uintptr_t)o, sizeof *o};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t sent;

    if (n > GUARD_FDS_MAX) {
        return err_set(e, ERR_RANGE, "too many descriptors for the guard");
    }
    if (n > 0) {
        struct cmsghdr *c;

        memset(&control, 0, sizeof control);
        m.msg_control = control.raw;
        m.msg_controllen = CMSG_SPACE(n * sizeof(int));
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    }
    for (;;) {
        sent = sendmsg(g->sock, &m, MSG_NOSIGNAL);
        if (sent >= 0) {
            return 0;
        }
        if (errno == EAGAIN) { /* it reads at once: this takes microseconds */
            struct pollfd p = {g->sock, POLLOUT, 0};

            (void)poll(&p, 1, START_TIMEOUT_MS);
        } else if (errno != EINTR) {
            return err_set_sys(e, errno, "cannot reach the job's guard");
        }
    }
}

/* A record in memory that never touches a disk: it may hold secrets. */
static int
memory_file(const struct rec *r, int *fd, struct err *e)
{
    struct buf b = BUF_INIT;
    int failed = 0;

    rec_encode(r, &b);
    *fd = memfd_create("gpurun-order", MFD_CLOEXEC);
    if (*fd == -1 || fd_write_all(*fd, b.data, b.len) != 0) {
        failed = errno;
    }
    explicit_bzero(b.data, b.len);
    buf_free(&b);
    if (failed != 0) {
        (void)fd_close(fd);
        return err_set_sys(e, failed, "cannot hand an order to the job's guard");
    }
    return 0;
}

int
guard_walls(struct guard *g, const struct rec *walls, struct err *e)
{
    struct guard_order o = {.kind = GUARD_OR_WALLS};
    int fd = -1;
    int rc;

    if (memory_file(walls, &fd, e) != 0) {
        return -1;
    }
    rc = send_order(g, &o, &fd, 1, e);
    (void)fd_close(&fd);
    return rc;
}

int
guard_hold(struct guard *g, const int *fds, size_t n, struct err *e)
{
    struct guard_order o = {.kind = GUARD_OR_HOLD};

    return send_order(g, &o, fds, n, e);
}

int
guard_join(struct guard *g, const int *fds, size_t n, struct err *e)
{
    struct guard_order o = {.kind = GUARD_OR_JOIN};

    return send_order(g, &o, fds, n, e);
}

int
guard_spawn(struct guard *g, const struct guard_command *c, struct err *e)
{
    struct guard_order o = {.kind = GUARD_OR_SPAWN, .id = c->id, .tty = c->tty};
    struct rec *r = rec_new("gpurun.command.v1");
    int fds[4] = {-1, c->in_fd, c->out_fd, c->err_fd};
    int rc = -1;

    rec_add(r, "cwd", c->cwd);
    for (size_t i = 0; i < c->args->n; i++) {
        rec_add(r, "arg", c->args->v[i]);
    }
    for (size_t i = 0; i < c->env->n; i++) {
        rec_add(r, "env", c->env->v[i]);
    }
    if (memory_file(r, &fds[0], e) == 0) {
        rc = send_order(g, &o, fds, 4, e);
        (void)fd_close(&fds[0]);
    }
    rec_free(r);
    return rc;
}

int
guard_signal(struct guard *g, uint32_t id, int signo, struct err *e)
{
    struct guard_order o = {.kind = GUARD_OR_SIGNAL, .id = id, .signo = signo};

    return send_order(g, &o, NULL, 0, e);
}

bool
guard_next(struct guard *g, struct guard_event *out)
{
    ssize_t n;

    if (g->gone) {
        return false;
    }
    do {
        n = recv(g->sock, out, sizeof *out, MSG_DONTWAIT);
    } while (n == -1 && errno == EINTR);
    if (n == -1 && errno == EAGAIN) {
        return false;
    }
    if (n != (ssize_t)sizeof *out) {
        memset(out, 0, sizeof *out);
        out->kind = GUARD_EV_GONE;
        g->gone = true;
    }
    out->why.msg[sizeof out->why.msg - 1] = '\0'; /* a job may have got at the guard */
    out->why.form[sizeof out->why.form - 1] = '\0';
    return true;
}
