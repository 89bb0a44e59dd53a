#include <stdbool.h>

#include "base/opt.h"
#include "tests/unit/unit.h"

struct got {
    bool detach;
    bool tty;
    const char *gpu;
    const char *host;
    struct opt_list env;
};

static const struct opt table[] = {
    {"detach", 'd', OPT_FLAG, offsetof(struct got, detach), NULL, "do not wait"},
    {"tty", 't', OPT_FLAG, offsetof(struct got, tty), NULL, "a terminal"},
    {"gpu", 0, OPT_STR, offsetof(struct got, gpu), "TYPE[:N]", "which card"},
    {"host", 'H', OPT_STR, offsetof(struct got, host), "NAME", "where"},
    {"env", 'e', OPT_LIST, offsetof(struct got, env), "K=V", "a variable"},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

/* Parses the words and shows all that came of it as one line. */
static char *
parse(bool stop_at_first, const char *const *words)
{
    struct got g = {0};
    struct buf b = BUF_INIT;
    char *argv[16];
    bool dashes = false;
    int n = 0;
    int argc = 0;
    struct err e;

    for (; words[argc] != NULL; argc++) {
        argv[argc] = xstrdup(words[argc]);
    }
    char *const *const owned = xmemdup(argv, sizeof argv);
    if (opt_parse(table, &g, argc, argv, stop_at_first, &n, &dashes, &e) != 0) {
        assert_int_equal(e.code, ERR_INVALID);
        buf_printf(&b, "refused: %s", e.msg);
    } else {
        buf_printf(&b, "%s%sgpu=%s host=%s env=", g.detach ? "d " : "", g.tty ? "t " : "",
                   g.gpu != NULL ? g.gpu : "-", g.host != NULL ? g.host : "-");
        for (size_t i = 0; i < g.env.n; i++) {
            buf_printf(&b, "%s,", g.env.v[i]);
        }
        buf_add_str(&b, dashes ? " -- " : " | ");
        for (int i = 0; i < n; i++) {
            buf_printf(&b, "%s,", argv[i]);
        }
    }
    for (int i = 0; i < argc; i++) {
        free(owned[i]);
    }
    free((void *)owned);
    opt_free(table, &g);
    return buf_steal(&b);
}

static void
check(bool stop_at_first, const char *const *words, const char *want)
{
    char *got = parse(stop_at_first, words);

    assert_string_equal(got, want);
    free(got);
}

#define W(...) ((const char *const[]){__VA_ARGS__, NULL})

static void
options__are_taken_in_every_form(void **state)
{
    (void)state;
    check(false, (const char *const[]){NULL}, "gpu=- host=- env= | ");
    check(false, W("--gpu", "4090", "a"), "gpu=4090 host=- env= | a,");
    check(false, W("--gpu=4090", "a"), "gpu=4090 host=- env= | a,");
    check(false, W("--gpu=", "a"), "gpu= host=- env= | a,");
    check(false, W("--gpu=a=b"), "gpu=a=b host=- env= | ");
    check(false, W("-H", "h", "-d"), "d gpu=- host=h env= | ");
    check(false, W("-Hh", "-dt"), "d t gpu=- host=h env= | ");
    check(false, W("-dtHh"), "d t gpu=- host=h env= | ");
    check(false, W("-dH", "h"), "d gpu=- host=h env= | ");
    check(false, W("--gpu", "1", "--gpu", "2"), "gpu=2 host=- env= | "); /* the last */
    check(false, W("-e", "A=1", "--env=B=2", "-eC=3"),
          "gpu=- host=- env=A=1,B=2,C=3, | ");
}

static void
values__may_look_like_options(void **state)
{
    (void)state;
    check(false, W("--gpu", "--host"), "gpu=--host host=- env= | ");
    check(false, W("--gpu", "--"), "gpu=-- host=- env= | ");
    check(false, W("-H", "-d"), "gpu=- host=-d env= | ");
}

static void
words__keep_their_order(void **state)
{
    (void)state;
    check(false, W("a", "-d", "b", "--gpu", "g", "c"), "d gpu=g host=- env= | a,b,c,");
    check(false, W("-", ""), "gpu=- host=- env= | -,,");
    check(true, W("-d", "train.py", "--gpu", "g"),
          "d gpu=- host=- env= | train.py,--gpu,g,");
    check(true, W("-d", "x", "--", "y"), "d gpu=- host=- env= | x,--,y,");
}

static void
dashes__end_the_options(void **state)
{
    (void)state;
    check(false, W("a", "--", "-d", "--", "b"), "gpu=- host=- env= -- a,-d,--,b,");
    check(true, W("-d", "--", "-t"), "d gpu=- host=- env= -- -t,");
    check(false, W("--"), "gpu=- host=- env= -- ");
}

static void
mistakes__are_told_with_what_was_meant(void **state)
{
    (void)state;
    check(false, W("--gpu"), "refused: option '--gpu' needs a value: TYPE[:N]");
    check(false, W("-H"), "refused: option '-H' needs a value: NAME");
    check(false, W("-dH"), "refused: option '-H' needs a value: NAME");
    check(false, W("--detach=1"), "refused: option '--detach' takes no value");
    check(false, W("--gup", "x"),
          "refused: unknown option '--gup'; did you mean '--gpu'?");
    check(false, W("--detached"),
          "refused: unknown option '--detached'; did you mean '--detach'?");
    check(false, W("--det"), "refused: unknown option '--det'; did you mean '--detach'?");
    check(false, W("-gpu"), "refused: unknown option '-gpu'; did you mean '--gpu'?");
    check(false, W("--hots=x"),
          "refused: unknown option '--hots=x'; did you mean '--host'?");
    check(false, W("--completely-else"),
          "refused: unknown option '--completely-else'; --help lists those there are");
    check(false, W("-z"), "refused: unknown option '-z'; --help lists those there are");
    check(false, W("--\x1b[1m"),
          "refused: unknown option '--\\x1b[1m'; --help lists those there are");
    check(false, W("--=x"),
          "refused: unknown option '--=x'; --help lists those there are");
}

static void
list__grows(void **state)
{
    struct opt_list l = {NULL, 0};
    char words[100][4];

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(words[i], sizeof words[i], "%u", i);
        opt_list_add(&l, words[i]);
    }
    assert_int_equal(l.n, 100);
    for (unsigned i = 0; i < 100; i++) {
        assert_ptr_equal(l.v[i], words[i]);
    }
    opt_list_free(&l);
    assert_null(l.v);
    assert_int_equal(l.n, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options__are_taken_in_every_form),
        cmocka_unit_test(values__may_look_like_options),
        cmocka_unit_test(words__keep_their_order),
        cmocka_unit_test(dashes__end_the_options),
        cmocka_unit_test(mistakes__are_told_with_what_was_meant),
        cmocka_unit_test(list__grows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
