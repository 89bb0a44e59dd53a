#include "tests/unit/unit.h"

#include "runner/host/loginenv.h"

static void
env__holds_each_name_once(void **state)
{
    struct strings env = {NULL, 0};

    (void)state;
    env_set(&env, "A", "1");
    env_set(&env, "AB", "2");
    env_put(&env, "A=3=4");
    env_put(&env, "EMPTY=");
    assert_int_equal(env.n, 3);
    assert_string_equal(env_get(&env, "A"), "3=4");
    assert_string_equal(env_get(&env, "AB"), "2");
    assert_string_equal(env_get(&env, "EMPTY"), "");
    assert_null(env_get(&env, "B"));
    assert_null(env_get(&env, ""));
    env_unset(&env, "A");
    env_unset(&env, "NEVER");
    assert_int_equal(env.n, 2);
    assert_null(env_get(&env, "A"));
    assert_string_equal(env_get(&env, "AB"), "2");
    strings_free(&env);
}

/* Of a list like PATH, what leads somewhere whoever asks. */
static void
env__passes_over_what_is_no_directory_for_everybody(void **state)
{
    const char *rest = "::/a/b:rel:.:/c d::";
    char *dir;

    (void)state;
    dir = env_next_dir(&rest);
    assert_string_equal(dir, "/a/b");
    free(dir);
    dir = env_next_dir(&rest);
    assert_string_equal(dir, "/c d");
    free(dir);
    assert_null(env_next_dir(&rest));
    rest = NULL;
    assert_null(env_next_dir(&rest));
}

/* A login shell may print before and after, and its environment may hold anything. */
static void
loginenv__refuses_what_is_torn(void **state)
{
    static const char *const texts[] = {"", "no marks at all\n", "PATH=/bin"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct buf b = BUF_INIT;
        struct strings out = {NULL, 0};

        buf_add_str(&b, texts[i]);
        assert_false(loginenv_take(&b, &out));
        strings_free(&out);
        buf_free(&b);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(env__holds_each_name_once),
        cmocka_unit_test(env__passes_over_what_is_no_directory_for_everybody),
        cmocka_unit_test(loginenv__refuses_what_is_torn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
