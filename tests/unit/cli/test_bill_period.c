/* What a bill's lines come to by day and month, whatever a host's clock said. */
#include "runner/cli/bill.h"
#include "tests/unit/unit.h"

#define NS_PER_S ((int64_t)1000000000)
#define DAY_S    86400
#define NOON_S   1795435200 /* 2026-11-23 20:00 in Shanghai */

static void
sums(int64_t from_s, int64_t to_s, bool by_day, struct bill_periods *p)
{
    struct bill_line line = {.kind = BILL_DEVICE,
                             .seconds = 3600,
                             .fen = 188,
                             .from_wall_ns = from_s * NS_PER_S,
                             .to_wall_ns = to_s * NS_PER_S,
                             .month = "2026-11"};
    struct receipt r = {.last = {.at = {.wall_ns = from_s * NS_PER_S}}};
    struct bill_entry en = {.receipt = &r, .bill = {.lines = &line, .n_lines = 1}};
    struct bill_entries l = {.v = &en, .n = 1};

    bill_periods_of(p, &l, NULL, by_day);
}

static void
bill_periods__divide_a_line_where_days_begin(void **state)
{
    struct bill_periods p;

    (void)state;
    sums(NOON_S, NOON_S + DAY_S, true, &p);
    assert_int_equal(p.n, 2);
    assert_string_equal(p.v[0].name, "2026-11-23");
    assert_int_equal(p.v[0].fen, 188 * 4 / 24);
    assert_int_equal(p.v[0].device_s, 600);
    assert_int_equal(p.v[0].fen + p.v[1].fen, 188);
    assert_int_equal(p.v[0].device_s + p.v[1].device_s, 3600);
    bill_periods_free(&p);
    sums(NOON_S, NOON_S + 366LL * DAY_S, true, &p);
    assert_int_equal(p.n, 367);
    bill_periods_free(&p);
}

/* From 1970 until 2026, or back: a clock was set, and no day in between saw any of it. */
static void
bill_periods__believe_no_clock_that_leapt(void **state)
{
    static const struct {
        int64_t from_s;
        int64_t to_s;
    } cases[] = {
        {0, NOON_S},
        {NOON_S, 0},
        {NOON_S, NOON_S + 366LL * DAY_S + 1},
        {INT64_MIN / NS_PER_S, INT64_MAX / NS_PER_S},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int by_day = 0; by_day < 2; by_day++) {
            struct bill_periods p;

            sums(cases[i].from_s, cases[i].to_s, by_day != 0, &p);
            assert_int_equal(p.n, 1);
            assert_int_equal(p.v[0].fen, 188);
            assert_int_equal(p.v[0].device_s, 3600);
            bill_periods_free(&p);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bill_periods__divide_a_line_where_days_begin),
        cmocka_unit_test(bill_periods__believe_no_clock_that_leapt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
