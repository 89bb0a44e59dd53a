#include "tests/unit/unit.h"

#include "base/file.h"
#include "runner/host/activate.h"
#include "runner/host/loginenv.h"

static void
login_of(struct strings *env, const char *top)
{
    char *path = xasprintf("%s/base/bin:/usr/bin:/bin", top);
    char *base = path_join(top, "base");

    env_set(env, "HOME", top);
    env_set(env, "PATH", path);
    env_set(env, "CONDA_PREFIX", base);
    env_set(env, "CONDA_SHLVL", "1");
    env_set(env, "KEPT", "as it was\nof two lines");
    env_set(env, "OF_BASE", "goes");
    free(base);
    free(path);
}

static void
is(const struct strings *env, const char *name, const char *format, const char *top)
{
    char *want = NULL;

    if (format == NULL) {
        assert_null(env_get(env, name));
        return;
    }
    want = strstr(format, "%s") != NULL ? path_join(top, format + 3) : xstrdup(format);
    assert_non_null(env_get(env, name));
    assert_string_equal(env_get(env, name), want);
    free(want);
}

static void
activate__is_what_conda_makes_of_it(void **state)
{
    const char *top = *state;
    struct strings login = {NULL, 0};
    struct strings after = {NULL, 0};
    char *prefix = path_join(top, "my envs/cuda");
    char *path = xasprintf("%s/bin:/usr/bin:/bin", prefix);
    struct err e = {0};

    login_of(&login, top);
    unit_put_file(top, "base/conda-meta/state", "{\"env_vars\": {\"OF_BASE\": \"goes\"}}",
                  0644);
    unit_put_file(top, "base/etc/conda/deactivate.d/1.sh", "export ORDER=\"$ORDER-d1\"\n",
                  0644);
    unit_put_file(top, "base/etc/conda/deactivate.d/2.sh",
                  "export ORDER=\"$ORDER-d2\" SAW=\"$CONDA_PREFIX\"\n", 0644);
    unit_put_file(top, "my envs/cuda/etc/conda/env_vars.d/p.json",
                  "{\"A\": \"package\", \"B\": \"package\"}", 0644);
    unit_put_file(top, "my envs/cuda/etc/conda/env_vars.d/torn.json", "{\"A\": ", 0644);
    unit_put_file(
        top, "my envs/cuda/conda-meta/state",
        "{\"env_vars\": {\"B\": \"user's\", \"GONE\": \"***unset***\", \"X=Y\": \"z\", "
        "\"N\": 1}, \"version\": 1}",
        0644);
    unit_put_file(
        top, "my envs/cuda/etc/conda/activate.d/a.sh",
        "echo noise; export CUDA_HOME=\"$CONDA_PREFIX\" ORDER=\"$ORDER-a\"\nfalse\n",
        0644);
    unit_put_file(
        top, "my envs/cuda/etc/conda/activate.d/b.sh",
        "read x; export ORDER=\"$ORDER-b\" N=$#; unset KEPT_NOT; local_only=1\n", 0644);
    unit_put_file(top, "my envs/cuda/etc/conda/activate.d/c.txt", "exit 1\n", 0644);
    env_set(&login, "KEPT_NOT", "1");
    assert_ok(activate_conda(&login, prefix, &after, &e));
    is(&after, "ORDER", "-d2-d1-a-b", top);
    is(&after, "SAW", "%s/base", top);
    is(&after, "CUDA_HOME", "%s/my envs/cuda", top);
    is(&after, "CONDA_PREFIX", "%s/my envs/cuda", top);
    is(&after, "PATH", path, top);
    is(&after, "A", "package", top);
    is(&after, "B", "user's", top);
    is(&after, "N", "0", top);
    is(&after, "KEPT", "as it was\nof two lines", top);
    is(&after, "KEPT_NOT", NULL, top);
    is(&after, "OF_BASE", NULL, top);
    is(&after, "GONE", NULL, top);
    is(&after, "local_only", NULL, top);
    is(&after, "_gpurun_new", NULL, top);
    strings_free(&after);
    strings_free(&login);
    free(path);
    free(prefix);
}

static void
activate__without_scripts_needs_no_shell(void **state)
{
    struct strings login = {NULL, 0};
    struct strings after = {NULL, 0};
    char *prefix = path_join(*state, "plain");
    struct err e = {0};

    env_set(&login, "PATH", "/nowhere");
    assert_ok(activate_conda(&login, prefix, &after, &e));
    is(&after, "CONDA_PREFIX", "%s/plain", *state);
    is(&after, "CONDA_SHLVL", "1", *state);
    strings_free(&after);
    strings_free(&login);
    free(prefix);
}

static void
activate__says_so_where_a_script_ends_the_shell(void **state)
{
    struct strings login = {NULL, 0};
    struct strings after = {NULL, 0};
    char *prefix = path_join(*state, "bad");
    char *old = path_join(*state, "old");
    char *script = path_join(prefix, "etc/conda/activate.d/a.sh");
    struct err e = {0};

    env_set(&login, "PATH", "/usr/bin:/bin");
    unit_put_file(*state, "bad/etc/conda/activate.d/a.sh", "exit 0\n", 0644);
    assert_refused(activate_conda(&login, prefix, &after, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "ended the shell"));
    assert_null(strstr(e.msg, "deactivate.d"));
    assert_int_equal(after.n, 0);

    env_set(&login, "CONDA_PREFIX", old);
    unit_put_file(*state, "old/etc/conda/deactivate.d/a.sh", "exit 0\n", 0644);
    (void)unlink(script);
    assert_refused(activate_conda(&login, prefix, &after, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "old/etc/conda/deactivate.d'"));
    assert_null(strstr(e.msg, "/activate.d"));
    strings_free(&login);
    free(script);
    free(old);
    free(prefix);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(activate__is_what_conda_makes_of_it),
        unit_test_in_dir(activate__without_scripts_needs_no_shell),
        unit_test_in_dir(activate__says_so_where_a_script_ends_the_shell),
    };

    /* As the agent does it, which the shell ends in. */
    if (argc == 2 && strcmp(argv[1], "print-env") == 0) {
        return loginenv_print();
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
