#include "runner/loop/child.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/loop/loop_internal.h"

/* Watching children: by pidfd, or on kernels before 5.3 by SIGCHLD. */

struct child {
    struct loop *loop;
    pid_t pid;
    int pidfd;
    struct watch *watch;   /* of the pidfd */
    struct child *next;    /* in the loop's list, without a pidfd */
    struct loop_task look; /* it may have ended before we watched */
    void (*fn)(void *ctx, const struct child_end *end);
    void *ctx;
    bool reaped;
};

static int
open_pidfd(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void
stop_watching(struct child *c)
{
    struct child **p = &c->loop->children;

    loop_task_cancel(c->loop, &c->look);
    watch_free(c->watch);
    c->watch = NULL;
    (void)fd_close(&c->pidfd);
    while (*p != NULL && *p != c) {
        p = &(*p)->next;
    }
    if (*p == c) {
        *p = c->next;
        if (c->loop->children == NULL) {
            signal_watch_free(c->loop->sigchld);
            c->loop->sigchld = NULL;
        }
    }
}

/* Reap it if it has ended, and tell. c may be freed afterwards. */
static void
look(struct child *c)
{
    struct child_end end = {0};
    int status;
    pid_t got = wait4(c->pid, &status, WNOHANG, &end.usage);

    if (got == 0 || (got == -1 && errno == EINTR)) {
        return;
    }
    c->reaped = true;
    stop_watching(c);
    if (got == -1) {
        /* Somebody else reaped it: how it ended is not known, and never 0. */
        end.status = 255;
    } else if (WIFSIGNALED(status)) {
        end.signalled = true;
        end.status = WTERMSIG(status);
        end.core_dumped = WCOREDUMP(status);
    } else {
        end.status = WEXITSTATUS(status);
    }
    c->fn(c->ctx, &end);
}

static void
on_pidfd(void *ctx, int events)
{
    (void)events;
    look(ctx);
}

static void
on_look(void *ctx)
{
    look(ctx);
}

void
child_reap_all(struct loop *l)
{
    struct child *c = l->children;

    /* fn may free any child, so begin anew after each that was told. */
    while (c != NULL) {
        struct child *next = c->next;
        pid_t pid = c->pid;
        siginfo_t info = {0};

        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid == pid) {
            look(c);
            next = l->children;
        }
        c = next;
    }
}

static void
on_sigchld(void *ctx, int signo)
{
    (void)signo;
    child_reap_all(ctx);
}

static int
watch_by_signal(struct child *c, struct err *e)
{
    struct loop *l = c->loop;

    if (l->sigchld == NULL &&
        signal_watch_new(&l->sigchld, l, SIGCHLD, on_sigchld, l, e) == -1) {
        return -1;
    }
    signal_watch_hold(l->sigchld);
    c->next = l->children;
    l->children = c;
    /* It may have ended before the handler was there. */
    loop_task_queue(l, &c->look);
    return 0;
}

static int
watch_by_pidfd(struct child *c, struct err *e)
{
    if (watch_new(&c->watch, c->loop, c->pidfd, on_pidfd, c, e) == -1) {
        return -1;
    }
    watch_arm(c->watch, WATCH_READ);
    return 0;
}

int
child_adopt(struct child **out, struct loop *l, pid_t pid,
            void (*fn)(void *ctx, const struct child_end *end), void *ctx, struct err *e)
{
    struct child *c = xcalloc(1, sizeof *c);
    int rc;

    c->loop = l;
    c->pid = pid;
    c->fn = fn;
    c->ctx = ctx;
    c->look = (struct loop_task){.fn = on_look, .ctx = c};
    c->pidfd = l->no_pidfd ? -1 : open_pidfd(pid);
    l->n_objects++;
    rc = c->pidfd != -1 ? watch_by_pidfd(c, e) : watch_by_signal(c, e);
    if (rc == -1) {
        child_free(c);
        return -1;
    }
    *out = c;
    return 0;
}

int
child_start(struct child **out, struct loop *l, const struct child_options *o,
            void (*fn)(void *ctx, const struct child_end *end), void *ctx, struct err *e)
{
    pid_t pid;

    if (child_spawn(&pid, o, e) == -1) {
        return -1;
    }
    if (child_adopt(out, l, pid, fn, ctx, e) == -1) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return -1;
    }
    return 0;
}

void
child_free(struct child *c)
{
    if (c != NULL) {
        stop_watching(c);
        c->loop->n_objects--;
        free(c);
    }
}

pid_t
child_pid(const struct child *c)
{
    return c->pid;
}

int
child_pidfd(const struct child *c)
{
    return c->pidfd;
}

int
child_kill(struct child *c, int signo, struct err *e)
{
    /* As long as we have not reaped it, the number is its own. */
    if (c->reaped || kill(c->pid, signo) == -1) {
        return err_set(e, ERR_NOT_FOUND, "process %d has ended", (int)c->pid);
    }
    return 0;
}
