#include <errno.h>

#include "tests/unit/unit.h"

static void
err_set__fills_and_returns_minus_one(void **state)
{
    struct err e;

    (void)state;
    memset(&e, 0xff, sizeof e);
    assert_int_equal(err_set(&e, ERR_BUSY, "%s of %d", "one", 2), -1);
    assert_int_equal(e.code, ERR_BUSY);
    assert_int_equal(e.sys_errno, 0);
    assert_string_equal(e.msg, "one of 2");
}

static void
err_set_sys__tells_full_disks_apart(void **state)
{
    static const struct {
        int sys_errno;
        enum err_code code;
        const char *msg;
    } cases[] = {
        {ENOENT, ERR_SYSTEM, "x: No such file or directory"},
        {EIO, ERR_SYSTEM, "x: Input/output error"},
        {ENOSPC, ERR_SPACE, "x: No space left on device"},
        {EDQUOT, ERR_SPACE, "x: Disk quota exceeded"},
    };
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(err_set_sys(&e, cases[i].sys_errno, "x"), -1);
        assert_int_equal(e.code, cases[i].code);
        assert_int_equal(e.sys_errno, cases[i].sys_errno);
        assert_string_equal(e.msg, cases[i].msg);
    }
}

static void
err_set_sys__never_cuts_the_reason_off(void **state)
{
    char long_text[2000];
    struct err e;

    (void)state;
    memset(long_text, 'a', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    (void)err_set_sys(&e, ENOENT, "%s", long_text);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    assert_non_null(strstr(e.msg, "a: No such file or directory"));
}

static void
err_wrap__puts_context_in_front_and_keeps_the_code(void **state)
{
    struct err e;

    (void)state;
    (void)err_set_sys(&e, EPERM, "inner");
    assert_false(e.helps);
    e.helps = true;
    assert_int_equal(err_wrap(&e, "outer %d", 7), -1);
    assert_true(e.helps);
    assert_string_equal(e.msg, "outer 7: inner: Operation not permitted");
    assert_int_equal(e.code, ERR_SYSTEM);
    assert_int_equal(e.sys_errno, EPERM);
}

static void
messages__are_never_cut_inside_a_character(void **state)
{
    static const char *const characters[] = {"\xc3\xa9", "\xe5\x85\x83",
                                             "\xf0\x9f\x92\xb0"};
    struct err e;

    (void)state;
    for (size_t c = 0; c < 3; c++) {
        const size_t n = strlen(characters[c]);

        /* Every alignment of the character at the end. */
        for (size_t shift = 0; shift < n; shift++) {
            struct buf b = BUF_INIT;
            size_t len;

            for (size_t i = 0; i < shift; i++) {
                buf_add_u8(&b, 'a');
            }
            while (b.len < 600) {
                buf_add_str(&b, characters[c]);
            }
            (void)err_set(&e, ERR_INVALID, "%s", buf_str(&b));
            len = strlen(e.msg);
            assert_true(len < sizeof e.msg && len >= sizeof e.msg - n);
            assert_int_equal((len - shift) % n, 0);
            buf_free(&b);
        }
    }
}

static void
messages__of_bytes_that_are_no_text_are_cut_at_the_end(void **state)
{
    char junk[600];
    struct err e;

    (void)state;
    memset(junk, 0x80, sizeof junk - 1); /* continuation bytes only */
    junk[sizeof junk - 1] = '\0';
    (void)err_set(&e, ERR_INVALID, "%s", junk);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
}

static void
code_names__are_stable_and_go_both_ways(void **state)
{
    static const char *const names[ERR_CODE_COUNT] = {
        "none",    "invalid", "range", "system",  "not_found", "exists", "busy",
        "corrupt", "denied",  "link",  "version", "space",     "limit"};

    (void)state;
    for (int i = 0; i < ERR_CODE_COUNT; i++) {
        assert_string_equal(err_code_name((enum err_code)i), names[i]);
        assert_int_equal(err_code_from_name(names[i]), i);
    }
    assert_string_equal(err_code_name(ERR_CODE_COUNT), "invalid");
    assert_string_equal(err_code_name((enum err_code) - 1), "invalid");
    assert_int_equal(err_code_from_name("later"), ERR_SYSTEM);
    assert_int_equal(err_code_from_name(""), ERR_SYSTEM);
}

static void
words__nothing_stays_nothing(void **state)
{
    struct err e = {0};

    (void)state;
    /* gettext("") is the catalogue's head, with addresses in it. */
    assert_string_equal(err_words(""), "");
    assert_string_equal(err_words("no catalogue knows this"), "no catalogue knows this");
    assert_int_equal(err_set(&e, ERR_INVALID, "%s", ""), -1);
    assert_string_equal(e.msg, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words__nothing_stays_nothing),
        cmocka_unit_test(err_set__fills_and_returns_minus_one),
        cmocka_unit_test(err_set_sys__tells_full_disks_apart),
        cmocka_unit_test(err_set_sys__never_cuts_the_reason_off),
        cmocka_unit_test(err_wrap__puts_context_in_front_and_keeps_the_code),
        cmocka_unit_test(messages__are_never_cut_inside_a_character),
        cmocka_unit_test(messages__of_bytes_that_are_no_text_are_cut_at_the_end),
        cmocka_unit_test(code_names__are_stable_and_go_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
