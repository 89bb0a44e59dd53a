#ifndef TESTS_UNIT_WIRE_HOSTILE_H
#define TESTS_UNIT_WIRE_HOSTILE_H

/* A mux, and frames that no honest peer would send it. */

#include "base/bytes.h"
#include "runner/wire/frame.h"
#include "runner/wire/preamble.h"

#include "seen.h"

/* A mux on the acceptor's side that has had a sane beginning; the peer is us. */
static inline struct mux *
victim_with(struct seen *v, struct mux_options o)
{
    struct hello mine;
    struct hello theirs;
    struct mux *m;
    struct rec *r;
    struct buf b = BUF_INIT;
    struct buf body = BUF_INIT;
    struct err e;

    hello_init(&mine, HELLO_ROLE_SERVE, "1.0");
    hello_init(&theirs, HELLO_ROLE_CLIENT, "1.0");
    o.events = &seen_events;
    o.ctx = v;
    o.hello = &mine;
    m = mux_new(&o, SECOND);
    r = hello_encode(&theirs);
    rec_encode(r, &body);
    buf_add_str(&b, PREAMBLE_CLIENT);
    frame_encode(
        &b, &(struct frame){.type = FRAME_HELLO, .payload = body.data, .len = body.len});
    assert_int_equal(mux_feed(m, b.data, b.len, SECOND, &e), 0);
    buf_free(&b);
    buf_free(&body);
    rec_free(r);
    return m;
}

static inline struct mux *
victim(struct seen *v, int streams_max, int requests_max)
{
    return victim_with(v, (struct mux_options){.streams_max = streams_max,
                                               .requests_max = requests_max,
                                               .message_max = 100000});
}

/* Feed one frame. */
static inline int
send_frame(struct mux *m, struct frame f, const void *payload, size_t len, struct err *e)
{
    struct buf b = BUF_INIT;
    int rc;

    f.payload = payload;
    f.len = len;
    frame_encode(&b, &f);
    rc = mux_feed(m, b.data, b.len, SECOND, e);
    buf_free(&b);
    return rc;
}

static inline int
send_rec(struct mux *m, struct frame f, const char *type, struct err *e)
{
    struct rec *r = rec_new(type);
    struct buf body = BUF_INIT;
    int rc;

    rec_encode(r, &body);
    rc = send_frame(m, f, body.data, body.len, e);
    buf_free(&body);
    rec_free(r);
    return rc;
}

struct offer {
    uint8_t cls;
    uint8_t flags;
    uint16_t zero;
    uint64_t recv_next;
    uint64_t limit;
    uint64_t note_next;
    uint64_t send_start;
    bool no_rec;
};

static inline int
send_open(struct mux *m, uint32_t stream, struct offer o, struct err *e)
{
    struct buf b = BUF_INIT;
    uint8_t token[16] = {1};
    struct rec *r = rec_new("gpurun.open.test.v1");
    int rc;

    buf_add(&b, token, sizeof token);
    buf_add_u8(&b, o.cls);
    buf_add_u8(&b, o.flags);
    buf_add_u16(&b, o.zero);
    buf_add_u64(&b, o.recv_next);
    buf_add_u64(&b, o.limit);
    buf_add_u64(&b, o.note_next);
    buf_add_u64(&b, o.send_start);
    if (!o.no_rec) {
        rec_encode(r, &b);
    }
    rc = send_frame(m, (struct frame){.type = FRAME_OPEN, .stream = stream}, b.data,
                    b.len, e);
    buf_free(&b);
    rec_free(r);
    return rc;
}

/* The GOAWAY a refused peer gets. */
static inline void
assert_goaway(struct mux *m, enum err_code code)
{
    struct iovec iov[MUX_IOV_MAX];
    struct buf out = BUF_INIT;
    struct cursor c;
    int n;

    while ((n = mux_output(m, iov, MUX_IOV_MAX, SECOND)) > 0) {
        size_t total = 0;

        for (int i = 0; i < n; i++) {
            buf_add(&out, iov[i].iov_base, iov[i].iov_len);
            total += iov[i].iov_len;
        }
        mux_written(m, total);
    }
    c = cursor_of(out.data, out.len);
    (void)cursor_bytes(&c, strlen(PREAMBLE_READY));
    while (c.left > 0) {
        uint32_t len = cursor_u32(&c);
        uint8_t type = cursor_u8(&c);

        (void)cursor_bytes(&c, 15);
        if (type == FRAME_GOAWAY) {
            struct rec *r;
            struct err why;
            struct err e;

            assert_int_equal(
                rec_parse(&r, cursor_bytes(&c, len), len, MSG_ERROR_TYPE, &e), 0);
            assert_int_equal(msg_error_parse(r, &why, NULL, &e), 0);
            assert_int_equal(why.code, code);
            assert_int_equal(c.left, 0); /* the last word */
            rec_free(r);
            buf_free(&out);
            return;
        }
        (void)cursor_bytes(&c, len);
        assert_false(c.bad);
    }
    fail_msg("no GOAWAY");
}

static const struct offer sane = {.cls = 1, .limit = 10000};

/* Open stream 1 and accept it with a channel of a 4096-byte window. */
static inline struct channel *
open_one(struct mux *m, bool gaps)
{
    struct channel_options o = {
        .cls = CHANNEL_INTERACTIVE, .window_bytes = 4096, .recv_gaps = gaps};
    struct channel *c = channel_new(&o);
    struct err e;

    assert_int_equal(send_open(m, 1, sane, &e), 0);
    assert_int_equal(mux_accept(m, 1, c, NULL, &e), 0);
    return c;
}

#endif
