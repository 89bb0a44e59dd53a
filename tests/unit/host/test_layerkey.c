#include "tests/unit/unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "runner/host/layerkey.h"
#include "runner/host/loginenv.h"

/* Is the key another than the one in *was? That becomes the new one. */
static bool
changed(const struct layerkey_wants *w, char was[SHA256_HEX_LEN + 1])
{
    char again[SHA256_HEX_LEN + 1];
    char now[SHA256_HEX_LEN + 1];
    bool other;

    layerkey_make(w, now);
    layerkey_make(w, again);
    assert_string_equal(now, again);
    other = strcmp(now, was) != 0;
    memcpy(was, now, sizeof now);
    return other;
}

static void
layer__is_another_for_another_interpreter(void **state)
{
    const char *top = *state;
    struct strings login = {NULL, 0};
    struct strings own = {NULL, 0};
    char *path = xasprintf("%s/bin:%s/.pyenv/shims", top, top);
    char *elsewhere = xasprintf("PATH=%s/else", top);
    struct layerkey_wants w = {.key = "aa", .login = &login, .own = &own};
    char key[SHA256_HEX_LEN + 1] = "";

    env_set(&login, "HOME", top);
    env_set(&login, "PATH", path);
    assert_true(changed(&w, key)); /* no interpreter at all */
    unit_put_file(top, ".pyenv/shims/python3", "shim", 0755);
    assert_true(changed(&w, key));
    unit_put_file(top, ".pyenv/version", "3.11.4\n", 0755);
    assert_true(changed(&w, key));
    env_set(&login, "PYENV_VERSION", "3.12.1");
    assert_true(changed(&w, key));
    unit_put_file(top, "bin/python3", "one", 0755);
    assert_true(changed(&w, key));
    unit_put_file(top, "bin/python3", "another", 0755);
    assert_true(changed(&w, key));
    unit_put_file(top, ".pyenv/version", "3.9\n", 0755); /* of the shims alone */
    assert_false(changed(&w, key));
    w.key = "bb";
    assert_true(changed(&w, key));

    /* --env leads the login user's own job to another interpreter, and everyone's to
     * other tools */
    unit_put_file(top, "else/python3", "else", 0755);
    w.confined = true;
    assert_false(changed(&w, key));
    strings_add(&own, elsewhere);
    assert_true(changed(&w, key));
    w.confined = false;
    assert_true(changed(&w, key));

    /* each variable once, the last that was given, in whatever order */
    strings_add(&own, "CC=gcc-12");
    assert_true(changed(&w, key));
    strings_free(&own);
    strings_add(&own, "CC=gcc");
    strings_add(&own, "CC=gcc-12");
    strings_add(&own, elsewhere);
    assert_false(changed(&w, key));
    strings_free(&login);
    strings_free(&own);
    free(path);
    free(elsewhere);
}

static void
layer__is_another_for_an_environment_made_anew(void **state)
{
    const char *top = *state;
    struct strings login = {NULL, 0};
    struct strings own = {NULL, 0};
    struct layerkey_wants w = {
        .key = "aa", .conda = "torch", .login = &login, .own = &own};
    char *env = path_join(top, "miniconda3/envs/torch");
    char *old = path_join(top, "old");
    char key[SHA256_HEX_LEN + 1] = "";

    env_set(&login, "HOME", top);
    unit_put_file(top, "miniconda3/envs/torch/bin/python", "python", 0755);
    unit_put_file(top, "miniconda3/conda-meta/history", "", 0755);
    assert_true(changed(&w, key));
    unit_put_file(top, "miniconda3/envs/torch/lib/x", "installed since", 0755);
    assert_false(changed(&w, key));
    assert_int_equal(rename(env, old), 0); /* its inode is not free yet */
    unit_put_file(top, "miniconda3/envs/torch/bin/python", "python", 0755);
    assert_true(changed(&w, key));
    w.conda = "gone";
    assert_true(changed(&w, key));

    /* a virtual environment that it lies over */
    w.conda = NULL;
    w.venv = old;
    assert_true(changed(&w, key));
    w.venv = env;
    assert_true(changed(&w, key));
    strings_free(&login);
    free(env);
    free(old);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(layer__is_another_for_another_interpreter),
        unit_test_in_dir(layer__is_another_for_an_environment_made_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
