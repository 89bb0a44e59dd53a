#include "tests/unit/unit.h"

#include <sys/stat.h>

#include "base/file.h"
#include "runner/host/loginenv.h"
#include "runner/host/pythons.h"

static void
make(const char *top, const char *path)
{
    char *full = path_join(top, path);
    char *dir = xasprintf("%.*s", (int)(strrchr(full, '/') - full), full);
    struct err e = {0};

    assert_ok(file_mkdirs(dir, 0755, &e));
    assert_ok(file_replace(full, "", 0, &e));
    assert_int_equal(chmod(full, 0755), 0);
    free(dir);
    free(full);
}

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
    make(top, "bin/python3");
    make(top, "bin/python3.9");
    make(top, "bin/python3.9-config");
    make(top, "bin/pythonic");
    make(top, ".pyenv/shims/python3");
    make(top, ".pyenv/shims/python3.12");
    make(top, ".pyenv/shims/python3.14");
    make(top, ".pyenv/versions/3.12.1/bin/python");
    make(top, ".pyenv/versions/3.12.10/bin/python");
    make(top, ".pyenv/versions/3.12.11/README"); /* that did not build */
    make(top, ".pyenv/versions/mine/bin/python");
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
