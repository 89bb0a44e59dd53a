#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "runner/wire/mux_internal.h"

/*
 * What is sent next. Frames are chosen as late as possible: at most a quantum lies in
 * the slots, and only what lies there is beyond being overtaken.
 */

#define WORTH_SENDING ((size_t)1024) /* do not cut a frame shorter just to fill up */

#define CONTAINER(ptr, type, member)                                                     \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* ---- slots ---- */

static struct mux_slot *
slot_at(struct mux *m, unsigned i)
{
    return &m->out.slots[(m->out.slot_first + i) % MUX_SLOTS];
}

static struct mux_slot *
slot_new(struct mux *m)
{
    struct mux_slot *s;

    assert(m->out.n_slots < MUX_SLOTS);
    s = slot_at(m, m->out.n_slots++);
    *s = (struct mux_slot){0};
    return s;
}

/* Put f into a slot; owned (NULL: the payload is borrowed) is freed when it is out. */
static struct mux_slot *
slot_put(struct mux *m, const struct frame *f, uint8_t *owned)
{
    struct mux_slot *s = slot_new(m);

    frame_put_header(s->header, f);
    s->header_len = FRAME_HEADER_BYTES;
    s->payload = f->payload;
    s->len = f->len;
    s->owned = owned;
    m->out.under_way += FRAME_HEADER_BYTES + f->len;
    return s;
}

/* What remains of the quantum. */
static size_t
budget(const struct mux *m)
{
    return m->out.under_way >= FRAME_QUANTUM ? 0 : FRAME_QUANTUM - m->out.under_way;
}

/* A frame that cannot be cut: does it go along, or wait for the next quantum? */
static bool
fits(const struct mux *m, size_t len)
{
    return m->out.n_slots == 0 || FRAME_HEADER_BYTES + len <= budget(m);
}

/* Payload bytes a frame that can be cut may have now; 0: wait. */
static size_t
cut_to(const struct mux *m)
{
    size_t room = budget(m);

    if (m->out.n_slots > 0 && room < FRAME_HEADER_BYTES + WORTH_SENDING) {
        return 0;
    }
    return room - FRAME_HEADER_BYTES;
}

void
mux_out_forget(struct mux *m, struct channel *c)
{
    mux_ring_remove(m, &c->turn);
    mux_ring_remove(m, &c->urgent);
    for (unsigned i = 0; i < m->out.n_slots; i++) {
        struct mux_slot *s = slot_at(m, i);

        if (s->channel != c) {
            continue;
        }
        if (s->owned == NULL && s->len > 0) {
            /* Half of it may be out already: the rest has to follow. */
            s->owned = xmemdup(s->payload, s->len);
            s->payload = s->owned;
        }
        s->channel = NULL;
    }
}

/* ---- choosing ---- */

enum choice {
    CHOICE_NONE, /* nothing of this kind */
    CHOICE_MADE,
    CHOICE_WAIT, /* something, but not in this quantum */
};

static enum choice
choose_opening(struct mux *m)
{
    struct mux_slot *s;

    if (m->out.opening.len == 0) {
        return CHOICE_NONE;
    }
    s = slot_new(m);
    s->len = m->out.opening.len;
    s->owned = (uint8_t *)buf_steal(&m->out.opening);
    s->payload = s->owned;
    m->out.under_way += s->len;
    return CHOICE_MADE;
}

static enum choice
choose_ping(struct mux *m)
{
    struct frame f = {.type = FRAME_PING};

    if (m->out.n_pongs > 0) {
        f.type = FRAME_PONG;
        f.seq = m->out.pongs[0];
        if (!fits(m, 0)) {
            return CHOICE_WAIT;
        }
        m->out.n_pongs--;
        memmove(m->out.pongs, m->out.pongs + 1, m->out.n_pongs * sizeof m->out.pongs[0]);
        (void)slot_put(m, &f, NULL);
        return CHOICE_MADE;
    }
    if (!m->out.ping_due && (m->local || !mux_pace_wants_probe(&m->pace))) {
        return CHOICE_NONE;
    }
    if (!fits(m, 0)) {
        return CHOICE_WAIT;
    }
    m->out.ping_due = false;
    if (!mux_pace_ping(&m->pace, m->now_ns, &f.seq)) {
        return CHOICE_NONE;
    }
    (void)slot_put(m, &f, NULL);
    return CHOICE_MADE;
}

/* The payload is the item's tail: what is freed is the item. */
static void
put_item(struct mux *m, struct mux_item *i)
{
    (void)slot_put(m, &i->f, (uint8_t *)i);
}

static enum choice
choose_control(struct mux *m)
{
    struct mux_item *i = m->out.control.head;

    if (i == NULL) {
        return CHOICE_NONE;
    }
    if (!fits(m, i->f.len)) {
        return CHOICE_WAIT;
    }
    (void)mux_item_pop(&m->out.control);
    m->out.queued -= i->f.len + FRAME_HEADER_BYTES;
    put_item(m, i);
    return CHOICE_MADE;
}

static void
put_ack(struct mux *m, struct channel *c)
{
    struct mux_slot *s;
    struct frame f;
    uint8_t payload[CHANNEL_ACK_BYTES];

    channel_rx_pull_ack(c, &f, payload);
    s = slot_put(m, &f, NULL);
    /* Beside the header: the ring of slots does not move, the copy stays valid. */
    memcpy(s->header + FRAME_HEADER_BYTES, payload, sizeof payload);
    s->payload = s->header + FRAME_HEADER_BYTES;
}

static enum choice
choose_urgent(struct mux *m)
{
    struct mux_turn *t = m->out.urgent.first;
    struct channel *c;

    if (t == NULL) {
        return CHOICE_NONE;
    }
    if (!fits(m, CHANNEL_NOTE_HEADER + CHANNEL_NOTE_MAX)) {
        return CHOICE_WAIT;
    }
    c = CONTAINER(t, struct channel, urgent);
    m->out.urgent.first = t->next;
    if (channel_tx_note_ready(&c->tx)) {
        struct frame f;
        uint8_t *owned;

        channel_tx_pull_note(c, &f, &owned);
        (void)slot_put(m, &f, owned);
        if (channel_tx_ready(&c->tx)) {
            /* Bytes may have waited for the note. */
            mux_queue_turn(m, &c->turn, c->cls);
        }
        return CHOICE_MADE;
    }
    if (!c->ack_now) {
        mux_ring_remove(m, t);
        return CHOICE_MADE;
    }
    mux_ring_remove(m, t);
    put_ack(m, c);
    channel_check_done(c);
    return CHOICE_MADE;
}

/* Its source cannot be read: both ends are told. */
static void
source_failed(struct mux *m, struct channel *c, const struct err *why)
{
    uint32_t stream = c->stream;

    mux_let_go(m, c);
    mux_send_reset(m, stream, why, NULL);
    channel_was_reset(c, why);
}

static enum choice
choose_channel(struct mux *m, struct channel *c)
{
    struct mux_turn *t = &c->turn;
    struct mux_slot *s;
    struct frame f;
    uint8_t *owned;
    bool got;
    struct err e;
    size_t max = cut_to(m);

    if (max == 0) {
        return CHOICE_WAIT;
    }
    t->ring->first = t->next;
    if (channel_tx_pull(c, max, &f, &owned, &got, &e) == -1) {
        source_failed(m, c, &e);
        return CHOICE_MADE;
    }
    if (got) {
        s = slot_put(m, &f, owned);
        s->channel = c;
        s->wrote_to = c->tx.next;
        if (c->cls == CHANNEL_BULK) {
            mux_pace_sent(&m->pace, f.len);
        }
    }
    if (!channel_tx_ready(&c->tx)) {
        mux_ring_remove(m, t);
    }
    if (channel_tx_note_ready(&c->tx)) {
        mux_queue_urgent(m, c);
    }
    return CHOICE_MADE;
}

/* A partner that was told to wait may go on. */
static void
tell_uncongested(struct mux *m)
{
    for (size_t i = 0; i < m->n_streams; i++) {
        if (m->streams[i]->kind == STREAM_RELAY) {
            mux_out_notify(m->streams[i]->other);
        }
    }
}

static enum choice
choose_relay(struct mux *m, struct stream *s)
{
    struct mux_item *i = s->queue.head;
    size_t n = i->f.len + FRAME_HEADER_BYTES;
    bool was_high = m->out.relayed > MUX_QUEUE_HIGH / 2;

    if (!fits(m, i->f.len)) {
        return CHOICE_WAIT;
    }
    s->turn.ring->first = s->turn.next;
    (void)mux_item_pop(&s->queue);
    if (i->f.type == FRAME_NOTE) {
        s->n_notes_queued--;
    }
    if (s->cls == CHANNEL_BULK) {
        mux_pace_sent(&m->pace, i->f.len);
    }
    put_item(m, i);
    if (s->queue.head == NULL) {
        mux_ring_remove(m, &s->turn);
    }
    m->out.relayed -= n;
    if (was_high && m->out.relayed <= MUX_QUEUE_HIGH / 2) {
        tell_uncongested(m);
    }
    return CHOICE_MADE;
}

static enum choice
choose_message(struct mux *m, struct mux_long *l)
{
    size_t max = cut_to(m);
    size_t left = l->body.len - l->sent;
    struct frame f = {.type = l->type, .seq = l->id};

    if (max == 0) {
        return CHOICE_WAIT;
    }
    l->turn.ring->first = l->turn.next;
    f.payload = l->body.data + l->sent;
    f.len = size_min(left, max);
    f.flags = (uint8_t)(f.len == left ? 0 : FRAME_F_MORE);
    l->sent += f.len;
    m->out.queued -= f.len;
    if (f.len == left) {
        /* The last piece takes the whole body along. */
        (void)slot_put(m, &f, (uint8_t *)buf_steal(&l->body));
        mux_ring_remove(m, &l->turn);
        free(l);
    } else {
        (void)slot_put(m, &f, NULL);
    }
    return CHOICE_MADE;
}

static enum choice
choose_turn(struct mux *m, struct mux_turn *t)
{
    switch (t->kind) {
    case MUX_TURN_CHANNEL:
        return choose_channel(m, CONTAINER(t, struct channel, turn));
    case MUX_TURN_RELAY:
        return choose_relay(m, CONTAINER(t, struct stream, turn));
    case MUX_TURN_MESSAGE:
        return choose_message(m, CONTAINER(t, struct mux_long, turn));
    }
    return CHOICE_NONE;
}

static bool
bulk_may_go(struct mux *m)
{
    return m->out.by_class[CHANNEL_BULK].first != NULL &&
           (m->local || mux_pace_allows(&m->pace));
}

static enum choice
choose_stream(struct mux *m)
{
    struct mux_turn *interactive = m->out.by_class[CHANNEL_INTERACTIVE].first;
    struct mux_turn *bulk = bulk_may_go(m) ? m->out.by_class[CHANNEL_BULK].first : NULL;
    size_t before = m->out.under_way;
    enum choice c;

    if (bulk != NULL && (interactive == NULL ||
                         m->out.interactive_run >= MUX_BULK_SHARE * FRAME_QUANTUM)) {
        c = choose_turn(m, bulk);
        if (c == CHOICE_MADE) {
            m->out.interactive_run =
                0; /* not when it has to wait: it is still its turn */
        }
        return c;
    }
    if (interactive == NULL) {
        return CHOICE_NONE;
    }
    c = choose_turn(m, interactive);
    m->out.interactive_run += bulk != NULL ? m->out.under_way - before : 0;
    return c;
}

/* When leaving, only whole messages are still finished. */
static enum choice
choose_last(struct mux *m)
{
    struct mux_ring *r = &m->out.by_class[CHANNEL_INTERACTIVE];

    while (!m->over && r->first != NULL) {
        if (r->first->kind == MUX_TURN_MESSAGE) {
            return choose_turn(m, r->first);
        }
        mux_ring_remove(m, r->first);
    }
    if (m->goaway != NULL && fits(m, m->goaway->f.len)) {
        put_item(m, m->goaway);
        m->goaway = NULL;
        return CHOICE_MADE;
    }
    return m->goaway != NULL ? CHOICE_WAIT : CHOICE_NONE;
}

static enum choice
choose(struct mux *m)
{
    static enum choice (*const order[])(struct mux *) = {choose_ping, choose_control,
                                                         choose_urgent};
    enum choice c = choose_opening(m);

    if (c != CHOICE_NONE) {
        return c;
    }
    for (size_t i = 0; !m->over && i < sizeof order / sizeof order[0]; i++) {
        c = order[i](m);
        if (c != CHOICE_NONE) {
            return c;
        }
    }
    return m->over || m->leaving ? choose_last(m) : choose_stream(m);
}

/* ---- towards the caller ---- */

static int
slot_iov(const struct mux_slot *s, size_t skip, struct iovec iov[2])
{
    int n = 0;

    if (skip < s->header_len) {
        iov[n].iov_base = (void *)(uintptr_t)(s->header + skip);
        iov[n++].iov_len = s->header_len - skip;
        skip = 0;
    } else {
        skip -= s->header_len;
    }
    if (skip < s->len) {
        iov[n].iov_base = (void *)(uintptr_t)(s->payload + skip);
        iov[n++].iov_len = s->len - skip;
    }
    return n;
}

int
mux_output(struct mux *m, struct iovec *iov, int iov_max, int64_t now_ns)
{
    int n = 0;

    m->now_ns = now_ns;
    m->busy++;
    while (m->out.n_slots < MUX_SLOTS && choose(m) == CHOICE_MADE) {
    }
    m->busy--;
    m->out.told = false;
    for (unsigned i = 0; i < m->out.n_slots && n + 2 <= iov_max; i++) {
        n += slot_iov(slot_at(m, i), i == 0 ? m->out.front_written : 0, iov + n);
    }
    return n;
}

static void
slot_done(struct mux *m)
{
    struct mux_slot *s = slot_at(m, 0);

    if (s->channel != NULL) {
        channel_tx_wrote(s->channel, s->wrote_to);
    }
    free(s->owned);
    m->out.slot_first = (m->out.slot_first + 1) % MUX_SLOTS;
    m->out.n_slots--;
    m->out.front_written = 0;
}

void
mux_written(struct mux *m, size_t n)
{
    assert(n <= m->out.under_way);
    m->out.under_way -= n;
    n += m->out.front_written;
    while (m->out.n_slots > 0) {
        struct mux_slot *s = slot_at(m, 0);
        size_t whole = s->header_len + s->len;

        if (n < whole) {
            break;
        }
        n -= whole;
        slot_done(m);
    }
    m->out.front_written = n;
}

bool
mux_has_output(const struct mux *m)
{
    const struct mux_out *o = &m->out;

    if (o->n_slots > 0 || o->opening.len > 0 || m->goaway != NULL) {
        return true;
    }
    if (m->over) {
        return false;
    }
    if (o->n_pongs > 0 || o->ping_due || o->control.head != NULL ||
        o->urgent.first != NULL || o->by_class[CHANNEL_INTERACTIVE].first != NULL ||
        (!m->local && mux_pace_wants_probe(&m->pace))) {
        return true;
    }
    return o->by_class[CHANNEL_BULK].first != NULL && !m->leaving &&
           (m->local || mux_pace_open(&m->pace));
}

static void
free_items(struct mux_item_list *l)
{
    struct mux_item *i;

    while ((i = mux_item_pop(l)) != NULL) {
        free(i);
    }
}

void
mux_out_free(struct mux *m)
{
    struct mux_ring *r = &m->out.by_class[CHANNEL_INTERACTIVE];

    while (m->out.n_slots > 0) {
        slot_done(m);
    }
    while (r->first != NULL) {
        struct mux_turn *t = r->first;

        mux_ring_remove(m, t);
        assert(r->first != t);
        if (t->kind == MUX_TURN_MESSAGE) {
            struct mux_long *l = CONTAINER(t, struct mux_long, turn);

            buf_free(&l->body);
            free(l);
        }
    }
    free_items(&m->out.control);
    free(m->goaway);
    buf_free(&m->out.opening);
}
