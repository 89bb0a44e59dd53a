#include "runner/wire/mux.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "runner/wire/msg.h"
#include "runner/wire/mux_internal.h"

#define RAW_ROOM ((size_t)16384) /* read buffer until the magic line was found */
/* After a pause in which nobody ticked us (sleep, SIGSTOP) the peer gets this long. */
#define WAKE_GRACE_NS ((int64_t)10000000000)
#define PAUSE_NS      ((int64_t)3000000000)

/* ---- life ---- */

static void
say_first(struct mux *m)
{
    struct rec *r = hello_encode(&m->mine);
    struct buf body = BUF_INIT;
    struct frame f = {.type = FRAME_HELLO};

    rec_encode(r, &body);
    assert(body.len <= HELLO_MAX_BYTES);
    f.payload = body.data;
    f.len = body.len;
    buf_add_str(&m->out.opening, m->initiator ? PREAMBLE_CLIENT : PREAMBLE_READY);
    frame_encode(&m->out.opening, &f);
    buf_free(&body);
    rec_free(r);
}

static int64_t
or_default(int64_t v, int64_t dflt)
{
    return v == 0 ? dflt : v;
}

struct mux *
mux_new(const struct mux_options *o, int64_t now_ns)
{
    struct mux *m = xcalloc(1, sizeof *m);

    m->initiator = o->initiator;
    m->ctx = o->ctx;
    if (o->events != NULL) {
        m->ev = *o->events;
    }
    m->local = o->ping_ns < 0;
    m->ping_ns = or_default(o->ping_ns, MUX_PING_NS);
    m->dead_ns = or_default(o->dead_ns, MUX_DEAD_NS);
    m->streams_max = (size_t)or_default(o->streams_max, MUX_STREAMS_MAX);
    m->requests_max = (size_t)or_default(o->requests_max, MUX_REQUESTS_MAX);
    m->message_max = o->message_max == 0 ? MUX_MESSAGE_MAX : o->message_max;
    m->mine = *o->hello; /* extra stays the caller's: only say_first needs it */
    m->preamble =
        preamble_new(o->initiator, o->initiator && o->noisy ? PREAMBLE_NOISE_MAX : 0);
    m->decoder = frame_decoder_new();
    m->now_ns = m->heard_ns = m->ticked_ns = m->pinged_ns = now_ns;
    m->hello_by_ns = now_ns + or_default(o->hello_ns, MUX_HELLO_NS);
    m->ack_at_ns = INT64_MAX;
    m->next_local = o->initiator ? 1 : 2;
    mux_pace_init(&m->pace);
    say_first(m);
    m->mine.extra = NULL;
    return m;
}

void
mux_close(struct mux *m, const struct err *why)
{
    struct err gone;

    err_set(&gone, ERR_LINK, "the connection was closed");
    if (why == NULL) {
        why = &gone;
    }
    if (!m->over) {
        m->over = true;
        m->why = *why;
    }
    m->out.on_output = NULL;
    mux_drop_streams(m, why);
    mux_fail_requests(m, why);
    memset(&m->ev, 0, sizeof m->ev);
}

void
mux_free(struct mux *m)
{
    if (m == NULL) {
        return;
    }
    assert(m->busy == 0);
    mux_close(m, NULL);
    mux_free_messages(m);
    mux_out_free(m);
    preamble_free(m->preamble);
    frame_decoder_free(m->decoder);
    buf_free(&m->raw);
    hello_clear(&m->peer);
    free(m->streams);
    free(m);
}

static struct mux_item *
goaway_item(const struct err *why, const char *hint)
{
    struct frame f = {.type = FRAME_GOAWAY};
    struct buf body = BUF_INIT;
    struct mux_item *i;

    if (why != NULL) {
        struct rec *r = msg_error_new(why, hint);

        rec_encode(r, &body);
        rec_free(r);
    }
    f.payload = body.data;
    f.len = body.len;
    i = mux_item_new(&f);
    buf_free(&body);
    return i;
}

int
mux_fail(struct mux *m, const struct err *why)
{
    if (m->over) {
        return -1;
    }
    m->over = true;
    m->why = *why;
    if (why->code != ERR_LINK && !m->leaving) {
        m->leaving = true;
        m->goaway = goaway_item(why, NULL);
        mux_out_notify(m);
    }
    return -1;
}

void
mux_goaway(struct mux *m, const struct err *why, const char *hint)
{
    if (m->over || m->leaving) {
        return;
    }
    m->leaving = true;
    m->goaway = goaway_item(why, hint);
    mux_out_notify(m);
}

bool
mux_is_over(const struct mux *m, struct err *why)
{
    if (m->over && why != NULL) {
        *why = m->why;
    }
    return m->over;
}

/* ---- bytes in ---- */

uint8_t *
mux_room(struct mux *m, size_t *room_bytes)
{
    if (m->preamble == NULL) {
        return frame_decoder_room(m->decoder, room_bytes);
    }
    buf_reset(&m->raw);
    buf_reserve(&m->raw, RAW_ROOM);
    *room_bytes = RAW_ROOM;
    return m->raw.data;
}

static int
no_agent(struct mux *m, struct err *e)
{
    if (m->ev.on_missing != NULL) {
        m->ev.on_missing(m->ctx, m, preamble_facts(m->preamble));
    }
    return err_set(e, ERR_NOT_FOUND, "no agent is installed there");
}

/* Bytes that stand before the frames; *used of them. */
static int
take_preamble(struct mux *m, const uint8_t *data, size_t n, size_t *used, struct err *e)
{
    enum preamble_kind kind;

    if (preamble_feed(m->preamble, data, n, used, &kind, e) == -1) {
        return -1;
    }
    switch (kind) {
    case PREAMBLE_NONE:
        return 0;
    case PREAMBLE_IS_MISSING:
        return no_agent(m, e);
    case PREAMBLE_IS_READY:
    case PREAMBLE_IS_CLIENT:
        preamble_free(m->preamble);
        m->preamble = NULL;
        return 0;
    }
    return 0;
}

static int
take_frames(struct mux *m, struct err *e)
{
    struct frame f;
    bool got = true;

    while (!m->over) {
        if (frame_decoder_next(m->decoder, &f, &got, e) == -1) {
            return -1;
        }
        if (!got) {
            return 0;
        }
        if (mux_dispatch(m, &f, e) == -1) {
            return -1;
        }
    }
    return 0;
}

/* Bytes that are not in the decoder yet, or (data NULL) are. */
static int
take_bytes(struct mux *m, const uint8_t *data, size_t n, struct err *e)
{
    size_t used = 0;

    if (m->preamble != NULL) {
        if (take_preamble(m, data, n, &used, e) == -1) {
            return -1;
        }
        if (m->preamble != NULL) {
            return 0;
        }
    }
    if (data != NULL) {
        frame_decoder_feed(m->decoder, data + used, n - used);
    }
    return take_frames(m, e);
}

static int
take(struct mux *m, const uint8_t *data, size_t n, int64_t now_ns, struct err *e)
{
    int rc;

    if (m->over) {
        if (m->why.code == ERR_NONE) {
            return 0; /* both sides are leaving: nothing matters any more */
        }
        *e = m->why;
        return -1;
    }
    m->now_ns = now_ns;
    if (n > 0) {
        m->heard_ns = now_ns;
    }
    m->busy++;
    rc = take_bytes(m, data, n, e);
    m->busy--;
    if (rc == -1) {
        return mux_fail(m, e);
    }
    if (m->over && m->why.code != ERR_NONE) {
        *e = m->why;
        return -1;
    }
    return 0;
}

int
mux_filled(struct mux *m, size_t n, int64_t now_ns, struct err *e)
{
    int rc;

    if (m->preamble == NULL) {
        frame_decoder_filled(m->decoder, n);
        return take(m, NULL, n, now_ns, e);
    }
    rc = take(m, m->raw.data, n, now_ns, e);
    buf_free(&m->raw);
    return rc;
}

int
mux_feed(struct mux *m, const void *data, size_t n, int64_t now_ns, struct err *e)
{
    return n == 0 ? 0 : take(m, data, n, now_ns, e);
}

int
mux_ended(struct mux *m, struct err *e)
{
    struct err why;

    if (m->over) {
        if (m->why.code == ERR_NONE) {
            return 0;
        }
        *e = m->why;
        return -1;
    }
    if (m->preamble != NULL) {
        (void)preamble_explain_end(m->preamble, &why);
    } else if (frame_decoder_pending(m->decoder) > 0) {
        err_set(&why, ERR_LINK, "the connection was cut in the middle of a frame");
    } else {
        err_set(&why, ERR_LINK, "the connection was cut");
    }
    *e = why;
    return mux_fail(m, &why);
}

bool
mux_congested(const struct mux *m)
{
    for (size_t i = 0; i < m->n_streams; i++) {
        if (m->streams[i]->kind == STREAM_RELAY &&
            m->streams[i]->other->out.relayed > MUX_QUEUE_HIGH) {
            return true;
        }
    }
    return false;
}

/* ---- time ---- */

void
mux_ack_later(struct mux *m)
{
    if (m->ack_at_ns == INT64_MAX) {
        m->ack_at_ns = m->now_ns + MUX_ACK_DELAY_NS;
        mux_out_notify(m); /* so that the caller looks at mux_next_tick_ns again */
    }
}

static void
tick_acks(struct mux *m)
{
    if (m->now_ns < m->ack_at_ns) {
        return;
    }
    m->ack_at_ns = INT64_MAX;
    for (size_t i = 0; i < m->n_streams; i++) {
        struct channel *c = m->streams[i]->channel;

        if (m->streams[i]->kind == STREAM_CHANNEL && c->ack_soon) {
            c->ack_soon = false;
            c->ack_now = channel_rx_owes_ack(&c->rx);
            channel_poke(c);
        }
    }
}

static int
tick_liveness(struct mux *m, struct err *e)
{
    int64_t deadline = m->heard_ns + m->dead_ns;

    if (!m->have_peer && m->now_ns >= m->hello_by_ns) {
        if (m->preamble != NULL) {
            return preamble_explain_end(m->preamble, e);
        }
        return err_set(e, ERR_LINK, "the peer did not introduce itself in time");
    }
    if (m->local) {
        return 0;
    }
    if (m->now_ns >= deadline) {
        return err_set(e, ERR_LINK, "no sign of life from the peer for %lld s",
                       (long long)(m->dead_ns / 1000000000));
    }
    if (m->have_peer && m->now_ns - m->pinged_ns >= m->ping_ns) {
        m->pinged_ns = m->now_ns;
        m->out.ping_due = true;
        mux_out_notify(m);
        frame_decoder_trim(m->decoder);
    }
    return 0;
}

/*
 * We were asleep, stopped, or told not to read: silence in that time says nothing about
 * the peer, so it gets a moment to speak up.
 */
static void
excuse_pauses(struct mux *m)
{
    int64_t grace = i64_min(WAKE_GRACE_NS, m->dead_ns);
    int64_t heard = m->now_ns - m->dead_ns + grace;
    bool paused = m->now_ns - m->ticked_ns > m->ping_ns + PAUSE_NS;

    if ((paused || mux_congested(m)) && m->heard_ns < heard) {
        m->heard_ns = heard;
        if (m->have_peer) {
            m->out.ping_due = true;
        }
    }
    if (paused) {
        m->hello_by_ns = i64_max(m->hello_by_ns, m->now_ns + grace);
    }
    m->ticked_ns = m->now_ns;
}

int
mux_tick(struct mux *m, int64_t now_ns, struct err *e)
{
    int rc;

    if (m->over) {
        if (m->why.code == ERR_NONE) {
            return 0;
        }
        *e = m->why;
        return -1;
    }
    m->now_ns = now_ns;
    excuse_pauses(m);
    m->busy++;
    tick_acks(m);
    rc = tick_liveness(m, e);
    m->busy--;
    return rc == -1 ? mux_fail(m, e) : 0;
}

int64_t
mux_next_tick_ns(const struct mux *m)
{
    int64_t at = m->ack_at_ns;

    if (!m->have_peer) {
        at = i64_min(at, m->hello_by_ns);
    }
    if (!m->local) {
        at = i64_min(at, m->heard_ns + m->dead_ns);
        /* Also when no ping is due: a longer pause must show as one. */
        at = i64_min(at, m->ticked_ns + m->ping_ns);
        at = i64_min(at, m->pinged_ns + m->ping_ns);
    }
    return at;
}

void
mux_ping(struct mux *m)
{
    if (m->have_peer && !m->local && !m->over) {
        m->out.ping_due = true;
        mux_out_notify(m);
    }
}

int64_t
mux_rtt_ns(const struct mux *m)
{
    return m->pace.rtt_ns;
}

/* ---- looking ---- */

const struct hello *
mux_peer(const struct mux *m)
{
    return m->have_peer ? &m->peer : NULL;
}

int
mux_proto(const struct mux *m)
{
    return m->proto;
}

uint64_t
mux_features(const struct mux *m)
{
    return m->features;
}

void *
mux_ctx(const struct mux *m)
{
    return m->ctx;
}
