/* Messages, goodbyes, versions, and what time does. */
#include "seen.h"

static void
start(struct sim *s, struct seen *a, struct seen *b, struct mux_options oa,
      struct mux_options ob)
{
    oa.events = ob.events = &seen_events;
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
    assert_int_equal(mux_request(s.a.m, req, seen_on_answer, &a, &id, &e), 0);
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
        assert_int_equal(mux_request(s.a.m, req, seen_on_answer, &a, NULL, &e), 0);
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
        assert_int_equal(mux_request(s.a.m, req, seen_on_answer, &a, &id, &e), 0);
        assert_int_equal(id, i + 1);
    }
    assert_int_equal(mux_request(s.a.m, req, seen_on_answer, &a, &id, &e), -1);
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
    assert_int_equal(mux_request(s.a.m, req, seen_on_answer, &a, &id, &e), 0);
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
    assert_int_equal(mux_request(s.a.m, req, seen_on_answer, &a, NULL, &e), -1);
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
        cmocka_unit_test(ping__goes_both_ways_and_measures),
        cmocka_unit_test(silence__of_30_seconds_is_the_end),
        cmocka_unit_test(sleep__of_our_own_is_no_silence_of_the_peer),
        cmocka_unit_test(hello__must_come_within_a_minute),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
