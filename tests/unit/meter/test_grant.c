/* Grants at their limits, and as forgers with the book's key would write them. */
#include <inttypes.h>

#include "meter/grant.h"
#include "meter/tariff.h"
#include "tests/unit/meter/fixture.h"
#include "tests/unit/meter/respell.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

#define WORD_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NAME_32 "0123456789abcdef0123456789abcdef"

static void
assert_goes_round(struct grant *g, const struct fixture *f)
{
    struct grant again;
    struct err e = {0};

    grant_init(&again);
    assert_ok(grant_sign(g, f->renter, &e));
    assert_ok(grant_parse(&again, g->bytes.data, g->bytes.len, &e));
    assert_true(sha256_equal(&again.hash, &g->hash));
    assert_int_equal(again.seq, g->seq);
    assert_int_equal(again.cap_fen, g->cap_fen);
    assert_int_equal(again.max_s, g->max_s);
    assert_int_equal(again.keep_free_bytes, g->keep_free_bytes);
    assert_int_equal(again.until_wall_ns, g->until_wall_ns);
    assert_int_equal(again.n_rows, g->n_rows);
    assert_int_equal(again.cap_why, g->cap_why);
    assert_int_equal(again.end_why, g->end_why);
    grant_clear(&again);
}

static void
set_rows(struct grant *g, size_t n, int64_t n_units, int64_t uyuan)
{
    for (size_t i = 0; i < n && i < GRANT_ROWS_MAX; i++) {
        g->rows[i] = g->rows[0];
        g->rows[i].n_units = n_units;
        g->rows[i].uyuan_per_h = uyuan;
    }
    g->n_rows = n;
}

static void
grant__holds_each_limit_exactly(void **state)
{
    struct fixture f;
    struct grant g;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 3600, 60);
    grant_init(&g);
#define TAKEN(change)                                                                    \
    do {                                                                                 \
        grant_clear(&g);                                                                 \
        grant_copy(&g, &f.grant);                                                        \
        change;                                                                          \
        assert_goes_round(&g, &f);                                                       \
    } while (0)
#define REFUSED(change)                                                                  \
    do {                                                                                 \
        grant_clear(&g);                                                                 \
        grant_copy(&g, &f.grant);                                                        \
        change;                                                                          \
        assert_refused(grant_sign(&g, f.renter, &e), ERR_INVALID);                       \
    } while (0)
#define LIMITS(field, least, most)                                                       \
    do {                                                                                 \
        TAKEN(g.field = (least));                                                        \
        TAKEN(g.field = (most));                                                         \
        REFUSED(g.field = (least)-1);                                                    \
        REFUSED(g.field = (most) + 1);                                                   \
    } while (0)
    LIMITS(rows[0].uyuan_per_h, 0, CARD_PRICE_MAX_UYUAN);
    LIMITS(rows[0].n_units, 1, 1000000);
    LIMITS(n_rows, 1, 1);
    LIMITS(max_s, 1, GRANT_MAX_S);
    LIMITS(job_uyuan, 0, CARD_PRICE_MAX_UYUAN);
    LIMITS(nocard_uyuan_per_h, 0, CARD_PRICE_MAX_UYUAN);
    LIMITS(keep_uyuan_per_gb_day, 0, CARD_PRICE_MAX_UYUAN);
    LIMITS(keep_days, 0, OFFER_KEEP_DAYS_MAX);
    LIMITS(window_s, 0, OFFER_WINDOW_MAX_S);
#undef LIMITS
    TAKEN(g.max_s = GRANT_NO_END);
    TAKEN(g.seq = INT64_MAX);
    REFUSED(g.seq = 0);
    TAKEN(g.cap_fen = 0);
    TAKEN(g.cap_fen = INT64_MAX);
    REFUSED(g.cap_fen = -1);
    TAKEN(g.keep_free_bytes = INT64_MAX);
    REFUSED(g.keep_free_bytes = -1);
    TAKEN(g.until_wall_ns = INT64_MAX; g.made_wall_ns = INT64_MAX);
    TAKEN(set_rows(&g, GRANT_ROWS_MAX, 1, 1));
    REFUSED(set_rows(&g, GRANT_ROWS_MAX + 1, 1, 1));
    REFUSED(set_rows(&g, 0, 1, 1));
    TAKEN(set_rows(&g, 1, 1000000, CARD_PRICE_MAX_UYUAN)); /* all of the burn allowed */
    REFUSED(set_rows(&g, 2, 1000000, CARD_PRICE_MAX_UYUAN); g.rows[1].n_units = 1;
            g.rows[1].uyuan_per_h = 1);
    TAKEN((void)strcpy(g.lease, WORD_64); (void)strcpy(g.job, WORD_64);
          (void)strcpy(g.reservation, WORD_64));
    REFUSED((void)strcpy(g.reservation, "two words"));
    TAKEN((void)strcpy(g.rows[0].class_name, NAME_32);
          (void)strcpy(g.rows[0].type, NAME_32));
    TAKEN(g.rows[0].type[0] = '\0');
    REFUSED((void)strcpy(g.rows[0].class_name, "GPU"));
    REFUSED((void)strcpy(g.rows[0].type, "RTX 4090"));
    TAKEN(g.cap_why = GRANT_LIMIT_BALANCE; g.end_why = GRANT_LIMIT_LEASE);
#undef REFUSED
#undef TAKEN
    grant_clear(&g);
    fixture_close(&f);
}

static void
grant__is_taken_only_as_its_book_wrote_it(void **state)
{
    static const struct {
        const char *key;
        const char *value;
        enum err_code code;
    } cases[] = {
        {"seq", "0", ERR_INVALID},
        {"seq", NULL, ERR_INVALID},
        {"lease", WORD_64 "x", ERR_CORRUPT},
        {"job", WORD_64 "x", ERR_CORRUPT},
        {"reservation", WORD_64 "x", ERR_CORRUPT},
        {"reservation", "rv1", ERR_CORRUPT}, /* behind, where it does not stand */
        {"renter", "00", ERR_INVALID},
        {"host", "00", ERR_INVALID},
        {"offer", "00", ERR_INVALID},
        {"row", NULL, ERR_INVALID},
        {"row", "gpu 4090 1", ERR_CORRUPT},
        {"row", "gpu 4090 1 1 1", ERR_CORRUPT},
        {"row", "gpu 4090 -1 1", ERR_CORRUPT},
        {"row", "gpu 4090 0 1", ERR_INVALID},
        {"job_price", "-1", ERR_INVALID},
        {"nocard", "-1", ERR_INVALID},
        {"keep", "-1", ERR_INVALID},
        {"quota", "-1", ERR_INVALID},
        {"keep_days", "-1", ERR_INVALID},
        {"window", "-1", ERR_INVALID},
        {"cap", "-1", ERR_INVALID},
        {"max_s", "0", ERR_INVALID},
        {"max_s", "-1", ERR_INVALID},
        {"max_s", "68719476737", ERR_INVALID},
        {"max_s", "9223372036854775807", ERR_CORRUPT}, /* no end: not written */
        {"until", "-1", ERR_INVALID},
        {"made", "-1", ERR_INVALID},
        {"cap_why", "time", ERR_CORRUPT},
        {"cap_why", "none", ERR_CORRUPT},
        {"cap_why", NULL, ERR_INVALID},
        {"end_why", "cost", ERR_CORRUPT},
        {"end_why", NULL, ERR_INVALID},
        {"colour", "red", ERR_CORRUPT},
    };
    struct fixture f;
    struct grant got;
    struct buf b = BUF_INIT;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 3600, 60);
    grant_init(&got);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        respell(&b, &f.grant.bytes, cases[i].key, cases[i].value, f.renter);
        if (grant_parse(&got, b.data, b.len, &e) != -1 || e.code != cases[i].code) {
            fail_msg("%s=%s: %s: %s", cases[i].key,
                     cases[i].value != NULL ? cases[i].value : "", err_code_name(e.code),
                     e.msg);
        }
        assert_int_equal(got.bytes.len, 0);
    }
    respell(&b, &f.grant.bytes, "seq", "1", f.renter); /* nothing is wrong with these */
    assert_ok(grant_parse(&got, b.data, b.len, &e));
    grant_clear(&got);
    buf_free(&b);
    fixture_close(&f);
}

static void
grant__has_no_more_rows_than_there_is_room_for(void **state)
{
    struct fixture f;
    struct grant got;
    struct rec *r = NULL;
    struct buf b = BUF_INIT;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 3600, 60);
    set_rows(&f.grant, GRANT_ROWS_MAX, 1, 1);
    assert_ok(grant_sign(&f.grant, f.renter, &e));
    assert_ok(rec_parse(&r, f.grant.bytes.data, f.grant.bytes.len, NULL, &e));
    rec_add(r, "row", "gpu 4090 1 1");
    sign_rec(r, f.renter);
    rec_encode(r, &b);
    assert_refused(grant_parse(&got, b.data, b.len, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "17 rows"));
    rec_free(r);
    /* Nor has one in the making. */
    grant_init(&got);
    for (int i = 0; i < GRANT_ROWS_MAX; i++) {
        assert_ok(grant_set_offer(&got, f.offer, "gpu", "4090", 1, &e));
    }
    assert_refused(grant_set_offer(&got, f.offer, "gpu", "4090", 1, &e), ERR_RANGE);
    assert_int_equal(got.n_rows, GRANT_ROWS_MAX);
    got.n_rows = 0;
    assert_ok(grant_set_offer(&got, f.offer, "gpu", "4090", 1000000, &e));
    assert_refused(grant_set_offer(&got, f.offer, "gpu", "4090", 1000001, &e), ERR_RANGE);
    grant_clear(&got);
    buf_free(&b);
    fixture_close(&f);
}

static void
grant__is_not_read_if_too_long(void **state)
{
    struct grant got;
    struct buf b = BUF_INIT;
    struct err e = {0};

    (void)state;
    respell_padded(&b, "gpurun.grant.v1", GRANT_MAX_BYTES + 1);
    assert_refused(grant_parse(&got, b.data, b.len, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "a grant of 262145 bytes"));
    respell_padded(&b, "gpurun.grant.v1", GRANT_MAX_BYTES);
    assert_refused(grant_parse(&got, b.data, b.len, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "not signed"));
    buf_free(&b);
}

static void
grant__ends_with_the_earlier_of_offer_and_grant(void **state)
{
    struct fixture f;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 3600, 60);
#define AT(ns) grant_check(&f.grant, f.offer, &f.renter_public, (ns), &e)
    f.offer->until_wall_ns = f.grant.until_wall_ns - 1;
    assert_ok(AT(f.offer->until_wall_ns));
    assert_refused(AT(f.offer->until_wall_ns + 1), ERR_DENIED);
    f.offer->until_wall_ns = f.grant.until_wall_ns + 1;
    assert_ok(AT(f.grant.until_wall_ns));
    assert_refused(AT(f.grant.until_wall_ns + 1), ERR_DENIED);
#undef AT
    fixture_close(&f);
}

static void
grant__takes_an_offer_only_from_who_it_was_made_for(void **state)
{
    struct fixture f;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 3600, 60);
    sign_public_id(&f.renter_public, f.offer->renter);
    assert_ok(grant_check_terms(&f.grant, f.offer, &e));
    sign_public_id(&f.host_public, f.offer->renter);
    assert_refused(grant_check_terms(&f.grant, f.offer, &e), ERR_DENIED);
    assert_non_null(strstr(e.msg, "another renter"));
    f.offer->renter[0] = '\0';
    /* The longest window allowed, and a quota below the offered one. */
    f.offer->window_max_s = f.grant.window_s;
    f.offer->keep_free_bytes = f.grant.keep_free_bytes + 1;
    assert_ok(grant_check_terms(&f.grant, f.offer, &e));
    f.offer->window_max_s = f.grant.window_s - 1;
    assert_refused(grant_check_terms(&f.grant, f.offer, &e), ERR_DENIED);
    /* One of several books that the owner accepts, the last one. */
    f.offer->window_max_s = f.grant.window_s;
    f.grant.book = f.host_public;
    f.offer->own_book = true;
    assert_refused(grant_check_terms(&f.grant, f.offer, &e), ERR_DENIED);
    offer_add_book(f.offer, &f.renter_public);
    assert_refused(grant_check_terms(&f.grant, f.offer, &e), ERR_DENIED);
    offer_add_book(f.offer, &f.host_public);
    assert_ok(grant_check_terms(&f.grant, f.offer, &e));
    fixture_close(&f);
}

/* Every unit, rate and floor of a bill, to the smallest amount. */
static void
grant__charges_to_the_fen(void **state)
{
    static const struct {
        int64_t nocard;
        int64_t device;
        int64_t job;
        int64_t cap;
        int64_t setup_s;
        int64_t device_s;
        int64_t fen;
    } cases[] = {
        {0, 3600000, 0, 500, 0, 0, 0},
        {0, 3600000, 0, 500, 0, 1, 1},      /* a tenth of a fen: the floor */
        {0, 3600000, 0, 500, 0, 10, 1},     /* one fen exactly */
        {0, 3600000, 0, 500, 0, 19, 1},     /* rounded down */
        {0, 3600000, 0, 500, 0, 20, 2},     /* two exactly */
        {0, 3600000, 0, 500, 0, 5009, 500}, /* all of the cap */
        {0, 3600000, 0, 500, 0, 5010, 500}, /* and no more */
        {0, 3600000, 0, 0, 0, 10, 0},
        {3600000, 3600000, 0, 500, 10, 0, 1}, /* the set-up's own rate */
        {3600000, 0, 0, 500, 1, 100, 1},
        {0, 0, 50000, 500, 99, 0, 0}, /* per job: only once it had the device */
        {0, 0, 50000, 500, 99, 1, 5},
        {0, 0, 0, 500, 99, 99, 0},
    };
    struct grant g;

    (void)state;
    grant_init(&g);
    g.n_rows = 1;
    g.rows[0].n_units = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        g.nocard_uyuan_per_h = cases[i].nocard;
        g.rows[0].uyuan_per_h = cases[i].device;
        g.job_uyuan = cases[i].job;
        g.cap_fen = cases[i].cap;
        if (grant_charge(&g, cases[i].setup_s, cases[i].device_s) != cases[i].fen) {
            fail_msg("case %zu: %" PRId64, i,
                     grant_charge(&g, cases[i].setup_s, cases[i].device_s));
        }
    }
}

static void
grant__stops_in_the_last_second_that_fits(void **state)
{
    static const struct {
        int64_t device;
        int64_t job;
        int64_t cap;
        int64_t window;
        int64_t keep;
        int64_t max_s;
    } cases[] = {
        {3600000, 0, 10, 0, 0, 100},
        {3600000, 0, 10, 60, 0, 100}, /* the free window costs nothing */
        {3600000, 0, 10, 61, 0, 99},
        {3600000, 0, 10, 60, 1, 90},
        {3600000, 0, 10, 60, 10, 0},
        {3600000, 0, 10, 60, 11, 0},
        {3600000, 0, 10, 160, 0, 0},
        {3600000, 0, 10, 161, 0, 0},
        {3600000, 50000, 10, 60, 0, 50}, /* the price per job is owed, too */
        {3600000, 50000, 10, 61, 0, 49},
        {0, 0, 10, 60, 0, INT64_MAX},
        {0, 0, 0, 60, 0, INT64_MAX},
        {0, 50000, 5, 60, 0, INT64_MAX},
        {0, 50000, 4, 60, 0, 0},
    };
    struct grant g;

    (void)state;
    grant_init(&g);
    g.n_rows = 1;
    g.rows[0].n_units = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        g.rows[0].uyuan_per_h = cases[i].device;
        g.job_uyuan = cases[i].job;
        g.cap_fen = cases[i].cap;
        g.window_s = cases[i].window;
        if (grant_max_device_s(&g, 0, cases[i].keep) != cases[i].max_s) {
            fail_msg("case %zu: %" PRId64, i, grant_max_device_s(&g, 0, cases[i].keep));
        }
    }
}

static void
grant__hold_for_keeping_is_for_what_is_beyond_the_quota(void **state)
{
    struct grant g;
    struct err e = {0};
    int64_t cap = 0;

    (void)state;
    grant_init(&g);
    g.keep_uyuan_per_gb_day = 10000;
    g.keep_days = 1;
    g.keep_free_bytes = 1000000000;
    assert_int_equal(grant_keep_hold(&g, 0), 0);
    assert_int_equal(grant_keep_hold(&g, 1000000000), 0);
    assert_int_equal(grant_keep_hold(&g, 1000000001), 1);
    assert_int_equal(grant_keep_hold(&g, 2000000000), 1);
    assert_int_equal(grant_keep_hold(&g, 2000000001), 2);
    /* More than any cap covers, and a price of the whole lease that nobody can write. */
    g.keep_uyuan_per_gb_day = CARD_PRICE_MAX_UYUAN;
    g.keep_days = OFFER_KEEP_DAYS_MAX;
    assert_int_equal(grant_keep_hold(&g, INT64_MAX), INT64_MAX);
    g.max_s = 1;
    assert_ok(grant_default_cap(&g, INT64_MAX, &cap, &e));
    assert_int_equal(cap, INT64_MAX);
    g.n_rows = 1;
    g.rows[0].n_units = 1;
    g.rows[0].uyuan_per_h = 1;
    assert_refused(grant_default_cap(&g, INT64_MAX, &cap, &e), ERR_RANGE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(grant__holds_each_limit_exactly),
        fixture_test(grant__is_taken_only_as_its_book_wrote_it),
        fixture_test(grant__has_no_more_rows_than_there_is_room_for),
        cmocka_unit_test(grant__is_not_read_if_too_long),
        fixture_test(grant__ends_with_the_earlier_of_offer_and_grant),
        fixture_test(grant__takes_an_offer_only_from_who_it_was_made_for),
        cmocka_unit_test(grant__charges_to_the_fen),
        cmocka_unit_test(grant__stops_in_the_last_second_that_fits),
        cmocka_unit_test(grant__hold_for_keeping_is_for_what_is_beyond_the_quota),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
