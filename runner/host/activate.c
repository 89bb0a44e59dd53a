#include "runner/host/activate.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "runner/host/loginenv.h"

#define JSON_MAX ((size_t)1 << 20)
#define NS_PER_S ((int64_t)1000000000)
#define UNSET    "***unset***" /* conda's own mark */

#define ACTIVATE_DIR   "etc/conda/activate.d"
#define DEACTIVATE_DIR "etc/conda/deactivate.d"

/*
 * In the order of conda. Their output is nobody's; descriptor 3 is where the environment
 * goes. The names that hold what we need are not exported, so none of them stays.
 */
static const char script[] =
    "exec 3>&1 </dev/null >/dev/null 2>&1\n"
    "_gpurun_agent=$1 _gpurun_old=$2 _gpurun_new=$3 _gpurun_path=$4\n"
    "set --\n"
    "if [ -n \"$_gpurun_old\" ]; then\n"
    "  for _gpurun_f in \"$_gpurun_old\"/" DEACTIVATE_DIR "/*.sh; do\n"
    "    set -- \"$_gpurun_f\" \"$@\"\n"
    "  done\n"
    "  for _gpurun_f in \"$@\"; do [ -f \"$_gpurun_f\" ] && . \"$_gpurun_f\"; done\n"
    "fi\n"
    "set --\n"
    "export CONDA_PREFIX=\"$_gpurun_new\" PATH=\"$_gpurun_path\"\n"
    "for _gpurun_f in \"$_gpurun_new\"/" ACTIVATE_DIR "/*.sh; do\n"
    "  [ -f \"$_gpurun_f\" ] && . \"$_gpurun_f\"\n"
    "done\n"
    "exec \"$_gpurun_agent\" print-env >&3\n";

/* ---- variables that files of an environment list ---- */

/* {"NAME": "value"} */
static void
set_listed(struct strings *env, const struct json *vars, bool on)
{
    for (size_t i = 0; i < json_len(vars); i++) {
        const char *name = json_key_at(vars, i);
        const struct json *value = json_value_at(vars, i);

        if (name == NULL || name[0] == '\0' || strchr(name, '=') != NULL ||
            json_kind(value) != JSON_STR) {
            continue;
        }
        if (on && strcmp(json_as_str(value), UNSET) != 0) {
            env_set(env, name, json_as_str(value));
        } else {
            env_unset(env, name);
        }
    }
}

static void
set_from_file(struct strings *env, const char *path, const char *member, bool on)
{
    struct buf b = BUF_INIT;
    struct json *root = NULL;
    struct stat st;
    struct err none;

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
        file_read(path, JSON_MAX, &b, &none) == 0 &&
        json_parse(&root, b.data, b.len, &none) == 0) {
        const struct json *vars = member == NULL ? root : json_get(root, member);

        if (json_kind(vars) == JSON_OBJ) {
            set_listed(env, vars, on);
        }
    }
    json_free(root);
    buf_free(&b);
}

static int
is_json(const struct dirent *d)
{
    return text_ends_with(d->d_name, ".json");
}

static void
set_variables(struct strings *env, const char *prefix, bool on)
{
    char *dir = path_join(prefix, "etc/conda/env_vars.d");
    char *state = path_join(prefix, "conda-meta/state");
    struct dirent **names = NULL;
    int n = scandir(dir, &names, is_json, alphasort);

    for (int i = 0; i < n; i++) {
        char *path = path_join(dir, names[i]->d_name);

        set_from_file(env, path, NULL, on);
        free(path);
        free(names[i]);
    }
    free(names);
    set_from_file(env, state, "env_vars", on);
    free(state);
    free(dir);
}

/* ---- scripts ---- */

static int
is_script(const struct dirent *d)
{
    return text_ends_with(d->d_name, ".sh");
}

static bool
has_scripts(const char *prefix, const char *name)
{
    char *dir = path_join(prefix, name);
    struct dirent **names = NULL;
    int n = scandir(dir, &names, is_script, alphasort);

    for (int i = 0; i < n; i++) {
        free(names[i]);
    }
    free(names);
    free(dir);
    return n > 0;
}

/* "'NEW/etc/conda/activate.d'", and before it what is left: where scripts are. malloc'ed
 */
static char *
script_dirs(const char *old, const char *prefix)
{
    bool leaves = old != NULL && has_scripts(old, DEACTIVATE_DIR);
    bool enters = has_scripts(prefix, ACTIVATE_DIR);
    struct buf b = BUF_INIT;

    if (leaves) {
        buf_printf(&b, "'%s/" DEACTIVATE_DIR "'", old);
    }
    if (enters) {
        buf_printf(&b, "%s'%s/" ACTIVATE_DIR "'", leaves ? ", " : "", prefix);
    }
    return buf_steal(&b);
}

/* PATH without old's bin, and with prefix's first. malloc'ed */
static char *
path_for(const struct strings *env, const char *old, const char *prefix)
{
    char *old_bin = old == NULL ? NULL : path_join(old, "bin");
    const char *rest = env_get(env, "PATH");
    struct buf b = BUF_INIT;
    char *dir;

    buf_printf(&b, "%s/bin", prefix);
    while ((dir = env_next_dir(&rest)) != NULL) {
        if (old_bin == NULL || strcmp(dir, old_bin) != 0) {
            buf_printf(&b, ":%s", dir);
        }
        free(dir);
    }
    free(old_bin);
    return buf_steal(&b);
}

/* before: the old one still active. after is as far as we get without a shell. */
static int
run_scripts(const struct strings *before, const char *old, const char *prefix,
            struct strings *after, struct err *e)
{
    char *bash = env_which(before, "bash");
    char *agent = loginenv_program();
    char *path = xstrdup(env_get(after, "PATH"));
    char *dirs = script_dirs(old, prefix);
    char *const argv[] = {bash != NULL ? bash : (char *)(uintptr_t) "/bin/sh",
                          (char *)(uintptr_t) "-c",
                          (char *)(uintptr_t)script,
                          (char *)(uintptr_t) "conda",
                          agent,
                          (char *)(uintptr_t)(old == NULL ? "" : old),
                          (char *)(uintptr_t)prefix,
                          path,
                          NULL};
    struct strings start = {NULL, 0};
    char **envp;
    int rc = -1;

    /* What deactivate.d looks at is the old one's. */
    strings_add_all(&start, after);
    if (old != NULL) {
        env_set(&start, "CONDA_PREFIX", old);
        env_set(&start, "PATH", env_get(before, "PATH"));
    }
    envp = xcalloc(start.n + 1, sizeof *envp);
    for (size_t i = 0; i < start.n; i++) {
        envp[i] = start.v[i];
    }
    strings_free(after);
    if (agent == NULL) {
        err_set(e, ERR_SYSTEM, "cannot find my own program");
    } else if (loginenv_ask(argv, envp, ACTIVATE_LIMIT_S * NS_PER_S, after, e) == 0) {
        rc = 0;
    } else if (e->code == ERR_LIMIT) {
        err_set(e, ERR_LIMIT,
                "the scripts in %s did not come to an end in %d s; --venv '%s' runs "
                "without them",
                dirs, ACTIVATE_LIMIT_S, prefix);
    } else if (e->code == ERR_INVALID) {
        err_set(e, ERR_INVALID,
                "a script in %s ended the shell; --venv '%s' runs without them", dirs,
                prefix);
    }
    strings_free(&start);
    free(envp);
    free(dirs);
    free(path);
    free(agent);
    free(bash);
    return rc;
}

int
activate_conda(const struct strings *login, const char *prefix, struct strings *after,
               struct err *e)
{
    const char *was = env_get(login, "CONDA_PREFIX");
    const char *old = was != NULL && was[0] == '/' ? was : NULL;
    char *path = path_for(login, old, prefix);
    int rc = 0;

    strings_add_all(after, login);
    if (old != NULL) {
        set_variables(after, old, false);
    }
    set_variables(after, prefix, true);
    env_set(after, "PATH", path);
    env_set(after, "CONDA_PREFIX", prefix);
    if (env_get(after, "CONDA_SHLVL") == NULL) {
        env_set(after, "CONDA_SHLVL", "1");
    }
    if (has_scripts(prefix, ACTIVATE_DIR) ||
        (old != NULL && has_scripts(old, DEACTIVATE_DIR))) {
        rc = run_scripts(login, old, prefix, after, e);
    }
    free(path);
    return rc;
}
