#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lang.h"
#include "runner/client/errand.h"
#include "runner/client/forward.h"
#include "runner/client/room.h"
#include "runner/client/snaps.h"
#include "runner/client/stall.h"
#include "runner/job/verbs.h"
#include "runner/wire/channel.h"
#include "runner/wire/msg.h"
#include "runner/wire/mux.h"
#include "storage/manifest.h"

/*
 * One host's `get` channel and the other's `ship` channel, joined: each side's half of
 * storage's sync talks to the other, we carry bytes as far as the other channel takes
 * them. The receiver is asked first: what it has room for goes to the sender, which then
 * sends nothing that surely does not fit. A cut of either begins both anew; the receiver
 * then asks only for what it lacks.
 */
struct forward {
    struct session *from;
    struct session *to;
    struct errand errand;
    char *id;
    struct call *ask;    /* for the manifest */
    struct buf manifest; /* empty: not there yet */
    struct sha256 tree;
    bool patient;
    struct forward_progress *progress;
    uint64_t before_bytes; /* of it, on the links before this one */
    struct channel *in;    /* what the sender says */
    struct channel *out;   /* what the receiver says */
    bool taken;            /* the receiver takes it; the sender is asked */
    struct room room;      /* as the receiver said */
    struct stall *in_stall;
    struct stall *out_stall;
    bool done; /* the receiver has it, claimed */
};

static void
fail(struct forward *f, const struct err *why)
{
    errand_fail(&f->errand, why);
}

static struct channel *
other(const struct forward *f, const struct channel *c)
{
    return c == f->in ? f->out : f->in;
}

static void
on_silence(struct forward *f, const struct session *of)
{
    struct err e;

    if (f->done) {
        errand_done(&f->errand);
        return;
    }
    stall_error(session_host(of)->name, &e);
    channel_reset(f->in, &e);
    channel_reset(f->out, &e);
    fail(f, &e);
}

static void
on_silent_sender(void *ctx)
{
    struct forward *f = ctx;

    on_silence(f, f->from);
}

static void
on_silent_receiver(void *ctx)
{
    struct forward *f = ctx;

    on_silence(f, f->to);
}

/* One of them is to speak next; once the receiver has it all, only an end is missing. */
static int
sender_owes(void *ctx)
{
    const struct forward *f = ctx;

    if (f->done) {
        return 1;
    }
    if (!f->taken) {
        return 0;
    }
    return stall_is_asked(f->in_stall, f->out_stall) ? 0 : STALL_SLOW;
}

static int
receiver_owes(void *ctx)
{
    const struct forward *f = ctx;

    if (!f->taken) {
        return STALL_SLOW;
    }
    return !f->done && stall_is_asked(f->in_stall, f->out_stall) ? STALL_SLOW : 0;
}

static const struct stall_events sender_events = {.over = on_silent_sender,
                                                  .owes = sender_owes};
static const struct stall_events receiver_events = {.over = on_silent_receiver,
                                                    .owes = receiver_owes};

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct forward *f = ctx;
    size_t took;

    if (f->errand.over) {
        return n;
    }
    took = channel_send(other(f, c), data, n);
    stall_took(c == f->in ? f->in_stall : f->out_stall, data, took);
    if (c == f->in) {
        f->progress->bytes = f->before_bytes + stall_stored_bytes(f->in_stall);
    }
    return took;
}

/* There is room again: what the other channel has kept goes on. */
static void
on_writable(void *ctx, struct channel *c)
{
    struct forward *f = ctx;
    struct channel *from = other(f, c);
    const uint8_t *data;
    size_t len;

    while (!f->errand.over && (data = channel_rx(from, &len)) != NULL && len > 0) {
        size_t took = on_data(f, from, data, len);

        channel_rx_take(from, took);
        if (took < len) {
            return;
        }
    }
}

static void
on_eof(void *ctx, struct channel *c)
{
    struct forward *f = ctx;
    struct err e;

    if (c == f->out) { /* only after the claim stands */
        f->done = true;
        channel_send_eof(f->in);
        channel_send_eof(f->out);
    } else if (f->done) {
        errand_done(&f->errand);
    } else {
        err_set(&e, ERR_CORRUPT, _("host '%s' ended the transfer before it was whole"),
                session_host(f->from)->name);
        fail(f, &e);
    }
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    struct forward *f = ctx;
    struct err e;

    if (f->done) {
        errand_done(&f->errand);
    } else if (why->code != ERR_LINK) {
        session_peer_error(why, NULL, &e);
        if (c == f->in && e.code == ERR_SPACE && f->room.limited) {
            room_add_limit(&f->room, session_host(f->to)->name, &e);
        } else {
            (void)err_wrap(&e, "%s", session_host(c == f->in ? f->from : f->to)->name);
        }
        fail(f, &e);
    }
}

static void
on_detached(void *ctx, struct channel *c, const struct err *why)
{
    struct forward *f = ctx;
    struct err e;

    (void)why;
    stall_watch(f->in_stall, NULL); /* begun anew, or given up */
    stall_watch(f->out_stall, NULL);
    if (f->done) {
        errand_done(&f->errand);
    } else if (!f->patient) {
        err_set(&e, ERR_LINK, _("the link to host '%s' is gone"),
                session_host(c == f->in ? f->from : f->to)->name);
        fail(f, &e);
    }
}

static const struct channel_events in_events = {
    .on_data = on_data,
    .on_writable = on_writable,
    .on_eof = on_eof,
    .on_detached = on_detached,
    .on_reset = on_reset,
};

static int
ask_sender(struct forward *f, struct conn *from, struct err *e)
{
    struct rec *get = rec_new(OPEN_GET);
    int rc;

    rec_add(get, "snapshot", f->id);
    if (f->room.limited) {
        rec_add_int(get, "room_bytes", (int64_t)f->room.left_bytes);
    }
    f->taken = true;
    rc = mux_open(conn_mux(from), f->in, get, e);
    rec_free(get);
    return rc;
}

/* The receiver takes it, and has said how much it has room for. */
static void
on_accepted(void *ctx, struct channel *c, const struct rec *rec)
{
    struct forward *f = ctx;
    struct conn *from = session_conn(f->from);
    struct err e;

    (void)c;
    if (f->errand.over || f->taken) {
        return;
    }
    room_take(&f->room, rec);
    if (from == NULL && f->patient) {
        return; /* begun anew with the next link */
    }
    if (from == NULL) {
        err_set(&e, ERR_LINK, _("the link to host '%s' is gone"),
                session_host(f->from)->name);
        fail(f, &e);
    } else if (ask_sender(f, from, &e) != 0 && e.code != ERR_LINK) {
        fail(f, &e);
    }
}

static const struct channel_events out_events = {
    .on_accepted = on_accepted,
    .on_data = on_data,
    .on_writable = on_writable,
    .on_eof = on_eof,
    .on_detached = on_detached,
    .on_reset = on_reset,
};

static void
channels_free(struct forward *f)
{
    stall_free(f->in_stall);
    stall_free(f->out_stall);
    f->in_stall = NULL;
    f->out_stall = NULL;
    channel_free(f->in);
    channel_free(f->out);
    f->in = NULL;
    f->out = NULL;
}

/* What is to be passed on: the manifest is whole and the data kept. */
static int
take_manifest(struct forward *f, const struct rec *resp, struct err *e)
{
    struct manifest *m = NULL;
    struct snap_info info;
    int rc = -1;

    snap_info_init(&info);
    if (snaps_take_shown(resp, session_host(f->from)->name, f->id, &info, &f->manifest,
                         e) != 0 ||
        manifest_parse(&m, f->manifest.data, f->manifest.len, e) != 0) {
        goto out;
    }
    if (!info.kept) {
        err_set(e, ERR_NOT_FOUND, _("the data of snapshot %s is gone"), f->id);
        goto out;
    }
    f->tree = m->tree;
    rc = 0;

out:
    manifest_free(m);
    snap_info_free(&info);
    return rc;
}

static int begin(void *ctx, struct err *e);

static void
on_shown(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct forward *f = ctx;
    bool cut = resp == NULL && why->code == ERR_LINK && session_conn(f->from) == NULL;
    struct err e;

    f->ask = NULL;
    if (cut && f->patient) {
        return; /* asked again on the next link */
    }
    if (resp == NULL) {
        session_peer_error(why, hint, &e);
        (void)err_wrap(&e, "%s", session_host(f->from)->name);
        fail(f, &e);
    } else if (take_manifest(f, resp, &e) != 0 ||
               (begin(f, &e) != 0 && e.code != ERR_LINK)) {
        fail(f, &e);
    }
}

static int
ask_manifest(struct forward *f, struct conn *from, struct err *e)
{
    struct rec *req = msg_request_new(VERB_SNAP_SHOW);
    int rc;

    rec_add(req, "snapshot", f->id);
    call_cancel(f->ask);
    f->ask = NULL;
    rc = call_start(&f->ask, from, req, SNAP_ANSWER_NS, on_shown, f, e);
    rec_free(req);
    return rc;
}

static int
join(struct forward *f, struct conn *to, struct err *e)
{
    struct channel_options in = {.cls = CHANNEL_BULK, .events = &in_events, .ctx = f};
    struct channel_options out = {.cls = CHANNEL_BULK, .events = &out_events, .ctx = f};
    struct rec *ship = rec_new(OPEN_SHIP);
    int rc;

    channels_free(f);
    f->before_bytes = f->progress->bytes;
    f->taken = false;
    f->in = channel_new(&in);
    f->out = channel_new(&out);
    f->in_stall = stall_new(conn_loop(to), STALL_NS, &sender_events, f);
    f->out_stall = stall_new(conn_loop(to), STALL_NS, &receiver_events, f);
    stall_watch(f->in_stall, f->in);
    stall_watch(f->out_stall, f->out);
    rec_add_hex(ship, "tree", f->tree.b, sizeof f->tree.b);
    rec_add_bytes(ship, "manifest", f->manifest.data, f->manifest.len);
    rec_add_int(ship, "forms", 1);
    rc = mux_open(conn_mux(to), f->out, ship, e);
    rec_free(ship);
    return rc;
}

/* As far as the links that are there let it; again with each that comes. */
static int
begin(void *ctx, struct err *e)
{
    struct forward *f = ctx;
    struct conn *from = session_conn(f->from);
    struct conn *to = session_conn(f->to);

    if (from == NULL || f->done || f->errand.over) {
        return 0;
    }
    if (f->manifest.len == 0) {
        return f->ask != NULL ? 0 : ask_manifest(f, from, e);
    }
    return to == NULL ? 0 : join(f, to, e);
}

bool
forward_is_over(const struct forward *f)
{
    return f->errand.over;
}

static bool
is_over(void *ctx)
{
    return forward_is_over(ctx);
}

static void
forward_free(struct forward *f)
{
    errand_close(&f->errand);
    channels_free(f);
    call_cancel(f->ask);
    buf_free(&f->manifest);
    free(f->id);
    free(f);
}

int
forward_start(struct forward **out, struct session *from, struct session *to,
              const char *id, bool patient, struct forward_progress *progress,
              struct err *e)
{
    struct forward *f = xcalloc(1, sizeof *f);

    f->from = from;
    f->to = to;
    f->id = xstrdup(id);
    f->patient = patient;
    f->progress = progress;
    f->errand = (struct errand){.sessions = {from, to}, .begin = begin, .ctx = f};
    if (errand_open(&f->errand, e) != 0) {
        forward_free(f);
        return -1;
    }
    *out = f;
    return 0;
}

int
forward_finish(struct forward *f, struct err *e)
{
    int rc =
        errand_result(&f->errand, _("interrupted while the snapshot was passed on"), e);

    if (rc != 0) {
        (void)room_full_host(f->to, e);
    }
    forward_free(f);
    return rc;
}

int
forward_snapshot(struct client *cl, struct session *from, struct session *to,
                 const char *id, bool patient, struct forward_progress *progress,
                 struct err *e)
{
    struct forward *f;

    if (forward_start(&f, from, to, id, patient, progress, e) != 0) {
        return -1;
    }
    (void)loop_run_until(cl->loop, is_over, f, -1);
    return forward_finish(f, e);
}
