#include "storage/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include "storage/scan_internal.h"

#include "tests/unit/storage/tree_util.h"

/* All paths of a scan, one a line; directories end in a slash. */
static char *
list_scan(const char *dir, const struct scan_options *o, struct scan_skipped *skipped)
{
    int fd = open_dir(dir);
    const struct scan_entry *entry;
    struct scan *s = NULL;
    struct buf out = BUF_INIT;
    struct buf last = BUF_INIT;
    struct err e = {0};

    assert_ok(scan_open(&s, fd, o, &e));
    for (;;) {
        assert_ok(scan_next(s, &entry, &e));
        if (entry == NULL) {
            break;
        }
        assert_int_equal(strlen(entry->path), entry->path_len);
        if (out.len > 0) {
            assert_true(tree_path_cmp(buf_str(&last), last.len, entry->path,
                                      entry->path_len) < 0);
        }
        buf_reset(&last);
        buf_add(&last, entry->path, entry->path_len);
        buf_printf(&out, "%s%s%s\n", entry->path, entry->type == TREE_DIR ? "/" : "",
                   entry->damage != TREE_WHOLE ? " damaged" : "");
    }
    if (skipped != NULL) {
        scan_take_skipped(s, skipped);
    }
    scan_close(s);
    (void)close(fd);
    buf_free(&last);
    return buf_steal(&out);
}

static void
assert_scan(const char *dir, const struct scan_options *o, const char *want)
{
    char *got = list_scan(dir, o, NULL);

    assert_string_equal(got, want);
    free(got);
}

static void
scan__gives_everything_in_path_order(void **state)
{
    const char *dir = *state;
    const struct scan_options o = {.everything = true};

    put_text(dir, "b/x", "1");
    put_text(dir, "b-c", "2");
    put_text(dir, "a", "3");
    put_text(dir, ".git/config", "4");
    put_text(dir, "b/.env", "5");
    put_text(dir, ".gitignore", "*");
    assert_scan(dir, &o, "/\n.git/\n.git/config\n.gitignore\na\nb/\nb/.env\nb/x\nb-c\n");
}

static void
scan__follows_rules_and_keeps_secrets(void **state)
{
    const char *dir = *state;
    struct scan_options o = {0};
    struct scan_skipped k;
    char *got;

    put_text(dir, ".gitignore", "*.bin\n/data/\n");
    put_text(dir, "sub/.gitignore", "!keep.bin\n");
    put_text(dir, ".gpurunignore", "notes.txt\n");
    put_text(dir, "train.py", "x");
    put_text(dir, "big.bin", "12345");
    put_text(dir, "sub/keep.bin", "1");
    put_text(dir, "sub/other.bin", "1");
    put_text(dir, "data/set/one", "123");
    put_text(dir, "notes.txt", "1");
    put_text(dir, ".git/HEAD", "1");
    put_text(dir, "venv/pyvenv.cfg", "1");
    put_text(dir, "venv/lib/python/site.py", "1234");
    put_text(dir, "sub/__pycache__/x.pyc", "1");
    put_text(dir, ".env", "TOKEN=1");
    put_text(dir, "id_rsa", "1");
    o.measure_skipped = true;
    got = list_scan(dir, &o, &k);
    assert_string_equal(got, "/\n.gitignore\n.gpurunignore\nsub/\nsub/.gitignore\n"
                             "sub/keep.bin\ntrain.py\n");
    assert_int_equal(k.n[IGNORE_GIT], 3);
    assert_int_equal(k.bytes[IGNORE_GIT], 5 + 1 + 3);
    assert_int_equal(k.n[IGNORE_GPURUN], 1);
    assert_int_equal(k.n[IGNORE_VCS], 1);
    assert_int_equal(k.n[IGNORE_VENV], 1);
    assert_int_equal(k.bytes[IGNORE_VENV], 1 + 4);
    assert_int_equal(k.n[IGNORE_CACHE], 1);
    assert_int_equal(k.n[IGNORE_SECRET], 2);
    assert_int_equal(k.n_secrets, 2);
    assert_string_equal(k.top[0].path, ".env");
    assert_string_equal(k.top[1].path, "big.bin");
    assert_string_equal(k.top[2].path, "venv/");
    free(got);
    scan_skipped_free(&k);
}

static void
scan__lets_with_paths_in_and_nothing_beside_them(void **state)
{
    const char *dir = *state;
    static const char *const with[] = {"data/set/one", ".env", "venv", "deep/x/y"};
    struct scan_options o = {.with = with, .n_with = 4};

    put_text(dir, ".gitignore", "/data/\ndeep\n");
    put_text(dir, "data/set/one", "1");
    put_text(dir, "data/set/two", "1");
    put_text(dir, "data/other", "1");
    put_text(dir, ".env", "1");
    put_text(dir, "venv/pyvenv.cfg", "1");
    put_text(dir, "venv/cert.pem", "1");
    put_text(dir, "deep/x/y/.gitignore", "*\n");
    put_text(dir, "deep/x/y/z", "1");
    put_text(dir, "deep/x/w", "1");
    assert_scan(dir, &o,
                "/\n.env\n.gitignore\ndata/\ndata/set/\ndata/set/one\ndeep/\ndeep/x/\n"
                "deep/x/y/\ndeep/x/y/.gitignore\ndeep/x/y/z\nvenv/\nvenv/cert.pem\n"
                "venv/pyvenv.cfg\n");
}

/* Of the root's entries one alone, whatever it is called; below it all. */
static void
scan__of_one_name_gives_that_alone(void **state)
{
    const char *dir = *state;
    struct scan_options o = {.everything = true, .only_name = "b"};

    put_text(dir, "a", "1");
    put_text(dir, "b/a", "2");
    put_text(dir, "b/b", "3");
    put_text(dir, "bb", "4");
    assert_scan(dir, &o, "/\nb/\nb/a\nb/b\n");
    o.only_name = "c";
    assert_scan(dir, &o, "/\n");
}

static struct {
    bool on;
    char all[512];
} stats;

/* In the C library's place: which names are looked at, one after another. */
int
fstatat(int fd, const char *restrict name, struct stat *restrict st, int flags)
{
    size_t used = strlen(stats.all);

    if (stats.on) {
        (void)snprintf(stats.all + used, sizeof stats.all - used, "%s ", name);
    }
    return (int)syscall(SYS_newfstatat, fd, name, st, flags);
}

/* What is left out by its name costs no look at it: there may be very many. */
static void
scan__looks_at_nothing_that_is_left_out(void **state)
{
    const char *dir = *state;
    const struct scan_options o = {.n_threads = 1};

    put_text(dir, ".gitignore", "*.bin\n");
    put_text(dir, "a.bin", "1");
    put_text(dir, "b.bin", "1");
    put_text(dir, "keep", "1");
    stats.on = true;
    assert_scan(dir, &o, "/\n.gitignore\nkeep\n");
    stats.on = false;
    assert_non_null(strstr(stats.all, "keep "));
    assert_null(strstr(stats.all, ".bin"));
}

/* The ten largest, and the first ten secrets by name, whatever order they come in. */
static void
skipped__keeps_the_first_ten(void **state)
{
    struct scan_skipped k = {0};
    struct scan_skipped more = {0};

    (void)state;
    for (unsigned i = 0; i < 25; i++) {
        char path[16];

        (void)snprintf(path, sizeof path, "s%02u", i * 7 % 25);
        scan_note_skipped(i < 15 ? &k : &more, path, i % 2 == 1, IGNORE_SECRET,
                          i * 7 % 25 * 10);
    }
    assert_int_equal(k.n_top, 10);
    assert_int_equal(k.n_secrets, 10);
    scan_merge_skipped(&k, &more);
    assert_int_equal(more.n_top, 0);
    assert_int_equal(k.n[IGNORE_SECRET], 25);
    assert_int_equal(k.bytes[IGNORE_SECRET], 10 * 24 * 25 / 2);
    assert_int_equal(k.n_top, 10);
    assert_int_equal(k.n_secrets, 10);
    for (unsigned i = 0; i < 10; i++) {
        char want[16];

        (void)snprintf(want, sizeof want, "s%02u", i);
        assert_memory_equal(k.secrets[i], want, 3);
        assert_int_equal(k.top[i].bytes, 240 - 10 * i);
        (void)snprintf(want, sizeof want, "s%02u", 24 - i);
        assert_memory_equal(k.top[i].path, want, 3);
    }
    scan_skipped_free(&k);
}

static void
scan__refuses_with_paths_that_are_not_there_or_not_inside(void **state)
{
    const char *dir = *state;
    static const char *const missing[] = {"nothing"};
    static const char *const outside[] = {"../x"};
    struct scan_options o = {.with = missing, .n_with = 1};
    struct scan *s = NULL;
    struct err e = {0};
    int fd = open_dir(dir);

    assert_refused(scan_open(&s, fd, &o, &e), ERR_SYSTEM);
    assert_string_equal(e.msg, "cannot include 'nothing': No such file or directory");
    o.with = outside;
    assert_refused(scan_open(&s, fd, &o, &e), ERR_INVALID);
    assert_null(s);
    (void)close(fd);
}

static int
scan_to_the_end(const char *dir, const struct scan_options *o, struct err *e)
{
    const struct scan_entry *entry;
    struct scan *s = NULL;
    int fd = open_dir(dir);
    int rc = scan_open(&s, fd, o, e);

    while (rc == 0 && (rc = scan_next(s, &entry, e)) == 0 && entry != NULL) {
    }
    scan_close(s);
    (void)close(fd);
    return rc;
}

static void
scan__refuses_what_holds_keys(void **state)
{
    const char *dir = *state;
    static const char *const with[] = {"user/.ssh"};
    struct scan_options o = {0};
    struct err e = {0};

    put_text(dir, "user/.ssh/id_ed25519", "1");
    put_text(dir, "user/code.py", "1");
    assert_refused(scan_to_the_end(dir, &o, &e), ERR_DENIED);
    assert_non_null(strstr(e.msg, "'user/.ssh'"));
    o.allow_home = true;
    assert_scan(dir, &o, "/\nuser/\nuser/code.py\n");
    o.allow_home = false;
    o.with = with;
    o.n_with = 1;
    assert_scan(dir, &o, "/\nuser/\nuser/.ssh/\nuser/.ssh/id_ed25519\nuser/code.py\n");
}

static void
scan__takes_rules_from_the_git_root_above(void **state)
{
    const char *dir = *state;
    const struct scan_options o = {0};
    char *proj = path_join(dir, "proj/sub");
    char *ignored = path_join(dir, "proj/out/x");

    put_text(dir, ".gitignore", "*\n"); /* above the git root: not ours */
    put_text(dir, "proj/.git/HEAD", "1");
    put_text(dir, "proj/.git/info/exclude", "local\n");
    put_text(dir, "proj/.gitignore", "*.o\n/sub/top\n/top2\nout/\n");
    put_text(dir, "proj/sub/a.o", "1");
    put_text(dir, "proj/sub/a.c", "1");
    put_text(dir, "proj/sub/top", "1");
    put_text(dir, "proj/sub/top2", "1");
    put_text(dir, "proj/sub/local", "1");
    put_text(dir, "proj/out/x/a.o", "1");
    assert_scan(proj, &o, "/\na.c\ntop2\n");
    /* named although it is ignored: what is above does not count */
    assert_scan(ignored, &o, "/\na.o\n");
    free(proj);
    free(ignored);
}

/* Rules in a file that is longer than is read are none; one byte less, and they are. */
static void
scan__takes_a_file_of_rules_up_to_its_limit(void **state)
{
    const char *dir = *state;
    const struct scan_options o = {0};
    char *proj = path_join(dir, "proj");
    char *rules = xmalloc(IGNORE_FILE_MAX_BYTES + 2);

    memset(rules, '\n', IGNORE_FILE_MAX_BYTES);
    memcpy(rules + IGNORE_FILE_MAX_BYTES - 6, "local\n", 7);
    put_text(dir, "proj/.git/HEAD", "1");
    put_text(dir, "proj/local", "1");
    put_text(dir, "proj/locals", "1");
    put_text(dir, "proj/.git/info/exclude", rules);
    assert_scan(proj, &o, "/\nlocals\n");
    memcpy(rules + IGNORE_FILE_MAX_BYTES - 1, "\n\n", 3);
    put_text(dir, "proj/.git/info/exclude", rules);
    assert_scan(proj, &o, "/\nlocal\nlocals\n");
    free(rules);
    free(proj);
}

static void
check_root__knows_homes(void **state)
{
    char *dir = realpath(*state, NULL);
    char *home = path_join(dir, "home/me");
    char *proj = path_join(dir, "home/me/proj");
    char *above = path_join(dir, "home");
    char *link = path_join(dir, "link");
    struct err e = {0};

    assert_ok(file_mkdirs(proj, 0755, &e));
    assert_int_equal(symlink(home, link), 0);
    assert_refused(scan_check_root("/", home, &e), ERR_DENIED);
    assert_refused(scan_check_root(home, home, &e), ERR_DENIED);
    assert_refused(scan_check_root(link, home, &e), ERR_DENIED);
    assert_refused(scan_check_root(above, home, &e), ERR_DENIED);
    assert_ok(scan_check_root(proj, home, &e));
    assert_ok(scan_check_root(home, NULL, &e));
    free(dir);
    free(home);
    free(proj);
    free(above);
    free(link);
}

/* More directories than one thread reads before others are started. */
static void
scan__of_many_directories_is_the_same_with_any_number_of_threads(void **state)
{
    const char *dir = *state;
    struct scan_options o = {.everything = true, .n_threads = 1};
    char *one;
    char *many;

    for (int i = 0; i < 300; i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "d%d/e%d/f%d/file%d", i % 7, i % 31, i % 3, i);
        put_text(dir, name, "x");
    }
    one = list_scan(dir, &o, NULL);
    o.n_threads = 8;
    for (int i = 0; i < 20; i++) {
        many = list_scan(dir, &o, NULL);
        assert_string_equal(one, many);
        free(many);
    }
    free(one);
}

static void
scan__can_be_closed_at_any_moment(void **state)
{
    const char *dir = *state;
    const struct scan_options o = {.everything = true, .n_threads = 4};
    struct err e = {0};
    int fd;

    for (int i = 0; i < 200; i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "d%d/e%d/file%d", i % 7, i % 31, i);
        put_text(dir, name, "x");
    }
    fd = open_dir(dir);
    for (int n = 0; n < 300; n += 7) {
        const struct scan_entry *entry;
        struct scan *s = NULL;

        assert_ok(scan_open(&s, fd, &o, &e));
        for (int i = 0; i < n; i++) {
            assert_ok(scan_next(s, &entry, &e));
        }
        scan_close(s);
    }
    (void)close(fd);
}

static void
scan__marks_a_directory_with_too_long_paths(void **state)
{
    const char *dir = *state;
    const struct scan_options o = {.everything = true};
    char name[251];
    int at = open_dir(dir);
    char *got;

    memset(name, 'n', 250);
    name[250] = '\0';
    for (int i = 0; i < 17; i++) { /* 17 * 251 > 4095 */
        int next;

        assert_int_equal(mkdirat(at, name, 0755), 0);
        next = openat(at, name, O_RDONLY | O_DIRECTORY);
        assert_true(next != -1);
        (void)close(at);
        at = next;
    }
    (void)close(at);
    got = list_scan(dir, &o, NULL);
    assert_non_null(strstr(got, "/ damaged\n"));
    free(got);
}

/* A path of the longest length is in; with one byte more its directory counts as lost. */
static void
scan__takes_paths_up_to_the_limit(void **state)
{
    const char *dir = *state;
    const struct scan_options o = {.everything = true};
    char name[251];
    int at = open_dir(dir);

    memset(name, 'n', 250);
    name[250] = '\0';
    for (int i = 0; i < 16; i++) {
        int next;

        assert_int_equal(mkdirat(at, name, 0755), 0);
        next = openat(at, name, O_RDONLY | O_DIRECTORY);
        assert_true(next != -1);
        (void)close(at);
        at = next;
    }
    for (int len = 79; len <= 80; len++) { /* 16 * 251 + 79 = 4095 */
        char *got;
        int fd;

        name[len] = '\0';
        fd = openat(at, name, O_WRONLY | O_CREAT, 0600);
        assert_true(fd != -1);
        (void)close(fd);
        got = list_scan(dir, &o, NULL);
        assert_int_equal(strstr(got, " damaged\n") != NULL, len == 80);
        assert_int_equal(unlinkat(at, name, 0), 0);
        name[len] = 'n';
        free(got);
    }
    (void)close(at);
}

/* Of the levels above so many are looked at for where git's folder is. */
static void
scan__looks_so_far_up_for_the_git_root(void **state)
{
    const struct scan_options o = {0};
    char *path = xstrdup(*state);

    put_text(path, ".git/HEAD", "1");
    put_text(path, ".gitignore", "*.o\n");
    for (int up = 1; up <= 64; up++) {
        char *next = path_join(path, "d");

        free(path);
        path = next;
        put_text(path, "x.o", "1");
        put_text(path, "y", "1");
        if (up >= 63) {
            char *got = list_scan(path, &o, NULL);

            assert_int_equal(strstr(got, "x.o") != NULL, up == 64);
            free(got);
        }
    }
    free(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(scan__gives_everything_in_path_order),
        unit_test_in_dir(scan__follows_rules_and_keeps_secrets),
        unit_test_in_dir(scan__lets_with_paths_in_and_nothing_beside_them),
        unit_test_in_dir(scan__of_one_name_gives_that_alone),
        unit_test_in_dir(scan__looks_at_nothing_that_is_left_out),
        cmocka_unit_test(skipped__keeps_the_first_ten),
        unit_test_in_dir(scan__refuses_with_paths_that_are_not_there_or_not_inside),
        unit_test_in_dir(scan__refuses_what_holds_keys),
        unit_test_in_dir(scan__takes_rules_from_the_git_root_above),
        unit_test_in_dir(scan__takes_a_file_of_rules_up_to_its_limit),
        unit_test_in_dir(check_root__knows_homes),
        unit_test_in_dir(
            scan__of_many_directories_is_the_same_with_any_number_of_threads),
        unit_test_in_dir(scan__can_be_closed_at_any_moment),
        unit_test_in_dir(scan__marks_a_directory_with_too_long_paths),
        unit_test_in_dir(scan__takes_paths_up_to_the_limit),
        unit_test_in_dir(scan__looks_so_far_up_for_the_git_root),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
