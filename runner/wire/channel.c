#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/num.h"
#include "runner/wire/channel_internal.h"
#include "runner/wire/mux_internal.h"

#define DEFAULT_WINDOW_INTERACTIVE ((size_t)256 * 1024)
#define DEFAULT_WINDOW_BULK        ((size_t)4 << 20)

static size_t
clamp_window(size_t n, enum channel_class cls)
{
    if (n == 0) {
        return cls == CHANNEL_BULK ? DEFAULT_WINDOW_BULK : DEFAULT_WINDOW_INTERACTIVE;
    }
    return size_min(size_max(n, CHANNEL_WINDOW_MIN), CHANNEL_WINDOW_MAX);
}

static struct channel *
make(const struct channel_options *given, const struct channel_state *s)
{
    struct channel_options o = *given;
    struct channel *c = xcalloc(1, sizeof *c);

    assert(o.cls == CHANNEL_INTERACTIVE || o.cls == CHANNEL_BULK);
    o.window_bytes = clamp_window(o.window_bytes, o.cls);
    if (o.replay_max_bytes == 0) {
        o.replay_max_bytes = o.window_bytes;
    }
    o.replay_max_bytes = size_min(o.replay_max_bytes, CHANNEL_REPLAY_MAX);
    c->cls = o.cls;
    c->ctx = o.ctx;
    if (o.events != NULL) {
        c->ev = *o.events;
    }
    if (s != NULL) {
        memcpy(c->token, s->token, sizeof c->token);
    } else if (o.token != NULL) {
        memcpy(c->token, o.token, sizeof c->token);
    } else {
        random_bytes(c->token, sizeof c->token);
    }
    c->turn.kind = MUX_TURN_CHANNEL;
    c->urgent.kind = MUX_TURN_CHANNEL;
    channel_tx_init(&c->tx, &o, s);
    channel_rx_init(&c->rx, &o, s);
    return c;
}

struct channel *
channel_new(const struct channel_options *o)
{
    return make(o, NULL);
}

struct channel *
channel_restore(const struct channel_options *o, const struct channel_state *s)
{
    return make(o, s);
}

static void
destroy(struct channel *c)
{
    channel_tx_free(&c->tx);
    channel_rx_free(&c->rx);
    free(c);
}

void
channel_free(struct channel *c)
{
    if (c == NULL || c->freed) {
        return;
    }
    if (c->mux != NULL) {
        mux_let_go(c->mux, c);
    }
    c->freed = true;
    if (c->busy == 0) {
        destroy(c);
    }
}

void
channel_enter(struct channel *c)
{
    c->busy++;
}

bool
channel_leave(struct channel *c)
{
    c->busy--;
    if (!c->freed) {
        return true;
    }
    if (c->busy == 0) {
        destroy(c);
    }
    return false;
}

void
channel_terms_put(struct buf *out, const struct channel_terms *t)
{
    buf_add_u64(out, t->recv_next);
    buf_add_u64(out, t->limit);
    buf_add_u64(out, t->note_next);
    buf_add_u64(out, t->send_start);
}

void
channel_terms_of(const struct channel *c, struct channel_terms *out)
{
    const struct channel_rx *r = &c->rx;

    *out = (struct channel_terms){
        .gaps = r->gaps,
        .recv_eof = r->eof,
        .recv_next = r->any ? CHANNEL_ANY : r->got,
        .limit = r->any ? r->window : r->limit,
        .note_next = r->note_got,
        .send_start = c->tx.any ? CHANNEL_ANY : c->tx.next,
    };
}

int
channel_agree(struct channel *c, const struct channel_terms *peer, bool accepted,
              struct err *e)
{
    if (channel_tx_check(&c->tx, peer, e) == -1) {
        return -1;
    }
    if (accepted && !c->rx.any && peer->send_start != c->rx.got) {
        return err_set(
            e, ERR_INVALID, "the peer would go on at byte %llu of a channel, not at %llu",
            (unsigned long long)peer->send_start, (unsigned long long)c->rx.got);
    }
    channel_tx_agree(&c->tx, peer);
    channel_rx_agree(&c->rx, peer);
    return 0;
}

void
channel_attach(struct channel *c, struct mux *m, uint32_t stream,
               enum channel_phase phase)
{
    c->mux = m;
    c->stream = stream;
    c->phase = phase;
    c->ack_soon = false;
    c->ack_now = false;
    if (phase == CHANNEL_OPENING) {
        /* Not sent on this connection yet, whatever was on the one before. */
        c->tx.next = c->tx.acked;
    } else {
        /* The peer may have missed our last ACK. */
        c->ack_now = c->rx.taken > 0 || c->rx.eof_told || c->rx.note_told > 0;
        c->rx.ended_sent = false;
    }
}

void
channel_detached(struct channel *c, const struct err *why)
{
    c->mux = NULL;
    c->stream = 0;
    c->phase = CHANNEL_DETACHED;
    c->tx.cursor = NULL;
    if (c->ev.on_detached != NULL) {
        channel_enter(c);
        c->ev.on_detached(c->ctx, c, why);
        (void)channel_leave(c);
    }
}

static void
become_reset(struct channel *c, const struct err *why)
{
    c->mux = NULL;
    c->stream = 0;
    c->phase = CHANNEL_DETACHED;
    c->reset = true;
    c->reset_why = *why;
    channel_tx_drop(&c->tx);
    channel_rx_drop(&c->rx);
}

void
channel_was_reset(struct channel *c, const struct err *why)
{
    become_reset(c, why);
    if (c->ev.on_reset != NULL) {
        channel_enter(c);
        c->ev.on_reset(c->ctx, c, &c->reset_why);
        (void)channel_leave(c);
    }
}

void
channel_reset(struct channel *c, const struct err *why)
{
    if (c->reset || c->done) {
        return;
    }
    if (c->mux != NULL) {
        struct mux *m = c->mux;
        uint32_t stream = c->stream;

        mux_let_go(m, c);
        mux_send_reset(m, stream, why, NULL);
    }
    become_reset(c, why);
}

void
channel_check_done(struct channel *c)
{
    if (c->phase != CHANNEL_ATTACHED || !c->tx.eof_acked || !c->rx.eof_told ||
        !c->rx.ended_sent) {
        return;
    }
    mux_let_go(c->mux, c);
    c->mux = NULL;
    c->stream = 0;
    c->phase = CHANNEL_DETACHED;
    c->done = true;
    if (!c->done_told && c->ev.on_done != NULL) {
        c->done_told = true;
        channel_enter(c);
        c->ev.on_done(c->ctx, c);
        (void)channel_leave(c);
    }
}

void
channel_poke(struct channel *c)
{
    if (c->phase != CHANNEL_ATTACHED) {
        return;
    }
    if (channel_tx_note_ready(&c->tx) || c->ack_now) {
        mux_queue_urgent(c->mux, c);
    }
    if (channel_tx_ready(&c->tx)) {
        mux_queue_turn(c->mux, &c->turn, c->cls);
    }
    if (c->ack_soon) {
        mux_ack_later(c->mux);
    }
}

void
channel_get_state(const struct channel *c, struct channel_state *out)
{
    memcpy(out->token, c->token, sizeof out->token);
    out->send_acked = c->tx.acked;
    out->recv_next = c->rx.taken;
    out->note_acked = c->tx.note_acked;
    out->note_next = c->rx.note_told;
    out->recv_eof = c->rx.eof_told;
}

const uint8_t *
channel_token(const struct channel *c)
{
    return c->token;
}

enum channel_class
channel_class_of(const struct channel *c)
{
    return c->cls;
}

bool
channel_attached(const struct channel *c)
{
    return c->phase == CHANNEL_ATTACHED;
}

uint32_t
channel_stream(const struct channel *c)
{
    return c->stream;
}

bool
channel_is_reset(const struct channel *c)
{
    return c->reset;
}

void *
channel_ctx(const struct channel *c)
{
    return c->ctx;
}

void
channel_set_ctx(struct channel *c, void *ctx)
{
    c->ctx = ctx;
}

static const char *
prefixed(char out[96], const char *prefix, const char *key)
{
    int n = snprintf(out, 96, "%s%s", prefix, key);

    assert(n > 0 && n < 96);
    (void)n;
    return out;
}

void
channel_state_add(struct rec *r, const char *prefix, const struct channel_state *s)
{
    char k[96];

    rec_add_hex(r, prefixed(k, prefix, "token"), s->token, sizeof s->token);
    rec_add_int(r, prefixed(k, prefix, "send_acked"), (int64_t)s->send_acked);
    rec_add_int(r, prefixed(k, prefix, "recv_next"), (int64_t)s->recv_next);
    rec_add_int(r, prefixed(k, prefix, "note_acked"), (int64_t)s->note_acked);
    rec_add_int(r, prefixed(k, prefix, "note_next"), (int64_t)s->note_next);
    rec_add_int(r, prefixed(k, prefix, "recv_eof"), s->recv_eof ? 1 : 0);
}

int
channel_state_get(const struct rec *r, const char *prefix, struct channel_state *out,
                  struct err *e)
{
    struct channel_state s = {0};
    char k[96];
    int64_t n[5];
    static const char *const keys[] = {"send_acked", "recv_next", "note_acked",
                                       "note_next", "recv_eof"};

    if (rec_need_hex(r, prefixed(k, prefix, "token"), s.token, sizeof s.token, e) == -1) {
        return -1;
    }
    for (size_t i = 0; i < 5; i++) {
        int64_t max = i == 4 ? 1 : INT64_MAX;

        if (rec_need_int(r, prefixed(k, prefix, keys[i]), 0, max, &n[i], e) == -1) {
            return -1;
        }
    }
    s.send_acked = (uint64_t)n[0];
    s.recv_next = (uint64_t)n[1];
    s.note_acked = (uint64_t)n[2];
    s.note_next = (uint64_t)n[3];
    s.recv_eof = n[4] == 1;
    *out = s;
    return 0;
}
