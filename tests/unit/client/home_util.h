#ifndef TESTS_UNIT_CLIENT_HOME_UTIL_H
#define TESTS_UNIT_CLIENT_HOME_UTIL_H

#include "tests/unit/unit.h"

#include "runner/client/home.h"

/* cmocka fixtures: *state is a client's home, new and empty. */
static inline int
home_setup(void **state)
{
    struct home *home = NULL;
    struct err e = {0};
    void *dir = NULL;

    if (unit_dir_setup(&dir) != 0) {
        return -1;
    }
    assert_ok(home_open(&home, dir, &e));
    free(dir);
    *state = home;
    return 0;
}

static inline int
home_teardown(void **state)
{
    struct err e = {0};
    int rc = file_remove_tree(home_dir(*state), &e);

    home_free(*state);
    return rc;
}

#endif
