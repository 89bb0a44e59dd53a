/*
 * The small laws beside the tariff: calendar, evidence, wallet, shares, reservations,
 * chains. The vectors hold their usual cases; here are the edges and the refusals.
 */
#include "meter/calendar.h"
#include "meter/chain.h"
#include "meter/evidence.h"
#include "meter/idem.h"
#include "meter/lifecycle.h"
#include "meter/refuse.h"
#include "meter/reserve.h"
#include "meter/share.h"
#include "meter/wallet.h"
#include "tests/unit/unit.h"

static void
calendar__reads_only_real_times(void **state)
{
    static const char *const bad[] = {
        "",
        "2026-01-31",
        "2026-01-31T10:00:00",
        "2026-02-29T10:00:00Z",
        "2026-04-31T10:00:00Z",
        "2026-00-01T10:00:00Z",
        "2026-13-01T10:00:00Z",
        "2026-01-00T10:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T10:60:00Z",
        "2026-01-01T10:00:60Z",
        "2026-01-01T10:00:00.5Z",
        "2026-01-01 10:00:00Z",
        "2026-01-01T10:00:00z",
        "2026-01-01T10:00:00+0800",
        "2026-01-01T10:00:00+24:00",
        "2026-01-01T10:00:00+08:60",
        "2026-01-01T10:00:00 08:00",
        "2O26-01-01T10:00:00Z",
    };
    struct calendar_time t;
    char text[CALENDAR_TEXT_MAX];
    struct err e = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (calendar_parse(bad[i], strlen(bad[i]), &t, &e) == 0) {
            fail_msg("'%s' was read", bad[i]);
        }
        assert_int_equal(refuse_of(&e), REFUSE_SYNTAX);
    }
    assert_ok(calendar_parse("2024-02-29T23:59:59-05:30", 25, &t, &e));
    assert_int_equal(t.unix_s, 1709270999);
    assert_ok(calendar_format(&t, text, &e));
    assert_string_equal(text, "2024-02-29T23:59:59-05:30");
    assert_ok(calendar_parse("1969-12-31T23:59:59Z", 20, &t, &e));
    assert_int_equal(t.unix_s, -1);
    assert_ok(calendar_add(&t, 2, &t, &e));
    assert_ok(calendar_format(&t, text, &e));
    assert_string_equal(text, "1970-01-01T00:00:01Z");
    assert_ok(calendar_parse("9999-12-31T23:59:59Z", 20, &t, &e));
    assert_ok(calendar_add(&t, 1, &t, &e));
    assert_refused(calendar_format(&t, text, &e), ERR_RANGE);
    assert_refused(calendar_add(&t, INT64_MAX, &t, &e), ERR_RANGE);
    t.unix_s = INT64_MIN;
    assert_refused(calendar_format(&t, text, &e), ERR_RANGE);
    assert_refused(calendar_check_tz("UTC", &e), ERR_INVALID);
    assert_ok(calendar_check_tz("Asia/Shanghai", &e));
}

static void
calendar__cuts_days_and_months(void **state)
{
    int64_t *cuts = NULL;
    size_t n = 0;
    int64_t from = 0;
    int64_t to = 0;
    char text[CALENDAR_MONTH_MAX];
    struct err e = {0};

    (void)state;
    assert_ok(calendar_windows(0, 0, 3600, &cuts, &n, &e));
    assert_int_equal(n, 0);
    assert_ok(calendar_windows(3600, 7200, 3600, &cuts, &n, &e));
    assert_int_equal(n, 0); /* both ends are cuts already */
    assert_ok(calendar_windows(3599, 7201, 3600, &cuts, &n, &e));
    assert_int_equal(n, 2);
    assert_int_equal(cuts[0], 1);
    assert_int_equal(cuts[1], 3601);
    free(cuts);
    assert_ok(calendar_windows(10, 5, 3600, &cuts, &n, &e));
    assert_int_equal(n, 0);
    assert_refused(calendar_windows(0, 10, 7, &cuts, &n, &e), ERR_RANGE);
    assert_refused(calendar_windows(0, 10, 0, &cuts, &n, &e), ERR_RANGE);
    assert_refused(calendar_windows(0, CALENDAR_PIECES_MAX + 2, 1, &cuts, &n, &e),
                   ERR_RANGE);
    assert_refused(calendar_windows(0, INT64_MAX, 86400, &cuts, &n, &e), ERR_RANGE);
    assert_refused(calendar_months(INT64_MIN, 0, &cuts, &n, &e), ERR_RANGE);
    assert_refused(calendar_months(0, (int64_t)1 << 54, &cuts, &n, &e), ERR_RANGE);
    assert_ok(calendar_parse_month("2026-11", &from, &to, &e));
    assert_int_equal(from, 1793462400);
    assert_int_equal(to, 1796054400);
    assert_int_equal(calendar_month_start(to - 1), from);
    assert_int_equal(calendar_month_start(to), to);
    assert_int_equal(calendar_month_end(from), to);
    calendar_month(from, text);
    assert_string_equal(text, "2026-11");
    calendar_month(from - 1, text);
    assert_string_equal(text, "2026-10");
    calendar_day(to - 1, text);
    assert_string_equal(text, "2026-11-30");
    assert_refused(calendar_parse_month("2026-13", &from, &to, &e), ERR_INVALID);
    assert_refused(calendar_parse_month("2026-00", &from, &to, &e), ERR_INVALID);
    assert_refused(calendar_parse_month("2026/11", &from, &to, &e), ERR_INVALID);
    assert_refused(calendar_parse_month("2026-1", &from, &to, &e), ERR_INVALID);
    assert_ok(calendar_months(from, to, &cuts, &n, &e));
    assert_int_equal(n, 0);
    assert_ok(calendar_months(from - 1, to + 1, &cuts, &n, &e));
    assert_int_equal(n, 2);
    free(cuts);
}

static void
evidence__refuses_what_cannot_be(void **state)
{
    struct evidence_span s[2] = {{INT64_MIN, INT64_MAX}, {5, 4}};
    struct evidence_heartbeat b[3] = {{3, 5}, {1, 9}, {3, 6}};
    struct err e = {0};
    int64_t v = 0;
    bool flagged = false;

    (void)state;
    assert_ok(evidence_elapsed(s, 1, &v, &e));
    assert_int_equal(v, 18446744073LL);
    assert_refused(evidence_elapsed(s, 2, &v, &e), ERR_INVALID);
    assert_ok(evidence_elapsed(s, 0, &v, &e));
    assert_int_equal(v, 0);
    assert_refused(evidence_heartbeats(b, 3, INT64_MAX, &v, &e), ERR_INVALID);
    assert_int_equal(refuse_of(&e), REFUSE_HEARTBEAT); /* before the counter's fall */
    assert_refused(evidence_heartbeats(b, 2, INT64_MAX, &v, &e), ERR_INVALID);
    assert_int_equal(refuse_of(&e), REFUSE_COUNTER_BACK);
    assert_ok(evidence_heartbeats(b, 0, 7, &v, &e));
    assert_int_equal(v, 0);
    assert_refused(evidence_referee(-1, 0, 0, 0, &v, &flagged, &e), ERR_RANGE);
    assert_ok(evidence_referee(3602, 3600, 2, 0, &v, &flagged, &e));
    assert_false(flagged); /* equality is within */
    assert_int_equal(v, 3602);
    assert_ok(evidence_referee(3597, 3600, 2, 0, &v, &flagged, &e));
    assert_true(flagged);
    assert_int_equal(v, 3597);
    s[0] = (struct evidence_span){10, 20};
    s[1] = (struct evidence_span){15, 15};
    assert_ok(evidence_union(s, 2, &v, &e));
    assert_int_equal(v, 10);
    assert_int_equal(evidence_billable(10, 3, 7, 5), 7);
    assert_int_equal(evidence_billable(6, 3, 7, 5), 6);
    assert_int_equal(evidence_billable(10, 9, 7, 5), 9);
}

/* By when the money ends, not by how that is written. */
static void
wallet__pays_first_from_what_ends_first(void **state)
{
    static const struct wallet_bucket b[] = {
        {"never", WALLET_VOUCHER, 100, NULL, 0},
        {"word", WALLET_VOUCHER, 100, "1999", 0},
        {"zulu", WALLET_VOUCHER, 100, "2026-06-30T17:00:00Z", 0},
        {"day", WALLET_VOUCHER, 100, "2026-06-30", 0},
        {"noon", WALLET_VOUCHER, 100, "2026-06-30T12:00:00+08:00", 0},
        {"west", WALLET_VOUCHER, 100, "2026-06-29T23:00:00-08:00", 0},
        {"later", WALLET_VOUCHER, 100, "2026-07-01", 0},
        {"last", WALLET_VOUCHER, 100, "2026-06-30T23:59:59+08:00", 0}, /* as "day" */
    };
    static const char *const want[] = {"noon", "west",  "day",  "last",
                                       "zulu", "later", "word", "never"};
    size_t order[8];

    (void)state;
    assert_int_equal(wallet_voucher_order(1000, b, 8, order), 8);
    for (size_t i = 0; i < 8; i++) {
        assert_string_equal(b[order[i]].id, want[i]);
    }
}

static void
wallet__refuses_what_cannot_be(void **state)
{
    const struct wallet_bucket b[] = {
        {"v", WALLET_VOUCHER, 100, NULL, 50},
        {"w", WALLET_VOUCHER, 100, "2026-01-01", 0},
        {"c", WALLET_CASH, -5, NULL, 0},
    };
    struct wallet_share taken[3];
    struct wallet_share back[3];
    const bool expired[3] = {false};
    size_t order[3];
    size_t n = 0;
    size_t n_back = 0;
    int64_t v = 0;
    int64_t w = 0;
    bool accepted = false;
    struct err e = {0};

    (void)state;
    assert_int_equal(wallet_type_from_name("gift"), WALLET_GIFT);
    assert_int_equal(wallet_type_from_name("Gift"), WALLET_NONE);
    assert_int_equal(wallet_voucher_order(50, b, 3, order), 2);
    assert_int_equal(order[0], 1); /* no expiry comes last */
    assert_int_equal(wallet_voucher_order(49, b, 3, order), 1);
    assert_ok(wallet_deduct(250, b, 3, taken, &n, &v, &e));
    assert_int_equal(n, 2);
    assert_int_equal(v, 50); /* an overdrawn bucket gives nothing */
    assert_refused(wallet_deduct(-1, b, 3, taken, &n, &v, &e), ERR_RANGE);
    assert_refused(wallet_refund(-1, taken, expired, 2, back, &n_back, &v, &e),
                   ERR_RANGE);
    assert_ok(wallet_refund(1000, taken, expired, 2, back, &n_back, &v, &e));
    assert_int_equal(n_back, 2);
    assert_int_equal(back[0].fen + back[1].fen, 200);
    assert_refused(wallet_topup(-1, 0, &v, &w, &e), ERR_RANGE);
    assert_refused(wallet_topup(0, -1, &v, &w, &e), ERR_RANGE);
    assert_ok(wallet_topup(300, 200, &v, &w, &e));
    assert_true(v == 200 && w == 0);
    assert_ok(wallet_hold_check(100, 70, 0, 30, &accepted, &v, &e));
    assert_true(accepted && v == 30);
    assert_ok(wallet_hold_check(100, 70, 0, 31, &accepted, &v, &e));
    assert_false(accepted);
    assert_refused(wallet_hold_check(100, 70, 0, -1, &accepted, &v, &e), ERR_RANGE);
    assert_refused(wallet_hold_check(INT64_MIN, INT64_MAX, 0, 1, &accepted, &v, &e),
                   ERR_RANGE);
    assert_ok(wallet_hold_post(5, 5, &v, &e));
    assert_int_equal(v, 0);
    assert_refused(wallet_hold_post(5, 6, &v, &e), ERR_INVALID);
    assert_int_equal(refuse_of(&e), REFUSE_EXCEEDS);
    assert_refused(wallet_hold_post(-1, -2, &v, &e), ERR_RANGE);
    assert_int_equal(wallet_payment(5, 7), 0);
    assert_true(wallet_payment(INT64_MAX, INT64_MIN) == INT64_MAX);
}

static void
wallet__stretches_reach_as_far_as_the_money(void **state)
{
    struct wallet_job forever = {.price_uyuan_per_h = 0, .n_units = 1};
    struct wallet_replay w;
    int64_t len = 0;
    int64_t need = 0;
    struct err e = {0};

    (void)state;
    assert_ok(wallet_stretch(36000000, 1, 0, 0, 5, 300, &len, &need, &e));
    assert_true(len == 5 && need == 5);
    assert_ok(wallet_stretch(36000000, 1, 5, 5, 0, 300, &len, &need, &e));
    assert_true(len == 0 && need == 0);
    assert_ok(wallet_stretch(36000000, 1, 0, 0, -5, 300, &len, &need, &e));
    assert_int_equal(len, 0);
    assert_ok(wallet_stretch(0, 1, 100, 0, 0, 300, &len, &need, &e));
    assert_true(len == 300 && need == 0);
    assert_refused(wallet_stretch(-1, 1, 0, 0, 0, 300, &len, &need, &e), ERR_RANGE);
    assert_refused(wallet_stretch(1, -1, 0, 0, 0, 300, &len, &need, &e), ERR_RANGE);
    assert_refused(wallet_stretch(1, 1, -1, 0, 0, 300, &len, &need, &e), ERR_RANGE);
    assert_refused(wallet_stretch(1, 1, 0, 0, 0, -1, &len, &need, &e), ERR_RANGE);
    assert_refused(wallet_replay(5, 300, &forever, 1, &w, &e), ERR_RANGE);
    assert_refused(wallet_replay(-1, 300, NULL, 0, &w, &e), ERR_RANGE);
    assert_ok(wallet_replay(7, 300, NULL, 0, &w, &e));
    assert_int_equal(w.balance_fen, 7);
}

static void
share__refuses_what_cannot_be(void **state)
{
    const int64_t huge[2] = {INT64_MAX, 1};
    const int64_t none[2] = {0, 0};
    const int64_t negative[2] = {1, -1};
    const int64_t even[3] = {1, 1, 1};
    struct share_posting p[SHARE_POSTINGS_MAX];
    int64_t lines[2];
    int64_t parts[3];
    int64_t a = 0;
    int64_t b = 0;
    int64_t c = 0;
    size_t n = 0;
    struct err e = {0};

    (void)state;
    assert_refused(share_split(1, -1, &a, &b, &e), ERR_RANGE);
    assert_refused(share_split(1, 10001, &a, &b, &e), ERR_RANGE);
    assert_refused(share_split_lines(huge, 2, 1, lines, lines, &a, &b, &e), ERR_RANGE);
    assert_refused(share_split_lines(huge, 0, -1, lines, lines, &a, &b, &e), ERR_RANGE);
    assert_refused(share_split_voucher(5, 0, 6, &a, &b, &c, &e), ERR_RANGE);
    assert_refused(share_split_voucher(5, 0, -1, &a, &b, &c, &e), ERR_RANGE);
    assert_refused(share_prorata(5, none, 2, parts, &e), ERR_RANGE);
    assert_refused(share_prorata(5, negative, 2, parts, &e), ERR_RANGE);
    assert_ok(share_prorata(5, even, 3, parts, &e));
    assert_true(parts[0] == 2 && parts[1] == 2 && parts[2] == 1);
    assert_ok(share_prorata(-5, even, 3, parts, &e));
    assert_int_equal(parts[0] + parts[1] + parts[2], -5);
    assert_refused(share_vat(1, -1, &a, &b, &e), ERR_RANGE);
    assert_refused(share_vat_invoice(huge, 2, 0, &a, &b, &e), ERR_RANGE);
    assert_ok(share_vat(0, 600, &a, &b, &e));
    assert_true(a == 0 && b == 0);
    assert_refused(share_post_session(5, 6, 0, p, &n, &e), ERR_RANGE);
    assert_refused(share_post_correction(5, 6, 0, p, &n, &e), ERR_RANGE);
    assert_refused(share_post_correction(5, -1, 0, p, &n, &e), ERR_RANGE);
    assert_ok(share_post_session(0, 0, 1000, p, &n, &e));
    assert_int_equal(n, 0);
    assert_ok(share_post_session(188, 100, 1000, p, &n, &e));
    assert_int_equal(n, 4);
    assert_int_equal(share_balance(p, n, SHARE_CLEARING), 0);
    assert_int_equal(share_balance(p, n, SHARE_RENTER_CASH), 88);
    assert_int_equal(share_balance(p, n, SHARE_OWNER_PAYABLE), -170);
    assert_string_equal(share_account_name(SHARE_PLATFORM_FEE), "platform:fee");
}

static void
reserve__refuses_what_cannot_be(void **state)
{
    enum reserve_unit u = RESERVE_NONE;
    int64_t a = 0;
    int64_t b = 0;
    struct err e = {0};

    (void)state;
    assert_ok(reserve_unit_parse("month30", &u, &e));
    assert_int_equal(reserve_unit_s(u), 720 * 3600);
    assert_string_equal(reserve_unit_name(u), "month30");
    assert_refused(reserve_unit_parse("month", &u, &e), ERR_INVALID);
    assert_refused(reserve_price(u, -1, 1, &a, &b, &e), ERR_RANGE);
    assert_refused(reserve_price(u, 1, -1, &a, &b, &e), ERR_RANGE);
    assert_refused(reserve_price(u, INT64_MAX, 2, &a, &b, &e), ERR_RANGE);
    assert_refused(reserve_overrun(5, 6, 1, &a, &e), ERR_RANGE);
    assert_refused(reserve_overrun(5, -1, 1, &a, &e), ERR_RANGE);
    assert_refused(reserve_refund(-1, 1, 1, 1, 0, &a, &e), ERR_RANGE);
    assert_refused(reserve_refund(1, 1, 1, 1, -1, &a, &e), ERR_RANGE);
    assert_ok(reserve_refund(100, 0, 1, 1, 20000, &a, &e));
    assert_int_equal(a, 0);
    assert_ok(reserve_refund(100, 0, 1, 0, 500, &a, &e));
    assert_int_equal(a, 100);
    assert_ok(reserve_refund(101, 0, 1, 1, 100, &a, &e));
    assert_int_equal(a, 99); /* the fee is a ceil */
    assert_refused(reserve_refund_broken(1, 1, 0, &a, &e), ERR_RANGE);
    assert_ok(reserve_refund_broken(100, 7, 7, &a, &e));
    assert_int_equal(a, 0);
    assert_ok(reserve_refund_broken(100, 0, 7, &a, &e));
    assert_int_equal(a, 100);
    assert_refused(reserve_renew(INT64_MAX, 0, 1, &a, &e), ERR_RANGE);
    assert_refused(reserve_renew(0, 0, -1, &a, &e), ERR_RANGE);
    assert_refused(reserve_change(0, INT64_MAX, INT64_MAX, 1, &a, &e), ERR_RANGE);
    assert_refused(reserve_change(0, 1, 1, 0, &a, &e), ERR_RANGE);
    assert_refused(reserve_change(0, 1, -1, 1, &a, &e), ERR_RANGE);
    assert_refused(reserve_refund_of(1, -1, 1, 0, &a, &e), ERR_RANGE);
    assert_refused(reserve_refund_of(1, 1, -1, 0, &a, &e), ERR_RANGE);
    assert_ok(reserve_refund_of(6000, 1880, 36000, 1000, &a, &e));
    assert_int_equal(a, 3520);
    {
        /* 2/3 + 2/3: floored once, not each. */
        const struct reserve_rest two[] = {{0, 1, 2}, {0, 1, 2}};
        const struct reserve_rest most[] = {{INT64_MIN, INT64_MAX, INT64_MAX},
                                            {INT64_MIN, INT64_MAX, INT64_MAX}};
        const struct reserve_rest least[] = {{INT64_MAX, INT64_MIN, INT64_MAX},
                                             {INT64_MAX, INT64_MIN, INT64_MAX}};

        assert_ok(reserve_change_all(two, 2, 3, &a, &e));
        assert_int_equal(a, 1);
        assert_ok(reserve_change_all(two, 0, 3, &a, &e));
        assert_int_equal(a, 0);
        assert_refused(reserve_change_all(most, 2, 3, &a, &e), ERR_RANGE);
        assert_refused(reserve_change_all(least, 2, 3, &a, &e), ERR_RANGE);
    }
    assert_ok(reserve_change(10, 0, 1, 3, &a, &e));
    assert_int_equal(a, -4); /* floor */
}

static void
idem__remembers_every_key(void **state)
{
    struct idem *t = idem_new();
    struct err e = {0};
    size_t first = 0;
    char key[32];

    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "k%zu", i);
        assert_ok(idem_use(t, key, "b", i, &first, &e));
        assert_int_equal(first, i);
    }
    for (size_t i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "k%zu", i);
        assert_ok(idem_use(t, key, "b", 5000, &first, &e));
        assert_int_equal(first, i);
        assert_refused(idem_use(t, key, "c", 5000, &first, &e), ERR_INVALID);
        assert_int_equal(refuse_of(&e), REFUSE_KEY_MISMATCH);
    }
    idem_free(t);
    idem_free(NULL);
}

static void
lifecycle__keeps_its_rules_in_odd_orders(void **state)
{
    struct lifecycle l = lifecycle_new(60);
    struct err e = {0};

    (void)state;
    assert_ok(lifecycle_step(&l, 5, LIFECYCLE_UNSUSPEND, false, 0, &e));
    assert_int_equal(l.track.state, USAGE_PREPARING);
    assert_ok(lifecycle_step(&l, 10, LIFECYCLE_NOCARD_READY, false, 0, &e));
    assert_ok(lifecycle_step(&l, 20, LIFECYCLE_SUSPEND, false, 0, &e));
    assert_ok(lifecycle_step(&l, 50, LIFECYCLE_UNSUSPEND, false, 0, &e));
    assert_int_equal(l.track.state, USAGE_SETUP);
    assert_refused(lifecycle_step(&l, 49, LIFECYCLE_READY, false, 0, &e), ERR_RANGE);
    assert_ok(lifecycle_step(&l, 60, LIFECYCLE_READY, false, 0, &e));
    assert_ok(lifecycle_step(&l, 70, LIFECYCLE_SNAP_END, false, 0, &e));
    assert_int_equal(l.track.state, USAGE_RUNNING);
    assert_ok(lifecycle_step(&l, 80, LIFECYCLE_HOST_LOST, false, 5, &e));
    assert_int_equal(l.track.total.ns[USAGE_RUNNING], 10);
    assert_int_equal(l.track.total.ns[USAGE_LOST], 10);
    assert_ok(lifecycle_step(&l, 90, LIFECYCLE_END, false, 0, &e));
    assert_int_equal(l.track.total.ns[USAGE_SETUP], 20);
    assert_int_equal(l.track.total.ns[USAGE_SUSPENDED], 30);
    assert_int_equal(l.track.total.ns[USAGE_ENDED], 0);
    assert_int_equal(lifecycle_event_from_name("reading"), LIFECYCLE_NONE);
}

static void
chain__finds_the_first_break(void **state)
{
    const char *records[2] = {"t\nseq=7\nprev=0000000000000000000000000000000000000000000"
                              "000000000000000000000\n",
                              "t\nnothing\n"};
    size_t lens[2] = {strlen(records[0]), strlen(records[1])};
    struct merkle m;
    struct sha256 empty;
    struct sha256 root;
    int64_t bad = 0;
    size_t n = 0;

    (void)state;
    assert_true(chain_check(records, lens, 1, &bad));
    assert_true(chain_check(records, lens, 0, &bad));
    assert_false(chain_check(records, lens, 2, &bad));
    assert_int_equal(bad, 2); /* no seq: its place */
    records[1] = "t\nseq=99999999999999999999\nprev=00\n";
    lens[1] = strlen(records[1]);
    assert_false(chain_check(records, lens, 2, &bad));
    assert_int_equal(bad, 2);
    records[1] = "t\nseq=12\n";
    lens[1] = strlen(records[1]);
    assert_false(chain_check(records, lens, 2, &bad));
    assert_int_equal(bad, 12);
    assert_null(chain_field("a=1\nbc=2", 8, "b", &n));
    assert_memory_equal(chain_field("a=1\nbc=2", 8, "bc", &n), "2", 1);
    assert_int_equal(n, 1);
    merkle_init(&m);
    merkle_root(&m, &root);
    sha256_of("", 0, &empty);
    assert_true(sha256_equal(&root, &empty));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calendar__reads_only_real_times),
        cmocka_unit_test(calendar__cuts_days_and_months),
        cmocka_unit_test(evidence__refuses_what_cannot_be),
        cmocka_unit_test(wallet__pays_first_from_what_ends_first),
        cmocka_unit_test(wallet__refuses_what_cannot_be),
        cmocka_unit_test(wallet__stretches_reach_as_far_as_the_money),
        cmocka_unit_test(share__refuses_what_cannot_be),
        cmocka_unit_test(reserve__refuses_what_cannot_be),
        cmocka_unit_test(idem__remembers_every_key),
        cmocka_unit_test(lifecycle__keeps_its_rules_in_odd_orders),
        cmocka_unit_test(chain__finds_the_first_break),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
