#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "runner/cli/setupkey.h"
#include "runner/cli/setupwords.h"

/* ---- words ---- */

static char *
joined(const struct setup_words *w)
{
    struct buf b = BUF_INIT;

    for (size_t i = 0; i < w->n; i++) {
        buf_printf(&b, "%s%s]", w->v[i].first ? "!" : "", w->v[i].text);
    }
    return buf_steal(&b);
}

static void
words__are_those_of_a_shell_and_of_lists(void **state)
{
    static const struct {
        const char *text;
        size_t len; /* 0: up to the NUL */
        const char *words;
    } cases[] = {
        {"", 0, ""},
        {"pip install -r 'my list.txt'", 0, "!pip]install]-r]my list.txt]"},
        {"a\\ b \"c \\\" \\d\" ''", 0, "!a b]c \" \\d]]"},
        {"cd x&&sh y;z|(w)>v", 0, "!cd]x]!sh]y]!z]!w]!v]"},
        {"# all\n-r ü.txt # rest\n\\\nx", 0, "!-r]ü.txt]!x]"},
        {"torch==2.1 ; python_version < '3.8'\n", 0, "!torch==2.1]!python_version]!3.8]"},
        {"- pip:\n  - -r r.txt\n", 0, "!-]pip:]!-]-r]r.txt]"},
        {"never closed 'a b", 0, "!never]closed]a b]"},
        {"\"", 0, "!]"},
        {"\\", 0, "!\\]"},
        {"a\0b\xff\xfe", 5, "!a]!b\xff\xfe]"},
        {"'a\0b'", 5, "!ab]"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = cases[i].len == 0 ? strlen(cases[i].text) : cases[i].len;
        struct setup_words w = {NULL, 0};
        char *exact = malloc(len + 1); /* as long as it is: sanitizers see beyond */
        char *got;

        assert_non_null(exact);
        memcpy(exact, cases[i].text, len);
        setupwords_split(&w, exact, len);
        got = joined(&w);
        assert_string_equal(got, cases[i].words);
        setupwords_free(&w);
        setupwords_runs(&w, exact, len);
        setupwords_free(&w);
        free(got);
        free(exact);
    }
}

static void
runs__hold_every_letter_beyond_ascii(void **state)
{
    struct setup_words w = {NULL, 0};
    const char text[] = "'pip -r 数据/требования.txt' \0x";
    char *got;

    (void)state;
    setupwords_runs(&w, text, sizeof text - 1);
    got = joined(&w);
    assert_string_equal(got, "pip]-r]数据/требования.txt]x]");
    free(got);
    setupwords_free(&w);
}

/* ---- keys ---- */

static void
put(const char *path, const char *text)
{
    char *dir = xstrdup(path);
    char *slash = strrchr(dir, '/');
    struct err e;

    if (slash != NULL) {
        *slash = '\0';
        assert_ok(file_mkdirs(dir, 0755, &e));
    }
    assert_ok(file_replace(path, text, strlen(text), &e));
    free(dir);
}

static int
make(const char *command, const char *cwd, char key[SHA256_HEX_LEN + 1], struct err *e)
{
    struct strings with = {NULL, 0};
    struct setupkey_options o = {.root = ".", .with = &with};
    struct job_spec s;
    int rc;

    spec_init(&s);
    s.setup = xstrdup(command);
    s.cwd = xstrdup(cwd);
    rc = setupkey_make(&o, &s, key, e);
    spec_free(&s);
    return rc;
}

/* Whether the key of command, run in cwd, is another once path holds another text. */
static bool
depends_on(const char *command, const char *cwd, const char *path)
{
    char before[SHA256_HEX_LEN + 1];
    char again[SHA256_HEX_LEN + 1];
    char after[SHA256_HEX_LEN + 1];
    struct err e;

    put(path, "1\n");
    assert_ok(make(command, cwd, before, &e));
    assert_ok(make(command, cwd, again, &e));
    assert_string_equal(before, again);
    put(path, "2\n");
    assert_ok(make(command, cwd, after, &e));
    return strcmp(before, after) != 0;
}

static void
key__depends_on_what_the_command_names(void **state)
{
    static const struct {
        const char *command, *cwd, *path;
        bool depends;
    } cases[] = {
        {"sh setup.sh", "", "setup.sh", true},
        {"sh setup.sh", "", "other.sh", false},
        {"sh setup.sh", "sub", "setup.sh", false},
        {"sh setup.sh", "sub", "sub/setup.sh", true},
        {"sh ../setup.sh", "sub", "setup.sh", true},
        {"sh 'my set up.sh'", "", "my set up.sh", true},
        {"sh my\\ set\\ up.sh", "", "my set up.sh", true},
        {"sh 安装.sh", "", "安装.sh", true},
        {"pip install -r r/all.txt", "", "r/all.txt", true},
        {"pip install -rr/all.txt", "", "r/all.txt", true},
        {"pip install --requirement=r/all.txt", "", "r/all.txt", true},
        {"sh -c 'pip install -r r/all.txt'", "", "r/all.txt", true},
        {"(cd r && pip install -r all.txt)", "", "r/all.txt", true},
        {"conda env create --file=env.yml", "", "env.yml", true},
        {"uv sync # uv.lock", "", "uv.lock", true},
        /* named in what is named, from beside it or from where the command runs */
        {"pip install -r lists/a.txt", "", "lists/b.txt", true},
        {"pip install -r lists/a.txt", "", "c/deep.txt", true},
        {"pip install -r lists/a.txt", "", "lists/limits", true},
        {"pip install -r lists/a.txt", "", "lists/not named.txt", false},
        {"pip install -r lists/a.txt", "", "wheels/x.whl", true},
        {"conda env create -f conda.yml", "", "lists/b.txt", true},
        {"pip install -r nest/0", "", "nest/last", true},
        /* directories */
        {"pip install .", "", "pkg/deep/code.py", true},
        {"pip install '.[dev]'", "", "pkg/deep/code.py", true},
        {"pip install ./pkg", "", "pkg/deep/code.py", true},
        {"pip install ./pkg", "", "pkgs/code.py", false},
        {"pip install 'x @ file:./pkg'", "", "pkg/deep/code.py", true},
        {"pip install pkg", "", "pkg/deep/code.py", false},
        {". ./setup.sh", "", "pkg/deep/code.py", false},
        {"pip install .", "", "left/out.py", false},
        {"pip install ..", "sub", "pkg/deep/code.py", true},
    };
    int old_dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(old_dir != -1);
    assert_int_equal(chdir(*state), 0);
    put(".gitignore", "left\n");
    put("lists/a.txt", "torch\n-r b.txt # all\n-c limits\n-f ./wheels\n");
    put("lists/b.txt", "x\n");
    put("lists/limits", "--requirement ../c/deep.txt\n");
    put("conda.yml", "dependencies:\n  - pip:\n    - -r lists/b.txt\n");
    put("nest/0", "-r 1\n");
    put("nest/1", "-r 0\n-r 1\n-r last\n");
    put("sub/x", "");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (depends_on(cases[i].command, cases[i].cwd, cases[i].path) !=
            cases[i].depends) {
            fail_msg("'%s' in '%s' and '%s'", cases[i].command, cases[i].cwd,
                     cases[i].path);
        }
        if (strcmp(cases[i].path, "lists/b.txt") == 0) {
            put(cases[i].path, "-r ../c/deep.txt\n");
        }
        if (strcmp(cases[i].path, "lists/limits") == 0) {
            put(cases[i].path, "--requirement ../c/deep.txt\n");
        }
    }
    assert_int_equal(fchdir(old_dir), 0);
    (void)close(old_dir);
}

/* A link that later jobs cannot follow is not begun with. */
static void
key__is_refused_for_editable_installs_of_what_is_shipped(void **state)
{
    static const struct {
        const char *command;
        bool refused;
    } cases[] = {
        {"pip install -e .", true},
        {"pip install -e.", true},
        {"python3 -m pip install --editable=./pkg", true},
        {"uv pip install --editable '.[dev]'", true},
        {"pip install -r edit.txt", true},
        {"conda env create -f edit.yml", true},
        {"pip install -e git+https://x.example/y.git#egg=y", false},
        {"pip install -e \"$GPURUN_SETUP_DIR/src\"", false},
        {"set -e; pip install .", false},
        {"pip install . ; sed -e ./x", false},
    };
    int old_dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char key[SHA256_HEX_LEN + 1];
    struct err e;

    assert_true(old_dir != -1);
    assert_int_equal(chdir(*state), 0);
    put("edit.txt", "torch\n-e ./pkg\n");
    put("edit.yml", "dependencies:\n  - pip:\n    - -e .\n");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (cases[i].refused) {
            assert_refused(make(cases[i].command, "", key, &e), ERR_INVALID);
            assert_non_null(strstr(e.msg, "without -e"));
        } else {
            assert_ok(make(cases[i].command, "", key, &e));
        }
    }
    assert_int_equal(fchdir(old_dir), 0);
    (void)close(old_dir);
}

/* What is no file, loops or is huge neither hangs nor fails. */
static void
key__is_made_of_whatever_lies_there(void **state)
{
    int old_dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char before[SHA256_HEX_LEN + 1];
    char after[SHA256_HEX_LEN + 1];
    struct err e;
    char *long_word = malloc(100001);
    int fd;

    assert_true(old_dir != -1);
    assert_non_null(long_word);
    assert_int_equal(chdir(*state), 0);
    assert_int_equal(mkfifo("pipe.txt", 0600), 0);
    assert_int_equal(symlink("round.txt", "round.txt"), 0);
    assert_ok(
        make("cat pipe.txt round.txt ../../../etc/passwd /etc/passwd", "", before, &e));
    memset(long_word, '/', 100000);
    long_word[100000] = '\0';
    assert_ok(make(long_word, "", before, &e));
    memset(long_word, '\'', 100000);
    assert_ok(make(long_word, "", before, &e));
    /* 80 MiB, of which the last byte counts as well */
    fd = open("big", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, (off_t)80 << 20), 0);
    assert_ok(make("sh big", "", before, &e));
    assert_int_equal(pwrite(fd, "x", 1, ((off_t)80 << 20) - 1), 1);
    assert_ok(make("sh big", "", after, &e));
    assert_string_not_equal(before, after);
    /* bytes that are no text, in a list */
    assert_int_equal(pwrite(fd, "-r \0\xff'\"\\", 8, 0), 8);
    assert_int_equal(ftruncate(fd, 8), 0);
    assert_ok(make("pip install -r big", "", before, &e));
    (void)close(fd);
    assert_int_equal(fchdir(old_dir), 0);
    (void)close(old_dir);
    free(long_word);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words__are_those_of_a_shell_and_of_lists),
        cmocka_unit_test(runs__hold_every_letter_beyond_ascii),
        unit_test_in_dir(key__depends_on_what_the_command_names),
        unit_test_in_dir(key__is_refused_for_editable_installs_of_what_is_shipped),
        unit_test_in_dir(key__is_made_of_whatever_lies_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
