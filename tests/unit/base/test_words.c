#include "base/words.h"
#include "tests/unit/unit.h"

static void
split__reads_a_line_as_a_shell_does(void **state)
{
    static const struct {
        const char *line;
        size_t n;
        const char *want[4];
    } cases[] = {
        {"", 0, {NULL}},
        {"  \t\r\n", 0, {NULL}},
        {"# all of it", 0, {NULL}},
        {"a", 1, {"a"}},
        {" a  b\tc ", 3, {"a", "b", "c"}},
        {"a # b", 1, {"a"}},
        {"a#b", 1, {"a#b"}},
        {"'a b' \"c d\"", 2, {"a b", "c d"}},
        {"'' \"\"", 2, {"", ""}},
        {"a'b'\"c\"d", 1, {"abcd"}},
        {"'a\\b'", 1, {"a\\b"}},
        {"\"a\\b\\\"c\\\\\"", 1, {"a\\b\"c\\"}},
        {"a\\ b \\# \\'", 3, {"a b", "#", "'"}},
        {"$X *.py ~ \"\\$Y\"", 4, {"$X", "*.py", "~", "$Y"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text_words w;
        struct err e;

        assert_int_equal(words_split(&w, cases[i].line, &e), 0);
        assert_int_equal(w.n, cases[i].n);
        for (size_t k = 0; k < w.n; k++) {
            assert_string_equal(w.v[k], cases[i].want[k]);
        }
        assert_null(w.v[w.n]);
        words_free(&w);
    }
}

static void
split__refuses_what_has_no_end(void **state)
{
    static const char *const bad[] = {"'a", "a \"b", "\"a\\\"", "a\\"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct text_words w = {NULL, 77};
        struct err e;

        assert_int_equal(words_split(&w, bad[i], &e), -1);
        assert_int_equal(e.code, ERR_INVALID);
        assert_int_equal(w.n, 77);
    }
}

static void
split__has_a_limit(void **state)
{
    struct buf line = BUF_INIT;
    struct text_words w;
    struct err e;

    (void)state;
    for (int i = 0; i < WORDS_MAX; i++) {
        buf_add_str(&line, "x ");
    }
    assert_int_equal(words_split(&w, buf_str(&line), &e), 0);
    assert_int_equal(w.n, WORDS_MAX);
    words_free(&w);
    buf_add_str(&line, "x");
    assert_int_equal(words_split(&w, buf_str(&line), &e), -1);
    assert_int_equal(e.code, ERR_RANGE);
    buf_free(&line);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split__reads_a_line_as_a_shell_does),
        cmocka_unit_test(split__refuses_what_has_no_end),
        cmocka_unit_test(split__has_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
