/*
 * Properties of money over a million random cases each: slicing never changes a
 * bill, lines sum to the total, holds and balance never make or lose a fen. The seed is
 * fixed, so a failure comes again; METER_SEED=n tries another.
 */
#include "meter/grant.h"
#include "meter/refuse.h"
#include "meter/share.h"
#include "meter/tariff.h"
#include "meter/usage.h"
#include "meter/wallet.h"
#include "tests/unit/unit.h"

#define CASES 1000000

static uint64_t seed;

static uint64_t
next_random(void)
{
    return unit_random(&seed);
}

/* In [0, max], small numbers as likely as large ones. */
static int64_t
pick(int64_t max)
{
    uint64_t bits = next_random() % 64;

    return (int64_t)((next_random() >> bits) % ((uint64_t)max + 1));
}

static int
set_seed(void **state)
{
    const char *text = getenv("METER_SEED");

    (void)state;
    seed = text != NULL ? strtoull(text, NULL, 10) : 20261123;
    return 0;
}

#define SEGMENTS 4
#define CUTS     6

static void
pick_segments(struct tariff_segment *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        /* Two of the discounts are exact on any price that ends in 00. */
        s[i] = (struct tariff_segment){
            .price_uyuan_per_h = pick(100000000000) * 100,
            .n_units = pick(64),
            .used_s = pick(1000000000),
            .discount_bps = next_random() % 2 == 0 ? TARIFF_BPS_ONE : 9500,
        };
    }
}

static void
lines__sum_to_the_charge_and_none_is_negative(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct tariff_segment s[SEGMENTS];
        size_t n_s = next_random() % (SEGMENTS + 1);
        size_t n_cuts = next_random() % (CUTS + 1);
        int64_t cuts[CUTS];
        int64_t lines[CUTS + 1];
        int64_t end_s = 0;
        int64_t charge = 0;
        int64_t total = 0;
        int64_t sum = 0;
        size_t n = 0;
        struct err e = {0};

        pick_segments(s, n_s);
        for (size_t k = 0; k < n_s; k++) {
            end_s += s[k].used_s;
        }
        for (size_t k = 0; k < n_cuts; k++) {
            cuts[k] = pick(end_s + 10) - 5;
        }
        assert_ok(tariff_charge(s, n_s, TARIFF_MIN_FEN, &charge, &e));
        assert_ok(
            tariff_lines(s, n_s, cuts, n_cuts, TARIFF_MIN_FEN, lines, &n, &total, &e));
        for (size_t k = 0; k < n; k++) {
            assert_true(lines[k] >= 0);
            sum += lines[k];
        }
        assert_true(sum == charge && total == charge);
    }
}

static void
charge__does_not_change_when_a_session_is_sliced(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct tariff_segment s[SEGMENTS];
        struct tariff_segment t[2 * SEGMENTS];
        int64_t whole = 0;
        int64_t sliced = 0;
        struct err e = {0};

        pick_segments(s, SEGMENTS);
        for (size_t k = 0; k < SEGMENTS; k++) {
            t[2 * k] = s[k];
            t[2 * k].used_s = pick(s[k].used_s);
            t[2 * k + 1] = s[k];
            t[2 * k + 1].used_s = s[k].used_s - t[2 * k].used_s;
        }
        assert_ok(tariff_charge(s, SEGMENTS, TARIFF_MIN_FEN, &whole, &e));
        assert_ok(tariff_charge(t, 2 * SEGMENTS, TARIFF_MIN_FEN, &sliced, &e));
        assert_true(whole == sliced);
    }
}

/*
 * Records between two others change no total, wherever they lie, also where the host
 * slept in one of the pieces: only a gap of more than 30 s does, and none of these is.
 */
static void
time__is_booked_alike_however_it_is_sliced(void **state)
{
    static const enum usage_state states[] = {
        USAGE_SHIPPING, USAGE_PREPARING, USAGE_SETUP,        USAGE_RUNNING,
        USAGE_STOPPING, USAGE_RELEASED,  USAGE_SNAPSHOTTING, USAGE_RESERVED,
    };

    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct usage_track whole = {.state = states[next_random() % 8]};
        struct usage_moment from = {.boot = "b", .mono_ns = pick(INT64_C(1) << 50)};
        struct usage_moment to;
        struct usage_moment at;
        struct usage_track sliced;
        int64_t window_ns = pick(600) * USAGE_NS_PER_S;
        int64_t left_ns = 1 + pick(USAGE_GAP_NS - 1);
        int64_t slept_ns =
            next_random() % 3 == 0 ? USAGE_SUSPEND_MIN_NS + pick(INT64_C(1) << 45) : 0;
        size_t n = 1 + next_random() % 5;
        struct err e = {0};

        /* In the middle of a stop: some of its free minute and window are gone. */
        whole.total.ns[USAGE_STOPPING] = pick(USAGE_FREE_STOP_S * USAGE_NS_PER_S);
        whole.total.ns[USAGE_WINDOW] = pick(window_ns);
        sliced = whole;
        from.boot_ns = from.mono_ns + pick(INT64_C(1) << 50);
        to = from;
        to.mono_ns += left_ns;
        to.boot_ns += left_ns + slept_ns;
        assert_ok(usage_book(&whole, &from, &to, window_ns, &e));
        for (size_t k = 0; k < n; k++) {
            int64_t piece_ns = k + 1 == n ? left_ns : pick(left_ns);
            bool sleeps = slept_ns > 0 && (k + 1 == n || next_random() % 2 == 0);

            at = from;
            at.mono_ns += piece_ns;
            at.boot_ns += piece_ns + (sleeps ? slept_ns : 0);
            at.wall_ns = (int64_t)next_random(); /* a label */
            assert_ok(usage_book(&sliced, &from, &at, window_ns, &e));
            left_ns -= piece_ns;
            slept_ns = sleeps ? 0 : slept_ns;
            from = at;
        }
        assert_memory_equal(&whole.total, &sliced.total, sizeof whole.total);
        assert_true(whole.run_ns == sliced.run_ns);
    }
}

/* The cap and the bill are the same sum: at the last second all fits, one later not. */
static void
grant__stops_at_the_last_second_that_fits(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct grant g;
        int64_t setup_s = pick(100000);
        int64_t keep = pick(1000);
        int64_t max_s;
        __int128 budget;

        grant_init(&g);
        g.n_rows = 1;
        g.rows[0].n_units = 1 + pick(7);
        g.rows[0].uyuan_per_h = 1 + pick(1000000000);
        g.nocard_uyuan_per_h = pick(1000000);
        g.job_uyuan = next_random() % 2 == 0 ? 0 : pick(10000000);
        g.cap_fen = pick(100000000);
        g.window_s = pick(600);
        max_s = grant_max_device_s(&g, setup_s, keep);
        budget = ((__int128)g.cap_fen - keep) * TARIFF_COST_PER_FEN;
        if (max_s > 0) {
            int64_t then = grant_charge(&g, setup_s, max_s + grant_billed_window_s(&g));

            assert_true(grant_cost(&g, setup_s, max_s + grant_billed_window_s(&g)) <=
                        budget);
            assert_true(then + keep <= g.cap_fen);
        }
        assert_true(grant_cost(&g, setup_s, max_s + 1 + grant_billed_window_s(&g)) >
                    budget);
    }
}

static void
max_seconds__costs_at_most_the_budget(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct tariff_segment s = {.price_uyuan_per_h = 1 + pick(INT64_MAX / 2),
                                   .n_units = 1 + pick(1000),
                                   .discount_bps = TARIFF_BPS_ONE};
        int64_t budget = pick(INT64_MAX);
        __int128 cost = 0;
        struct err e = {0};

        assert_ok(
            tariff_max_seconds(budget, s.price_uyuan_per_h, s.n_units, &s.used_s, &e));
        if (s.used_s == INT64_MAX) {
            continue;
        }
        assert_ok(tariff_cost(&s, 1, &cost, &e));
        assert_true(cost <= (__int128)budget * TARIFF_COST_PER_FEN);
        s.used_s++;
        assert_ok(tariff_cost(&s, 1, &cost, &e));
        assert_true(cost > (__int128)budget * TARIFF_COST_PER_FEN);
    }
}

static void
shares__sum_to_the_whole(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        int64_t weights[5];
        int64_t parts[5];
        int64_t amount = pick(INT64_MAX);
        int64_t gross = pick(INT64_MAX);
        int64_t a = 0;
        int64_t b = 0;
        __int128 sum = 0;
        struct err e = {0};

        amount -= pick(INT64_MAX);
        for (size_t k = 0; k < 5; k++) {
            weights[k] = pick(INT64_MAX);
        }
        weights[0]++;
        weights[0] = weights[0] < 1 ? 1 : weights[0];
        assert_ok(share_prorata(amount, weights, 5, parts, &e));
        for (size_t k = 0; k < 5; k++) {
            sum += parts[k];
        }
        assert_true(sum == amount);
        assert_ok(share_split(gross, pick(10000), &a, &b, &e));
        assert_true(a >= 0 && b >= 0 && (__int128)a + b == gross);
        assert_ok(share_vat(gross, pick(20000), &a, &b, &e));
        assert_true(a >= 0 && b >= 0 && (__int128)a + b == gross);
    }
}

/* hold + free = balance: what several jobs spend is what the wallet lost, never more. */
static void
wallet__never_makes_or_loses_a_fen(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct wallet_job jobs[3];
        struct wallet_replay w;
        int64_t balance = pick(5000);
        int64_t spent = 0;
        size_t n = 1 + next_random() % 3;
        struct err e = {0};

        for (size_t k = 0; k < n; k++) {
            jobs[k] = (struct wallet_job){.price_uyuan_per_h = 1000000 + pick(200000000),
                                          .n_units = 1 + pick(7),
                                          .start_s = pick(1000)};
        }
        assert_ok(wallet_replay(balance, 300, jobs, n, &w, &e));
        for (size_t k = 0; k < n; k++) {
            const struct tariff_segment s = {jobs[k].price_uyuan_per_h, jobs[k].n_units,
                                             jobs[k].stop_s, TARIFF_BPS_ONE};
            int64_t fen = 0;

            assert_ok(tariff_charge(&s, 1, TARIFF_MIN_FEN, &fen, &e));
            assert_true(fen == jobs[k].charge_fen);
            spent += fen;
        }
        assert_true(w.balance_fen >= 0 && w.balance_fen + spent == balance);
    }
}

/* What buckets give is what the charge needs; what goes back never exceeds it. */
static void
buckets__give_and_get_back_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct wallet_bucket b[4];
        struct wallet_share taken[4];
        struct wallet_share back[4];
        bool expired[4] = {false};
        int64_t charge = pick(10000);
        int64_t unpaid = 0;
        int64_t forfeited = 0;
        int64_t sum = 0;
        int64_t refund = pick(12000);
        int64_t returned = 0;
        size_t n = 0;
        size_t n_back = 0;
        struct err e = {0};

        for (size_t k = 0; k < 4; k++) {
            b[k] = (struct wallet_bucket){.id = "x",
                                          .type = (enum wallet_type)(1 + pick(2)),
                                          .balance_fen = pick(5000),
                                          .min_spend_fen = pick(5000)};
        }
        assert_ok(wallet_deduct(charge, b, 4, taken, &n, &unpaid, &e));
        for (size_t k = 0; k < n; k++) {
            assert_true(taken[k].fen > 0 && taken[k].fen <= b[taken[k].i].balance_fen);
            sum += taken[k].fen;
            expired[k] = next_random() % 4 == 0;
        }
        assert_true(sum + unpaid == charge && unpaid >= 0);
        assert_ok(
            wallet_refund(refund, taken, expired, n, back, &n_back, &forfeited, &e));
        for (size_t k = 0; k < n_back; k++) {
            returned += back[k].fen;
        }
        assert_true(returned + forfeited == (refund < sum ? refund : sum));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines__sum_to_the_charge_and_none_is_negative),
        cmocka_unit_test(charge__does_not_change_when_a_session_is_sliced),
        cmocka_unit_test(time__is_booked_alike_however_it_is_sliced),
        cmocka_unit_test(grant__stops_at_the_last_second_that_fits),
        cmocka_unit_test(max_seconds__costs_at_most_the_budget),
        cmocka_unit_test(shares__sum_to_the_whole),
        cmocka_unit_test(wallet__never_makes_or_loses_a_fen),
        cmocka_unit_test(buckets__give_and_get_back_the_same),
    };

    return cmocka_run_group_tests(tests, set_seed, NULL);
}
