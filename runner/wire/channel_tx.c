#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "runner/wire/channel_internal.h"

/*
 * The sending half: a list of blocks that hold every byte from acked to end, and a
 * position in it, next, which goes back when the connection is replaced.
 */

#define BLOCK_MIN ((size_t)4096 - sizeof(struct channel_block))
#define BLOCK_MAX CHANNEL_DATA_MAX

void
channel_tx_init(struct channel_tx *t, const struct channel_options *o,
                const struct channel_state *s)
{
    uint64_t start = o->send_start;

    if (s != NULL) {
        start = s->send_acked;
        t->note_acked = t->note_next = t->note_end = s->note_acked;
    }
    t->any = start == CHANNEL_ANY;
    if (t->any) {
        start = 0;
    }
    assert(start <= CHANNEL_OFFSET_MAX);
    t->acked = t->next = t->written = t->end = start;
    t->source = o->source;
    t->max_bytes = o->replay_max_bytes;
}

static void
drop_notes(struct channel_tx *t)
{
    while (t->notes != NULL) {
        struct channel_note_item *n = t->notes;

        t->notes = n->next;
        free(n);
    }
    t->note_tail = NULL;
    t->note_cursor = NULL;
}

static void
drop_blocks(struct channel_tx *t)
{
    while (t->head != NULL) {
        struct channel_block *b = t->head;

        t->head = b->next;
        free(b);
    }
    free(t->spare);
    t->tail = t->cursor = t->spare = NULL;
}

void
channel_tx_drop(struct channel_tx *t)
{
    drop_notes(t);
    drop_blocks(t);
    t->end = t->next = t->written = t->acked;
    t->eof = true;
}

void
channel_tx_free(struct channel_tx *t)
{
    drop_notes(t);
    drop_blocks(t);
}

/* ---- filling ---- */

static size_t
free_bytes(const struct channel_tx *t)
{
    uint64_t held = t->end - t->acked;

    if (t->eof || t->source != NULL || held >= t->max_bytes) {
        return 0;
    }
    return t->max_bytes - (size_t)held;
}

static void
free_block(struct channel_tx *t, struct channel_block *b)
{
    if (t->spare == NULL && b->cap == BLOCK_MAX) {
        t->spare = b;
    } else {
        free(b);
    }
}

/*
 * Small blocks while the peer keeps up, so that a line of input costs one page;
 * growing ones when bytes pile up, so that each makes a full frame.
 */
static void
add_block(struct channel_tx *t, size_t n)
{
    size_t cap = size_max(n, BLOCK_MIN);
    struct channel_block *b;

    if (t->tail != NULL && t->next != t->end) {
        cap = size_max(cap, 2 * t->tail->cap);
    }
    cap = size_min(cap, BLOCK_MAX);
    if (t->spare != NULL && cap == BLOCK_MAX) {
        b = t->spare;
        t->spare = NULL;
    } else {
        b = xmalloc(sizeof *b + cap);
        b->cap = cap;
    }
    b->next = NULL;
    b->start = t->end;
    b->len = 0;
    if (t->tail == NULL) {
        t->head = b;
    } else {
        t->tail->next = b;
    }
    t->tail = b;
}

static uint8_t *
room(struct channel_tx *t, size_t want, size_t *n)
{
    size_t space = free_bytes(t);

    if (space == 0) {
        *n = 0;
        return NULL;
    }
    if (t->tail == NULL || t->tail->len == t->tail->cap) {
        add_block(t, want);
    }
    *n = size_min(t->tail->cap - t->tail->len, space);
    return t->tail->data + t->tail->len;
}

size_t
channel_send(struct channel *c, const void *data, size_t n)
{
    struct channel_tx *t = &c->tx;
    const uint8_t *at = data;
    size_t left = n;

    while (left > 0) {
        size_t space;
        uint8_t *to = room(t, left, &space);

        if (to == NULL) {
            t->want_room = !t->eof;
            break;
        }
        space = size_min(space, left);
        memcpy(to, at, space);
        t->tail->len += space;
        t->end += space;
        at += space;
        left -= space;
    }
    channel_poke(c);
    return n - left;
}

uint8_t *
channel_send_room(struct channel *c, size_t *room_bytes)
{
    uint8_t *to = room(&c->tx, BLOCK_MAX, room_bytes);

    c->tx.want_room = to == NULL && !c->tx.eof;
    return to;
}

void
channel_send_filled(struct channel *c, size_t n)
{
    struct channel_tx *t = &c->tx;

    if (t->eof) {
        return;
    }
    assert(t->tail != NULL && n <= t->tail->cap - t->tail->len);
    t->tail->len += n;
    t->end += n;
    channel_poke(c);
}

void
channel_source_grow(struct channel *c, uint64_t end)
{
    struct channel_tx *t = &c->tx;

    assert(t->source != NULL && end <= CHANNEL_OFFSET_MAX);
    if (!t->eof) {
        t->end = u64_max(t->end, end);
        channel_poke(c);
    }
}

void
channel_send_eof(struct channel *c)
{
    if (!c->tx.eof) {
        c->tx.eof = true;
        c->tx.want_room = false;
        channel_poke(c);
    }
}

int
channel_send_note(struct channel *c, int kind, bool ordered, const void *data, size_t n,
                  struct err *e)
{
    struct channel_tx *t = &c->tx;
    struct channel_note_item *item;

    assert(kind > CHANNEL_NOTE_NONE && kind <= UINT8_MAX);
    if (n > CHANNEL_NOTE_MAX) {
        return err_set(e, ERR_RANGE, "note of %zu bytes, at most %zu are allowed", n,
                       CHANNEL_NOTE_MAX);
    }
    if (c->reset || c->done) {
        return err_set(e, ERR_INVALID, "the channel is closed");
    }
    if (t->note_end - t->note_acked >= CHANNEL_NOTES_MAX) {
        return err_set(e, ERR_BUSY, "%d notes wait to be acknowledged already",
                       CHANNEL_NOTES_MAX);
    }
    item = xcalloc(1, sizeof *item + n);
    item->at = t->end;
    item->kind = kind;
    item->ordered = ordered;
    item->n = n;
    bytes_copy(item->data, data, n);
    if (t->notes == NULL) {
        t->notes = item;
    } else {
        t->note_tail->next = item;
    }
    t->note_tail = item;
    if (t->note_cursor == NULL) {
        t->note_cursor = item;
    }
    t->note_end++;
    channel_poke(c);
    return 0;
}

int
channel_send_signal(struct channel *c, int signo, struct err *e)
{
    uint8_t b = (uint8_t)signo;

    assert(signo > 0 && signo < 65);
    return channel_send_note(c, CHANNEL_NOTE_SIGNAL, false, &b, 1, e);
}

int
channel_send_resize(struct channel *c, unsigned cols, unsigned rows, struct err *e)
{
    uint8_t b[4];

    put_u16(b, (uint16_t)size_min(cols, UINT16_MAX));
    put_u16(b + 2, (uint16_t)size_min(rows, UINT16_MAX));
    return channel_send_note(c, CHANNEL_NOTE_RESIZE, false, b, sizeof b, e);
}

/* ---- agreeing where to go on ---- */

int
channel_tx_check(const struct channel_tx *t, const struct channel_terms *peer,
                 struct err *e)
{
    uint64_t start = peer->recv_next;

    if (start == CHANNEL_ANY) {
        return 0;
    }
    if (t->source != NULL ? start > t->end : !t->any && start > t->end) {
        return err_set(e, ERR_INVALID,
                       "the peer has %llu bytes of a channel that has only %llu",
                       (unsigned long long)start, (unsigned long long)t->end);
    }
    if (t->source == NULL && !t->any && start < t->acked && !peer->gaps) {
        return err_set(e, ERR_NOT_FOUND,
                       "bytes %llu to %llu of a channel are no longer kept",
                       (unsigned long long)start, (unsigned long long)t->acked);
    }
    if (t->source == NULL && !t->any && peer->recv_eof && (!t->eof || start != t->end)) {
        return err_set(e, ERR_INVALID, "the peer saw an end that was not sent");
    }
    return 0;
}

/* Bytes were taken in before it was known where they belong: now it is. */
static void
rebase(struct channel_tx *t, uint64_t start)
{
    t->any = false;
    for (struct channel_block *b = t->head; b != NULL; b = b->next) {
        b->start += start;
    }
    for (struct channel_note_item *n = t->notes; n != NULL; n = n->next) {
        n->at += start;
    }
    t->acked += start;
    t->end += start;
}

static void
agree_on_notes(struct channel_tx *t, uint64_t next)
{
    if (next < t->note_acked || next > t->note_end) {
        /* An end point without memory: what is not acknowledged gets its numbers. */
        t->note_end = next + (t->note_end - t->note_acked);
        t->note_acked = next;
    }
    while (t->note_acked < next) {
        struct channel_note_item *n = t->notes;

        t->notes = n->next;
        free(n);
        t->note_acked++;
    }
    if (t->notes == NULL) {
        t->note_tail = NULL;
    }
    t->note_cursor = t->notes;
    t->note_next = t->note_acked;
}

void
channel_tx_agree(struct channel_tx *t, const struct channel_terms *peer)
{
    uint64_t start = peer->recv_next;

    if (t->any && t->source == NULL) {
        rebase(t, start == CHANNEL_ANY ? 0 : start);
        if (peer->recv_eof) {
            /* Somebody before us has ended it: nothing can follow. */
            drop_blocks(t);
            t->end = t->acked;
            t->eof = true;
        }
    }
    t->any = false;
    if (start == CHANNEL_ANY) {
        start = t->acked;
    }
    if (t->source != NULL) {
        t->acked = start;
    }
    t->next = t->written = start;
    t->limit = peer->recv_next == CHANNEL_ANY ? start + peer->limit : peer->limit;
    t->peer_gaps = peer->gaps;
    t->eof_sent = t->eof && peer->recv_eof && start == t->end;
    t->eof_acked = false;
    t->cursor = NULL;
    agree_on_notes(t, peer->note_next);
}

/* ---- sending ---- */

/* Bytes must not pass this offset now. */
static uint64_t
barrier(const struct channel_tx *t)
{
    uint64_t at = u64_min(t->end, t->limit);

    if (t->note_cursor != NULL && t->note_cursor->ordered) {
        at = u64_min(at, t->note_cursor->at);
    }
    return at;
}

bool
channel_tx_ready(const struct channel_tx *t)
{
    if (t->next < t->acked) {
        return true; /* a gap to tell */
    }
    return barrier(t) > t->next || (t->eof && !t->eof_sent && t->next == t->end);
}

bool
channel_tx_note_ready(const struct channel_tx *t)
{
    const struct channel_note_item *n = t->note_cursor;

    return n != NULL && (!n->ordered || n->at <= t->next);
}

static void
make_gap(struct channel *c, uint64_t to, struct frame *out, uint8_t **owned)
{
    *owned = xmalloc(8);
    put_u64(*owned, to);
    *out = (struct frame){.type = FRAME_GAP,
                          .stream = c->stream,
                          .seq = c->tx.next,
                          .payload = *owned,
                          .len = 8};
    c->tx.next = to;
}

static void
make_data(struct channel *c, const uint8_t *data, size_t n, struct frame *out)
{
    *out = (struct frame){.type = FRAME_DATA,
                          .stream = c->stream,
                          .seq = c->tx.next,
                          .payload = data,
                          .len = n};
    c->tx.next += n;
}

static int
pull_from_source(struct channel *c, size_t n, struct frame *out, uint8_t **owned,
                 struct err *e)
{
    struct channel_tx *t = &c->tx;
    uint8_t *to = xmalloc(n);
    uint64_t skip_to = 0;
    size_t got = 0;

    if (t->source->read(t->source->ctx, t->next, to, n, &got, &skip_to, e) == -1) {
        free(to);
        return -1;
    }
    assert(got <= n);
    if (got > 0) {
        make_data(c, to, got, out);
        *owned = to;
        return 0;
    }
    free(to);
    if (skip_to <= t->next || skip_to > t->end) {
        return err_set(e, ERR_CORRUPT,
                       "byte %llu of a stream that has %llu cannot be read",
                       (unsigned long long)t->next, (unsigned long long)t->end);
    }
    if (!t->peer_gaps) {
        return err_set(e, ERR_NOT_FOUND,
                       "bytes %llu to %llu of a stream are no longer kept",
                       (unsigned long long)t->next, (unsigned long long)skip_to);
    }
    make_gap(c, skip_to, out, owned);
    return 0;
}

static void
pull_from_blocks(struct channel *c, size_t n, struct frame *out)
{
    struct channel_tx *t = &c->tx;
    struct channel_block *b = t->cursor == NULL ? t->head : t->cursor;
    size_t at;

    while (t->next - b->start >= b->len) {
        b = b->next;
    }
    t->cursor = b;
    at = (size_t)(t->next - b->start);
    make_data(c, b->data + at, size_min(n, b->len - at), out);
}

int
channel_tx_pull(struct channel *c, size_t max, struct frame *out, uint8_t **owned,
                bool *got, struct err *e)
{
    struct channel_tx *t = &c->tx;
    uint64_t stop = barrier(t);

    *owned = NULL;
    *got = true;
    if (t->next < t->acked) {
        make_gap(c, t->acked, out, owned);
        return 0;
    }
    if (stop > t->next) {
        size_t n = (size_t)u64_min(stop - t->next, max);

        if (t->source != NULL) {
            return pull_from_source(c, n, out, owned, e);
        }
        pull_from_blocks(c, n, out);
        return 0;
    }
    if (t->eof && !t->eof_sent && t->next == t->end) {
        t->eof_sent = true;
        *out = (struct frame){.type = FRAME_EOF, .stream = c->stream, .seq = t->end};
        return 0;
    }
    *got = false;
    return 0;
}

void
channel_tx_pull_note(struct channel *c, struct frame *out, uint8_t **owned)
{
    struct channel_tx *t = &c->tx;
    const struct channel_note_item *n = t->note_cursor;
    uint8_t *p = xmalloc(CHANNEL_NOTE_HEADER + n->n);

    p[0] = (uint8_t)n->kind;
    put_u64(p + 1, n->at);
    bytes_copy(p + CHANNEL_NOTE_HEADER, n->data, n->n);
    *owned = p;
    *out = (struct frame){.type = FRAME_NOTE,
                          .flags = n->ordered ? FRAME_F_ORDERED : 0,
                          .stream = c->stream,
                          .seq = t->note_next,
                          .payload = p,
                          .len = CHANNEL_NOTE_HEADER + n->n};
    t->note_cursor = n->next;
    t->note_next++;
}

void
channel_tx_wrote(struct channel *c, uint64_t offset)
{
    c->tx.written = u64_max(c->tx.written, offset);
}

/* ---- acknowledged ---- */

static void
let_blocks_go(struct channel_tx *t)
{
    if (t->acked == t->end) {
        drop_blocks(t); /* all is quiet: hold no memory */
        return;
    }
    while (t->head != NULL && t->acked >= t->head->start + t->head->len) {
        struct channel_block *b = t->head;

        if (t->cursor == b) {
            t->cursor = NULL;
        }
        t->head = b->next; /* there is one: acked is before the end */
        free_block(t, b);
    }
}

static int
check_ack(const struct channel_tx *t, const struct frame *f, uint64_t limit,
          uint64_t notes, struct err *e)
{
    bool ended = (f->flags & FRAME_F_ENDED) != 0;

    if (f->seq > t->written || limit > CHANNEL_OFFSET_MAX || notes > t->note_next ||
        (ended && (!t->eof_sent || f->seq != t->end))) {
        return err_set(e, ERR_CORRUPT, "the peer acknowledged what was never sent");
    }
    return 0;
}

static void
tell_progress(struct channel *c, bool moved)
{
    struct channel_tx *t = &c->tx;

    if (moved && c->ev.on_acked != NULL) {
        c->ev.on_acked(c->ctx, c, t->acked);
    }
    if (!c->freed && t->want_room && free_bytes(t) >= t->max_bytes / 8) {
        t->want_room = false;
        if (c->ev.on_writable != NULL) {
            c->ev.on_writable(c->ctx, c);
        }
    }
}

int
channel_tx_on_ack(struct channel *c, const struct frame *f, struct err *e)
{
    struct channel_tx *t = &c->tx;
    uint64_t limit = get_u64(f->payload);
    uint64_t notes = get_u64(f->payload + 8);
    bool moved = f->seq > t->acked;

    if (check_ack(t, f, limit, notes, e) == -1) {
        return -1;
    }
    if (moved) {
        t->acked = f->seq;
        let_blocks_go(t);
    }
    t->limit = u64_max(t->limit, limit);
    while (t->note_acked < notes) {
        struct channel_note_item *n = t->notes;

        t->notes = n->next;
        free(n);
        t->note_acked++;
    }
    if (t->notes == NULL) {
        t->note_tail = NULL;
    }
    t->eof_acked = t->eof_acked || (f->flags & FRAME_F_ENDED) != 0;
    tell_progress(c, moved);
    return 0;
}

uint64_t
channel_send_end(const struct channel *c)
{
    return c->tx.end;
}

uint64_t
channel_send_acked(const struct channel *c)
{
    return c->tx.acked;
}

size_t
channel_send_free(const struct channel *c)
{
    return free_bytes(&c->tx);
}
