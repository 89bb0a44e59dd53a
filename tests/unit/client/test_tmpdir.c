/* What is on its way lies in a directory that goes, one way or the other. */
#include "tests/unit/client/home_util.h"

#include "base/buf.h"
#include "base/file.h"
#include "runner/client/tmpdir.h"

static void
tmpdir__of_who_was_killed_goes_with_the_next(void **state)
{
    struct home *home = *state;
    struct tmpdir held = TMPDIR_NONE;
    struct tmpdir left = TMPDIR_NONE;
    struct tmpdir next = TMPDIR_NONE;
    struct err e = {0};
    char *inside;

    assert_ok(tmpdir_make(&held, home, "store.", &e));
    assert_ok(tmpdir_make(&left, home, "cp.", &e));
    inside = path_join(left.path, "d");
    assert_ok(file_mkdirs(inside, 0700, &e));
    (void)fd_close(&left.fd); /* as the kernel does for who was killed */
    assert_ok(tmpdir_make(&next, home, "store.", &e));
    assert_false(file_exists(left.path));
    assert_true(file_exists(held.path) && file_exists(next.path));
    tmpdir_remove(&held);
    tmpdir_remove(&next);
    tmpdir_remove(&next);
    free(inside);
    free(left.path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tmpdir__of_who_was_killed_goes_with_the_next,
                                        home_setup, home_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
