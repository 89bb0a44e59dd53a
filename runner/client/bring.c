#include "runner/client/bring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "runner/client/errand.h"
#include "runner/client/near.h"
#include "runner/client/room.h"
#include "runner/client/stall.h"
#include "runner/client/tmpdir.h"
#include "runner/job/verbs.h"
#include "runner/wire/channel.h"
#include "runner/wire/mux.h"

/* ---- the scratch store ---- */

struct scratch {
    struct tmpdir dir; /* TMPDIR_NONE: the store is a host's */
    struct store *store;
};

int
scratch_new(struct scratch **out, const struct home *home, struct err *e)
{
    static const struct store_options o = {.scratch = true};
    struct scratch *s = xcalloc(1, sizeof *s);

    if (tmpdir_make(&s->dir, home, "store.", e) != 0) {
        free(s);
        return -1;
    }
    if (store_open(&s->store, s->dir.path, &o, e) != 0) {
        scratch_free(s);
        return room_full_home(home, e);
    }
    *out = s;
    return 0;
}

int
scratch_for(struct scratch **out, const struct home *home, struct session *s,
            struct err *e)
{
    struct store *near;
    struct scratch *here;

    near_store(s, false, &near);
    if (near == NULL) {
        return scratch_new(out, home, e);
    }
    here = xcalloc(1, sizeof *here);
    here->dir = TMPDIR_NONE;
    here->store = near;
    *out = here;
    return 0;
}

void
scratch_free(struct scratch *s)
{
    if (s == NULL) {
        return;
    }
    store_close(s->store);
    tmpdir_remove(&s->dir);
    free(s);
}

struct store *
scratch_store(struct scratch *s)
{
    return s->store;
}

/* ---- one transfer ---- */

struct transfer {
    struct errand errand;
    struct client *client;
    struct session *session;
    const struct bring_want *want;
    struct store *store;    /* of a tree */
    struct sync_recv *recv; /* of a tree */
    struct buf *listing;    /* or of a listing */
    struct channel *channel;
    struct stall *stall;
    struct sync_stats past; /* before links were cut */
    bool done;              /* all is here */
    struct sha256 tree;
};

static void
fail(struct transfer *t, const struct err *why)
{
    errand_fail(&t->errand, why);
}

/* Where all is here, the host only has not said that it knows. */
static void
on_silence(void *ctx)
{
    struct transfer *t = ctx;
    struct err e;

    if (t->done) {
        errand_done(&t->errand);
        return;
    }
    stall_error(session_host(t->session)->name, &e);
    channel_reset(t->channel, &e);
    fail(t, &e);
}

/*
 * Whatever we say is said at once, so it is always its turn. A listing has no frames:
 * once it has begun the rest of it is due.
 */
static int
owes(void *ctx)
{
    const struct transfer *t = ctx;

    return t->done || (t->listing != NULL && t->listing->len > 0) ? 1 : STALL_SLOW;
}

static const struct stall_events stall_events = {.over = on_silence, .owes = owes};

static void
send_answers(struct transfer *t)
{
    size_t len;
    const uint8_t *data;

    while ((data = sync_recv_output(t->recv, &len)) != NULL && len > 0) {
        size_t n = channel_send(t->channel, data, len);

        sync_recv_sent(t->recv, n);
        if (n < len) {
            return;
        }
    }
    if (sync_recv_state(t->recv, &t->tree) == SYNC_DONE && !t->done) {
        t->done = true;
        channel_send_eof(t->channel);
    }
}

/* The host has heard that we have it all: nothing is left hanging there. */
static void
on_acked(void *ctx, struct channel *c, uint64_t offset)
{
    struct transfer *t = ctx;

    if (t->done && offset == channel_send_end(c)) {
        errand_done(&t->errand);
    }
}

/* What came before a cut has come: it is not wanted again. */
static struct sync_stats
stats_of(const struct transfer *t)
{
    struct sync_stats st = {0};

    if (t->recv != NULL) {
        sync_recv_stats(t->recv, &st);
    }
    st.n_sent += t->past.n_sent;
    st.n_wanted += t->past.n_sent;
    st.sent_bytes += t->past.sent_bytes;
    st.wire_bytes += t->past.wire_bytes;
    return st;
}

static void
tell_progress(const struct transfer *t)
{
    struct sync_stats st = stats_of(t);

    if (t->want->progress != NULL) {
        t->want->progress(t->want->ctx, &st);
    }
}

static size_t
on_tree_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct transfer *t = ctx;
    struct err e;

    (void)c;
    if (t->errand.over || t->done) {
        return n;
    }
    stall_took(t->stall, data, n);
    if (sync_recv_input(t->recv, data, n, &e) != 0) {
        (void)room_full_home(t->client->home, &e);
        fail(t, &e);
        return n;
    }
    send_answers(t);
    tell_progress(t);
    return n;
}

static size_t
on_listing_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct transfer *t = ctx;
    struct err e;

    (void)c;
    if (n > BRING_LISTING_MAX - t->listing->len) {
        err_set(&e, ERR_RANGE, "%s", _("the host's listing is longer than it may be"));
        fail(t, &e);
        return n;
    }
    buf_add(t->listing, data, n);
    return n;
}

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct transfer *t = ctx;

    return t->listing != NULL ? on_listing_data(ctx, c, data, n)
                              : on_tree_data(ctx, c, data, n);
}

static void
on_eof(void *ctx, struct channel *c)
{
    struct transfer *t = ctx;
    struct err e;

    (void)c;
    if (t->listing != NULL || t->done) {
        errand_done(&t->errand);
    } else if (!t->errand.over) {
        err_set(&e, ERR_CORRUPT, "%s",
                _("the host ended the transfer before it was whole"));
        fail(t, &e);
    }
}

static void
on_writable(void *ctx, struct channel *c)
{
    struct transfer *t = ctx;

    (void)c;
    if (t->recv != NULL && !t->errand.over && !t->done) {
        send_answers(t);
    }
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    struct transfer *t = ctx;
    struct err e;

    (void)c;
    if (t->done) {
        errand_done(&t->errand);
    } else if (why->code != ERR_LINK) {
        session_peer_error(why, NULL, &e);
        fail(t, &e);
    }
}

static void
on_detached(void *ctx, struct channel *c, const struct err *why)
{
    struct transfer *t = ctx;

    (void)c;
    (void)why;
    stall_watch(t->stall, NULL);
    if (t->done) {
        errand_done(&t->errand);
    }
}

static const struct channel_events channel_events = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_writable = on_writable,
    .on_acked = on_acked,
    .on_detached = on_detached,
    .on_reset = on_reset,
};

/* New halves each time: what has arrived is in the store and is not asked for again. */
static int
begin(void *ctx, struct err *e)
{
    struct transfer *t = ctx;
    struct conn *c = session_conn(t->session);
    struct channel_options co = {
        .cls = CHANNEL_BULK, .events = &channel_events, .ctx = t};
    struct sync_recv_options ro = {.max_bytes = t->want->max_bytes};
    bool part = t->want->path != NULL && t->want->path[0] != '\0';
    struct rec *r;
    int rc;

    if (c == NULL) {
        return 0;
    }
    if (part && t->want->snapshot != NULL) {
        ro.only = t->want->path; /* the snapshot's whole tree, and this of its contents */
    }
    t->past = stats_of(t);
    sync_recv_free(t->recv);
    t->recv = NULL;
    if (t->listing != NULL) {
        buf_reset(t->listing);
    } else if (sync_recv_new(&t->recv, t->store, &ro, e) != 0) {
        return -1;
    }
    stall_watch(t->stall, NULL);
    channel_free(t->channel);
    t->channel = channel_new(&co);
    stall_watch(t->stall, t->channel);
    if (t->listing != NULL) {
        channel_send_eof(t->channel);
    }
    r = rec_new(t->listing != NULL ? OPEN_FILES : OPEN_GET);
    if (t->want->snapshot != NULL) {
        rec_add(r, "snapshot", t->want->snapshot);
    } else {
        rec_add(r, "job", t->want->job);
    }
    if (part) {
        rec_add(r, "path", t->want->path);
    }
    rc = mux_open(conn_mux(c), t->channel, r, e);
    rec_free(r);
    return rc;
}

static bool
is_over(void *ctx)
{
    const struct transfer *t = ctx;

    return t->errand.over;
}

static int
transfer_open(struct transfer *t, struct err *e)
{
    t->errand = (struct errand){.sessions = {t->session, NULL}, .begin = begin, .ctx = t};
    t->stall = stall_new(t->client->loop, STALL_NS, &stall_events, t);
    return errand_open(&t->errand, e);
}

static int
transfer_result(const struct transfer *t, struct err *e)
{
    return errand_result(&t->errand, _("interrupted while data was fetched"), e);
}

static void
transfer_close(struct transfer *t)
{
    errand_close(&t->errand);
    stall_free(t->stall);
    channel_free(t->channel);
    sync_recv_free(t->recv);
}

static int
transfer(struct transfer *t, struct err *e)
{
    int rc = transfer_open(t, e);

    if (rc == 0) {
        (void)loop_run_until(t->client->loop, is_over, t, -1);
        rc = transfer_result(t, e);
    }
    transfer_close(t);
    return rc;
}

struct bring {
    struct transfer t;
    struct bring_want want;
};

int
bring_start(struct bring **out, struct client *cl, struct session *s, struct scratch *to,
            const struct bring_want *w, struct err *e)
{
    struct bring *b = xcalloc(1, sizeof *b);

    b->want = *w;
    b->t = (struct transfer){
        .client = cl, .session = s, .want = &b->want, .store = to->store};
    if (transfer_open(&b->t, e) != 0) {
        transfer_close(&b->t);
        free(b);
        return -1;
    }
    *out = b;
    return 0;
}

bool
bring_is_over(const struct bring *b)
{
    return b->t.errand.over;
}

int
bring_finish(struct bring *b, struct brought *out, struct err *e)
{
    const struct bring_want *w = &b->want;
    const char *slash = w->path != NULL ? strrchr(w->path, '/') : NULL;
    int rc = transfer_result(&b->t, e);

    if (rc == 0) {
        out->tree = b->t.tree;
        out->only = w->snapshot == NULL && slash != NULL ? slash + 1 : w->path;
    }
    transfer_close(&b->t);
    free(b);
    return rc;
}

int
bring_tree(struct client *cl, struct session *s, struct scratch *to,
           const struct bring_want *w, struct brought *out, struct err *e)
{
    struct bring *b;

    if (bring_start(&b, cl, s, to, w, e) != 0) {
        return -1;
    }
    (void)loop_run_until(cl->loop, is_over, &b->t, -1);
    return bring_finish(b, out, e);
}

int
bring_listing(struct client *cl, struct session *s, const struct bring_want *w,
              struct buf *out, struct err *e)
{
    struct buf listing = BUF_INIT;
    struct transfer t = {.client = cl, .session = s, .want = w, .listing = &listing};
    int rc = transfer(&t, e);

    if (rc == 0) {
        buf_add(out, listing.data, listing.len);
    }
    buf_free(&listing);
    return rc;
}

int
bring_listing_read(void *ctx, void *to, size_t n, size_t *got, struct err *e)
{
    struct bring_listing_at *l = ctx;
    size_t left = l->listing->len - l->at;

    (void)e;
    *got = n < left ? n : left;
    memcpy(to, l->listing->data + l->at, *got);
    l->at += *got;
    return 0;
}
