#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H

#include "tests/unit/unit.h"

/* A new, empty directory of a test that needs more than one; in memory, where that is to
 * be had: fsync costs nothing there. */
static inline char *
scratch_dir(void)
{
    const char *base = getenv("TMPDIR");
    char *dir;

    if (base == NULL) {
        base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    }
    dir = xasprintf("%s/gpurun-unit.XXXXXX", base);
    assert_non_null(mkdtemp(dir));
    return dir;
}

static inline void
scratch_free(char *dir)
{
    struct err e = {0};

    assert_ok(file_remove_tree(dir, &e));
    free(dir);
}

/* For cmocka_unit_test_setup_teardown: *state is such a directory. */
static inline int
scratch_set_up(void **state)
{
    *state = scratch_dir();
    return 0;
}

static inline int
scratch_tear_down(void **state)
{
    scratch_free(*state);
    return 0;
}

#endif
