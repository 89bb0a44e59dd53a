#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "meter/bill.h"
#include "tests/unit/meter/fixture.h"
#include "tests/unit/meter/forge.h"

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

/* Paid in front meanwhile: free and without a limit of cost, then it costs again. */
static void
session__goes_over_to_time_paid_in_front_and_back(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct meter_status st;
    struct receipt *r;
    struct bill b;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 200, 86400, 60); /* 3,829 s of 1.88 an hour */
    s = fixture_start(&f);
    assert_refused(meter_session_state(s, USAGE_RESERVED, "v0123456789ab", &e),
                   ERR_INVALID);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 3600 * NS_PER_S);
    fixture_state(s, USAGE_RESERVED, "v0123456789ab");
    fixture_run(s, 7200 * NS_PER_S);
    meter_session_status(s, &st);
    assert_int_equal(st.cost_fen, 188);
    assert_int_equal(st.stop_why, GRANT_LIMIT_TIME);
    assert_int_equal(st.can_run_s, 86400 - 10800);
    fixture_state(s, USAGE_RUNNING, "reservation_over");
    meter_session_status(s, &st);
    assert_int_equal(st.stop_why, GRANT_LIMIT_COST);
    assert_int_equal(st.can_run_s, 229);
    fixture_run(s, 200 * NS_PER_S);
    fixture_state(s, USAGE_STOPPING, "stopped");
    fixture_end(s, "stopped");
    meter_session_free(s);

    r = fixture_receipt(&f);
    assert_int_equal(r->device_s, 3800);
    assert_int_equal(r->charge_fen, 198);
    assert_ok(bill_from_receipt(&b, r, &e));
    assert_int_equal(b.n_lines, 2);
    assert_int_equal(b.lines[0].fen, 198);
    assert_int_equal(b.lines[1].state, USAGE_RESERVED);
    assert_int_equal(b.lines[1].seconds, 7200);
    assert_int_equal(b.lines[1].fen, 0);
    assert_string_equal(b.lines[1].why, "reserved: paid in front");
    bill_clear(&b);
    receipt_free(r);
    fixture_close(&f);
}

/* The default cap is the price of the whole time: then it is the time that ends it. */
static void
session__names_the_time_where_the_cap_covers_all_of_it(void **state)
{
    static const struct {
        int64_t cap_fen;
        enum grant_limit why;
    } cases[] = {
        {188, GRANT_LIMIT_TIME}, {187, GRANT_LIMIT_COST}, {500, GRANT_LIMIT_TIME}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct meter_session *s;
        struct meter_status st;

        fixture_open(&f, *state);
        fixture_terms(&f, cases[i].cap_fen, 3600, 60);
        s = fixture_start(&f);
        fixture_state(s, USAGE_RUNNING, "ready");
        meter_session_status(s, &st);
        assert_int_equal(st.stop_why, cases[i].why);
        fixture_run(s, st.stop_in_ns);
        meter_session_status(s, &st);
        assert_true(st.stop_in_ns <= 0);
        assert_int_equal(st.stop_why, cases[i].why);
        meter_session_free(s);
        assert_int_equal(unlinkat(f.dir_fd, "usage", 0), 0);
        fixture_close(&f);
    }
}

/* Stop test: ordered in the last whole second that fits, and never a fen above the cap.
 */
static void
session__orders_the_stop_in_the_last_second_that_fits(void **state)
{
    static const int64_t windows[] = {0, 60, 61, 300};

    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        struct fixture f;
        struct meter_session *s;
        struct meter_status st;
        struct receipt *r;
        struct err e = {0};
        int64_t ran_s;

        fixture_open(&f, *state);
        assert_ok(card_set(f.card, "disk=0.01", 0, &e));
        fixture_terms(&f, 100, 86400, windows[i]);
        s = fixture_start(&f);
        meter_session_held(s, 2 * 1000000000LL); /* 15 days x 2 GB x 0.01 = 30 fen */
        fixture_state(s, USAGE_RUNNING, "ready");
        meter_session_status(s, &st);
        assert_int_equal(st.keep_fen, 30);
        assert_int_equal(st.stop_why, GRANT_LIMIT_COST);
        assert_int_equal(st.can_run_s, st.stop_in_ns / NS_PER_S);
        ran_s = st.can_run_s;
        fixture_run(s, st.stop_in_ns - 1);
        meter_session_status(s, &st);
        assert_int_equal(st.stop_in_ns, 1);
        fixture_run(s, 1);
        meter_session_status(s, &st);
        assert_int_equal(st.stop_in_ns, 0);
        assert_int_equal(st.can_run_s, 0);
        assert_int_equal(st.alert_pct, 100);
        fixture_state(s, USAGE_STOPPING, "cost");
        fixture_run(s, windows[i] * NS_PER_S);
        fixture_state(s, USAGE_SNAPSHOTTING, "");
        {
            const struct meter_end end = {.reason = "cost",
                                          .exit_code = 0,
                                          .snapshot = "s0123456789ab",
                                          .kept_bytes = 2 * 1000000000LL,
                                          .keep_until_wall_ns = fixture_wall_ns + 1};
            assert_ok(meter_session_end(s, &end, &e));
        }
        meter_session_free(s);
        r = fixture_receipt(&f);
        assert_int_equal(r->keep_hold_fen, 30);
        assert_true(r->charge_fen + r->keep_hold_fen <= 100);
        assert_int_equal(r->device_s, ran_s + (windows[i] > 60 ? windows[i] - 60 : 0));
        receipt_free(r);
        assert_int_equal(unlinkat(f.dir_fd, "usage", 0), 0);
        fixture_close(&f);
    }
}

/* A host that stops late bears it: the bill stays at the cap. */
static void
session__never_bills_above_the_cap(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct meter_status st;
    struct receipt *r;
    struct bill b;
    struct err e = {0};
    int64_t sum = 0;

    fixture_open(&f, *state);
    fixture_terms(&f, 100, 86400, 60);
    s = fixture_start(&f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 7200 * NS_PER_S);
    meter_session_status(s, &st);
    assert_int_equal(st.cost_fen, 100);
    fixture_end(s, "exited");
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->charge_fen, 100);
    assert_ok(bill_from_receipt(&b, r, &e));
    for (size_t i = 0; i < b.n_lines; i++) {
        assert_true(b.lines[i].fen >= 0);
        sum += b.lines[i].fen;
    }
    assert_int_equal(sum, 100);
    bill_clear(&b);
    receipt_free(r);
    fixture_close(&f);
}

static void
session__holds_the_time_limit_on_the_boot_clock(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct meter_status st;

    fixture_open(&f, *state);
    fixture_terms(&f, 100000, 600, 60);
    s = fixture_start(&f);
    meter_session_status(s, &st);
    assert_true(st.stop_in_ns == INT64_MAX);
    assert_int_equal(st.stop_why, GRANT_LIMIT_NONE);
    assert_int_equal(st.can_run_s, 600);
    assert_int_equal(st.since_device_ns, -1);
    fixture_run(s, 100 * NS_PER_S);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 100 * NS_PER_S);
    meter_session_status(s, &st);
    assert_int_equal(st.stop_why, GRANT_LIMIT_TIME);
    assert_int_equal(st.can_run_s, 500);
    fixture_boot_ns += 400 * NS_PER_S; /* the host slept */
    meter_session_status(s, &st);
    assert_int_equal(st.can_run_s, 100);
    assert_int_equal(st.device_s, 100);
    assert_int_equal(st.since_device_ns, 500 * NS_PER_S);
    meter_session_free(s);
    fixture_close(&f);
}

static void
session__limits_the_setup_too(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct meter_status st;

    fixture_open(&f, *state);
    fixture_terms(&f, 10, 86400, 60); /* cpu at 0.10: 10 fen are one hour */
    s = fixture_start(&f);
    fixture_state(s, USAGE_SETUP, "");
    fixture_run(s, 3599 * NS_PER_S);
    meter_session_status(s, &st);
    assert_int_equal(st.stop_in_ns, NS_PER_S);
    assert_int_equal(st.stop_why, GRANT_LIMIT_COST);
    assert_int_equal(st.cost_fen, 9);
    fixture_run(s, NS_PER_S);
    meter_session_status(s, &st);
    assert_int_equal(st.stop_in_ns, 0);
    meter_session_free(s);
    fixture_close(&f);
}

static void
session__tells_half_and_most_of_the_cap(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct meter_status st;

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    s = fixture_start(&f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 4787 * NS_PER_S);
    meter_session_status(s, &st);
    assert_int_equal(st.alert_pct, 0);
    fixture_run(s, NS_PER_S);
    meter_session_status(s, &st);
    assert_int_equal(st.alert_pct, 50);
    fixture_run(s, (7660 - 4788) * NS_PER_S);
    meter_session_status(s, &st);
    assert_int_equal(st.alert_pct, 80);
    meter_session_free(s);
    fixture_close(&f);
}

static void
session__extends_cap_and_end_by_a_further_grant(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct meter_status st;
    struct receipt *r;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 100, 3600, 60);
    s = fixture_start(&f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 1900 * NS_PER_S);
    f.grant.seq = 2;
    f.grant.cap_fen = 300;
    f.grant.max_s = 7200;
    assert_ok(grant_sign(&f.grant, f.renter, &e));
    assert_refused(meter_session_extend(s, &f.grant, &e), ERR_DENIED); /* too late */
    f.grant.until_wall_ns = fixture_wall_ns + NS_PER_S;
    assert_ok(grant_sign(&f.grant, f.renter, &e));
    assert_ok(meter_session_extend(s, &f.grant, &e));
    assert_ok(meter_session_extend(s, &f.grant, &e)); /* comes twice */
    meter_session_status(s, &st);
    assert_int_equal(st.cap_fen, 300);
    assert_int_equal(st.can_run_s, 7200 - 1900 < 5744 - 1900 ? 7200 - 1900 : 5744 - 1900);
    f.grant.seq = 3;
    f.grant.cap_fen = 299;
    assert_ok(grant_sign(&f.grant, f.renter, &e));
    assert_refused(meter_session_extend(s, &f.grant, &e), ERR_DENIED);
    fixture_run(s, 1700 * NS_PER_S);
    fixture_end(s, "exited");
    f.grant.cap_fen = 400;
    assert_ok(grant_sign(&f.grant, f.renter, &e));
    assert_refused(meter_session_extend(s, &f.grant, &e), ERR_INVALID);
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->charge_fen, 188);
    assert_int_equal(r->grant.seq, 2);
    receipt_free(r);
    fixture_close(&f);
}

static void
session__takes_countersignatures_of_its_own_points(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct receipt *r;
    struct buf b = BUF_INIT;
    struct journal_point p;
    uint64_t bytes;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    s = fixture_start(&f);
    assert_null(meter_session_point(s));
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 70 * NS_PER_S);
    p = *meter_session_point(s);
    journal_cosign_make(&b, JOURNAL_BY_RENTER, f.grant.lease, &p, f.renter);
    assert_ok(meter_session_cosign(s, b.data, b.len, &e));
    bytes = meter_session_bytes(s);
    assert_ok(meter_session_cosign(s, b.data, b.len, &e)); /* comes twice */
    assert_int_equal(meter_session_bytes(s), bytes);
    buf_reset(&b);
    journal_cosign_make(&b, JOURNAL_BY_RENTER, f.grant.lease, &p, f.host);
    assert_refused(meter_session_cosign(s, b.data, b.len, &e), ERR_DENIED);
    buf_reset(&b);
    journal_cosign_make(&b, JOURNAL_BY_RENTER, "lother", &p, f.renter);
    assert_refused(meter_session_cosign(s, b.data, b.len, &e), ERR_DENIED);
    buf_reset(&b);
    p.hash.b[0] ^= 1;
    journal_cosign_make(&b, JOURNAL_BY_RENTER, f.grant.lease, &p, f.renter);
    assert_refused(meter_session_cosign(s, b.data, b.len, &e), ERR_DENIED);
    b.data[b.len - 2] ^= 1;
    assert_refused(meter_session_cosign(s, b.data, b.len, &e), ERR_CORRUPT);
    assert_int_equal(meter_session_bytes(s), bytes);
    assert_ok(meter_session_checkpoint(s, &e));
    p = *meter_session_point(s);
    assert_int_equal(p.device_s, 70);
    buf_reset(&b);
    journal_cosign_make(&b, JOURNAL_BY_BOOK, f.grant.lease, &p, f.renter);
    assert_ok(meter_session_cosign(s, b.data, b.len, &e));
    fixture_end(s, "exited");
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->cosigned_renter_s, p.device_s - (p.device_s - 54));
    assert_int_equal(r->cosigned_book_s, 70);
    receipt_free(r);
    buf_free(&b);
    fixture_close(&f);
}

static void
session__frees_a_run_that_the_owner_takes_back_at_once(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct receipt *r;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    s = fixture_start(&f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 59 * NS_PER_S);
    assert_ok(meter_session_preempt(s, "owner", &e));
    fixture_run(s, 10 * NS_PER_S);
    fixture_end(s, "owner");
    assert_refused(meter_session_preempt(s, "owner", &e), ERR_INVALID);
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->charge_fen, 0);
    assert_int_equal(r->last.total.ns[USAGE_PREEMPTED], 59 * NS_PER_S);
    assert_int_equal(r->last.total.ns[USAGE_STOPPING], 10 * NS_PER_S);
    receipt_free(r);
    fixture_close(&f);
}

static void
session__refuses_impossible_orders_and_changes_nothing(void **state)
{
    const struct journal_device bad = {"gpu", "4090", "two words"};
    const struct meter_end no_reason = {.reason = "", .exit_code = 0};
    struct fixture f;
    struct meter_session_options o;
    struct meter_session *s;
    struct meter_session *t = NULL;
    uint64_t bytes;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    s = fixture_start(&f);
    o = fixture_options(&f);
    assert_refused(meter_session_start(&t, &o, &e), ERR_EXISTS);
    bytes = meter_session_bytes(s);
    assert_refused(meter_session_state(s, USAGE_WINDOW, "", &e), ERR_INVALID);
    assert_refused(meter_session_state(s, USAGE_LOST, "", &e), ERR_INVALID);
    assert_refused(meter_session_state(s, USAGE_ENDED, "", &e), ERR_INVALID);
    assert_refused(meter_session_state(s, USAGE_NONE, "", &e), ERR_INVALID);
    assert_refused(meter_session_state(s, USAGE_SUSPENDED, "", &e), ERR_INVALID);
    assert_refused(meter_session_state(s, USAGE_RUNNING, "two words", &e), ERR_INVALID);
    assert_refused(meter_session_devices(s, &bad, 1, &e), ERR_INVALID);
    assert_refused(meter_session_devices(s, &bad, 65, &e), ERR_INVALID);
    assert_refused(meter_session_end(s, &no_reason, &e), ERR_INVALID);
    assert_ok(meter_session_state(s, USAGE_SHIPPING, "", &e)); /* already */
    assert_int_equal(meter_session_bytes(s), bytes);
    fixture_end(s, "failed");
    assert_refused(meter_session_state(s, USAGE_RUNNING, "", &e), ERR_INVALID);
    assert_refused(meter_session_end(s, &no_reason, &e), ERR_INVALID);
    assert_ok(meter_session_tick(s, &e));
    meter_session_free(s);
    assert_refused(meter_session_reopen(&t, &o, &e), ERR_EXISTS);
    fixture_close(&f);
}

static void
session__starts_only_on_terms_that_go_together(void **state)
{
    struct fixture f;
    struct meter_session_options o;
    struct meter_session *s = NULL;
    struct grant other;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    grant_init(&other);
    grant_copy(&other, &f.grant);
    fixture_wall_ns += 1;
    fixture_terms(&f, 500, 86400, 60); /* another offer */
    o = fixture_options(&f);
    o.grant = &other;
    assert_refused(meter_session_start(&s, &o, &e), ERR_DENIED);
    assert_int_equal(faccessat(f.dir_fd, "usage", F_OK, 0), -1);
    o.grant = &f.grant;
    o.host_key = f.renter;
    assert_refused(meter_session_start(&s, &o, &e), ERR_DENIED);
    assert_int_equal(faccessat(f.dir_fd, "usage", F_OK, 0), -1);
    grant_clear(&other);
    fixture_close(&f);
}

static void
session__names_its_devices_and_their_busy_time(void **state)
{
    const struct journal_device d = {"gpu", "4090", "GPU-1"};
    struct fixture f;
    struct meter_session *s;
    struct receipt *r;
    struct bill b;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    s = fixture_start(&f);
    assert_ok(meter_session_devices(s, &d, 1, &e));
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 100 * NS_PER_S);
    meter_session_busy(s, 75 * NS_PER_S);
    meter_session_busy(s, 10 * NS_PER_S);
    fixture_run(s, 20 * NS_PER_S);
    fixture_end(s, "exited");
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->n_devices, 1);
    assert_string_equal(r->devices[0].uuid, "GPU-1");
    assert_ok(bill_from_receipt(&b, r, &e));
    assert_int_equal(b.busy_bps, 6250);
    bill_clear(&b);
    receipt_free(r);
    fixture_close(&f);
}

/* A disk that refuses: the session goes on, and nothing is lost when it takes again. */
static void
session__waits_for_a_disk_that_refuses(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct receipt *r;
    struct rlimit was;
    struct rlimit small;
    uint64_t bytes;
    struct err e = {0};
    bool refused = false;

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    s = fixture_start(&f);
    fixture_state(s, USAGE_RUNNING, "ready");
    bytes = meter_session_bytes(s);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small = was;
    small.rlim_cur = bytes + 100; /* a part of a record fits */
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 20; i++) {
        fixture_pass(9 * NS_PER_S);
        refused = meter_session_tick(s, &e) != 0;
    }
    assert_true(refused);
    assert_true(meter_session_next_ns(s) <= NS_PER_S);
    assert_int_equal(meter_session_state(s, USAGE_STOPPING, "stopped", &e), -1);
    assert_int_equal(meter_session_bytes(s), bytes);
    fixture_pass(9 * NS_PER_S);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_ok(meter_session_tick(s, &e));
    fixture_end(s, "stopped");
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->device_s, 180);
    assert_int_equal(r->last.total.ns[USAGE_STOPPING], 9 * NS_PER_S);
    receipt_free(r);
    fixture_close(&f);
}

static void
session__end_can_be_asked_again_when_the_disk_refused(void **state)
{
    const struct meter_end end = {.reason = "exited", .exit_code = 3};
    struct fixture f;
    struct meter_session *s;
    struct receipt *r;
    struct rlimit was;
    struct rlimit small;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    s = fixture_start(&f);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small = was;
    small.rlim_cur = meter_session_bytes(s);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(meter_session_end(s, &end, &e), -1);
    assert_int_equal(meter_session_end(s, &end, &e), -1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_ok(meter_session_end(s, &end, &e));
    assert_refused(meter_session_end(s, &end, &e), ERR_INVALID);
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->exit_code, 3);
    receipt_free(r);
    fixture_close(&f);
}

/* What was reserved ahead is given back when the session has ended. */
static void
session__leaves_no_reserved_space_behind(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct stat st;

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    s = fixture_start(&f);
    fixture_end(s, "exited");
    meter_session_free(s);
    assert_int_equal(fstatat(f.dir_fd, "usage", &st, 0), 0);
    assert_true(st.st_blocks * 512 <= 16384);
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(session__bills_device_and_setup_and_nothing_else),
        unit_test_in_dir(session__goes_over_to_time_paid_in_front_and_back),
        unit_test_in_dir(session__names_the_time_where_the_cap_covers_all_of_it),
        unit_test_in_dir(session__orders_the_stop_in_the_last_second_that_fits),
        unit_test_in_dir(session__never_bills_above_the_cap),
        unit_test_in_dir(session__holds_the_time_limit_on_the_boot_clock),
        unit_test_in_dir(session__limits_the_setup_too),
        unit_test_in_dir(session__tells_half_and_most_of_the_cap),
        unit_test_in_dir(session__extends_cap_and_end_by_a_further_grant),
        unit_test_in_dir(session__takes_countersignatures_of_its_own_points),
        unit_test_in_dir(session__frees_a_run_that_the_owner_takes_back_at_once),
        unit_test_in_dir(session__refuses_impossible_orders_and_changes_nothing),
        unit_test_in_dir(session__starts_only_on_terms_that_go_together),
        unit_test_in_dir(session__names_its_devices_and_their_busy_time),
        unit_test_in_dir(session__waits_for_a_disk_that_refuses),
        unit_test_in_dir(session__end_can_be_asked_again_when_the_disk_refused),
        unit_test_in_dir(session__leaves_no_reserved_space_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
