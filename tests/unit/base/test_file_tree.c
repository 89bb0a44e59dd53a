#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file_internal.h"
#include "tests/unit/unit.h"

#define DEPTH 3000 /* beyond PATH_MAX, and more than we may have descriptors */

static char *
make_dir(const char *in, const char *name)
{
    char *path = path_join(in, name);
    struct err e;

    assert_ok(file_mkdirs(path, 0700, &e));
    return path;
}

static void
make_file(const char *in, const char *name)
{
    char *path = path_join(in, name);
    struct err e;

    assert_ok(file_replace(path, "x", 1, &e));
    free(path);
}

static void
remove_tree__removes_all_kinds(void **state)
{
    char *top = make_dir(*state, "top");
    char *sub = make_dir(top, "sub/deep");
    char *fifo = path_join(top, "fifo");
    struct err e;

    make_file(top, "file");
    make_file(sub, "file\n\xff");
    make_file(sub, ".hidden");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_ok(file_remove_tree(top, &e));
    assert_false(file_exists(top));
    assert_ok(file_remove_tree(top, &e)); /* missing is fine */
    assert_ok(file_remove_tree("/nonexistent/x/y", &e));
    free(top);
    free(sub);
    free(fifo);
}

static void
remove_tree__takes_a_trailing_slash_a_file_and_an_empty_directory(void **state)
{
    char *top = make_dir(*state, "top/");
    char *file = path_join(*state, "file");
    struct err e;

    make_file(top, "f");
    assert_ok(file_remove_tree(top, &e));
    assert_false(file_exists(top));
    make_file(*state, "file");
    assert_ok(file_remove_tree(file, &e));
    assert_false(file_exists(file));
    free(top);
    top = make_dir(*state, "top");
    assert_ok(file_remove_tree(top, &e));
    assert_false(file_exists(top));
    free(top);
    free(file);
}

static void
remove_tree__never_follows_a_link(void **state)
{
    char *kept = make_dir(*state, "kept");
    char *kept_file = path_join(kept, "file");
    char *top = make_dir(*state, "top");
    char *inside = path_join(top, "link");
    char *itself = path_join(*state, "link");
    struct err e;

    make_file(kept, "file");
    assert_int_equal(symlink(kept, inside), 0);
    assert_int_equal(symlink(kept, itself), 0);
    assert_ok(file_remove_tree(top, &e));
    assert_ok(file_remove_tree(itself, &e));
    assert_false(file_exists(itself));
    assert_true(file_exists(kept_file));
    free(kept);
    free(kept_file);
    free(top);
    free(inside);
    free(itself);
}

static void
remove_tree__opens_what_was_closed_to_its_owner(void **state)
{
    char *top = make_dir(*state, "top");
    char *sub = make_dir(top, "a/b/c");
    char *a = path_join(top, "a");
    char *b = path_join(top, "a/b");
    /* The directories above may be closed to that somebody. */
    int fd = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err e;
    int status;
    pid_t child;

    make_file(sub, "file");
    make_file(a, "file");
    assert_int_equal(chmod(sub, 0), 0);
    assert_int_equal(chmod(b, 0500), 0);
    assert_int_equal(chmod(a, 0), 0);
    assert_int_equal(chmod(top, 0500), 0);
    /* As somebody whom modes bind; root is bound by none. */
    child = fork();
    assert_true(child != -1);
    if (child == 0) {
        char *const mine[] = {*state, top, a, NULL};

        for (size_t i = 0; geteuid() == 0 && mine[i] != NULL; i++) {
            if (chown(mine[i], 12345, 12345) != 0) {
                _exit(2);
            }
        }
        if (geteuid() == 0 &&
            (chown(b, 12345, 12345) != 0 || chown(sub, 12345, 12345) != 0 ||
             setgid(12345) != 0 || setuid(12345) != 0)) {
            _exit(3);
        }
        if (file_remove_tree_at(fd, "top", &e) != 0) {
            (void)fprintf(stderr, "%s\n", e.msg);
            _exit(1);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_false(file_exists(top));
    assert_int_equal(fd_close(&fd), 0);
    free(top);
    free(sub);
    free(a);
    free(b);
}

/* Directories in one another, deeper than any path can say. */
static void
make_deep(const char *top)
{
    int fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    for (int i = 0; i < DEPTH; i++) {
        int next;

        assert_int_equal(mkdirat(fd, "d", 0700), 0);
        next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next != -1);
        if (i % 100 == 0) {
            int f = openat(next, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

            assert_int_equal(fd_close(&f), 0);
        }
        (void)close(fd);
        fd = next;
    }
    (void)close(fd);
}

static void
remove_tree__is_not_stopped_by_depth(void **state)
{
    char *top = make_dir(*state, "top");
    struct rlimit was;
    struct rlimit few;
    struct err e;

    make_deep(top);
    /* A name that lifting would use is taken already. */
    free(make_dir(top, ".gpurun-remove-0/x"));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    few = was;
    few.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_ok(file_remove_tree(top, &e));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    assert_false(file_exists(top));
    free(top);
}

/* What another removes meanwhile is gone, as it is to be. */
static void
remove_tree__two_at_once_are_not_in_each_others_way(void **state)
{
    char *top = make_dir(*state, "top");
    pid_t pids[2];
    struct err e;

    for (int i = 0; i < 500; i++) {
        char name[32];

        (void)snprintf(name, sizeof name, "%d/in/it", i);
        free(make_dir(top, name));
    }
    for (int i = 0; i < 2; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            _exit(file_remove_tree(top, &e) == 0 ? 0 : 1);
        }
    }
    for (int i = 0; i < 2; i++) {
        int status = -1;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_false(file_exists(top));
    free(top);
}

/* In a namespace of its own, if the test may have one. */
static int
with_mount(const char *top, const char *at)
{
    char *inner = path_join(at, "inside");
    char *beside = path_join(top, "a-beside");
    char *after = path_join(top, "z-beside");
    struct err e;
    int rc = 0;

    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        return 77;
    }
    /* A bind mount: the same st_dev, and yet not ours to empty. */
    if (mount("/etc", at, NULL, MS_BIND, NULL) != 0) {
        return 2;
    }
    if (file_remove_tree(top, &e) != -1 || e.code != ERR_SYSTEM || e.sys_errno != EBUSY) {
        rc = 3;
    }
    if (access("/etc/passwd", F_OK) != 0 || !file_exists(at)) {
        rc = 4;
    }
    if (file_exists(beside) || file_exists(after)) {
        rc = 5; /* the rest goes all the same */
    }
    free(inner);
    free(beside);
    free(after);
    return rc;
}

static void
remove_tree__stays_on_its_mount(void **state)
{
    char *top = make_dir(*state, "top");
    char *at = make_dir(top, "mounted");
    int status;
    pid_t child;

    make_file(top, "a-beside");
    make_file(top, "z-beside");
    child = fork();
    assert_true(child != -1);
    if (child == 0) {
        _exit(with_mount(top, at));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    free(top);
    free(at);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        skip(); /* no right to mount */
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void
open_dir__refuses_what_is_no_directory_here(void **state)
{
    char *top = make_dir(*state, "top");
    char *link = path_join(*state, "link");
    int fd = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int proc = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int sub = beneath_open_dir(fd, "top");

    assert_true(sub != -1);
    assert_int_equal(fd_close(&sub), 0);
    assert_int_equal(symlink("top", link), 0);
    assert_int_equal(beneath_open_dir(fd, "link"), -1);
    assert_true(errno == ELOOP || errno == ENOTDIR);
    assert_int_equal(beneath_open_dir(fd, "none"), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(beneath_open_dir(proc, "proc"), -1);
    assert_int_equal(errno, EXDEV);
    assert_int_equal(fd_close(&proc), 0);
    assert_int_equal(fd_close(&fd), 0);
    free(top);
    free(link);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(remove_tree__removes_all_kinds),
        unit_test_in_dir(
            remove_tree__takes_a_trailing_slash_a_file_and_an_empty_directory),
        unit_test_in_dir(remove_tree__never_follows_a_link),
        unit_test_in_dir(remove_tree__opens_what_was_closed_to_its_owner),
        unit_test_in_dir(remove_tree__is_not_stopped_by_depth),
        unit_test_in_dir(remove_tree__two_at_once_are_not_in_each_others_way),
        unit_test_in_dir(remove_tree__stays_on_its_mount),
        unit_test_in_dir(open_dir__refuses_what_is_no_directory_here),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
