#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "runner/host/serve_internal.h"
#include "runner/host/workdirs.h"
#include "runner/job/verbs.h"
#include "storage/manifest.h"
#include "storage/store.h"
#include "storage/sync.h"

/* A tree on its way out: a snapshot's data to a client. */
struct serve_get {
    struct serve *serve;
    struct serve_get *next;
    struct store *store;
    struct sync_send *send;
    struct waker *waker;
    struct channel *channel;
    bool eof_sent;
};

static void
get_free(struct serve_get *g)
{
    struct serve_get **at = &g->serve->gets;

    while (*at != NULL && *at != g) {
        at = &(*at)->next;
    }
    if (*at == g) {
        *at = g->next;
    }
    channel_free(g->channel);
    sync_send_free(g->send); /* its threads are gone then: nobody wakes us any more */
    waker_free(g->waker);
    store_close(g->store);
    free(g);
}

static void
free_later(void *ctx)
{
    get_free(ctx);
}

static void
over(struct serve_get *g)
{
    loop_undefer(g->serve->loop, free_later, g);
    loop_defer(g->serve->loop, free_later, g);
}

static void
push(struct serve_get *g)
{
    const uint8_t *data;
    size_t len;
    struct err e;

    if (channel_is_reset(g->channel)) {
        return;
    }
    while ((data = sync_send_output(g->send, &len)) != NULL && len > 0) {
        size_t n = channel_send(g->channel, data, len);

        sync_send_sent(g->send, n);
        if (n < len) {
            return; /* on_writable goes on */
        }
    }
    switch (sync_send_state(g->send, &e)) {
    case SYNC_DONE:
        if (!g->eof_sent) {
            g->eof_sent = true;
            channel_send_eof(g->channel);
        }
        break;
    case SYNC_FAILED:
        channel_reset(g->channel, &e);
        over(g);
        break;
    case SYNC_RUNNING:
    case SYNC_NONE:
        break;
    }
}

static void
woken(void *ctx)
{
    push(ctx);
}

static void
wake(void *ctx)
{
    struct serve_get *g = ctx;

    waker_wake(g->waker);
}

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct serve_get *g = ctx;
    struct err e;

    if (sync_send_input(g->send, data, n, &e) != 0) {
        channel_reset(c, &e);
        over(g);
    } else {
        push(g);
    }
    return n;
}

static void
on_writable(void *ctx, struct channel *c)
{
    (void)c;
    push(ctx);
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    (void)c;
    (void)why;
    over(ctx);
}

static void
on_done(void *ctx, struct channel *c)
{
    (void)c;
    over(ctx);
}

/* ---- opening ---- */

static int
find_tree(struct serve_get *g, const struct rec *r, struct sha256 *tree, struct err *e)
{
    const char *snapshot;
    struct manifest *m = NULL;

    if (rec_has(r, "path") && rec_get(r, "path")[0] != '\0') {
        return err_set(e, ERR_VERSION, "this agent sends whole snapshots only");
    }
    if (rec_need_str(r, "snapshot", &snapshot, e) != 0 ||
        id_check(ID_SNAPSHOT, snapshot, e) != 0 ||
        manifest_read(g->store, snapshot, &m, e) != 0) {
        return -1;
    }
    *tree = m->tree;
    manifest_free(m);
    return 0;
}

static int
begin(struct serve_get *g, const struct rec *r, struct err *e)
{
    struct sync_send_options so = {.wake = wake, .wake_ctx = g};
    char *path = workdirs_store_path(g->serve->renter);
    struct sha256 tree;
    struct sha256 base;
    bool has_base = rec_has(r, "tree");
    int rc = -1;

    if (has_base && rec_need_hex(r, "tree", base.b, sizeof base.b, e) != 0) {
        goto out;
    }
    if (store_open(&g->store, path, NULL, e) != 0 || find_tree(g, r, &tree, e) != 0 ||
        waker_new(&g->waker, g->serve->loop, woken, g, e) != 0) {
        goto out;
    }
    waker_set_idle(g->waker, true);
    if (sync_send_store(&g->send, g->store, &tree, &so, e) != 0) {
        goto out;
    }
    sync_send_begin(g->send, has_base ? &base : NULL);
    rc = 0;

out:
    free(path);
    return rc;
}

void
serve_get_open(struct serve *s, const struct mux_offer *offer)
{
    static const struct channel_events events = {.on_data = on_data,
                                                 .on_writable = on_writable,
                                                 .on_reset = on_reset,
                                                 .on_done = on_done};
    struct serve_get *g;
    struct channel_options o = {
        .cls = offer->cls, .token = offer->token, .events = &events};
    size_t n = 0;
    struct err e;

    for (g = s->gets; g != NULL; g = g->next) {
        n++;
    }
    if (n >= SERVE_GETS_MAX) {
        err_set(&e, ERR_BUSY, "too many trees are fetched on this connection");
        mux_refuse(s->mux, offer->stream, &e, NULL);
        return;
    }
    g = xcalloc(1, sizeof *g);
    g->serve = s;
    if (strcmp(rec_type(offer->rec), OPEN_FILES) == 0) {
        err_set(&e, ERR_VERSION, "this agent does not list files yet");
    } else if (begin(g, offer->rec, &e) == 0) {
        g->next = s->gets;
        s->gets = g;
        o.ctx = g;
        g->channel = channel_new(&o);
        if (mux_accept(s->mux, offer->stream, g->channel, NULL, &e) != 0) {
            get_free(g);
            return;
        }
        push(g);
        return;
    }
    get_free(g);
    mux_refuse(s->mux, offer->stream, &e, NULL);
}

void
serve_gets_free(struct serve *s)
{
    while (s->gets != NULL) {
        struct serve_get *g = s->gets;

        s->gets = g->next;
        loop_undefer(s->loop, free_later, g);
        get_free(g);
    }
}
