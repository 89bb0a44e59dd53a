#include "base/rec.h"
#include "runner/client/config.h"
#include "tests/unit/unit.h"

#define NS_PER_S ((int64_t)1000000000)

static struct config *
open_in(const char *dir, struct home **home)
{
    struct config *c = NULL;
    struct err e;

    assert_ok(home_open(home, dir, &e));
    assert_ok(config_open(&c, *home, &e));
    return c;
}

static void
config__has_defaults_and_makes_nothing(void **state)
{
    char *sub = path_join(*state, "not/yet");
    struct home *home = NULL;
    struct config *c = open_in(sub, &home);

    assert_string_equal(config_get(c, "ask-above"), "50");
    assert_null(config_get_set(c, "ask-above"));
    assert_int_equal(config_money_fen(c, "ask-above"), 5000);
    assert_int_equal(config_duration_ns(c, "max-time"), 24 * 3600 * NS_PER_S);
    assert_int_equal(config_duration_ns(c, "window"), 60 * NS_PER_S);
    assert_false(file_exists(sub));
    config_free(c);
    config_free(NULL);
    home_free(home);
    free(sub);
}

static void
config__keeps_what_was_set_until_it_is_unset(void **state)
{
    struct home *home = NULL;
    struct config *c = open_in(*state, &home);
    struct err e;

    assert_ok(config_set(c, "ask-above", "7.5", &e));
    assert_ok(config_set(c, "window", "0s", &e));
    assert_ok(config_set(c, "ask-above", "8.25", &e)); /* the last one counts */
    config_free(c);
    home_free(home);

    c = open_in(*state, &home);
    assert_int_equal(config_money_fen(c, "ask-above"), 825);
    assert_int_equal(config_duration_ns(c, "window"), 0);
    assert_ok(config_set(c, "ask-above", NULL, &e));
    assert_null(config_get_set(c, "ask-above"));
    assert_string_equal(config_get_set(c, "window"), "0s");
    config_free(c);
    home_free(home);

    c = open_in(*state, &home);
    assert_string_equal(config_get(c, "ask-above"), "50");
    config_free(c);
    home_free(home);
}

static void
config__refuses_what_is_no_value_and_changes_nothing(void **state)
{
    struct home *home = NULL;
    struct config *c = open_in(*state, &home);
    char *path = path_join(*state, "config");
    char long_value[5000];
    struct err e;

    memset(long_value, '1', sizeof long_value - 1);
    long_value[sizeof long_value - 1] = '\0';
    assert_refused(config_set(c, "ask-above", "cheap", &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "ask-above"));
    assert_refused(config_set(c, "window", "1 fortnight", &e), ERR_INVALID);
    assert_refused(config_set(c, "window", long_value, &e), ERR_RANGE);
    assert_refused(config_set(c, "window", "2d", &e), ERR_RANGE);
    assert_refused(config_set(c, "max-time", "0", &e), ERR_RANGE);
    assert_refused(config_set(c, "max-time", "367d", &e), ERR_RANGE);
    assert_refused(config_set(c, "colour", "red", &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "max-time")); /* it names those there are */
    assert_false(file_exists(path));
    config_free(c);
    home_free(home);
    free(path);
}

static void
config__names_the_file_that_is_not_right(void **state)
{
    static const char *const bad[] = {
        "gpurun.config.v1\nwindow=soon\n",
        "gpurun.config.v1\nwindow",
        "gpurun.other.v1\nwindow=1s\n",
    };
    char *path = path_join(*state, "config");
    struct home *home = NULL;
    struct config *c = NULL;
    struct err e = {0};

    assert_ok(home_open(&home, *state, &e));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_ok(file_replace(path, bad[i], strlen(bad[i]), &e));
        assert_int_equal(config_open(&c, home, &e), -1);
        assert_non_null(strstr(e.msg, path));
        assert_null(c);
    }
    home_free(home);
    free(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(config__has_defaults_and_makes_nothing),
        unit_test_in_dir(config__keeps_what_was_set_until_it_is_unset),
        unit_test_in_dir(config__refuses_what_is_no_value_and_changes_nothing),
        unit_test_in_dir(config__names_the_file_that_is_not_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
