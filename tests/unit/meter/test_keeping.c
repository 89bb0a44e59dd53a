#include "meter/keeping.h"
#include "tests/unit/meter/fixture.h"
#include "tests/unit/meter/respell.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

#define DAY_NS (86400 * NS_PER_S)

/* A session that left 20 GB for 15 days at 0.01 yuan per GB-day, 5 GB of them free. */
static struct receipt *
kept(struct fixture *f, const char *dir, int64_t cap_fen)
{
    struct meter_end end = {.reason = "exited",
                            .exit_code = 0,
                            .snapshot = "s0123456789ab",
                            .kept_bytes = 20000000000};
    struct meter_session *s;
    struct err e = {0};

    fixture_open(f, dir);
    assert_ok(card_set(f->card, "disk=0.01", 0, &e));
    assert_ok(card_set_quota(f->card, 5000000000, &e));
    fixture_terms(f, cap_fen, 86400, 60);
    s = fixture_start(f);
    fixture_state(s, USAGE_RUNNING, "ready");
    fixture_run(s, 3600 * NS_PER_S);
    fixture_state(s, USAGE_SNAPSHOTTING, "");
    end.keep_until_wall_ns = fixture_wall_ns + 15 * DAY_NS;
    assert_ok(meter_session_end(s, &end, &e));
    meter_session_free(s);
    return fixture_receipt(f);
}

static void
keeping__is_priced_by_the_days_it_lasted(void **state)
{
    static const struct {
        int64_t after_ns;
        int64_t fen;
    } cases[] = {
        {-DAY_NS, 0},       {0, 0},          {DAY_NS, 15}, {15 * DAY_NS, 225},
        {99 * DAY_NS, 225}, {DAY_NS / 2, 7},
    };
    struct fixture f;
    struct receipt *r = kept(&f, *state, 1000);
    struct keeping k;
    struct keeping again;
    struct err e = {0};

    assert_int_equal(r->keep_hold_fen, 225);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(keeping_make(&k, r, r->made_wall_ns + cases[i].after_ns, "expired",
                               f.host, &e));
        assert_int_equal(k.charge_fen, cases[i].fen);
        assert_ok(keeping_parse(&again, k.bytes.data, k.bytes.len, &f.host_public, &e));
        assert_ok(keeping_check(&again, r, &e));
        assert_int_equal(again.charge_fen, cases[i].fen);
        assert_string_equal(again.reason, "expired");
        keeping_clear(&again);
        keeping_clear(&k);
    }
    receipt_free(r);
    fixture_close(&f);
}

static void
keeping__never_costs_more_than_is_held(void **state)
{
    struct fixture f;
    struct receipt *r = kept(&f, *state, 200); /* 188 of them are spent */
    struct keeping k;
    struct err e = {0};

    assert_int_equal(r->charge_fen, 188);
    assert_int_equal(r->keep_hold_fen, 12);
    assert_ok(keeping_make(&k, r, r->made_wall_ns + 15 * DAY_NS, "expired", f.host, &e));
    assert_int_equal(k.charge_fen, 12);
    keeping_clear(&k);
    receipt_free(r);
    fixture_close(&f);
}

static void
keeping__is_read_only_as_it_was_written(void **state)
{
    struct fixture f;
    struct receipt *r = kept(&f, *state, 1000);
    struct keeping k;
    struct keeping other;
    struct err e = {0};

    assert_refused(keeping_make(&k, r, 0, "two words", f.host, &e), ERR_INVALID);
    assert_refused(keeping_make(&k, r, 0, "removed", f.renter, &e), ERR_DENIED);
    assert_ok(keeping_make(&k, r, r->made_wall_ns + DAY_NS, "removed", f.host, &e));
    assert_refused(keeping_parse(&other, k.bytes.data, k.bytes.len, &f.renter_public, &e),
                   ERR_DENIED);
    for (size_t i = 0; i < k.bytes.len; i++) {
        k.bytes.data[i] ^= 1;
        assert_int_equal(keeping_parse(&other, k.bytes.data, k.bytes.len, NULL, &e), -1);
        k.bytes.data[i] ^= 1;
    }
    r->kept_bytes++;
    assert_refused(keeping_check(&k, r, &e), ERR_DENIED);
    r->kept_bytes--;
    r->last.hash.b[0] ^= 1;
    assert_refused(keeping_check(&k, r, &e), ERR_DENIED);
    r->keep_until_wall_ns = 0;
    assert_refused(keeping_make(&other, r, 0, "expired", f.host, &e), ERR_NOT_FOUND);
    keeping_clear(&k);
    receipt_free(r);
    fixture_close(&f);
}

/* The same line with its first two fields the other way round, signed as well as it. */
static void
keeping__has_one_spelling(void **state)
{
    struct fixture f;
    struct receipt *r = kept(&f, *state, 1000);
    struct rec *was = NULL;
    struct rec *other;
    struct buf text = BUF_INIT;
    struct keeping k;
    struct err e = {0};

    assert_ok(keeping_make(&k, r, r->made_wall_ns + DAY_NS, "removed", f.host, &e));
    assert_ok(rec_parse(&was, k.bytes.data, k.bytes.len, NULL, &e));
    other = rec_new(rec_type(was));
    for (size_t i = 0; i + 2 < rec_n_fields(was); i++) {
        const char *value;
        size_t len;
        const char *key = rec_field(was, i < 2 ? 1 - i : i, &value, &len);

        rec_add_bytes(other, key, value, len);
    }
    sign_rec(other, f.host);
    rec_encode(other, &text);
    assert_int_equal(text.len, k.bytes.len);
    keeping_clear(&k);
    assert_refused(keeping_parse(&k, text.data, text.len, NULL, &e), ERR_CORRUPT);
    buf_free(&text);
    rec_free(was);
    rec_free(other);
    receipt_free(r);
    fixture_close(&f);
}

static void
keeping__is_taken_only_as_its_host_wrote_it(void **state)
{
    static const struct {
        const char *key;
        const char *value;
        enum err_code code;
    } cases[] = {
        {"host", "00", ERR_INVALID},
        {"renter", "00", ERR_INVALID},
        {"receipt", "00", ERR_INVALID},
        {"lease", "two words", ERR_CORRUPT},
        {"job", "two words", ERR_CORRUPT},
        {"snapshot", "two words", ERR_CORRUPT},
        {"why", "two words", ERR_CORRUPT},
        {"why", NULL, ERR_INVALID},
        {"paid", "-1", ERR_INVALID},
        {"price", "-1", ERR_INVALID},
        {"price", "1000000000001", ERR_INVALID},
        {"from", "x", ERR_INVALID},
        {"to", "x", ERR_INVALID},
        {"kept", "-1", ERR_INVALID},
        {"kept", "1", ERR_CORRUPT},
        {"hold", "-1", ERR_INVALID},
        {"charge", "-1", ERR_INVALID},
        {"charge", "14", ERR_CORRUPT},
        {"charge", "16", ERR_CORRUPT},
        {"colour", "red", ERR_CORRUPT},
    };
    struct fixture f;
    struct receipt *r = kept(&f, *state, 1000);
    struct keeping k;
    struct keeping got;
    struct buf b = BUF_INIT;
    struct err e = {0};

    assert_ok(keeping_make(&k, r, r->made_wall_ns + DAY_NS, "removed", f.host, &e));
    assert_int_equal(k.charge_fen, 15);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        respell(&b, &k.bytes, cases[i].key, cases[i].value, f.host);
        if (keeping_parse(&got, b.data, b.len, NULL, &e) != -1 ||
            e.code != cases[i].code) {
            fail_msg("%s=%s: %s: %s", cases[i].key,
                     cases[i].value != NULL ? cases[i].value : "", err_code_name(e.code),
                     e.msg);
        }
    }
    /* Another's signature under this host's name; and this one's, wanted from another. */
    respell(&b, &k.bytes, NULL, NULL, f.renter);
    assert_refused(keeping_parse(&got, b.data, b.len, NULL, &e), ERR_CORRUPT);
    respell(&b, &k.bytes, NULL, NULL, f.host);
    assert_ok(keeping_parse(&got, b.data, b.len, &f.host_public, &e));
    keeping_clear(&got);
    assert_refused(keeping_parse(&got, b.data, b.len, &f.renter_public, &e), ERR_DENIED);
    /* A hold that is less than the price is the charge. */
    respell(&b, &k.bytes, "hold", "14", f.host);
    assert_refused(keeping_parse(&got, b.data, b.len, NULL, &e), ERR_CORRUPT);
    respell(&b, &k.bytes, "hold", "15", f.host);
    assert_ok(keeping_parse(&got, b.data, b.len, NULL, &e));
    keeping_clear(&got);
    respell_padded(&b, "gpurun.keeping.v1", KEEPING_MAX_BYTES + 1);
    assert_refused(keeping_parse(&got, b.data, b.len, NULL, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "a keeping line of 8193 bytes"));
    respell_padded(&b, "gpurun.keeping.v1", KEEPING_MAX_BYTES);
    assert_refused(keeping_parse(&got, b.data, b.len, NULL, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "not signed"));
    keeping_clear(&k);
    buf_free(&b);
    receipt_free(r);
    fixture_close(&f);
}

/* Each thing that a line says is held against the receipt. */
static void
keeping__is_of_one_receipt_and_on_its_terms(void **state)
{
    struct fixture f;
    struct receipt *r = kept(&f, *state, 1000);
    struct keeping made;
    struct keeping k;
    struct err e = {0};

    assert_ok(keeping_make(&made, r, r->made_wall_ns + DAY_NS, "removed", f.host, &e));
#define DENIED(change, words)                                                            \
    do {                                                                                 \
        k = made;                                                                        \
        change;                                                                          \
        assert_refused(keeping_check(&k, r, &e), ERR_DENIED);                            \
        assert_non_null(strstr(e.msg, words));                                           \
    } while (0)
    DENIED(k.receipt.b[0] ^= 1, "another receipt");
    DENIED(k.host.b[0] ^= 1, "another receipt");
    DENIED(k.renter.b[0] ^= 1, "another receipt");
    DENIED(k.lease[1] ^= 1, "another receipt");
    DENIED(k.job[1] ^= 1, "another receipt");
    DENIED(k.snapshot[1] ^= 1, "another receipt");
    DENIED(k.paid_bytes ^= 1, "other terms");
    DENIED(k.hold_fen ^= 1, "other terms");
    DENIED(k.uyuan_per_gb_day ^= 1, "other terms");
    DENIED(k.from_wall_ns ^= 1, "other terms");
    DENIED(k.charge_fen ^= 1, "other terms");
    /* Kept longer than was promised, or gone before it was there. */
    DENIED(k.to_wall_ns = r->keep_until_wall_ns + 1, "other terms");
    DENIED(k.to_wall_ns = r->made_wall_ns - 1, "other terms");
#undef DENIED
    assert_ok(keeping_check(&made, r, &e));
    keeping_clear(&made);
    /* Whole seconds, and nothing for data within the quota. */
    assert_ok(
        keeping_make(&made, r, r->made_wall_ns + NS_PER_S - 1, "removed", f.host, &e));
    assert_int_equal(made.kept_s, 0);
    keeping_clear(&made);
    assert_ok(keeping_make(&made, r, r->made_wall_ns + NS_PER_S, "removed", f.host, &e));
    assert_int_equal(made.kept_s, 1);
    keeping_clear(&made);
    r->kept_bytes = 5000000000;
    assert_ok(keeping_make(&made, r, r->made_wall_ns + DAY_NS, "removed", f.host, &e));
    assert_int_equal(made.paid_bytes, 0);
    assert_int_equal(made.charge_fen, 0);
    keeping_clear(&made);
    r->kept_bytes = 4000000000;
    assert_ok(keeping_make(&made, r, r->made_wall_ns + DAY_NS, "removed", f.host, &e));
    assert_int_equal(made.paid_bytes, 0);
    keeping_clear(&made);
    r->snapshot[0] = '\0';
    assert_refused(keeping_make(&made, r, r->made_wall_ns, "removed", f.host, &e),
                   ERR_NOT_FOUND);
    receipt_free(r);
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(keeping__is_priced_by_the_days_it_lasted),
        fixture_test(keeping__never_costs_more_than_is_held),
        fixture_test(keeping__is_read_only_as_it_was_written),
        fixture_test(keeping__has_one_spelling),
        fixture_test(keeping__is_taken_only_as_its_host_wrote_it),
        fixture_test(keeping__is_of_one_receipt_and_on_its_terms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
