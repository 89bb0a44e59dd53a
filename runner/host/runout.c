#include "runner/host/runout.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

#define NS_PER_MS 1000000

static _Noreturn void
become(const struct runout_options *o, int out_fd)
{
    int null = open("/dev/null", O_RDWR);
    sigset_t none;

    (void)setsid();
    (void)dup2(null, 0);
    (void)dup2(out_fd, 1);
    (void)dup2(null, 2);
    if (null > 2) {
        (void)close(null);
    }
    for (int s = 1; s < NSIG; s++) {
        (void)signal(s, SIG_DFL);
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)execve(o->path, o->argv, o->envp);
    _exit(127);
}

/* Is what it is to say in the output, of which n bytes are new? */
static bool
has_said(const struct runout_options *o, const struct buf *out, size_t n)
{
    size_t len = o->until == NULL ? 0 : strlen(o->until);
    size_t from = out->len - n > len ? out->len - n - len : 0;

    return len > 0 && memmem(out->data + from, out->len - from, o->until, len) != NULL;
}

/* 1: it said what it was waited for, and may live on. */
static int
collect(const struct runout_options *o, int fd, struct buf *out, struct err *e)
{
    int64_t deadline_ns = clock_boot_ns() + o->timeout_ns;

    for (;;) {
        int64_t left_ns = deadline_ns - clock_boot_ns();
        struct pollfd p = {fd, POLLIN, 0};
        uint8_t some[4096];
        ssize_t n;

        if (left_ns <= 0) {
            return err_set(e, ERR_LIMIT, "'%s' took too long", o->path);
        }
        if (poll(&p, 1, (int)(left_ns / NS_PER_MS) + 1) <= 0) {
            continue;
        }
        n = read(fd, some, sizeof some);
        if (n == 0) {
            return 0;
        }
        if (n == -1) {
            if (errno == EINTR || errno == EAGAIN) {
                continue;
            }
            return err_set_sys(e, errno, "cannot read from '%s'", o->path);
        }
        if (out->len + (size_t)n > o->max_bytes) {
            return err_set(e, ERR_RANGE, "'%s' printed more than %zu bytes", o->path,
                           o->max_bytes);
        }
        buf_add(out, some, (size_t)n);
        if (has_said(o, out, (size_t)n)) {
            return 1;
        }
    }
}

int
runout(const struct runout_options *o, struct buf *out, int *status, struct err *e)
{
    int fds[2];
    pid_t pid;
    int rc;

    if (pipe2(fds, O_CLOEXEC) != 0) {
        return err_set_sys(e, errno, "cannot start '%s'", o->path);
    }
    pid = _Fork();
    if (pid == 0) {
        become(o, fds[1]);
    }
    (void)close(fds[1]);
    if (pid == -1) {
        rc = err_set_sys(e, errno, "cannot start '%s'", o->path);
        (void)close(fds[0]);
        return rc;
    }
    rc = collect(o, fds[0], out, e);
    (void)close(fds[0]);
    /* Also when it closed its output and lives on: nothing of it may stay. */
    (void)kill(-pid, SIGKILL);
    if (rc != 0) {
        (void)kill(pid, SIGKILL);
    }
    while (waitpid(pid, status, 0) == -1 && errno == EINTR) {
    }
    return rc == -1 ? -1 : 0;
}
