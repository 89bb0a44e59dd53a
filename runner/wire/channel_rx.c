#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "runner/wire/channel_internal.h"

/*
 * The receiving half. Bytes go to the application at once; what it does not take is
 * kept, at most the window. Notes and gaps have their place among the bytes, so
 * they wait in a list until the application has come that far.
 */

/* Credit as it should be now. */
static uint64_t
grant(const struct channel_rx *r)
{
    return u64_min(r->taken + r->window, CHANNEL_OFFSET_MAX);
}

void
channel_rx_init(struct channel_rx *r, const struct channel_options *o,
                const struct channel_state *s)
{
    uint64_t start = s != NULL ? s->recv_next : o->recv_start;

    r->window = o->window_bytes;
    r->gaps = o->recv_gaps;
    r->any = start == CHANNEL_ANY;
    if (r->any) {
        start = 0;
    }
    assert(start <= CHANNEL_OFFSET_MAX);
    r->got = r->taken = r->told = start;
    r->limit = grant(r);
    if (s != NULL) {
        r->note_got = r->note_told = r->note_acked = s->note_next;
        r->eof = r->eof_told = s->recv_eof;
    }
}

static struct channel_note_item *
unlink_first(struct channel_rx *r)
{
    struct channel_note_item *n = r->notes;

    r->notes = n->next;
    if (r->notes == NULL) {
        r->note_tail = NULL;
    }
    r->n_notes--;
    return n;
}

void
channel_rx_drop(struct channel_rx *r)
{
    while (r->notes != NULL) {
        free(unlink_first(r));
    }
    buf_free(&r->kept);
    r->kept_at = 0;
}

void
channel_rx_free(struct channel_rx *r)
{
    channel_rx_drop(r);
}

void
channel_rx_agree(struct channel_rx *r, const struct channel_terms *peer)
{
    if (r->any) {
        uint64_t start = peer->send_start == CHANNEL_ANY ? 0 : peer->send_start;

        r->any = false;
        r->got = r->taken = r->told = start;
        r->limit = grant(r);
    }
    r->limit = u64_max(r->limit, grant(r));
}

/* ---- delivering ---- */

/* How many of the kept bytes lie before the next gap or ordered note. */
static size_t
kept_ready(const struct channel_rx *r)
{
    size_t n = r->kept.len - r->kept_at;

    for (const struct channel_note_item *i = r->notes; i != NULL; i = i->next) {
        if (i->gap_to != 0 || i->ordered) {
            return (size_t)u64_min(i->at - r->taken, n);
        }
    }
    return n;
}

/* Is the first waiting note or gap due? */
static bool
first_is_due(const struct channel_rx *r)
{
    const struct channel_note_item *n = r->notes;

    if (n == NULL) {
        return false;
    }
    return n->gap_to != 0 || n->ordered ? n->at <= r->taken : true;
}

static void
deliver_first(struct channel *c)
{
    struct channel_rx *r = &c->rx;
    struct channel_note_item *n = unlink_first(r);

    if (n->gap_to != 0) {
        r->taken = n->gap_to;
        c->ack_now = true;
        if (c->ev.on_gap != NULL) {
            c->ev.on_gap(c->ctx, c, n->at, n->gap_to);
        }
    } else {
        r->note_told++;
        c->ack_now = true;
        if (c->ev.on_note != NULL) {
            c->ev.on_note(c->ctx, c, n->kind, n->at, n->data, n->n);
        }
    }
    free(n);
}

/* Deliver what has become due, then the end. The caller holds the channel. */
static void
settle(struct channel *c)
{
    struct channel_rx *r = &c->rx;

    while (!c->freed && !c->reset && first_is_due(r)) {
        deliver_first(c);
    }
    if (!c->freed && !c->reset && r->eof && !r->eof_told && r->taken == r->got &&
        r->notes == NULL) {
        r->eof_told = true;
        c->ack_now = true;
        if (c->ev.on_eof != NULL) {
            c->ev.on_eof(c->ctx, c);
        }
    }
}

/* Owe an ACK: now, if the peer may soon run out of credit, else before long. */
static void
owe_ack(struct channel *c)
{
    struct channel_rx *r = &c->rx;

    if (grant(r) >= r->limit + r->window / 4) {
        c->ack_now = true;
    } else if (channel_rx_owes_ack(r)) {
        c->ack_soon = true;
    }
}

bool
channel_rx_owes_ack(const struct channel_rx *r)
{
    return r->taken != r->told || r->note_told != r->note_acked ||
           (r->eof_told && !r->ended_sent);
}

const uint8_t *
channel_rx(const struct channel *c, size_t *len)
{
    *len = kept_ready(&c->rx);
    return *len == 0 ? NULL : c->rx.kept.data + c->rx.kept_at;
}

static void
forget_kept(struct channel_rx *r, size_t n)
{
    r->kept_at += n;
    if (r->kept_at == r->kept.len) {
        r->kept_at = 0;
        buf_free(&r->kept);
    } else if (r->kept_at >= r->kept.len / 2) {
        /* Moving less than was taken since the last move: linear in all. */
        buf_drop_front(&r->kept, r->kept_at);
        r->kept_at = 0;
    }
}

void
channel_rx_take(struct channel *c, size_t n)
{
    struct channel_rx *r = &c->rx;

    if (c->reset) {
        return;
    }
    assert(n <= kept_ready(r));
    forget_kept(r, n);
    r->taken += n;
    channel_enter(c);
    settle(c);
    if (!channel_leave(c)) {
        return;
    }
    owe_ack(c);
    channel_poke(c);
}

/* ---- frames ---- */

static int
accept_bytes(struct channel *c, const uint8_t *data, size_t n, struct err *e)
{
    struct channel_rx *r = &c->rx;
    size_t took = 0;

    if (r->got + n > r->limit) {
        return err_set(e, ERR_CORRUPT, "the peer sent more than it has credit for");
    }
    r->got += n;
    if (r->kept.len == 0 && r->notes == NULL && c->ev.on_data != NULL) {
        took = c->ev.on_data(c->ctx, c, data, n);
        assert(took <= n);
        if (c->freed || c->reset) {
            return 0;
        }
        r->taken += took;
    }
    buf_add(&r->kept, data + took, n - took);
    settle(c);
    return 0;
}

/* After whatever a frame caused: still ours to go on with? Then owe what is owed. */
static int
finish_frame(struct channel *c, int rc)
{
    if (rc == 0 && !c->freed && !c->reset) {
        owe_ack(c);
    }
    return rc;
}

int
channel_rx_on_data(struct channel *c, const struct frame *f, struct err *e)
{
    struct channel_rx *r = &c->rx;
    const uint8_t *data = f->payload;
    size_t n = f->len;
    uint64_t end = f->seq + n;

    if (f->seq > r->got || end > CHANNEL_OFFSET_MAX || (r->eof && end > r->got)) {
        return err_set(e, ERR_CORRUPT, "bytes at %llu of a channel, expected at %llu",
                       (unsigned long long)f->seq, (unsigned long long)r->got);
    }
    if (end <= r->got) {
        return 0; /* had them before */
    }
    data += r->got - f->seq;
    n -= (size_t)(r->got - f->seq);
    return finish_frame(c, accept_bytes(c, data, n, e));
}

static int
keep_item(struct channel_rx *r, struct channel_note_item *n, struct err *e)
{
    if (r->n_notes >= CHANNEL_NOTES_MAX) {
        free(n);
        return err_set(e, ERR_CORRUPT, "more than %d notes or gaps wait in a channel",
                       CHANNEL_NOTES_MAX);
    }
    n->next = NULL;
    if (r->notes == NULL) {
        r->notes = n;
    } else {
        r->note_tail->next = n;
    }
    r->note_tail = n;
    r->n_notes++;
    return 0;
}

int
channel_rx_on_gap(struct channel *c, const struct frame *f, struct err *e)
{
    struct channel_rx *r = &c->rx;
    uint64_t to = get_u64(f->payload);
    struct channel_note_item *n;

    if (!r->gaps || to > CHANNEL_OFFSET_MAX || f->seq > r->got || to <= f->seq ||
        (r->eof && to > r->got)) {
        return err_set(e, ERR_CORRUPT, "impossible gap at byte %llu of a channel",
                       (unsigned long long)f->seq);
    }
    if (to <= r->got) {
        return 0;
    }
    n = xcalloc(1, sizeof *n);
    n->at = r->got;
    n->gap_to = to;
    if (keep_item(r, n, e) == -1) {
        return -1;
    }
    r->got = to;
    settle(c);
    return finish_frame(c, 0);
}

int
channel_rx_on_eof(struct channel *c, const struct frame *f, struct err *e)
{
    struct channel_rx *r = &c->rx;

    if (f->seq != r->got) {
        return err_set(e, ERR_CORRUPT, "a channel of %llu bytes cannot end at %llu",
                       (unsigned long long)r->got, (unsigned long long)f->seq);
    }
    r->eof = true;
    r->ended_sent = false;
    settle(c);
    return finish_frame(c, 0);
}

int
channel_rx_on_note(struct channel *c, const struct frame *f, struct err *e)
{
    struct channel_rx *r = &c->rx;
    struct channel_note_item *n;
    size_t len = f->len - CHANNEL_NOTE_HEADER;
    uint64_t at = get_u64(f->payload + 1);
    bool ordered = (f->flags & FRAME_F_ORDERED) != 0;

    if (f->seq > r->note_got || f->payload[0] == CHANNEL_NOTE_NONE ||
        at > CHANNEL_OFFSET_MAX || (ordered && at > r->got)) {
        return err_set(e, ERR_CORRUPT, "note %llu of a channel, expected %llu",
                       (unsigned long long)f->seq, (unsigned long long)r->note_got);
    }
    if (f->seq < r->note_got) {
        return 0;
    }
    n = xcalloc(1, sizeof *n + len);
    n->at = at;
    n->kind = f->payload[0];
    n->ordered = ordered;
    n->n = len;
    bytes_copy(n->data, f->payload + CHANNEL_NOTE_HEADER, len);
    if (keep_item(r, n, e) == -1) {
        return -1;
    }
    r->note_got++;
    settle(c);
    return finish_frame(c, 0);
}

void
channel_rx_pull_ack(struct channel *c, struct frame *out,
                    uint8_t payload[CHANNEL_ACK_BYTES])
{
    struct channel_rx *r = &c->rx;

    r->limit = u64_max(r->limit, grant(r));
    put_u64(payload, r->limit);
    put_u64(payload + 8, r->note_told);
    *out = (struct frame){.type = FRAME_ACK,
                          .flags = r->eof_told ? FRAME_F_ENDED : 0,
                          .stream = c->stream,
                          .seq = r->taken,
                          .payload = payload,
                          .len = CHANNEL_ACK_BYTES};
    r->told = r->taken;
    r->note_acked = r->note_told;
    r->ended_sent = r->eof_told;
    c->ack_now = false;
    c->ack_soon = false;
}

void
channel_set_window(struct channel *c, size_t window_bytes)
{
    struct channel_rx *r = &c->rx;

    r->window = size_min(size_max(window_bytes, CHANNEL_WINDOW_MIN), CHANNEL_WINDOW_MAX);
    c->ack_now = true; /* tells the new limit, if it grew */
    channel_poke(c);
}

uint64_t
channel_recv_next(const struct channel *c)
{
    return c->rx.taken;
}

bool
channel_recv_ended(const struct channel *c)
{
    return c->rx.eof_told;
}
