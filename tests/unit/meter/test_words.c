#include <stdlib.h>

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

/* What words_digits must say, the slow way. */
static size_t
digits_plainly(const char *s, size_t len, int64_t *out)
{
    int64_t v = 0;
    size_t n = 0;

    while (n < len && s[n] >= '0' && s[n] <= '9' && n <= WORDS_DIGITS_MAX) {
        v = n < WORDS_DIGITS_MAX ? v * 10 + (s[n] - '0') : v;
        n++;
    }
    if (n == 0 || n > WORDS_DIGITS_MAX || (s[0] == '0' && n > 1)) {
        return 0;
    }
    *out = v;
    return n;
}

/* Every byte at every place behind every number of digits, and never read past len. */
static void
digits__are_counted_eight_at_a_time_as_one_by_one(void **state)
{
    uint64_t x = 88172645463325252u;

    (void)state;
    for (size_t n = 0; n <= 21; n++) {
        for (size_t len = n; len <= 26; len++) {
            for (int stop = 0; stop < 256; stop++) {
                char *text = xmalloc(len + 1);
                int64_t want = -7;
                int64_t got = -7;
                size_t n_want;

                for (size_t i = 0; i < len; i++) {
                    x ^= x << 13;
                    x ^= x >> 7;
                    x ^= x << 17;
                    text[i] = i < n ? (char)('0' + x % 10) : (char)x;
                }
                if (n < len) {
                    text[n] = (char)stop;
                }
                /* As long as it says and no longer, for the sanitizers to see. */
                text = xrealloc(text, len > 0 ? len : 1);
                n_want = digits_plainly(text, len, &want);
                if (words_digits(text, len, &got) != n_want || got != want) {
                    fail_msg("%zu digits, then byte %d, of %zu: %.*s", n, stop, len,
                             (int)len, text);
                }
                free(text);
            }
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words__are_taken_up_to_their_size),
        cmocka_unit_test(words__are_as_long_as_records_have_room_for),
        cmocka_unit_test(integers__have_one_spelling_and_their_range),
        cmocka_unit_test(digits__are_counted_eight_at_a_time_as_one_by_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
