#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "runner/client/git_config.h"

static void
no_include(void *ctx, const char *path, char **value)
{
    (void)ctx;
    (void)path;
    (void)value;
    fail_msg("an include of '%s'", path);
}

/* What the text says; the caller's. */
static char *
said(const char *text)
{
    char *value = NULL;

    git_config_excludes(text, &value, no_include, NULL);
    return value;
}

static void
the_last_value_of_the_key_counts(void **state)
{
    static const struct {
        const char *text;
        const char *value; /* NULL: nothing is said */
    } cases[] = {
        {"", NULL},
        {"[core]\n\texcludesFile = ~/a\n", "~/a"},
        {"[CORE]\nEXCLUDESFILE=x", "x"},
        {"[core] excludesfile = one line", "one line"},
        {"[core]\nexcludesfile = a\n[user]\nname = b\n[core]\nexcludesfile = c\n", "c"},
        {"[core]\nexcludesfile = a # told\n", "a"},
        {"[core]\nexcludesfile = a ; told\n", "a"},
        {"[core]\nexcludesfile = \"a # b \"  \n", "a # b "},
        {"[core]\nexcludesfile = a\\\\b\\\"c\n", "a\\b\"c"},
        {"[core]\nexcludesfile = a\\\nb\n", "ab"},
        {"[core]\r\nexcludesfile = a\r\n", "a"},
        {"[core]\nexcludesfile =\n", ""},
        {"[core]\nexcludesfile\n", NULL},
        {"[core \"x\"]\nexcludesfile = a\n", NULL},
        {"[core \"x]\\\"\"]\nexcludesfile = a\n[core]\n", NULL},
        {"[user]\nexcludesfile = a\n", NULL},
        {"excludesfile = a\n", NULL},
        {"[core]\n# excludesfile = a\n; excludesfile = a\n", NULL},
        {"[core]\nexcludesfiles = a\n", NULL},
        {"[core\nexcludesfile = a", "a"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *value = said(cases[i].text);

        if (cases[i].value == NULL) {
            assert_null(value);
        } else {
            assert_non_null(value);
            assert_string_equal(value, cases[i].value);
        }
        free(value);
    }
}

static void
put(const char *dir, const char *name, const char *text)
{
    char *path = path_join(dir, name);
    char *parent = path_parent(path);
    struct err e;

    assert_int_equal(file_mkdirs(parent, 0700, &e), 0);
    assert_int_equal(file_replace(path, text, strlen(text), &e), 0);
    free(parent);
    free(path);
}

static void
rules_are(const char *want)
{
    struct buf b = BUF_INIT;

    git_user_excludes(&b);
    assert_string_equal(buf_str(&b), want);
    buf_free(&b);
}

static void
files_are_found_where_git_finds_them(void **state)
{
    char *dir = xstrdup("/tmp/unit.XXXXXX");
    struct err e;

    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(setenv("HOME", dir, 1), 0);
    assert_int_equal(setenv("GIT_CONFIG_NOSYSTEM", "1", 1), 0);
    (void)unsetenv("XDG_CONFIG_HOME");
    (void)unsetenv("GIT_CONFIG_GLOBAL");
    rules_are("");
    put(dir, ".config/git/ignore", "from the default");
    rules_are("from the default");
    put(dir, ".config/git/config", "[core]\nexcludesfile = ~/first\n");
    rules_are("");
    put(dir, "first", "from the first");
    rules_are("from the first");
    put(dir, ".gitconfig", "[include]\n path = more/conf\n");
    put(dir, "more/conf",
        "[core]\nexcludesfile = ~/more/second\n[include]\npath = conf\n");
    put(dir, "more/second", "from what is included");
    rules_are("from what is included");
    put(dir, "global", "[core]\nexcludesfile = ~/first\n");
    {
        char *global = path_join(dir, "global");
        char *xdg = path_join(dir, ".config");

        assert_int_equal(setenv("GIT_CONFIG_GLOBAL", global, 1), 0);
        rules_are("from the first");
        assert_int_equal(setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1), 0);
        assert_int_equal(setenv("XDG_CONFIG_HOME", xdg, 1), 0);
        rules_are("from the default");
        free(xdg);
        free(global);
    }
    assert_int_equal(file_remove_tree(dir, &e), 0);
    free(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_value_of_the_key_counts),
        cmocka_unit_test(files_are_found_where_git_finds_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
