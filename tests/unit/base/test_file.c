#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/syncs.h"
#include "tests/unit/unit.h"

static void
check_content(const char *path, const char *want)
{
    struct buf b = BUF_INIT;
    struct err e;

    assert_ok(file_read(path, 1000, &b, &e));
    assert_string_equal(buf_str(&b), want);
    buf_free(&b);
}

static void
file_replace__replaces_durably_and_leaves_no_temporary(void **state)
{
    char *path = path_join(*state, "f");
    char *tmp = path_join(*state, "f.tmp");
    struct stat st;
    struct err e;

    syncs_reset();
    assert_ok(file_replace(path, "old", 3, &e));
    assert_int_equal(syncs.n_files, 1);
    assert_int_equal(syncs.n_dirs, 1);
    assert_ok(file_replace(path, "newer", 5, &e));
    check_content(path, "newer");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_false(file_exists(tmp));
    assert_ok(file_replace(path, NULL, 0, &e));
    check_content(path, "");
    free(path);
    free(tmp);
}

static void
file_replace__overwrites_what_a_crash_left(void **state)
{
    char *path = path_join(*state, "f");
    char *tmp = path_join(*state, "f.tmp");
    struct err e;

    assert_ok(file_replace(tmp, "a long rest of a crashed writer", 31, &e));
    assert_ok(file_replace(path, "x", 1, &e));
    check_content(path, "x");
    assert_false(file_exists(tmp));
    free(path);
    free(tmp);
}

/* Writers in several processes take turns: each content is whole, each call succeeds. */
static void
file_replace__can_be_called_by_many_at_once(void **state)
{
    enum { WRITERS = 6, ROUNDS = 40 };
    char *path = path_join(*state, "f");
    char *tmp = path_join(*state, "f.tmp");
    pid_t children[WRITERS];
    char mine[3000];
    struct err e;
    int status;

    for (int i = 0; i < WRITERS; i++) {
        children[i] = fork();
        assert_int_not_equal(children[i], -1);
        if (children[i] == 0) {
            int failed = 0;

            memset(mine, 'a' + i, sizeof mine);
            for (int round = 0; round < ROUNDS && failed == 0; round++) {
                struct buf b = BUF_INIT;

                failed = file_replace(path, mine, sizeof mine - (size_t)i, &e) != 0 ||
                         file_read(path, sizeof mine, &b, &e) != 0 || b.len == 0 ||
                         b.len != sizeof mine - (size_t)(b.data[0] - 'a') ||
                         memcmp(b.data, b.data + 1, b.len - 1) != 0;
                buf_free(&b);
            }
            _exit(failed);
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_false(file_exists(tmp));
    free(path);
    free(tmp);
}

static void
file_open_alone__shuts_others_out_until_the_last_copy_is_closed(void **state)
{
    char *path = path_join(*state, "f");
    int fd = file_open_alone(AT_FDCWD, path, true);
    int copy = dup(fd);

    assert_int_not_equal(fd, -1);
    assert_int_equal(fd_write_all(fd, "x", 1), 0);
    assert_int_equal(file_open_alone(AT_FDCWD, path, false), -1);
    assert_int_equal(errno, EWOULDBLOCK);
    assert_int_equal(fd_close(&fd), 0);
    assert_int_equal(file_open_alone(AT_FDCWD, path, false), -1);
    check_content(path, "x");
    assert_int_equal(fd_close(&copy), 0);
    fd = file_open_alone(AT_FDCWD, path, false);
    assert_int_not_equal(fd, -1);
    check_content(path, "");
    assert_int_equal(fd_close(&fd), 0);
    free(path);
}

static void
file_replace__leaves_the_old_when_it_cannot_sync(void **state)
{
    char *path = path_join(*state, "f");
    char *tmp = path_join(*state, "f.tmp");
    struct err e;

    assert_ok(file_replace(path, "old", 3, &e));
    syncs_fail(1, ENOSPC);
    assert_refused(file_replace(path, "new", 3, &e), ERR_SPACE);
    syncs_fail(1, EIO);
    assert_refused(file_replace(path, "new", 3, &e), ERR_SYSTEM);
    assert_int_equal(e.sys_errno, EIO);
    check_content(path, "old");
    assert_false(file_exists(tmp));
    /* The directory's: the new content is there, and may not stay. */
    syncs_fail(2, EIO);
    assert_refused(file_replace(path, "new", 3, &e), ERR_SYSTEM);
    check_content(path, "new");
    assert_false(file_exists(tmp));
    syncs_reset();
    free(path);
    free(tmp);
}

static void
file_replace__leaves_the_old_when_the_disk_is_full(void **state)
{
    const struct rlimit small = {.rlim_cur = 100, .rlim_max = RLIM_INFINITY};
    struct rlimit was;
    char *path = path_join(*state, "f");
    char *tmp = path_join(*state, "f.tmp");
    char big[1000] = {0};
    struct err e;

    assert_ok(file_replace(path, "old", 3, &e));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_refused(file_replace(path, big, sizeof big, &e), ERR_SYSTEM);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(e.sys_errno, EFBIG);
    check_content(path, "old");
    assert_false(file_exists(tmp));
    free(path);
    free(tmp);
}

static void
file_replace__says_what_failed(void **state)
{
    char *dir = path_join(*state, "dir");
    char *in_dir = path_join(dir, "x");
    struct err e;

    assert_refused(file_replace("/nonexistent/dir/f", "x", 1, &e), ERR_SYSTEM);
    assert_string_equal(
        e.msg, "cannot create '/nonexistent/dir/f.tmp': No such file or directory");
    /* A directory that is not empty stands in the way. */
    assert_ok(file_mkdirs(dir, 0700, &e));
    assert_ok(file_replace(in_dir, "x", 1, &e));
    assert_refused(file_replace(dir, "x", 1, &e), ERR_SYSTEM);
    check_content(in_dir, "x");
    free(dir);
    free(in_dir);
}

static void
file_replace__never_writes_through_a_link_at_the_temporary(void **state)
{
    char *path = path_join(*state, "f");
    char *tmp = path_join(*state, "f.tmp");
    char *victim = path_join(*state, "victim");
    struct err e;

    assert_ok(file_replace(victim, "safe", 4, &e));
    assert_int_equal(symlink("victim", tmp), 0);
    assert_refused(file_replace(path, "x", 1, &e), ERR_SYSTEM);
    check_content(victim, "safe");
    free(path);
    free(tmp);
    free(victim);
}

static void
file_replace_at__works_beneath_a_descriptor(void **state)
{
    struct err e;
    struct buf b = BUF_INIT;
    int fd = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(fd != -1);
    assert_ok(file_replace_at(fd, "g", "there", 5, &e));
    assert_ok(file_read_at(fd, "g", 5, &b, &e));
    assert_string_equal(buf_str(&b), "there");
    assert_refused(file_read_at(fd, "h", 5, &b, &e), ERR_NOT_FOUND);
    assert_string_equal(buf_str(&b), "there");
    buf_free(&b);
    assert_int_equal(fd_close(&fd), 0);
}

static void
file_read__holds_its_limit_to_the_byte(void **state)
{
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 200000};
    char *path = path_join(*state, "f");
    char *data = xcalloc(1, 200000);
    struct err e;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buf b = BUF_INIT;

        assert_ok(file_replace(path, data, sizes[i], &e));
        buf_add_str(&b, "before");
        assert_ok(file_read(path, sizes[i], &b, &e));
        assert_int_equal(b.len, sizes[i] + 6);
        if (sizes[i] > 0) {
            b.len = 6;
            b.data[6] = '\0';
            assert_refused(file_read(path, sizes[i] - 1, &b, &e), ERR_RANGE);
            assert_string_equal(buf_str(&b), "before"); /* and nothing else */
        }
        buf_free(&b);
    }
    free(data);
    free(path);
}

static void
file_read__tells_missing_from_unreadable(void **state)
{
    struct buf b = BUF_INIT;
    struct err e;

    assert_refused(file_read("/nonexistent/x", 10, &b, &e), ERR_NOT_FOUND);
    assert_refused(file_read(*state, 10, &b, &e), ERR_SYSTEM);
    assert_int_equal(e.sys_errno, EISDIR);
    assert_int_equal(b.len, 0);
    buf_free(&b);
    /* Size 0 by stat, and yet not empty. */
    assert_ok(file_read("/proc/self/status", 1 << 20, &b, &e));
    assert_true(b.len > 100);
    buf_free(&b);
}

struct slow_writer {
    int fd;
    size_t total;
};

static void *
write_in_drops(void *arg)
{
    const struct slow_writer *w = arg;
    size_t left = w->total;

    while (left > 0) {
        char drop[777];
        size_t n = left < sizeof drop ? left : sizeof drop;

        memset(drop, 'd', n);
        if (fd_write_all(w->fd, drop, n) != 0) {
            break;
        }
        left -= n;
    }
    (void)close(w->fd);
    return NULL;
}

static void
fd_read_full__goes_on_after_short_reads(void **state)
{
    char got[100000];
    int fds[2];
    struct slow_writer w = {.total = sizeof got - 1};
    pthread_t thread;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    w.fd = fds[1];
    assert_int_equal(pthread_create(&thread, NULL, write_in_drops, &w), 0);
    assert_int_equal(fd_read_full(fds[0], got, sizeof got), sizeof got - 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(got[sizeof got - 2], 'd');
    assert_int_equal(fd_read_full(fds[0], got, 10), 0); /* at the end */
    assert_int_equal(fd_close(&fds[0]), 0);
}

static void
fd_pread_and_pwrite__use_their_offset(void **state)
{
    char *path = path_join(*state, "f");
    char got[10];
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd != -1);
    assert_int_equal(fd_pwrite_all(fd, "abc", 3, 5), 0);
    assert_int_equal(fd_pread_full(fd, got, 10, 5), 3);
    assert_memory_equal(got, "abc", 3);
    assert_int_equal(fd_pread_full(fd, got, 2, 6), 2);
    assert_memory_equal(got, "bc", 2);
    assert_int_equal(fd_pread_full(fd, got, 10, 100), 0);
    assert_int_equal(fd_close(&fd), 0);
    assert_int_equal(fd, -1);
    free(path);
}

static void
fds__report_errors(void **state)
{
    char c = 'c';
    int fd = -1;
    int fds[2];

    (void)state;
    assert_int_equal(fd_write_all(-1, &c, 1), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(fd_pwrite_all(-1, &c, 1, 0), -1);
    assert_int_equal(fd_read_full(-1, &c, 1), -1);
    assert_int_equal(fd_pread_full(-1, &c, 1, 0), -1);
    assert_int_equal(fd_close(&fd), 0); /* nothing to close */
    fd = 9999;
    assert_int_equal(fd_close(&fd), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(fd, -1);
    assert_int_equal(pipe(fds), 0);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)close(fds[0]);
    assert_int_equal(fd_write_all(fds[1], &c, 1), -1);
    assert_int_equal(errno, EPIPE);
    (void)close(fds[1]);
}

static void
file_mkdirs__makes_what_is_missing(void **state)
{
    char *deep = path_join(*state, "a//b/c/");
    char *file = path_join(*state, "file");
    char *below = path_join(file, "x");
    struct stat st;
    struct err e;

    assert_ok(file_mkdirs(deep, 0750, &e));
    assert_int_equal(stat(deep, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0750);
    assert_ok(file_mkdirs(deep, 0700, &e)); /* again */
    assert_ok(file_mkdirs("/", 0700, &e));
    assert_ok(file_replace(file, "", 0, &e));
    assert_refused(file_mkdirs(file, 0700, &e), ERR_SYSTEM);
    assert_refused(file_mkdirs(below, 0700, &e), ERR_SYSTEM);
    assert_refused(file_mkdirs("", 0700, &e), ERR_SYSTEM);
    assert_ok(file_sync_dir(deep, &e));
    assert_refused(file_sync_dir(file, &e), ERR_SYSTEM);
    assert_refused(file_sync_dir("/nonexistent", &e), ERR_SYSTEM);
    free(deep);
    free(file);
    free(below);
}

static void
file_lock__shuts_others_out(void **state)
{
    char *path = path_join(*state, "lock");
    int shared = -1;
    int second = -1;
    int alone = 55;
    struct stat st;
    struct err e;

    assert_ok(file_lock(path, false, false, &shared, &e));
    assert_ok(file_lock(path, false, true, &second, &e));
    assert_refused(file_lock(path, true, false, &alone, &e), ERR_BUSY);
    assert_int_equal(alone, 55);
    assert_int_equal(fd_close(&shared), 0);
    assert_refused(file_lock(path, true, false, &alone, &e), ERR_BUSY);
    assert_int_equal(fd_close(&second), 0);
    assert_ok(file_lock(path, true, false, &alone, &e));
    assert_refused(file_lock(path, false, false, &shared, &e), ERR_BUSY);
    assert_int_equal(fstat(alone, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true((fcntl(alone, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(fd_close(&alone), 0);
    assert_refused(file_lock("/nonexistent/x", true, false, &alone, &e), ERR_SYSTEM);
    free(path);
}

/* A lock on a file that has lost its name would shut nobody out. */
static void
file_lock__is_on_the_file_that_has_the_name(void **state)
{
    char *path = path_join(*state, "lock");
    int first = -1;
    int status = -1;
    int to_child[2];
    int fd = -1;
    struct err e;
    pid_t child;
    char c;

    assert_int_equal(pipe(to_child), 0);
    assert_ok(file_lock(path, true, false, &first, &e));
    child = fork();
    assert_true(child != -1);
    if (child == 0) {
        /* Waits on the old file, gets it when its name is gone, and must start anew. */
        (void)close(first);
        (void)close(to_child[1]);
        if (file_lock(path, true, true, &fd, &e) != 0 || !file_exists(path) ||
            fd_read_full(to_child[0], &c, 1) != 0) {
            _exit(1);
        }
        _exit(0);
    }
    (void)close(to_child[0]);
    /* Until the child sleeps on the lock. */
    for (bool waiting = false; !waiting;) {
        struct buf b = BUF_INIT;
        char *wchan = xasprintf("/proc/%d/stat", (int)child);

        assert_ok(file_read(wchan, 4096, &b, &e));
        waiting = strstr(buf_str(&b), ") S ") != NULL;
        buf_free(&b);
        free(wchan);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fd_close(&first), 0);
    (void)close(to_child[1]); /* its end, once it holds a lock */
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    free(path);
}

static void
paths__are_joined_and_parted(void **state)
{
    static const char *const joined[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}};
    static const char *const parted[][2] = {
        {"a/b", "a"}, {"b", "."}, {"/b", "/"}, {"/a/b/c", "/a/b"}};

    (void)state;
    for (size_t i = 0; i < sizeof joined / sizeof *joined; i++) {
        char *p = path_join(joined[i][0], joined[i][1]);

        assert_string_equal(p, joined[i][2]);
        free(p);
    }
    for (size_t i = 0; i < sizeof parted / sizeof *parted; i++) {
        char *p = path_parent(parted[i][0]);

        assert_string_equal(p, parted[i][1]);
        free(p);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(file_replace__replaces_durably_and_leaves_no_temporary),
        unit_test_in_dir(file_replace__overwrites_what_a_crash_left),
        unit_test_in_dir(file_replace__can_be_called_by_many_at_once),
        unit_test_in_dir(file_open_alone__shuts_others_out_until_the_last_copy_is_closed),
        unit_test_in_dir(file_replace__leaves_the_old_when_it_cannot_sync),
        unit_test_in_dir(file_replace__leaves_the_old_when_the_disk_is_full),
        unit_test_in_dir(file_replace__says_what_failed),
        unit_test_in_dir(file_replace__never_writes_through_a_link_at_the_temporary),
        unit_test_in_dir(file_replace_at__works_beneath_a_descriptor),
        unit_test_in_dir(file_read__holds_its_limit_to_the_byte),
        unit_test_in_dir(file_read__tells_missing_from_unreadable),
        cmocka_unit_test(fd_read_full__goes_on_after_short_reads),
        unit_test_in_dir(fd_pread_and_pwrite__use_their_offset),
        cmocka_unit_test(fds__report_errors),
        unit_test_in_dir(file_mkdirs__makes_what_is_missing),
        unit_test_in_dir(file_lock__shuts_others_out),
        unit_test_in_dir(file_lock__is_on_the_file_that_has_the_name),
        cmocka_unit_test(paths__are_joined_and_parted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
