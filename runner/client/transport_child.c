#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "runner/client/transport_internal.h"
#include "runner/loop/child.h"

/*
 * A process of this machine whose stdin and stdout are one socket pair: the agent of
 * `local`, or an ssh binary. The same kind of stream that sshd gives an agent.
 */

#define STDERR_STEP  1024
#define SOCKET_BYTES (1 << 20) /* asked for; the kernel gives what wmem_max allows */
#define TERM_MS      1000      /* between EOF, SIGTERM and SIGKILL */

/* stdin and stdout; what it says on stderr comes apart, for messages. */
static int
make_ends(int pair[2], int err[2], struct failure *f)
{
    const int size = SOCKET_BYTES;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1 ||
        pipe2(err, O_CLOEXEC) == -1) {
        return failure_set_sys(f, CAUSE_CONFIG, errno, _("out of descriptors"));
    }
    (void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    (void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return 0;
}

int
transport_child_start(struct transport_child *c, const char *file, char *const *argv,
                      char *const *envp, bool new_session, struct failure *f)
{
    int pair[2] = {-1, -1};
    int err[2] = {-1, -1};
    int rc = -1;

    *c = (struct transport_child)TRANSPORT_CHILD_INIT;
    if (make_ends(pair, err, f) != 0) {
        goto out;
    }
    const int fds[3] = {pair[1], pair[1], err[1]};
    const struct child_options o = {
        .file = file,
        .argv = argv,
        .envp = envp,
        .fds = fds,
        .n_fds = 3,
        .new_session = new_session,
    };

    if (child_spawn(&c->pid, &o, &f->err) != 0) {
        f->cause = CAUSE_CONFIG;
        c->pid = -1;
        goto out;
    }
    c->fd = pair[0];
    c->err_fd = err[0];
    pair[0] = -1;
    err[0] = -1;
    rc = 0;

out:
    (void)fd_close(&pair[0]);
    (void)fd_close(&pair[1]);
    (void)fd_close(&err[0]);
    (void)fd_close(&err[1]);
    return rc;
}

/* Take what stderr has; at its end stop looking. */
static void
drain_stderr(struct transport *t, struct transport_child *c)
{
    char data[STDERR_STEP];
    ssize_t n = read(c->err_fd, data, sizeof data);

    if (n > 0) {
        transport_tail_add(t, data, (size_t)n);
    } else if (n == 0 || errno != EINTR) {
        (void)fd_close(&c->err_fd);
    }
}

/*
 * Wait until the stream is ready for what, keeping stderr flowing. 1: it is (or extra_fd
 * has something: *extra); 0: the time is over; -1: cancelled.
 */
static int
wait_for(struct transport *t, struct transport_child *c, short what, int extra_fd,
         bool *extra, int64_t end_ns, struct failure *f)
{
    for (;;) {
        struct pollfd p[4] = {{.fd = c->fd, .events = what},
                              {.fd = c->err_fd, .events = POLLIN},
                              {.fd = t->cancel_fd, .events = POLLIN},
                              {.fd = extra_fd, .events = POLLIN}};
        int n = poll(p, 4, transport_poll_left(end_ns));

        if (n == -1) {
            continue; /* EINTR */
        }
        if (p[2].revents != 0) {
            return failure_set(f, CAUSE_CANCELLED, _("cancelled"));
        }
        if (p[1].revents != 0) {
            drain_stderr(t, c);
        }
        if (extra_fd != -1 && p[3].revents != 0) {
            *extra = true;
            return 1;
        }
        if (p[0].revents != 0) {
            return 1;
        }
        if (n == 0) {
            return 0;
        }
    }
}

int
transport_child_poll(struct transport *t, struct transport_child *c, int extra_fd,
                     bool *extra, int64_t end_ns, struct failure *f)
{
    return wait_for(t, c, POLLIN, extra_fd, extra, end_ns, f);
}

static int
timed_out(struct transport *t, struct failure *f)
{
    char where[WHERE_MAX];

    return failure_set(f, CAUSE_TIMEOUT, _("%s does not answer"),
                       transport_where(t, where));
}

int
transport_child_read(struct transport *t, struct transport_child *c, void *data,
                     size_t cap, int64_t end_ns, size_t *n, struct failure *f)
{
    for (;;) {
        ssize_t got;
        int ready = wait_for(t, c, POLLIN, -1, NULL, end_ns, f);

        if (ready < 0) {
            return -1;
        }
        if (ready == 0) {
            return timed_out(t, f);
        }
        got = recv(c->fd, data, cap, MSG_DONTWAIT);
        if (got == -1 && (errno == EAGAIN || errno == EINTR)) {
            continue;
        }
        *n = got > 0 ? (size_t)got : 0; /* a reset is an end like any other */
        return 0;
    }
}

int
transport_child_write(struct transport *t, struct transport_child *c, const void *data,
                      size_t n, int64_t stall_ms, struct failure *f)
{
    const char *at = data;

    while (n > 0) {
        ssize_t put;
        int ready = wait_for(t, c, POLLOUT, -1, NULL, transport_deadline(stall_ms), f);

        if (ready < 0) {
            return -1;
        }
        if (ready == 0) {
            return timed_out(t, f);
        }
        put = send(c->fd, at, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put == -1 && (errno == EAGAIN || errno == EINTR)) {
            continue;
        }
        if (put == -1) {
            return failure_set_sys(f, CAUSE_CUT, errno, _("the connection ended early"));
        }
        at += put;
        n -= (size_t)put;
    }
    return 0;
}

/* ---- the end ---- */

static bool
try_reap(struct transport_child *c)
{
    pid_t got = waitpid(c->pid, &c->status, WNOHANG);

    c->reaped = got == c->pid || (got == -1 && errno == ECHILD);
    return c->reaped;
}

/* Wait for the child, or until end_ns (< 0: for ever) or, if watched, a cancel. */
static void
wait_reaped(struct transport *t, struct transport_child *c, int pidfd, int64_t end_ns,
            bool watch_cancel)
{
    while (!try_reap(c)) {
        struct pollfd p[3] = {{.fd = pidfd, .events = POLLIN},
                              {.fd = c->err_fd, .events = POLLIN},
                              {.fd = watch_cancel ? t->cancel_fd : -1, .events = POLLIN}};
        int left = end_ns < 0 ? -1 : transport_poll_left(end_ns);

        /* Without pidfds (Linux < 5.3) look every 50 ms. */
        (void)poll(p, 3, pidfd == -1 && (left < 0 || left > 50) ? 50 : left);
        if (p[1].revents != 0) {
            drain_stderr(t, c);
        }
        if (p[2].revents != 0 || (end_ns >= 0 && clock_boot_ns() >= end_ns)) {
            return;
        }
    }
}

/* What it said last may still be in the pipe. A grandchild may hold it open: no waiting.
 */
static void
last_words(struct transport *t, struct transport_child *c)
{
    for (int i = 0; i < TRANSPORT_STDERR_MAX / STDERR_STEP + 1 && c->err_fd != -1; i++) {
        struct pollfd p = {.fd = c->err_fd, .events = POLLIN};

        if (poll(&p, 1, 0) <= 0) {
            return;
        }
        drain_stderr(t, c);
    }
}

void
transport_child_wait(struct transport *t, struct transport_child *c)
{
    int pidfd;

    if (c->reaped) {
        return;
    }
    pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    /* While the stream is ours we got here because it has ended: then so must the child.
     */
    wait_reaped(t, c, pidfd, c->fd == -1 ? -1 : transport_deadline(TRANSPORT_END_MS),
                true);
    if (!c->reaped) {
        /* Cancelled, or hanging: EOF first, as it may have orders to finish. */
        if (c->fd != -1) {
            (void)shutdown(c->fd, SHUT_RDWR);
        }
        wait_reaped(t, c, pidfd, transport_deadline(TERM_MS), false);
    }
    if (!c->reaped) {
        (void)kill(c->pid, SIGTERM);
        wait_reaped(t, c, pidfd, transport_deadline(TERM_MS), false);
    }
    if (!c->reaped) {
        (void)kill(c->pid, SIGKILL);
        wait_reaped(t, c, pidfd, -1, false);
    }
    last_words(t, c);
    (void)fd_close(&pidfd);
}

void
transport_child_status(const struct transport_child *c, struct transport_status *s)
{
    if (WIFSIGNALED(c->status)) {
        s->end = TRANSPORT_END_SIGNAL;
        s->code = WTERMSIG(c->status);
    } else {
        s->end = TRANSPORT_END_EXIT;
        s->code = WEXITSTATUS(c->status);
    }
}

void
transport_child_end(struct transport_child *c)
{
    (void)fd_close(&c->fd);
    (void)fd_close(&c->err_fd);
    if (c->pid > 0 && !c->reaped) {
        (void)kill(c->pid, SIGKILL);
        while (waitpid(c->pid, &c->status, 0) == -1 && errno == EINTR) {
        }
    }
    *c = (struct transport_child)TRANSPORT_CHILD_INIT;
}
