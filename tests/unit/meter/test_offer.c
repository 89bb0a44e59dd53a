/* Offers at their limits, and as forgers with the owner's key would write them. */
#include "meter/tariff.h"
#include "tests/unit/meter/fixture.h"
#include "tests/unit/meter/respell.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

#define WORD_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NAME_32 "0123456789abcdef0123456789abcdef"

static struct offer *
offer_by_card(const struct fixture *f)
{
    struct offer *o = offer_new();
    struct err e = {0};

    assert_ok(offer_set_card(o, f->card, NULL, 1, &e));
    return o;
}

/* What is signed is read again as it is. */
static void
assert_goes_round(struct offer *o, const struct fixture *f)
{
    struct offer *again = NULL;
    struct err e = {0};

    assert_ok(offer_sign(o, f->host, &e));
    assert_ok(offer_parse(&again, o->bytes.data, o->bytes.len, &f->host_public, &e));
    assert_true(sha256_equal(&again->hash, &o->hash));
    assert_int_equal(again->window_s, o->window_s);
    assert_int_equal(again->keep_days, o->keep_days);
    assert_int_equal(again->level_bps, o->level_bps);
    assert_int_equal(again->n_devices, o->n_devices);
    assert_int_equal(again->n_prices, o->n_prices);
    assert_int_equal(again->n_books, o->n_books);
    offer_free(again);
}

static void
add_device(struct offer *o, int64_t n_units, int64_t mem_bytes)
{
    const struct offer_device d = {"gpu", "4090", "GPU-1", mem_bytes, n_units};

    offer_add_device(o, &d);
}

static void
set_price(struct offer *o, int64_t uyuan)
{
    o->prices[0].list_uyuan_per_h = uyuan;
    o->prices[0].uyuan_per_h = uyuan;
}

static void
add_devices(struct offer *o, size_t n)
{
    while (o->n_devices < n) {
        add_device(o, 1, 0);
    }
}

static void
add_books(struct offer *o, size_t n)
{
    struct sign_public book = {{0}};

    while (o->n_books < n) {
        book.b[0] = (uint8_t)o->n_books;
        offer_add_book(o, &book);
    }
}

static void
set_plans(struct offer *o, size_t n)
{
    o->plans = xcalloc(n, sizeof *o->plans);
    o->n_plans = n;
    for (size_t i = 0; i < n; i++) {
        o->plans[i] =
            (struct card_plan){"gpu", "4090", "week", 1, 0, CARD_ALWAYS, CARD_FOREVER};
    }
}

static void
set_prices(struct offer *o, size_t n)
{
    free(o->prices);
    o->prices = xcalloc(n, sizeof *o->prices);
    o->n_prices = n;
    for (size_t i = 0; i < n; i++) {
        (void)strcpy(o->prices[i].class_name, "gpu");
        (void)snprintf(o->prices[i].type, sizeof o->prices[i].type, "t%zu", i);
    }
}

static void
offer__holds_each_limit_exactly(void **state)
{
    struct fixture f;
    struct offer *o;
    struct err e = {0};

    fixture_open(&f, *state);
#define TAKEN(change)                                                                    \
    do {                                                                                 \
        o = offer_by_card(&f);                                                           \
        change;                                                                          \
        assert_goes_round(o, &f);                                                        \
        offer_free(o);                                                                   \
    } while (0)
#define REFUSED(change)                                                                  \
    do {                                                                                 \
        o = offer_by_card(&f);                                                           \
        change;                                                                          \
        assert_refused(offer_sign(o, f.host, &e), ERR_INVALID);                          \
        assert_int_equal(o->bytes.len, 0);                                               \
        offer_free(o);                                                                   \
    } while (0)
#define LIMITS(field, least, most)                                                       \
    do {                                                                                 \
        TAKEN(o->field = (least));                                                       \
        TAKEN(o->field = (most));                                                        \
        REFUSED(o->field = (least)-1);                                                   \
        REFUSED(o->field = (most) + 1);                                                  \
    } while (0)
    LIMITS(window_s, 0, o->window_max_s);
    LIMITS(free_preempt_s, 0, TARIFF_S_PER_DAY);
    LIMITS(keep_uyuan_per_gb_day, 0, CARD_PRICE_MAX_UYUAN);
    LIMITS(keep_days, 0, OFFER_KEEP_DAYS_MAX);
    LIMITS(job_uyuan, 0, CARD_PRICE_MAX_UYUAN);
    LIMITS(nocard_uyuan_per_h, 0, CARD_PRICE_MAX_UYUAN);
    TAKEN(o->window_max_s = o->window_s = OFFER_WINDOW_MAX_S);
    REFUSED(o->window_max_s = o->window_s = OFFER_WINDOW_MAX_S + 1);
    TAKEN(o->window_max_s = o->window_s = 0);
    TAKEN(o->keep_free_bytes = 0);
    TAKEN(o->keep_free_bytes = INT64_MAX);
    REFUSED(o->keep_free_bytes = -1);
    TAKEN((void)strcpy(o->level, NAME_32));
    TAKEN((void)strcpy(o->level, "gold"); o->level_bps = 0; o->level_until_s = 7;
          o->n_prices = 0);
    REFUSED((void)strcpy(o->level, "gold"); o->level_bps = -1; o->n_prices = 0);
    REFUSED((void)strcpy(o->level, "gold"); o->level_bps = TARIFF_BPS_ONE + 1;
            o->n_prices = 0);
    REFUSED(o->level_bps = TARIFF_BPS_ONE - 1; o->n_prices = 0);
    REFUSED((void)strcpy(o->level, "Gold"));
    TAKEN((void)strcpy(o->arch, WORD_64); (void)strcpy(o->isolation, WORD_64);
          (void)strcpy(o->renter, WORD_64));
    REFUSED((void)strcpy(o->isolation, "two words"));
    REFUSED((void)strcpy(o->renter, "two words"));
    TAKEN(add_device(o, 1, 0));
    TAKEN(add_device(o, 1000000, INT64_MAX));
    REFUSED(add_device(o, 0, 0));
    REFUSED(add_device(o, 1000001, 0));
    REFUSED(add_device(o, 1, -1));
    REFUSED(add_device(o, 1, 0); (void)strcpy(o->devices[0].class_name, "GPU"));
    REFUSED(add_device(o, 1, 0); (void)strcpy(o->devices[0].type, "RTX 4090"));
    REFUSED(add_device(o, 1, 0); (void)strcpy(o->devices[0].uuid, "GPU 1"));
    TAKEN(add_devices(o, OFFER_DEVICES_MAX));
    REFUSED(add_devices(o, OFFER_DEVICES_MAX + 1));
    TAKEN(add_books(o, OFFER_BOOKS_MAX));
    REFUSED(add_books(o, OFFER_BOOKS_MAX + 1));
    TAKEN(set_plans(o, CARD_ROWS_MAX));
    REFUSED(set_plans(o, CARD_ROWS_MAX + 1));
    TAKEN(set_prices(o, 4096));
    REFUSED(set_prices(o, 4097));
    TAKEN(set_price(o, 0));
    TAKEN(set_price(o, CARD_PRICE_MAX_UYUAN));
    REFUSED(set_price(o, -1));
    REFUSED(set_price(o, CARD_PRICE_MAX_UYUAN + 1));
    REFUSED((void)strcpy(o->prices[0].class_name, "GPU"));
    REFUSED((void)strcpy(o->prices[0].type, "RTX 4090"));
#undef LIMITS
#undef REFUSED
#undef TAKEN
    fixture_close(&f);
}

/* A free offer has no prices; one that asks nothing for a device is not free for that. */
static void
offer__is_free_only_without_prices(void **state)
{
    struct fixture f;
    struct offer *o;
    struct buf b = BUF_INIT;
    struct err e = {0};

    fixture_open(&f, *state);
    o = offer_by_card(&f);
    assert_ok(offer_sign(o, f.host, &e));
    respell(&b, &o->bytes, "free", "1", f.host);
    offer_free(o);
    o = NULL;
    assert_refused(offer_parse(&o, b.data, b.len, NULL, &e), ERR_INVALID);
    assert_null(o);
    buf_free(&b);
    fixture_close(&f);
}

static void
offer__is_taken_only_as_its_host_wrote_it(void **state)
{
    static const struct {
        const char *key;
        const char *value;
        enum err_code code;
    } cases[] = {
        {"made", "-1", ERR_INVALID},
        {"made", NULL, ERR_INVALID},
        {"free", "2", ERR_INVALID},
        {"own_book", "2", ERR_INVALID},
        {"own_book", "-1", ERR_INVALID},
        {"host", "00", ERR_INVALID},
        {"card", "00", ERR_INVALID},
        {"arch", "two words", ERR_INVALID},
        {"arch", WORD_64 "x", ERR_CORRUPT},
        {"level", "gold 9500", ERR_CORRUPT},
        {"level", "gold 9500 - -", ERR_CORRUPT},
        {"level", "- 10000 -", ERR_CORRUPT}, /* no level is written by leaving it out */
        {"price", "gpu 4090 1", ERR_CORRUPT},
        {"price", "gpu 4090 1 1 1", ERR_CORRUPT},
        {"price", "gpu 4090 -1 -1", ERR_CORRUPT},
        {"price", "gpu 4090 1000000000001 1000000000001", ERR_INVALID},
        {"device", "gpu 4090 0 1 -", ERR_INVALID},
        {"device", "gpu 4090 1000001 1 -", ERR_INVALID},
        {"device", "gpu 4090 1 -1 -", ERR_CORRUPT},
        {"device", "gpu 4090 1 1", ERR_CORRUPT},
        {"book", "00", ERR_CORRUPT},
        {"plan", "gpu 4090", ERR_CORRUPT},
        {"colour", "red", ERR_CORRUPT},
    };
    struct fixture f;
    struct offer *o;
    struct offer *got = NULL;
    struct buf b = BUF_INIT;
    struct err e = {0};

    fixture_open(&f, *state);
    o = offer_by_card(&f);
    (void)strcpy(o->arch, "x86_64");
    (void)strcpy(o->level, "gold");
    add_device(o, 1, 1);
    add_books(o, 1);
    assert_goes_round(o, &f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        respell(&b, &o->bytes, cases[i].key, cases[i].value, f.host);
        if (offer_parse(&got, b.data, b.len, NULL, &e) != -1 || e.code != cases[i].code) {
            fail_msg("%s=%s: %s: %s", cases[i].key,
                     cases[i].value != NULL ? cases[i].value : "", err_code_name(e.code),
                     e.msg);
        }
        assert_null(got);
    }
    /* Another's signature under this host's name. */
    respell(&b, &o->bytes, NULL, NULL, f.renter);
    assert_refused(offer_parse(&got, b.data, b.len, NULL, &e), ERR_CORRUPT);
    assert_refused(offer_parse(&got, b.data, b.len, &f.host_public, &e), ERR_CORRUPT);
    offer_free(o);
    buf_free(&b);
    fixture_close(&f);
}

/* Longer than any offer may be: refused for that, before anything of it is read. */
static void
offer__is_not_read_if_too_long(void **state)
{
    struct offer *got = NULL;
    struct buf b = BUF_INIT;
    struct err e = {0};

    (void)state;
    respell_padded(&b, "gpurun.offer.v1", OFFER_MAX_BYTES + 1);
    assert_refused(offer_parse(&got, b.data, b.len, NULL, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "an offer of 1048577 bytes"));
    respell_padded(&b, "gpurun.offer.v1", OFFER_MAX_BYTES);
    assert_refused(offer_parse(&got, b.data, b.len, NULL, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "not signed"));
    buf_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(offer__holds_each_limit_exactly),
        fixture_test(offer__is_free_only_without_prices),
        fixture_test(offer__is_taken_only_as_its_host_wrote_it),
        cmocka_unit_test(offer__is_not_read_if_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
