#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

/* What cmocka needs before it, cmocka, and what most unit tests use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
