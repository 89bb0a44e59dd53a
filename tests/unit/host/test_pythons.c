#include "tests/unit/unit.h"

#include <sys/stat.h>

#include "base/file.h"
#include "runner/host/loginenv.h"
#include "runner/host/pythons.h"

static void
found(const struct strings *env, const char *version, const char *top, const char *want)
{
    char *full = want == NULL ? NULL : path_join(top, want);
    char *got = pythons_find(env, env, version);

    if (want == NULL) {
        assert_null(got);
    } else {
        assert_non_null(got);
        assert_string_equal(got, full);
    }
    free(got);
    free(full);
}

static void
place(struct strings *env, const char *top)
{
    char *path = xasprintf(".::relative:%s/.pyenv/shims:%s/bin:%s/none", top, top, top);

    env_set(env, "HOME", top);
    env_set(env, "PATH", path);
    unit_put_file(top, "bin/python3", "", 0755);
    unit_put_file(top, "bin/python3.9", "", 0755);
    unit_put_file(top, "bin/python3.9-config", "", 0755);
    unit_put_file(top, "bin/pythonic", "", 0755);
    unit_put_file(top, ".pyenv/shims/python3", "", 0755);
    unit_put_file(top, ".pyenv/shims/python3.12", "", 0755);
    unit_put_file(top, ".pyenv/shims/python3.14", "", 0755);
    unit_put_file(top, ".pyenv/versions/3.12.1/bin/python", "", 0755);
    unit_put_file(top, ".pyenv/versions/3.12.10/bin/python", "", 0755);
    unit_put_file(top, ".pyenv/versions/3.12.11/README", "",
                  0755); /* that did not build */
    unit_put_file(top, ".pyenv/versions/mine/bin/python", "", 0755);
    free(path);
}

static void
pythons__are_found_by_version(void **state)
{
    struct strings env = {NULL, 0};

    place(&env, *state);
    found(&env, "3.9", *state, "bin/python3.9");
    found(&env, "3", *state, "bin/python3");
    found(&env, "3.12", *state, ".pyenv/versions/3.12.10/bin/python");
    found(&env, "3.12.1", *state, ".pyenv/versions/3.12.1/bin/python");
    found(&env, "3.14", *state, ".pyenv/shims/python3.14");
    found(&env, "3.1", *state, NULL);
    strings_free(&env);
}

static void
pythons__are_named_in_order(void **state)
{
    struct strings env = {NULL, 0};
    struct buf out = BUF_INIT;

    pythons_name(&env, &out);
    assert_int_equal(out.len, 0);
    place(&env, *state);
    pythons_name(&env, &out);
    assert_string_equal(buf_str(&out), "3, 3.9, 3.12.1, 3.12.10");
    buf_free(&out);
    strings_free(&env);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(pythons__are_found_by_version),
        unit_test_in_dir(pythons__are_named_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
