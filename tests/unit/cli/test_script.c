#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/cli/request.h"
#include "runner/cli/script.h"

static void
script_way__leads_from_one_place_to_another(void **state)
{
    static const char *const ways[][3] = {
        {"", "a.py", "a.py"},
        {"", "d/a.py", "d/a.py"},
        {"d", "d/a.py", "a.py"},
        {"d", "a.py", "../a.py"},
        {"d/e", "d/f/a.py", "../f/a.py"},
        {"d/e", "x", "../../x"},
        {"ab", "abc/x", "../abc/x"},
        {"", "", "."},
        {"d", "d", "."},
    };

    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        char *got = script_way(ways[i][0], ways[i][1]);

        assert_string_equal(got, ways[i][2]);
        free(got);
    }
}

static void
script_beneath__does_not_mistake_a_longer_name(void **state)
{
    (void)state;
    assert_string_equal(script_beneath("/a", "/a/b/c"), "b/c");
    assert_string_equal(script_beneath("/a", "/a"), "");
    assert_null(script_beneath("/a", "/ab"));
    assert_null(script_beneath("/a/b", "/a"));
    assert_string_equal(script_beneath("/", "/a/b"), "a/b");
}

/* A little tree: /p/.git, /p/a.py, /p/s/x.sh, /p/s/prog (executable), … */
static void
put(const char *path, const char *text, mode_t mode)
{
    struct err e = {0};

    assert_int_equal(file_replace(path, text, strlen(text), &e), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static int
make_tree(void **state)
{
    char *dir = xstrdup("/tmp/test_script.XXXXXX");
    struct err e = {0};

    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(file_mkdirs("p/.git", 0755, &e), 0);
    assert_int_equal(file_mkdirs("p/s", 0755, &e), 0);
    assert_int_equal(file_mkdirs("q", 0755, &e), 0);
    put("p/a.py", "print(1)\n", 0644);
    put("p/s/b.py", "#!/usr/bin/env python3\nprint(1)\n", 0644);
    put("p/s/c.py", "#!/usr/bin/python3 -u\n", 0755);
    put("p/s/x.sh", "echo\n", 0644);
    put("p/s/prog", "#!/bin/sh\n", 0755);
    put("p/s/bin",
        "\x7f"
        "ELF",
        0755);
    put("p/s/data.txt", "x", 0644);
    put("q/z.py", "", 0644);
    *state = dir;
    return 0;
}

static int
remove_tree(void **state)
{
    struct err e = {0};
    int rc;

    assert_int_equal(chdir("/"), 0);
    rc = file_remove_tree(*state, &e);
    free(*state);
    return rc;
}

struct run_case {
    const char *from; /* current directory */
    const char *script;
    const char *dir;
    const char
        *want; /* "root|cwd|kind|args|stem", root without the temporary part; "! …" */
};

static const struct run_case cases[] = {
    {"p", "a.py", NULL, "/p||2|a.py|a"},
    {"p/s", "../a.py", NULL, "/p|s|2|../a.py|a"},
    {"p/s", "b.py", NULL, "/p|s|1|/usr/bin/env python3 ./b.py|b"},
    {"p", "s/c.py", NULL, "/p||1|s/c.py|c"},
    {"p/s", "./x.sh", NULL, "/p|s|3|x.sh|x"},
    {"p/s", "prog", NULL, "/p|s|1|./prog|prog"},
    {"p/s", "bin", NULL, "/p|s|1|./bin|bin"},
    {"q", "z.py", NULL, "/q||2|z.py|z"},
    {"q", "../p/s/x.sh", NULL, "/p||3|s/x.sh|x"},
    {".", "q/z.py", NULL, "/q||2|z.py|z"},
    {"p/s", "x.sh", ".", "/p/s||3|x.sh|x"},
    {"q", "../p/a.py", "..", "|q|2|../p/a.py|a"},
    {"p", "nosuch.py", NULL, "! no script 'nosuch.py'"},
    {"p", "nodir/x.py", NULL, "! no script 'nodir/x.py'"},
    {"p", "s", NULL, "! is a folder"},
    {"p/s", "data.txt", NULL, "! neither executable"},
    {"p", "a.py", "s", "! lies outside"},
    {"p", "a.py", "nodir", "! no directory 'nodir'"},
};

static void
script_resolve__finds_root_start_and_interpreter(void **state)
{
    const char *top = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct run_case *c = &cases[i];
        struct script_options o = {.script = c->script, .dir = c->dir};
        struct script s;
        struct err e = {0};
        char *line;
        char *got;

        assert_int_equal(chdir(top), 0);
        assert_int_equal(chdir(c->from), 0);
        if (script_resolve(&s, &o, &e) != 0) {
            if (c->want[0] != '!' || strstr(e.msg, c->want + 2) == NULL) {
                fail_msg("%s in %s: %s", c->script, c->from, e.msg);
            }
            continue;
        }
        line = request_command_line(&s.args);
        got = xasprintf("%s|%s|%d|%s|%s", s.root + strlen(top), s.cwd, (int)s.kind, line,
                        s.stem);
        if (strcmp(got, c->want) != 0) {
            fail_msg("%s in %s: %s, not %s", c->script, c->from, got, c->want);
        }
        free(got);
        free(line);
        script_free(&s);
    }
}

static void
request_command_line__could_be_typed(void **state)
{
    struct strings args = {NULL, 0};
    char *line;

    (void)state;
    strings_add(&args, "a");
    strings_add(&args, "");
    strings_add(&args, "b c");
    strings_add(&args, "it's");
    line = request_command_line(&args);
    assert_string_equal(line, "a '' 'b c' 'it'\\''s'");
    free(line);
    strings_free(&args);
}

static void
request_parse_port__knows_its_range(void **state)
{
    static const char *const bad[] = {
        "",  "0",      "65536",    "80:", ":80", "80:0",
        "a", "80:1:2", "80:99999", "-1",  "8 0", "123456789"};
    struct port_want p = {7, 7};
    struct err e = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(request_parse_port(bad[i], &p, &e), -1);
        assert_int_equal(p.remote, 7);
    }
    assert_int_equal(request_parse_port("8888", &p, &e), 0);
    assert_int_equal(p.remote, 8888);
    assert_int_equal(p.local, 0);
    assert_int_equal(request_parse_port("1:65535", &p, &e), 0);
    assert_int_equal(p.local, 65535);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(script_way__leads_from_one_place_to_another),
        cmocka_unit_test(script_beneath__does_not_mistake_a_longer_name),
        cmocka_unit_test_setup_teardown(script_resolve__finds_root_start_and_interpreter,
                                        make_tree, remove_tree),
        cmocka_unit_test(request_command_line__could_be_typed),
        cmocka_unit_test(request_parse_port__knows_its_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
