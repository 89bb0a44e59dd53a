#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <unistd.h>

#include "runner/cli/out.h"
#include "tests/unit/unit.h"

/* ---- what is said ---- */

struct said {
    int saved_fd;
    int file_fd;
};

static struct said
listen(void)
{
    char path[] = "/tmp/test_out.XXXXXX";
    struct said s = {dup(STDERR_FILENO), mkstemp(path)};

    assert_true(s.saved_fd != -1 && s.file_fd != -1);
    (void)unlink(path);
    assert_true(dup2(s.file_fd, STDERR_FILENO) != -1);
    return s;
}

static void
assert_heard(struct said *s, const char *want)
{
    char text[400];
    ssize_t n;

    assert_true(dup2(s->saved_fd, STDERR_FILENO) != -1);
    n = pread(s->file_fd, text, sizeof text - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    (void)close(s->saved_fd);
    (void)close(s->file_fd);
    assert_string_equal(text, want);
}

static void
say__is_one_escaped_line_behind_the_name(void **state)
{
    const struct cli c = {.g = {.quiet = false}};
    struct said s = listen();

    (void)state;
    say(&c, "host '%s'\n%d", "\033[31mred\x7f", 3);
    assert_heard(&s, "gpurun: host '\\x1b[31mred\\x7f'\\n3\n");
}

static void
say__keeps_quiet_when_asked_and_tells_more_when_asked(void **state)
{
    const struct cli quiet = {.g = {.quiet = true}};
    const struct cli plain = {.g = {.quiet = false}};
    const struct cli verbose = {.g = {.verbose = true}};
    struct err e;
    struct said s = listen();

    (void)state;
    say(&quiet, "a");
    say_more(&plain, "b");
    say_more(&verbose, "c");
    err_set(&e, ERR_DENIED, "no '%s'", "x");
    say_error(&quiet, &e, 101); /* errors are said even with -q */
    assert_heard(&s, "gpurun: c\ngpurun: no 'x'\n");
}

static void
say_error__is_one_json_object_with_json(void **state)
{
    const struct cli c = {.g = {.json = true}};
    struct err e;
    struct said s = listen();

    (void)state;
    err_set(&e, ERR_NOT_FOUND, "no \"host\"\n");
    say_error(&c, &e, 100);
    assert_heard(&s, "{\"error\":{\"code\":\"not_found\",\"exit\":100,"
                     "\"message\":\"no \\\"host\\\"\\n\"}}\n");
}

static void
stdout_closed__is_only_a_broken_pipe(void **state)
{
    struct buf b = BUF_INIT;
    int saved = dup(STDOUT_FILENO);
    int p[2];
    struct err e = {0};
    int rc;

    (void)state;
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(p), 0);
    (void)close(p[0]);
    buf_add_str(&b, "x");
    (void)fflush(stdout);
    assert_true(dup2(p[1], STDOUT_FILENO) != -1);
    rc = out_write(&b, &e);
    assert_true(dup2(saved, STDOUT_FILENO) != -1);
    assert_int_equal(rc, -1);
    assert_true(out_stdout_closed(&e));
    err_set(&e, ERR_SYSTEM, "something else");
    assert_false(out_stdout_closed(&e));
    (void)close(p[1]);
    (void)close(saved);
    buf_free(&b);
}

/* ---- money and time ---- */

static void
money__has_its_sign_only_where_it_can_be_written(void **state)
{
    char m[OUT_MONEY_MAX];

    (void)state;
    assert_non_null(setlocale(LC_ALL, "C"));
    assert_string_equal(out_fen(188, m), "CNY 1.88");
    assert_string_equal(out_fen(-5, m), "-CNY 0.05");
    assert_string_equal(out_price(1880000, "h", m), "CNY 1.88/h");
    assert_non_null(setlocale(LC_ALL, "C.UTF-8"));
    assert_string_equal(out_fen(0, m), "¥0.00");
    assert_string_equal(out_fen(-123456, m), "-¥1234.56");
    assert_string_equal(out_price(1234567, "GB-day", m), "¥1.234567/GB-day");
    (void)out_fen(INT64_MIN, m); /* what no bill can be, and yet may not overrun */
    (void)setlocale(LC_ALL, "C");
}

static void
when__has_the_unit_that_fits(void **state)
{
    static const struct {
        int64_t s;
        const char *want;
    } cases[] = {
        {0, "in 0 s"},          {119, "in 119 s"},
        {120, "in 2 min"},      {7199, "in 119 min"},
        {7200, "in 2 h 0 min"}, {172799, "in 47 h 59 min"},
        {172800, "in 2 d 0 h"}, {15 * 86400 + 3700, "in 15 d 1 h"},
        {-1, "1 s ago"},        {-7260, "2 h 1 min ago"},
    };
    char text[OUT_TIME_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(
            out_when(1000000000 + cases[i].s * 1000000000, 1000000000, text),
            cases[i].want);
    }
}

/* ---- tables and prose ---- */

static void
table__fits_a_narrow_terminal(void **state)
{
    static const char *const headers[] = {"NAME", "HOST", ">COST", "COMMAND", NULL};
    static const struct {
        int columns;
        const char *drop, *cut;
        const char *want;
    } cases[] = {
        {47, "31", "3",
         "NAME            HOST      COST  COMMAND\n"
         "训练-night-run  lab   12345.67  python3 训练.py\n"},
        /* The command first, by what the eye sees: a wide character does not fit halves.
         */
        {45, "31", "3",
         "NAME            HOST      COST  COMMAND\n"
         "训练-night-run  lab   12345.67  python3 训练…\n"},
        {44, "31", "3",
         "NAME            HOST      COST  COMMAND\n"
         "训练-night-run  lab   12345.67  python3 训…\n"},
        {40, "31", "3",
         "NAME            HOST      COST  COMMAND\n"
         "训练-night-run  lab   12345.67  python3…\n"},
        {39, "31", "3",
         "NAME            HOST      COST\n"
         "训练-night-run  lab   12345.67\n"},
        {29, "31", "30",
         "NAME           HOST      COST\n"
         "训练-night-r…  lab   12345.67\n"},
        {20, "31", "30",
         "NAME            COST\n"
         "训练-nigh…  12345.67\n"},
        /* Numbers stay whole, whatever that costs. */
        {5, "310", "30", "    COST\n12345.67\n"},
        {34, NULL, NULL,
         "NAME      HOST      COST  COMMAND\n"
         "训练-ni…  lab   12345.67  python3…\n"},
    };

    (void)state;
    assert_non_null(setlocale(LC_ALL, "C.UTF-8"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct table *t = table_new(headers);
        struct buf b = BUF_INIT;

        table_narrow(t, cases[i].drop, cases[i].cut);
        table_cell(t, "训练-night-run");
        table_cell(t, "lab");
        table_cell(t, "12345.67");
        table_cell(t, "python3 训练.py");
        table_print_within(t, cases[i].columns, &b);
        assert_string_equal(buf_str(&b), cases[i].want);
        table_free(t);
        buf_free(&b);
    }
    (void)setlocale(LC_ALL, "C");
}

static void
table__aligns_by_what_the_eye_sees(void **state)
{
    static const char *const headers[] = {"NAME", ">COST", "WHERE", NULL};
    struct table *t = table_new(headers);
    struct buf b = BUF_INIT;

    (void)state;
    assert_int_equal(table_rows(t), 0);
    table_cell(t, "训练");
    table_cellf(t, "%d.%02d", 1, 88);
    table_cell(t, "a\tb"); /* a peer's control character moves nothing */
    table_cell(t, NULL);
    table_cell(t, "12345.00");
    table_cell(t, ""); /* as nothing */
    assert_int_equal(table_rows(t), 2);
    table_print(t, &b);
    assert_string_equal(buf_str(&b), "NAME      COST  WHERE\n"
                                     "训练      1.88  a\\x09b\n"
                                     "-     12345.00  -\n");
    table_free(t);
    table_free(NULL);
    buf_free(&b);
}

static void
fold__breaks_at_blanks_only(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    out_fold(&b, "one two three fourfourfour\nfive", 10, 2);
    assert_string_equal(buf_str(&b), "one two\n  three\n  fourfourfour\n  five");
    buf_reset(&b);
    out_fold(&b, "a\n\nb", 10, 2);
    assert_string_equal(buf_str(&b), "a\n\n  b");
    buf_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(say__is_one_escaped_line_behind_the_name),
        cmocka_unit_test(say__keeps_quiet_when_asked_and_tells_more_when_asked),
        cmocka_unit_test(say_error__is_one_json_object_with_json),
        cmocka_unit_test(stdout_closed__is_only_a_broken_pipe),
        cmocka_unit_test(money__has_its_sign_only_where_it_can_be_written),
        cmocka_unit_test(when__has_the_unit_that_fits),
        cmocka_unit_test(table__fits_a_narrow_terminal),
        cmocka_unit_test(table__aligns_by_what_the_eye_sees),
        cmocka_unit_test(fold__breaks_at_blanks_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
