#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_internal.h"
#include "tests/unit/unit.h"

struct world {
    char *dir; /* what *state was */
    int fd;    /* the directory names must stay beneath */
};

/*
 * dir/outside, and beneath dir/in: file, sub/file, sub/inner/, and links up, to a
 * file, to a directory and to itself.
 */
static int
world_setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    struct err e;
    char *in;
    void *dir = NULL;

    assert_int_equal(unit_dir_setup(&dir), 0);
    w->dir = dir;
    in = path_join(w->dir, "in/sub/inner");
    assert_ok(file_mkdirs(in, 0700, &e));
    free(in);
    in = path_join(w->dir, "outside");
    assert_ok(file_replace(in, "secret", 6, &e));
    free(in);
    in = path_join(w->dir, "in");
    w->fd = open(in, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(w->fd != -1);
    free(in);
    assert_ok(file_replace_at(w->fd, "file", "top", 3, &e));
    assert_int_equal(symlinkat("../outside", w->fd, "up"), 0);
    assert_int_equal(symlinkat("file", w->fd, "tofile"), 0);
    assert_int_equal(symlinkat("sub", w->fd, "todir"), 0);
    assert_int_equal(symlinkat("loop", w->fd, "loop"), 0);
    assert_int_equal(symlinkat("/proc/self/root", w->fd, "magic"), 0);
    *state = w;
    return 0;
}

static int
world_teardown(void **state)
{
    struct world *w = *state;
    void *dir = w->dir;

    (void)fd_close(&w->fd);
    free(w);
    return unit_dir_teardown(&dir);
}

static const struct {
    const char *name;
    int flags;
    int want_errno; /* 0: opens */
} cases[] = {
    {"file", O_RDONLY, 0},
    {"./file", O_RDONLY, 0},
    {"sub//inner", O_RDONLY, 0},
    {"sub/", O_RDONLY, 0},
    {"sub/new", O_WRONLY | O_CREAT | O_EXCL, 0},
    {"sub", O_PATH, 0},
    {"file/", O_RDONLY, ENOTDIR},
    {"file/x", O_RDONLY, ENOTDIR},
    {"none", O_RDONLY, ENOENT},
    {"none/x", O_WRONLY | O_CREAT, ENOENT},
    {"file", O_WRONLY | O_CREAT | O_EXCL, EEXIST},
    {"up", O_RDONLY, ELOOP},
    {"up", O_WRONLY | O_CREAT, ELOOP},
    {"tofile", O_RDONLY, ELOOP},
    {"tofile", O_PATH, ELOOP},
    {"todir", O_RDONLY | O_DIRECTORY, ELOOP},
    {"todir/inner", O_RDONLY, ELOOP},
    {"todir/new", O_WRONLY | O_CREAT, ELOOP},
    {"loop", O_RDONLY, ELOOP},
    {"magic/etc/passwd", O_RDONLY, ELOOP},
};

static enum err_code
code_of(int why)
{
    return why == ELOOP    ? ERR_DENIED
           : why == ENOENT ? ERR_NOT_FOUND
           : why == EEXIST ? ERR_EXISTS
                           : ERR_SYSTEM;
}

static void
open_beneath__follows_nothing(void **state)
{
    const struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = -7;
        struct err e;

        if (cases[i].want_errno == 0) {
            assert_ok(
                file_open_beneath(w->fd, cases[i].name, cases[i].flags, 0600, &fd, &e));
            assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
            assert_int_equal(fd_close(&fd), 0);
        } else {
            assert_refused(
                file_open_beneath(w->fd, cases[i].name, cases[i].flags, 0600, &fd, &e),
                code_of(cases[i].want_errno));
            assert_int_equal(fd, -7);
        }
    }
}

/* Kernels without openat2: the same answers, errno for errno. */
static void
walk__answers_as_openat2_does(void **state)
{
    const struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = beneath_walk(w->fd, cases[i].name, cases[i].flags, 0600);
        int why = errno;

        if (cases[i].want_errno == 0) {
            assert_true(fd != -1);
            assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
            assert_int_equal(fd_close(&fd), 0);
        } else {
            assert_int_equal(fd, -1);
            assert_int_equal(why, cases[i].want_errno);
        }
    }
}

static const char *const leading_outside[] = {
    "", "/", "/etc/passwd", "..", "../outside", "sub/..", "sub/../../outside", "./..",
};

static void
names__that_lead_outside_are_refused(void **state)
{
    const struct world *w = *state;

    for (size_t i = 0; i < sizeof leading_outside / sizeof *leading_outside; i++) {
        int fd = -7;
        struct err e;

        assert_refused(file_open_beneath(w->fd, leading_outside[i], O_RDONLY, 0, &fd, &e),
                       ERR_DENIED);
        assert_refused(file_mkdirs_beneath(w->fd, leading_outside[i], 0700, &fd, &e),
                       ERR_DENIED);
        assert_int_equal(fd, -7);
    }
}

static void
names__with_dots_inside_are_just_names(void **state)
{
    static const char *const names[] = {"...", "..a", "a..", "sub/..x", ".hidden"};
    const struct world *w = *state;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int fd = -1;
        struct err e;

        assert_ok(file_open_beneath(w->fd, names[i], O_WRONLY | O_CREAT, 0600, &fd, &e));
        assert_int_equal(fd_close(&fd), 0);
    }
}

static void
mkdirs_beneath__makes_and_opens(void **state)
{
    const struct world *w = *state;
    int fd = -1;
    struct stat st;
    struct stat named;
    struct err e;

    assert_ok(file_mkdirs_beneath(w->fd, "sub/a//b/", 0750, &fd, &e));
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0750);
    assert_int_equal(fstatat(w->fd, "sub/a/b", &named, 0), 0);
    assert_true(st.st_ino == named.st_ino);
    assert_int_equal(fd_close(&fd), 0);
    assert_ok(file_mkdirs_beneath(w->fd, "sub", 0700, &fd, &e)); /* there already */
    assert_int_equal(fd_close(&fd), 0);
    assert_ok(file_mkdirs_beneath(w->fd, ".", 0700, &fd, &e));
    assert_int_equal(fd_close(&fd), 0);
    assert_refused(file_mkdirs_beneath(w->fd, "todir/x", 0700, &fd, &e), ERR_DENIED);
    assert_refused(file_mkdirs_beneath(w->fd, "up", 0700, &fd, &e), ERR_DENIED);
    assert_refused(file_mkdirs_beneath(w->fd, "file/x", 0700, &fd, &e), ERR_SYSTEM);
    assert_int_equal(fstatat(w->fd, "sub/x", &named, 0), -1);
    assert_int_equal(fd, -1);
}

#define in_world(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        in_world(open_beneath__follows_nothing),
        in_world(walk__answers_as_openat2_does),
        in_world(names__that_lead_outside_are_refused),
        in_world(names__with_dots_inside_are_just_names),
        in_world(mkdirs_beneath__makes_and_opens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
