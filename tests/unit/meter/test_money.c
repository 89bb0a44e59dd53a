#include "meter/money.h"
#include "meter/ratio.h"
#include "meter/refuse.h"
#include "tests/unit/unit.h"

struct text_case {
    const char *text;
    int64_t value;
    enum refuse_code why;
};

static void
money__reads_amounts_of_two_decimals(void **state)
{
    static const struct text_case cases[] = {
        {"0", 0, REFUSE_NONE},
        {"0.1", 10, REFUSE_NONE},
        {"0.01", 1, REFUSE_NONE},
        {"10", 1000, REFUSE_NONE},
        {"92233720368547758.07", INT64_MAX, REFUSE_NONE},
        {"92233720368547758.08", 0, REFUSE_RANGE},
        {"92233720368547759", 0, REFUSE_RANGE},
        {"99999999999999999999999999", 0, REFUSE_RANGE},
        {"1.005", 0, REFUSE_PRECISION},
        {"00.005", 0, REFUSE_LEADING_ZERO},
        {"01", 0, REFUSE_LEADING_ZERO},
        {"00", 0, REFUSE_LEADING_ZERO},
        {"999999999999999999999.001", 0, REFUSE_PRECISION},
        {"", 0, REFUSE_SYNTAX},
        {".", 0, REFUSE_SYNTAX},
        {"1.", 0, REFUSE_SYNTAX},
        {"1.2.3", 0, REFUSE_SYNTAX},
        {"+1", 0, REFUSE_SYNTAX},
        {"-1", 0, REFUSE_SYNTAX},
        {"1 ", 0, REFUSE_SYNTAX},
        {"1/", 0, REFUSE_SYNTAX},
        {"1:", 0, REFUSE_SYNTAX},
        {"9.99", 999, REFUSE_NONE},
        {"1e3", 0, REFUSE_SYNTAX},
        {"01.x", 0, REFUSE_SYNTAX},
        {"\xd9\xa1", 0, REFUSE_SYNTAX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        int64_t fen = 77;
        int rc = money_parse_fen(cases[i].text, strlen(cases[i].text), &fen, &e);

        if (refuse_of(&e) != cases[i].why || strchr(e.msg, '(') != NULL ||
            fen != (cases[i].why == REFUSE_NONE ? cases[i].value : 77) ||
            rc != (cases[i].why == REFUSE_NONE ? 0 : -1)) {
            fail_msg("'%s': %d, %s", cases[i].text, (int)fen, e.msg);
        }
    }
}

static void
money__reads_prices_of_six_decimals(void **state)
{
    struct err e = {0};
    int64_t uyuan = 0;

    (void)state;
    assert_ok(money_parse_uyuan("1.000001", 8, &uyuan, &e));
    assert_int_equal(uyuan, 1000001);
    assert_ok(money_parse_uyuan("9223372036854.775807", 20, &uyuan, &e));
    assert_true(uyuan == INT64_MAX);
    assert_refused(money_parse_uyuan("1.0000001", 9, &uyuan, &e), ERR_INVALID);
    assert_int_equal(refuse_of(&e), REFUSE_PRECISION);
    assert_refused(money_parse_uyuan("9223372036854.775808", 20, &uyuan, &e), ERR_RANGE);
    assert_refused(money_parse_uyuan("1.5\0", 4, &uyuan, &e), ERR_INVALID);
}

static void
money__shows_user_text_safely_and_short(void **state)
{
    const char text[] = "\x1b[31m aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct err e = {0};
    int64_t fen;

    (void)state;
    assert_refused(money_parse_fen(text, sizeof text - 1, &fen, &e), ERR_INVALID);
    assert_null(strchr(e.msg, '\x1b'));
    assert_true(strlen(e.msg) < 120);
#define SHOWN(text, words)                                                               \
    assert_refused(money_parse_fen(text, sizeof text - 1, &fen, &e), ERR_INVALID);       \
    assert_non_null(strstr(e.msg, words))
    SHOWN(" ~\x1f\x7f", "' ~\\x1f\\x7f' is");
    SHOWN("\302\2455", "'\302\2455' is");
    SHOWN("", "'' is");
    SHOWN("x234567890123456789012345678901", "'x234567890123456789012345678901' is");
    SHOWN("x2345678901234567890123456789012", "'x2345678901234567890123456789012' is");
    SHOWN("x23456789012345678901234567890123",
          "'x2345678901234567890123456789\xe2\x80\xa6' is");
#undef SHOWN
}

static void
money__writes_the_whole_range(void **state)
{
    char text[MONEY_TEXT_MAX];

    (void)state;
    money_format_fen(INT64_MIN, text);
    assert_string_equal(text, "-92233720368547758.08");
    money_format_fen(-5, text);
    assert_string_equal(text, "-0.05");
    money_format_fen(0, text);
    assert_string_equal(text, "0.00");
    money_format_fen(INT64_MAX, text);
    assert_string_equal(text, "92233720368547758.07");
    money_format_uyuan(0, text);
    assert_string_equal(text, "0.00");
    money_format_uyuan(-1, text);
    assert_string_equal(text, "-0.000001");
    money_format_uyuan(1880000, text);
    assert_string_equal(text, "1.88");
    money_format_uyuan(6600, text);
    assert_string_equal(text, "0.0066");
    money_format_uyuan(2000000, text);
    assert_string_equal(text, "2.00");
    money_format_uyuan(1, text);
    assert_string_equal(text, "0.000001");
    money_format_uyuan(INT64_MIN, text);
    assert_string_equal(text, "-9223372036854.775808");
}

static void
ratio__is_exact_in_and_out(void **state)
{
    static const char *const texts[] = {"0", "-7", "47/45", "-1/3",
                                        "170141183460469231731687303715884105727"};
    char text[RATIO_TEXT_MAX];
    struct ratio r;
    struct err e = {0};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_ok(ratio_parse(&r, texts[i], strlen(texts[i]), &e));
        ratio_format(&r, text);
        assert_string_equal(text, texts[i]);
    }
    assert_ok(ratio_parse(&r, "6/4", 3, &e));
    ratio_format(&r, text);
    assert_string_equal(text, "3/2");
    assert_refused(ratio_parse(&r, "1/0", 3, &e), ERR_INVALID);
    assert_refused(ratio_parse(&r, "", 0, &e), ERR_INVALID);
    assert_refused(ratio_parse(&r, "-", 1, &e), ERR_INVALID);
    assert_refused(ratio_parse(&r, "1/", 2, &e), ERR_INVALID);
    assert_refused(ratio_parse(&r, "01", 2, &e), ERR_INVALID);
    assert_refused(ratio_parse(&r, "1/-2", 4, &e), ERR_INVALID);
    assert_refused(ratio_parse(&r, "170141183460469231731687303715884105728", 39, &e),
                   ERR_RANGE);
}

static void
ratio__rounds_in_the_named_ways(void **state)
{
    static const struct {
        const char *text;
        int64_t down;
        int64_t half_up;
        int64_t up;
    } cases[] = {
        {"7/2", 3, 4, 4},   {"-7/2", -4, -3, -3}, {"1/3", 0, 0, 1},
        {"-1/3", -1, 0, 0}, {"2/3", 0, 1, 1},     {"5", 5, 5, 5},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ratio r;
        struct err e = {0};
        int64_t v = 0;

        assert_ok(ratio_parse(&r, cases[i].text, strlen(cases[i].text), &e));
        assert_ok(ratio_round(&r, RATIO_FLOOR, &v, &e));
        assert_int_equal(v, cases[i].down);
        assert_ok(ratio_round(&r, RATIO_HALF_UP, &v, &e));
        assert_int_equal(v, cases[i].half_up);
        assert_ok(ratio_round(&r, RATIO_CEIL, &v, &e));
        assert_int_equal(v, cases[i].up);
    }
}

static void
refuse__keeps_its_name_through_wrapping(void **state)
{
    struct err e = {0};
    char word[600];

    (void)state;
    memset(word, 'x', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    (void)refuse(&e, REFUSE_RANGE, "%s", word);
    assert_int_equal(e.code, ERR_RANGE);
    assert_int_equal(refuse_of(&e), REFUSE_RANGE);
    (void)err_wrap(&e, "while pricing");
    assert_int_equal(refuse_of(&e), REFUSE_RANGE);
    assert_string_equal(e.msg + refuse_words_len(e.msg), " (range)");
    (void)err_set(&e, ERR_INVALID, "something (syntaxes)");
    assert_int_equal(refuse_of(&e), REFUSE_NONE);
    assert_string_equal(e.msg + refuse_words_len(e.msg), "");
    (void)err_set(&e, ERR_INVALID, "(range)"); /* a host's word may be just this */
    assert_string_equal(e.msg + refuse_words_len(e.msg), "");
    (void)refuse_typed(&e, REFUSE_SYNTAX, "'5 (yuan)' is no amount"); /* as typed */
    assert_int_equal(refuse_of(&e), REFUSE_SYNTAX);
    assert_string_equal(e.msg + refuse_words_len(e.msg), "");
    (void)err_set(&e, ERR_INVALID, "nothing");
    assert_int_equal(refuse_of(&e), REFUSE_NONE);
    assert_string_equal(refuse_name(REFUSE_KEY_MISMATCH), "idempotency_key_mismatch");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(money__reads_amounts_of_two_decimals),
        cmocka_unit_test(money__reads_prices_of_six_decimals),
        cmocka_unit_test(money__shows_user_text_safely_and_short),
        cmocka_unit_test(money__writes_the_whole_range),
        cmocka_unit_test(ratio__is_exact_in_and_out),
        cmocka_unit_test(ratio__rounds_in_the_named_ways),
        cmocka_unit_test(refuse__keeps_its_name_through_wrapping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
