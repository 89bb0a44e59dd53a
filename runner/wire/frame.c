#include "runner/wire/frame.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"

/* A quiet connection holds this much; a busy one grows to DECODER_CAP_MAX. */
#define DECODER_CAP_MIN ((size_t)4096)
#define DECODER_CAP_MAX ((size_t)512 * 1024)
#define SMALL_FILLS     64 /* then it is given back, a half at a time */

#define SMALL_PAYLOAD_MAX 16384 /* error records */

enum stream_rule { STREAM_ZERO, STREAM_SET };
enum seq_rule { SEQ_ZERO, SEQ_ID, SEQ_OFFSET, SEQ_ANY };

/* What each type may look like; a row without a name is no type. */
static const struct frame_rule {
    const char *name;
    enum stream_rule stream;
    enum seq_rule seq;
    uint8_t flags;
    size_t len_min;
    size_t len_max;
} rules[] = {
    [FRAME_HELLO] = {"HELLO", STREAM_ZERO, SEQ_ZERO, 0, 1, FRAME_PAYLOAD_MAX},
    [FRAME_GOAWAY] = {"GOAWAY", STREAM_ZERO, SEQ_ZERO, 0, 0, SMALL_PAYLOAD_MAX},
    [FRAME_PING] = {"PING", STREAM_ZERO, SEQ_ANY, 0, 0, 0},
    [FRAME_PONG] = {"PONG", STREAM_ZERO, SEQ_ANY, 0, 0, 0},
    [FRAME_REQ] = {"REQ", STREAM_ZERO, SEQ_ID, FRAME_F_MORE, 1, FRAME_PAYLOAD_MAX},
    [FRAME_RESP] = {"RESP", STREAM_ZERO, SEQ_ID, FRAME_F_MORE, 1, FRAME_PAYLOAD_MAX},
    [FRAME_ERR] = {"ERR", STREAM_ZERO, SEQ_ID, 0, 1, SMALL_PAYLOAD_MAX},
    [FRAME_EVENT] = {"EVENT", STREAM_ZERO, SEQ_ID, FRAME_F_MORE, 1, FRAME_PAYLOAD_MAX},
    [FRAME_OPEN] = {"OPEN", STREAM_SET, SEQ_ZERO, 0, 1, FRAME_PAYLOAD_MAX},
    [FRAME_ACCEPT] = {"ACCEPT", STREAM_SET, SEQ_ZERO, 0, 1, FRAME_PAYLOAD_MAX},
    [FRAME_RESET] = {"RESET", STREAM_SET, SEQ_ZERO, 0, 1, SMALL_PAYLOAD_MAX},
    [FRAME_DATA] = {"DATA", STREAM_SET, SEQ_OFFSET, 0, 1, FRAME_PAYLOAD_MAX},
    [FRAME_GAP] = {"GAP", STREAM_SET, SEQ_OFFSET, 0, 8, 8},
    [FRAME_EOF] = {"EOF", STREAM_SET, SEQ_OFFSET, 0, 0, 0},
    [FRAME_ACK] = {"ACK", STREAM_SET, SEQ_OFFSET, FRAME_F_ENDED, 16, 16},
    [FRAME_NOTE] = {"NOTE", STREAM_SET, SEQ_OFFSET, FRAME_F_ORDERED, 9, 9 + 4096},
};

struct frame_decoder {
    uint8_t *data;
    size_t cap;
    size_t start;  /* of what was not handed out yet */
    size_t end;    /* of what was filled */
    bool was_full; /* the last fill took all room there was: read more next time */
    unsigned
        n_small; /* fills in a row that a quarter of this would have been enough for */
    bool broken; /* a frame was refused: nothing more comes out */
};

static const struct frame_rule *
rule_of(unsigned type)
{
    if (type >= sizeof rules / sizeof rules[0] || rules[type].name == NULL) {
        return NULL;
    }
    return &rules[type];
}

const char *
frame_type_name(unsigned type)
{
    const struct frame_rule *r = rule_of(type);

    return r == NULL ? "?" : r->name;
}

static bool
seq_fits(enum seq_rule rule, uint64_t seq)
{
    switch (rule) {
    case SEQ_ZERO:
        return seq == 0;
    case SEQ_ID:
        return seq != 0;
    case SEQ_OFFSET:
        return seq <= (uint64_t)INT64_MAX;
    case SEQ_ANY:
        return true;
    }
    return false;
}

int
frame_check(const struct frame *f, struct err *e)
{
    const struct frame_rule *r = rule_of(f->type);

    if (f->len > FRAME_PAYLOAD_MAX) {
        return err_set(e, ERR_CORRUPT, "frame of %zu bytes, at most %zu are allowed",
                       f->len, FRAME_PAYLOAD_MAX);
    }
    if (r == NULL) {
        return err_set(e, ERR_CORRUPT, "frame of unknown type %u", f->type);
    }
    if ((f->flags & ~r->flags) != 0) {
        return err_set(e, ERR_CORRUPT, "%s frame with unknown flags 0x%02x", r->name,
                       f->flags);
    }
    if ((f->stream != 0) != (r->stream == STREAM_SET)) {
        return err_set(e, ERR_CORRUPT, "%s frame on stream %u", r->name, f->stream);
    }
    if (!seq_fits(r->seq, f->seq)) {
        return err_set(e, ERR_CORRUPT, "%s frame with impossible number %llu", r->name,
                       (unsigned long long)f->seq);
    }
    if (f->len < r->len_min || f->len > r->len_max) {
        return err_set(e, ERR_CORRUPT, "%s frame of %zu bytes", r->name, f->len);
    }
    return 0;
}

void
frame_put_header(uint8_t out[FRAME_HEADER_BYTES], const struct frame *f)
{
    struct err e;

    assert(frame_check(f, &e) == 0);
    (void)e;
    put_u32(out, (uint32_t)f->len);
    out[4] = f->type;
    out[5] = f->flags;
    put_u16(out + 6, 0);
    put_u32(out + 8, f->stream);
    put_u64(out + 12, f->seq);
}

void
frame_encode(struct buf *out, const struct frame *f)
{
    uint8_t header[FRAME_HEADER_BYTES];

    frame_put_header(header, f);
    buf_add(out, header, sizeof header);
    buf_add(out, f->payload, f->len);
}

struct frame_decoder *
frame_decoder_new(void)
{
    return xcalloc(1, sizeof(struct frame_decoder));
}

void
frame_decoder_free(struct frame_decoder *d)
{
    if (d != NULL) {
        free(d->data);
        free(d);
    }
}

/* Read the header at the front without judging it; false if it is not there yet. */
static bool
peek_header(const struct frame_decoder *d, struct frame *f, unsigned *reserved)
{
    const uint8_t *at;

    if (d->end - d->start < FRAME_HEADER_BYTES) {
        return false;
    }
    at = d->data + d->start;
    f->len = get_u32(at);
    f->type = at[4];
    f->flags = at[5];
    *reserved = get_u16(at + 6);
    f->stream = get_u32(at + 8);
    f->seq = get_u64(at + 12);
    f->payload = NULL;
    return true;
}

/* Bytes the frame at the front will have in all, as far as can be told (and allowed). */
static size_t
wanted_bytes(const struct frame_decoder *d)
{
    struct frame f;
    unsigned reserved;

    if (!peek_header(d, &f, &reserved) || f.len > FRAME_PAYLOAD_MAX) {
        return FRAME_HEADER_BYTES;
    }
    return FRAME_HEADER_BYTES + f.len;
}

static size_t
next_cap(const struct frame_decoder *d, size_t want)
{
    size_t cap = size_max(d->cap, DECODER_CAP_MIN);

    if (d->was_full) {
        cap = size_min(2 * cap, size_max(cap, DECODER_CAP_MAX));
    } else if (d->n_small == SMALL_FILLS) {
        cap = size_max(cap / 2, DECODER_CAP_MIN);
    }
    return size_double_to(cap, want);
}

/* Move what is pending to the front, into a buffer of at least cap bytes. */
static void
make_front(struct frame_decoder *d, size_t cap)
{
    size_t pending = d->end - d->start;

    assert(pending == 0 || d->data != NULL);
    if (cap != d->cap) {
        uint8_t *other = xmalloc(cap);

        bytes_copy(other, d->data == NULL ? NULL : d->data + d->start, pending);
        free(d->data);
        d->data = other;
        d->cap = cap;
    } else if (d->start > 0) {
        memmove(d->data, d->data + d->start, pending);
    }
    d->start = 0;
    d->end = pending;
}

uint8_t *
frame_decoder_room(struct frame_decoder *d, size_t *room_bytes)
{
    size_t pending = d->end - d->start;
    size_t want = size_max(wanted_bytes(d), pending + FRAME_HEADER_BYTES);
    size_t cap = next_cap(d, want);

    if (cap != d->cap) {
        d->n_small = 0;
    }
    if (pending == 0) {
        d->start = d->end = 0; /* nothing to move */
    }
    /* Moving is worth it only for much room, or when the frame would not fit. */
    if (cap != d->cap || d->cap - d->end < d->cap / 2 || d->cap - d->start < want) {
        make_front(d, cap);
    }
    d->was_full = false;
    *room_bytes = d->cap - d->end;
    return d->data + d->end;
}

void
frame_decoder_filled(struct frame_decoder *d, size_t n)
{
    assert(n <= d->cap - d->end);
    d->was_full = n == d->cap - d->end;
    d->n_small = n < d->cap / 4 ? (unsigned)size_min(d->n_small + 1, SMALL_FILLS) : 0;
    d->end += n;
}

void
frame_decoder_feed(struct frame_decoder *d, const void *data, size_t n)
{
    size_t pending = d->end - d->start;

    if (d->cap - d->end < n) {
        make_front(d, size_double_to(size_max(d->cap, DECODER_CAP_MIN), pending + n));
    }
    if (n > 0) { /* before the first byte there may be no room yet */
        memcpy(d->data + d->end, data, n);
    }
    d->end += n;
}

int
frame_decoder_next(struct frame_decoder *d, struct frame *out, bool *got, struct err *e)
{
    struct frame f;
    unsigned reserved;

    if (d->broken) {
        return err_set(e, ERR_CORRUPT, "the connection is out of step");
    }
    if (!peek_header(d, &f, &reserved)) {
        *got = false;
        return 0;
    }
    if (frame_check(&f, e) == -1) {
        d->broken = true;
        return -1;
    }
    if (reserved != 0) {
        d->broken = true;
        return err_set(e, ERR_CORRUPT, "%s frame with reserved bits 0x%04x",
                       frame_type_name(f.type), reserved);
    }
    if (d->end - d->start < FRAME_HEADER_BYTES + f.len) {
        *got = false;
        return 0;
    }
    f.payload = f.len == 0 ? NULL : d->data + d->start + FRAME_HEADER_BYTES;
    d->start += FRAME_HEADER_BYTES + f.len;
    *out = f;
    *got = true;
    return 0;
}

size_t
frame_decoder_pending(const struct frame_decoder *d)
{
    return d->end - d->start;
}

void
frame_decoder_trim(struct frame_decoder *d)
{
    size_t want = size_max(wanted_bytes(d), d->end - d->start);

    if (d->end == d->start) {
        free(d->data);
        *d = (struct frame_decoder){.broken = d->broken};
        return;
    }
    make_front(d, size_double_to(DECODER_CAP_MIN, want));
}
