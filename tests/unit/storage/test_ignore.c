#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "storage/ignore.h"
#include "tests/unit/storage/guard.h"

/* ---- cases by hand ---- */

struct wild_case {
    const char *pattern;
    const char *text;
    bool pathname;
    bool matches;
};

static void
wildmatch__follows_git(void **state)
{
    static const struct wild_case cases[] = {
        {"foo", "foo", true, true},
        {"*", "foo", true, true},
        {"*", "a/b", true, false},
        {"*", "a/b", false, true},
        {"**", "a/b", true, true},
        {"a/**/b", "a/b", true, true},
        {"a/**/b", "a/x/y/b", true, true},
        {"a**/b", "a/x/b", true, false},
        {"**/foo", "foo", true, true},
        {"**/foo", "a/b/foo", true, true},
        {"**/foo", "a/bfoo", true, false},
        {"foo/**", "foo/a/b", true, true},
        {"foo/**", "foo", true, false},
        {"[a-c]x", "bx", true, true},
        {"[!a-c]x", "bx", true, false},
        {"[^a-c]x", "dx", true, true},
        {"[]]", "]", true, true},
        {"[]-]", "-", true, true},
        {"[[:digit:]]", "7", true, true},
        {"[[:nonsense:]]", "7", true, false},
        {"[[:digit:]", "7", true, false},
        {"[a", "a", true, false},
        {"a?b", "a/b", true, false},
        {"a[/]b", "a/b", true, false},
        {"\\*", "*", true, true},
        {"\\*", "x", true, false},
        {"a\\", "a", true, false},
        {"a\\", "a\\", true, false},
        {"", "", true, true},
        {"", "a", true, false},
        {"*.py[co]", "x.pyc", true, true},
        {"a/**b/c", "a/x/yb/c", true, false},
        {"a/**\\/c", "a/x/y/c", true, true},
        {"a/**\\/c", "a/c", true, false},
        {"a/**\\", "a/x", true, false},
        {"[a-c]", "`", true, false},
        {"[a-c]", "a", true, true},
        {"[a-c]", "c", true, true},
        {"[a-c]", "d", true, false},
        {"[-c]", "-", true, true},
        {"[a\\-c]", "b", true, false},
        {"[\\]-c]", "a", true, true},
        {"[[:alpha:]-z]", "-", true, true},
        {"[[:alnum:]]", "z", true, true},
        {"[[:alnum:]]", "_", true, false},
        {"[[:alpha:]]", "A", true, true},
        {"[[:alpha:]]", "Z", true, true},
        {"[[:alpha:]]", "[", true, false},
        {"[[:alpha:]]", "@", true, false},
        {"[[:alpha:]]", "{", true, false},
        {"[[:blank:]]", "\t", true, true},
        {"[[:blank:]]", "\n", true, false},
        {"[[:cntrl:]]", "\x1f", true, true},
        {"[[:cntrl:]]", " ", true, false},
        {"[[:cntrl:]]", "\x7f", true, true},
        {"[[:digit:]]", "0", true, true},
        {"[[:digit:]]", "9", true, true},
        {"[[:digit:]]", ":", true, false},
        {"[[:digit:]]", "/", true, false},
        {"[[:graph:]]", "!", true, true},
        {"[[:graph:]]", " ", true, false},
        {"[[:graph:]]", "~", true, true},
        {"[[:graph:]]", "\x7f", true, false},
        {"[[:lower:]]", "a", true, true},
        {"[[:lower:]]", "z", true, true},
        {"[[:lower:]]", "A", true, false},
        {"[[:print:]]", " ", true, true},
        {"[[:print:]]", "\x1f", true, false},
        {"[[:print:]]", "\x7f", true, false},
        {"[[:punct:]]", "!", true, true},
        {"[[:punct:]]", "a", true, false},
        {"[[:space:]]", "\r", true, true},
        {"[[:space:]]", "\v", true, false},
        {"[[:upper:]]", "Z", true, true},
        {"[[:upper:]]", "a", true, false},
        {"[[:xdigit:]]", "f", true, true},
        {"[[:xdigit:]]", "g", true, false},
        {"[[:xdigit:]]", "F", true, true},
        {"[[:xdigit:]]", "G", true, false},
        {"[[:xdigit:]]", "a", true, true},
        {"[[:xdigit:]]", "A", true, true},
        {"[[:]", "[", true, true}, /* no class: a '[' and what follows */
        {"[[:]", ":", true, true},
        {"[[:]", "a", true, false},
        {"[[:ab]", "[", true, true},
        {"[[:ab]", "b", true, true},
        {"[[:ab]", "c", true, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct wild_case *c = &cases[i];
        bool got = ignore_wildmatch(c->pattern, strlen(c->pattern), c->text,
                                    strlen(c->text), c->pathname);

        if (got != c->matches) {
            fail_msg("'%s' against '%s': %d", c->pattern, c->text, got);
        }
    }
}

static void
wildmatch__many_stars_end_in_time(void **state)
{
    char text[2001];
    char pattern[201];

    (void)state;
    memset(text, 'a', 2000);
    text[2000] = 0;
    for (size_t i = 0; i < 200; i += 2) {
        memcpy(pattern + i, "*a", 2);
    }
    pattern[199] = 'b';
    assert_false(ignore_wildmatch(pattern, 200, text, 2000, true));
    pattern[199] = 'a';
    assert_true(ignore_wildmatch(pattern, 200, text, 2000, true));
}

/* '*' is any text without '/', '?' one such character: by looking at every pair of
 * places. */
static bool
matches_plainly(const char *pattern, size_t n, const char *text, size_t len)
{
    bool rest[32][32] = {{false}}; /* [i][j]: does pattern + i match text + j? */

    rest[n][len] = true;
    for (size_t i = n; i-- > 0;) {
        for (size_t j = len + 1; j-- > 0;) {
            char c = j < len ? text[j] : '\0';
            bool one = j < len && (pattern[i] == '?' ? c != '/' : c == pattern[i]);

            rest[i][j] = pattern[i] == '*'
                             ? rest[i + 1][j] || (j < len && c != '/' && rest[i][j + 1])
                             : one && rest[i + 1][j + 1];
        }
    }
    return rest[0][0];
}

static void
wildmatch__agrees_with_a_plain_search(void **state)
{
    static const char in_pattern[] = {'a', 'b', '/', '?', '*', '*'};
    unsigned seed = 5;
    size_t n_matched = 0;

    (void)state;
    for (int round = 0; round < 200000; round++) {
        char pattern[24];
        char text[24];
        size_t n = 0;
        size_t len = (seed = seed * 1103515245 + 12345) >> 16 & 15;

        for (size_t i = 0; i < len; i++) {
            text[i] = "aaab/"[((seed = seed * 1103515245 + 12345) >> 16) % 5];
        }
        for (size_t i = 0; i < 14; i++) {
            char c = in_pattern[((seed = seed * 1103515245 + 12345) >> 16) % 6];

            if (c != '*' || n == 0 ||
                pattern[n - 1] != '*') { /* "**" is something else */
                pattern[n++] = c;
            }
        }
        n = n * ((seed = seed * 1103515245 + 12345) >> 16 & 7) / 7;
        n_matched += matches_plainly(pattern, n, text, len) ? 1 : 0;
        if (ignore_wildmatch(pattern, n, text, len, true) !=
            matches_plainly(pattern, n, text, len)) {
            fail_msg("'%.*s' against '%.*s'", (int)n, pattern, (int)len, text);
        }
    }
    assert_true(n_matched > 1000);
}

struct rule_case {
    const char *rules;
    const char *path;
    bool is_dir;
    enum ignore_why why;
};

static void
rules__read_as_gitignore_says(void **state)
{
    static const struct rule_case cases[] = {
        {"*.o\n!keep.o\n", "keep.o", false, IGNORE_NOT},
        {"*.o\n!keep.o\n", "a/x.o", false, IGNORE_GIT},
        {"/top\n", "a/top", false, IGNORE_NOT},
        {"/top\n", "top", false, IGNORE_GIT},
        {"a/b\n", "x/a/b", false, IGNORE_NOT},
        {"dir/\n", "dir", false, IGNORE_NOT},
        {"dir/\n", "dir", true, IGNORE_GIT},
        {"# note\n\\#name\n", "#name", false, IGNORE_GIT},
        {"\\!x\n", "!x", false, IGNORE_GIT},
        {"x   \n", "x", false, IGNORE_GIT},
        {"x\\ \n", "x ", false, IGNORE_GIT},
        {"x\r\n", "x", false, IGNORE_GIT},
        {"\xef\xbb\xbfx\n", "x", false, IGNORE_GIT},
        {"x", "x", false, IGNORE_GIT},
        {"/\n//\n!\n", "x", true, IGNORE_NOT},
        {"foo**/bar\n", "foox/y/bar", false, IGNORE_GIT},
        {"x\\\n", "x\n", false, IGNORE_NOT},
        {"x\\\n", "x", false, IGNORE_NOT},
        {"abc\n", "abd", false, IGNORE_NOT},
        {"*.abc\n", "x.abd", false, IGNORE_NOT},
        {"*abc\n", "abc", false, IGNORE_GIT},
        {"*abc\n", "bc", false, IGNORE_NOT},
        {"/abc\n", "abd", false, IGNORE_NOT},
        {"/abc*\n", "abc", false, IGNORE_GIT},
        {"/abc*\n", "ab", false, IGNORE_NOT},
        {"a/b\n", "a/b", false, IGNORE_GIT},
        {"a/b\n", "a/c", false, IGNORE_NOT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct rule_case *c = &cases[i];
        struct ignore_dir *d =
            ignore_dir_new(NULL, "", c->rules, strlen(c->rules), NULL, 0);
        enum ignore_why why = ignore_match(d, c->path, strlen(c->path), c->is_dir);

        if (why != c->why) {
            fail_msg("'%s' on '%s': %s", c->rules, c->path, ignore_why_name(why));
        }
        ignore_dir_free(d);
    }
}

/* A directory's rules are for what is below it, not beside it. */
static void
rules__hold_below_their_directory(void **state)
{
    struct ignore_dir *d = ignore_dir_new(NULL, "ab", "*.o\n", 4, "x\n", 2);

    (void)state;
    assert_int_equal(ignore_match(d, "ab/a.o", 6, false), IGNORE_GIT);
    assert_int_equal(ignore_match(d, "ab/x", 4, false), IGNORE_GPURUN);
    assert_int_equal(ignore_match(d, "cd/a.o", 6, false), IGNORE_NOT);
    assert_int_equal(ignore_match(d, "cd/x", 4, false), IGNORE_NOT);
    assert_int_equal(ignore_match(d, "abc/a.o", 7, false), IGNORE_NOT);
    ignore_dir_free(d);
}

/* Of a file of rules so much is read, and not a byte more. */
static void
rules__are_read_up_to_the_limit(void **state)
{
    char *text = xmalloc(IGNORE_FILE_MAX_BYTES + 1);
    struct ignore_dir *d;

    (void)state;
    memset(text, '\n', IGNORE_FILE_MAX_BYTES + 1);
    memcpy(text + IGNORE_FILE_MAX_BYTES - 2, "xyz", 3);
    d = ignore_dir_new(NULL, "", text, IGNORE_FILE_MAX_BYTES + 1, NULL, 0);
    assert_int_equal(ignore_match(d, "xy", 2, false), IGNORE_GIT);
    assert_int_equal(ignore_match(d, "xyz", 3, false), IGNORE_NOT);
    ignore_dir_free(d);
    d = ignore_dir_new(NULL, "", "\xef\xbb", 2, NULL, 0);
    assert_int_equal(ignore_match(d, "\xef\xbb", 2, false), IGNORE_GIT);
    ignore_dir_free(d);
    d = ignore_dir_new(NULL, "", "\xef\xbb\xbf", 3, NULL, 0);
    assert_int_equal(ignore_match(d, "\xef\xbb\xbf", 3, false), IGNORE_NOT);
    ignore_dir_free(d);
    free(text);
}

static void
gpurunignore__stands_above_every_gitignore(void **state)
{
    struct ignore_dir *top =
        ignore_dir_new(NULL, "", "*.bin\n", 6, "!model.bin\n*.csv\n", 17);
    struct ignore_dir *sub =
        ignore_dir_new(top, "sub", "model.bin\n!x.csv\n", 17, NULL, 0);

    (void)state;
    assert_int_equal(ignore_match(sub, "sub/model.bin", 13, false), IGNORE_NOT);
    assert_int_equal(ignore_match(sub, "sub/x.csv", 9, false), IGNORE_GPURUN);
    assert_int_equal(ignore_match(sub, "sub/y.bin", 9, false), IGNORE_GIT);
    assert_int_equal(ignore_match(NULL, "sub/y.bin", 9, false), IGNORE_NOT);
    assert_int_equal(ignore_match(sub, "sux/model.bin", 13, false), IGNORE_NOT);
    assert_int_equal(ignore_match(sub, "sux/x.csv", 9, false), IGNORE_GPURUN);
    assert_int_equal(ignore_match(sub, "sub", 3, true), IGNORE_NOT);
    ignore_dir_free(sub);
    ignore_dir_free(top);
}

static void
builtin__keeps_secrets_and_caches(void **state)
{
    static const struct {
        const char *name;
        bool is_dir;
        enum ignore_why why;
    } cases[] = {
        {".git", true, IGNORE_VCS},
        {".git", false, IGNORE_VCS}, /* of a submodule or worktree */
        {".gitignore", false, IGNORE_NOT},
        {"__pycache__", true, IGNORE_CACHE},
        {".ipynb_checkpoints", true, IGNORE_CACHE},
        {".env", false, IGNORE_SECRET},
        {".envrc", false, IGNORE_NOT},
        {".ssh", true, IGNORE_SECRET},
        {".aws", true, IGNORE_SECRET},
        {".netrc", false, IGNORE_SECRET},
        {"id_ed25519", false, IGNORE_SECRET},
        {"id_data", true, IGNORE_NOT},
        {"id_", false, IGNORE_SECRET},
        {"id", false, IGNORE_NOT},
        {"ie_x", false, IGNORE_NOT},
        {".pem", false, IGNORE_SECRET},
        {"pem", false, IGNORE_NOT},
        {"x.per", false, IGNORE_NOT},
        {".env", true, IGNORE_SECRET},
        {".enx", false, IGNORE_NOT},
        {"__pycache__", false, IGNORE_NOT},
        {"x.pem", false, IGNORE_SECRET},
        {"x.key", false, IGNORE_SECRET},
        {"key", false, IGNORE_NOT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum ignore_why why =
            ignore_builtin(cases[i].name, strlen(cases[i].name), cases[i].is_dir, false);

        if (why != cases[i].why) {
            fail_msg("%s: %s", cases[i].name, ignore_why_name(why));
        }
    }
    assert_int_equal(ignore_builtin(".git", 4, true, true), IGNORE_NOT);
    assert_string_equal(ignore_why_name(IGNORE_WHY_COUNT - 1), "secret");
    assert_string_equal(ignore_why_name(IGNORE_WHY_COUNT), "unknown");
}

/* ---- against git itself: random rules over random paths ---- */

static uint32_t rng_state = 0x12345678;

static uint32_t
rng(uint32_t below)
{
    rng_state = rng_state * 1664525u + 1013904223u;
    return (rng_state >> 8) % below;
}

static const char *const NAMES[] = {"a",   "b",    "ab",   "foo", "foobar", "bar",
                                    "x.o", "y.py", "]",    "a b", "[a]",    "-",
                                    "*",   "a\\b", "foo ", "A",   "#x",     "!x"};
#define N_NAMES (sizeof NAMES / sizeof NAMES[0])

static const char *const PIECES[] = {
    "a",       "b",           "ab",   "foo",         "bar",         "x.o",   "/",
    "/",       "/",           "*",    "*",           "**",          "**/",   "/**",
    "?",       "[ab]",        "[!a]", "[a-f]",       "[]]",         "\\",    "\\*",
    " ",       "!",           "#",    "***",         "[[:alpha:]]", "[^x",   "[\\]]",
    "[a-",     "*.o",         ".py",  "-",           "[]-a]",       "\\a",   "foo**/",
    "[[:x:]]", "[[:punct:]]", "\t",   "[[:space:]]", "[--0]",       "[+--]",
};
#define N_PIECES (sizeof PIECES / sizeof PIECES[0])

static void
add_random_rules(struct buf *out)
{
    uint32_t n = 1 + rng(5);

    for (uint32_t i = 0; i < n; i++) {
        uint32_t n_pieces = 1 + rng(5);

        if (rng(5) == 0) {
            buf_add_str(out, "!");
        }
        for (uint32_t k = 0; k < n_pieces; k++) {
            buf_add_str(out, PIECES[rng(N_PIECES)]);
        }
        buf_add_str(out, rng(6) == 0 ? "/" : rng(10) == 0 ? "  " : "");
        buf_add_str(out, rng(8) == 0 ? "\r\n" : "\n");
    }
}

struct corpus {
    char dir[64];
    struct buf list;  /* paths, NUL-separated; directories end in a slash */
    struct buf plain; /* the same for git, which must not see those slashes */
};

static void
make_paths(struct corpus *c, const char *prefix, int depth)
{
    for (size_t i = 0; i < N_NAMES; i++) {
        char rel[256];
        char abs[400];
        bool is_dir =
            depth < 2 && (rng(3) == 0 || (depth == 0 && i == 3)); /* foo: always */

        if (depth > 0 && rng(3) != 0) {
            continue;
        }
        (void)snprintf(rel, sizeof rel, "%s%s%s", prefix, NAMES[i], is_dir ? "/" : "");
        (void)snprintf(abs, sizeof abs, "%s/%s", c->dir, rel);
        if (is_dir) {
            assert_int_equal(mkdir(abs, 0755), 0);
            make_paths(c, rel, depth + 1);
        } else {
            FILE *f = fopen(abs, "w");

            assert_non_null(f);
            assert_int_equal(fclose(f), 0);
        }
        buf_add(&c->list, rel, strlen(rel) + 1);
        rel[strlen(rel) - is_dir] = 0;
        buf_add(&c->plain, rel, strlen(rel) + 1);
    }
}

static void
run_git(const struct corpus *c, const char *args, const char *in, const char *out)
{
    char *cmd =
        xasprintf("cd %s && GIT_CONFIG_NOSYSTEM=1 HOME=/nonexistent git %s <%s >%s "
                  "2>/dev/null",
                  c->dir, args, in, out);
    int rc = system(cmd); /* NOLINT(cert-env33-c): the paths are ours */

    assert_true(WIFEXITED(rc) && WEXITSTATUS(rc) <= 1);
    free(cmd);
}

/* Is the path ignored as the scanner would find: a parent, or itself? */
static bool
ours(const struct ignore_dir *top, const struct ignore_dir *sub, const char *sub_path,
     const char *path)
{
    size_t len = strlen(path);

    for (size_t i = 1; i <= len; i++) {
        bool last = i == len;
        const struct ignore_dir *d = top;

        if (!last && path[i] != '/') {
            continue;
        }
        if (last && path[len - 1] == '/') {
            break; /* the slash alone: was asked as a directory before */
        }
        if (i > strlen(sub_path) && strncmp(path, sub_path, strlen(sub_path)) == 0 &&
            path[strlen(sub_path)] == '/') {
            d = sub;
        }
        if (ignore_match(d, path, i, !last) != IGNORE_NOT) {
            return true;
        }
    }
    return false;
}

static void
write_file(const struct corpus *c, const char *name, const struct buf *data)
{
    char path[256];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/%s", c->dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data->data, 1, data->len, f), data->len);
    assert_int_equal(fclose(f), 0);
}

/* check-ignore -v -z -n prints, for each path: source, line, pattern, path. */
static void
compare_round(struct corpus *c, int round, size_t *n_compared, size_t *n_ignored)
{
    struct buf top_rules = BUF_INIT;
    struct buf sub_rules = BUF_INIT;
    struct buf got = BUF_INIT;
    struct err e = {0};
    struct ignore_dir *top;
    struct ignore_dir *sub;
    char path[128];
    size_t at = 0;
    size_t rc_at = 0;

    add_random_rules(&top_rules);
    add_random_rules(&sub_rules);
    write_file(c, ".gitignore", &top_rules);
    write_file(c, "foo/.gitignore", &sub_rules);
    run_git(c, "check-ignore -z -v -n --no-index --stdin", "list", "answer");
    (void)snprintf(path, sizeof path, "%s/answer", c->dir);
    assert_int_equal(file_read(path, 1 << 24, &got, &e), 0);
    top = ignore_dir_new(NULL, "", top_rules.data, top_rules.len, NULL, 0);
    sub = ignore_dir_new(top, "foo", sub_rules.data, sub_rules.len, NULL, 0);
    while (at < c->list.len) {
        const char *p = (const char *)c->list.data + at;
        const char *source = (const char *)got.data + rc_at;
        const char *line = source + strlen(source) + 1;
        const char *pattern = line + strlen(line) + 1;
        const char *name = pattern + strlen(pattern) + 1;
        bool theirs = pattern[0] != 0 && pattern[0] != '!';
        bool mine = ours(top, sub, "foo", p);

        assert_memory_equal(name, p, strlen(name));
        if (mine != theirs) {
            fail_msg("round %d: '%s': git %d (%s:%s '%s'), we %d\n--- top\n%s--- foo\n%s",
                     round, p, theirs, source, line, pattern, mine, buf_str(&top_rules),
                     buf_str(&sub_rules));
        }
        *n_ignored += theirs;
        (*n_compared)++;
        at += strlen(p) + 1;
        rc_at += (size_t)(name - source) + strlen(name) + 1;
    }
    ignore_dir_free(sub);
    ignore_dir_free(top);
    buf_free(&got);
    buf_free(&top_rules);
    buf_free(&sub_rules);
}

static void
random_rules__agree_with_git(void **state)
{
    struct corpus c = {.list = BUF_INIT, .plain = BUF_INIT};
    struct err e = {0};
    size_t n = 0;
    size_t n_ignored = 0;
    const char *rounds = getenv("IGNORE_ROUNDS");
    int n_rounds = rounds != NULL ? (int)strtol(rounds, NULL, 10) : 150;

    (void)state;
    (void)snprintf(c.dir, sizeof c.dir, "/tmp/test_ignore.XXXXXX");
    assert_non_null(mkdtemp(c.dir));
    run_git(&c, "init -q .", "/dev/null", "/dev/null");
    make_paths(&c, "", 0);
    write_file(&c, "list", &c.plain);
    for (int i = 0; i < n_rounds; i++) {
        compare_round(&c, i, &n, &n_ignored);
    }
    assert_true(n > 10000);
    assert_true(n_ignored > n / 50 && n_ignored < n);
    buf_free(&c.list);
    buf_free(&c.plain);
    assert_int_equal(file_remove_tree(c.dir, &e), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wildmatch__follows_git),
        cmocka_unit_test(wildmatch__many_stars_end_in_time),
        cmocka_unit_test(wildmatch__agrees_with_a_plain_search),
        cmocka_unit_test(rules__read_as_gitignore_says),
        cmocka_unit_test(rules__hold_below_their_directory),
        cmocka_unit_test(rules__are_read_up_to_the_limit),
        cmocka_unit_test(gpurunignore__stands_above_every_gitignore),
        cmocka_unit_test(builtin__keeps_secrets_and_caches),
        cmocka_unit_test(random_rules__agree_with_git),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
