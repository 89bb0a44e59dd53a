#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/caches.h"

#define NOW_S ((int64_t)1700000000)
#define DAY_S ((int64_t)86400)

/* A file of that size at path, last read and written so many days before NOW_S. */
static void
make(int dir, const char *path, size_t bytes, int64_t read_days, int64_t written_days)
{
    struct timespec times[2] = {{.tv_sec = NOW_S - read_days * DAY_S},
                                {.tv_sec = NOW_S - written_days * DAY_S}};
    char *parent = path_parent(path);
    char *data = xcalloc(1, bytes);
    struct err e = {0};
    int fd = -1;
    int file;

    assert_int_equal(file_mkdirs_beneath(dir, parent, 0700, &fd, &e), 0);
    (void)fd_close(&fd);
    file = openat(dir, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_not_equal(file, -1);
    assert_int_equal(fd_write_all(file, data, bytes), 0);
    assert_int_equal(futimens(file, times), 0);
    (void)fd_close(&file);
    free(parent);
    free(data);
}

static bool
is_there(int dir, const char *path)
{
    return faccessat(dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int
fresh(char name[32])
{
    (void)snprintf(name, 32, "/tmp/gpurun-caches-XXXXXX");
    assert_non_null(mkdtemp(name));
    return open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static size_t n_told; /* by the last trim */

static void
note_told(void *arg, const struct err *line)
{
    const char *end = strstr(line->msg, " of the cache (");
    char *path;

    assert_non_null(end);
    path = xasprintf("%.*s", (int)(end - line->msg), line->msg);
    strings_add(arg, path);
    free(path);
}

/* What would go is told before, and goes then. */
static int
trim(int dir, int64_t age_s, uint64_t max_bytes, int64_t unused_since_s, struct err *e)
{
    struct strings told = {NULL, 0};
    const struct trim_told only = {.say = note_told, .arg = &told};
    struct caches_rule rule = {.now_s = NOW_S,
                               .max_age_s = age_s,
                               .max_bytes = max_bytes,
                               .unused_since_s = unused_since_s,
                               .only = &only};
    int rc = caches_trim_to(dir, &rule, e);

    for (size_t i = 0; i < told.n; i++) {
        assert_true(is_there(dir, told.v[i]));
    }
    rule.only = NULL;
    rc = rc == 0 ? caches_trim_to(dir, &rule, e) : rc;
    for (size_t i = 0; i < told.n && rc == 0; i++) {
        assert_false(is_there(dir, told.v[i]));
    }
    n_told = told.n;
    strings_free(&told);
    return rc;
}

static void
cache__loses_what_nobody_used_for_long_as_a_whole(void **state)
{
    char name[32];
    int dir = fresh(name);
    struct err e = {0};

    (void)state;
    make(dir, "huggingface/hub/models--old/blobs/a", 100, 40, 50);
    make(dir, "huggingface/hub/models--old/snapshots/b", 100, 40, 40);
    make(dir, "huggingface/hub/models--read/blobs/a", 100, 2, 50);
    make(dir, "huggingface/hub/models--half/blobs/a", 100, 50, 50);
    make(dir, "huggingface/hub/models--half/blobs/b", 100, 3, 50);
    make(dir, "huggingface/token", 10, 40, 40);
    make(dir, "elsewhere/x/old", 100, 400, 400);
    make(dir, ".cache/matplotlib/fonts/a", 100, 40, 40);
    make(dir, ".config/matplotlib/rc", 100, 40, 40);
    assert_int_equal(trim(dir, 30 * DAY_S, UINT64_MAX, INT64_MAX, &e), 0);
    assert_int_equal(n_told, 3);
    assert_false(is_there(dir, "huggingface/hub/models--old"));
    assert_false(is_there(dir, "huggingface/token"));
    assert_true(is_there(dir, "huggingface/hub/models--read/blobs/a"));
    assert_true(is_there(dir, "huggingface/hub/models--half/blobs/a"));
    assert_true(is_there(dir, "elsewhere/x/old")); /* is none of ours */
    assert_false(is_there(dir, ".cache/matplotlib/fonts"));
    assert_true(is_there(dir, ".config/matplotlib/rc"));
    (void)fd_close(&dir);
    assert_int_equal(file_remove_tree(name, &e), 0);
}

static void
cache__above_its_size_loses_the_longest_unused(void **state)
{
    char name[32];
    int dir = fresh(name);
    struct err e = {0};

    (void)state;
    make(dir, "uv/archive-v0/a/lib/x", 100000, 9, 9);
    make(dir, "pip/http-v2/b/x", 100000, 5, 20);
    make(dir, "torch/hub/checkpoints/x", 100000, 1, 1);
    assert_int_equal(trim(dir, 30 * DAY_S, 260000, INT64_MAX, &e), 0);
    assert_false(is_there(dir, "uv/archive-v0/a"));
    assert_true(is_there(dir, "pip/http-v2/b/x"));
    assert_true(is_there(dir, "torch/hub/checkpoints/x"));
    assert_int_equal(trim(dir, 30 * DAY_S, 0, INT64_MAX, &e), 0);
    assert_false(is_there(dir, "torch/hub/checkpoints"));
    (void)fd_close(&dir);
    assert_int_equal(file_remove_tree(name, &e), 0);
}

/* Under jobs that live: what they may be using stays, whatever its age and size. */
static void
cache__keeps_what_was_used_since(void **state)
{
    char name[32];
    int dir = fresh(name);
    struct err e = {0};

    (void)state;
    make(dir, "huggingface/hub/models--before/x", 100000, 50, 50);
    make(dir, "huggingface/hub/models--read/x", 100000, 39, 60);
    make(dir, "torch/hub/written", 100000, 60, 39);
    make(dir, ".gpurun-gone/left/by/one/cut/off", 1, 0, 0);
    assert_int_equal(trim(dir, 30 * DAY_S, 0, NOW_S - 40 * DAY_S, &e), 0);
    assert_false(is_there(dir, "huggingface/hub/models--before"));
    assert_true(is_there(dir, "huggingface/hub/models--read/x"));
    assert_true(is_there(dir, "torch/hub/written"));
    assert_false(is_there(dir, ".gpurun-gone"));
    assert_int_equal(trim(dir, 0, 0, 0, &e), 0);
    assert_true(is_there(dir, "huggingface/hub/models--read/x"));
    (void)fd_close(&dir);
    assert_int_equal(file_remove_tree(name, &e), 0);
}

/* Some tools close what they keep, and root alone could move it away all the same. */
static void
cache__loses_folders_that_are_closed_too(void **state)
{
    char name[32];
    int dir = fresh(name);
    struct err e = {0};
    int status = 0;
    pid_t child;

    (void)state;
    if (geteuid() == 0) {
        assert_int_equal(fchown(dir, 12345, 12345), 0);
    }
    child = fork();
    assert_true(child != -1);
    if (child == 0) {
        if (geteuid() == 0 && (setgid(12345) != 0 || setuid(12345) != 0)) {
            _exit(2);
        }
        make(dir, "torch/hub/closed/x", 100, 40, 40);
        make(dir, "torch/hub/kept/x", 100, 1, 1);
        if (fchmodat(dir, "torch/hub/closed", 0500, 0) != 0 ||
            fchmodat(dir, "torch/hub", 0500, 0) != 0) {
            _exit(3);
        }
        _exit(trim(dir, 30 * DAY_S, UINT64_MAX, INT64_MAX, &e) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_false(is_there(dir, "torch/hub/closed"));
    assert_true(is_there(dir, "torch/hub/kept/x"));
    assert_false(is_there(dir, ".gpurun-gone"));
    (void)fd_close(&dir);
    assert_int_equal(file_remove_tree(name, &e), 0);
}

/* A file system keeps what others own in a folder of theirs, whoever owns the folder
 * above. */
static int
trim_around(int dir)
{
    struct err e = {0};
    int stuck = 0;

    if (setgid(12345) != 0 || setuid(12345) != 0) {
        return 2;
    }
    for (int i = 0; i < 2; i++) {
        stuck += trim(dir, 30 * DAY_S, UINT64_MAX, INT64_MAX, &e) == -1;
        make(dir, "pip/wheels/later/x", 100, 40, 40);
    }
    return stuck == 2 ? 0 : 1;
}

static void
cache__what_cannot_be_removed_holds_up_nothing_else(void **state)
{
    const char *const taken[] = {"torch/hub/first/in/x", ".gpurun-gone/0/in/x",
                                 "torch/hub/third/in/x"};
    char name[32];
    int dir = fresh(name);
    struct err e = {0};
    int status = 0;
    pid_t child;
    char *cmd;

    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    for (size_t i = 0; i < 3; i++) {
        make(dir, taken[i], 100, 100 - (int64_t)i, 100 - (int64_t)i);
    }
    make(dir, "torch/hub/second/x", 100, 40, 40);
    make(dir, "huggingface/hub/last/x", 100, 40, 40);
    cmd = xasprintf("cd %s && chown -R 12345:12345 . && "
                    "chown -R 0:0 torch/hub/*/in .gpurun-gone/0/in",
                    name);
    assert_int_equal(system(cmd), 0); /* NOLINT: a test's own command */
    free(cmd);
    child = fork();
    assert_true(child != -1);
    if (child == 0) {
        _exit(trim_around(dir));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_false(is_there(dir, "torch/hub/second"));
    assert_false(is_there(dir, "huggingface/hub/last"));
    assert_true(is_there(dir, ".gpurun-gone/0/in/x"));
    (void)fd_close(&dir);
    assert_int_equal(file_remove_tree(name, &e), 0);
}

/* uv and pip link what they keep from one place to another. */
static void
cache__counts_what_has_two_names_once(void **state)
{
    char name[32];
    int dir = fresh(name);
    struct err e = {0};

    (void)state;
    make(dir, "uv/archive-v0/a/x", 100000, 9, 9);
    make(dir, "uv/archive-v0/b/y", 100000, 5, 5);
    assert_int_equal(linkat(dir, "uv/archive-v0/a/x", dir, "uv/archive-v0/b/x", 0), 0);
    assert_int_equal(trim(dir, 30 * DAY_S, 230000, INT64_MAX, &e), 0);
    assert_true(is_there(dir, "uv/archive-v0/a/x"));
    assert_int_equal(trim(dir, 30 * DAY_S, 180000, INT64_MAX, &e), 0);
    assert_false(is_there(dir, "uv/archive-v0/a"));
    assert_true(is_there(dir, "uv/archive-v0/b/x"));
    (void)fd_close(&dir);
    assert_int_equal(file_remove_tree(name, &e), 0);
}

static void
cache__trimming_never_leaves_it(void **state)
{
    char name[32];
    char other[32];
    int dir = fresh(name);
    int out = fresh(other);
    struct err e = {0};

    (void)state;
    make(out, "x/y/precious", 100, 400, 400);
    assert_int_equal(symlinkat(other, dir, "huggingface"), 0);
    assert_int_equal(mkdirat(dir, "torch", 0700), 0);
    assert_int_equal(mkdirat(dir, "torch/hub", 0700), 0);
    assert_int_equal(symlinkat(other, dir, "torch/hub/away"), 0);
    assert_int_equal(trim(dir, 0, 0, INT64_MAX, &e), 0);
    assert_true(is_there(out, "x/y/precious"));
    (void)fd_close(&dir);
    (void)fd_close(&out);
    assert_int_equal(file_remove_tree(name, &e), 0);
    assert_int_equal(file_remove_tree(other, &e), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cache__loses_what_nobody_used_for_long_as_a_whole),
        cmocka_unit_test(cache__above_its_size_loses_the_longest_unused),
        cmocka_unit_test(cache__keeps_what_was_used_since),
        cmocka_unit_test(cache__loses_folders_that_are_closed_too),
        cmocka_unit_test(cache__what_cannot_be_removed_holds_up_nothing_else),
        cmocka_unit_test(cache__counts_what_has_two_names_once),
        cmocka_unit_test(cache__trimming_never_leaves_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
