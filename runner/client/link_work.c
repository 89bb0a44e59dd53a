#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/client/bootstrap.h"
#include "runner/client/link_internal.h"
#include "runner/client/transport_internal.h"

/*
 * The thread goes through everything that blocks; what it has to tell stands in its half
 * of struct work until the loop takes it.
 */
struct work {
    struct links *links;
    struct home *home; /* a copy */
    int64_t start_timeout_ms;
    struct transport *t; /* the thread uses it; the loop may only cancel it */

    pthread_mutex_t m;   /* guards the rest */
    int refs;            /* loop and thread */
    struct waker *waker; /* NULL once the loop's half is gone */
    enum link_stage stage;
    bool stage_new;
    uint64_t done_bytes;
    uint64_t total_bytes;
    bool up;
    int fd; /* with up, until the loop takes it */
    struct buf rest;
    bool over;
    bool failed; /* it never came up: why */
    struct failure why;
    struct transport_status status; /* it was up: how it ended */
};

static void
work_unref(struct work *w)
{
    bool last;

    (void)pthread_mutex_lock(&w->m);
    last = --w->refs == 0;
    (void)pthread_mutex_unlock(&w->m);
    if (!last) {
        return;
    }
    transport_free(w->t);
    home_free(w->home);
    (void)fd_close(&w->fd);
    buf_free(&w->rest);
    (void)pthread_mutex_destroy(&w->m);
    free(w);
}

/* Unlocks. */
static void
post(struct work *w)
{
    if (w->waker != NULL) {
        waker_wake(w->waker);
    }
    (void)pthread_mutex_unlock(&w->m);
}

static void
post_stage(struct work *w, enum link_stage stage, uint64_t done, uint64_t total)
{
    (void)pthread_mutex_lock(&w->m);
    w->stage = stage;
    w->stage_new = true;
    w->done_bytes = done;
    w->total_bytes = total;
    post(w);
}

static void
on_progress(void *ctx, uint64_t done, uint64_t total)
{
    post_stage(ctx, LINK_STAGE_UPLOAD, done, total);
}

/* Log in, and have the agent answer. */
static int
start_agent(struct work *w, struct buf *rest, struct failure *f)
{
    struct bootstrap_agents agents = {.n = 0};
    struct bootstrap b = {
        .transport = w->t,
        .agent_home = w->t->host.agent_home,
        .command = w->t->host.command,
        .start_timeout_ms = w->start_timeout_ms,
        .progress = on_progress,
        .ctx = w,
    };
    int rc;

    if (!w->t->host.local && b.command == NULL) {
        f->cause = CAUSE_CONFIG;
        if (bootstrap_find_agents(w->home, &agents, &f->err) != 0) {
            return -1;
        }
        b.agents = &agents;
    }
    rc = transport_open(w->t, f);
    if (rc == 0) {
        transport_offer_key(w->t);
        post_stage(w, LINK_STAGE_START, 0, 0);
        rc = bootstrap_run(&b, rest, f);
    }
    if (rc == 0) {
        bootstrap_remember(&agents, w->home);
    }
    bootstrap_free_agents(&agents);
    return rc;
}

static int
bring_up(struct work *w, struct failure *f)
{
    char *key =
        xasprintf("%s:%d", w->t->host.local ? "" : w->t->host.address, w->t->host.port);
    int gate = w->t->host.local ? -1 : links_gate(w->links, key);
    struct buf rest = BUF_INIT;
    int fd = -1;
    int rc = -1;

    if (!gate_enter(gate, w->t->cancel_fd)) {
        (void)failure_set(f, CAUSE_CANCELLED, _("cancelled"));
        goto out;
    }
    rc = start_agent(w, &rest, f);
    gate_leave(gate);
    if (rc == 0) {
        rc = transport_stream(w->t, &fd, f);
    }
    if (rc == 0) {
        (void)pthread_mutex_lock(&w->m);
        w->up = true;
        w->fd = fd;
        w->rest = rest;
        rest = (struct buf)BUF_INIT;
        post(w);
    }

out:
    buf_free(&rest);
    free(key);
    return rc;
}

static void *
thread_main(void *arg)
{
    struct work *w = arg;
    struct links *s = w->links;
    struct transport_status status = {0};
    struct failure f = {0};
    bool failed = bring_up(w, &f) != 0;

    if (!failed) {
        transport_wait(w->t, &status);
    }
    (void)pthread_mutex_lock(&w->m);
    w->over = true;
    w->failed = failed;
    w->why = f;
    w->status = status;
    post(w);
    work_unref(w);
    links_thread_ends(s);
    return NULL;
}

/* ---- the loop's side of it ---- */

static int
start_thread(struct work *w, struct err *e)
{
    pthread_t thread;
    sigset_t all;
    sigset_t old;
    int rc;

    (void)sigfillset(&all); /* signals are the main thread's; a SIGPIPE becomes EPIPE */
    (void)pthread_sigmask(SIG_BLOCK, &all, &old);
    rc = pthread_create(&thread, NULL, thread_main, w);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc == 0 ? 0 : err_set_sys(e, rc, _("cannot start a thread for a connection"));
}

int
work_start(struct work **out, const struct work_options *o, struct err *e)
{
    struct work *w = xcalloc(1, sizeof *w);
    struct transport_options to = o->link->transport;

    w->links = o->links;
    w->refs = 1;
    w->fd = -1;
    w->start_timeout_ms = o->link->start_timeout_ms;
    (void)pthread_mutex_init(&w->m, NULL);
    /* A copy: the thread may be caught in a name look-up for longer than we live. */
    if (home_open(&w->home, home_dir(o->link->transport.home), e) != 0) {
        work_unref(w);
        return -1;
    }
    to.home = w->home;
    w->t = transport_new(o->host, &to);
    w->waker = o->waker;
    w->refs++;
    links_thread_begins(w->links);
    if (start_thread(w, e) != 0) {
        w->refs--;
        links_thread_failed(w->links);
        work_unref(w);
        return -1;
    }
    *out = w;
    return 0;
}

struct transport *
work_transport(const struct work *w)
{
    return w->t;
}

void
work_take_mail(struct work *w, struct work_mail *m)
{
    (void)pthread_mutex_lock(&w->m);
    *m = (struct work_mail){
        .stage_new = w->stage_new,
        .stage = w->stage,
        .done_bytes = w->done_bytes,
        .total_bytes = w->total_bytes,
        .fd = w->fd,
        .rest = w->rest,
        .over = w->over,
    };
    w->stage_new = false;
    w->fd = -1;
    w->rest = (struct buf)BUF_INIT;
    if (m->fd != -1) {
        m->info = *transport_info(w->t);
    }
    (void)pthread_mutex_unlock(&w->m);
}

void
work_last_words(struct work *w, struct failure *why, struct transport_status *status)
{
    (void)pthread_mutex_lock(&w->m);
    *why = w->why;
    *status = w->status;
    (void)pthread_mutex_unlock(&w->m);
}

void
work_leave(struct work *w)
{
    (void)pthread_mutex_lock(&w->m);
    w->waker = NULL;
    (void)pthread_mutex_unlock(&w->m);
    transport_cancel(w->t);
    work_unref(w);
}
