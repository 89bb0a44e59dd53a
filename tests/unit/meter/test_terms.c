/* Rate cards, offers and grants: what owners ask, and what books promise. */
#include "meter/refuse.h"
#include "tests/unit/meter/fixture.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

static int64_t
price_at(const struct card *c, const char *class_name, const char *type, int64_t at_s)
{
    const struct card_price *p = card_price_at(c, class_name, type, at_s);

    return p == NULL ? -1 : p->price_uyuan;
}

static void
card__keeps_the_history_of_prices(void **state)
{
    struct card *c = card_new();
    struct err e = {0};
    size_t n;

    (void)state;
    assert_true(card_is_free(c));
    assert_ok(card_set(c, "4090=1.88", 100, &e));
    assert_ok(card_set(c, "RTX-4090=3", 100, &e));
    assert_ok(card_set(c, "4090=2.18", 200, &e));
    assert_ok(card_set(c, "cpu=0.1", 100, &e));
    assert_ok(card_set(c, "npu:910b=3.5", 100, &e));
    assert_int_equal(price_at(c, "gpu", "4090", 99), -1);
    assert_int_equal(price_at(c, "gpu", "4090", 100), 1880000);
    assert_int_equal(price_at(c, "gpu", "4090", 199), 1880000);
    assert_int_equal(price_at(c, "gpu", "4090", 200), 2180000);
    assert_int_equal(price_at(c, "gpu", "rtx-4090", 100), 3000000);
    assert_int_equal(price_at(c, "cpu", "", 100), 100000);
    assert_int_equal(price_at(c, "npu", "910b", INT64_MAX), 3500000);
    assert_ok(card_unset(c, "4090", 300, &e));
    assert_int_equal(price_at(c, "gpu", "4090", 299), 2180000);
    assert_int_equal(price_at(c, "gpu", "4090", 300), -1);
    assert_refused(card_unset(c, "4090", 300, &e), ERR_NOT_FOUND);
    assert_refused(card_unset(c, "h100", 300, &e), ERR_NOT_FOUND);
    assert_ok(card_set(c, "4090=1.5", 400, &e));
    assert_int_equal(price_at(c, "gpu", "4090", 350), -1);
    assert_int_equal(price_at(c, "gpu", "4090", 400), 1500000);
    assert_ok(card_set(c, "4090=9", 150, &e)); /* what came later is no more */
    assert_int_equal(price_at(c, "gpu", "4090", 149), 1880000);
    assert_int_equal(price_at(c, "gpu", "4090", 400), 9000000);
    (void)card_prices(c, &n);
    assert_int_equal(n, 5);
    assert_false(card_is_free(c));
    card_free(c);
}

static void
card__refuses_bad_prices_and_changes_nothing(void **state)
{
    static const struct {
        const char *text;
        enum refuse_code why;
    } cases[] = {
        {"4090", REFUSE_NONE},
        {"4090=", REFUSE_SYNTAX},
        {"4090=-1", REFUSE_SYNTAX},
        {"4090=1.0000001", REFUSE_PRECISION},
        {"4090=01", REFUSE_LEADING_ZERO},
        {"4090=1000001", REFUSE_RANGE},
        {"=1", REFUSE_NONE},
        {"disk:ssd=1", REFUSE_NONE},
        {"a b=1", REFUSE_NONE},
        {"gpu:=1", REFUSE_NONE},
        {":4090=1", REFUSE_NONE},
        {"-=1", REFUSE_NONE},
        {"4090=1.880001", REFUSE_INEXACT_PRICE},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=1",
         REFUSE_NONE},
    };
    struct card *c = card_new();
    struct sha256 before;
    struct sha256 after;
    struct err e = {0};

    (void)state;
    assert_ok(card_set(c, "h100=8", 0, &e));
    assert_ok(card_set_level(c, "member", 9500, &e));
    card_hash(c, &before);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(&e, 0, sizeof e);
        if (card_set(c, cases[i].text, 0, &e) == 0 || refuse_of(&e) != cases[i].why) {
            fail_msg("'%s': %s", cases[i].text, e.msg);
        }
    }
    assert_refused(card_set_level(c, "member", 10001, &e), ERR_RANGE);
    assert_refused(card_set_level(c, "Member X", 9000, &e), ERR_INVALID);
    assert_ok(card_set_level(c, "student", 9000, &e));
    assert_refused(card_set(c, "h100=8.00001", 5, &e), ERR_INVALID);
    assert_int_equal(refuse_of(&e), REFUSE_INEXACT_PRICE);
    assert_refused(card_set_quota(c, -1, &e), ERR_RANGE);
    assert_refused(card_set_title(c, "x", "y", 10001, &e), ERR_RANGE);
    assert_ok(card_set_level(c, "student", 9500, &e));
    assert_int_equal(card_find_level(c, "student")->bps, 9500);
    card_hash(c, &after);
    assert_false(sha256_equal(&before, &after));
    card_free(c);
}

static void
card__is_saved_and_loaded(void **state)
{
    const struct card_plan week = {"gpu", "4090", "week", 26000, 250, 0, CARD_FOREVER};
    const struct card_plan bad_unit = {"gpu", "4090", "fortnight", 1, 0, 0, CARD_FOREVER};
    const struct card_plan no_time = {"gpu", "4090", "week", 1, 0, 5, 5};
    const struct card_plan disk = {"disk", "", "week", 1, 0, 0, CARD_FOREVER};
    char *path = path_join(*state, "card");
    struct card *c = NULL;
    struct card *d = NULL;
    struct sha256 a;
    struct sha256 b;
    struct err e = {0};
    size_t n;

    assert_ok(card_load(&c, path, &e)); /* missing: new */
    assert_true(card_is_free(c));
    assert_ok(card_set(c, "4090=1.88", 100, &e));
    assert_ok(card_set(c, "disk=0.0066", 100, &e));
    assert_ok(card_set(c, "job=0.05", 100, &e));
    assert_ok(card_set_level(c, "member", 9500, &e));
    assert_ok(card_set_plan(c, &week, &e));
    assert_refused(card_set_plan(c, &bad_unit, &e), ERR_INVALID);
    assert_refused(card_set_plan(c, &no_time, &e), ERR_INVALID);
    assert_refused(card_set_plan(c, &disk, &e), ERR_INVALID);
    assert_ok(card_set_quota(c, 20000000000, &e));
    assert_ok(
        card_set_title(c, "\xe5\xae\x9e\xe9\xaa\x8c\xe5\xae\xa4\n", "9131", 600, &e));
    assert_ok(card_save(c, path, &e));
    assert_ok(card_load(&d, path, &e));
    card_hash(c, &a);
    card_hash(d, &b);
    assert_true(sha256_equal(&a, &b));
    assert_string_equal(card_title(d), "\xe5\xae\x9e\xe9\xaa\x8c\xe5\xae\xa4\n");
    assert_string_equal(card_tax_number(d), "9131");
    assert_int_equal(card_vat_bps(d), 600);
    assert_int_equal(card_quota(d), 20000000000);
    assert_int_equal(card_plans(d, &n)->price_fen, 26000);
    assert_int_equal(n, 1);
    card_free(c);
    card_free(d);
    free(path);
}

static void
card__refuses_files_that_break_a_rule(void **state)
{
    static const struct {
        const char *text;
        enum err_code code;
    } cases[] = {
        {"gpurun.card.v1\nprice=gpu 4090 hour 1 - 5\nprice=gpu 4090 hour 1 6 -\n",
         ERR_INVALID}, /* a gap */
        {"gpurun.card.v1\nprice=gpu 4090 hour 1 - 5\nprice=gpu 4090 hour 1 4 -\n",
         ERR_INVALID}, /* an overlap */
        {"gpurun.card.v1\nprice=gpu 4090 hour 1 5 -\nprice=gpu 4090 hour 1 - 5\n",
         ERR_CORRUPT}, /* out of order */
        {"gpurun.card.v1\nprice=gpu 4090 hour -1 - -\n", ERR_RANGE},
        {"gpurun.card.v1\nprice=gpu 4090 hour 1 5 5\n", ERR_INVALID},
        {"gpurun.card.v1\nprice=gpu 4090 job 1 - -\n", ERR_CORRUPT},
        {"gpurun.card.v1\nprice=gpu 4090 hour 01 - -\n", ERR_CORRUPT},
        {"gpurun.card.v1\nprice=gpu  4090 hour 1 - -\n", ERR_CORRUPT},
        {"gpurun.card.v1\nprice=gpu 4090 hour 1 - - \n", ERR_CORRUPT},
        {"gpurun.card.v1\nprice=gpu 4090 hour 1 -\n", ERR_CORRUPT},
        {"gpurun.card.v1\nlevel=m 9000\nlevel=m 9000\n", ERR_INVALID},
        {"gpurun.card.v1\nprice=gpu 4090 hour 1 - -\nlevel=m 9000\n", ERR_INVALID},
        {"gpurun.card.v1\nlevel=m 9000\nprice=gpu 4090 hour 10 - -\n", ERR_CORRUPT},
        {"gpurun.card.v1\nquota=0\n", ERR_INVALID},
        {"gpurun.card.v1\ncolour=red\n", ERR_CORRUPT},
        {"gpurun.card.v2\n", ERR_VERSION},
        {"", ERR_CORRUPT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct card *c = NULL;
        struct err e = {0};

        if (card_parse(&c, cases[i].text, strlen(cases[i].text), &e) == 0 ||
            e.code != cases[i].code) {
            fail_msg("case %zu: %s: %s", i, err_code_name(e.code), e.msg);
        }
        assert_null(c);
    }
}

static void
members__have_a_level_for_a_time(void **state)
{
    char *path = path_join(*state, "members");
    struct card *c = card_new();
    struct card_members *m = NULL;
    struct card_member who = {"00112233aabbccdd", "member", 100, 200};
    struct err e = {0};
    size_t n;

    assert_ok(card_set_level(c, "member", 9500, &e));
    assert_ok(card_members_load(&m, path, &e));
    assert_ok(card_members_set(m, c, &who, &e));
    assert_null(card_members_at(m, who.renter, 99));
    assert_string_equal(card_members_at(m, who.renter, 100)->level, "member");
    assert_null(card_members_at(m, who.renter, 200));
    assert_null(card_members_at(m, "ffff", 100));
    (void)strcpy(who.level, "king");
    assert_refused(card_members_set(m, c, &who, &e), ERR_NOT_FOUND);
    (void)strcpy(who.level, "member");
    who.to_s = who.from_s;
    assert_refused(card_members_set(m, c, &who, &e), ERR_INVALID);
    who.to_s = CARD_FOREVER;
    assert_ok(card_members_set(m, c, &who, &e));
    assert_ok(card_members_save(m, path, &e));
    card_members_free(m);
    assert_ok(card_members_load(&m, path, &e));
    assert_non_null(card_members_at(m, who.renter, INT64_MAX));
    who.level[0] = '\0';
    assert_ok(card_members_set(m, c, &who, &e));
    (void)card_members_all(m, &n);
    assert_int_equal(n, 0);
    card_members_free(m);
    assert_ok(file_replace(path, "gpurun.members.v1\nmember=x\n", 27, &e));
    assert_refused(card_members_load(&m, path, &e), ERR_CORRUPT);
    card_free(c);
    free(path);
}

static void
offer__carries_the_card_at_the_renters_level(void **state)
{
    const struct card_member member = {"00112233aabbccdd", "member", 0, 2000000000};
    struct fixture f;
    struct offer *o = NULL;
    struct offer *again = NULL;
    struct err e = {0};

    fixture_open(&f, *state);
    assert_ok(card_set(f.card, "disk=0.0066", 0, &e));
    assert_ok(card_set(f.card, "job=0.05", 0, &e));
    assert_ok(card_set(f.card, "h100=9", WALL_START_NS / NS_PER_S + 1, &e)); /* later */
    assert_ok(card_set_level(f.card, "member", 9500, &e));
    assert_ok(card_set_quota(f.card, 5, &e));
    o = offer_new();
    (void)strcpy(o->arch, "x86_64");
    assert_ok(offer_set_card(o, f.card, &member, WALL_START_NS / NS_PER_S, &e));
    offer_add_book(o, &f.renter_public);
    assert_ok(offer_sign(o, f.host, &e));
    assert_ok(offer_parse(&again, o->bytes.data, o->bytes.len, &f.host_public, &e));
    assert_int_equal(again->n_prices, 2);
    assert_int_equal(offer_find_price(again, "gpu", "4090")->list_uyuan_per_h, 1880000);
    assert_int_equal(offer_find_price(again, "gpu", "4090")->uyuan_per_h, 1786000);
    assert_null(offer_find_price(again, "gpu", "h100"));
    assert_int_equal(again->keep_uyuan_per_gb_day, 6600);
    assert_int_equal(again->job_uyuan, 50000);
    assert_int_equal(again->nocard_uyuan_per_h, 95000);
    assert_int_equal(again->keep_free_bytes, 5);
    assert_int_equal(again->level_until_s, 2000000000);
    assert_string_equal(again->level, "member");
    assert_int_equal(again->n_books, 1);
    assert_true(sha256_equal(&again->hash, &o->hash));
    offer_free(again);
    assert_refused(offer_parse(&again, o->bytes.data, o->bytes.len, &f.renter_public, &e),
                   ERR_DENIED);
    for (size_t i = 0; i < o->bytes.len; i++) {
        o->bytes.data[i] ^= 1;
        assert_int_equal(offer_parse(&again, o->bytes.data, o->bytes.len, NULL, &e), -1);
        o->bytes.data[i] ^= 1;
    }
    offer_free(o);
    fixture_close(&f);
}

static void
offer__refuses_impossible_terms(void **state)
{
    struct fixture f;
    struct offer *o;
    struct err e = {0};

    fixture_open(&f, *state);
#define REFUSED(change)                                                                  \
    do {                                                                                 \
        o = offer_new();                                                                 \
        assert_ok(offer_set_card(o, f.card, NULL, 1, &e));                               \
        change;                                                                          \
        assert_refused(offer_sign(o, f.host, &e), ERR_INVALID);                          \
        assert_int_equal(o->bytes.len, 0);                                               \
        offer_free(o);                                                                   \
    } while (0)
    REFUSED(o->window_s = -1);
    REFUSED(o->window_s = o->window_max_s + 1);
    REFUSED(o->window_max_s = OFFER_WINDOW_MAX_S + 1);
    REFUSED(o->keep_days = OFFER_KEEP_DAYS_MAX + 1);
    REFUSED(o->keep_uyuan_per_gb_day = -1);
    REFUSED(o->job_uyuan = CARD_PRICE_MAX_UYUAN + 1);
    REFUSED(o->nocard_uyuan_per_h = -1);
    REFUSED(o->free_preempt_s = -1);
    REFUSED(o->keep_free_bytes = -1);
    REFUSED(o->level_bps = 9500); /* without a level's name */
    REFUSED((void)strcpy(o->arch, "two words"));
    REFUSED(o->prices[0].uyuan_per_h += 1);
    REFUSED(o->prices[1] = o->prices[0]);
    REFUSED(o->free = false; o->prices[0].list_uyuan_per_h = -1);
#undef REFUSED
    fixture_close(&f);
}

static void
offer__of_a_free_host_has_a_row_of_nothing_for_each_device(void **state)
{
    const struct offer_device gpu = {"gpu", "4090", "GPU-1", 1, 1};
    const struct offer_device same = {"gpu", "4090", "GPU-2", 1, 1};
    struct fixture f;
    struct offer *o = offer_new();
    struct card *c = card_new();
    struct err e = {0};

    fixture_open(&f, *state);
    assert_ok(offer_set_card(o, c, NULL, 1, &e));
    offer_add_device(o, &gpu);
    offer_add_device(o, &same);
    assert_ok(offer_sign(o, f.host, &e));
    assert_true(o->free);
    assert_int_equal(o->n_prices, 1);
    assert_int_equal(offer_find_price(o, "gpu", "4090")->uyuan_per_h, 0);
    offer_free(o);
    /* A host with some prices offers only those devices. */
    o = offer_new();
    assert_ok(card_set(c, "h100=9", 0, &e));
    assert_ok(offer_set_card(o, c, NULL, 1, &e));
    offer_add_device(o, &gpu);
    assert_ok(offer_sign(o, f.host, &e));
    assert_false(o->free);
    assert_null(offer_find_price(o, "gpu", "4090"));
    offer_free(o);
    card_free(c);
    fixture_close(&f);
}

static void
grant__is_checked_against_the_offer(void **state)
{
    struct fixture f;
    struct grant g;
    struct grant parsed;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 3600, 60);
    grant_init(&g);
    grant_init(&parsed);
#define DENIED(change, words)                                                            \
    do {                                                                                 \
        grant_clear(&g);                                                                 \
        grant_copy(&g, &f.grant);                                                        \
        change;                                                                          \
        assert_ok(grant_sign(&g, f.renter, &e));                                         \
        assert_ok(grant_parse(&parsed, g.bytes.data, g.bytes.len, &e));                  \
        assert_refused(                                                                  \
            grant_check(&parsed, f.offer, &f.renter_public, fixture_wall_ns, &e),        \
            ERR_DENIED);                                                                 \
        assert_non_null(strstr(e.msg, words));                                           \
        grant_clear(&parsed);                                                            \
    } while (0)
    DENIED(g.host = f.renter_public, "another host");
    DENIED(g.offer.b[0] ^= 1, "another offer");
    DENIED(g.rows[0].uyuan_per_h -= 1, "offered at");
    DENIED(g.rows[0].uyuan_per_h = 0, "offered at");
    DENIED((void)strcpy(g.rows[0].type, "h100"), "not offered");
    DENIED(g.nocard_uyuan_per_h = 0, "prices");
    DENIED(g.job_uyuan = 1, "prices");
    DENIED(g.keep_uyuan_per_gb_day = 1, "prices");
    DENIED(g.keep_days = 14, "prices");
    DENIED(g.keep_free_bytes = 1, "prices");
    DENIED(g.renter = f.host_public, "book");
    DENIED(g.until_wall_ns = fixture_wall_ns - 1, "expired");
#undef DENIED
    grant_clear(&g);
    grant_copy(&g, &f.grant);
    assert_ok(grant_check(&g, f.offer, &f.renter_public, g.until_wall_ns, &e));
    assert_refused(grant_check(&g, f.offer, &f.host_public, fixture_wall_ns, &e),
                   ERR_DENIED);
    assert_refused(grant_check(&g, f.offer, &f.renter_public, g.until_wall_ns + 1, &e),
                   ERR_DENIED);
    f.offer->window_max_s = 59;
    assert_refused(grant_check(&g, f.offer, &f.renter_public, fixture_wall_ns, &e),
                   ERR_DENIED);
    grant_clear(&g);
    fixture_close(&f);
}

static void
grant__needs_a_book_that_the_owner_accepts(void **state)
{
    struct fixture f;
    struct sign_key *book = NULL;
    struct sign_public book_public;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 3600, 60);
    assert_ok(sign_key_new(&book, &e));
    sign_key_public(book, &book_public);
    assert_ok(grant_sign(&f.grant, book, &e));
    assert_refused(grant_check(&f.grant, f.offer, &f.renter_public, fixture_wall_ns, &e),
                   ERR_DENIED);
    offer_add_book(f.offer, &book_public);
    f.offer->own_book = false;
    assert_ok(grant_check(&f.grant, f.offer, &f.renter_public, fixture_wall_ns, &e));
    assert_ok(grant_sign(&f.grant, f.renter, &e));
    assert_refused(grant_check(&f.grant, f.offer, &f.renter_public, fixture_wall_ns, &e),
                   ERR_DENIED);
    sign_key_free(book);
    fixture_close(&f);
}

static void
grant__of_a_reservation_may_be_free(void **state)
{
    struct fixture f;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 3600, 60);
    f.grant.rows[0].uyuan_per_h = 0;
    (void)strcpy(f.grant.reservation, "rv1");
    fixture_sign_grant(&f);
    f.grant.rows[0].uyuan_per_h = 1;
    assert_ok(grant_sign(&f.grant, f.renter, &e));
    assert_refused(grant_check(&f.grant, f.offer, &f.renter_public, fixture_wall_ns, &e),
                   ERR_DENIED);
    fixture_close(&f);
}

static void
grant__refuses_impossible_forms(void **state)
{
    struct fixture f;
    struct err e = {0};
    struct grant g;

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 3600, 60);
    grant_init(&g);
#define REFUSED(change)                                                                  \
    do {                                                                                 \
        grant_clear(&g);                                                                 \
        grant_copy(&g, &f.grant);                                                        \
        change;                                                                          \
        assert_refused(grant_sign(&g, f.renter, &e), ERR_INVALID);                       \
    } while (0)
    REFUSED(g.lease[0] = '\0');
    REFUSED((void)strcpy(g.job, "a b"));
    REFUSED(g.n_rows = 0);
    REFUSED(g.rows[0].n_units = 0);
    REFUSED(g.rows[0].uyuan_per_h = -1);
    REFUSED(g.rows[0].uyuan_per_h = CARD_PRICE_MAX_UYUAN + 1);
    REFUSED(g.rows[0].uyuan_per_h = CARD_PRICE_MAX_UYUAN; g.rows[0].n_units = 1000000;
            g.rows[1] = g.rows[0]; g.n_rows = 2);
    REFUSED(g.seq = 0);
    REFUSED(g.cap_fen = -1);
    REFUSED(g.max_s = 0);
    REFUSED(g.max_s = GRANT_MAX_S + 1);
    REFUSED(g.window_s = -1);
    REFUSED(g.keep_days = -1);
    REFUSED(g.keep_free_bytes = -1);
#undef REFUSED
    for (size_t i = 0; i < f.grant.bytes.len; i++) {
        f.grant.bytes.data[i] ^= 1;
        assert_int_equal(grant_parse(&g, f.grant.bytes.data, f.grant.bytes.len, &e), -1);
        f.grant.bytes.data[i] ^= 1;
    }
    assert_refused(grant_set_offer(&g, f.offer, "gpu", "h100", 1, &e), ERR_NOT_FOUND);
    assert_refused(grant_set_offer(&g, f.offer, "gpu", "4090", 0, &e), ERR_RANGE);
    grant_clear(&g);
    fixture_close(&f);
}

static void
grant__extends_only_cap_and_end(void **state)
{
    struct fixture f;
    struct grant g;
    struct err e = {0};

    fixture_open(&f, *state);
    fixture_terms(&f, 500, 3600, 60);
    grant_init(&g);
#define EXTENDS(change)                                                                  \
    (grant_clear(&g), grant_copy(&g, &f.grant), g.seq++, (change),                       \
     grant_check_extends(&f.grant, &g, &e))
    assert_int_equal(EXTENDS(g.cap_fen++), 0);
    assert_int_equal(EXTENDS(g.max_s++), 0);
    assert_int_equal(EXTENDS(g.max_s = GRANT_NO_END), 0);
    assert_int_equal(EXTENDS(g.until_wall_ns++), 0);
    assert_int_equal(EXTENDS(g.cap_fen--), -1);
    assert_int_equal(EXTENDS(g.max_s--), -1);
    assert_int_equal(EXTENDS(g.seq--), -1);
    assert_int_equal(EXTENDS(g.rows[0].uyuan_per_h++), -1);
    assert_int_equal(EXTENDS(g.rows[0].n_units++), -1);
    assert_int_equal(EXTENDS(g.n_rows++), -1);
    assert_int_equal(EXTENDS(g.window_s++), -1);
    assert_int_equal(EXTENDS(g.keep_days++), -1);
    assert_int_equal(EXTENDS(g.lease[1]++), -1);
    assert_int_equal(EXTENDS(g.job[1]++), -1);
    assert_int_equal(EXTENDS(g.book.b[0]++), -1);
    assert_int_equal(EXTENDS(g.renter.b[0]++), -1);
    assert_int_equal(EXTENDS(g.reservation[0] = 'r'), -1);
#undef EXTENDS
    grant_clear(&g);
    fixture_close(&f);
}

static void
grant__default_cap_covers_the_whole_lease(void **state)
{
    struct fixture f;
    struct err e = {0};
    int64_t cap = 0;

    fixture_open(&f, *state);
    assert_ok(card_set(f.card, "disk=0.01", 0, &e));
    assert_ok(card_set(f.card, "job=0.05", 0, &e));
    fixture_terms(&f, 500, 86400, 60);
    assert_ok(grant_default_cap(&f.grant, 0, &cap, &e));
    assert_int_equal(cap, 188 * 24 + 5);
    assert_ok(grant_default_cap(&f.grant, 1, &cap, &e));
    assert_int_equal(cap, 188 * 24 + 5 + 1);
    f.grant.cap_fen = cap;
    assert_int_equal(grant_max_device_s(&f.grant, 0, 1), 86400);
    f.grant.window_s = 60 + 3600;
    assert_ok(grant_default_cap(&f.grant, 0, &cap, &e));
    assert_int_equal(cap, 188 * 25 + 5);
    f.grant.max_s = GRANT_NO_END;
    assert_refused(grant_default_cap(&f.grant, 0, &cap, &e), ERR_INVALID);
    assert_int_equal(grant_keep_hold(&f.grant, 1000000000), 15);
    assert_int_equal(grant_keep_hold(&f.grant, 0), 0);
    assert_true(grant_keep_hold(&f.grant, INT64_MAX) > 0);
    fixture_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(card__keeps_the_history_of_prices),
        cmocka_unit_test(card__refuses_bad_prices_and_changes_nothing),
        unit_test_in_dir(card__is_saved_and_loaded),
        cmocka_unit_test(card__refuses_files_that_break_a_rule),
        unit_test_in_dir(members__have_a_level_for_a_time),
        unit_test_in_dir(offer__carries_the_card_at_the_renters_level),
        unit_test_in_dir(offer__refuses_impossible_terms),
        unit_test_in_dir(offer__of_a_free_host_has_a_row_of_nothing_for_each_device),
        unit_test_in_dir(grant__is_checked_against_the_offer),
        unit_test_in_dir(grant__needs_a_book_that_the_owner_accepts),
        unit_test_in_dir(grant__of_a_reservation_may_be_free),
        unit_test_in_dir(grant__refuses_impossible_forms),
        unit_test_in_dir(grant__extends_only_cap_and_end),
        unit_test_in_dir(grant__default_cap_covers_the_whole_lease),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
