#include "meter/words.h"
#include "tests/unit/unit.h"

static void
words__are_taken_up_to_their_size(void **state)
{
    static const struct {
        const char *value;
        const char *name; /* NULL: bad */
        const char *text;
    } cases[] = {
        {"abcd", "abcd", "abcd"}, {"abcde", NULL, NULL},
        {"a", "a", "a"},          {"-", "", ""},
        {"--", "--", "--"},       {"", NULL, NULL},
        {" a", NULL, NULL},       {"az09", "az09", "az09"},
        {"._-", "._-", "._-"},    {"`", NULL, "`"},
        {"{", NULL, "{"},         {"/", NULL, "/"},
        {":", NULL, ":"},         {"A", NULL, "A"},
        {"!", NULL, "!"},         {"~", NULL, "~"},
        {"\x7f", NULL, NULL},     {"\\", NULL, NULL},
        {"\x1f", NULL, NULL},     {"abc\x7f", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *v = cases[i].value;
        char out[5] = "????";
        struct words w = words_of(v, strlen(v));

        words_name(&w, out, sizeof out);
        if (words_done(&w) != (cases[i].name != NULL) ||
            strcmp(out, cases[i].name != NULL ? cases[i].name : "") != 0) {
            fail_msg("name '%s'", v);
        }
        w = words_of(v, strlen(v));
        words_text(&w, out, sizeof out);
        if (words_done(&w) != (cases[i].text != NULL) ||
            strcmp(out, cases[i].text != NULL ? cases[i].text : "") != 0) {
            fail_msg("text '%s'", v);
        }
    }
    {
        struct words w = words_of("a ", 2);
        char out[5];

        words_name(&w, out, sizeof out);
        assert_false(words_done(&w)); /* a space, and no word behind it */
        words_name(&w, out, sizeof out);
        assert_true(w.bad);
    }
}

static void
words__are_as_long_as_records_have_room_for(void **state)
{
#define W_32 "0123456789abcdef0123456789abcdef"
    static const struct {
        const char *word;
        bool name;
        bool text;
    } cases[] = {
        {"a", true, true},        {"", false, false},
        {"-", false, false},      {"--", true, true},
        {W_32, true, true},       {W_32 "x", false, true},
        {W_32 W_32, false, true}, {W_32 W_32 "x", false, false},
        {"A", false, true},       {"a b", false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *w = cases[i].word;

        if (words_is_name(w) != cases[i].name || words_is_text(w) != cases[i].text ||
            words_is_name_or_none(w) != (cases[i].name || w[0] == '\0') ||
            words_is_text_or_none(w) != (cases[i].text || w[0] == '\0')) {
            fail_msg("'%s'", w);
        }
    }
}

static void
integers__have_one_spelling_and_their_range(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
        bool taken;
    } cases[] = {
        {"0", 0, true},
        {"9", 9, true},
        {"-1", -1, true},
        {"-10", -10, true},
        {"9223372036854775807", INT64_MAX, true},
        {"-9223372036854775808", INT64_MIN, true},
        {"9223372036854775808", 0, false},
        {"-9223372036854775809", 0, false},
        {"", 0, false},
        {"-", 0, false},
        {"-0", 0, false},
        {"00", 0, false},
        {"01", 0, false},
        {"-01", 0, false},
        {"+1", 0, false},
        {"1/", 0, false},
        {"1:", 0, false},
        {"1 ", 0, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t v = 77;

        if (words_parse_int(cases[i].text, strlen(cases[i].text), &v) != cases[i].taken ||
            v != (cases[i].taken ? cases[i].value : 77)) {
            fail_msg("'%s'", cases[i].text);
        }
    }
    for (int64_t n = 4; n <= 8; n++) {
        char text[3] = {(char)('0' + n), '\0'};
        struct words w = words_of(text, 1);

        assert_int_equal(words_int(&w, 5, 7), n >= 5 && n <= 7 ? n : 0);
        assert_int_equal(words_done(&w), n >= 5 && n <= 7);
        /* What stands for nothing is not written as a number. */
        w = words_of(text, 1);
        assert_int_equal(words_int_or(&w, 6), n == 6 ? 0 : n);
        assert_int_equal(words_done(&w), n != 6);
    }
    {
        struct words w = words_of("-", 1);

        assert_int_equal(words_int_or(&w, 6), 6);
        assert_true(words_done(&w));
        w = words_of("9223372036854775807 0 -1", 24);
        assert_true(words_count(&w) == INT64_MAX);
        assert_int_equal(words_count(&w), 0);
        assert_false(words_done(&w)); /* something is left */
        assert_int_equal(words_count(&w), 0);
        assert_false(words_done(&w)); /* and it was bad */
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words__are_taken_up_to_their_size),
        cmocka_unit_test(words__are_as_long_as_records_have_room_for),
        cmocka_unit_test(integers__have_one_spelling_and_their_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
