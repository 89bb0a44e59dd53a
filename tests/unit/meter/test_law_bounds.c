/* The small laws at their bounds: the last amount that is taken, the first that is not.
 */
#include "meter/calendar.h"
#include "meter/evidence.h"
#include "meter/lifecycle.h"
#include "meter/ratio.h"
#include "meter/refuse.h"
#include "meter/reserve.h"
#include "meter/share.h"
#include "meter/tariff.h"
#include "meter/usage.h"
#include "meter/wallet.h"
#include "meter/wide.h"
#include "tests/unit/unit.h"

static void
calendar__reads_each_field_to_its_ends(void **state)
{
    static const struct {
        const char *text;
        bool taken;
    } cases[] = {
        {"0000-01-01T00:00:00Z", true},       {"9999-12-31T23:59:59Z", true},
        {"2026-01-31T10:00:00+00:00", true},  {"2026-01-31T10:00:00+23:59", true},
        {"2026-01-31T10:00:00-23:59", true},  {"2026-01-31T10:00:00+24:00", false},
        {"2026-01-31T10:00:00+00:60", false}, {"2026-01-31T10:00:00+0a:00", false},
        {"2026-01-31T10:00:00+00:a0", false}, {"2026-01-31T10:00:00*08:00", false},
        {"2026-01-31T10:00:00+08-00", false}, {"2026-01-31T10:00:00+08:000", false},
        {"2026-01-31T10:00:00ZZ", false},     {"2026-01-31T10:00:00X", false},
        {"2026-01-32T10:00:00Z", false},      {"2026-00-31T10:00:00Z", false},
        {"2026-13-01T10:00:00Z", false},      {"2026-01-00T10:00:00Z", false},
        {"2026-01-01T24:00:00Z", false},      {"2026-01-01T00:60:00Z", false},
        {"2026-01-01T00:00:60Z", false},      {"2026-1/-01T00:00:00Z", false},
        {"2026-1:-01T00:00:00Z", false},      {"202/-01-01T00:00:00Z", false},
        {"2026/01-01T00:00:00Z", false},      {"2026-01/01T00:00:00Z", false},
        {"2026-01-01t00:00:00Z", false},      {"2026-01-01T00.00:00Z", false},
        {"2026-01-01T00:00.00Z", false},      {"2026-01-01Tx0:00:00Z", false},
        {"2026-01-01T00:x0:00Z", false},      {"2026-01-01T00:00:x0Z", false},
        {"2026-01-x1T00:00:00Z", false},      {"2026-x1-01T00:00:00Z", false},
        {"2026-01-01T00:00:00", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct calendar_time t;
        char text[CALENDAR_TEXT_MAX];
        struct err e = {0};
        int rc = calendar_parse(cases[i].text, strlen(cases[i].text), &t, &e);

        if ((rc == 0) != cases[i].taken) {
            fail_msg("%s", cases[i].text);
        }
        if (rc == 0) {
            assert_ok(calendar_format(&t, text, &e));
            assert_string_equal(text, cases[i].text);
        }
    }
}

static void
calendar__tells_time_only_as_far_as_it_can(void **state)
{
    const int64_t limit = (int64_t)1 << 55;
    struct calendar_time t = {.unix_s = -62167219200, .offset_s = 0, .zulu = true};
    char text[CALENDAR_TEXT_MAX];
    int64_t *cuts = NULL;
    size_t n = 0;
    struct err e = {0};
    int64_t from = 0;
    int64_t to = 0;

    (void)state;
    assert_ok(calendar_format(&t, text, &e));
    assert_string_equal(text, "0000-01-01T00:00:00Z");
    t.unix_s--;
    assert_refused(calendar_format(&t, text, &e), ERR_RANGE);
    assert_ok(calendar_windows(limit - 1, limit, 86400, &cuts, &n, &e));
    free(cuts);
    assert_refused(calendar_windows(limit, limit + 1, 86400, &cuts, &n, &e), ERR_RANGE);
    assert_ok(calendar_windows(-limit, -limit + 1, 86400, &cuts, &n, &e));
    free(cuts);
    assert_refused(calendar_windows(-limit - 1, -limit, 86400, &cuts, &n, &e), ERR_RANGE);
    assert_refused(calendar_windows(0, 1, -1, &cuts, &n, &e), ERR_RANGE);
    assert_refused(calendar_windows(0, 1, 86401, &cuts, &n, &e), ERR_RANGE);
    assert_ok(calendar_windows(0, CALENDAR_PIECES_MAX + 1, 1, &cuts, &n, &e));
    assert_int_equal(n, CALENDAR_PIECES_MAX);
    assert_int_equal(cuts[0], 1);
    assert_int_equal(cuts[n - 1], CALENDAR_PIECES_MAX);
    free(cuts);
    assert_refused(calendar_windows(0, CALENDAR_PIECES_MAX + 2, 1, &cuts, &n, &e),
                   ERR_RANGE);
    /* A cut at the very end, or the very start, is none. */
    assert_ok(calendar_windows(0, 3600, 3600, &cuts, &n, &e));
    assert_int_equal(n, 0);
    assert_null(cuts);
    assert_ok(calendar_windows(0, 3601, 3600, &cuts, &n, &e));
    assert_int_equal(n, 1);
    assert_int_equal(cuts[0], 3600);
    free(cuts);
    for (int year = 0; year < 3000; year += 37) {
        for (int month = 1; month <= 12; month++) {
            (void)snprintf(text, sizeof text, "%04d-%02d", year, month);
            assert_ok(calendar_parse_month(text, &from, &to, &e));
            assert_int_equal(calendar_month_start(from), from);
            assert_int_equal(calendar_month_start(to - 1), from);
            assert_int_equal(calendar_month_end(from), to);
            assert_int_equal(calendar_month_end(to - 1), to);
            assert_true(to - from >= 28 * 86400 && to - from <= 31 * 86400);
        }
    }
    assert_refused(calendar_parse_month("202x-11", &from, &to, &e), ERR_INVALID);
    assert_refused(calendar_parse_month("2026-1x", &from, &to, &e), ERR_INVALID);
    /* Labels beyond the calendar stand still at its ends, and do not wrap. */
    assert_int_equal(calendar_month_start(INT64_MAX), calendar_month_start(limit));
    assert_int_equal(calendar_month_start(INT64_MIN), calendar_month_start(-limit));
    assert_true(calendar_month_start(limit) > calendar_month_start(limit - 86400 * 31));
}

static void
evidence__takes_nothing_for_something(void **state)
{
    struct evidence_span s[3] = {{5, 5}, {7, 1000000007}, {9, 8}};
    struct evidence_heartbeat b[4] = {{1, 5}, {2, 5}, {2, 5}, {3, 6}};
    bool flagged = true;
    struct err e = {0};
    int64_t v = -1;

    (void)state;
    assert_ok(evidence_elapsed(s, 2, &v, &e)); /* a span may be empty */
    assert_int_equal(v, 1);
    s[1].end--;
    assert_ok(evidence_elapsed(s, 2, &v, &e));
    assert_int_equal(v, 0);
    assert_refused(evidence_elapsed(s + 2, 1, &v, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "span 1"));
    assert_ok(evidence_referee(0, 0, 0, 0, &v, &flagged, &e));
    assert_false(flagged);
    assert_int_equal(v, 0);
    assert_refused(evidence_referee(0, -1, 0, 0, &v, &flagged, &e), ERR_RANGE);
    assert_refused(evidence_referee(0, 0, -1, 0, &v, &flagged, &e), ERR_RANGE);
    assert_refused(evidence_referee(0, 0, 0, -1, &v, &flagged, &e), ERR_RANGE);
    assert_ok(evidence_referee(1000, 1001, 0, 1000, &v, &flagged, &e));
    assert_false(flagged);
    assert_ok(evidence_referee(1001, 1000, 0, 999, &v, &flagged, &e));
    assert_true(flagged);
    assert_int_equal(v, 1000);
    /* The same beat twice, and a counter that stands still, are fine. */
    assert_ok(evidence_heartbeats(b, 4, 100, &v, &e));
    assert_int_equal(v, 6);
    assert_ok(evidence_heartbeats(b, 4, 5, &v, &e));
    assert_int_equal(v, 5);
    assert_ok(evidence_heartbeats(b, 1, 100, &v, &e));
    assert_int_equal(v, 5);
    b[3].cum_s = 4;
    assert_refused(evidence_heartbeats(b, 4, 100, &v, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "number 3"));
    s[0] = (struct evidence_span){0, 10};
    s[1] = (struct evidence_span){10, 20};
    s[2] = (struct evidence_span){19, 20};
    assert_ok(evidence_union(s, 3, &v, &e));
    assert_int_equal(v, 20);
    assert_ok(evidence_union(s, 0, &v, &e));
    assert_int_equal(v, 0);
    s[0] = (struct evidence_span){INT64_MIN, INT64_MAX};
    assert_refused(evidence_union(s, 1, &v, &e), ERR_RANGE);
}

static void
wallet__takes_nothing_for_something(void **state)
{
    struct wallet_job jobs[2] = {
        {.price_uyuan_per_h = 36000000, .n_units = 1, .start_s = 0},
        {.price_uyuan_per_h = 36000000, .n_units = 1, .start_s = 0},
    };
    const struct wallet_bucket empty = {"c", WALLET_CASH, 0, NULL, 0};
    struct wallet_share taken[1];
    const bool expired[1] = {true};
    struct wallet_replay w;
    bool accepted = false;
    struct err e = {0};
    int64_t a = -1;
    int64_t b = -1;
    size_t n = 9;

    (void)state;
    assert_ok(wallet_deduct(0, &empty, 1, taken, &n, &a, &e));
    assert_true(n == 0 && a == 0);
    assert_ok(wallet_deduct(5, NULL, 0, taken, &n, &a, &e));
    assert_true(n == 0 && a == 5);
    assert_int_equal(wallet_voucher_order(5, NULL, 0, &n), 0);
    assert_ok(wallet_refund(0, taken, expired, 0, taken, &n, &a, &e));
    assert_true(n == 0 && a == 0);
    taken[0] = (struct wallet_share){.i = 0, .fen = 5};
    assert_ok(wallet_refund(3, taken, expired, 1, taken, &n, &a, &e));
    assert_true(n == 0 && a == 3);
    assert_ok(wallet_topup(0, 0, &a, &b, &e));
    assert_true(a == 0 && b == 0);
    assert_ok(wallet_hold_check(0, 0, 0, 0, &accepted, &a, &e));
    assert_true(accepted && a == 0);
    assert_ok(wallet_hold_post(0, 0, &a, &e));
    assert_int_equal(a, 0);
    assert_refused(wallet_hold_post(-1, 0, &a, &e), ERR_RANGE);
    assert_refused(wallet_hold_post(0, -1, &a, &e), ERR_RANGE);
    assert_int_equal(wallet_payment(7, 7), 0);
    assert_int_equal(wallet_payment(8, 7), 1);
    assert_ok(wallet_stretch(36000000, 0, 0, 0, 0, 300, &a, &b, &e));
    assert_true(a == 300 && b == 0);
    assert_ok(wallet_stretch(36000000, 1, 0, 0, 0, 0, &a, &b, &e));
    assert_true(a == 0 && b == 0);
    assert_ok(wallet_stretch(36000000, 1, 0, 0, 300, 300, &a, &b, &e));
    assert_true(a == 300 && b == 300);
    assert_ok(wallet_replay(0, 0, jobs, 0, &w, &e));
    assert_int_equal(w.balance_fen, 0);
    assert_refused(wallet_replay(0, -1, jobs, 0, &w, &e), ERR_RANGE);
    jobs[1].price_uyuan_per_h = 0;
    assert_refused(wallet_replay(5, 5, jobs, 2, &w, &e), ERR_RANGE);
    jobs[1].price_uyuan_per_h = 1;
    jobs[1].n_units = 0;
    assert_refused(wallet_replay(5, 5, jobs, 2, &w, &e), ERR_RANGE);
    jobs[1].n_units = 1;
    assert_ok(wallet_replay(5, 5, jobs, 2, &w, &e)); /* what costs little is not free */
}

static void
share__takes_nothing_for_something(void **state)
{
    const int64_t weights[2] = {0, 3};
    struct share_posting p[SHARE_POSTINGS_MAX];
    int64_t parts[2];
    struct err e = {0};
    int64_t a = -1;
    int64_t b = -1;
    int64_t c = -1;
    size_t n = 9;

    (void)state;
    assert_ok(share_split(100, 0, &a, &b, &e));
    assert_true(a == 0 && b == 100);
    assert_ok(share_split(100, TARIFF_BPS_ONE, &a, &b, &e));
    assert_true(a == 100 && b == 0);
    assert_ok(share_split_voucher(0, 0, 0, &a, &b, &c, &e));
    assert_true(a == 0 && b == 0 && c == 0);
    assert_ok(share_split_voucher(5, 0, 5, &a, &b, &c, &e));
    assert_int_equal(c, 0);
    assert_refused(share_split_voucher(-1, 0, -1, &a, &b, &c, &e), ERR_RANGE);
    assert_ok(share_prorata(7, weights, 2, parts, &e));
    assert_true(parts[0] == 0 && parts[1] == 7);
    assert_ok(share_vat(106, 0, &a, &b, &e));
    assert_true(a == 106 && b == 0);
    assert_ok(share_vat(3, TARIFF_BPS_ONE, &a, &b, &e)); /* a half is rounded up */
    assert_true(a == 2 && b == 1);
    assert_ok(share_post_correction(5, 0, 0, p, &n, &e));
    assert_int_equal(n, 0);
    assert_ok(share_post_correction(5, 5, 0, p, &n, &e));
    assert_int_equal(share_balance(p, n, SHARE_RENTER_CASH), -5);
    assert_int_equal(share_balance(p, n, SHARE_NONE), 0);
    assert_ok(share_post_correction(0, 0, 0, p, &n, &e));
    assert_refused(share_post_correction(-1, -1, 0, p, &n, &e), ERR_RANGE);
}

static void
reserve__takes_nothing_for_something(void **state)
{
    enum reserve_unit u = RESERVE_NONE;
    struct err e = {0};
    int64_t a = -1;
    int64_t b = -1;

    (void)state;
    assert_refused(reserve_unit_parse("", &u, &e), ERR_INVALID);
    assert_ok(reserve_unit_parse("day", &u, &e));
    assert_int_equal(u, RESERVE_DAY);
    assert_ok(reserve_unit_parse("year365", &u, &e));
    assert_int_equal(u, RESERVE_YEAR);
    assert_ok(reserve_price(u, 0, 0, &a, &b, &e));
    assert_true(a == 0 && b == 0);
    assert_ok(reserve_price(RESERVE_DAY, 1, 0, &a, &b, &e));
    assert_true(a == 0 && b == 86400);
    assert_ok(reserve_overrun(0, 0, 36000000, &a, &e));
    assert_int_equal(a, 0);
    assert_ok(reserve_overrun(1, 0, 36000000, &a, &e));
    assert_int_equal(a, 1);
    assert_ok(reserve_refund(0, 0, 0, 0, 0, &a, &e));
    assert_int_equal(a, 0);
    assert_ok(reserve_refund(100, 36000000, 1, 99, 0, &a, &e));
    assert_int_equal(a, 1);
    assert_ok(reserve_refund(100, 36000000, 1, 101, 0, &a, &e));
    assert_int_equal(a, 0);
    assert_ok(reserve_refund_broken(0, 0, 1, &a, &e));
    assert_int_equal(a, 0);
    assert_ok(reserve_refund_broken(100, 8, 7, &a, &e));
    assert_int_equal(a, 0);
    assert_refused(reserve_refund_broken(-1, 0, 1, &a, &e), ERR_RANGE);
    assert_refused(reserve_refund_broken(0, -1, 1, &a, &e), ERR_RANGE);
    assert_ok(reserve_renew(5, 7, 0, &a, &e));
    assert_int_equal(a, 7);
    assert_ok(reserve_renew(7, 5, 1, &a, &e));
    assert_int_equal(a, 8);
    assert_ok(reserve_change(0, 10, 0, 1, &a, &e));
    assert_int_equal(a, 0);
    assert_ok(reserve_change(0, 10, 1, 1, &a, &e));
    assert_int_equal(a, 10);
}

static void
tariff__takes_nothing_for_something(void **state)
{
    const struct tariff_keeping none = {.paid_bytes = 0, .kept_s = 0};
    const struct tariff_keeping minus_bytes = {.paid_bytes = -1, .kept_s = 0};
    const struct tariff_keeping minus_s = {.paid_bytes = 0, .kept_s = -1};
    int64_t s = -1;
    int64_t to = -1;
    struct err e = {0};

    (void)state;
    assert_ok(tariff_eff_price(0, 0, &s, &e));
    assert_int_equal(s, 0);
    assert_ok(tariff_eff_price(7, TARIFF_BPS_ONE, &s, &e));
    assert_int_equal(s, 7);
    assert_refused(tariff_eff_price(7, -1, &s, &e), ERR_RANGE);
    assert_refused(tariff_eff_price(-1, 0, &s, &e), ERR_RANGE);
    assert_ok(tariff_charge_of(0, 1, &s, &e));
    assert_int_equal(s, 0);
    assert_ok(tariff_charge_of(1, 0, &s, &e));
    assert_int_equal(s, 0);
    assert_refused(tariff_charge_of(-1, 1, &s, &e), ERR_RANGE);
    assert_ok(tariff_max_seconds(0, 1, 1, &s, &e));
    assert_int_equal(s, 0);
    assert_ok(tariff_max_seconds(5, 1, 0, &s, &e));
    assert_true(s == INT64_MAX);
    assert_ok(tariff_alert_second(0, 0, 0, &s, &e));
    assert_true(s == INT64_MAX);
    assert_ok(tariff_alert_second(0, 1, 0, &s, &e));
    assert_int_equal(s, 0);
    assert_refused(tariff_alert_second(1, 1, -1, &s, &e), ERR_RANGE);
    assert_refused(tariff_alert_second(1, -1, 1, &s, &e), ERR_RANGE);
    assert_ok(tariff_invert(0, 1, &s, &to, &e));
    assert_true(s == 0 && to == 0);
    assert_refused(tariff_invert(0, -1, &s, &to, &e), ERR_RANGE);
    assert_refused(tariff_invert(INT64_MAX, 1, &s, &to, &e), ERR_RANGE);
    assert_ok(tariff_invert(INT64_MAX, 36000000, &s, &to, &e)); /* a fen a second */
    assert_true(s == INT64_MAX && to == INT64_MAX);
    assert_refused(tariff_invert(INT64_MAX, 35999999, &s, &to, &e), ERR_RANGE);
    {
        /* Cuts in any order, twice, at the ends and beyond: three seconds, each a fen. */
        const struct tariff_segment seg = {36000000, 1, 3, TARIFF_BPS_ONE};
        int64_t cuts[] = {2, 0, 1, 3, 2, 4, -1};
        int64_t lines[8];
        size_t n = 0;

        assert_ok(tariff_lines(&seg, 1, cuts, 7, 1, lines, &n, &to, &e));
        assert_int_equal(n, 3);
        assert_int_equal(to, 3);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(lines[i], 1);
        }
    }
    assert_ok(tariff_keeping(0, &none, 1, 1, &s, &e));
    assert_int_equal(s, 0);
    assert_refused(tariff_keeping(-1, &none, 1, 1, &s, &e), ERR_RANGE);
    assert_refused(tariff_keeping(1, &minus_bytes, 1, 1, &s, &e), ERR_RANGE);
    assert_refused(tariff_keeping(1, &minus_s, 1, 1, &s, &e), ERR_RANGE);
}

static struct usage_moment
at(int64_t mono_ns, int64_t boot_ns)
{
    return (struct usage_moment){.boot = "a", .mono_ns = mono_ns, .boot_ns = boot_ns};
}

/* The longest step, and the longest session, to the nanosecond. */
static void
usage__counts_exactly_so_far(void **state)
{
    const int64_t most = (int64_t)1 << 60;
    const struct usage_moment from = at(0, 0);
    struct usage_track t = {.state = USAGE_RUNNING};
    struct usage_moment to;
    struct err e = {0};

    (void)state;
    to = at(0, most);
    assert_ok(usage_book(&t, &from, &to, 0, &e));
    assert_int_equal(t.total.ns[USAGE_SUSPENDED], most);
    to = at(0, 0);
    assert_ok(usage_book(&t, &from, &to, 0, &e)); /* all of it, and no time after */
    t.total.ns[USAGE_SUSPENDED]++;
    assert_refused(usage_book(&t, &from, &to, 0, &e), ERR_INVALID);
    t = (struct usage_track){.state = USAGE_RUNNING};
    to = at(most, most);
    assert_ok(usage_book(&t, &from, &to, 0, &e));
    assert_int_equal(t.total.ns[USAGE_FAULT], most);
    t = (struct usage_track){.state = USAGE_RUNNING};
    to = at(most + 1, most);
    assert_refused(usage_book(&t, &from, &to, 0, &e), ERR_INVALID);
    to = at(most, most + 1);
    assert_refused(usage_book(&t, &from, &to, 0, &e), ERR_INVALID);
    /* An early preemption is one before the time, not at it. */
    t = (struct usage_track){.state = USAGE_RUNNING};
    usage_add(&t, 60);
    assert_int_equal(usage_preempt(&t, 60), 0);
    t = (struct usage_track){.state = USAGE_RUNNING};
    usage_add(&t, 59);
    assert_int_equal(usage_preempt(&t, 60), 59);
    assert_int_equal(usage_preempt(&t, 60), 0);
}

static void
lifecycle__stands_at_equal_times(void **state)
{
    struct lifecycle l = lifecycle_new(60);
    struct err e = {0};

    (void)state;
    assert_ok(lifecycle_step(&l, 5, LIFECYCLE_READY, false, 0, &e));
    assert_ok(lifecycle_step(&l, 5, LIFECYCLE_STOP, false, 0, &e));
    assert_refused(lifecycle_step(&l, 4, LIFECYCLE_END, false, 0, &e), ERR_RANGE);
    assert_int_equal(l.track.total.ns[USAGE_RUNNING], 0);
    assert_int_equal(l.track.total.ns[USAGE_PREPARING], 5);
    assert_int_equal(lifecycle_event_from_name(""), LIFECYCLE_NONE);
    assert_int_equal(lifecycle_event_from_name("ready"), LIFECYCLE_READY);
    assert_int_equal(lifecycle_event_from_name("provision_failed"),
                     LIFECYCLE_PROVISION_FAILED);
}

static void
ratio__reads_only_digits(void **state)
{
    static const char *const bad[] = {"1:",  "1/2:", "/",    "/1", "1//2", "1/2/3",
                                      "--1", "+1",   "1/02", "00", " 1"};
    struct ratio r;
    struct err e = {0};
    int64_t v = 0;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (ratio_parse(&r, bad[i], strlen(bad[i]), &e) == 0) {
            fail_msg("'%s'", bad[i]);
        }
    }
    assert_ok(ratio_parse(&r, &"09/10"[1], 4, &e));
    assert_ok(ratio_parse(&r, "18446744073709551615/2", 22, &e));
    assert_ok(ratio_round(&r, RATIO_FLOOR, &v, &e));
    assert_true(v == INT64_MAX);
    assert_refused(ratio_round(&r, RATIO_CEIL, &v, &e), ERR_RANGE);
    assert_refused(ratio_round(&r, RATIO_HALF_UP, &v, &e), ERR_RANGE);
}

/* Both ways of dividing, where 64 bits just hold the numbers and just do not. */
static void
wide__divides_alike_on_both_sides_of_64_bits(void **state)
{
    static const int64_t around[] = {INT64_MIN, -36000000, 0, 36000000, INT64_MAX};
    static const __int128 by[] = {1, 2, 3, 36000000, INT64_MAX, (__int128)INT64_MAX + 1};

    (void)state;
    for (size_t i = 0; i < sizeof around / sizeof *around; i++) {
        for (int d = -3; d <= 3; d++) {
            for (size_t k = 0; k < sizeof by / sizeof *by; k++) {
                __int128 a = (__int128)around[i] + d;
                __int128 b = by[k];
                __int128 down = wide_floor_div(a, b);
                __int128 up = wide_ceil_div(a, b);

                assert_true(down * b <= a && a - down * b < b);
                assert_true(up * b >= a && up * b - a < b);
            }
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wide__divides_alike_on_both_sides_of_64_bits),
        cmocka_unit_test(calendar__reads_each_field_to_its_ends),
        cmocka_unit_test(calendar__tells_time_only_as_far_as_it_can),
        cmocka_unit_test(evidence__takes_nothing_for_something),
        cmocka_unit_test(wallet__takes_nothing_for_something),
        cmocka_unit_test(share__takes_nothing_for_something),
        cmocka_unit_test(reserve__takes_nothing_for_something),
        cmocka_unit_test(tariff__takes_nothing_for_something),
        cmocka_unit_test(usage__counts_exactly_so_far),
        cmocka_unit_test(lifecycle__stands_at_equal_times),
        cmocka_unit_test(ratio__reads_only_digits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
