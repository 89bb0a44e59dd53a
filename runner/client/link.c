#include "runner/client/link.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/client/link_internal.h"
#include "runner/client/transport_internal.h"
#include "runner/wire/preamble.h"

/* The loop's half. Bytes do not pass here: conn and transport share a socket. */

#define HELLO_MS      30000
#define LAST_WORDS_NS ((int64_t)1000000000) /* for the thread to say why a conn ended */

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
             transport_where(work_transport(l->work), where));
}

/* The agent went away before it said HELLO: its exit status and last words tell why. */
static void
never_spoke(struct link *l, const struct transport_status *s, struct failure *why)
{
    if (s->end == TRANSPORT_END_NONE) {
        no_agent_of_ours(l, why);
        return;
    }
    (void)transport_explain_early_end(work_transport(l->work), s, why);
}

/* Put together what the conn and the thread know. */
static void
why_lost(struct link *l, struct failure *why)
{
    struct transport_status s;
    char where[WHERE_MAX];

    work_last_words(l->work, why, &s);
    if (!l->was_up) {
        return;
    }
    if (l->conn_over && !l->conn_failed) {
        *why = (struct failure){.cause = CAUSE_NONE};
    } else if (l->conn_why.code == ERR_VERSION) {
        *why = (struct failure){.cause = CAUSE_VERSION, .err = l->conn_why};
        err_wrap(&why->err, "%s", transport_where(work_transport(l->work), where));
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

    transport_cancel(work_transport(l->work));
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
    if (conn_new(&l->conn, links_loop(l->links), fd, fd, &o, e) != 0) {
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
        transport_cancel(work_transport(l->work));
        timer_after(l->patience, LAST_WORDS_NS);
        return true;
    }
    l->busy++;
    l->cb.up(l->ctx, l, l->conn);
    return still_there(l);
}

static void
on_wake(void *ctx)
{
    struct link *l = ctx;
    struct work_mail m;

    work_take_mail(l->work, &m);
    if (m.fd != -1) {
        l->info = m.info;
    }
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

int
link_open(struct link **out, struct links *s, const struct host *h,
          const struct link_options *o, struct err *e)
{
    struct link *l = xcalloc(1, sizeof *l);
    struct loop *loop = links_loop(s);
    struct work_options work = {.links = s, .host = h, .link = o};

    links_join(s); /* those of the links before: many may come and go */
    l->links = s;
    l->cb = *o->cb;
    l->ctx = o->ctx;
    l->mux = o->mux;
    l->name = xstrdup(h->name != NULL ? h->name : "");
    l->patience = timer_new(loop, on_patience_over, l);
    if (waker_new(&l->waker, loop, on_wake, l, e) != 0) {
        link_close(l);
        return -1;
    }
    work.waker = l->waker;
    if (work_start(&l->work, &work, e) != 0) {
        link_close(l);
        return -1;
    }
    *out = l;
    return 0;
}

void
link_close(struct link *l)
{
    if (l == NULL || l->closed) {
        return;
    }
    l->closed = true;
    if (l->work != NULL) {
        work_leave(l->work);
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
