/* Every limit, at it and one beyond. */
#include "runner/wire/mux_internal.h"

#include "hostile.h"

static uint8_t zeros[FRAME_PAYLOAD_MAX];

/* An event record whose encoding is exactly n bytes long. */
static struct rec *
event_of(size_t n)
{
    struct rec *r = rec_new("gpurun.event.test.v1");
    struct buf b = BUF_INIT;
    char *text;

    rec_encode(r, &b);
    assert_true(n > b.len + 6);
    text = xcalloc(1, n);
    memset(text, 'e', n - b.len - 6); /* "text=" and a newline */
    rec_add(r, "text", text);
    buf_reset(&b);
    rec_encode(r, &b);
    assert_int_equal(b.len, n);
    buf_free(&b);
    free(text);
    return r;
}

static void
message__of_exactly_a_frame_and_around_it(void **state)
{
    (void)state;
    for (size_t n = CHANNEL_DATA_MAX - 1; n <= CHANNEL_DATA_MAX + 1; n++) {
        struct sim s = {0};
        struct seen a = {0};
        struct seen b = {0};
        struct mux_options oa = {.events = &seen_events, .ctx = &a};
        struct mux_options ob = {.events = &seen_events, .ctx = &b};
        struct rec *r = event_of(n);

        sim_start(&s, &oa, &ob);
        sim_run(&s);
        mux_event(s.a.m, r);
        /* Up to a frame it is in the queue of whole ones, beyond the rest takes turns. */
        assert_int_equal(s.a.m->out.by_class[CHANNEL_INTERACTIVE].first == NULL,
                         n <= CHANNEL_DATA_MAX);
        sim_run(&s);
        assert_int_equal(b.events, 1);
        assert_int_equal(s.a.m->out.queued, 0);
        rec_free(r);
        sim_stop(&s);
    }
}

static void
message__may_have_message_max_bytes(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        for (int pieces = 0; pieces < 2; pieces++) {
            struct seen v = {0};
            struct mux *m = victim(&v, 0, 0);
            struct rec *r = event_of(100000 + (size_t)over);
            struct buf body = BUF_INIT;
            struct frame f = {.type = FRAME_EVENT, .seq = 1};
            struct err e = {0};
            int rc;

            rec_encode(r, &body);
            if (pieces == 0) {
                rc = send_frame(m, f, body.data, body.len, &e);
            } else {
                f.flags = FRAME_F_MORE;
                assert_int_equal(send_frame(m, f, body.data, 50000, &e), 0);
                f.flags = 0;
                rc = send_frame(m, f, body.data + 50000, body.len - 50000, &e);
            }
            assert_int_equal(rc, over == 0 ? 0 : -1);
            assert_int_equal(v.events, over == 0 ? 1 : 0);
            if (over == 1) {
                assert_int_equal(e.code, ERR_RANGE);
                assert_string_equal(e.msg, "a message longer than 100000 bytes");
            }
            buf_free(&body);
            rec_free(r);
            mux_free(m);
        }
    }
}

static void
request__may_be_as_long_as_a_record(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        struct seen v = {0};
        struct mux *m = victim(&v, 0, 0);
        struct rec *r = event_of(MUX_MESSAGE_MAX + (size_t)over);
        struct err e = {0};

        assert_int_equal(mux_request(m, r, seen_on_answer, &v, NULL, &e),
                         over == 0 ? 0 : -1);
        assert_int_equal(e.code, over == 0 ? ERR_NONE : ERR_RANGE);
        rec_free(r);
        mux_free(m);
    }
}

static void
defaults__are_what_the_header_says(void **state)
{
    struct seen v = {0};
    struct mux *m = victim_with(&v, (struct mux_options){0});

    (void)state;
    assert_int_equal(m->streams_max, 1024);
    assert_int_equal(m->requests_max, 1024);
    assert_int_equal(m->message_max, (size_t)16 << 20);
    assert_int_equal(m->ping_ns, 5 * SECOND);
    assert_int_equal(m->dead_ns, 30 * SECOND);
    assert_int_equal(m->hello_by_ns, SECOND + 60 * SECOND);
    mux_free(m);
}

static void
unfinished__messages_have_room_for_32_mib(void **state)
{
    struct seen v = {0};
    struct mux *m =
        victim_with(&v, (struct mux_options){.message_max = (size_t)64 << 20});
    struct frame f = {.type = FRAME_EVENT, .seq = 1, .flags = FRAME_F_MORE};
    struct err e = {0};

    (void)state;
    for (size_t total = 0; total < MUX_PARTIAL_MAX; total += FRAME_PAYLOAD_MAX) {
        assert_int_equal(send_frame(m, f, zeros, FRAME_PAYLOAD_MAX, &e), 0);
    }
    f.seq = 2;
    assert_int_equal(send_frame(m, f, zeros, 1, &e), -1);
    assert_int_equal(e.code, ERR_RANGE);
    mux_free(m);
}

static void
unfinished__messages_of_a_peer_give_their_room_back(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct rec *r = event_of(90000);
    struct buf body = BUF_INIT;
    struct err e;

    (void)state;
    rec_encode(r, &body);
    for (uint64_t i = 1; i <= 1000; i++) {
        struct frame f = {.type = FRAME_EVENT, .seq = i, .flags = FRAME_F_MORE};

        assert_int_equal(send_frame(m, f, body.data, 80000, &e), 0);
        assert_int_equal(m->partial_bytes, 80000);
        f.flags = 0;
        assert_int_equal(send_frame(m, f, body.data + 80000, body.len - 80000, &e), 0);
        assert_int_equal(m->partial_bytes, 0);
        assert_int_equal(m->n_partials, 0);
    }
    assert_int_equal(v.events, 1000);
    buf_free(&body);
    rec_free(r);
    mux_free(m);
}

static void
queue__for_a_deaf_peer_ends_at_64_mib(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        for (int longs = 0; longs < 2; longs++) {
            struct seen v = {0};
            struct mux *m = victim(&v, 0, 0);
            size_t step = longs == 1 ? 4000000 : 60000;
            struct rec *r = event_of(step);

            while (m->out.queued + 2 * step < MUX_QUEUE_MAX) {
                mux_event(m, r);
            }
            rec_free(r);
            while (m->out.queued + 50000 < MUX_QUEUE_MAX) {
                r = event_of(40000);
                mux_event(m, r);
                rec_free(r);
            }
            r = event_of(MUX_QUEUE_MAX - m->out.queued - FRAME_HEADER_BYTES +
                         (size_t)over);
            mux_event(m, r);
            rec_free(r);
            assert_int_equal(mux_is_over(m, NULL), over == 1);
            if (over == 0) {
                assert_int_equal(m->out.queued, MUX_QUEUE_MAX);
            }
            mux_free(m);
        }
    }
}

static void
hello__may_have_192_kib(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        struct seen v = {0};
        struct hello mine;
        struct hello theirs;
        struct mux_options o = {.events = &seen_events, .ctx = &v, .hello = &mine};
        struct mux *m;
        struct rec *r;
        struct buf body = BUF_INIT;
        struct err e = {0};
        char *text;
        int rc;

        hello_init(&mine, HELLO_ROLE_SERVE, "1.0");
        hello_init(&theirs, HELLO_ROLE_CLIENT, "1.0");
        m = mux_new(&o, SECOND);
        r = hello_encode(&theirs);
        rec_encode(r, &body);
        text = xcalloc(1, HELLO_MAX_BYTES);
        memset(text, 'x', HELLO_MAX_BYTES - body.len - 3 + (size_t)over);
        rec_add(r, "x", text);
        buf_reset(&body);
        rec_encode(r, &body);
        assert_int_equal(body.len, HELLO_MAX_BYTES + (size_t)over);
        assert_int_equal(
            mux_feed(m, PREAMBLE_CLIENT, strlen(PREAMBLE_CLIENT), SECOND, &e), 0);
        rc = send_frame(m, (struct frame){.type = FRAME_HELLO}, body.data, body.len, &e);
        assert_int_equal(rc, over == 0 ? 0 : -1);
        assert_int_equal(v.hellos, over == 0 ? 1 : 0);
        assert_int_equal(e.code, over == 0 ? ERR_NONE : ERR_RANGE);
        free(text);
        rec_free(r);
        buf_free(&body);
        mux_free(m);
    }
}

/* ---- streams ---- */

/* An OPEN whose payload is n bytes long. */
static int
send_long_open(struct mux *m, uint32_t stream, size_t n, struct err *e)
{
    struct buf b = BUF_INIT;
    struct rec *r = event_of(n - CHANNEL_OPEN_BYTES);
    uint8_t head[CHANNEL_OPEN_BYTES] = {0};
    int rc;

    head[16] = CHANNEL_INTERACTIVE;
    buf_add(&b, head, sizeof head);
    rec_encode(r, &b);
    assert_int_equal(b.len, n);
    rc = send_frame(m, (struct frame){.type = FRAME_OPEN, .stream = stream}, b.data,
                    b.len, e);
    buf_free(&b);
    rec_free(r);
    return rc;
}

static void
offers__have_bounds_each_and_together(void **state)
{
    struct seen v = {0};
    struct mux *m = victim_with(&v, (struct mux_options){0});
    uint32_t stream = 1;
    struct err e = {0};
    struct err why;

    (void)state;
    for (size_t total = 0; total < MUX_PARTIAL_MAX; total += MUX_OFFER_MAX) {
        assert_int_equal(send_long_open(m, stream, MUX_OFFER_MAX, &e), 0);
        stream += 2;
    }
    assert_int_equal(v.opens, 512);
    assert_int_equal(m->offered_bytes, MUX_PARTIAL_MAX);
    /* No more room: turned away, not served; the connection stays. */
    assert_int_equal(send_long_open(m, stream, 200, &e), 0);
    assert_int_equal(v.opens, 512);
    assert_int_equal(mux_n_streams(m), 512);
    err_set(&why, ERR_DENIED, "no");
    mux_refuse(m, 1, &why, NULL);
    assert_int_equal(m->offered_bytes, MUX_PARTIAL_MAX - MUX_OFFER_MAX);
    assert_int_equal(send_long_open(m, stream + 2, 200, &e), 0);
    assert_int_equal(v.opens, 513);
    assert_int_equal(send_long_open(m, stream + 4, MUX_OFFER_MAX + 1, &e), -1);
    assert_int_equal(e.code, ERR_CORRUPT);
    mux_free(m);
}

static void
offer__that_is_accepted_frees_its_room(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct channel *c = open_one(m, false);

    (void)state;
    assert_int_equal(m->offered_bytes, 0);
    channel_free(c);
    mux_free(m);
}

static void
mux_open__has_bounds(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 3, 0);
    struct channel_options o = {.cls = CHANNEL_BULK};
    struct channel *c[5];
    struct rec *fits = event_of(MUX_OFFER_MAX - CHANNEL_OPEN_BYTES);
    struct rec *too_long = event_of(MUX_OFFER_MAX - CHANNEL_OPEN_BYTES + 1);
    struct err e = {0};

    (void)state;
    for (int i = 0; i < 5; i++) {
        c[i] = channel_new(&o);
    }
    assert_int_equal(mux_open(m, c[0], too_long, &e), -1);
    assert_int_equal(e.code, ERR_RANGE);
    assert_int_equal(channel_stream(c[0]), 0);
    assert_int_equal(mux_n_streams(m), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mux_open(m, c[i], fits, &e), 0);
    }
    assert_int_equal(mux_open(m, c[0], fits, &e), -1); /* in use */
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(mux_open(m, c[3], fits, &e), -1);
    assert_int_equal(e.code, ERR_BUSY);
    channel_free(c[0]);
    assert_int_equal(mux_open(m, c[3], fits, &e), 0);
    for (int i = 1; i < 5; i++) {
        channel_free(c[i]);
    }
    rec_free(fits);
    rec_free(too_long);
    mux_free(m);
}

static void
stream__numbers_end_before_they_wrap(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct channel_options o = {.cls = CHANNEL_BULK};
    struct channel *c = channel_new(&o);
    struct rec *what = rec_new("gpurun.open.test.v1");
    struct err e = {0};

    (void)state;
    m->next_local = 0xffffffee;
    assert_int_equal(mux_open(m, c, what, &e), 0);
    assert_int_equal(channel_stream(c), 0xffffffee);
    channel_free(c);
    c = channel_new(&o);
    assert_int_equal(mux_open(m, c, what, &e), -1);
    assert_int_equal(e.code, ERR_BUSY);
    channel_free(c);
    rec_free(what);
    mux_free(m);
}

/* ---- pings ---- */

/* The PONGs that go out, their numbers. */
static int
collect_pongs(struct mux *m, uint64_t *seqs, int max)
{
    struct iovec iov[MUX_IOV_MAX];
    int found = 0;
    int n;

    while ((n = mux_output(m, iov, MUX_IOV_MAX, SECOND)) > 0) {
        size_t total = 0;

        for (int i = 0; i < n; i++) {
            const uint8_t *at = iov[i].iov_base;

            if (iov[i].iov_len == FRAME_HEADER_BYTES && at[4] == FRAME_PONG) {
                assert_true(found < max);
                seqs[found++] = get_u64(at + 12);
            }
            total += iov[i].iov_len;
        }
        mux_written(m, total);
    }
    return found;
}

static void
pongs__answer_the_last_sixteen(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    uint64_t seqs[64];
    struct err e;

    (void)state;
    for (uint64_t i = 1; i <= 16; i++) {
        assert_int_equal(
            send_frame(m, (struct frame){.type = FRAME_PING, .seq = i}, NULL, 0, &e), 0);
    }
    assert_int_equal(collect_pongs(m, seqs, 64), 16);
    for (uint64_t i = 0; i < 16; i++) {
        assert_int_equal(seqs[i], i + 1);
    }
    for (uint64_t i = 1; i <= 20; i++) {
        assert_int_equal(
            send_frame(m, (struct frame){.type = FRAME_PING, .seq = i}, NULL, 0, &e), 0);
    }
    assert_int_equal(collect_pongs(m, seqs, 64), 16);
    for (uint64_t i = 0; i < 16; i++) {
        assert_int_equal(seqs[i], i + 5);
    }
    mux_free(m);
}

static void
pong__is_taken_only_for_a_ping(void **state)
{
    struct seen v = {0};
    struct mux *m = victim(&v, 0, 0);
    struct iovec iov[MUX_IOV_MAX];
    struct err e = {0};

    (void)state;
    m->out.ping_due = true;
    assert_true(mux_output(m, iov, MUX_IOV_MAX, SECOND) > 0);
    assert_int_equal(
        send_frame(m, (struct frame){.type = FRAME_PONG, .seq = 1}, NULL, 0, &e), 0);
    assert_int_equal(mux_rtt_ns(m), 0);
    /* Once more is odd, but may be: an answer to an older one. */
    assert_int_equal(
        send_frame(m, (struct frame){.type = FRAME_PONG, .seq = 1}, NULL, 0, &e), 0);
    assert_int_equal(
        send_frame(m, (struct frame){.type = FRAME_PONG, .seq = 2}, NULL, 0, &e), -1);
    assert_int_equal(e.code, ERR_CORRUPT);
    mux_free(m);
    m = victim(&v, 0, 0);
    assert_int_equal(
        send_frame(m, (struct frame){.type = FRAME_PONG, .seq = 0}, NULL, 0, &e), -1);
    mux_free(m);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message__of_exactly_a_frame_and_around_it),
        cmocka_unit_test(message__may_have_message_max_bytes),
        cmocka_unit_test(request__may_be_as_long_as_a_record),
        cmocka_unit_test(defaults__are_what_the_header_says),
        cmocka_unit_test(unfinished__messages_have_room_for_32_mib),
        cmocka_unit_test(unfinished__messages_of_a_peer_give_their_room_back),
        cmocka_unit_test(queue__for_a_deaf_peer_ends_at_64_mib),
        cmocka_unit_test(hello__may_have_192_kib),
        cmocka_unit_test(offers__have_bounds_each_and_together),
        cmocka_unit_test(offer__that_is_accepted_frees_its_room),
        cmocka_unit_test(mux_open__has_bounds),
        cmocka_unit_test(stream__numbers_end_before_they_wrap),
        cmocka_unit_test(pongs__answer_the_last_sixteen),
        cmocka_unit_test(pong__is_taken_only_for_a_ping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
