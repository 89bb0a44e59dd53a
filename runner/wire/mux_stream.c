#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "runner/wire/msg.h"
#include "runner/wire/mux_internal.h"

/* The table of streams, and how channels come onto a connection and leave it. */

#define STREAM_NUMBER_MAX 0xfffffff0u

/* ---- the table ---- */

static size_t
place_of(const struct mux *m, uint32_t id)
{
    size_t low = 0;
    size_t high = m->n_streams;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (m->streams[mid]->id < id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

struct stream *
mux_find(struct mux *m, uint32_t id)
{
    size_t i = place_of(m, id);

    return i < m->n_streams && m->streams[i]->id == id ? m->streams[i] : NULL;
}

struct stream *
mux_add_stream(struct mux *m, uint32_t id, enum stream_kind kind, enum channel_class cls)
{
    size_t at = place_of(m, id);
    struct stream *s = xcalloc(1, sizeof *s);

    if (m->n_streams == m->cap_streams) {
        m->cap_streams = m->cap_streams == 0 ? 8 : 2 * m->cap_streams;
        m->streams = xrealloc(m->streams, m->cap_streams * sizeof(struct stream *));
    }
    memmove(m->streams + at + 1, m->streams + at,
            (m->n_streams - at) * sizeof(struct stream *));
    m->streams[at] = s;
    m->n_streams++;
    s->id = id;
    s->kind = kind;
    s->cls = cls;
    s->turn.kind = MUX_TURN_RELAY;
    return s;
}

void
mux_remove_stream(struct mux *m, struct stream *s)
{
    size_t at = place_of(m, s->id);
    struct mux_item *i;

    assert(at < m->n_streams && m->streams[at] == s);
    memmove(m->streams + at, m->streams + at + 1,
            (m->n_streams - at - 1) * sizeof(struct stream *));
    m->n_streams--;
    mux_ring_remove(m, &s->turn);
    while ((i = mux_item_pop(&s->queue)) != NULL) {
        m->out.relayed -= i->f.len + FRAME_HEADER_BYTES;
        free(i);
    }
    m->offered_bytes -= s->offer_len;
    free(s->offer);
    free(s);
}

uint32_t
mux_next_stream(struct mux *m, struct err *e)
{
    if (m->over || m->leaving) {
        err_set(e, ERR_LINK, "the connection is closed");
        return 0;
    }
    if (m->n_streams >= m->streams_max || m->next_local >= STREAM_NUMBER_MAX) {
        err_set(e, ERR_BUSY, "too many streams on one connection");
        return 0;
    }
    m->next_local += 2;
    return m->next_local - 2;
}

bool
mux_knows_stream(const struct mux *m, uint32_t id)
{
    bool ours = (id & 1u) == (m->next_local & 1u);

    return ours ? id < m->next_local : id <= m->last_remote;
}

void
mux_let_go(struct mux *m, struct channel *c)
{
    struct stream *s = mux_find(m, c->stream);

    assert(c->mux == m);
    mux_out_forget(m, c);
    if (s != NULL) {
        mux_remove_stream(m, s);
    }
    c->mux = NULL;
    c->stream = 0;
    c->phase = CHANNEL_DETACHED;
}

void
mux_send_reset(struct mux *m, uint32_t stream, const struct err *why, const char *hint)
{
    struct rec *r = msg_error_new(why, hint);
    struct buf body = BUF_INIT;
    struct frame f = {.type = FRAME_RESET, .stream = stream};

    rec_encode(r, &body);
    f.payload = body.data;
    f.len = body.len;
    mux_queue_control(m, &f);
    buf_free(&body);
    rec_free(r);
}

void
mux_drop_streams(struct mux *m, const struct err *why)
{
    while (m->n_streams > 0) {
        struct stream *s = m->streams[m->n_streams - 1];
        struct channel *c = s->channel;

        if (s->kind == STREAM_RELAY) {
            relay_gone(m, s, why);
        } else if (s->kind == STREAM_CHANNEL) {
            mux_let_go(m, c);
            channel_detached(c, why);
        } else {
            uint32_t id = s->id;

            mux_remove_stream(m, s);
            if (m->ev.on_open_cancelled != NULL) {
                m->ev.on_open_cancelled(m->ctx, m, id);
            }
        }
    }
}

/* ---- terms ---- */

struct parsed_offer {
    const uint8_t *token;
    enum channel_class cls;
    struct channel_terms terms;
    const uint8_t *rec;
    size_t rec_len;
};

static bool
offset_ok(uint64_t v)
{
    return v <= CHANNEL_OFFSET_MAX;
}

static void
read_terms(struct cursor *c, uint8_t flags, struct channel_terms *t)
{
    t->gaps = (flags & CHANNEL_F_GAPS) != 0;
    t->recv_eof = (flags & CHANNEL_F_ENDED) != 0;
    t->recv_next = cursor_u64(c);
    t->limit = cursor_u64(c);
    t->note_next = cursor_u64(c);
    t->send_start = cursor_u64(c);
}

static bool
terms_ok(const struct channel_terms *t, bool any_allowed)
{
    bool any = t->recv_next == CHANNEL_ANY;

    if (any && (!any_allowed || t->recv_eof || t->limit > CHANNEL_WINDOW_MAX)) {
        return false;
    }
    return (any || offset_ok(t->recv_next)) && offset_ok(t->limit) &&
           offset_ok(t->note_next) &&
           (offset_ok(t->send_start) || (any_allowed && t->send_start == CHANNEL_ANY));
}

static int
parse_offer(const uint8_t *data, size_t len, struct parsed_offer *o, struct err *e)
{
    struct cursor c = cursor_of(data, len);
    uint8_t cls;
    uint8_t flags;
    uint16_t reserved;

    o->token = cursor_bytes(&c, CHANNEL_TOKEN_LEN);
    cls = cursor_u8(&c);
    flags = cursor_u8(&c);
    reserved = cursor_u16(&c);
    read_terms(&c, flags, &o->terms);
    if (c.bad || c.left == 0 || (cls != CHANNEL_INTERACTIVE && cls != CHANNEL_BULK) ||
        (flags & ~(CHANNEL_F_GAPS | CHANNEL_F_ENDED)) != 0 || reserved != 0 ||
        !terms_ok(&o->terms, true)) {
        return err_set(e, ERR_CORRUPT, "a malformed OPEN");
    }
    o->cls = (enum channel_class)cls;
    o->rec = c.at;
    o->rec_len = c.left;
    return 0;
}

static uint8_t
flags_of(const struct channel_terms *t)
{
    unsigned flags = (t->gaps ? CHANNEL_F_GAPS : 0) | (t->recv_eof ? CHANNEL_F_ENDED : 0);

    return (uint8_t)flags;
}

/* ---- opening ---- */

int
mux_open(struct mux *m, struct channel *c, const struct rec *rec, struct err *e)
{
    struct channel_terms t;
    struct buf body = BUF_INIT;
    struct frame f = {.type = FRAME_OPEN};
    int rc = -1;

    if (c->reset || c->done || c->mux != NULL) {
        return c->mux != NULL ? err_set(e, ERR_INVALID, "the channel is in use")
                              : err_set(e, ERR_INVALID, "the channel is closed");
    }
    f.stream = mux_next_stream(m, e);
    if (f.stream == 0) {
        return -1;
    }
    channel_attach(c, m, f.stream, CHANNEL_OPENING);
    channel_terms_of(c, &t);
    buf_add(&body, c->token, sizeof c->token);
    buf_add_u8(&body, (uint8_t)c->cls);
    buf_add_u8(&body, flags_of(&t));
    buf_add_u16(&body, 0);
    channel_terms_put(&body, &t);
    rec_encode(rec, &body);
    if (body.len > MUX_OFFER_MAX) {
        err_set(e, ERR_RANGE, "the request to open a stream is too long");
        c->mux = NULL;
        c->stream = 0;
        c->phase = CHANNEL_DETACHED;
        goto out;
    }
    mux_add_stream(m, f.stream, STREAM_CHANNEL, c->cls)->channel = c;
    f.payload = body.data;
    f.len = body.len;
    mux_queue_control(m, &f);
    rc = 0;

out:
    buf_free(&body);
    return rc;
}

static void
show_offer(struct mux *m, uint32_t id, const struct parsed_offer *o,
           const struct rec *rec)
{
    struct mux_offer offer = {
        .stream = id,
        .cls = o->cls,
        .token = o->token,
        .recv_start = o->terms.recv_next,
        .send_start = o->terms.send_start,
        .recv_gaps = o->terms.gaps,
        .rec = rec,
    };
    struct err why;

    if (m->ev.on_open != NULL) {
        m->ev.on_open(m->ctx, m, &offer);
    } else {
        err_set(&why, ERR_INVALID, "no streams can be opened here");
        mux_refuse(m, id, &why, NULL);
    }
}

int
mux_on_open(struct mux *m, const struct frame *f, struct err *e)
{
    struct parsed_offer o;
    struct rec *rec = NULL;
    struct stream *s;
    struct err why;

    if (mux_knows_stream(m, f->stream) || (f->stream & 1u) == (m->next_local & 1u) ||
        f->len > MUX_OFFER_MAX) {
        return err_set(e, ERR_CORRUPT, "OPEN of stream %u", f->stream);
    }
    m->last_remote = f->stream;
    if (parse_offer(f->payload, f->len, &o, e) == -1 ||
        rec_parse(&rec, o.rec, o.rec_len, NULL, e) == -1) {
        return err_wrap(e, "opening a stream");
    }
    if (m->n_streams >= m->streams_max || m->leaving ||
        f->len > MUX_PARTIAL_MAX - m->offered_bytes) {
        err_set(&why, ERR_BUSY, "too many streams on one connection");
        mux_send_reset(m, f->stream, &why, NULL);
        rec_free(rec);
        return 0;
    }
    s = mux_add_stream(m, f->stream, STREAM_OFFERED, o.cls);
    s->offer = xmemdup(f->payload, f->len);
    s->offer_len = f->len;
    m->offered_bytes += f->len;
    show_offer(m, f->stream, &o, rec);
    rec_free(rec);
    return 0;
}

static struct stream *
find_offer(struct mux *m, uint32_t id, struct parsed_offer *o)
{
    struct stream *s = mux_find(m, id);
    struct err e;

    if (m->over || s == NULL || s->kind != STREAM_OFFERED) {
        return NULL;
    }
    return parse_offer(s->offer, s->offer_len, o, &e) == -1 ? NULL : s;
}

void
mux_refuse(struct mux *m, uint32_t stream, const struct err *why, const char *hint)
{
    struct stream *s = mux_find(m, stream);

    if (s != NULL && s->kind == STREAM_OFFERED) {
        mux_remove_stream(m, s);
        mux_send_reset(m, stream, why, hint);
    }
}

static void
send_accept(struct mux *m, struct channel *c, const struct rec *rec)
{
    struct channel_terms t;
    struct buf body = BUF_INIT;
    struct frame f = {.type = FRAME_ACCEPT, .stream = c->stream};

    channel_terms_of(c, &t);
    buf_add_u8(&body, flags_of(&t));
    buf_add_u8(&body, 0);
    buf_add_u16(&body, 0);
    channel_terms_put(&body, &t);
    if (rec != NULL) {
        rec_encode(rec, &body);
    }
    f.payload = body.data;
    f.len = body.len;
    mux_queue_control(m, &f);
    buf_free(&body);
}

/* It was on another connection until now; nobody is told but that connection's peer. */
static void
take_from_old(struct channel *c)
{
    struct mux *old = c->mux;
    uint32_t stream = c->stream;
    struct err why;

    mux_let_go(old, c);
    err_set(&why, ERR_BUSY, "another connection has taken this stream over");
    mux_send_reset(old, stream, &why, NULL);
}

static int
check_acceptable(const struct channel *c, const struct channel_terms *peer, struct err *e)
{
    if (c->reset) {
        *e = c->reset_why;
        return -1;
    }
    return channel_tx_check(&c->tx, peer, e);
}

int
mux_accept(struct mux *m, uint32_t stream, struct channel *c, const struct rec *rec,
           struct err *e)
{
    struct parsed_offer o;
    struct stream *s = find_offer(m, stream, &o);

    if (s == NULL) {
        return err_set(e, ERR_LINK, "the peer no longer asks for this stream");
    }
    if (check_acceptable(c, &o.terms, e) == -1) {
        mux_refuse(m, stream, e, NULL);
        return -1;
    }
    if (c->mux != NULL) {
        take_from_old(c);
    }
    memcpy(c->token, o.token, sizeof c->token);
    c->done = false; /* our last ACK was lost, perhaps: say it again */
    if (channel_agree(c, &o.terms, false, e) == -1) {
        mux_refuse(m, stream, e, NULL);
        return -1;
    }
    m->offered_bytes -= s->offer_len;
    free(s->offer);
    s->offer = NULL;
    s->offer_len = 0;
    s->kind = STREAM_CHANNEL;
    s->channel = c;
    channel_attach(c, m, stream, CHANNEL_ATTACHED);
    send_accept(m, c, rec);
    channel_poke(c);
    return 0;
}

static int
parse_accept(const struct frame *f, struct channel_terms *t, struct rec **rec,
             struct err *e)
{
    struct cursor c = cursor_of(f->payload, f->len);
    uint8_t flags = cursor_u8(&c);
    uint8_t zero = cursor_u8(&c);
    uint16_t reserved = cursor_u16(&c);

    read_terms(&c, flags, t);
    if (c.bad || (flags & ~(CHANNEL_F_GAPS | CHANNEL_F_ENDED)) != 0 || zero != 0 ||
        reserved != 0 || !terms_ok(t, false)) {
        return err_set(e, ERR_CORRUPT, "a malformed ACCEPT");
    }
    if (c.left > 0 && rec_parse(rec, c.at, c.left, NULL, e) == -1) {
        return err_wrap(e, "the answer to opening a stream");
    }
    return 0;
}

int
mux_on_accept(struct mux *m, struct stream *s, const struct frame *f, struct err *e)
{
    struct channel *c = s->channel;
    struct channel_terms t;
    struct rec *rec = NULL;
    struct err why;

    if (c->phase != CHANNEL_OPENING) {
        return err_set(e, ERR_CORRUPT, "ACCEPT of a stream that is open");
    }
    if (parse_accept(f, &t, &rec, e) == -1) {
        return -1;
    }
    if (channel_agree(c, &t, true, &why) == -1) {
        mux_let_go(m, c);
        mux_send_reset(m, f->stream, &why, NULL);
        channel_was_reset(c, &why);
        goto out;
    }
    channel_attach(c, m, f->stream, CHANNEL_ATTACHED);
    channel_enter(c);
    if (c->ev.on_accepted != NULL) {
        c->ev.on_accepted(c->ctx, c, rec);
    }
    if (channel_leave(c)) {
        channel_poke(c);
    }

out:
    rec_free(rec);
    return 0;
}

int
mux_on_reset(struct mux *m, struct stream *s, const struct frame *f, struct err *e)
{
    struct rec *r = NULL;
    struct err why = {0};
    struct channel *c = s->channel;
    int rc;

    rc = rec_parse(&r, f->payload, f->len, MSG_ERROR_TYPE, e);
    if (rc == 0) {
        rc = msg_error_parse(r, &why, NULL, e);
        rec_free(r);
    }
    if (rc == -1) {
        return -1;
    }
    if (s->kind == STREAM_OFFERED) {
        mux_remove_stream(m, s);
        if (m->ev.on_open_cancelled != NULL) {
            m->ev.on_open_cancelled(m->ctx, m, f->stream);
        }
        return 0;
    }
    mux_let_go(m, c);
    if (why.code == ERR_LINK) {
        channel_detached(c, &why); /* beyond a relay the way is cut: it can be resumed */
    } else {
        channel_was_reset(c, &why);
    }
    return 0;
}

size_t
mux_n_streams(const struct mux *m)
{
    return m->n_streams;
}
