/* Rate cards at their limits. */
#include "meter/card.h"
#include "meter/refuse.h"
#include "meter/tariff.h"
#include "tests/unit/unit.h"

#define NAME_32 "0123456789abcdef0123456789abcdef"
#define NAME_33 NAME_32 "0"

static int
parse(const char *rows, struct err *e)
{
    char *text = xasprintf("gpurun.card.v1\n%s", rows);
    struct card *c = NULL;
    int rc = card_parse(&c, text, strlen(text), e);

    assert_int_equal(rc == 0, c != NULL);
    card_free(c);
    free(text);
    return rc;
}

static void
card__is_read_up_to_each_limit_and_not_beyond(void **state)
{
    static const struct {
        const char *rows;
        enum err_code code; /* ERR_NONE: taken */
    } cases[] = {
        {"price=gpu 4090 hour 0 - -\n", ERR_NONE},
        {"price=gpu 4090 hour 1000000000000 - -\n", ERR_NONE},
        {"price=gpu 4090 hour 1000000000001 - -\n", ERR_RANGE},
        {"price=gpu 4090 hour -1 - -\n", ERR_RANGE},
        {"price=gpu 4090 hour 1 5 6\n", ERR_NONE},
        {"price=gpu 4090 hour 1 5 5\n", ERR_INVALID},
        {"price=gpu 4090 hour 1 6 5\n", ERR_INVALID},
        {"price=gpu 4090 hour 1 - 5\nprice=gpu 4090 hour - 5 -\n", ERR_NONE},
        {"price=gpu 4090 hour 1 - 5\nprice=gpu 4091 hour 1 6 -\n", ERR_NONE},
        {"price=cpu - hour 1 - -\nprice=gpu - hour 1 - -\n", ERR_NONE},
        {"price=gpu " NAME_32 " hour 1 - -\n", ERR_NONE},
        {"price=gpu " NAME_33 " hour 1 - -\n", ERR_CORRUPT},
        {"price=- 4090 hour 1 - -\n", ERR_INVALID},
        {"price=gpu 4090 gb_day 1 - -\n", ERR_CORRUPT},
        {"price=disk - hour 1 - -\n", ERR_CORRUPT},
        {"price=job x job 1 - -\n", ERR_INVALID},
        {"price=disk x gb_day 1 - -\n", ERR_INVALID},
        {"level=m 0\n", ERR_NONE},
        {"level=m 10000\n", ERR_NONE},
        {"level=m 10001\n", ERR_CORRUPT},
        {"level=m -1\n", ERR_CORRUPT},
        {"level=- 9000\n", ERR_CORRUPT},
        {"level=" NAME_32 " 9000\n", ERR_NONE},
        {"level=" NAME_33 " 9000\n", ERR_CORRUPT},
        {"level=m 9000\nlevel=n 9000\n", ERR_NONE},
        {"level=n 9000\nlevel=m 9000\n", ERR_NONE}, /* the owner's order */
        {"vat_bps=1\n", ERR_NONE},
        {"vat_bps=10000\n", ERR_NONE},
        {"vat_bps=10001\n", ERR_INVALID},
        {"vat_bps=0\n", ERR_INVALID},
        {"quota=1\n", ERR_NONE},
        {"quota=9223372036854775807\n", ERR_NONE},
        {"quota=0\n", ERR_INVALID},
        {"plan=gpu 4090 week 0 0 - -\n", ERR_NONE},
        {"plan=gpu 4090 week 1000000000000 10000 - -\n", ERR_NONE},
        {"plan=gpu 4090 week 1000000000001 0 - -\n", ERR_CORRUPT},
        {"plan=gpu 4090 week 1 10001 - -\n", ERR_CORRUPT},
        {"plan=gpu 4090 week -1 0 - -\n", ERR_CORRUPT},
        {"plan=gpu 4090 week 1 -1 - -\n", ERR_CORRUPT},
        {"plan=gpu 4090 week 1 0 5 6\n", ERR_NONE},
        {"plan=gpu 4090 week 1 0 5 5\n", ERR_CORRUPT},
        {"plan=gpu - week 1 0 - -\n", ERR_NONE},
        {"plan=- 4090 week 1 0 - -\n", ERR_CORRUPT},
        {"plan=disk - week 1 0 - -\n", ERR_CORRUPT},
        {"title=a\ntax_number=b\n", ERR_NONE},
        {"tax_number=b\ntitle=a\n", ERR_CORRUPT},
        {"title=a\ntitle=a\n", ERR_CORRUPT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        int rc = parse(cases[i].rows, &e);

        if (rc != (cases[i].code == ERR_NONE ? 0 : -1) || e.code != cases[i].code) {
            fail_msg("%s: %s: %s", cases[i].rows, err_code_name(e.code), e.msg);
        }
    }
}

/* What is set is what can be loaded: the limit of rows is one. */
static void
card__has_so_many_rows_and_no_more(void **state)
{
    struct card *c = NULL;
    struct buf b = BUF_INIT;
    struct err e = {0};
    struct card_plan plan = {"gpu", "4090", "week", 1, 0, 0, CARD_FOREVER};

    (void)state;
    buf_add_str(&b, "gpurun.card.v1\n");
    for (int i = 0; i < CARD_ROWS_MAX - 1; i++) {
        buf_printf(&b, "price=gpu t%04d hour 1 - -\n", i);
    }
    assert_ok(card_parse(&c, b.data, b.len, &e));
    assert_ok(card_set_plan(c, &plan, &e));
    plan.price_fen = 2; /* the same plan at another price is no further row */
    assert_ok(card_set_plan(c, &plan, &e));
    assert_refused(card_set_level(c, "m", TARIFF_BPS_ONE, &e), ERR_LIMIT);
    assert_refused(card_set(c, "h100=1", 0, &e), ERR_LIMIT);
    (void)strcpy(plan.type, "4091");
    assert_refused(card_set_plan(c, &plan, &e), ERR_LIMIT);
    card_free(c);
    c = NULL;
    buf_add_str(&b, "price=gpu t9999 hour 1 - -\nlevel=m 10000\n");
    assert_refused(card_parse(&c, b.data, b.len, &e), ERR_LIMIT);
    assert_null(c);
    buf_free(&b);
}

static void
card__takes_type_words_as_people_write_them(void **state)
{
    static const struct {
        const char *word;
        const char *class_name; /* NULL: refused */
        const char *type;
    } cases[] = {
        {"4090", "gpu", "4090"},
        {"RTX-4090", "gpu", "rtx-4090"},
        {"AZ:az", "az", "az"},
        {"cpu", "cpu", ""},
        {"CPU", "cpu", ""},
        {"disk", "disk", ""},
        {"job", "job", ""},
        {"cpus", "gpu", "cpus"},
        {"npu:910b", "npu", "910b"},
        {"npu:", NULL, NULL},
        {":910b", NULL, NULL},
        {"", NULL, NULL},
        {"a:b:c", NULL, NULL},
        {NAME_32, "gpu", NAME_32},
        {NAME_33, NULL, NULL},
        {NAME_32 ":" NAME_32, NAME_32, NAME_32},
        {NAME_32 ":" NAME_33, NULL, NULL},
        {NAME_33 ":" NAME_32, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char class_name[CARD_WORD_MAX + 1] = "?";
        char type[CARD_WORD_MAX + 1] = "?";
        struct err e = {0};
        int rc =
            card_parse_type(cases[i].word, strlen(cases[i].word), class_name, type, &e);
        const char *want_class = cases[i].class_name != NULL ? cases[i].class_name : "?";
        const char *want_type = cases[i].class_name != NULL ? cases[i].type : "?";

        if (rc != (cases[i].class_name != NULL ? 0 : -1) ||
            strcmp(class_name, want_class) != 0 || strcmp(type, want_type) != 0) {
            fail_msg("'%s': '%s' '%s'", cases[i].word, class_name, type);
        }
    }
}

static void
card__takes_owners_words_up_to_their_limits(void **state)
{
    struct card *c = card_new();
    struct card_price const *p;
    struct err e = {0};
    char words[258];
    size_t n;

    (void)state;
    memset(words, 'x', sizeof words);
    words[256] = '\0';
    assert_ok(card_set_title(c, words, words, TARIFF_BPS_ONE, &e));
    assert_ok(card_set_title(c, "", "", 0, &e));
    words[256] = 'x';
    words[257] = '\0';
    assert_refused(card_set_title(c, words, "", 0, &e), ERR_RANGE);
    assert_refused(card_set_title(c, "", words, 0, &e), ERR_RANGE);
    assert_refused(card_set_title(c, "", "", -1, &e), ERR_RANGE);
    assert_refused(card_set_title(c, "", "", TARIFF_BPS_ONE + 1, &e), ERR_RANGE);
    assert_ok(card_set_quota(c, 0, &e));
    assert_refused(card_set_quota(c, -1, &e), ERR_RANGE);
    assert_ok(card_set_level(c, "none", 0, &e));
    assert_ok(card_set_level(c, "all", TARIFF_BPS_ONE, &e));
    assert_refused(card_set_level(c, "minus", -1, &e), ERR_RANGE);
    assert_refused(card_set_level(c, "more", TARIFF_BPS_ONE + 1, &e), ERR_RANGE);
    assert_ok(card_set(c, "4090=1000000", 10, &e));
    assert_refused(card_set(c, "4090=1000000.000001", 10, &e), ERR_RANGE);
    /* Set again for the same moment, it is that and not a span of nothing. */
    assert_ok(card_set(c, "4090=2", 10, &e));
    assert_ok(card_set(c, "4090=3", 20, &e));
    p = card_prices(c, &n);
    assert_int_equal(n, 2);
    assert_int_equal(p[0].price_uyuan, 2000000);
    assert_int_equal(p[0].to_s, 20);
    assert_int_equal(p[1].from_s, 20);
    assert_true(p[1].to_s == CARD_FOREVER);
    assert_int_equal(card_price_at(c, "gpu", "4090", INT64_MAX)->price_uyuan, 3000000);
    card_free(c);
}

static void
members__have_a_name_a_level_and_a_time(void **state)
{
    struct card *c = card_new();
    struct card_members *m = NULL;
    struct card_member who = {NAME_32, "member", 0, 1};
    struct card_member other = {"b", "member", 5, 6};
    char *path = path_join(*state, "members");
    struct err e = {0};
    size_t n;
    static const struct {
        const char *row;
        bool taken;
    } rows[] = {
        {"member=a m 1 2", true},    {"member=a m - -", true},
        {"member=a m 2 2", false},   {"member=a m 3 2", false},
        {"member=- m 1 2", false},   {"member=a - 1 2", false},
        {"member=a m 1", false},     {"level=a m 1 2", false},
        {"member=a m 1 2 3", false}, {"member=" NAME_33 " m 1 2", false},
    };

    assert_ok(card_set_level(c, "member", 9500, &e));
    assert_ok(card_members_load(&m, path, &e));
    assert_ok(card_members_set(m, c, &who, &e));
    assert_ok(card_members_set(m, c, &other, &e));
    assert_ok(card_members_set(m, c, &who, &e)); /* the same again: one row */
    (void)card_members_all(m, &n);
    assert_int_equal(n, 2);
    assert_non_null(card_members_at(m, NAME_32, 0));
    assert_null(card_members_at(m, NAME_32, 1));
    assert_null(card_members_at(m, "b", 4));
    assert_non_null(card_members_at(m, "b", 5));
    assert_null(card_members_at(m, "b", 6));
    who.renter[0] = '\0';
    assert_refused(card_members_set(m, c, &who, &e), ERR_INVALID);
    card_members_free(m);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = xasprintf("gpurun.members.v1\n%s\n", rows[i].row);

        assert_ok(file_replace(path, text, strlen(text), &e));
        if ((card_members_load(&m, path, &e) == 0) != rows[i].taken) {
            fail_msg("%s", rows[i].row);
        }
        if (rows[i].taken) {
            card_members_free(m);
        } else {
            assert_int_equal(e.code, ERR_CORRUPT);
            assert_non_null(strstr(e.msg, "line 2"));
        }
        free(text);
    }
    card_free(c);
    free(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(card__is_read_up_to_each_limit_and_not_beyond),
        cmocka_unit_test(card__has_so_many_rows_and_no_more),
        cmocka_unit_test(card__takes_type_words_as_people_write_them),
        cmocka_unit_test(card__takes_owners_words_up_to_their_limits),
        unit_test_in_dir(members__have_a_name_a_level_and_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
