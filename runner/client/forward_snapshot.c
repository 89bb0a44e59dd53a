#include <string.h>

#include "base/buf.h"
#include "runner/client/forward.h"
#include "runner/client/i18n.h"
#include "runner/client/snaps.h"
#include "runner/job/verbs.h"
#include "runner/wire/channel.h"
#include "runner/wire/mux.h"
#include "storage/manifest.h"

/*
 * One host's `get` channel and the other's `ship` channel, joined: each side's half of
 * storage's sync talks to the other, we carry bytes as far as the other channel takes
 * them. A cut of either begins both anew; the receiver then asks only for what it lacks.
 */
struct passing {
    struct client *client;
    struct session *from;
    struct session *to;
    const char *id;
    const struct buf *manifest;
    struct sha256 tree;
    bool patient;
    struct forward_progress *progress;
    struct channel *in;  /* what the sender says */
    struct channel *out; /* what the receiver says */
    bool done;           /* the receiver has it, claimed */
    bool over;
    bool failed;
    struct err why;
};

static void
fail(struct passing *p, const struct err *why)
{
    if (!p->over) {
        p->over = true;
        p->failed = true;
        p->why = *why;
    }
}

static struct channel *
other(const struct passing *p, const struct channel *c)
{
    return c == p->in ? p->out : p->in;
}

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct passing *p = ctx;
    size_t took;

    if (p->over) {
        return n;
    }
    took = channel_send(other(p, c), data, n);
    if (c == p->in) {
        p->progress->bytes += took;
    }
    return took;
}

/* There is room again: what the other channel has kept goes on. */
static void
on_writable(void *ctx, struct channel *c)
{
    struct passing *p = ctx;
    struct channel *from = other(p, c);
    const uint8_t *data;
    size_t len;

    while (!p->over && (data = channel_rx(from, &len)) != NULL && len > 0) {
        size_t took = on_data(p, from, data, len);

        channel_rx_take(from, took);
        if (took < len) {
            return;
        }
    }
}

static void
on_eof(void *ctx, struct channel *c)
{
    struct passing *p = ctx;
    struct err e;

    if (c == p->out) { /* only after the claim stands */
        p->done = true;
        channel_send_eof(p->in);
        channel_send_eof(p->out);
    } else if (p->done) {
        p->over = true;
    } else {
        err_set(&e, ERR_CORRUPT, _("host '%s' ended the transfer before it was whole"),
                session_host(p->from)->name);
        fail(p, &e);
    }
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    struct passing *p = ctx;
    struct err e;

    if (p->done) {
        p->over = true;
    } else if (why->code != ERR_LINK) {
        session_peer_error(why, NULL, &e);
        (void)err_wrap(&e, "%s", session_host(c == p->in ? p->from : p->to)->name);
        fail(p, &e);
    }
}

static void
on_detached(void *ctx, struct channel *c, const struct err *why)
{
    struct passing *p = ctx;
    struct err e;

    (void)why;
    if (p->done) {
        p->over = true;
    } else if (!p->patient) {
        err_set(&e, ERR_LINK, _("the link to host '%s' is gone"),
                session_host(c == p->in ? p->from : p->to)->name);
        fail(p, &e);
    }
}

static const struct channel_events channel_events = {
    .on_data = on_data,
    .on_writable = on_writable,
    .on_eof = on_eof,
    .on_detached = on_detached,
    .on_reset = on_reset,
};

static void
channels_free(struct passing *p)
{
    channel_free(p->in);
    channel_free(p->out);
    p->in = NULL;
    p->out = NULL;
}

static int
begin(struct passing *p, struct err *e)
{
    struct channel_options co = {
        .cls = CHANNEL_BULK, .events = &channel_events, .ctx = p};
    struct conn *from = session_conn(p->from);
    struct conn *to = session_conn(p->to);
    struct rec *get = NULL;
    struct rec *ship = NULL;
    int rc = -1;

    if (from == NULL || to == NULL || p->done) {
        return 0; /* again when both are there */
    }
    channels_free(p);
    p->in = channel_new(&co);
    p->out = channel_new(&co);
    get = rec_new(OPEN_GET);
    rec_add(get, "snapshot", p->id);
    ship = rec_new(OPEN_SHIP);
    rec_add_hex(ship, "tree", p->tree.b, sizeof p->tree.b);
    rec_add_bytes(ship, "manifest", p->manifest->data, p->manifest->len);
    rc = mux_open(conn_mux(to), p->out, ship, e) == 0
             ? mux_open(conn_mux(from), p->in, get, e)
             : -1;
    rec_free(get);
    rec_free(ship);
    return rc;
}

static void
on_up(void *ctx, struct session *s, struct conn *c, bool first)
{
    struct err e;

    (void)s;
    (void)c;
    (void)first;
    if (begin(ctx, &e) != 0 && e.code != ERR_LINK) {
        fail(ctx, &e);
    }
}

static void
on_failed(void *ctx, struct session *s, const struct failure *why)
{
    (void)s;
    fail(ctx, &why->err);
}

static const struct session_events session_events = {.up = on_up, .failed = on_failed};

static bool
is_over(void *ctx)
{
    const struct passing *p = ctx;

    return p->over;
}

static int
pass_on(struct passing *p, struct err *e)
{
    int rc = -1;

    session_set_events(p->from, &session_events, p);
    session_set_events(p->to, &session_events, p);
    if (begin(p, e) != 0) {
        goto out;
    }
    if (!loop_run_until(p->client->loop, is_over, p, -1)) {
        err_set(e, ERR_LINK, "%s", _("interrupted while the snapshot was passed on"));
    } else if (p->failed) {
        *e = p->why;
    } else {
        rc = 0;
    }

out:
    session_set_events(p->from, NULL, NULL);
    session_set_events(p->to, NULL, NULL);
    channels_free(p);
    return rc;
}

int
forward_snapshot(struct client *cl, struct session *from, struct session *to,
                 const char *id, bool patient, struct forward_progress *progress,
                 struct err *e)
{
    struct buf manifest = BUF_INIT;
    struct passing p = {.client = cl,
                        .from = from,
                        .to = to,
                        .id = id,
                        .manifest = &manifest,
                        .patient = patient,
                        .progress = progress};
    struct manifest *m = NULL;
    struct snap_info info;
    int rc = -1;

    snap_info_init(&info);
    if (snaps_show(from, id, &info, &manifest, e) != 0 ||
        manifest_parse(&m, manifest.data, manifest.len, e) != 0) {
        goto out;
    }
    if (!info.kept) {
        err_set(e, ERR_NOT_FOUND, _("the data of snapshot %s is gone"), id);
        goto out;
    }
    p.tree = m->tree;
    rc = pass_on(&p, e);

out:
    manifest_free(m);
    buf_free(&manifest);
    snap_info_free(&info);
    return rc;
}
