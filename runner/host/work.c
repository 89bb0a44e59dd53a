#include "runner/host/work.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/buf.h"

#define STACK_BYTES ((size_t)1 << 20)

struct work {
    struct waker *waker;
    pthread_t thread;
    int (*run)(void *ctx, struct err *e);
    void (*done)(void *ctx, int rc, const struct err *why);
    void *ctx;
    int rc;
    struct err why;
};

static void *
thread_main(void *arg)
{
    struct work *w = arg;

    w->rc = w->run(w->ctx, &w->why);
    waker_wake(w->waker);
    return NULL;
}

static void
finish(void *arg)
{
    struct work *w = arg;

    (void)pthread_join(w->thread, NULL); /* also orders w->rc and w->why before us */
    waker_free(w->waker);
    w->done(w->ctx, w->rc, &w->why);
    free(w);
}

int
work_start(struct loop *l, int (*run)(void *ctx, struct err *e),
           void (*done)(void *ctx, int rc, const struct err *why), void *ctx,
           struct err *e)
{
    struct work *w = xcalloc(1, sizeof *w);
    pthread_attr_t attr;
    sigset_t all;
    sigset_t was;
    int failed;

    w->run = run;
    w->done = done;
    w->ctx = ctx;
    if (waker_new(&w->waker, l, finish, w, e) != 0) {
        free(w);
        return -1;
    }
    /* Signals are the loop's: a thread that begins with all blocked keeps them so. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &was);
    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
    failed = pthread_create(&w->thread, &attr, thread_main, w);
    (void)pthread_attr_destroy(&attr);
    (void)pthread_sigmask(SIG_SETMASK, &was, NULL);
    if (failed != 0) {
        waker_free(w->waker);
        free(w);
        return err_set_sys(e, failed, "cannot start a thread");
    }
    return 0;
}
