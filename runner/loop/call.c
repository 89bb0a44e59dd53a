#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "runner/loop/conn_internal.h"

/* One request: its answer, its time limit, whoever comes first. */

struct call {
    struct conn *conn;
    uint64_t id;
    struct timer *limit;
    int64_t timeout_ns;
    mux_answer_fn *cb;
    void *ctx;
};

static void
forget(struct call *k)
{
    timer_free(k->limit);
    free(k);
}

static void
on_answer(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct call *k = ctx;
    mux_answer_fn *cb = k->cb;
    void *cb_ctx = k->ctx;

    forget(k);
    cb(cb_ctx, resp, why, hint);
}

static void
on_limit(void *ctx)
{
    struct call *k = ctx;
    struct mux *m = conn_mux(k->conn);
    struct err why;

    if (m != NULL) {
        mux_request_forget(m, k->id);
    }
    err_set(&why, ERR_LINK, "no answer within %lld ms",
            (long long)(k->timeout_ns / 1000000));
    on_answer(k, NULL, &why, "");
}

int
call_start(struct call **out, struct conn *c, const struct rec *req, int64_t timeout_ns,
           mux_answer_fn *cb, void *ctx, struct err *e)
{
    struct call *k;

    if (c->ended) {
        if (c->has_why) {
            *e = c->why;
            return -1;
        }
        return err_set(e, ERR_LINK, "the connection is closed");
    }
    k = xcalloc(1, sizeof *k);
    k->conn = c;
    k->cb = cb;
    k->ctx = ctx;
    k->timeout_ns = timeout_ns;
    if (mux_request(c->mux, req, on_answer, k, &k->id, e) == -1) {
        free(k);
        return -1;
    }
    if (timeout_ns >= 0) {
        k->limit = timer_new(c->loop, on_limit, k);
        timer_set_idle(k->limit, true);
        timer_after(k->limit, timeout_ns);
    }
    if (out != NULL) {
        *out = k;
    }
    return 0;
}

void
call_cancel(struct call *k)
{
    struct mux *m;

    if (k == NULL) {
        return;
    }
    m = conn_mux(k->conn);
    if (m != NULL) {
        mux_request_forget(m, k->id);
    }
    forget(k);
}

/* ---- waiting ---- */

struct waiting {
    bool done;
    struct rec *resp;
    bool failed;
    struct err why;
    char hint[MUX_HINT_MAX + 1];
};

static void
on_waited(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct waiting *w = ctx;
    struct buf copy = BUF_INIT;

    w->done = true;
    if (why != NULL) {
        w->failed = true;
        w->why = *why;
        (void)snprintf(w->hint, sizeof w->hint, "%s", hint);
        return;
    }
    rec_encode(resp, &copy);
    w->failed = rec_parse(&w->resp, copy.data, copy.len, NULL, &w->why) == -1;
    buf_free(&copy);
}

static bool
is_done(void *ctx)
{
    return ((const struct waiting *)ctx)->done;
}

int
call_wait(struct conn *c, const struct rec *req, int64_t timeout_ns, struct rec **resp,
          char hint[MUX_HINT_MAX + 1], struct err *e)
{
    struct waiting w = {0};
    struct call *k;

    if (hint != NULL) {
        hint[0] = '\0';
    }
    if (call_start(&k, c, req, timeout_ns, on_waited, &w, e) == -1) {
        return -1;
    }
    if (!loop_run_until(c->loop, is_done, &w, -1)) {
        call_cancel(k);
        return err_set(e, ERR_LINK, "interrupted while waiting for an answer");
    }
    if (w.failed) {
        *e = w.why;
        if (hint != NULL) {
            (void)snprintf(hint, MUX_HINT_MAX + 1, "%s", w.hint);
        }
        return -1;
    }
    *resp = w.resp;
    return 0;
}
