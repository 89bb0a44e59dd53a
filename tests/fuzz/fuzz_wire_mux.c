/*
 * A mux and whatever a peer may send it after a sane HELLO. The first byte says how the
 * application behaves; then come frames in short form (type, flags, stream, seq, length,
 * payload), so that a fuzzer need not guess headers, or raw bytes. Whatever comes: no
 * more is kept than was allowed, what goes out is well-formed, and the end is clean.
 */
#include <string.h>

#include "base/bytes.h"
#include "runner/wire/frame.h"
#include "runner/wire/msg.h"
#include "runner/wire/mux.h"
#include "runner/wire/preamble.h"
#include "runner/wire/relay.h"
#include "tests/fuzz/fuzz.h"

#define CHANNELS 16
#define WINDOW   8192

struct app {
    uint8_t mood;
    struct mux *m;
    struct mux *behind; /* what streams may be relayed to */
    struct channel *c[CHANNELS];
    int n;
    int answers;
    size_t taken;
};

enum {
    MOOD_TAKE = 1,   /* take what comes at once */
    MOOD_REFUSE = 2, /* refuse offers */
    MOOD_LATER = 4,  /* do not answer offers and requests */
    MOOD_RESET = 8,  /* reset channels when bytes come */
    MOOD_FREE = 16,  /* free them instead */
    MOOD_RELAY = 32, /* pass offers on */
    MOOD_ASK = 64,   /* be the initiator, with a channel and requests open */
    MOOD_GAPS = 128,
};

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct app *a = ctx;
    struct err why;

    must(n > 0 && n <= FRAME_PAYLOAD_MAX);
    (void)crc32c(0, data, n);
    a->taken += n;
    if ((a->mood & MOOD_RESET) != 0) {
        err_set(&why, ERR_DENIED, "enough");
        channel_reset(c, &why);
    } else if ((a->mood & MOOD_FREE) != 0) {
        for (int i = 0; i < a->n; i++) {
            if (a->c[i] == c) {
                a->c[i] = NULL;
            }
        }
        channel_free(c);
    }
    return (a->mood & MOOD_TAKE) != 0 ? n : n / 2;
}

static void
on_note(void *ctx, struct channel *c, int kind, uint64_t at, const uint8_t *data,
        size_t n)
{
    (void)ctx;
    (void)at;
    must(kind > 0 && kind < 256 && n <= CHANNEL_NOTE_MAX);
    (void)crc32c(0, data, n);
    channel_send_eof(c);
}

static const struct channel_events channel_events = {.on_data = on_data,
                                                     .on_note = on_note};

static struct channel *
new_channel(struct app *a, enum channel_class cls, const uint8_t *token)
{
    struct channel_options o = {.cls = cls,
                                .token = token,
                                .window_bytes = WINDOW,
                                .recv_gaps = (a->mood & MOOD_GAPS) != 0,
                                .events = &channel_events,
                                .ctx = a};

    if (a->n == CHANNELS) {
        return NULL;
    }
    return a->c[a->n++] = channel_new(&o);
}

static void
on_open(void *ctx, struct mux *m, const struct mux_offer *offer)
{
    struct app *a = ctx;
    struct channel *c;
    struct err e;

    must(offer->cls == CHANNEL_INTERACTIVE || offer->cls == CHANNEL_BULK);
    if ((a->mood & MOOD_LATER) != 0) {
        return;
    }
    if ((a->mood & MOOD_RELAY) != 0) {
        (void)!relay_join(m, offer->stream, a->behind, NULL, &e);
        return;
    }
    c = (a->mood & MOOD_REFUSE) != 0 ? NULL : new_channel(a, offer->cls, offer->token);
    if (c == NULL) {
        err_set(&e, ERR_BUSY, "no");
        mux_refuse(m, offer->stream, &e, "hint");
        return;
    }
    (void)channel_send(c, "hello", 5);
    (void)!mux_accept(m, offer->stream, c, NULL, &e);
}

static void
on_request(void *ctx, struct mux *m, uint64_t id, const struct rec *req)
{
    struct app *a = ctx;

    if ((a->mood & MOOD_LATER) == 0) {
        mux_respond(m, id, req);
    }
}

static void
on_answer(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct app *a = ctx;

    must((resp == NULL) != (why == NULL));
    must(hint != NULL);
    a->answers++;
}

static const struct mux_events mux_events = {.on_open = on_open,
                                             .on_request = on_request};

/* Take what the mux wants to send; all of it must be frames. */
static void
drain(struct mux *m, struct frame_decoder *d, size_t *skip)
{
    struct iovec iov[MUX_IOV_MAX];
    struct frame f;
    bool got = true;
    struct err e;
    int n;

    while ((n = mux_output(m, iov, MUX_IOV_MAX, 1000000000)) > 0) {
        size_t total = 0;

        for (int i = 0; i < n; i++) {
            const uint8_t *at = iov[i].iov_base;
            size_t len = iov[i].iov_len;
            size_t drop = len < *skip ? len : *skip;

            *skip -= drop;
            frame_decoder_feed(d, at + drop, len - drop);
            total += len;
        }
        mux_written(m, total);
    }
    while (got) {
        must(frame_decoder_next(d, &f, &got, &e) == 0);
    }
    must(frame_decoder_pending(d) == 0);
}

static int
give_hello(struct mux *m, bool as_agent)
{
    struct hello h;
    struct rec *r;
    struct buf body = BUF_INIT;
    struct buf b = BUF_INIT;
    struct frame f = {.type = FRAME_HELLO};
    struct err e;
    int rc;

    hello_init(&h, as_agent ? HELLO_ROLE_SERVE : HELLO_ROLE_CLIENT, "1");
    r = hello_encode(&h);
    rec_encode(r, &body);
    f.payload = body.data;
    f.len = body.len;
    buf_add_str(&b, as_agent ? PREAMBLE_READY : PREAMBLE_CLIENT);
    frame_encode(&b, &f);
    rc = mux_feed(m, b.data, b.len, 1000000000, &e);
    rec_free(r);
    buf_free(&body);
    buf_free(&b);
    return rc;
}

/* The next step of the input; false at its end or when the mux has had enough. */
static bool
step(struct app *a, struct cursor *c)
{
    struct buf b = BUF_INIT;
    uint8_t type = cursor_u8(c);
    struct err e = {0};
    int rc;

    if (type == 255) {
        size_t n = cursor_u16(c);
        const uint8_t *raw;

        n = n < c->left ? n : c->left;
        raw = cursor_bytes(c, n);
        rc = n == 0 ? 0 : mux_feed(a->m, raw, n, 1000000000, &e);
    } else {
        uint8_t flags = cursor_u8(c);
        uint8_t stream = cursor_u8(c);
        uint16_t seq = cursor_u16(c);
        uint16_t len = cursor_u16(c);
        const uint8_t *payload;

        if (len > c->left) {
            len = (uint16_t)c->left;
        }
        payload = cursor_bytes(c, len);
        buf_add_u32(&b, len);
        buf_add_u8(&b, type);
        buf_add_u8(&b, flags);
        buf_add_u16(&b, 0);
        buf_add_u32(&b, stream);
        /* The highest bit reaches for the far end of the number range. */
        buf_add_u64(&b, (seq & 0x8000u) != 0 ? UINT64_MAX - (seq & 0x7fffu) : seq);
        buf_add(&b, payload, len);
        rc = mux_feed(a->m, b.data, b.len, 1000000000, &e);
    }
    buf_free(&b);
    must(rc == 0 || e.code != ERR_NONE);
    return rc == 0 && !mux_is_over(a->m, NULL) && !c->bad && c->left > 0;
}

static void
check_kept(const struct app *a)
{
    for (int i = 0; i < a->n; i++) {
        size_t n = 0;

        if (a->c[i] != NULL) {
            (void)channel_rx(a->c[i], &n);
            must(n <= WINDOW);
        }
    }
}

static void
run(struct app *a, struct cursor *c)
{
    struct frame_decoder *d = frame_decoder_new();
    struct frame_decoder *d2 = frame_decoder_new();
    bool ask = (a->mood & MOOD_ASK) != 0;
    size_t skip = strlen(ask ? PREAMBLE_CLIENT : PREAMBLE_READY);
    size_t skip2 = strlen(PREAMBLE_CLIENT);
    struct err e;

    must(give_hello(a->m, ask) == 0);
    while (step(a, c)) {
        check_kept(a);
        drain(a->m, d, &skip);
        drain(a->behind, d2, &skip2);
    }
    drain(a->m, d, &skip);
    (void)!mux_tick(a->m, 2000000000, &e);
    drain(a->m, d, &skip);
    must(!mux_has_output(a->m) || !mux_is_over(a->m, NULL));
    frame_decoder_free(d);
    frame_decoder_free(d2);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor c = cursor_of(data, size);
    struct app a = {.mood = cursor_u8(&c)};
    bool ask = (a.mood & MOOD_ASK) != 0;
    struct hello h;
    struct hello h2;
    struct mux_options o = {.initiator = ask,
                            .hello = &h,
                            .events = &mux_events,
                            .ctx = &a,
                            .streams_max = 8,
                            .requests_max = 8,
                            .message_max = 100000};
    struct mux_options o2 = {.initiator = true, .hello = &h2, .ctx = &a};
    struct rec *req = msg_request_new("x");
    struct err e;

    hello_init(&h, ask ? HELLO_ROLE_CLIENT : HELLO_ROLE_SERVE, "1");
    hello_init(&h2, HELLO_ROLE_SERVE, "1");
    a.m = mux_new(&o, 1000000000);
    a.behind = mux_new(&o2, 1000000000);
    if (ask) {
        struct channel *ch = new_channel(&a, CHANNEL_INTERACTIVE, NULL);

        (void)channel_send(ch, "abcdef", 6);
        must(channel_send_signal(ch, 2, &e) == 0);
        must(mux_open(a.m, ch, req, &e) == 0);
        must(mux_request(a.m, req, on_answer, &a, NULL, &e) == 0);
    }
    run(&a, &c);
    mux_free(a.m);
    mux_free(a.behind);
    must(a.answers == (ask ? 1 : 0)); /* exactly once, whatever happened */
    for (int i = 0; i < a.n; i++) {
        channel_free(a.c[i]);
    }
    rec_free(req);
    return 0;
}
