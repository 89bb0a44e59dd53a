#include "meter/bill.h"
#include "meter/keeping.h"
#include "tests/unit/meter/fixture.h"
#include "tests/unit/meter/forge.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

static void
run_plain(struct fixture *f, const char *dir, int64_t ran_s)
{
    struct meter_session *s;

    fixture_open(f, dir);
    fixture_terms(f, 100000000, GRANT_NO_END, 60);
    s = fixture_start(f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, ran_s * NS_PER_S);
    fixture_end(s, "exited");
    meter_session_free(s);
}

/* Set-up of that long, then a run, of a host that minds neither time nor cap. */
static void
bill__has_a_line_for_what_the_host_bears(void **state)
{
    static const struct {
        int64_t cap_fen;
        int64_t max_s;
        int64_t setup_s;
        int64_t paid_setup_s;
        int64_t paid_s; /* of 3,600 at 188 an hour */
        int64_t cap_s;  /* beyond the cap, of both */
        int64_t late_s; /* beyond the time, of both */
        int64_t fen;
    } cases[] = {
        {500, GRANT_NO_END, 0, 0, 3600, 0, 0, 188},
        {188, GRANT_NO_END, 0, 0, 3600, 0, 0, 188},
        {100, GRANT_NO_END, 0, 0, 1915, 1685, 0, 100},
        {100, 3000, 0, 0, 1915, 1085, 600, 100},
        {500, 3000, 4000, 3000, 3000, 0, 1600, 165}, /* 8.33 + 156.67 */
        {5, 3000, 4000, 1800, 0, 1200 + 3000, 1600, 5},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct meter_session *s;
        struct receipt *r;
        struct bill b;
        int64_t paid_s[2] = {0, 0};
        int64_t cap_s = 0;
        int64_t late_s = 0;
        struct err e = {0};

        fixture_open(&f, *state);
        fixture_terms(&f, cases[i].cap_fen, cases[i].max_s, 60);
        s = fixture_start(&f);
        if (cases[i].setup_s > 0) {
            fixture_state(s, USAGE_SETUP, "");
            fixture_run(s, cases[i].setup_s * NS_PER_S);
        }
        fixture_state(s, USAGE_RUNNING, "ready");
        fixture_run(s, 3600 * NS_PER_S);
        fixture_end(s, "exited");
        meter_session_free(s);
        r = fixture_receipt(&f);
        assert_int_equal(r->charge_fen, cases[i].fen);
        assert_ok(bill_from_receipt(&b, r, &e));
        for (size_t k = 0; k < b.n_lines; k++) {
            const struct bill_line *l = &b.lines[k];

            if (l->kind == BILL_SETUP || l->kind == BILL_DEVICE) {
                paid_s[l->kind == BILL_DEVICE] += l->seconds;
            } else if (strncmp(l->why, "beyond the cap", 14) == 0) {
                cap_s += l->seconds;
                assert_int_equal(l->fen, 0);
            } else if (strncmp(l->why, "beyond the time", 15) == 0) {
                late_s += l->seconds;
                assert_int_equal(l->fen, 0);
            }
        }
        assert_int_equal(paid_s[0], cases[i].paid_setup_s);
        assert_int_equal(paid_s[1], cases[i].paid_s);
        assert_int_equal(cap_s, cases[i].cap_s);
        assert_int_equal(late_s, cases[i].late_s);
        assert_int_equal(paid_s[0] + paid_s[1] + cap_s + late_s, cases[i].setup_s + 3600);
        assert_int_equal(grant_charge(&r->grant, paid_s[0], paid_s[1]), cases[i].fen);
        bill_clear(&b);
        receipt_free(r);
        assert_int_equal(unlinkat(f.dir_fd, "usage", 0), 0);
        fixture_close(&f);
    }
}

/* Wall seconds of the ends of November 2026 to January 2027 in Shanghai. */
static const int64_t month_ends_s[] = {1796054400, 1798732800, 1801411200};

/* A session over three month ends: lines are cut there, and are one sum. */
static void
bill__is_cut_where_months_begin_in_shanghai(void **state)
{
    static const char *const months[] = {"2026-11", "2026-12", "2027-01", "2027-02"};
    static const int64_t seconds[] = {600, 1200, 1200, 600};
    struct fixture f;
    struct meter_session *s;
    struct receipt *r;
    struct bill b;
    int64_t sum = 0;
    int64_t ns = 0;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_wall_ns = (month_ends_s[0] - 600) * NS_PER_S;
    fixture_terms(&f, 100000000, GRANT_NO_END, 60);
    s = fixture_start(&f);
    fixture_state(s, USAGE_RUNNING, "ready");
    for (size_t i = 0; i < 3; i++) {
        /* Weeks are labels: what counts is the time that passed on the other clocks. */
        fixture_wall_ns = (month_ends_s[i] - 600) * NS_PER_S;
        fixture_run(s, 1200 * NS_PER_S);
    }
    fixture_end(s, "exited");
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->charge_fen, 188);
    assert_ok(bill_from_receipt(&b, r, &e));
    assert_int_equal(b.n_lines, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(b.lines[i].month, months[i]);
        assert_int_equal(b.lines[i].seconds, seconds[i]);
        sum += b.lines[i].fen;
    }
    assert_int_equal(b.lines[0].fen, 31); /* 31.33 */
    assert_int_equal(b.lines[1].fen, 63); /* to 94.00 */
    assert_int_equal(sum, 188);
    assert_true(b.lines[0].to_wall_ns == month_ends_s[0] * NS_PER_S);
    assert_true(b.lines[1].from_wall_ns == month_ends_s[0] * NS_PER_S);
    /* A month's share of the bill, and of the time in a state; months sum to the whole.
     */
    for (size_t i = 0; i < 4; i++) {
        struct bill_part part = bill_part_of(&b, months[i]);
        int64_t from_ns;
        int64_t to_ns;

        assert_ok(calendar_parse_month_ns(months[i], &from_ns, &to_ns, &e));
        ns += receipt_state_ns(r, USAGE_RUNNING, from_ns, to_ns);
        assert_true(receipt_state_ns(r, USAGE_RUNNING, from_ns, to_ns) > 0);
        assert_int_equal(part.n_lines, 1);
        assert_true(part.charge_fen == b.lines[i].fen && part.keeping_fen == 0);
    }
    assert_true(ns == r->last.total.ns[USAGE_RUNNING]);
    assert_int_equal(bill_part_of(&b, NULL).charge_fen, 188);
    assert_int_equal(bill_part_of(&b, "2027-03").n_lines, 0);
    assert_true(receipt_state_ns(r, USAGE_RUNNING, INT64_MIN, INT64_MAX) == ns);
    bill_clear(&b);
    receipt_free(r);
    fixture_close(&f);
}

/* The bill that meter/DESIGN.md works out by hand. */
static void
bill__is_as_worked_out_by_hand(void **state)
{
    static const struct {
        enum bill_kind kind;
        enum usage_state state;
        int64_t seconds;
        int64_t fen;
        const char *month;
    } want[] = {
        {BILL_FREE, USAGE_SHIPPING, 42, 0, "2026-11"},
        {BILL_SETUP, USAGE_SETUP, 1800, 5, "2026-11"},
        {BILL_DEVICE, USAGE_RUNNING, 600, 31, "2026-11"},
        {BILL_DEVICE, USAGE_RUNNING, 2400, 125, "2026-12"},
        {BILL_FREE, USAGE_STOPPING, 60, 0, "2026-12"},
        {BILL_WINDOW, USAGE_WINDOW, 15, 1, "2026-12"},
        {BILL_FREE, USAGE_SNAPSHOTTING, 3, 0, "2026-12"},
    };
    struct meter_end end = {.reason = "stopped",
                            .exit_code = 0,
                            .snapshot = "s0123456789ab",
                            .kept_bytes = 20000000000};
    struct fixture f;
    struct meter_session *s;
    struct receipt *r;
    struct keeping k;
    struct bill b;
    struct err e = {0};

    fixture_open(&f, *state);
    assert_ok(card_set(f.card, "disk=0.01", 0, &e));
    assert_ok(card_set_quota(f.card, 5000000000, &e));
    /* So that ready is at 23:50:00 in Shanghai. */
    fixture_wall_ns = (month_ends_s[0] - 600 - 1800 - 42) * NS_PER_S - 700000000;
    fixture_terms(&f, 500, 86400, 120);
    s = fixture_start(&f);
    fixture_run(s, 42 * NS_PER_S);
    fixture_state(s, USAGE_SETUP, "");
    fixture_run(s, 1800700000000);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 3000400000000);
    fixture_state(s, USAGE_STOPPING, "stopped");
    fixture_run(s, 75200000000);
    fixture_state(s, USAGE_SNAPSHOTTING, "");
    fixture_run(s, 3 * NS_PER_S);
    end.keep_until_wall_ns = fixture_wall_ns + 15 * 86400 * NS_PER_S;
    assert_ok(meter_session_end(s, &end, &e));
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->charge_fen, 162);
    assert_int_equal(r->keep_hold_fen, 225);
    assert_ok(bill_from_receipt(&b, r, &e));
    assert_int_equal(b.n_lines, sizeof want / sizeof *want);
    for (size_t i = 0; i < b.n_lines; i++) {
        assert_int_equal(b.lines[i].kind, want[i].kind);
        assert_int_equal(b.lines[i].state, want[i].state);
        assert_int_equal(b.lines[i].seconds, want[i].seconds);
        assert_int_equal(b.lines[i].fen, want[i].fen);
        assert_string_equal(b.lines[i].month, want[i].month);
    }
    assert_ok(
        keeping_make(&k, r, r->made_wall_ns + 86400 * NS_PER_S, "removed", f.host, &e));
    assert_int_equal(k.charge_fen, 15);
    keeping_clear(&k);
    bill_clear(&b);
    receipt_free(r);
    fixture_close(&f);
}

/* The wall clock only labels: whatever it does, the sum is the same. */
static void
bill__sum_does_not_depend_on_the_wall_clock(void **state)
{
    static const int64_t steps_s[] = {3600,   -3600,      86400,
                                      -86400, 40 * 86400, -400 * 86400};

    for (size_t i = 0; i < sizeof steps_s / sizeof *steps_s; i++) {
        struct fixture f;
        struct meter_session *s;
        struct receipt *r;
        struct bill b;
        int64_t sum = 0;
        int64_t seconds = 0;
        struct err e = {0};

        fixture_open(&f, *state);
        fixture_terms(&f, 5000, 86400, 60);
        s = fixture_start(&f);
        fixture_state(s, USAGE_RUNNING, "ready");
        fixture_run(s, 1800 * NS_PER_S);
        fixture_wall_ns += steps_s[i] * NS_PER_S;
        fixture_run(s, 900 * NS_PER_S);
        fixture_wall_ns -= steps_s[i] * NS_PER_S;
        fixture_run(s, 900 * NS_PER_S);
        fixture_end(s, "exited");
        meter_session_free(s);
        r = fixture_receipt(&f);
        assert_int_equal(r->device_s, 3600);
        assert_int_equal(r->charge_fen, 188);
        assert_ok(bill_from_receipt(&b, r, &e));
        for (size_t k = 0; k < b.n_lines; k++) {
            sum += b.lines[k].fen;
            seconds += b.lines[k].seconds;
            assert_true(b.lines[k].fen >= 0 &&
                        b.lines[k].from_wall_ns <= b.lines[k].to_wall_ns);
        }
        assert_int_equal(sum, 188);
        assert_int_equal(seconds, 3600);
        bill_clear(&b);
        receipt_free(r);
        assert_int_equal(unlinkat(f.dir_fd, "usage", 0), 0);
        fixture_close(&f);
    }
}

static void
bill__shows_job_price_window_and_several_rows(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct receipt *r;
    struct bill b;
    struct err e = {0};

    fixture_open(&f, *state);
    assert_ok(card_set(f.card, "job=0.05", 0, &e));
    fixture_terms(&f, 5000, 86400, 120);
    assert_ok(grant_set_offer(&f.grant, f.offer, "cpu", "", 4, &e));
    f.grant.window_s = 120;
    fixture_sign_grant(&f);
    s = fixture_start(&f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 3600 * NS_PER_S);
    fixture_state(s, USAGE_STOPPING, "stopped");
    fixture_run(s, 110 * NS_PER_S);
    fixture_state(s, USAGE_SNAPSHOTTING, "");
    fixture_end(s, "stopped");
    meter_session_free(s);
    r = fixture_receipt(&f);
    /* 5 + 3650 s x (1.88 + 0.40)/h = 5 + 231.16 */
    assert_int_equal(r->charge_fen, 236);
    assert_ok(bill_from_receipt(&b, r, &e));
    assert_int_equal(b.n_lines, 6);
    assert_int_equal(b.lines[0].kind, BILL_JOB);
    assert_int_equal(b.lines[0].fen, 5);
    assert_string_equal(b.lines[1].type, "4090");
    assert_int_equal(b.lines[1].fen, 188);
    assert_string_equal(b.lines[2].class_name, "cpu");
    assert_int_equal(b.lines[2].n_units, 4);
    assert_int_equal(b.lines[2].fen, 40);
    assert_int_equal(b.lines[3].kind, BILL_FREE);
    assert_int_equal(b.lines[4].kind, BILL_WINDOW);
    assert_int_equal(b.lines[4].seconds, 50);
    assert_int_equal(b.lines[4].fen + b.lines[5].fen, 3);
    bill_clear(&b);
    receipt_free(r);
    fixture_close(&f);
}

static void
bill__of_a_free_host_is_nothing(void **state)
{
    struct fixture f;
    struct meter_session *s;
    struct receipt *r;
    struct bill b;
    struct meter_status st;
    struct err e = {0};

    fixture_open(&f, *state);
    card_free(f.card);
    f.card = card_new();
    fixture_terms(&f, 0, 86400, 3600);
    s = fixture_start(&f);
    fixture_state(s, USAGE_SETUP, "");
    fixture_run(s, 100 * NS_PER_S);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 3600 * NS_PER_S);
    meter_session_status(s, &st);
    assert_int_equal(st.can_run_s, 86400 - 3600);
    assert_int_equal(st.stop_why, GRANT_LIMIT_TIME);
    assert_int_equal(st.alert_pct, 0);
    fixture_end(s, "exited");
    meter_session_free(s);
    r = fixture_receipt(&f);
    assert_int_equal(r->charge_fen, 0);
    assert_ok(bill_from_receipt(&b, r, &e));
    assert_int_equal(b.n_lines, 2);
    assert_int_equal(b.lines[0].fen + b.lines[1].fen, 0);
    bill_clear(&b);
    receipt_free(r);
    fixture_close(&f);
}

static void
bill__json_and_csv_hold_every_line(void **state)
{
    struct fixture f;
    struct receipt *r;
    struct bill b;
    struct buf out = BUF_INIT;
    struct json_writer w;
    struct json *root = NULL;
    struct err e = {0};

    run_plain(&f, *state, 3600);
    r = fixture_receipt(&f);
    assert_ok(bill_from_receipt(&b, r, &e));
    w = json_to(&out);
    bill_json(&w, &b);
    assert_ok(json_parse(&root, out.data, out.len, &e));
    assert_int_equal(json_len(root), 1);
    assert_int_equal(json_as_int(json_get(json_at(root, 0), "fen")), 188);
    assert_string_equal(json_as_str(json_get(json_at(root, 0), "kind")), "device");
    json_free(root);
    buf_reset(&out);
    bill_csv(&out, &b, "a,\"b\"");
    assert_string_equal(
        buf_str(&out),
        "job,month,kind,state,class,type,units,price_uyuan_per_h,seconds,fen,from,to,"
        "why\n"
        "\"a,\"\"b\"\"\",2026-11,device,running,gpu,4090,1,1880000,3600,188,"
        "2026-11-23T12:00:00.000Z,2026-11-23T13:00:00.000Z,\n");
    buf_free(&out);
    bill_clear(&b);
    receipt_free(r);
    fixture_close(&f);
}

static void
receipt__refuses_what_is_not_the_pinned_one(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct receipt *r = NULL;
    struct receipt_pins pins = {0};
    struct err e = {0};
    char *path;

    run_plain(&f, *state, 100);
    fixture_read(&f, &b);
    assert_ok(receipt_verify(&r, b.data, b.len, &pins, &e));
    receipt_free(r);
    pins.host = &f.renter_public;
    assert_refused(receipt_verify(&r, b.data, b.len, &pins, &e), ERR_DENIED);
    pins.host = &f.host_public;
    pins.renter = &f.host_public;
    assert_refused(receipt_verify(&r, b.data, b.len, &pins, &e), ERR_DENIED);
    pins.renter = &f.renter_public;
    pins.book = &f.host_public;
    assert_refused(receipt_verify(&r, b.data, b.len, &pins, &e), ERR_DENIED);
    pins.book = &f.renter_public;
    pins.job = "jother";
    assert_refused(receipt_verify(&r, b.data, b.len, &pins, &e), ERR_DENIED);
    pins.job = "j0123456789ab";
    assert_ok(receipt_verify(&r, b.data, b.len, &pins, &e));
    receipt_free(r);

    path = path_join(*state, "usage");
    assert_ok(receipt_verify_file(&r, path, &pins, &e));
    assert_string_equal(r->job, "j0123456789ab");
    assert_int_equal(r->n_intervals, 3);
    assert_int_equal(r->intervals[1].state, USAGE_RUNNING);
    assert_string_equal(r->intervals[1].reason, "ready");
    assert_int_equal(r->intervals[1].spent.ns[USAGE_RUNNING], 100 * NS_PER_S);
    receipt_free(r);
    free(path);
    path = path_join(*state, "none");
    assert_refused(receipt_verify_file(&r, path, &pins, &e), ERR_NOT_FOUND);
    free(path);
    buf_free(&b);
    fixture_close(&f);
}

/* The digit at `back` bytes before the end of the last record, with a frame that fits. */
static void
change_last(struct buf *b, size_t back)
{
    size_t *offsets = xcalloc(b->len / JOURNAL_FRAME_HEAD + 2, sizeof *offsets);
    size_t n = forge_frames(b, offsets, b->len / JOURNAL_FRAME_HEAD + 1);
    uint8_t *head = b->data + offsets[n - 1];
    uint8_t *record = head + JOURNAL_FRAME_HEAD;
    uint8_t *digit = b->data + b->len - back;
    char frame[JOURNAL_FRAME_HEAD + 1];

    *digit = *digit == '0' ? '1' : '0';
    journal_frame_head(frame, record, b->len - offsets[n - 1] - JOURNAL_FRAME_HEAD);
    memcpy(head, frame, JOURNAL_FRAME_HEAD);
    free(offsets);
}

/*
 * A file that was verified before is known by all its bytes. Known or not, only its
 * signatures are taken for right, and any other file is verified as ever.
 */
static void
receipt__that_is_known_is_spared_its_signatures_only(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct receipt *r = NULL;
    struct sha256 known = {{0}};
    struct receipt_pins pins = {.known = &known};
    struct sha256 hash;
    struct err e = {0};
    char *path = path_join(*state, "usage");

    run_plain(&f, *state, 100);
    fixture_read(&f, &b);
    sha256_of(b.data, b.len, &hash);
    /* The first time nothing is known, and its hash is told. */
    assert_ok(receipt_verify_file(&r, path, &pins, &e));
    assert_true(sha256_equal(&r->file_hash, &hash));
    known = r->file_hash;
    receipt_free(r);
    assert_ok(receipt_verify_file(&r, path, &pins, &e));
    assert_true(sha256_equal(&r->file_hash, &hash));
    assert_int_equal(r->device_s, 100);
    receipt_free(r);
    /* One digit of its signature: another file. */
    change_last(&b, 2);
    assert_ok(file_replace(path, b.data, b.len, &e));
    assert_refused(receipt_verify_file(&r, path, &pins, &e), ERR_CORRUPT);
    /* Were that one known, its signature would not be looked at, */
    sha256_of(b.data, b.len, &known);
    assert_ok(receipt_verify_file(&r, path, &pins, &e));
    receipt_free(r);
    /* but for whom all of them are asked for, */
    pins.check_all = true;
    assert_refused(receipt_verify_file(&r, path, &pins, &e), ERR_CORRUPT);
    pins.check_all = false;
    /* nor does it hide another host's key, or a sum that is wrong. */
    pins.host = &f.renter_public;
    assert_refused(receipt_verify_file(&r, path, &pins, &e), ERR_DENIED);
    pins.host = &f.host_public;
    change_last(&b, sizeof "\nsigner=\nsig=\n" - 1 + 64 + 128);
    assert_ok(file_replace(path, b.data, b.len, &e));
    sha256_of(b.data, b.len, &known);
    assert_refused(receipt_verify_file(&r, path, &pins, &e), ERR_CORRUPT);
    assert_null(strstr(e.msg, "signature"));
    free(path);
    buf_free(&b);
    fixture_close(&f);
}

/* A long one is verified as ever, and has no hash to be known by. */
static void
receipt__that_is_long_is_never_known(void **state)
{
    struct fixture f;
    struct receipt *r = NULL;
    struct sha256 none = {{0}};
    struct sha256 known = none;
    struct receipt_pins pins = {.known = &known};
    struct buf b = BUF_INIT;
    struct err e = {0};
    char *path = path_join(*state, "usage");

    run_plain(&f, *state, 12000);
    fixture_read(&f, &b);
    assert_true(b.len > (size_t)RECEIPT_KNOWN_MAX);
    assert_ok(receipt_verify_file(&r, path, &pins, &e));
    assert_true(sha256_equal(&r->file_hash, &none));
    receipt_free(r);
    change_last(&b, 2);
    assert_ok(file_replace(path, b.data, b.len, &e));
    sha256_of(b.data, b.len, &known);
    assert_refused(receipt_verify_file(&r, path, &pins, &e), ERR_CORRUPT);
    free(path);
    buf_free(&b);
    fixture_close(&f);
}

static void
receipt__is_not_a_journal_without_an_end(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct receipt *r = NULL;
    const struct receipt_pins pins = {0};
    size_t offsets[64];
    size_t n;
    struct err e = {0};

    run_plain(&f, *state, 100);
    fixture_read(&f, &b);
    n = forge_frames(&b, offsets, 63);
    assert_refused(receipt_verify(&r, b.data, offsets[n - 1], &pins, &e), ERR_NOT_FOUND);
    assert_refused(receipt_verify(&r, b.data, 0, &pins, &e), ERR_NOT_FOUND);
    assert_refused(receipt_verify(&r, b.data, b.len - 1, &pins, &e), ERR_CORRUPT);
    buf_add_u8(&b, '\n');
    assert_refused(receipt_verify(&r, b.data, b.len, &pins, &e), ERR_CORRUPT);
    buf_reset(&b);
    buf_add_str(&b, "\x7f"
                    "ELF, which is no journal at all");
    assert_refused(receipt_verify(&r, b.data, b.len, &pins, &e), ERR_CORRUPT);
    buf_free(&b);
    fixture_close(&f);
}

/* One whose session still runs is taken where that is asked for: to its last whole
 * record. */
static void
receipt__of_an_open_journal_is_taken_when_asked_for(void **state)
{
    struct fixture f;
    struct buf b = BUF_INIT;
    struct receipt *r = NULL;
    const struct receipt_pins pins = {.open = true};
    size_t offsets[64];
    size_t n;
    struct err e = {0};

    run_plain(&f, *state, 100);
    fixture_read(&f, &b);
    n = forge_frames(&b, offsets, 63);
    for (size_t cut = offsets[n - 1]; cut < b.len; cut += 7) {
        assert_ok(receipt_verify(&r, b.data, cut, &pins, &e));
        assert_string_equal(r->job, "j0123456789ab");
        receipt_free(r);
    }
    assert_ok(receipt_verify(&r, b.data, b.len, &pins, &e));
    receipt_free(r);
    assert_refused(receipt_verify(&r, b.data, 0, &pins, &e), ERR_NOT_FOUND);
    assert_refused(receipt_verify(&r, b.data, offsets[1] - 1, &pins, &e), ERR_CORRUPT);
    buf_add_u8(&b, '\n');
    assert_refused(receipt_verify(&r, b.data, b.len, &pins, &e), ERR_CORRUPT);
    buf_free(&b);
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(bill__has_a_line_for_what_the_host_bears),
        fixture_test(bill__is_cut_where_months_begin_in_shanghai),
        fixture_test(bill__is_as_worked_out_by_hand),
        fixture_test(bill__sum_does_not_depend_on_the_wall_clock),
        fixture_test(bill__shows_job_price_window_and_several_rows),
        fixture_test(bill__of_a_free_host_is_nothing),
        fixture_test(bill__json_and_csv_hold_every_line),
        fixture_test(receipt__refuses_what_is_not_the_pinned_one),
        fixture_test(receipt__that_is_known_is_spared_its_signatures_only),
        fixture_test(receipt__that_is_long_is_never_known),
        fixture_test(receipt__is_not_a_journal_without_an_end),
        fixture_test(receipt__of_an_open_journal_is_taken_when_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
