#include <errno.h>
#include <libintl.h>
#include <locale.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "tests/unit/unit.h"

/* A catalogue of a language of its own; GNU gettext wants the msgids in order. */
static const char *const words[][2] = {
    {"", "Language: xx\nContent-Type: text/plain; charset=UTF-8\n"},
    {"%d of %s", "%2$s: %1$d件"},
    {"'%.*s' is %s", "“%.*s” 是 %s"},
    {"100%% of %s", "%s 的 100%%"},
    {"No such file or directory", "没有那个文件"},
    {"cannot open '%s'", "打不开“%s”"},
    {"no device is free", "没有空闲的设备"},
    {"too few %s", "%s 少了 %s"},
};
#define N_WORDS   (sizeof words / sizeof words[0])
#define HEAD_LEN  28
#define TABLE_LEN (8 * N_WORDS)

static void
add_texts(struct buf *table, struct buf *texts, size_t which)
{
    for (size_t i = 0; i < N_WORDS; i++) {
        size_t len = strlen(words[i][which]);

        buf_add_u32(table, (uint32_t)len);
        buf_add_u32(table, (uint32_t)(HEAD_LEN + 2 * TABLE_LEN + texts->len));
        buf_add(texts, words[i][which], len + 1);
    }
}

static void
write_catalogue(const char *dir)
{
    char *path = xasprintf("%s/xx/LC_MESSAGES/form.mo", dir);
    char *parent = xasprintf("%s/xx/LC_MESSAGES", dir);
    char *above = xasprintf("%s/xx", dir);
    struct buf mo = BUF_INIT;
    struct buf texts = BUF_INIT;
    struct err e;

    buf_add_u32(&mo, 0x950412deU);
    buf_add_u32(&mo, 0);
    buf_add_u32(&mo, N_WORDS);
    buf_add_u32(&mo, HEAD_LEN);
    buf_add_u32(&mo, HEAD_LEN + TABLE_LEN);
    buf_add_u32(&mo, 0);
    buf_add_u32(&mo, HEAD_LEN + 2 * TABLE_LEN);
    add_texts(&mo, &texts, 0);
    add_texts(&mo, &texts, 1);
    buf_add(&mo, texts.data, texts.len);
    assert_int_equal(mkdir(above, 0700), 0);
    assert_int_equal(mkdir(parent, 0700), 0);
    assert_ok(file_replace(path, mo.data, mo.len, &e));
    buf_free(&texts);
    buf_free(&mo);
    free(above);
    free(parent);
    free(path);
}

/* How a peer's error is read: by a program that has the catalogue. */
static void
use_words(void **state)
{
    write_catalogue(*state);
    assert_non_null(setlocale(LC_ALL, "C.UTF-8"));
    assert_int_equal(setenv("LANGUAGE", "xx", 1), 0);
    assert_non_null(bindtextdomain("form", *state));
    assert_non_null(textdomain("form"));
}

static void
assert_told(const struct err *from, const char *want)
{
    struct err told;

    err_told(&told, from->code, from->msg, from->form);
    assert_int_equal(told.code, from->code);
    assert_string_equal(told.msg, want);
    assert_string_equal(told.form, from->form);
}

/* ---- making ---- */

static void
form_make__keeps_formats_and_arguments_apart(void **state)
{
    struct err e;

    (void)state;
    err_set(&e, ERR_BUSY, "no device is free");
    assert_string_equal(e.form, "no device is free");
    err_set(&e, ERR_BUSY, "%d of %s, %5.1d, %zu %c%% %.2s %#x", 7, "cards", 3, (size_t)9,
            'z', "long", 255U);
    assert_string_equal(e.form, "%d of %s, %5.1d, %zu %c%% %.2s %#x\x1f"
                                "7\x1f"
                                "cards\x1f    3\x1f"
                                "9\x1fz\x1flo\x1f"
                                "0xff");
    err_set(&e, ERR_BUSY, "'%.*s' is %s", 3, "abcdef", "cut");
    assert_string_equal(e.form, "'%.*s' is %s\x1f\x1f"
                                "abc\x1f"
                                "cut");
    err_set(&e, ERR_BUSY, "in front");
    err_wrap(&e, "round %d", 2);
    assert_string_equal(e.form, "round %d\x1f"
                                "2\x1ein front");
    err_set_sys(&e, ENOENT, "cannot open '%s'", "/x");
    assert_string_equal(e.form, "cannot open '%s'\x1f/x\x1eNo such file or directory");
}

static void
form_make__gives_up_on_what_it_cannot_carry(void **state)
{
    char lines[FORM_MAX];
    struct err e;

    (void)state;
    err_set(&e, ERR_BUSY, "no %s", "\x1f");
    assert_string_equal(e.form, "");
    assert_string_equal(e.msg, "no \x1f");
    err_set(&e, ERR_BUSY, "no %s", "\x1e");
    assert_string_equal(e.form, "");
    err_wrap(&e, "a part more");
    assert_string_equal(e.form, ""); /* half a message would be another one */
    memset(lines, 'l', sizeof lines - 1);
    lines[sizeof lines - 1] = '\0';
    err_set(&e, ERR_BUSY, "%s", lines);
    assert_string_equal(e.form, "");
    memset(lines + 600, 0, sizeof lines - 600);
    err_set(&e, ERR_BUSY, "%s", lines);
    assert_int_equal(strlen(e.form), 603);
    err_wrap(&e, "%s", lines);
    assert_string_equal(e.form, "");
}

/* ---- telling ---- */

static void
form_tell__says_it_by_the_catalogue(void **state)
{
    struct err e;

    use_words(state);
    err_set(&e, ERR_BUSY, "no device is free");
    assert_string_equal(e.msg, "没有空闲的设备");
    assert_told(&e, "没有空闲的设备");

    /* As an agent makes them, which has no catalogue. */
    assert_non_null(setlocale(LC_MESSAGES, "C"));
    err_set(&e, ERR_BUSY, "%d of %s", 3, "100%");
    assert_string_equal(e.msg, "3 of 100%");
    err_wrap(&e, "nobody has translated %s", "this %s");
    assert_told(&e, e.msg);
    assert_non_null(setlocale(LC_MESSAGES, "C.UTF-8"));
    assert_told(&e, "nobody has translated this %s: 100%: 3件");
    (void)setlocale(LC_MESSAGES, "C");
    err_set(&e, ERR_BUSY, "'%.*s' is %s", 3, "abcdef", "cut");
    (void)setlocale(LC_MESSAGES, "C.UTF-8");
    assert_told(&e, "“abc” 是 cut");
    (void)setlocale(LC_MESSAGES, "C");
    err_set(&e, ERR_BUSY, "100%% of %s", "it");
    (void)setlocale(LC_MESSAGES, "C.UTF-8");
    assert_told(&e, "it 的 100%");
    (void)setlocale(LC_MESSAGES, "C");
    err_set_sys(&e, ENOENT, "cannot open '%s'", "/x");
    (void)setlocale(LC_MESSAGES, "C.UTF-8");
    assert_told(&e, "打不开“/x”: 没有那个文件");
}

static void
form_tell__shows_the_text_where_a_form_is_no_good(void **state)
{
    static const char *const bad[] = {
        "",
        "\x1e",
        "\x1f",
        "never heard of",
        "too few %s\x1f"
        "one",
        "cannot open '%s'",
        "no device is free\x1e%n%n\x1f"
        "a\x1f"
        "b",
        "no device is free\x1e%99999999999999999999$s\x1f"
        "a",
        "no device is free\x1e%0$s\x1e%$\x1f"
        "a",
        "no device is free\x1e%",
        "no device is "
        "free\x1e%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s\x1f\x1f\x1f\x1f\x1f\x1f\x1f"
        "\x1f\x1f\x1f\x1f\x1f\x1f\x1f\x1f\x1f\x1f\x1f",
    };
    struct err e;

    use_words(state);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err_told(&e, ERR_DENIED, "said in English", bad[i]);
        assert_int_equal(e.code, ERR_DENIED);
        assert_string_equal(e.msg, "said in English");
    }
    err_told(&e, ERR_DENIED, "no device is free", NULL);
    assert_string_equal(e.msg, "没有空闲的设备");
}

static void
form_tell__never_overflows_and_cuts_whole_characters(void **state)
{
    char form[4 * FORM_MAX];
    struct err e;

    use_words(state);
    memset(form, 0x1e, sizeof form);
    for (size_t n = 0; n < sizeof form; n++) {
        form[n] = '\0';
        err_told(&e, ERR_BUSY, "English", form);
        assert_string_equal(e.msg, "English");
        form[n] = 0x1e;
    }
    for (size_t n = 1; n < 40;
         n++) { /* each text grows in the telling, as Chinese does not */
        struct buf b = BUF_INIT;

        for (size_t i = 0; i < n; i++) {
            buf_printf(&b, "%s%s", i > 0 ? "\x1e" : "", "no device is free");
        }
        err_told(&e, ERR_BUSY, "English", buf_str(&b));
        assert_int_equal(strncmp(e.msg, "没有空闲的设备", strlen("没有空闲的设备")), 0);
        assert_true(strlen(e.msg) < sizeof e.msg);
        assert_true(strlen(e.msg) == n * strlen("没有空闲的设备") + 2 * (n - 1) ||
                    strlen(e.msg) > sizeof e.msg - 5);
        buf_free(&b);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(form_make__keeps_formats_and_arguments_apart),
        cmocka_unit_test(form_make__gives_up_on_what_it_cannot_carry),
        unit_test_in_dir(form_tell__says_it_by_the_catalogue),
        unit_test_in_dir(form_tell__shows_the_text_where_a_form_is_no_good),
        unit_test_in_dir(form_tell__never_overflows_and_cuts_whole_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
