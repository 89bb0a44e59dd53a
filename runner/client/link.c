#include "runner/client/link.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/client/bootstrap.h"
#include "runner/client/i18n.h"
#include "runner/client/transport_internal.h"
#include "runner/wire/preamble.h"

/*
 * Two halves: struct link belongs to the loop, struct work is shared with the link's
 * thread. The thread goes through everything that blocks and leaves notes in its mailbox;
 * the loop reads them when woken. Bytes do not pass here: conn and transport share a
 * socket.
 */

#define GATES_MAX     1024 /* servers with handshakes under way, in one program */
#define HELLO_MS      30000
#define LAST_WORDS_NS ((int64_t)1000000000) /* for the thread to say why a conn ended */

/* ---- what all links share ---- */

struct gate {
    char *key;
    int fd; /* eventfd semaphore: one for each handshake that may begin */
};

struct links {
    struct loop *loop;
    pthread_mutex_t m; /* guards the rest */
    pthread_cond_t ended;
    int refs; /* the program's, and one per thread */
    struct gate *gates;
    size_t n_gates;
    pthread_t *ended_threads; /* to be joined */
    size_t n_ended_threads;
    bool left; /* links_free was there: nobody joins any more */
};

struct links *
links_new(struct loop *loop)
{
    struct links *s = xcalloc(1, sizeof *s);
    pthread_condattr_t attr;

    s->loop = loop;
    s->refs = 1;
    (void)pthread_mutex_init(&s->m, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->ended, &attr);
    (void)pthread_condattr_destroy(&attr);
    return s;
}

/* Unlocks. */
static void
links_unref(struct links *s)
{
    bool last = --s->refs == 0;

    (void)pthread_cond_broadcast(&s->ended);
    (void)pthread_mutex_unlock(&s->m);
    if (!last) {
        return;
    }
    for (size_t i = 0; i < s->n_gates; i++) {
        free(s->gates[i].key);
        (void)fd_close(&s->gates[i].fd);
    }
    free(s->gates);
    free(s->ended_threads);
    (void)pthread_cond_destroy(&s->ended);
    (void)pthread_mutex_destroy(&s->m);
    free(s);
}

/* The last thing a thread does. */
static void
links_thread_ends(struct links *s)
{
    (void)pthread_mutex_lock(&s->m);
    if (s->left) {
        (void)pthread_detach(pthread_self());
    } else {
        s->ended_threads = xrealloc(s->ended_threads,
                                    (s->n_ended_threads + 1) * sizeof *s->ended_threads);
        s->ended_threads[s->n_ended_threads++] = pthread_self();
    }
    links_unref(s);
}

/*
 * Join those that have ended. Counting is not enough: what libraries do at a thread's
 * very end, behind our last line, must not meet what they do at the program's.
 */
static void
links_join(struct links *s, bool leave)
{
    pthread_t *threads;
    size_t n;

    (void)pthread_mutex_lock(&s->m);
    threads = s->ended_threads;
    n = s->n_ended_threads;
    s->ended_threads = NULL;
    s->n_ended_threads = 0;
    s->left = leave;
    (void)pthread_mutex_unlock(&s->m);
    for (size_t i = 0; i < n; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    free(threads);
}

void
links_free(struct links *s, int64_t max_ms)
{
    struct timespec until;

    if (s == NULL) {
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += max_ms / 1000;
    until.tv_nsec += (max_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_mutex_lock(&s->m);
    while (s->refs > 1 && pthread_cond_timedwait(&s->ended, &s->m, &until) == 0) {
    }
    (void)pthread_mutex_unlock(&s->m);
    links_join(s, true);
    (void)pthread_mutex_lock(&s->m);
    links_unref(s);
}

/* The gate of that server; -1: no more descriptors, then nobody is held up. */
static int
gate_of(struct links *s, const char *key)
{
    int fd = -1;

    (void)pthread_mutex_lock(&s->m);
    for (size_t i = 0; i < s->n_gates && fd == -1; i++) {
        fd = strcmp(s->gates[i].key, key) == 0 ? s->gates[i].fd : -1;
    }
    if (fd == -1 && s->n_gates < GATES_MAX) {
        fd = eventfd(LINKS_HANDSHAKES, EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd != -1) {
            s->gates = xrealloc(s->gates, (s->n_gates + 1) * sizeof *s->gates);
            s->gates[s->n_gates++] = (struct gate){.key = xstrdup(key), .fd = fd};
        }
    }
    (void)pthread_mutex_unlock(&s->m);
    return fd;
}

/* False: cancelled while waiting. */
static bool
gate_enter(int fd, int cancel_fd)
{
    uint64_t one;

    while (fd != -1 && read(fd, &one, sizeof one) != (ssize_t)sizeof one) {
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN},
                              {.fd = cancel_fd, .events = POLLIN}};

        (void)poll(p, 2, -1);
        if (p[1].revents != 0) {
            return false;
        }
    }
    return true;
}

static void
gate_leave(int fd)
{
    const uint64_t one = 1;

    if (fd != -1) {
        (void)fd_write_all(fd, &one, sizeof one);
    }
}

/* ---- the thread's half ---- */

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
    int gate = w->t->host.local ? -1 : gate_of(w->links, key);
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

/* ---- the loop's half ---- */

struct link {
    struct links *links;
    struct link_callbacks cb;
    void *ctx;
    struct mux_options mux;
    char *name;
    struct work *work;
    struct waker *waker;
    struct timer *patience; /* for the thread's last words once the conn has ended */
    struct conn *conn;
    struct transport_info info;
    bool was_up;
    bool had_hello;
    bool conn_over; /* and its reason, if it had one */
    bool conn_failed;
    struct err conn_why;
    bool over; /* the thread is through */
    bool told; /* lost was called */
    int busy;  /* callbacks under way: memory stays until they are through */
    bool closed;
};

static void
link_free(struct link *l)
{
    free(l->name);
    free(l);
}

/* After a callback: false when the link was closed in it, and is gone now. */
static bool
still_there(struct link *l)
{
    l->busy--;
    if (!l->closed) {
        return true;
    }
    if (l->busy == 0) {
        link_free(l);
    }
    return false;
}

/* What answers is no agent, or a broken one. */
static void
no_agent_of_ours(const struct link *l, struct failure *why)
{
    char where[WHERE_MAX];

    *why = (struct failure){.cause = CAUSE_GARBAGE, .err = l->conn_why};
    err_wrap(&why->err, _("what answers on %s does not speak as gpurun-agent does"),
             transport_where(l->work->t, where));
}

/* The agent went away before it said HELLO: its exit status and last words tell why. */
static void
never_spoke(struct link *l, const struct transport_status *s, struct failure *why)
{
    if (s->end == TRANSPORT_END_NONE) {
        no_agent_of_ours(l, why);
        return;
    }
    (void)transport_explain_early_end(l->work->t, s, why);
}

/* Put together what the conn and the thread know. */
static void
why_lost(struct link *l, struct failure *why)
{
    struct transport_status s;
    char where[WHERE_MAX];

    (void)pthread_mutex_lock(&l->work->m);
    *why = l->work->why;
    s = l->work->status;
    (void)pthread_mutex_unlock(&l->work->m);
    if (!l->was_up) {
        return;
    }
    if (l->conn_over && !l->conn_failed) {
        *why = (struct failure){.cause = CAUSE_NONE};
    } else if (l->conn_why.code == ERR_VERSION) {
        *why = (struct failure){.cause = CAUSE_VERSION, .err = l->conn_why};
        err_wrap(&why->err, "%s", transport_where(l->work->t, where));
    } else if (l->conn_why.code != ERR_LINK) {
        no_agent_of_ours(l, why);
    } else if (s.end == TRANSPORT_END_CUT && s.cut.cause != CAUSE_CANCELLED) {
        *why = s.cut;
    } else if (!l->had_hello) {
        never_spoke(l, &s, why);
    } else {
        *why = (struct failure){.cause = CAUSE_CUT, .err = l->conn_why};
    }
}

static void
tell_lost(struct link *l)
{
    struct failure why = {0};

    if (l->told) {
        return;
    }
    l->told = true;
    why_lost(l, &why);
    l->busy++;
    l->cb.lost(l->ctx, l, &why);
    (void)still_there(l);
}

static void
on_patience_over(void *ctx)
{
    struct link *l = ctx;

    transport_cancel(l->work->t);
    tell_lost(l);
}

static void
on_conn_closed(void *ctx, struct conn *c, const struct err *why)
{
    struct link *l = ctx;

    l->conn_over = true;
    l->conn_failed = why != NULL;
    if (why != NULL) {
        l->conn_why = *why;
    }
    l->had_hello = conn_is_ready(c);
    l->conn = NULL;
    conn_free(c); /* closes the socket: the host's side sees the end */
    if (l->over || why == NULL) {
        tell_lost(l);
        return;
    }
    timer_after(l->patience, LAST_WORDS_NS);
}

/* The stream stands behind the magic line; mux wants to see it first. */
static int
make_conn(struct link *l, int fd, const struct buf *rest, struct err *e)
{
    struct conn_options o = {.mux = l->mux, .on_closed = on_conn_closed, .ctx = l};
    struct mux *m;

    o.mux.initiator = true;
    o.mux.noisy = false;
    if (o.mux.hello_ns == 0) {
        o.mux.hello_ns = (int64_t)HELLO_MS * 1000000;
    }
    if (conn_new(&l->conn, l->links->loop, fd, fd, &o, e) != 0) {
        l->conn = NULL;
        return -1;
    }
    m = conn_mux(l->conn);
    if (mux_feed(m, PREAMBLE_READY, strlen(PREAMBLE_READY), clock_boot_ns(), e) != 0 ||
        (rest->len > 0 && mux_feed(m, rest->data, rest->len, clock_boot_ns(), e) != 0)) {
        conn_free(l->conn);
        l->conn = NULL;
        return -1;
    }
    return 0;
}

/* False: the link is gone. */
static bool
come_up(struct link *l, int fd, const struct buf *rest)
{
    l->was_up = true;
    if (make_conn(l, fd, rest, &l->conn_why) != 0) {
        l->conn_over = true;
        l->conn_failed = true;
        transport_cancel(l->work->t);
        timer_after(l->patience, LAST_WORDS_NS);
        return true;
    }
    l->busy++;
    l->cb.up(l->ctx, l, l->conn);
    return still_there(l);
}

struct mail {
    bool stage_new;
    enum link_stage stage;
    uint64_t done_bytes;
    uint64_t total_bytes;
    int fd;
    struct buf rest;
    bool over;
};

static void
take_mail(struct link *l, struct mail *m)
{
    struct work *w = l->work;

    (void)pthread_mutex_lock(&w->m);
    *m = (struct mail){
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
        l->info = *transport_info(w->t);
    }
    (void)pthread_mutex_unlock(&w->m);
}

static void
on_wake(void *ctx)
{
    struct link *l = ctx;
    struct mail m;

    take_mail(l, &m);
    if (m.stage_new && l->cb.stage != NULL) {
        l->busy++;
        l->cb.stage(l->ctx, l, m.stage, m.done_bytes, m.total_bytes);
        if (!still_there(l)) {
            (void)fd_close(&m.fd);
            buf_free(&m.rest);
            return;
        }
    }
    if (m.fd != -1 && !come_up(l, m.fd, &m.rest)) {
        buf_free(&m.rest);
        return;
    }
    buf_free(&m.rest);
    if (m.over) {
        l->over = true;
        if (!l->was_up || l->conn_over) {
            tell_lost(l);
        } /* else the conn still has bytes to read before it ends */
    }
}

/* ---- opening and closing ---- */

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

static int
make_work(struct link *l, const struct host *h, const struct link_options *o,
          struct err *e)
{
    struct work *w = xcalloc(1, sizeof *w);
    struct transport_options to = o->transport;

    w->links = l->links;
    w->refs = 1;
    w->fd = -1;
    w->start_timeout_ms = o->start_timeout_ms;
    (void)pthread_mutex_init(&w->m, NULL);
    l->work = w;
    /* A copy: the thread may be caught in a name look-up for longer than we live. */
    if (home_open(&w->home, home_dir(o->transport.home), e) != 0) {
        return -1;
    }
    to.home = w->home;
    w->t = transport_new(h, &to);
    w->waker = l->waker;
    w->refs++;
    (void)pthread_mutex_lock(&l->links->m);
    l->links->refs++;
    (void)pthread_mutex_unlock(&l->links->m);
    if (start_thread(w, e) != 0) {
        w->refs--;
        (void)pthread_mutex_lock(&l->links->m);
        links_unref(l->links);
        return -1;
    }
    return 0;
}

int
link_open(struct link **out, struct links *s, const struct host *h,
          const struct link_options *o, struct err *e)
{
    struct link *l = xcalloc(1, sizeof *l);

    links_join(s, false); /* those of the links before: many may come and go */
    l->links = s;
    l->cb = *o->cb;
    l->ctx = o->ctx;
    l->mux = o->mux;
    l->name = xstrdup(h->name != NULL ? h->name : "");
    l->patience = timer_new(s->loop, on_patience_over, l);
    if (waker_new(&l->waker, s->loop, on_wake, l, e) != 0 || make_work(l, h, o, e) != 0) {
        link_close(l);
        return -1;
    }
    *out = l;
    return 0;
}

void
link_close(struct link *l)
{
    struct work *w;

    if (l == NULL || l->closed) {
        return;
    }
    l->closed = true;
    w = l->work;
    if (w != NULL) {
        (void)pthread_mutex_lock(&w->m);
        w->waker = NULL;
        (void)pthread_mutex_unlock(&w->m);
        if (w->t != NULL) {
            transport_cancel(w->t);
        }
        work_unref(w);
    }
    conn_free(l->conn);
    waker_free(l->waker);
    timer_free(l->patience);
    if (l->busy == 0) {
        link_free(l);
    }
}

const char *
link_host_name(const struct link *l)
{
    return l->name;
}

struct conn *
link_conn(const struct link *l)
{
    return l->conn;
}

const struct transport_info *
link_info(const struct link *l)
{
    return l->was_up ? &l->info : NULL;
}
