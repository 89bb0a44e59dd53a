/* The pacing of bulk, step by step and at its bounds. */
#include "runner/wire/mux_internal.h"

#include "sim.h"

#define MS  ((int64_t)1000000)
#define KIB ((size_t)1024)

/* Send n bytes, probe, and have the answer after rtt. */
static void
round_trip(struct mux_pace *p, size_t n, int64_t *now_ns, int64_t rtt_ns)
{
    uint64_t seq;

    mux_pace_sent(p, n);
    assert_true(mux_pace_ping(p, *now_ns, &seq));
    *now_ns += rtt_ns;
    assert_true(mux_pace_pong(p, seq, *now_ns));
    assert_int_equal(p->rtt_ns, rtt_ns);
}

static void
pace__lets_out_a_window_and_no_more(void **state)
{
    struct mux_pace p;

    (void)state;
    mux_pace_init(&p);
    assert_int_equal(p.window, 256 * KIB);
    mux_pace_sent(&p, 256 * KIB - 1);
    assert_true(mux_pace_open(&p));
    assert_true(mux_pace_allows(&p));
    assert_false(p.was_limited);
    mux_pace_sent(&p, 1);
    assert_false(mux_pace_open(&p));
    assert_false(mux_pace_allows(&p));
    assert_true(p.was_limited);
}

static void
pace__wants_a_probe_every_quarter(void **state)
{
    struct mux_pace p;
    uint64_t seq;

    (void)state;
    mux_pace_init(&p);
    assert_false(mux_pace_wants_probe(&p));
    mux_pace_sent(&p, 64 * KIB - 1);
    assert_false(mux_pace_wants_probe(&p));
    mux_pace_sent(&p, 1);
    assert_true(mux_pace_wants_probe(&p));
    assert_true(mux_pace_ping(&p, 0, &seq));
    assert_int_equal(seq, 1);
    assert_false(mux_pace_wants_probe(&p));
}

static void
pace__has_few_probes_under_way(void **state)
{
    struct mux_pace p;
    uint64_t seq = 0;

    (void)state;
    mux_pace_init(&p);
    for (uint64_t i = 1; i <= MUX_PROBES; i++) {
        assert_true(mux_pace_ping(&p, 0, &seq));
        assert_int_equal(seq, i);
        mux_pace_sent(&p, 64 * KIB);
        assert_int_equal(mux_pace_wants_probe(&p), i < MUX_PROBES);
    }
    assert_false(mux_pace_ping(&p, 0, &seq));
    /* An answer stands for those before it. */
    assert_true(mux_pace_pong(&p, 2, 0));
    assert_int_equal(p.n, MUX_PROBES - 2);
    assert_int_equal(p.bulk_there, 64 * KIB);
    assert_false(mux_pace_pong(&p, 1, 0)); /* long answered */
    assert_false(mux_pace_pong(&p, 2, 0));
    assert_false(mux_pace_pong(&p, MUX_PROBES + 1, 0)); /* never asked */
    assert_true(mux_pace_ping(&p, 0, &seq));
    assert_true(mux_pace_ping(&p, 0, &seq));
    assert_int_equal(seq, MUX_PROBES + 2);
    assert_false(mux_pace_ping(&p, 0, &seq));
    assert_true(mux_pace_pong(&p, MUX_PROBES + 2, 0));
    assert_int_equal(p.n, 0);
    assert_int_equal(p.bulk_there, MUX_PROBES * 64 * KIB);
    assert_false(mux_pace_pong(&p, MUX_PROBES + 2, 0));
}

static void
pace__shrinks_above_the_target_and_grows_when_calm(void **state)
{
    static const struct {
        int64_t wait_ns; /* above the base */
        bool limited;
        size_t window; /* from 1 MiB */
    } cases[] = {
        {0, true, 1152 * KIB},           {0, false, 1024 * KIB}, /* nobody wanted more */
        {25 * MS - 1, true, 1152 * KIB}, {25 * MS, true, 1024 * KIB},
        {50 * MS, true, 1024 * KIB},     {50 * MS + 1, true, 768 * KIB},
        {50 * MS + 1, false, 768 * KIB}, {5000 * MS, true, 768 * KIB},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mux_pace p;
        int64_t now = 1000 * MS;

        mux_pace_init(&p);
        round_trip(&p, 1, &now, 10 * MS); /* the base */
        assert_int_equal(p.base_ns, 10 * MS);
        p.window = 1024 * KIB;
        p.was_limited = cases[i].limited;
        round_trip(&p, 1, &now, 10 * MS + cases[i].wait_ns);
        assert_int_equal(p.window, cases[i].window);
        assert_false(p.was_limited);
    }
}

static void
pace__shrinks_once_per_round_trip(void **state)
{
    struct mux_pace p;
    int64_t now = 1000 * MS;
    uint64_t seq[4];
    int64_t shrunk;

    (void)state;
    mux_pace_init(&p);
    round_trip(&p, 1, &now, 10 * MS);
    p.window = 1024 * KIB;
    assert_true(mux_pace_ping(&p, now, &seq[0]));
    assert_true(mux_pace_ping(&p, now + 1, &seq[1]));
    shrunk = now + 100 * MS;
    assert_true(mux_pace_pong(&p, seq[0], shrunk));
    assert_int_equal(p.window, 768 * KIB);
    assert_true(mux_pace_pong(&p, seq[1], shrunk + 1));
    assert_int_equal(p.window, 768 * KIB); /* it shows the old window still */
    assert_true(mux_pace_ping(&p, shrunk - 1, &seq[2]));
    assert_true(mux_pace_ping(&p, shrunk, &seq[3]));
    assert_true(mux_pace_pong(&p, seq[2], shrunk + 100 * MS - 2));
    assert_int_equal(p.window, 768 * KIB);
    /* Exactly one round trip later counts as later. */
    assert_true(mux_pace_pong(&p, seq[3], shrunk + 100 * MS));
    assert_int_equal(p.window, 576 * KIB);
}

static void
pace__window_has_bounds(void **state)
{
    struct mux_pace p;
    int64_t now = 1000 * MS;

    (void)state;
    mux_pace_init(&p);
    round_trip(&p, 1, &now, 10 * MS);
    for (int i = 0; i < 10; i++) {
        round_trip(&p, 1, &now, 1000 * MS);
    }
    assert_int_equal(p.window, 128 * KIB);
    for (int i = 0; i < 100; i++) {
        p.was_limited = true;
        round_trip(&p, 1, &now, 10 * MS);
    }
    assert_int_equal(p.window, (size_t)64 << 20);
}

static void
pace__base_is_the_shortest_of_ten_minutes(void **state)
{
    struct mux_pace p;
    int64_t minute = 60000 * MS;
    int64_t now = minute;
    int64_t since;

    (void)state;
    mux_pace_init(&p);
    round_trip(&p, 1, &now, 10 * MS);
    round_trip(&p, 1, &now, 20 * MS);
    assert_int_equal(p.base_ns, 10 * MS);
    round_trip(&p, 1, &now, 8 * MS);
    assert_int_equal(p.base_ns, 8 * MS);
    since = now;
    now = since + 10 * minute - 30 * MS;
    round_trip(&p, 1, &now, 30 * MS); /* to the nanosecond ten minutes */
    assert_int_equal(p.base_ns, 8 * MS);
    now = since + 10 * minute - 30 * MS + 1;
    round_trip(&p, 1, &now, 30 * MS);
    assert_int_equal(p.base_ns, 30 * MS);
    /* Seen again, it is fresh again. */
    since = now;
    now += 9 * minute;
    round_trip(&p, 1, &now, 30 * MS);
    now += 9 * minute;
    round_trip(&p, 1, &now, 31 * MS);
    assert_int_equal(p.base_ns, 30 * MS);
}

static void
pace__bears_a_clock_that_stood_still(void **state)
{
    struct mux_pace p;
    uint64_t seq;

    (void)state;
    mux_pace_init(&p);
    assert_int_equal(p.rtt_ns, -1);
    assert_true(mux_pace_ping(&p, 100, &seq));
    assert_true(mux_pace_pong(&p, seq, 99));
    assert_int_equal(p.rtt_ns, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pace__lets_out_a_window_and_no_more),
        cmocka_unit_test(pace__wants_a_probe_every_quarter),
        cmocka_unit_test(pace__has_few_probes_under_way),
        cmocka_unit_test(pace__shrinks_above_the_target_and_grows_when_calm),
        cmocka_unit_test(pace__shrinks_once_per_round_trip),
        cmocka_unit_test(pace__window_has_bounds),
        cmocka_unit_test(pace__base_is_the_shortest_of_ten_minutes),
        cmocka_unit_test(pace__bears_a_clock_that_stood_still),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
