#include "meter/refuse.h"
#include "meter/tariff.h"
#include "tests/unit/unit.h"

#define P188 1880000

static int64_t
charge_or_die(int64_t price, int64_t n, int64_t s)
{
    const struct tariff_segment seg = {price, n, s, TARIFF_BPS_ONE};
    struct err e = {0};
    int64_t fen = -1;

    assert_ok(tariff_charge(&seg, 1, TARIFF_MIN_FEN, &fen, &e));
    return fen;
}

static void
tariff_charge__rounds_down_but_never_to_nothing(void **state)
{
    (void)state;
    assert_int_equal(charge_or_die(P188, 1, 0), 0);
    assert_int_equal(charge_or_die(P188, 1, 1), 1);
    assert_int_equal(charge_or_die(P188, 1, 38), 1); /* 1.98 fen */
    assert_int_equal(charge_or_die(P188, 1, 39), 2); /* 2.04 fen */
    assert_int_equal(charge_or_die(P188, 2, 3600), 376);
    assert_int_equal(charge_or_die(0, 8, 86400), 0);
    assert_int_equal(charge_or_die(P188, 0, 86400), 0);
}

static void
tariff_charge__refuses_what_it_cannot_count(void **state)
{
    struct tariff_segment s = {P188, 1, 1, TARIFF_BPS_ONE};
    struct err e = {0};
    int64_t fen = 77;

    (void)state;
    s.used_s = -1;
    assert_refused(tariff_charge(&s, 1, 1, &fen, &e), ERR_RANGE);
    s.used_s = 1;
    s.n_units = -1;
    assert_refused(tariff_charge(&s, 1, 1, &fen, &e), ERR_RANGE);
    s.n_units = 1;
    s.price_uyuan_per_h = -1;
    assert_refused(tariff_charge(&s, 1, 1, &fen, &e), ERR_RANGE);
    s.price_uyuan_per_h = 1;
    s.discount_bps = 10001;
    assert_refused(tariff_charge(&s, 1, 1, &fen, &e), ERR_RANGE);
    s.discount_bps = 9999;
    assert_refused(tariff_charge(&s, 1, 1, &fen, &e), ERR_INVALID);
    assert_int_equal(refuse_of(&e), REFUSE_INEXACT_PRICE);
    s = (struct tariff_segment){INT64_MAX, INT64_MAX, INT64_MAX, TARIFF_BPS_ONE};
    assert_refused(tariff_charge(&s, 1, 1, &fen, &e), ERR_RANGE);
    s = (struct tariff_segment){INT64_MAX, INT64_MAX, 1, TARIFF_BPS_ONE};
    assert_refused(tariff_charge(&s, 1, 1, &fen, &e), ERR_RANGE);
    assert_int_equal(fen, 77);
}

static void
tariff_charge__is_right_at_the_edge_of_its_range(void **state)
{
    /* The largest charge there is, and one fen more. */
    (void)state;
    assert_true(charge_or_die(INT64_MAX, 36000000, 1) == INT64_MAX);
    {
        const struct tariff_segment s[2] = {{INT64_MAX, 36000000, 1, TARIFF_BPS_ONE},
                                            {36000000, 1, 1, TARIFF_BPS_ONE}};
        struct err e = {0};
        int64_t fen = 0;

        assert_refused(tariff_charge(s, 2, 1, &fen, &e), ERR_RANGE);
    }
}

static void
tariff_lines__sum_to_the_charge_at_any_cut(void **state)
{
    const struct tariff_segment s[2] = {{P188, 1, 3600, TARIFF_BPS_ONE},
                                        {100000, 1, 60, TARIFF_BPS_ONE}};
    int64_t cuts[] = {3660, 3599, -5, 0, 3599, 3600, 3601, 9999};
    int64_t lines[9];
    struct err e = {0};
    size_t n = 0;
    int64_t total = 0;

    (void)state;
    assert_ok(tariff_lines(s, 2, cuts, 8, 1, lines, &n, &total, &e));
    assert_int_equal(n, 4);
    assert_int_equal(total, 188);
    assert_int_equal(lines[0], 187);
    assert_int_equal(lines[1], 1);
    assert_int_equal(lines[2] + lines[3], 0);
}

static void
tariff_lines__puts_the_minimum_at_the_end(void **state)
{
    const struct tariff_segment s = {P188, 1, 6, TARIFF_BPS_ONE};
    int64_t cuts[] = {2, 4};
    int64_t lines[3];
    struct err e = {0};
    size_t n = 0;
    int64_t total = 0;

    (void)state;
    assert_ok(tariff_lines(&s, 1, cuts, 2, 1, lines, &n, &total, &e));
    assert_int_equal(n, 3);
    assert_int_equal(lines[0], 0);
    assert_int_equal(lines[1], 0);
    assert_int_equal(lines[2], 1);
    assert_ok(tariff_lines(&s, 0, NULL, 0, 1, lines, &n, &total, &e));
    assert_int_equal(n, 1);
    assert_int_equal(lines[0], 0);
}

static void
tariff_max_seconds__is_the_last_second_within(void **state)
{
    struct err e = {0};
    int64_t s = 0;

    (void)state;
    assert_ok(tariff_max_seconds(500, P188, 1, &s, &e));
    assert_int_equal(s, 9574);
    assert_ok(tariff_max_seconds(1, 36000000, 1, &s, &e));
    assert_int_equal(s, 1);
    assert_ok(tariff_max_seconds(1, 36000001, 1, &s, &e));
    assert_int_equal(s, 0);
    assert_ok(tariff_max_seconds(-1, P188, 1, &s, &e));
    assert_int_equal(s, 0);
    assert_ok(tariff_max_seconds(0, 0, 1, &s, &e));
    assert_true(s == INT64_MAX);
    assert_ok(tariff_max_seconds(INT64_MAX, 1, 1, &s, &e));
    assert_true(s == INT64_MAX);
    assert_refused(tariff_max_seconds(1, -1, 1, &s, &e), ERR_RANGE);
    assert_refused(tariff_max_seconds(1, 1, -1, &s, &e), ERR_RANGE);
}

static void
tariff_alert__never_comes_after_the_stop(void **state)
{
    struct err e = {0};
    int64_t s = 0;

    (void)state;
    assert_ok(tariff_alert_second(500, P188, 50, &s, &e));
    assert_int_equal(s, 4788);
    assert_ok(tariff_alert_second(500, P188, 100, &s, &e));
    assert_int_equal(s, 9574);
    assert_ok(tariff_alert_second(500, P188, 0, &s, &e));
    assert_int_equal(s, 0);
    assert_ok(tariff_alert_second(INT64_MAX, 1, INT64_MAX, &s, &e));
    assert_true(s == INT64_MAX);
    assert_refused(tariff_alert_second(-1, P188, 50, &s, &e), ERR_RANGE);
}

static void
tariff_invert__finds_all_seconds_of_a_charge(void **state)
{
    struct err e = {0};
    int64_t from = 0;
    int64_t to = 0;

    (void)state;
    for (int64_t fen = 0; fen < 400; fen++) {
        assert_ok(tariff_invert(fen, P188, &from, &to, &e));
        assert_int_equal(charge_or_die(P188, 1, from), fen);
        assert_int_equal(charge_or_die(P188, 1, to), fen);
        assert_int_not_equal(charge_or_die(P188, 1, to + 1), fen);
        if (from > 0) {
            assert_int_not_equal(charge_or_die(P188, 1, from - 1), fen);
        }
    }
    assert_refused(tariff_invert(1, 36000000 * 2, &from, &to, &e), ERR_RANGE);
    assert_refused(tariff_invert(-1, P188, &from, &to, &e), ERR_RANGE);
    assert_refused(tariff_invert(1, 0, &from, &to, &e), ERR_RANGE);
    assert_ok(tariff_invert(0, 0, &from, &to, &e));
    assert_true(from == 0 && to == INT64_MAX);
}

static void
tariff_keeping__counts_bytes_as_gigabytes(void **state)
{
    const struct tariff_keeping gb[2] = {{150, 40000}, {450, 46400}};
    const struct tariff_keeping bytes[2] = {{150000000000, 40000}, {450000000000, 46400}};
    struct err e = {0};
    int64_t fen = 0;

    (void)state;
    assert_ok(tariff_keeping_gb(6600, gb, 2, 0, &fen, &e));
    assert_int_equal(fen, 205);
    assert_ok(tariff_keeping(6600, bytes, 2, 0, &fen, &e));
    assert_int_equal(fen, 205);
    assert_ok(tariff_keeping(6600, bytes, 2, 300, &fen, &e));
    assert_int_equal(fen, 300);
    assert_ok(tariff_keeping(6600, NULL, 0, 1, &fen, &e));
    assert_int_equal(fen, 0);
    assert_ok(tariff_keeping_hold(6600, 150000000000, 86400, &fen, &e));
    assert_int_equal(fen, 99);
    assert_ok(tariff_keeping_hold(6600, 150000000001, 86400, &fen, &e));
    assert_int_equal(fen, 100);
    assert_ok(tariff_keeping_hold(6600, 0, 86400, &fen, &e));
    assert_int_equal(fen, 0);
    assert_refused(tariff_keeping_hold(6600, -1, 86400, &fen, &e), ERR_RANGE);
    assert_refused(tariff_keeping_hold(6600, 1, -1, &fen, &e), ERR_RANGE);
    assert_refused(tariff_keeping_hold(-1, 1, 1, &fen, &e), ERR_RANGE);
    assert_refused(tariff_keeping_hold(INT64_MAX, INT64_MAX, INT64_MAX, &fen, &e),
                   ERR_RANGE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tariff_charge__rounds_down_but_never_to_nothing),
        cmocka_unit_test(tariff_charge__refuses_what_it_cannot_count),
        cmocka_unit_test(tariff_charge__is_right_at_the_edge_of_its_range),
        cmocka_unit_test(tariff_lines__sum_to_the_charge_at_any_cut),
        cmocka_unit_test(tariff_lines__puts_the_minimum_at_the_end),
        cmocka_unit_test(tariff_max_seconds__is_the_last_second_within),
        cmocka_unit_test(tariff_alert__never_comes_after_the_stop),
        cmocka_unit_test(tariff_invert__finds_all_seconds_of_a_charge),
        cmocka_unit_test(tariff_keeping__counts_bytes_as_gigabytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
