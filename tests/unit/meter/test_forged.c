/* Journals with right frames, chain and signatures of their host, which say too much. */
#include "meter/bill.h"
#include "meter/wide.h"
#include "tests/unit/meter/fixture.h"
#include "tests/unit/meter/forge.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

#define DAY_NS (86400 * NS_PER_S)

/* The receipt, with the signatures that a plain `bill --verify` computes. */
static int
verify(const struct fixture *f, const struct buf *b, bool all, struct receipt **r,
       struct err *e)
{
    const struct receipt_pins pins = {
        .host = &f->host_public, .renter = &f->renter_public, .check_all = all};

    return receipt_verify(r, b->data, b->len, &pins, e);
}

static void
assert_verified(const struct fixture *f, const struct buf *b)
{
    struct receipt *r = NULL;
    struct err e = {0};

    assert_ok(verify(f, b, false, &r, &e));
    receipt_free(r);
    assert_ok(verify(f, b, true, &r, &e));
    receipt_free(r);
}

static void
assert_not_verified(const struct fixture *f, const struct buf *b, const char *why)
{
    struct receipt *r = NULL;
    struct err e = {0};

    for (int all = 0; all < 2; all++) {
        assert_refused(verify(f, b, all == 1, &r, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.msg, why));
        assert_null(r);
    }
}

/* Countersignatures --------------------------------------------------------- */

struct two {
    struct buf *cosign[2]; /* what the first and the second record of one say instead */
    size_t n;
};

static void
put_cosign(struct journal_entry *x, size_t i, void *arg)
{
    struct two *t = arg;

    (void)i;
    if (x->r.kind == JOURNAL_COSIGN) {
        buf_reset(&x->cosign);
        buf_add(&x->cosign, t->cosign[t->n]->data, t->cosign[t->n]->len);
        t->n++;
    }
}

static void
cosign_now(struct meter_session *s, const struct fixture *f, struct buf *out)
{
    struct err e = {0};

    assert_ok(meter_session_checkpoint(s, &e));
    journal_cosign_make(out, JOURNAL_BY_RENTER, f->grant.lease, meter_session_point(s),
                        f->renter);
}

/* A forged one of more seconds, and behind it a right one of fewer. */
static void
receipt__counts_no_seconds_of_a_forged_countersignature(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct receipt *r = NULL;
    struct buf early = BUF_INIT;
    struct buf late = BUF_INIT;
    struct buf b = BUF_INIT;
    struct buf forged = BUF_INIT;
    struct two t = {{&late, &early}, 0};
    struct err e = {0};
    uint8_t *digit;

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 86400, 60);
    s = fixture_start(&f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 20 * NS_PER_S);
    cosign_now(s, &f, &early);
    fixture_run(s, 20 * NS_PER_S);
    cosign_now(s, &f, &late);
    assert_ok(meter_session_cosign(s, early.data, early.len, &e));
    assert_ok(meter_session_cosign(s, late.data, late.len, &e));
    fixture_end(s, "exited");
    meter_session_free(s);
    fixture_read(&f, &b);
    /* Both right, in the wrong order: no harm, and the larger counts. */
    forge(&b, &forged, f.host, put_cosign, &t);
    assert_verified(&f, &forged);
    assert_ok(verify(&f, &forged, false, &r, &e));
    assert_int_equal(r->cosigned_renter_s, 40);
    receipt_free(r);
    r = NULL;
    digit = &late.data[late.len - 2]; /* of its signature */
    *digit = *digit == '0' ? '1' : '0';
    t.n = 0;
    forge(&b, &forged, f.host, put_cosign, &t);
    assert_not_verified(&f, &forged, "signature");
    buf_free(&early);
    buf_free(&late);
    buf_free(&b);
    buf_free(&forged);
    fixture_close(&f);
}

/* Keeping ------------------------------------------------------------------- */

/* A session of two minutes that left data; its wall clock then went on by step_ns. */
static void
write_kept(struct fixture *f, const char *dir, int64_t step_ns)
{
    struct meter_end end = {.reason = "exited",
                            .exit_code = 0,
                            .snapshot = "s0123456789ab",
                            .kept_bytes = 20000000000};
    struct meter_session *s;
    struct err e = {0};

    fixture_open(f, dir);
    assert_ok(card_set(f->card, "disk=0.01", 0, &e));
    fixture_terms(f, 500, 86400, 60);
    s = fixture_start(f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 120 * NS_PER_S);
    end.keep_until_wall_ns = fixture_wall_ns + 15 * DAY_NS;
    fixture_state(s, USAGE_SNAPSHOTTING, "exited");
    fixture_run(s, 5 * NS_PER_S);
    fixture_wall_ns += step_ns;
    assert_ok(meter_session_end(s, &end, &e));
    meter_session_free(s);
}

struct kept {
    int64_t until_ns; /* after the receipt */
    const char *snapshot;
};

static void
put_kept(struct journal_entry *x, size_t i, void *arg)
{
    const struct kept *k = arg;

    (void)i;
    if (x->r.kind == JOURNAL_RECEIPT) {
        x->receipt.keep_until_wall_ns = x->r.at.wall_ns + k->until_ns;
        (void)strcpy(x->receipt.snapshot, k->snapshot);
    }
}

static void
receipt__keeps_data_no_longer_than_was_granted(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct buf forged = BUF_INIT;
    struct kept k = {15 * DAY_NS, "s0123456789ab"};

    write_kept(&f, *state, 0);
    fixture_read(&f, &b);
    assert_verified(&f, &b);
    forge(&b, &forged, f.host, put_kept, &k);
    assert_verified(&f, &forged);
    k.until_ns++;
    forge(&b, &forged, f.host, put_kept, &k);
    assert_not_verified(&f, &forged, "more than the 15 days");
    k = (struct kept){5 * DAY_NS, ""};
    forge(&b, &forged, f.host, put_kept, &k);
    assert_not_verified(&f, &forged, "no snapshot");
    buf_free(&b);
    buf_free(&forged);
    fixture_close(&f);
}

/* What a stepped clock makes of the end is cut, so that a receipt can be written. */
static void
receipt__is_right_after_the_wall_clock_went_back(void **state)
{
    static const int64_t steps[] = {-DAY_NS, -3600 * NS_PER_S, DAY_NS,
                                    -WALL_START_NS - 16 * DAY_NS};

    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct fixture f;
        struct receipt *r;

        write_kept(&f, *state, steps[i]);
        r = fixture_receipt(&f);
        assert_true(r->keep_until_wall_ns <= r->made_wall_ns + 15 * DAY_NS ||
                    r->keep_until_wall_ns == 0);
        assert_true(steps[i] > 0 ||
                    r->keep_until_wall_ns == i64_max(r->made_wall_ns + 15 * DAY_NS, 0));
        receipt_free(r);
        assert_int_equal(unlinkat(f.dir_fd, "usage", 0), 0);
        fixture_close(&f);
    }
}

/* The time granted ---------------------------------------------------------- */

/* One that is stopped so late, and then takes so long to end. */
static void
write_late(struct fixture *f, const char *dir, int64_t window_s, int64_t late_s,
           int64_t stop_s)
{
    struct meter_session *s;

    fixture_open(f, dir);
    fixture_terms(f, 100000, 3600, window_s);
    s = fixture_start(f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, (3600 + late_s) * NS_PER_S);
    fixture_state(s, USAGE_STOPPING, "time");
    fixture_run(s, stop_s * NS_PER_S);
    fixture_end(s, "time");
    meter_session_free(s);
}

/* As if no time limit were: what the seconds cost, and the cap. */
static void
charge_all(struct journal_entry *x, size_t i, void *arg)
{
    struct grant g = *(const struct grant *)arg;

    (void)i;
    g.max_s = GRANT_NO_END;
    x->r.cost_fen = journal_cost(&g, &x->r.total);
    if (x->r.kind == JOURNAL_RECEIPT) {
        x->receipt.charge_fen = x->r.cost_fen;
    }
}

static void
receipt__charges_no_second_beyond_the_time_granted(void **state)
{
    static const struct {
        int64_t window_s;
        int64_t late_s;
        int64_t stop_s;
        int64_t fen; /* at 188 an hour */
    } cases[] = {
        {60, 0, 60, 188}, /* the free window */
        {60, 1, 60, 188},
        {60, 400, 60, 188},   /* 208.89 of running */
        {1860, 0, 1860, 282}, /* half an hour of window is paid, too */
        {1860, 400, 1860, 282},
        {1860, 400, 0, 188}, /* the job was gone at once: none of it */
        {1860, 400, 60, 188},
        {1860, 400, 960, 235}, /* a quarter of an hour of it */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct receipt *r;
        struct bill bill;
        struct buf b = BUF_INIT;
        struct buf forged = BUF_INIT;
        struct err e = {0};
        int64_t sum = 0;
        int64_t run = 0;
        int64_t paid_s = 0;
        int64_t borne_s = 0;

        write_late(&f, *state, cases[i].window_s, cases[i].late_s, cases[i].stop_s);
        r = fixture_receipt(&f);
        assert_int_equal(r->charge_fen, cases[i].fen);
        assert_ok(bill_from_receipt(&bill, r, &e));
        for (size_t k = 0; k < bill.n_lines; k++) {
            assert_true(bill.lines[k].fen >= 0);
            sum += bill.lines[k].fen;
            run += bill.lines[k].kind == BILL_DEVICE ? bill.lines[k].fen : 0;
            paid_s += bill.lines[k].n_units > 0 ? bill.lines[k].seconds : 0;
            borne_s +=
                bill.lines[k].state == USAGE_RUNNING && bill.lines[k].kind == BILL_FREE
                    ? bill.lines[k].seconds
                    : 0;
        }
        /* What is priced on it, times the price, is the charge; the rest has its line. */
        assert_int_equal(grant_charge(&r->grant, 0, paid_s), cases[i].fen);
        assert_int_equal(borne_s, cases[i].late_s);
        assert_int_equal(paid_s + borne_s, r->device_s);
        assert_int_equal(sum, cases[i].fen);
        assert_int_equal(run, 188);
        bill_clear(&bill);
        receipt_free(r);
        fixture_read(&f, &b);
        forge(&b, &forged, f.host, charge_all, &f.grant);
        if (cases[i].late_s >= 400) {
            assert_not_verified(&f, &forged, "a cost of");
        } else {
            assert_verified(&f, &forged);
        }
        buf_free(&b);
        buf_free(&forged);
        assert_int_equal(unlinkat(f.dir_fd, "usage", 0), 0);
        fixture_close(&f);
    }
}

/* A later end, granted in time, pays for what ran meanwhile; a set-up has its own clock.
 */
static void
receipt__charges_what_the_newest_grant_allows(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct meter_status st;
    struct receipt *r;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 100000, 3600, 60);
    s = fixture_start(&f);
    fixture_state(s, USAGE_SETUP, "");
    fixture_run(s, 7200 * NS_PER_S); /* 10 fen an hour, of one */
    meter_session_status(s, &st);
    assert_int_equal(st.cost_fen, 10);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 5400 * NS_PER_S);
    meter_session_status(s, &st);
    assert_int_equal(st.cost_fen, 10 + 188);
    f.grant.seq = 2;
    f.grant.max_s = 7200;
    f.grant.until_wall_ns = fixture_wall_ns + 600 * NS_PER_S;
    assert_ok(grant_sign(&f.grant, f.renter, &e));
    assert_ok(meter_session_extend(s, &f.grant, &e));
    meter_session_status(s, &st);
    assert_int_equal(st.cost_fen, 20 + 282);
    fixture_end(s, "exited");
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->charge_fen, 302);
    receipt_free(r);
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(receipt__counts_no_seconds_of_a_forged_countersignature),
        unit_test_in_dir(receipt__keeps_data_no_longer_than_was_granted),
        unit_test_in_dir(receipt__is_right_after_the_wall_clock_went_back),
        fixture_test(receipt__charges_no_second_beyond_the_time_granted),
        fixture_test(receipt__charges_what_the_newest_grant_allows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
