#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

/* What cmocka needs before it, cmocka, and what most unit tests use. */
#include <fcntl.h>
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
#include "base/err.h"
#include "base/file.h"

/* A call that must succeed; otherwise the test fails with the error's words. */
#define assert_ok(call)                                                                  \
    do {                                                                                 \
        if ((call) != 0) {                                                               \
            fail_msg("%s: %s", #call, e.msg);                                            \
        }                                                                                \
    } while (0)

/* A call that must be refused with this code in the local e. */
#define assert_refused(call, want_code)                                                  \
    do {                                                                                 \
        memset(&e, 0, sizeof e);                                                         \
        assert_int_equal((call), -1);                                                    \
        if (e.code != (want_code)) {                                                     \
            fail_msg("%s: %s instead of %s: %s", #call, err_code_name(e.code),           \
                     err_code_name(want_code), e.msg);                                   \
        }                                                                                \
        assert_true(e.msg[0] != '\0');                                                   \
    } while (0)

/* splitmix64: every seed gives a good sequence. */
static inline uint64_t
unit_random(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A file beneath top, and the directories that lead to it. */
static inline void
unit_put_file(const char *top, const char *path, const char *text, mode_t mode)
{
    char *full = path_join(top, path);
    char *dir = xasprintf("%.*s", (int)(strrchr(full, '/') - full), full);
    struct err e = {0};

    assert_ok(file_mkdirs(dir, 0755, &e));
    assert_ok(file_replace(full, text, strlen(text), &e));
    assert_int_equal(chmod(full, mode), 0);
    free(dir);
    free(full);
}

/* Turn those bits of the byte of a file that lies there. */
static inline void
unit_flip(const char *path, off_t at, uint8_t mask)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t b;

    assert_int_not_equal(fd, -1);
    assert_int_equal(pread(fd, &b, 1, at), 1);
    b ^= mask;
    assert_int_equal(pwrite(fd, &b, 1, at), 1);
    assert_int_equal(close(fd), 0);
}

/* cmocka fixtures: *state is the path of a new, empty directory. */
static inline int
unit_dir_setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    char *dir = xasprintf("%s/unit.XXXXXX", tmp != NULL ? tmp : "/tmp");

    *state = dir;
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static inline int
unit_dir_teardown(void **state)
{
    struct err e;
    int rc = file_remove_tree(*state, &e);

    free(*state);
    return rc;
}

#define unit_test_in_dir(f)                                                              \
    cmocka_unit_test_setup_teardown(f, unit_dir_setup, unit_dir_teardown)

#endif
