#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/host/activate.h"
#include "runner/host/caches.h"
#include "runner/host/conda.h"
#include "runner/host/loginenv.h"
#include "runner/host/supervise_internal.h"

/* ---- interpreters ---- */

static void
put_first_in_path(struct strings *env, const char *dir)
{
    const char *was = env_get(env, "PATH");
    char *path = xasprintf("%s%s%s", dir, was == NULL ? "" : ":", was == NULL ? "" : was);

    env_set(env, "PATH", path);
    free(path);
}

/* /home/owner/miniconda3/bin: its programs need /home/owner/miniconda3. */
static void
show_prefixes_of_path(struct sup *s)
{
    const char *rest = env_get(&s->login, "PATH");
    char *dir;

    while ((dir = env_next_dir(&rest)) != NULL) {
        sup_show_prefix_of(s, dir);
        free(dir);
    }
}

static int
check_prefix(const char *prefix, const char *what, struct err *e)
{
    char *python = path_join(prefix, "bin/python");
    int rc = access(python, X_OK) == 0
                 ? 0
                 : err_set(e, ERR_NOT_FOUND, "%s: there is no '%s' on this host", what,
                           python);

    free(python);
    return rc;
}

static bool
begins_with(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return path != NULL && strncmp(path, dir, n) == 0 &&
           (path[n] == ':' || path[n] == '\0');
}

/* A virtual environment or conda environment at prefix becomes the job's own. */
static void
use_prefix(struct sup *s, const char *prefix, const char *variable)
{
    char *bin = path_join(prefix, "bin");

    if (!begins_with(env_get(&s->env, "PATH"), bin)) {
        put_first_in_path(&s->env, bin);
    }
    env_set(&s->env, variable, prefix);
    env_unset(&s->env, "PYTHONHOME");
    free(bin);
}

/*
 * What activating changed, but for what is the job's own: by --env, a secret, or ours. A
 * PATH of the job's own is left to begin with the environment's programs.
 */
static void
take_over(struct sup *s, const struct strings *after)
{
    struct strings names = {NULL, 0};

    for (size_t i = 0; i < s->login.n + after->n; i++) {
        const char *text = i < s->login.n ? s->login.v[i] : after->v[i - s->login.n];
        char *name = xasprintf("%.*s", (int)strcspn(text, "="), text);

        strings_add_once(&names, name);
        free(name);
    }
    for (size_t i = 0; i < names.n; i++) {
        const char *name = names.v[i];
        const char *was = env_get(&s->login, name);
        const char *is = env_get(after, name);

        if (text_same(was, is) || !text_same(was, env_get(&s->env, name))) {
            continue;
        }
        if (is == NULL) {
            env_unset(&s->env, name);
        } else {
            env_set(&s->env, name, is);
        }
    }
    strings_free(&names);
}

/*
 * As `conda activate` would. Not for an environment in the job's own directory: what was
 * shipped runs in the job, behind its walls.
 */
static int
activate(struct sup *s, const char *prefix, bool by_name, struct err *e)
{
    struct strings after = {NULL, 0};
    size_t n = strlen(s->workdir);
    int rc;

    if (!by_name && (s->renter->confined ||
                     (strncmp(prefix, s->workdir, n) == 0 && prefix[n] == '/'))) {
        return 0;
    }
    rc = activate_conda(&s->login, prefix, &after, e);
    if (rc == 0) {
        take_over(s, &after);
    }
    strings_free(&after);
    return rc == 0 ? 0 : err_wrap(e, "--conda");
}

static int
use_conda(struct sup *s, const char *name, struct err *e)
{
    bool by_name = strchr(name, '/') == NULL;
    char *prefix =
        by_name ? conda_find(sup_finding_env(s), name, e) : sup_host_path(s, name);
    int rc;

    if (prefix == NULL) {
        return -1;
    }
    rc = check_prefix(prefix, "--conda", e) == 0 ? activate(s, prefix, by_name, e) : -1;
    if (rc == 0) {
        use_prefix(s, prefix, "CONDA_PREFIX");
        env_set(&s->env, "CONDA_DEFAULT_ENV", name);
    }
    if (rc == 0 && by_name) {
        strings_add(&s->shown, prefix);
    }
    free(prefix);
    return rc;
}

static int
use_interpreter(struct sup *s, struct err *e)
{
    char *prefix;
    int rc;

    if (s->spec.conda != NULL) {
        return use_conda(s, s->spec.conda, e);
    }
    if (s->spec.venv == NULL) {
        return 0;
    }
    prefix = sup_host_path(s, s->spec.venv);
    rc = check_prefix(prefix, "--venv", e);
    if (rc == 0) {
        use_prefix(s, prefix, "VIRTUAL_ENV");
    }
    free(prefix);
    return rc;
}

int
sup_command(struct sup *s, struct strings *out, struct err *e)
{
    char *program = NULL;

    if (s->spec.kind == SPEC_KIND_PYTHON) {
        program = sup_python(s);
        if (program == NULL) {
            return sup_no_python(s, e);
        }
    } else if (s->spec.kind == SPEC_KIND_SH) {
        program = env_which(&s->env, "bash");
        program = program != NULL ? program : xstrdup("/bin/sh");
    }
    if (program != NULL) {
        strings_add(out, program);
        free(program);
    }
    strings_add_all(out, &s->spec.args);
    return 0;
}

/* ---- variables ---- */

static void
set_default(struct strings *env, const char *name, const char *value)
{
    if (env_get(env, name) == NULL) {
        env_set(env, name, value);
    }
}

/* A renter who was let in has a home of its own: the owner's is none of its business. */
static int
use_own_home(struct sup *s, struct err *e)
{
    static const char *const personal[] = {"XDG_CONFIG_HOME",
                                           "XDG_CACHE_HOME",
                                           "XDG_DATA_HOME",
                                           "XDG_RUNTIME_DIR",
                                           "DBUS_SESSION_BUS_ADDRESS",
                                           "HISTFILE",
                                           NULL};
    char *home = path_join(s->renter->path, "cache");
    int fd = -1;

    if (renter_dir(s->renter, "cache", &fd, e) != 0) {
        free(home);
        return -1;
    }
    (void)fd_close(&fd);
    env_set(&s->env, "HOME", home);
    for (size_t i = 0; personal[i] != NULL; i++) {
        env_unset(&s->env, personal[i]);
    }
    caches_forget(&s->env);
    free(home);
    return 0;
}

void
sup_env_login(struct sup *s)
{
    struct err why;

    strings_free(&s->login);
    loginenv_get(s->agent, &s->login, &why);
    if (why.msg[0] != '\0' && s->login_note == NULL) {
        s->login_note = xasprintf("login environment: %s", why.msg);
    }
}

int
sup_env_build(struct sup *s, struct err *e)
{
    strings_free(&s->shown);
    strings_add_all(&s->env, &s->login);
    show_prefixes_of_path(s);
    if (s->renter->confined && use_own_home(s, e) != 0) {
        return -1;
    }
    env_set(&s->env, "TMPDIR", s->tmp_seen);
    env_set(&s->env, "GPURUN_JOB", s->spec.job);
    env_set(&s->env, "GPURUN_NAME", s->spec.name);
    devices_env(s->agent, &s->devices, s->picked, s->n_picked, &s->env);
    if (s->spec.tty) {
        env_set(&s->env, "TERM", s->spec.term == NULL ? "xterm-256color" : s->spec.term);
    }
    for (size_t i = 0; i < s->spec.env.n; i++) {
        env_put(&s->env, s->spec.env.v[i]);
    }
    for (size_t i = 0; i < s->secrets.n; i++) {
        env_put(&s->env, s->secrets.v[i]);
    }
    set_default(&s->env, "PATH", "/usr/local/bin:/usr/bin:/bin");
    set_default(&s->env, "PYTHONUNBUFFERED", "1");
    /* An environment's own HF_HOME counts; but that of the host's user is nothing for a
     * renter who was let in. */
    if ((s->renter->confined && caches_env(s->renter, &s->env, e) != 0) ||
        use_interpreter(s, e) != 0 ||
        (!s->renter->confined && caches_env(s->renter, &s->env, e) != 0)) {
        return -1;
    }
    sup_setup_env(s);
    return s->spec.python != NULL ? sup_python_first(s, e) : 0;
}
