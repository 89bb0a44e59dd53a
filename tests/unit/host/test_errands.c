#include "tests/unit/unit.h"

#include "base/clock.h"
#include "base/file.h"
#include "runner/host/errands_internal.h"

#define NS_PER_MS ((int64_t)1000000)

static void
errands_turn__is_not_waited_for_without_end(void **state)
{
    char *dir = *state;
    const struct sign_public book = {{1}};
    const struct sign_public other = {{2}};
    struct agent a = {.home = dir};
    char *path = errands_file(&a, &book, ".lock");
    int64_t began_ns = clock_boot_ns();
    bool mine = true;
    int held = -1;
    int lock = -1;
    struct err e = {0};

    assert_int_equal(file_lock(path, true, false, &held, &e), 0);
    assert_int_equal(errands_turn(&a, &book, true, 300 * NS_PER_MS, &mine, &lock, &e),
                     -1);
    assert_int_equal(e.code, ERR_BUSY);
    assert_false(mine);
    assert_int_equal(lock, -1);
    assert_int_equal(errands_turn(&a, &other, true, 0, &mine, &lock, &e), 0);
    assert_true(mine); /* of another book that says nothing */
    (void)fd_close(&lock);
    assert_true(clock_boot_ns() - began_ns >= 300 * NS_PER_MS);
    (void)fd_close(&held);
    assert_int_equal(errands_turn(&a, &book, true, 300 * NS_PER_MS, &mine, &lock, &e), 0);
    assert_true(mine);
    (void)fd_close(&lock);
    free(path);
}

static void
errand_ask__ends_at_the_time_a_book_is_given(void **state)
{
    struct host_book book = {.name = "slow"};
    struct errand x = {.book = &book, .hold_fd = -1, .until_ns = clock_boot_ns()};
    struct err e = {0};

    (void)state;
    assert_int_equal(errand_ask(&x, NULL, NULL, &e), -1);
    assert_int_equal(e.code, ERR_BUSY);
    assert_true(x.gone);
    assert_non_null(strstr(e.msg, "'slow' takes too long"));
    assert_null(x.line);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(errands_turn__is_not_waited_for_without_end),
        cmocka_unit_test(errand_ask__ends_at_the_time_a_book_is_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
