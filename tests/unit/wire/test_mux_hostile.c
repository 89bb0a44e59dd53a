/* Everything a peer must not do, and what it gets for it. */
#include "hostile.h"

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
        struct mux_options o = {.events = &seen_events, .ctx = &v, .hello = &h};
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
        /* At the last offset there can be, and the one beyond. */
        {{.type = FRAME_NOTE, .stream = 1}, 9, 0xffffffffffffff01, 0x7f, false, ERR_NONE},
        {{.type = FRAME_NOTE, .stream = 1}, 9, 1, 0x80, false, ERR_CORRUPT},
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
