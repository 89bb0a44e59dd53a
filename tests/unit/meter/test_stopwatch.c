/*
 * A renter's clock against a host's: no host that counts true is ever caught, whatever
 * link, disks and clocks do; and of one that does not no more is signed for than passed.
 * The seed is fixed, so a failure comes again; METER_SEED=n tries another.
 */
#include "meter/stopwatch.h"
#include "tests/unit/meter/fixture.h"

#define RUNS   4000
#define LOOKS  120
#define MINUTE (60 * NS_PER_S)
#define DRIFT  400 /* ppm, of either clock, at most */

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

static uint64_t seed;

static uint64_t
next_random(void)
{
    return unit_random(&seed);
}

static int64_t
upto(int64_t max)
{
    return (int64_t)(next_random() % ((uint64_t)max + 1));
}

static bool
one_in(int64_t n)
{
    return upto(n - 1) == 0;
}

static int64_t
drifted(int64_t ns, int64_t ppm)
{
    return ns + (int64_t)((__int128)ns * ppm / 1000000);
}

static struct usage_moment
moment(const char *boot, int64_t boot_s, int64_t wall_s)
{
    struct usage_moment m = {.boot_ns = boot_s * NS_PER_S, .wall_ns = wall_s * NS_PER_S};

    (void)strcpy(m.boot, boot);
    return m;
}

static struct usage_totals
running(int64_t s)
{
    return (struct usage_totals){.ns = {[USAGE_RUNNING] = s * NS_PER_S}};
}

static bool
holds(struct stopwatch *w, int64_t at_s, int64_t host_s)
{
    struct usage_moment now = moment("b", at_s, at_s);

    return stopwatch_holds(w, &now, 7, 0, host_s);
}

static bool
look(struct stopwatch *w, int64_t at_s, int64_t seq, int64_t host_s)
{
    struct usage_moment asked = moment("b", at_s, at_s);
    struct usage_totals total = running(host_s);

    return stopwatch_look(w, &asked, seq, &total);
}

static void
stopwatch__knows_nothing_before_it_began(void **state)
{
    struct stopwatch w = {.set = false};

    (void)state;
    assert_true(holds(&w, 10, INT64_MAX));
    assert_int_equal(w.host_s, 0);
}

static void
stopwatch__allows_what_passed_and_the_tolerance(void **state)
{
    static const struct {
        int64_t passed_s;
        int64_t host_s;
        bool holds;
    } cases[] = {
        {0, 30, true},           {0, 31, false},      {1000, 1000, true},
        {1000, 1031, true},      {1000, 1032, false}, {100000, 100130, true},
        {100000, 100131, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stopwatch w = {.set = false};
        struct usage_moment began = moment("b", 500, 500);

        stopwatch_begin(&w, &began);
        assert_int_equal(holds(&w, 500 + cases[i].passed_s, cases[i].host_s),
                         cases[i].holds);
        assert_int_equal(w.host_s, cases[i].holds ? 0 : cases[i].host_s);
        assert_int_equal(w.passed_s, cases[i].holds ? 0 : cases[i].passed_s);
    }
}

/* An hour of waiting for a device is no hour that may be counted later. */
static void
stopwatch__is_tightened_by_looks_and_never_loosened(void **state)
{
    struct stopwatch w = {.set = false};
    struct usage_moment began = moment("b", 0, 0);

    (void)state;
    stopwatch_begin(&w, &began);
    assert_false(look(&w, 3580, 1, 0)); /* the first one may show old records */
    assert_true(look(&w, 3600, 2, 0));
    assert_false(look(&w, 3620, 3, 20)); /* no tighter */
    assert_true(holds(&w, 3660, 90));
    assert_false(holds(&w, 3660, 91));
    /* Nor by a lie that is told at every look: it would be 30 s each time. */
    memset(&w, 0, sizeof w);
    stopwatch_begin(&w, &began);
    for (int64_t i = 1; i < 100; i++) {
        (void)look(&w, 20 * i, i, 40 * i);
        assert_int_equal(holds(&w, 20 * i, 40 * i), 20 * i <= 30);
    }
}

static void
stopwatch__takes_no_old_record_for_a_new_one(void **state)
{
    static const struct {
        int64_t at_s;
        int64_t seq;
        bool counts;
    } cases[] = {{60, 5, false}, {80, 5, false}, {100, 6, true}, {126, 9, false}};
    struct stopwatch w = {.set = false};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        w.set = false;
        assert_int_equal(look(&w, cases[i].at_s, cases[i].seq, 10), cases[i].counts);
    }
}

static void
stopwatch__lets_sleep_and_pauses_of_the_client_pass(void **state)
{
    struct stopwatch w = {.set = false};
    struct usage_moment began = moment("b", 0, 1000);
    struct usage_moment now;

    (void)state;
    stopwatch_begin(&w, &began);
    now = moment("b", 10, 4610); /* CLOCK_BOOTTIME stood still */
    assert_true(stopwatch_holds(&w, &now, 1, 0, 3600));
    now = moment("b", 3610, 900); /* the wall clock was set back */
    assert_true(stopwatch_holds(&w, &now, 1, 0, 3600));
    now = moment("c", 10, 1010); /* another boot: who knows */
    assert_true(stopwatch_holds(&w, &now, 1, 0, 100000));
    now = moment("b", 10, 1010);
    assert_false(stopwatch_holds(&w, &now, 1, 0, 3600));
    (void)strcpy(w.since.boot, "unknown");
    memset(&w.host_s, 0, sizeof w.host_s);
    now = moment("unknown", 10, 1010);
    assert_true(stopwatch_holds(&w, &now, 1, 0, 3600));
}

/* Nor by a reboot of the client: the wall clocks of two boots may be some zones apart. */
static void
stopwatch__is_held_against_the_wall_clock_of_another_boot(void **state)
{
    static const struct {
        int64_t wall_s; /* began at 1000 */
        int64_t host_s;
        bool kept;
        bool holds;
    } cases[] = {
        {4600, 3600 + 26 * 3600, true, true}, {4600, 3600 + 27 * 3600 + 30, true, false},
        {1000, 26 * 3600 + 123, true, true},  {1000, 26 * 3600 + 125, true, false},
        {999, 1000 * 3600, true, true}, /* one of them is wrong */
        {4600, 1000 * 3600, false, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stopwatch w = {.wall_kept = cases[i].kept};
        struct usage_moment began = moment("a", 5000, 1000);
        struct usage_moment now = moment("b", 10, cases[i].wall_s);

        stopwatch_begin(&w, &began);
        assert_int_equal(stopwatch_holds(&w, &now, 1, 0, cases[i].host_s),
                         cases[i].holds);
    }
}

/* A look of the new boot takes the place of what is known, but for a lie. */
static void
stopwatch__goes_on_from_looks_of_another_boot(void **state)
{
    struct usage_moment began = moment("a", 0, 0);
    struct stopwatch w = {.wall_kept = true};

    (void)state;
    stopwatch_begin(&w, &began);
    assert_false(look(&w, 1000, 1, 900));
    assert_false(look(&w, 1020, 2, 1000000));
    assert_string_equal(w.since.boot, "a");
    assert_true(look(&w, 1040, 3, 1000));
    assert_string_equal(w.since.boot, "b");
    assert_int_equal(w.priced_ns, 1000 * NS_PER_S);
}

static void
stopwatch__takes_no_set_up_of_a_job_without_one(void **state)
{
    struct usage_moment began = moment("b", 0, 0);
    struct usage_moment now = moment("b", 100, 100);
    struct stopwatch w = {.no_setup = false};
    struct stopwatch again;
    struct buf b = BUF_INIT;
    struct err e = {0};
    struct stopwatch_dispute d;
    struct meter_session *s;
    struct receipt *r;
    struct fixture f;

    stopwatch_begin(&w, &began);
    assert_true(stopwatch_holds(&w, &now, 1, 40, 60));
    w.no_setup = true;
    assert_true(stopwatch_holds(&w, &now, 1, 0, 110));
    assert_false(stopwatch_holds(&w, &now, 2, 1, 110));
    assert_int_equal(w.host_s, 111);
    assert_int_equal(w.passed_s, 110);
    assert_int_equal(w.unasked_s, 1);
    assert_false(stopwatch_holds(&w, &now, 3, 2, 120));
    assert_int_equal(w.passed_s, 100); /* of which that many passed */
    stopwatch_encode(&w, &b);
    assert_ok(stopwatch_parse(&again, b.data, b.len, &e));
    assert_int_equal(again.unasked_s, 2);
    buf_free(&b);

    fixture_open(&f, *state);
    fixture_terms(&f, 5000, 86400, 60);
    s = fixture_start(&f);
    fixture_state(s, USAGE_SETUP, "setup");
    fixture_run(s, 1800 * NS_PER_S); /* 5 fen */
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 3600 * NS_PER_S); /* 188 */
    fixture_end(s, "exited");
    meter_session_free(s);
    r = fixture_receipt(&f);
    w = (struct stopwatch){.no_setup = true, .host_s = 5400, .passed_s = 3600};
    assert_true(stopwatch_dispute_of(&w, r, &d));
    assert_int_equal(d.unasked_s, 1800);
    assert_int_equal(d.passed_s, 3600);
    assert_int_equal(d.dispute_fen, 5);
    assert_int_equal(d.owed_fen, 193);
    receipt_free(r);
    fixture_close(&f);
}

/* What was counted before it passed is not made good by time that is free. */
static void
stopwatch__keeps_what_it_caught(void **state)
{
    struct stopwatch w = {.set = false};
    struct stopwatch again;
    struct usage_moment began = moment("b", 0, 0);
    struct buf b = BUF_INIT;
    struct err e = {0};

    (void)state;
    stopwatch_begin(&w, &began);
    assert_false(holds(&w, 100, 400));
    assert_false(holds(&w, 100000, 400));
    assert_int_equal(w.passed_s, 100);
    assert_false(holds(&w, 200000, 410));
    assert_int_equal(w.host_s, 410);
    assert_int_equal(w.passed_s, 110);
    stopwatch_encode(&w, &b);
    assert_ok(stopwatch_parse(&again, b.data, b.len, &e));
    assert_int_equal(again.seq, 7);
    assert_int_equal(again.since.boot_ns, 0);
    assert_string_equal(again.since.boot, "b");
    assert_false(holds(&again, 300000, 420));
    assert_int_equal(again.passed_s, 120);
    buf_free(&b);
}

static void
stopwatch__refuses_what_is_no_file_of_it(void **state)
{
    static const char *const bad[] = {
        "",
        "gpurun.stopwatch.v2\n",
        "gpurun.stopwatch.v1\nboot=b\nat=1\nwall=2\n",
        "gpurun.stopwatch.v1\nboot=b\nat=1\nwall=2\npriced=-1\n",
        ("gpurun.stopwatch.v1\nboot=0123456789012345678901234567890123456\nat=1\nwall=2\n"
         "priced=1\n"),
        "gpurun.stopwatch.v1\nseq=1\nhost=0\npassed=0\n",
        "gpurun.stopwatch.v1\nseq=1\nhost=5\npassed=6\n",
        "gpurun.stopwatch.v1\nhost=5\npassed=4\n",
    };
    struct stopwatch w;
    struct err e = {0};
    char long_one[5000];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(&w, 7, sizeof w);
        assert_int_equal(stopwatch_parse(&w, bad[i], strlen(bad[i]), &e), -1);
    }
    memset(long_one, 'a', sizeof long_one);
    assert_refused(stopwatch_parse(&w, long_one, sizeof long_one, &e), ERR_CORRUPT);
    assert_ok(stopwatch_parse(&w, "gpurun.stopwatch.v1\n", 20, &e));
    assert_false(w.set);
    assert_int_equal(w.host_s, 0);
}

/* ---- money ---- */

static void
stopwatch__says_what_is_in_dispute(void **state)
{
    struct stopwatch w = {.seq = 9, .host_s = 7200, .passed_s = 3600};
    struct stopwatch_dispute d;
    struct meter_session *s;
    struct receipt *r;
    struct fixture f;

    fixture_open(&f, *state);
    fixture_terms(&f, 100000000, 5400, 60);
    s = fixture_start(&f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 7200 * NS_PER_S);
    fixture_end(s, "exited");
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->charge_fen, 282); /* 5,400 s were granted */
    assert_true(stopwatch_dispute_of(&w, r, &d));
    assert_int_equal(d.host_s, 7200);
    assert_int_equal(d.passed_s, 3600);
    assert_int_equal(d.dispute_fen, 94);
    assert_int_equal(d.owed_fen, 282);
    w.passed_s = 0;
    assert_true(stopwatch_dispute_of(&w, r, &d));
    assert_int_equal(d.dispute_fen, 282);
    w.passed_s = 6000; /* what is in dispute costs nothing anyway */
    assert_true(stopwatch_dispute_of(&w, r, &d));
    assert_int_equal(d.dispute_fen, 0);
    /* Caught in the middle: what was counted since may have passed. */
    w = (struct stopwatch){.seq = 9, .host_s = 1000, .passed_s = 400};
    assert_true(stopwatch_dispute_of(&w, r, &d));
    assert_int_equal(d.passed_s, 6600);
    w.host_s = 0;
    assert_false(stopwatch_dispute_of(&w, r, &d));
    receipt_free(r);
    fixture_close(&f);
}

/* ---- random hosts and clients ---- */

/* What really happens: ns since the job was submitted. */
struct world {
    int64_t now_ns;
    /* the host */
    int64_t host_ppm;
    bool priced; /* is the time now? */
    int64_t until_ns;
    int64_t priced_ns;  /* by its clock */
    int64_t record_ns;  /* as its newest record says */
    int64_t written_ns; /* as that on its disk says */
    int64_t next_ns;    /* record, at the latest */
    int64_t seq, written_seq;
    int64_t full_until_ns; /* its disk */
    /* the client */
    int64_t client_ppm;
    int64_t missed_ns; /* of which CLOCK_BOOTTIME knows nothing */
    int64_t wall_off_ns;
    int64_t boot_began_ns;
    int n_boot;
};

static void
host_passes(struct world *w, int64_t ns)
{
    int64_t end_ns = w->now_ns + ns;

    while (w->now_ns < end_ns) {
        int64_t to = end_ns;

        to = w->until_ns < to ? w->until_ns : to;
        to = w->next_ns < to ? w->next_ns : to;
        w->priced_ns += w->priced ? drifted(to - w->now_ns, w->host_ppm) : 0;
        w->now_ns = to;
        if (to == w->until_ns || to == w->next_ns) { /* a record */
            w->record_ns = w->priced_ns;
            w->seq++;
            w->next_ns = to + 10 * NS_PER_S;
        }
        if (to == w->until_ns) {
            w->priced = upto(3) > 0;
            w->until_ns = to + 1 + upto((one_in(4) ? 9000 : 20) * MINUTE);
        }
        if (to >= w->full_until_ns) {
            w->written_ns = w->record_ns;
            w->written_seq = w->seq;
        }
    }
}

static struct usage_moment
client_now(const struct world *w)
{
    struct usage_moment m = {0};

    (void)snprintf(m.boot, sizeof m.boot, "boot %d", w->n_boot);
    m.boot_ns = drifted(w->now_ns - w->boot_began_ns - w->missed_ns, w->client_ppm);
    m.wall_ns = drifted(w->now_ns, w->client_ppm) + w->wall_off_ns;
    return m;
}

/* Between two looks. */
static void
something_happens(struct world *w, struct stopwatch *sw, bool sets_back)
{
    int64_t ns = 20 * NS_PER_S + upto(6 * NS_PER_S);

    switch (upto(19)) {
    case 0: /* the laptop sleeps */
        ns = upto(1200 * MINUTE);
        break;
    case 1: /* and its kernel does not know */
        if (!sets_back) {
            ns = upto(120 * MINUTE);
            w->missed_ns += ns;
        }
        break;
    case 2:
        w->wall_off_ns += upto(60 * MINUTE);
        w->wall_off_ns -= sets_back ? upto(240 * MINUTE) : 0;
        break;
    case 3: /* the host's disk */
        w->full_until_ns = w->now_ns + upto(60 * MINUTE);
        break;
    case 4: { /* another client */
        struct buf b = BUF_INIT;
        struct err e = {0};

        stopwatch_encode(sw, &b);
        assert_ok(stopwatch_parse(sw, b.data, b.len, &e));
        buf_free(&b);
        break;
    }
    case 5:
        if (one_in(20)) {
            w->n_boot++;
            w->boot_began_ns = w->now_ns;
            w->missed_ns = 0;
        }
        break;
    default:
        break;
    }
    host_passes(w, ns);
}

static void
stopwatch__catches_no_host_that_counts_true(void **state)
{
    long n_known = 0;

    (void)state;
    for (int run = 0; run < RUNS; run++) {
        struct world w = {.host_ppm = upto(2 * DRIFT) - DRIFT,
                          .client_ppm = upto(2 * DRIFT) - DRIFT,
                          .until_ns = 1 + upto(20 * MINUTE)};
        struct stopwatch sw = {.wall_kept = one_in(2)};
        bool sets_back = one_in(2);
        struct usage_moment began = client_now(&w);

        if (!one_in(4)) { /* else: submitted from elsewhere */
            stopwatch_begin(&sw, &began);
        }
        for (int i = 0; i < LOOKS; i++) {
            struct usage_moment asked;
            struct usage_moment got;
            struct usage_totals total = {.ns = {0}};
            int64_t seq;

            something_happens(&w, &sw, sets_back);
            asked = client_now(&w);
            host_passes(&w, upto(one_in(9) ? MINUTE : NS_PER_S / 5));
            total.ns[USAGE_RUNNING] = w.written_ns;
            seq = w.written_seq;
            host_passes(&w, upto(one_in(9) ? MINUTE : NS_PER_S / 5));
            got = client_now(&w);
            if (seq > 0) {
                (void)stopwatch_look(&sw, &asked, seq, &total);
            }
            n_known += sw.set && strcmp(sw.since.boot, got.boot) == 0;
            if (!stopwatch_holds(&sw, &got, seq, 0, usage_device_s(&total))) {
                fail_msg("run %d, look %d: %lld s, passed %lld s", run, i,
                         (long long)sw.host_s, (long long)sw.passed_s);
            }
        }
    }
    assert_true(n_known > RUNS * LOOKS / 2); /* it was judged, not let go */
}

/* Whatever it says and when: it gains the tolerance once. */
static void
stopwatch__signs_for_no_more_than_passed(void **state)
{
    long n_caught = 0;
    long n_held = 0;

    (void)state;
    for (int run = 0; run < RUNS; run++) {
        struct stopwatch sw = {.set = false};
        int64_t now_s = 1000;
        int64_t claim_s = 0;
        int64_t seq = 0;
        int64_t speed = 1 + upto(upto(30));
        struct usage_moment began = moment("b", now_s, now_s);

        stopwatch_begin(&sw, &began);
        for (int i = 0; i < LOOKS; i++) {
            int64_t step_s = one_in(9) ? upto(3600) : 5 + upto(20);
            int64_t passed_s;

            now_s += step_s;
            passed_s = now_s - 1000;
            claim_s += one_in(30) ? upto(100000) : step_s * upto(2 * speed) / 2;
            seq += upto(2);
            (void)look(&sw, now_s - upto(5), seq, one_in(3) ? claim_s : upto(claim_s));
            if (!holds(&sw, now_s, claim_s)) {
                n_caught++;
                assert_true(sw.passed_s <= passed_s);
            } else {
                n_held++;
                assert_true(claim_s <= passed_s + 30 + passed_s / 1000 + 1);
            }
        }
    }
    assert_true(n_caught > RUNS && n_held > RUNS);
}

static int
set_seed(void **state)
{
    const char *text = getenv("METER_SEED");

    (void)state;
    seed = text != NULL ? strtoull(text, NULL, 10) : 20261129;
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stopwatch__knows_nothing_before_it_began),
        cmocka_unit_test(stopwatch__allows_what_passed_and_the_tolerance),
        cmocka_unit_test(stopwatch__is_tightened_by_looks_and_never_loosened),
        cmocka_unit_test(stopwatch__takes_no_old_record_for_a_new_one),
        cmocka_unit_test(stopwatch__lets_sleep_and_pauses_of_the_client_pass),
        cmocka_unit_test(stopwatch__is_held_against_the_wall_clock_of_another_boot),
        cmocka_unit_test(stopwatch__goes_on_from_looks_of_another_boot),
        unit_test_in_dir(stopwatch__takes_no_set_up_of_a_job_without_one),
        cmocka_unit_test(stopwatch__keeps_what_it_caught),
        cmocka_unit_test(stopwatch__refuses_what_is_no_file_of_it),
        unit_test_in_dir(stopwatch__says_what_is_in_dispute),
        cmocka_unit_test(stopwatch__catches_no_host_that_counts_true),
        cmocka_unit_test(stopwatch__signs_for_no_more_than_passed),
    };

    return cmocka_run_group_tests(tests, set_seed, NULL);
}
