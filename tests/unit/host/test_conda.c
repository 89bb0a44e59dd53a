#include "tests/unit/unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "runner/host/conda.h"
#include "runner/host/loginenv.h"

/* Trees as installers leave them: what is found, and in which order. */

static void
make(const char *top, const char *path, const char *text)
{
    char *full = path_join(top, path);
    struct err e = {0};

    for (char *p = strchr(full + strlen(top) + 1, '/'); p != NULL;
         p = strchr(p + 1, '/')) {
        *p = '\0';
        (void)mkdir(full, 0755);
        *p = '/';
    }
    assert_ok(file_replace(full, text, strlen(text), &e));
    assert_int_equal(chmod(full, 0755), 0);
    free(full);
}

static void
found(const struct strings *env, const char *name, const char *top, const char *want)
{
    struct err e = {0};
    char *full = path_join(top, want);
    char *prefix = conda_find(env, name, &e);

    assert_non_null(prefix);
    assert_string_equal(prefix, full);
    free(prefix);
    free(full);
}

static void
runs(const struct strings *env, const char *top, const char *want)
{
    char *full = path_join(top, want);
    char *program = conda_program(env);

    assert_non_null(program);
    assert_string_equal(program, full);
    free(program);
    free(full);
}

static void
conda__is_found_where_installers_and_settings_put_it(void **state)
{
    const char *top = *state;
    struct strings env = {NULL, 0};
    char *link = path_join(top, "usrbin/conda");
    char *envs_path = xasprintf("/nowhere:%s/data disk", top);
    char *condarc =
        xasprintf("channels:\n- defaults\nenvs_dirs: # big\n  - \"%s/lab\"  \n  "
                  "- ~/own # mine\r\nauto: - /x\n",
                  top);
    char *listed = xasprintf("%s/far/away\n%s/gone\n", top, top);

    env_set(&env, "HOME", top);
    env_set(&env, "PATH", "/bin");
    make(top, "miniconda3/conda-meta/history", "");
    make(top, "miniconda3/bin/python", "");
    make(top, "miniconda3/envs/torch/bin/python", "");
    make(top, "miniconda3/envs/empty/conda-meta/history", "");
    make(top, ".conda/envs/mine/bin/python", "");
    make(top, "lab/shared/bin/python", "");
    make(top, "own/small/bin/python", "");
    make(top, "data disk/big/bin/python", "");
    make(top, "data disk/torch/bin/python", "");
    make(top, "far/away/bin/python", "");
    make(top, "other/condabin/conda", "");
    make(top, "other/conda-meta/history", "");
    make(top, "other/bin/python", "");
    make(top, "other/envs/elsewhere/bin/python", "");
    make(top, "usrbin/x", "");
    make(top, ".condarc", condarc);
    make(top, ".conda/environments.txt", listed);
    found(&env, "base", top, "miniconda3");
    found(&env, "torch", top, "miniconda3/envs/torch");
    found(&env, "mine", top, ".conda/envs/mine");
    found(&env, "shared", top, "lab/shared");
    found(&env, "small", top, "own/small");
    found(&env, "away", top, "far/away");
    env_set(&env, "CONDA_ENVS_PATH", envs_path);
    found(&env, "big", top, "data disk/big");
    found(&env, "torch", top, "data disk/torch"); /* first as with conda */
    {
        char *target = path_join(top, "other/condabin/conda");
        char *path = xasprintf("/bin:%s/usrbin", top);

        assert_int_equal(symlink(target, link), 0);
        env_set(&env, "PATH", path);
        free(target);
        free(path);
    }
    found(&env, "elsewhere", top, "other/envs/elsewhere");
    found(&env, "base", top, "other"); /* what the PATH has goes before usual places */
    strings_free(&env);
    free(link);
    free(envs_path);
    free(condarc);
    free(listed);
}

static void
conda__that_is_not_there_is_told_with_what_is(void **state)
{
    struct strings env = {NULL, 0};
    struct err e = {0};

    env_set(&env, "HOME", *state);
    assert_null(conda_find(&env, "torch", &e));
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "--conda torch: there is no"));
    make(*state, "miniforge3/conda-meta/history", "");
    make(*state, "miniforge3/bin/python", "");
    make(*state, "miniforge3/envs/tf/bin/python", "");
    make(*state, "miniforge3/envs/broken/conda-meta/history", "");
    assert_null(conda_find(&env, "torch", &e));
    assert_non_null(strstr(e.msg, "there are: base, tf"));
    assert_null(strstr(e.msg, "broken"));
    strings_free(&env);
}

static void
program__is_conda_or_what_does_as_well(void **state)
{
    const char *top = *state;
    struct strings env = {NULL, 0};
    char *mamba = path_join(top, "else/where/mamba");
    char *bin = path_join(top, "bin");

    env_set(&env, "HOME", top);
    assert_null(conda_program(&env));
    make(top, "micromamba/bin/micromamba", "");
    make(top, "micromamba/envs/x", "");
    runs(&env, top, "micromamba/bin/micromamba");
    make(top, "miniforge3/condabin/conda", "");
    make(top, "miniforge3/conda-meta/history", "");
    runs(&env, top, "miniforge3/condabin/conda"); /* the first root of the usual ones */
    make(top, "bin/micromamba", "");
    env_set(&env, "PATH", bin);
    runs(&env, top, "bin/micromamba");
    make(top, "else/where/mamba", "");
    env_set(&env, "MAMBA_EXE", mamba);
    runs(&env, top, "else/where/mamba");
    env_set(&env, "CONDA_EXE", "/nonexistent/conda");
    runs(&env, top, "else/where/mamba");
    strings_free(&env);
    free(mamba);
    free(bin);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(conda__is_found_where_installers_and_settings_put_it),
        unit_test_in_dir(conda__that_is_not_there_is_told_with_what_is),
        unit_test_in_dir(program__is_conda_or_what_does_as_well),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
