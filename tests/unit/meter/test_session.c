#include "meter/bill.h"
#include "tests/unit/meter/fixture.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

/* A whole life: what each state costs, and that the bill says so. */
static void
session__bills_device_and_setup_and_nothing_else(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct receipt *r;
    struct bill b;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 5000, 86400, 60);
    s = fixture_start(&f);
    fixture_run(s, 20 * NS_PER_S);
    fixture_state(s, USAGE_PREPARING, "");
    fixture_run(s, 40 * NS_PER_S + 1);
    fixture_state(s, USAGE_SETUP, "");
    fixture_run(s, 1800 * NS_PER_S);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 3600 * NS_PER_S);
    fixture_state(s, USAGE_STOPPING, "stopped");
    fixture_run(s, 30 * NS_PER_S);
    fixture_state(s, USAGE_SNAPSHOTTING, "");
    fixture_run(s, 5 * NS_PER_S);
    fixture_end(s, "stopped");
    meter_session_free(s);

    r = fixture_receipt(&f);
    assert_int_equal(r->setup_s, 1800);
    assert_int_equal(r->device_s, 3600);
    assert_int_equal(r->charge_fen, 193); /* 5 + 188 */
    assert_string_equal(r->reason, "stopped");
    assert_ok(bill_from_receipt(&b, r, &e));
    assert_int_equal(b.n_lines, 6);
    assert_int_equal(b.lines[2].kind, BILL_SETUP);
    assert_int_equal(b.lines[2].fen, 5);
    assert_int_equal(b.lines[3].kind, BILL_DEVICE);
    assert_int_equal(b.lines[3].fen, 188);
    assert_string_equal(b.lines[3].month, "2026-11");
    assert_int_equal(b.lines[4].kind, BILL_FREE);
    assert_int_equal(b.lines[4].state, USAGE_STOPPING);
    assert_int_equal(b.lines[4].seconds, 30);
    assert_int_equal(b.lines[4].fen, 0);
    bill_clear(&b);
    receipt_free(r);
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(session__bills_device_and_setup_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
