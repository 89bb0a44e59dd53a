#include "base/text.h"
#include "base/utf8.h"
#include "tests/unit/unit.h"

static void
escape__leaves_nothing_a_terminal_obeys(void **state)
{
    static const struct {
        const char *in;
        const char *want;
    } cases[] = {
        {"", ""},
        {"plain ~", "plain ~"},
        {"a\nb", "a\\nb"},
        {"\x1b[31m", "\\x1b[31m"},
        {"\a\b\t\r", "\\x07\\x08\\x09\\x0d"},
        {"\x7f", "\\x7f"},
        {"\xc2\x80", "\\xc2\\x80"}, /* C1 */
        {"\xc2\x9b"
         "31m",
         "\\xc2\\x9b31m"}, /* CSI in one character */
        {"\xc2\x9f", "\\xc2\\x9f"},
        {"\xc2\xa0", "\xc2\xa0"},            /* the first one that is harmless */
        {"\xe2\x80\x8d", "\xe2\x80\x8d"},    /* zero-width joiner */
        {"\xe2\x80\x8e", "\\xe2\\x80\\x8e"}, /* left-to-right mark */
        {"\xe2\x80\x8f", "\\xe2\\x80\\x8f"},
        {"\xe2\x80\x90", "\xe2\x80\x90"},
        {"\xe2\x80\xa9", "\xe2\x80\xa9"},
        {"\xe2\x80\xaa", "\\xe2\\x80\\xaa"}, /* U+202A */
        {"\xe2\x80\xae", "\\xe2\\x80\\xae"}, /* U+202E */
        {"\xe2\x80\xaf", "\xe2\x80\xaf"},
        {"\xe2\x81\xa5", "\xe2\x81\xa5"},
        {"\xe2\x81\xa6", "\\xe2\\x81\\xa6"}, /* U+2066 */
        {"\xe2\x81\xa9", "\\xe2\\x81\\xa9"}, /* U+2069 */
        {"\xe2\x81\xaa", "\xe2\x81\xaa"},
        {"\xd8\x9c", "\\xd8\\x9c"}, /* U+061C */
        {"\xff", "\\xff"},
        {"\xc3", "\\xc3"}, /* cut off */
        {"\xc3(", "\\xc3("},
        {"\xc0\xaf", "\\xc0\\xaf"},          /* overlong */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"}, /* a surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
        {"\xe5\x85\x83 \xf0\x9f\x92\xb0", "\xe5\x85\x83 \xf0\x9f\x92\xb0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = BUF_INIT;

        text_escape(&b, cases[i].in, strlen(cases[i].in));
        assert_string_equal(buf_str(&b), cases[i].want);
        buf_free(&b);
    }
}

static void
escape__shows_zero_bytes(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    text_escape(&b, "a\0b", 3);
    assert_string_equal(buf_str(&b), "a\\x00b");
    buf_free(&b);
}

static void
escape_to__cuts_with_a_mark(void **state)
{
    static const struct {
        const char *in;
        size_t size;
        const char *want;
    } cases[] = {
        {"abcdef", 7, "abcdef"},
        {"abcdefg", 7, "abc\xe2\x80\xa6"},
        {"", 4, ""},
        {"abc", 4, "abc"},
        {"abcd", 4, "\xe2\x80\xa6"},
        {"a\x1b", 6, "a\\x1b"},
        {"ab\x1b", 6, "ab\xe2\x80\xa6"}, /* no half escapes */
        {"\xe5\x85\x83\xe5\x85\x83", 7, "\xe5\x85\x83\xe5\x85\x83"},
        {"\xe5\x85\x83\xe5\x85\x83", 6, "\xe2\x80\xa6"}, /* no half characters */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[16];

        memset(out, 0x55, sizeof out);
        assert_ptr_equal(text_escape_to(out, cases[i].size, cases[i].in), out);
        assert_string_equal(out, cases[i].want);
        assert_int_equal(out[cases[i].size], 0x55); /* nothing behind the end */
    }
}

static void
utf8__is_rfc_3629(void **state)
{
    static const struct {
        const char *s;
        size_t len;
        uint32_t cp;
    } cases[] = {
        {"\x7f", 1, 0x7f},
        {"\xc2\x80", 2, 0x80},
        {"\xdf\xbf", 2, 0x7ff},
        {"\xe0\xa0\x80", 3, 0x800},
        {"\xed\x9f\xbf", 3, 0xd7ff},
        {"\xee\x80\x80", 3, 0xe000},
        {"\xef\xbf\xbf", 3, 0xffff},
        {"\xf0\x90\x80\x80", 4, 0x10000},
        {"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
        {"\x80", 0, 0},
        {"\xbf", 0, 0},
        {"\xc0\x80", 0, 0},
        {"\xc1\xbf", 0, 0},
        {"\xe0\x9f\xbf", 0, 0},
        {"\xed\xa0\x80", 0, 0},
        {"\xed\xbf\xbf", 0, 0},
        {"\xf0\x8f\xbf\xbf", 0, 0},
        {"\xf4\x90\x80\x80", 0, 0},
        {"\xf5\x80\x80\x80", 0, 0},
        {"\xff", 0, 0},
        {"\xc2", 0, 0},
        {"\xe2\x82", 0, 0},
        {"\xf0\x9f\x92", 0, 0},
        {"\xe2\x28\xa1", 0, 0},
        {"", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t cp = 0;

        assert_int_equal(utf8_decode(cases[i].s, strlen(cases[i].s), &cp), cases[i].len);
        assert_int_equal(cp, cases[i].cp);
        assert_int_equal(text_is_utf8(cases[i].s, strlen(cases[i].s)),
                         cases[i].len > 0 || cases[i].s[0] == '\0');
    }
    assert_true(text_is_utf8("a\0b", 3));
    assert_false(text_is_utf8("ok\xff", 3));
}

static void
width__is_in_terminal_columns(void **state)
{
    static const struct {
        const char *s;
        int width;
    } cases[] = {
        {"", 0},
        {"abc", 3},
        {"\xc2\xa5"
         "1.88/h",
         7},                     /* ¥ */
        {"\xe5\x85\x83", 2},     /* 元 */
        {"e\xcc\x81", 1},        /* e + combining acute */
        {"\xef\xbd\xb1", 1},     /* half-width katakana */
        {"\xef\xbc\xa1", 2},     /* full-width A */
        {"\xf0\x9f\x92\xb0", 2}, /* money bag */
        {"\xe2\x80\x8b", 0},     /* zero-width space */
        {"\xea\xb0\x80", 2},     /* Hangul syllable */
        {"\xe1\x85\xa1", 0},     /* Hangul vowel */
        {"\xf0\xa0\x80\x80", 2}, /* CJK extension B */
        {"\xff", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(text_width(cases[i].s), cases[i].width);
    }
}

#define S INT64_C(1000000000)

static void
duration__is_parsed(void **state)
{
    static const struct {
        const char *s;
        int64_t ns;
    } cases[] = {
        {"0", 0},
        {"90", 90 * S},
        {"90s", 90 * S},
        {"1h30m", 5400 * S},
        {"1h30min", 5400 * S},
        {"15d", 15 * 86400 * S},
        {"1w", 7 * 86400 * S},
        {"250ms", S / 4},
        {"1us", 1000},
        {"1ns", 1},
        {"1.5h", 5400 * S},
        {"0.5", S / 2},
        {"0.000000001s", 1},
        {"1w2d3h4m5s6ms7us8ns", (9 * 86400 + 3 * 3600 + 4 * 60 + 5) * S + 6007008},
        {"9223372036s", 9223372036 * S},
        {"9223372036854775807ns", INT64_MAX},
    };
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ns = -1;

        assert_ok(text_parse_duration(cases[i].s, &ns, &e));
        assert_true(ns == cases[i].ns);
    }
}

static void
duration__of_nonsense_is_refused(void **state)
{
    static const char *const bad[] = {"",     "h",   "1x",     "1 h",    " 1h",
                                      "1h ",  "-1s", "+1s",    "1h30",   "30m1h",
                                      "1h1h", "1.",  ".5s",    "1.5.5s", "1e3",
                                      "1H",   "1mm", "1m1min", "0x10",   "1.0000000001s"};
    static const char *const big[] = {"9223372037s",      "9223372036854775808ns",
                                      "106752d",          "99999999999999999999999999",
                                      "9223372036s999ms", "9999999999999999999h1s"};
    int64_t ns = 77;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_refused(text_parse_duration(bad[i], &ns, &e), ERR_INVALID);
    }
    for (size_t i = 0; i < sizeof big / sizeof *big; i++) {
        assert_refused(text_parse_duration(big[i], &ns, &e), ERR_RANGE);
    }
    assert_int_equal(ns, 77);
    assert_refused(text_parse_duration("\x1b[2J", &ns, &e), ERR_INVALID);
    assert_string_equal(e.msg, "'\\x1b[2J' is no duration (for example 90s, 1h30m, 15d)");
}

static void
seconds__are_rounded_up_within_their_bounds(void **state)
{
    struct err e = {0};
    int64_t s = -1;

    (void)state;
    assert_ok(text_parse_seconds("1s", 1, 10, &s, &e));
    assert_int_equal(s, 1);
    assert_ok(text_parse_seconds("9001ms", 1, 10, &s, &e));
    assert_int_equal(s, 10);
    assert_refused(text_parse_seconds("999ms", 1, 10, &s, &e), ERR_RANGE);
    assert_refused(text_parse_seconds("10001ms", 1, 10, &s, &e), ERR_RANGE);
    assert_refused(text_parse_seconds("x", 1, 10, &s, &e), ERR_INVALID);
    assert_int_equal(s, 10);
}

static void
duration__is_formatted_for_people(void **state)
{
    static const struct {
        int64_t s;
        const char *want;
    } cases[] = {
        {0, "00:00:00"},
        {59, "00:00:59"},
        {3600, "01:00:00"},
        {86399, "23:59:59"},
        {86400, "1d 00:00:00"},
        {3 * 86400 + 4 * 3600 + 5 * 60 + 6, "3d 04:05:06"},
        {-61, "-00:01:01"},
        {INT64_MAX, "106751991167300d 15:30:07"},
        {INT64_MIN, "-106751991167300d 15:30:08"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[TEXT_DURATION_MAX];

        text_format_duration(cases[i].s, text);
        assert_string_equal(text, cases[i].want);
    }
}

static void
size__is_parsed(void **state)
{
    static const struct {
        const char *s;
        int64_t bytes;
    } cases[] = {
        {"0", 0},
        {"512", 512},
        {"512B", 512},
        {"64K", 65536},
        {"64k", 65536},
        {"64KiB", 65536},
        {"64KB", 64000},
        {"64kB", 64000},
        {"20G", INT64_C(20) << 30},
        {"20GB", INT64_C(20000000000)},
        {"1.5GiB", INT64_C(3) << 29},
        {"1.5M", 1572864},
        {"2MB", 2000000},
        {"3T", INT64_C(3) << 40},
        {"3TB", INT64_C(3000000000000)},
        {"0.5", 0},
        {"8388607T", INT64_C(8388607) << 40},
        {"9223372036854775807", INT64_MAX},
    };
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t bytes = -1;

        assert_ok(text_parse_size(cases[i].s, &bytes, &e));
        assert_true(bytes == cases[i].bytes);
    }
}

static void
size__of_nonsense_is_refused(void **state)
{
    static const char *const bad[] = {"",   "G",  "1X",  "1 G",  " 1",   "1G ",
                                      "-1", "+1", "1Gi", "1KBB", "0x10", "1,5G"};
    static const char *const big[] = {"8388608T", "9223372036854775808",
                                      "99999999999999999999999T"};
    int64_t bytes = 77;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_refused(text_parse_size(bad[i], &bytes, &e), ERR_INVALID);
    }
    for (size_t i = 0; i < sizeof big / sizeof *big; i++) {
        assert_refused(text_parse_size(big[i], &bytes, &e), ERR_RANGE);
    }
    assert_int_equal(bytes, 77);
}

static void
size__is_formatted_for_people(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *want;
    } cases[] = {
        {0, "0 B"},
        {999, "999 B"},
        {1000, "1.0 kB"},
        {1049, "1.0 kB"},
        {1050, "1.1 kB"}, /* half up */
        {999949, "999.9 kB"},
        {999950, "1.0 MB"},
        {1400000000, "1.4 GB"},
        {UINT64_C(999950000000000000), "1.0 EB"},
        {UINT64_MAX, "18.4 EB"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[TEXT_SIZE_MAX];

        text_format_size(cases[i].bytes, text);
        assert_string_equal(text, cases[i].want);
    }
}

static void
int__is_whole_and_in_range(void **state)
{
    static const char *const bad[] = {"",    " 1", "1 ",  "+1", "1.0",
                                      "0x1", "-",  "--1", "1a", "one"};
    int64_t v = 77;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_refused(text_parse_int(bad[i], INT64_MIN, INT64_MAX, "--n", &v, &e),
                       ERR_INVALID);
    }
    assert_refused(text_parse_int("5", 6, 9, "--n", &v, &e), ERR_RANGE);
    assert_string_equal(e.msg, "--n: '5' is not between 6 and 9");
    assert_refused(text_parse_int("10", 6, 9, "--n", &v, &e), ERR_RANGE);
    assert_refused(text_parse_int("9223372036854775808", 0, INT64_MAX, "--n", &v, &e),
                   ERR_RANGE);
    assert_refused(text_parse_int("-9223372036854775809", INT64_MIN, 0, "--n", &v, &e),
                   ERR_RANGE);
    assert_int_equal(v, 77);
    assert_ok(text_parse_int("6", 6, 9, "--n", &v, &e));
    assert_int_equal(v, 6);
    assert_ok(text_parse_int("9", 6, 9, "--n", &v, &e));
    assert_int_equal(v, 9);
    assert_ok(text_parse_int("-9223372036854775808", INT64_MIN, 0, "--n", &v, &e));
    assert_true(v == INT64_MIN);
    assert_ok(text_parse_int("007", 0, 9, "--n", &v, &e));
    assert_int_equal(v, 7);
}

static void
base64__agrees_with_rfc_4648(void **state)
{
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xfb\xff\xfe", "+//+"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = BUF_INIT;

        text_base64(&b, cases[i][0], strlen(cases[i][0]));
        assert_string_equal(buf_str(&b), cases[i][1]);
        buf_free(&b);
    }
}

static void
shell_quote__is_one_word(void **state)
{
    static const char *const cases[][2] = {
        {"", "''"}, {"a b", "'a b'"}, {"it's", "'it'\\''s'"}, {"$(x)\n`", "'$(x)\n`'"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = BUF_INIT;

        text_shell_quote(&b, cases[i][0]);
        assert_string_equal(buf_str(&b), cases[i][1]);
        buf_free(&b);
    }
}

static void
glob__is_fnmatch(void **state)
{
    (void)state;
    assert_true(text_glob("*.pem", "a.pem"));
    assert_true(text_glob("*", "a/b"));
    assert_true(text_glob("id_?sa", "id_rsa"));
    assert_false(text_glob("id_?sa", "id_sa"));
    assert_true(text_glob("[a-c]x", "bx"));
    assert_false(text_glob("a", "ab"));
}

static void
prefix__ends_between_characters(void **state)
{
    static const struct {
        const char *s;
        int columns;
        size_t bytes;
    } cases[] = {
        {"abc", 3, 3},      {"abc", 2, 2},        {"abc", 0, 0},  {"", 5, 0},
        {"训练", 4, 6},     {"训练", 3, 3},       {"训练", 1, 0}, {"a训", 3, 4},
        {"\xff\xff", 1, 1}, {"e\xcc\x81x", 1, 3}, {"abc", -1, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(text_prefix(cases[i].s, cases[i].columns), cases[i].bytes);
    }
}

static void
of_file__skips_that_mark_alone_and_refuses_what_would_be_cut(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *text; /* NULL: refused */
    } cases[] = {
        {"\xef\xbb\xbf"
         "a",
         4, "a"},
        {"a\xef\xbb\xbf", 4, "a\xef\xbb\xbf"},
        {"", 0, ""},
        {"a\0b", 3, NULL},
        {"a\0", 2, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf b = BUF_INIT;
        char *text = NULL;
        struct err e;

        buf_add(&b, cases[i].bytes, cases[i].n);
        if (cases[i].text != NULL) {
            assert_ok(text_of_file(&b, &text, &e));
            assert_string_equal(text, cases[i].text);
        } else {
            assert_refused(text_of_file(&b, &text, &e), ERR_INVALID);
            assert_null(text);
        }
        buf_free(&b);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escape__leaves_nothing_a_terminal_obeys),
        cmocka_unit_test(escape__shows_zero_bytes),
        cmocka_unit_test(escape_to__cuts_with_a_mark),
        cmocka_unit_test(utf8__is_rfc_3629),
        cmocka_unit_test(width__is_in_terminal_columns),
        cmocka_unit_test(duration__is_parsed),
        cmocka_unit_test(seconds__are_rounded_up_within_their_bounds),
        cmocka_unit_test(duration__of_nonsense_is_refused),
        cmocka_unit_test(duration__is_formatted_for_people),
        cmocka_unit_test(size__is_parsed),
        cmocka_unit_test(size__of_nonsense_is_refused),
        cmocka_unit_test(size__is_formatted_for_people),
        cmocka_unit_test(int__is_whole_and_in_range),
        cmocka_unit_test(base64__agrees_with_rfc_4648),
        cmocka_unit_test(shell_quote__is_one_word),
        cmocka_unit_test(glob__is_fnmatch),
        cmocka_unit_test(prefix__ends_between_characters),
        cmocka_unit_test(of_file__skips_that_mark_alone_and_refuses_what_would_be_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
