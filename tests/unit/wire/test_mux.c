#include "base/bytes.h"
#include "base/text.h"
#include "runner/wire/frame.h"
#include "runner/wire/msg.h"
#include "runner/wire/preamble.h"

#include "sim.h"

#define SECOND ((int64_t)1000000000)

/* What a side was told. */
struct seen {
    struct mux *m;
    int hellos;
    int requests;
    uint64_t ids[2000];
    char verbs[2000][24];
    int events;
    size_t event_sizes[100];
    int answers;
    int errors;
    struct err why;
    char hint[MUX_HINT_MAX + 1];
    size_t answer_size;
    bool answer_at_once;
    int opens;
    int cancelled;
    uint32_t last_offer;
    int goaways;
    struct err goaway;
    bool goaway_in_order;
};

static void
on_hello(void *ctx, struct mux *m, const struct hello *peer)
{
    struct seen *s = ctx;

    (void)m;
    (void)peer;
    s->hellos++;
}

static void
on_request(void *ctx, struct mux *m, uint64_t id, const struct rec *req)
{
    struct seen *s = ctx;
    int version;
    struct err e;

    s->ids[s->requests] = id;
    assert_int_equal(msg_verb(req, s->verbs[s->requests++], &version, &e), 0);
    if (s->answer_at_once) {
        struct rec *r = msg_answer_new("x");
        const char *size = rec_get(req, "size");

        if (size != NULL) {
            size_t n = strtoul(size, NULL, 10);
            char *text = xcalloc(1, n + 1);

            memset(text, 'a', n);
            rec_add(r, "text", text);
            free(text);
        }
        mux_respond(m, id, r);
        rec_free(r);
    }
}

static void
on_event(void *ctx, struct mux *m, const struct rec *event)
{
    struct seen *s = ctx;
    size_t len = 0;

    (void)m;
    (void)rec_get_bytes(event, "text", &len);
    if (s->events < 100) {
        s->event_sizes[s->events] = len;
    }
    s->events++;
}

static void
on_open(void *ctx, struct mux *m, const struct mux_offer *offer)
{
    struct seen *s = ctx;

    (void)m;
    s->opens++;
    s->last_offer = offer->stream;
}

static void
on_cancelled(void *ctx, struct mux *m, uint32_t stream)
{
    struct seen *s = ctx;

    (void)m;
    (void)stream;
    s->cancelled++;
}

static void
on_goaway(void *ctx, struct mux *m, const struct err *why, const char *hint)
{
    struct seen *s = ctx;

    (void)m;
    (void)hint;
    s->goaways++;
    s->goaway_in_order = why == NULL;
    if (why != NULL) {
        s->goaway = *why;
    }
}

static const struct mux_events events = {
    .on_hello = on_hello,
    .on_request = on_request,
    .on_event = on_event,
    .on_open = on_open,
    .on_open_cancelled = on_cancelled,
    .on_goaway = on_goaway,
};

static void
on_answer(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct seen *s = ctx;

    if (why != NULL) {
        s->errors++;
        s->why = *why;
        (void)snprintf(s->hint, sizeof s->hint, "%s", hint);
    } else {
        s->answers++;
        s->answer_size = 0;
        (void)rec_get_bytes(resp, "text", &s->answer_size);
    }
}

static void
start(struct sim *s, struct seen *a, struct seen *b, struct mux_options oa,
      struct mux_options ob)
{
    oa.events = ob.events = &events;
    oa.ctx = a;
    ob.ctx = b;
    sim_start(s, &oa, &ob);
    a->m = s->a.m;
    b->m = s->b.m;
}

static void
start_plain(struct sim *s, struct seen *a, struct seen *b)
{
    start(s, a, b, (struct mux_options){0}, (struct mux_options){0});
    sim_run(s);
    assert_int_equal(a->hellos, 1);
    assert_int_equal(b->hellos, 1);
}

static struct rec *
sized_rec(const char *type, size_t n)
{
    struct rec *r = rec_new(type);
    char *text = xcalloc(1, n + 1);

    memset(text, 'e', n);
    rec_add(r, "text", text);
    free(text);
    return r;
}

/* ---- messages ---- */

static void
mux__asks_and_answers_before_hello_came(void **state)
{
    struct sim s = {0};
    struct seen a = {0};
    struct seen b = {.answer_at_once = true};
    struct rec *req = msg_request_new("job.list");
    struct err e;
    uint64_t id = 0;

    (void)state;
    start(&s, &a, &b, (struct mux_options){0}, (struct mux_options){0});
    assert_int_equal(mux_request(s.a.m, req, on_answer, &a, &id, &e), 0);
    assert_int_equal(id, 1);
    assert_null(mux_peer(s.a.m));
    sim_run(&s);
    assert_int_equal(a.answers, 1);
    assert_string_equal(b.verbs[0], "job.list");
    assert_non_null(mux_peer(s.a.m));
    assert_int_equal(mux_peer(s.a.m)->role, HELLO_ROLE_SERVE);
    assert_int_equal(mux_proto(s.a.m), 1);
    assert_int_equal(mux_features(s.b.m), HELLO_F_ALL);
    rec_free(req);
    sim_stop(&s);
}

static void
mux__carries_messages_of_any_size(void **state)
{
    static const size_t sizes[] = {0, 1, 65400, 65480, 65500, 65600, 300000, 16000000};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct sim s = {.piece = 50000, .seed = 7};
        struct seen a = {0};
        struct seen b = {.answer_at_once = true};
        struct rec *req = msg_request_new("give");
        struct rec *ev = sized_rec("gpurun.event.test.v1", sizes[i]);
        struct err e;

        start_plain(&s, &a, &b);
        rec_add_int(req, "size", (int64_t)sizes[i]);
        assert_int_equal(mux_request(s.a.m, req, on_answer, &a, NULL, &e), 0);
        mux_event(s.a.m, ev);
        mux_event(s.b.m, ev);
        sim_run(&s);
        assert_int_equal(a.answers, 1);
        assert_int_equal(a.answer_size, sizes[i]);
        assert_int_equal(a.events, 1);
        assert_int_equal(a.event_sizes[0], sizes[i]);
        assert_int_equal(b.event_sizes[0], sizes[i]);
        rec_free(req);
        rec_free(ev);
        sim_stop(&s);
    }
}

static void
mux__keeps_short_messages_in_order_ahead_of_long_ones(void **state)
{
    struct sim s = {0};
    struct seen a = {0};
    struct seen b = {0};
    struct rec *l = sized_rec("gpurun.event.test.v1", 1000000);

    (void)state;
    start_plain(&s, &a, &b);
    mux_event(s.a.m, l);
    mux_event(s.a.m, l);
    for (size_t i = 1; i <= 20; i++) {
        struct rec *r = sized_rec("gpurun.event.test.v1", i);

        mux_event(s.a.m, r);
        rec_free(r);
    }
    sim_run(&s);
    assert_int_equal(b.events, 22);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(b.event_sizes[i], i + 1);
    }
    assert_int_equal(b.event_sizes[20], 1000000);
    assert_int_equal(b.event_sizes[21], 1000000);
    rec_free(l);
    sim_stop(&s);
}

static void
mux_request__is_limited_and_can_be_forgotten(void **state)
{
    struct sim s = {0};
    struct seen a = {0};
    struct seen b = {0};
    struct rec *req = msg_request_new("x");
    struct rec *answer = sized_rec("gpurun.ok.x.v1", 200000);
    struct err why;
    struct err e = {0};
    uint64_t id;

    (void)state;
    start_plain(&s, &a, &b);
    for (int i = 0; i < MUX_REQUESTS_MAX; i++) {
        assert_int_equal(mux_request(s.a.m, req, on_answer, &a, &id, &e), 0);
        assert_int_equal(id, i + 1);
    }
    assert_int_equal(mux_request(s.a.m, req, on_answer, &a, &id, &e), -1);
    assert_int_equal(e.code, ERR_BUSY);
    sim_run(&s);
    assert_int_equal(b.requests, MUX_REQUESTS_MAX);
    assert_int_equal(s.b.rc, 0);
    mux_request_forget(s.a.m, 3);
    mux_request_forget(s.a.m, 4);
    mux_request_forget(s.a.m, 4000);
    mux_respond(s.b.m, 3, answer); /* a long one nobody waits for */
    mux_respond(s.b.m, 3, answer); /* twice: dropped here */
    err_set(&why, ERR_DENIED, "no");
    mux_respond_error(s.b.m, 4, &why, NULL);
    mux_respond_error(s.b.m, 5, &why, "ask");
    mux_respond(s.b.m, 6, answer);
    sim_run(&s);
    assert_int_equal(s.a.rc, 0);
    assert_int_equal(a.errors, 1);
    assert_int_equal(a.why.code, ERR_DENIED);
    assert_string_equal(a.hint, "ask");
    assert_int_equal(a.answers, 1);
    assert_int_equal(mux_request(s.a.m, req, on_answer, &a, &id, &e), 0);
    /* The rest fails with the connection. */
    sim_stop(&s);
    assert_int_equal(a.errors, 1 + MUX_REQUESTS_MAX - 4 + 1);
    assert_int_equal(a.why.code, ERR_LINK);
    rec_free(req);
    rec_free(answer);
}

static void
mux__ends_a_connection_whose_peer_does_not_read(void **state)
{
    struct sim s = {0};
    struct seen a = {0};
    struct seen b = {0};
    struct rec *ev = sized_rec("gpurun.event.test.v1", 1000000);
    struct err why = {0};
    struct err e;

    (void)state;
    start_plain(&s, &a, &b);
    for (int i = 0; i < 67; i++) {
        mux_event(s.a.m, ev);
        assert_false(mux_is_over(s.a.m, NULL));
    }
    mux_event(s.a.m, ev);
    assert_true(mux_is_over(s.a.m, &why));
    assert_int_equal(why.code, ERR_BUSY);
    assert_int_equal(mux_tick(s.a.m, s.now_ns, &e), -1);
    assert_int_equal(e.code, ERR_BUSY);
    rec_free(ev);
    sim_stop(&s);
}

/* ---- saying goodbye ---- */

static void
mux_goaway__comes_after_messages_and_ends_it(void **state)
{
    struct sim s = {.piece = 1000};
    struct seen a = {0};
    struct seen b = {0};
    struct rec *l = sized_rec("gpurun.event.test.v1", 300000);
    struct rec *req = msg_request_new("x");
    struct err e = {0};

    (void)state;
    start_plain(&s, &a, &b);
    mux_event(s.a.m, l);
    mux_goaway(s.a.m, NULL, NULL);
    mux_event(s.a.m, l); /* too late */
    assert_int_equal(mux_request(s.a.m, req, on_answer, &a, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LINK);
    sim_run(&s);
    assert_int_equal(b.events, 1);
    assert_int_equal(b.goaways, 1);
    assert_true(b.goaway_in_order);
    assert_false(mux_has_output(s.a.m));
    assert_true(mux_is_over(s.b.m, NULL));
    assert_int_equal(mux_ended(s.b.m, &e), 0);
    assert_int_equal(mux_feed(s.b.m, "garbage", 7, s.now_ns, &e), 0);
    rec_free(l);
    rec_free(req);
    sim_stop(&s);
}

static void
mux_ended__without_goodbye_is_a_lost_link(void **state)
{
    struct sim s = {0};
    struct seen a = {0};
    struct seen b = {0};
    struct err e = {0};

    (void)state;
    start_plain(&s, &a, &b);
    assert_int_equal(mux_feed(s.a.m, "\0\0", 2, s.now_ns, &e), 0);
    assert_int_equal(mux_ended(s.a.m, &e), -1);
    assert_int_equal(e.code, ERR_LINK);
    assert_string_equal(e.msg, "the connection was cut in the middle of a frame");
    assert_int_equal(mux_ended(s.b.m, &e), -1);
    assert_string_equal(e.msg, "the connection was cut");
    sim_stop(&s);
}

/* ---- versions ---- */

static void
mux__refuses_older_and_newer_on_both_sides(void **state)
{
    (void)state;
    for (int newer = 0; newer < 2; newer++) {
        struct sim s = {0};
        struct seen a = {0};
        struct seen b = {0};
        struct hello ha;
        struct hello hb;
        struct mux_options oa = {.hello = &ha};
        struct mux_options ob = {.hello = &hb};

        hello_init(&ha, HELLO_ROLE_CLIENT, "1.0");
        hello_init(&hb, HELLO_ROLE_SERVE, "2.0");
        ha.proto_min = ha.proto_max = 2;
        hb.proto_min = hb.proto_max = newer == 1 ? 3 : 1;
        start(&s, &a, &b, oa, ob);
        sim_run(&s);
        assert_int_equal(s.a.rc, -1);
        assert_int_equal(s.b.rc, -1);
        assert_int_equal(s.a.e.code, ERR_VERSION);
        assert_int_equal(s.b.e.code, ERR_VERSION);
        assert_non_null(strstr(s.a.e.msg, newer == 1 ? "update gpurun on this machine"
                                                     : "install the newer agent"));
        assert_int_equal(a.hellos, 0);
        assert_int_equal(b.hellos, 0);
        sim_stop(&s);
    }
}

/* ---- hostile peers ---- */

/* A mux on the acceptor's side that has had a sane beginning; the peer is us. */
static struct mux *
victim(struct seen *v, int streams_max, int requests_max)
{
    struct hello mine;
    struct hello theirs;
    struct mux_options o = {.events = &events,
                            .ctx = v,
                            .hello = &mine,
                            .streams_max = streams_max,
                            .requests_max = requests_max,
                            .message_max = 100000};
    struct mux *m;
    struct rec *r;
    struct buf b = BUF_INIT;
    struct buf body = BUF_INIT;
    struct err e;

    hello_init(&mine, HELLO_ROLE_SERVE, "1.0");
    hello_init(&theirs, HELLO_ROLE_CLIENT, "1.0");
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

/* Feed one frame. */
static int
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

static int
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

static int
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
static void
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
static struct channel *
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

static void
hostile__first_words_are_refused(void **state)
{
    static const struct {
        struct frame f;
    } cases[] = {
        {{.type = FRAME_PING}},
        {{.type = FRAME_GOAWAY}},
        {{.type = FRAME_EOF, .stream = 1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct seen v = {0};
        struct hello h;
        struct mux_options o = {.events = &events, .ctx = &v, .hello = &h};
        struct mux *m;
        struct err e = {0};

        hello_init(&h, HELLO_ROLE_SERVE, "1.0");
        m = mux_new(&o, SECOND);
        assert_int_equal(
            mux_feed(m, PREAMBLE_CLIENT, strlen(PREAMBLE_CLIENT), SECOND, &e), 0);
        assert_int_equal(send_frame(m, cases[i].f, NULL, 0, &e), -1);
        assert_int_equal(e.code, ERR_CORRUPT);
        assert_goaway(m, ERR_CORRUPT);
        mux_free(m);
    }
}

static void
hostile__hellos_are_refused(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct err e = {0};

    (void)state;
    assert_int_equal(send_rec(m, (struct frame){.type = FRAME_HELLO}, HELLO_TYPE, &e),
                     -1);
    assert_int_equal(e.code, ERR_CORRUPT);
    assert_string_equal(e.msg, "a second HELLO");
    assert_goaway(m, ERR_CORRUPT);
    /* Over is over. */
    assert_int_equal(mux_feed(m, "x", 1, SECOND, &e), -1);
    assert_string_equal(e.msg, "a second HELLO");
    mux_free(m);
}

static void
hostile__messages_are_refused(void **state)
{
    static uint8_t big[100001];
    struct seen v = {0};
    struct mux *m;
    struct err e;

    (void)state;
#define REFUSED(call, want)                                                              \
    do {                                                                                 \
        m = victim(&v, 0, 2);                                                            \
        e.code = ERR_NONE;                                                               \
        assert_int_equal((call), -1);                                                    \
        assert_int_equal(e.code, (want));                                                \
        assert_goaway(m, (want));                                                        \
        mux_free(m);                                                                     \
    } while (0)
    /* not a record; too long in one frame; too long in pieces */
    REFUSED(send_frame(m, (struct frame){.type = FRAME_REQ, .seq = 1}, "hello", 5, &e),
            ERR_CORRUPT);
    REFUSED(send_frame(m, (struct frame){.type = FRAME_EVENT, .seq = 1}, big, 100001, &e),
            ERR_RANGE);
    REFUSED(
        send_frame(m, (struct frame){.type = FRAME_REQ, .seq = 1, .flags = FRAME_F_MORE},
                   big, 60000, &e) == -1
            ? 0
            : send_frame(
                  m, (struct frame){.type = FRAME_REQ, .seq = 1, .flags = FRAME_F_MORE},
                  big, 60000, &e),
        ERR_RANGE);
    /* answers to what was never asked */
    REFUSED(
        send_rec(m, (struct frame){.type = FRAME_RESP, .seq = 1}, "gpurun.ok.x.v1", &e),
        ERR_CORRUPT);
    REFUSED(
        send_rec(m, (struct frame){.type = FRAME_ERR, .seq = 1}, "gpurun.error.v1", &e),
        ERR_CORRUPT);
    /* numbers that do not grow */
    REFUSED(send_rec(m, (struct frame){.type = FRAME_REQ, .seq = 7}, "gpurun.req.x.v1",
                     &e) == -1
                ? 0
                : send_rec(m, (struct frame){.type = FRAME_REQ, .seq = 7},
                           "gpurun.req.x.v1", &e),
            ERR_CORRUPT);
    REFUSED(send_rec(m, (struct frame){.type = FRAME_EVENT, .seq = 7},
                     "gpurun.event.x.v1", &e) == -1
                ? 0
                : send_rec(m, (struct frame){.type = FRAME_EVENT, .seq = 6},
                           "gpurun.event.x.v1", &e),
            ERR_CORRUPT);
#undef REFUSED
}

static void
hostile__too_many_requests_and_pieces_are_refused(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 3);
    struct err e = {0};
    int rc = 0;

    (void)state;
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(send_rec(m, (struct frame){.type = FRAME_REQ, .seq = i},
                                  "gpurun.req.x.v1", &e),
                         0);
    }
    assert_int_equal(
        send_rec(m, (struct frame){.type = FRAME_REQ, .seq = 4}, "gpurun.req.x.v1", &e),
        -1);
    assert_int_equal(e.code, ERR_BUSY);
    mux_free(m);

    m = victim(&v, 0, 0);
    for (uint64_t i = 1; i <= 64 && rc == 0; i++) {
        rc = send_frame(
            m, (struct frame){.type = FRAME_EVENT, .seq = i, .flags = FRAME_F_MORE}, "x",
            1, &e);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(
        send_frame(m,
                   (struct frame){.type = FRAME_EVENT, .seq = 65, .flags = FRAME_F_MORE},
                   "x", 1, &e),
        -1);
    assert_int_equal(e.code, ERR_BUSY);
    mux_free(m);
}

static void
hostile__offers_are_refused(void **state)
{
    static const struct {
        uint32_t stream;
        struct offer o;
        bool ok;
    } cases[] = {
        {1, {.cls = 1, .limit = 1}, true},
        {3, {.cls = 2, .limit = 1}, true}, /* numbers may be skipped */
        {2, {.cls = 1}, false},            /* ours to give */
        {1, {.cls = 0}, false},
        {1, {.cls = 3}, false},
        {1, {.cls = 1, .flags = 4}, false},
        {1, {.cls = 1, .zero = 1}, false},
        {1, {.cls = 1, .recv_next = CHANNEL_ANY, .limit = CHANNEL_WINDOW_MAX}, true},
        {1, {.cls = 1, .recv_next = CHANNEL_ANY, .limit = CHANNEL_WINDOW_MAX + 1}, false},
        {1, {.cls = 1, .recv_next = CHANNEL_ANY, .flags = 2}, false},
        {1, {.cls = 1, .recv_next = CHANNEL_OFFSET_MAX}, true},
        {1, {.cls = 1, .recv_next = CHANNEL_OFFSET_MAX + 1}, false},
        {1, {.cls = 1, .limit = CHANNEL_OFFSET_MAX + 1}, false},
        {1, {.cls = 1, .note_next = CHANNEL_OFFSET_MAX + 1}, false},
        {1, {.cls = 1, .send_start = CHANNEL_OFFSET_MAX + 1}, false},
        {1, {.cls = 1, .send_start = CHANNEL_ANY}, true},
        {1, {.cls = 1, .no_rec = true}, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct seen v = {0};
        struct mux *m = victim(&v, 0, 0);
        struct err e = {0};
        int rc = send_open(m, cases[i].stream, cases[i].o, &e);

        if (rc != (cases[i].ok ? 0 : -1)) {
            fail_msg("case %zu: %s", i, e.msg);
        }
        assert_int_equal(v.opens, cases[i].ok ? 1 : 0);
        if (!cases[i].ok) {
            assert_int_equal(e.code, ERR_CORRUPT);
            assert_goaway(m, ERR_CORRUPT);
        }
        mux_free(m);
    }
}

static void
hostile__too_many_streams_are_reset_not_served(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 2, 0);
    struct err e = {0};

    (void)state;
    assert_int_equal(send_open(m, 1, sane, &e), 0);
    assert_int_equal(send_open(m, 3, sane, &e), 0);
    assert_int_equal(v.opens, 2);
    assert_int_equal(send_open(m, 5, sane, &e), 0);
    assert_int_equal(v.opens, 2);
    assert_int_equal(mux_n_streams(m), 2);
    /* One number twice is no accident. */
    assert_int_equal(send_open(m, 5, sane, &e), -1);
    assert_int_equal(e.code, ERR_CORRUPT);
    mux_free(m);
}

static void
hostile__offer_can_be_taken_back(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct channel *c;
    struct channel_options o = {.cls = CHANNEL_BULK};
    struct err why;
    struct rec *r;
    struct buf b = BUF_INIT;
    struct err e = {0};

    (void)state;
    err_set(&why, ERR_INVALID, "changed my mind");
    r = msg_error_new(&why, NULL);
    rec_encode(r, &b);
    assert_int_equal(send_open(m, 1, sane, &e), 0);
    assert_int_equal(send_frame(m, (struct frame){.type = FRAME_RESET, .stream = 1},
                                b.data, b.len, &e),
                     0);
    assert_int_equal(v.cancelled, 1);
    c = channel_new(&o);
    assert_int_equal(mux_accept(m, 1, c, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LINK);
    mux_refuse(m, 1, &why, NULL); /* harmless */
    assert_int_equal(mux_n_streams(m), 0);
    channel_free(c);
    buf_free(&b);
    rec_free(r);
    mux_free(m);
}

static void
hostile__stream_frames_are_refused(void **state)
{
    static const uint8_t zeros[5000];
    static const struct {
        struct frame f;
        size_t len;
        uint64_t a; /* first number of the payload */
        uint64_t b;
        bool gaps;
        enum err_code code;
    } cases[] = {
        /* never opened */
        {{.type = FRAME_DATA, .stream = 3}, 1, 0, 0, false, ERR_CORRUPT},
        {{.type = FRAME_ACK, .stream = 2}, 16, 0, 0, false, ERR_CORRUPT},
        {{.type = FRAME_ACCEPT, .stream = 2}, 36, 0, 0, false, ERR_CORRUPT},
        /* on an open one */
        {{.type = FRAME_ACCEPT, .stream = 1}, 36, 0, 0, false, ERR_CORRUPT},
        {{.type = FRAME_RESET, .stream = 1}, 5, 0, 0, false, ERR_CORRUPT},
        {{.type = FRAME_DATA, .stream = 1}, 4096, 0, 0, false, ERR_NONE},
        {{.type = FRAME_DATA, .stream = 1}, 4097, 0, 0, false, ERR_CORRUPT}, /* credit */
        {{.type = FRAME_DATA, .stream = 1, .seq = 1}, 1, 0, 0, false, ERR_CORRUPT},
        {{.type = FRAME_DATA, .stream = 1, .seq = INT64_MAX},
         1,
         0,
         0,
         false,
         ERR_CORRUPT},
        {{.type = FRAME_EOF, .stream = 1}, 0, 0, 0, false, ERR_NONE},
        {{.type = FRAME_EOF, .stream = 1, .seq = 1}, 0, 0, 0, false, ERR_CORRUPT},
        {{.type = FRAME_GAP, .stream = 1}, 8, 5, 0, false, ERR_CORRUPT}, /* not wanted */
        {{.type = FRAME_GAP, .stream = 1}, 8, 5, 0, true, ERR_NONE},
        {{.type = FRAME_GAP, .stream = 1}, 8, 0, 0, true, ERR_CORRUPT},
        {{.type = FRAME_GAP, .stream = 1, .seq = 1}, 8, 5, 0, true, ERR_CORRUPT},
        {{.type = FRAME_GAP, .stream = 1}, 8, UINT64_MAX, 0, true, ERR_CORRUPT},
        {{.type = FRAME_GAP, .stream = 1}, 8, INT64_MAX, 0, true, ERR_NONE},
        {{.type = FRAME_ACK, .stream = 1}, 16, 99, 0, false, ERR_NONE},
        {{.type = FRAME_ACK, .stream = 1, .seq = 1}, 16, 99, 0, false, ERR_CORRUPT},
        {{.type = FRAME_ACK, .stream = 1}, 16, UINT64_MAX, 0, false, ERR_CORRUPT},
        {{.type = FRAME_ACK, .stream = 1}, 16, 99, 1, false, ERR_CORRUPT},
        {{.type = FRAME_ACK, .stream = 1, .flags = FRAME_F_ENDED},
         16,
         99,
         0,
         false,
         ERR_CORRUPT},
        {{.type = FRAME_NOTE, .stream = 1, .seq = 1}, 9, 1, 0, false, ERR_CORRUPT},
        {{.type = FRAME_NOTE, .stream = 1}, 9, 0, 0, false, ERR_CORRUPT}, /* kind 0 */
        {{.type = FRAME_NOTE, .stream = 1}, 9, 1, 0, false, ERR_NONE},
        {{.type = FRAME_NOTE, .stream = 1}, 9, UINT64_MAX, 255, false, ERR_CORRUPT}, /* at
                                                                                      */
        {{.type = FRAME_NOTE, .stream = 1, .flags = FRAME_F_ORDERED},
         9,
         0x101,
         0,
         false,
         ERR_CORRUPT}, /* at 1, but nothing was sent */
        {{.type = FRAME_PONG, .seq = 1}, 0, 0, 0, false, ERR_CORRUPT},
        {{.type = FRAME_PING, .seq = 1}, 0, 0, 0, false, ERR_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct seen v = {0};
        struct mux *m = victim(&v, 0, 0);
        struct channel *c = open_one(m, cases[i].gaps);
        uint8_t payload[5000];
        struct err e = {0};
        int rc;

        memcpy(payload, zeros, sizeof payload);
        put_u64(payload, cases[i].a);
        put_u64(payload + 8, cases[i].b);
        rc = send_frame(m, cases[i].f, payload, cases[i].len, &e);
        if (rc != (cases[i].code == ERR_NONE ? 0 : -1) ||
            (rc == -1 && e.code != cases[i].code)) {
            fail_msg("case %zu: %d, %s", i, rc, e.msg);
        }
        if (rc == -1) {
            assert_goaway(m, cases[i].code);
        }
        channel_free(c);
        mux_free(m);
    }
}

static void
hostile__bytes_after_the_end_and_doubled_bytes(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct channel *c = open_one(m, false);
    size_t n;
    struct err e = {0};

    (void)state;
    assert_int_equal(
        send_frame(m, (struct frame){.type = FRAME_DATA, .stream = 1}, "abc", 3, &e), 0);
    /* What was received before is dropped, also in part. */
    assert_int_equal(
        send_frame(m, (struct frame){.type = FRAME_DATA, .stream = 1}, "abc", 3, &e), 0);
    assert_int_equal(send_frame(m,
                                (struct frame){.type = FRAME_DATA, .stream = 1, .seq = 1},
                                "bcde", 4, &e),
                     0);
    assert_memory_equal(channel_rx(c, &n), "abcde", 5);
    assert_int_equal(n, 5);
    assert_int_equal(send_frame(m,
                                (struct frame){.type = FRAME_EOF, .stream = 1, .seq = 5},
                                NULL, 0, &e),
                     0);
    assert_int_equal(send_frame(m,
                                (struct frame){.type = FRAME_EOF, .stream = 1, .seq = 5},
                                NULL, 0, &e),
                     0);
    assert_int_equal(send_frame(m,
                                (struct frame){.type = FRAME_DATA, .stream = 1, .seq = 4},
                                "e", 1, &e),
                     0);
    assert_int_equal(send_frame(m,
                                (struct frame){.type = FRAME_DATA, .stream = 1, .seq = 5},
                                "f", 1, &e),
                     -1);
    assert_int_equal(e.code, ERR_CORRUPT);
    channel_free(c);
    mux_free(m);
}

static void
hostile__frames_of_an_unanswered_offer_are_refused(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct err e = {0};

    (void)state;
    assert_int_equal(send_open(m, 1, sane, &e), 0);
    assert_int_equal(
        send_frame(m, (struct frame){.type = FRAME_DATA, .stream = 1}, "x", 1, &e), -1);
    assert_int_equal(e.code, ERR_CORRUPT);
    mux_free(m);
}

static void
hostile__notes_that_wait_are_limited(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct channel *c = open_one(m, false);
    uint8_t note[9] = {CHANNEL_NOTE_USER, 2};
    struct err e = {0};

    (void)state;
    assert_int_equal(
        send_frame(m, (struct frame){.type = FRAME_DATA, .stream = 1}, "ab", 2, &e), 0);
    for (uint64_t i = 0; i < CHANNEL_NOTES_MAX; i++) {
        assert_int_equal(send_frame(m,
                                    (struct frame){.type = FRAME_NOTE,
                                                   .stream = 1,
                                                   .seq = i,
                                                   .flags = FRAME_F_ORDERED},
                                    note, 9, &e),
                         0);
    }
    assert_int_equal(send_frame(m,
                                (struct frame){.type = FRAME_NOTE,
                                               .stream = 1,
                                               .seq = CHANNEL_NOTES_MAX,
                                               .flags = FRAME_F_ORDERED},
                                note, 9, &e),
                     -1);
    assert_int_equal(e.code, ERR_CORRUPT);
    channel_free(c);
    mux_free(m);
}

/* ---- priorities ---- */

struct flow {
    struct channel *c;
    uint64_t got;
    struct flow *all; /* to see who was served when */
};

static size_t
flow_on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct flow *f = ctx;

    (void)c;
    (void)data;
    f->got += n;
    return n;
}

static const struct channel_events flow_events = {.on_data = flow_on_data};

struct flows {
    struct flow in[4];
    int n;
};

static void
flows_on_open(void *ctx, struct mux *m, const struct mux_offer *offer)
{
    struct flows *fs = ctx;
    struct flow *f = &fs->in[fs->n++];
    struct channel_options o = {.cls = offer->cls,
                                .token = offer->token,
                                .window_bytes = (size_t)64 << 20,
                                .events = &flow_events,
                                .ctx = f};
    struct err e;

    f->c = channel_new(&o);
    assert_int_equal(mux_accept(m, offer->stream, f->c, NULL, &e), 0);
}

static const struct mux_events flows_events = {.on_open = flows_on_open};

struct load {
    struct sim s;
    struct seen a;
    struct flows b;
    struct channel *out[4];
};

/* Channels of these classes with n bytes to send each, open and about to send. */
static void
make_load(struct load *l, const enum channel_class *cls, int n, size_t bytes)
{
    struct mux_options oa = {.events = &events, .ctx = &l->a, .ping_ns = -1};
    struct mux_options ob = {.events = &flows_events, .ctx = &l->b, .ping_ns = -1};
    struct rec *what = rec_new("gpurun.open.test.v1");
    uint8_t *data = xcalloc(1, bytes);
    struct err e;

    sim_start(&l->s, &oa, &ob);
    for (int i = 0; i < n; i++) {
        struct channel_options o = {.cls = cls[i], .replay_max_bytes = bytes};

        l->out[i] = channel_new(&o);
        assert_int_equal(mux_open(l->s.a.m, l->out[i], what, &e), 0);
    }
    sim_run(&l->s);
    for (int i = 0; i < n; i++) {
        assert_int_equal(channel_send(l->out[i], data, bytes), bytes);
    }
    free(data);
    rec_free(what);
}

static void
free_load(struct load *l)
{
    for (int i = 0; i < 4; i++) {
        channel_free(l->out[i]);
        channel_free(l->b.in[i].c);
    }
    sim_stop(&l->s);
}

static void
control__waits_for_at_most_one_quantum_of_anything(void **state)
{
    static const enum channel_class cls[] = {CHANNEL_BULK, CHANNEL_INTERACTIVE,
                                             CHANNEL_BULK};
    struct load l = {.s = {.piece = 1000}};

    (void)state;
    make_load(&l, cls, 3, 10000000);
    for (int round = 0; round < 50; round++) {
        uint64_t bytes = 0;

        /* Somewhere in the middle of something. */
        for (int i = 0; i < 1 + round * 7 % 130; i++) {
            (void)sim_move(&l.s, &l.s.a, &l.s.b);
        }
        {
            struct rec *req = msg_request_new("now");
            struct err e;

            assert_int_equal(mux_request(l.s.a.m, req, on_answer, &l.a, NULL, &e), 0);
            rec_free(req);
        }
        while (mux_has_output(l.s.a.m)) {
            struct iovec iov[MUX_IOV_MAX];
            int n = mux_output(l.s.a.m, iov, MUX_IOV_MAX, l.s.now_ns);
            bool found = false;

            /* Is the request among what lies ready? */
            for (int i = 0; i < n && !found; i++) {
                const uint8_t *at = iov[i].iov_base;

                if (iov[i].iov_len >= 5 && at[4] == FRAME_REQ &&
                    iov[i].iov_len == FRAME_HEADER_BYTES) {
                    found = true;
                } else {
                    bytes += iov[i].iov_len;
                }
            }
            if (found) {
                break;
            }
            bytes = 0;
            (void)sim_move(&l.s, &l.s.a, &l.s.b);
        }
        assert_true(bytes <= FRAME_QUANTUM);
    }
    free_load(&l);
}

static void
interactive__goes_before_bulk_which_still_gets_its_share(void **state)
{
    static const enum channel_class cls[] = {CHANNEL_BULK, CHANNEL_INTERACTIVE};
    struct load l = {.s = {.piece = 0}};
    uint64_t bulk;

    (void)state;
    make_load(&l, cls, 2, 20000000);
    while (l.b.in[1].got < 15000000) {
        assert_true(sim_move(&l.s, &l.s.a, &l.s.b) > 0);
    }
    bulk = l.b.in[0].got;
    assert_in_range(bulk, 15000000 / 20, 15000000 / 15);
    sim_run(&l.s);
    assert_int_equal(l.b.in[0].got, 20000000);
    assert_int_equal(l.b.in[1].got, 20000000);
    free_load(&l);
}

static void
streams__of_a_class_take_turns(void **state)
{
    static const enum channel_class cls[] = {CHANNEL_BULK, CHANNEL_BULK, CHANNEL_BULK,
                                             CHANNEL_BULK};
    struct load l = {.s = {.piece = 0}};

    (void)state;
    make_load(&l, cls, 4, 10000000);
    for (int round = 0; round < 300; round++) {
        uint64_t least = UINT64_MAX;
        uint64_t most = 0;

        (void)sim_move(&l.s, &l.s.a, &l.s.b);
        for (int i = 0; i < 4; i++) {
            least = l.b.in[i].got < least ? l.b.in[i].got : least;
            most = l.b.in[i].got > most ? l.b.in[i].got : most;
        }
        assert_true(most - least <= 2 * FRAME_QUANTUM);
    }
    free_load(&l);
}

/* ---- time ---- */

static void
ping__goes_both_ways_and_measures(void **state)
{
    struct sim s = {0};
    struct seen a = {0};
    struct seen b = {0};

    (void)state;
    start_plain(&s, &a, &b);
    assert_int_equal(mux_rtt_ns(s.a.m), -1);
    assert_true(mux_next_tick_ns(s.a.m) <= s.now_ns + MUX_PING_NS);
    for (int i = 0; i < 100; i++) {
        sim_pass(&s, MUX_PING_NS);
        assert_int_equal(s.a.rc, 0);
        assert_int_equal(s.b.rc, 0);
    }
    assert_int_equal(mux_rtt_ns(s.a.m), 0); /* no time passes in between here */
    assert_int_equal(mux_rtt_ns(s.b.m), 0);
    sim_stop(&s);
}

static void
silence__of_30_seconds_is_the_end(void **state)
{
    struct sim s = {0};
    struct seen a = {0};
    struct seen b = {0};
    int seconds = 0;

    (void)state;
    start_plain(&s, &a, &b);
    s.a.may_send = 0;
    s.b.may_send = 0;
    while (s.a.rc == 0) {
        sim_pass(&s, SECOND);
        seconds++;
        assert_true(seconds <= 30);
    }
    assert_int_equal(seconds, 30);
    assert_int_equal(s.a.e.code, ERR_LINK);
    assert_string_equal(s.a.e.msg, "no sign of life from the peer for 30 s");
    sim_stop(&s);
}

static void
sleep__of_our_own_is_no_silence_of_the_peer(void **state)
{
    struct sim s = {0};
    struct seen a = {0};
    struct seen b = {0};
    int seconds = 0;

    (void)state;
    start_plain(&s, &a, &b);
    sim_pass(&s, 3600 * SECOND); /* the laptop was closed */
    assert_int_equal(s.a.rc, 0);
    assert_int_equal(s.b.rc, 0);
    sim_pass(&s, SECOND);
    assert_int_equal(s.a.rc, 0);
    /* And when the peer is gone for good, that shows within ten seconds. */
    s.a.may_send = 0;
    s.b.may_send = 0;
    s.now_ns += 3600 * SECOND;
    assert_int_equal(mux_tick(s.a.m, s.now_ns, &s.a.e), 0);
    while (s.a.rc == 0) {
        s.now_ns += SECOND;
        s.a.rc = mux_tick(s.a.m, s.now_ns, &s.a.e);
        seconds++;
    }
    assert_int_equal(seconds, 10);
    sim_stop(&s);
}

static void
hello__must_come_within_a_minute(void **state)
{
    struct sim s = {0};
    struct seen a = {0};
    struct seen b = {0};
    struct mux_options oa = {.noisy = true, .dead_ns = 600 * SECOND};

    (void)state;
    start(&s, &a, &b, oa, (struct mux_options){0});
    s.b.may_send = 0;
    assert_int_equal(mux_feed(s.a.m, "Password: ", 10, s.now_ns, &s.a.e), 0);
    for (int i = 1; i < 60; i++) {
        s.now_ns += SECOND;
        assert_int_equal(mux_tick(s.a.m, s.now_ns, &s.a.e), 0);
    }
    s.now_ns += SECOND;
    assert_int_equal(mux_tick(s.a.m, s.now_ns, &s.a.e), -1);
    assert_int_equal(s.a.e.code, ERR_LINK);
    assert_non_null(strstr(s.a.e.msg, "'Password: '"));
    sim_stop(&s);
}

static void
acks__come_within_50_ms_when_nothing_forces_them(void **state)
{
    static const enum channel_class cls[] = {CHANNEL_INTERACTIVE};
    struct load l = {0};

    (void)state;
    make_load(&l, cls, 1, 100);
    sim_run(&l.s);
    assert_int_equal(l.b.in[0].got, 100);
    assert_int_equal(channel_send_acked(l.out[0]), 0);
    assert_int_equal(mux_next_tick_ns(l.s.b.m), l.s.now_ns + MUX_ACK_DELAY_NS);
    sim_pass(&l.s, MUX_ACK_DELAY_NS - 1);
    assert_int_equal(channel_send_acked(l.out[0]), 0);
    sim_pass(&l.s, 1);
    assert_int_equal(channel_send_acked(l.out[0]), 100);
    assert_int_equal(mux_next_tick_ns(l.s.b.m),
                     INT64_MAX); /* and then nothing wakes us */
    free_load(&l);
}

/* ---- pacing over a slow line ---- */

/*
 * A line with a buffer that takes all it is given at once and delivers bytes at a rate,
 * after a delay: what TCP and routers do to us.
 */
#define LINE_EVENTS 100000

struct line {
    int64_t bytes_per_s;
    int64_t delay_ns;
    struct buf bytes;      /* under way */
    size_t taken;          /* of bytes, delivered */
    int64_t busy_until_ns; /* when the last byte given leaves the line */
    struct {
        size_t end;
        int64_t at_ns;
    } * arrivals;
    size_t n_arrivals;
    size_t next_arrival;
};

static void
line_put(struct line *l, const void *data, size_t n, int64_t now_ns)
{
    if (l->busy_until_ns < now_ns) {
        l->busy_until_ns = now_ns;
    }
    l->busy_until_ns += (int64_t)n * SECOND / l->bytes_per_s;
    buf_add(&l->bytes, data, n);
    assert_true(l->n_arrivals < LINE_EVENTS);
    l->arrivals[l->n_arrivals].end = l->bytes.len;
    l->arrivals[l->n_arrivals++].at_ns = l->busy_until_ns + l->delay_ns;
}

static void
line_run(struct line *l, struct sim_side *from, struct sim_side *to, int64_t now_ns)
{
    struct iovec iov[MUX_IOV_MAX];
    int n;

    while ((n = mux_output(from->m, iov, MUX_IOV_MAX, now_ns)) > 0) {
        size_t total = 0;

        for (int i = 0; i < n; i++) {
            line_put(l, iov[i].iov_base, iov[i].iov_len, now_ns);
            total += iov[i].iov_len;
        }
        mux_written(from->m, total);
    }
    while (l->next_arrival < l->n_arrivals &&
           l->arrivals[l->next_arrival].at_ns <= now_ns) {
        size_t end = l->arrivals[l->next_arrival++].end;

        to->rc =
            mux_feed(to->m, l->bytes.data + l->taken, end - l->taken, now_ns, &to->e);
        assert_int_equal(to->rc, 0);
        l->taken = end;
    }
}

static void
pacing__keeps_a_slow_line_short_and_full(void **state)
{
    static const struct {
        int64_t bytes_per_s;
        int64_t delay_ns; /* one way */
    } lines[] = {
        {2500000, 5000000},    /* 20 Mbit/s, 10 ms */
        {2500000, 50000000},   /* 100 ms */
        {125000000, 20000000}, /* 1 Gbit/s, 40 ms */
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct load l = {0};
        struct mux_options oa = {.events = &events, .ctx = &l.a};
        struct mux_options ob = {.events = &flows_events, .ctx = &l.b};
        struct line there = {.bytes_per_s = lines[i].bytes_per_s,
                             .delay_ns = lines[i].delay_ns};
        struct line back = there;
        struct channel_options o = {.cls = CHANNEL_BULK, .window_bytes = 64 << 20};
        struct rec *what = rec_new("gpurun.open.test.v1");
        static uint8_t block[1 << 20];
        int64_t step = 1000000;
        int64_t run_ns = 6 * SECOND;
        int64_t worst_ns = 0;
        uint64_t half = 0;
        int64_t start_ns;
        struct err e;

        there.arrivals = xcalloc(LINE_EVENTS, sizeof *there.arrivals);
        back.arrivals = xcalloc(LINE_EVENTS, sizeof *back.arrivals);
        sim_start(&l.s, &oa, &ob);
        l.out[0] = channel_new(&o);
        assert_int_equal(mux_open(l.s.a.m, l.out[0], what, &e), 0);
        start_ns = l.s.now_ns;
        while (l.s.now_ns - start_ns < run_ns) {
            int64_t queue_ns;

            (void)channel_send(l.out[0], block, sizeof block);
            line_run(&there, &l.s.a, &l.s.b, l.s.now_ns);
            line_run(&back, &l.s.b, &l.s.a, l.s.now_ns);
            queue_ns = there.busy_until_ns - l.s.now_ns;
            if (l.s.now_ns - start_ns > run_ns / 2) {
                half = half == 0 ? l.b.in[0].got : half;
                worst_ns = queue_ns > worst_ns ? queue_ns : worst_ns;
            }
            l.s.now_ns += step;
            assert_int_equal(mux_tick(l.s.a.m, l.s.now_ns, &e), 0);
            assert_int_equal(mux_tick(l.s.b.m, l.s.now_ns, &e), 0);
        }
        /* What is urgent now would wait 150 ms at the very most, and the line is used. */
        assert_true(worst_ns < 150000000);
        assert_true(l.b.in[0].got - half > (uint64_t)(lines[i].bytes_per_s * 3 * 8 / 10));
        free(there.arrivals);
        free(back.arrivals);
        buf_free(&there.bytes);
        buf_free(&back.bytes);
        rec_free(what);
        free_load(&l);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mux__asks_and_answers_before_hello_came),
        cmocka_unit_test(mux__carries_messages_of_any_size),
        cmocka_unit_test(mux__keeps_short_messages_in_order_ahead_of_long_ones),
        cmocka_unit_test(mux_request__is_limited_and_can_be_forgotten),
        cmocka_unit_test(mux__ends_a_connection_whose_peer_does_not_read),
        cmocka_unit_test(mux_goaway__comes_after_messages_and_ends_it),
        cmocka_unit_test(mux_ended__without_goodbye_is_a_lost_link),
        cmocka_unit_test(mux__refuses_older_and_newer_on_both_sides),
        cmocka_unit_test(hostile__first_words_are_refused),
        cmocka_unit_test(hostile__hellos_are_refused),
        cmocka_unit_test(hostile__messages_are_refused),
        cmocka_unit_test(hostile__too_many_requests_and_pieces_are_refused),
        cmocka_unit_test(hostile__offers_are_refused),
        cmocka_unit_test(hostile__too_many_streams_are_reset_not_served),
        cmocka_unit_test(hostile__offer_can_be_taken_back),
        cmocka_unit_test(hostile__stream_frames_are_refused),
        cmocka_unit_test(hostile__bytes_after_the_end_and_doubled_bytes),
        cmocka_unit_test(hostile__frames_of_an_unanswered_offer_are_refused),
        cmocka_unit_test(hostile__notes_that_wait_are_limited),
        cmocka_unit_test(control__waits_for_at_most_one_quantum_of_anything),
        cmocka_unit_test(interactive__goes_before_bulk_which_still_gets_its_share),
        cmocka_unit_test(streams__of_a_class_take_turns),
        cmocka_unit_test(ping__goes_both_ways_and_measures),
        cmocka_unit_test(silence__of_30_seconds_is_the_end),
        cmocka_unit_test(sleep__of_our_own_is_no_silence_of_the_peer),
        cmocka_unit_test(hello__must_come_within_a_minute),
        cmocka_unit_test(acks__come_within_50_ms_when_nothing_forces_them),
        cmocka_unit_test(pacing__keeps_a_slow_line_short_and_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
