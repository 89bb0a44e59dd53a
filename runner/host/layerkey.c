#include "runner/host/layerkey.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/conda.h"
#include "runner/host/loginenv.h"
#include "runner/host/pythons.h"

#define VERSION_MAX ((size_t)4096) /* of a file that says which version was chosen */

/* A path as the user wrote it; one in the job's own directory is what it says. */
static char *
host_path(const struct strings *env, const char *text)
{
    const char *home = env_get(env, "HOME");

    if (text[0] == '/' || home == NULL) {
        return xstrdup(text);
    }
    return path_join(home, strncmp(text, "~/", 2) == 0 ? text + 2 : text);
}

static char *
interpreter(const char *wanted, const struct strings *env)
{
    return wanted != NULL && strchr(wanted, '/') != NULL
               ? host_path(env, wanted)
               : pythons_wanted(env, env, wanted);
}

static void
add_stat(struct buf *b, const char *path)
{
    char *real = realpath(path, NULL);
    struct stat st;

    if (real != NULL && stat(real, &st) == 0) {
        buf_printf(b, "python=%s is %s %" PRIdMAX " %" PRIdMAX ".%09ld\n", path, real,
                   (intmax_t)st.st_size, (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    } else {
        buf_printf(b, "python=%s\n", path);
    }
    free(real);
}

/* Which version pyenv's shims start, as far as the environment and its own file say. */
static void
add_shim(struct buf *b, const char *path, const struct strings *env)
{
    const char *chosen = env_get(env, "PYENV_VERSION");
    char *file = pythons_pyenv_path(env, "version");
    char *shims = pythons_pyenv_path(env, "shims/");
    struct buf version = BUF_INIT;
    struct stat st;
    struct err none;

    if (strncmp(path, shims, strlen(shims)) == 0) {
        if (stat(file, &st) == 0 && S_ISREG(st.st_mode)) {
            (void)!file_read(file, VERSION_MAX, &version, &none);
        }
        buf_printf(b, "pyenv=%s %s\n", chosen == NULL ? "" : chosen, buf_str(&version));
    }
    buf_free(&version);
    free(shims);
    free(file);
}

/* An environment that is made anew under its old name is another directory. */
static void
add_place(struct buf *b, const char *what, const char *prefix)
{
    char *real = prefix == NULL ? NULL : realpath(prefix, NULL);
    struct stat st;

    if (real != NULL && stat(real, &st) == 0) {
        buf_printf(b, "%s=%s %" PRIuMAX "\n", what, real, (uintmax_t)st.st_ino);
    }
    free(real);
}

static int
compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* As the command is given it: each once, in whatever order it was asked for. */
static void
add_own(struct buf *b, const struct strings *own)
{
    struct strings env = {NULL, 0};

    for (size_t i = 0; i < own->n; i++) {
        env_put(&env, own->v[i]);
    }
    if (env.n > 1) {
        qsort(env.v, env.n, sizeof *env.v, compare);
    }
    for (size_t i = 0; i < env.n; i++) {
        buf_printf(b, "env=%zu %s\n", strlen(env.v[i]), env.v[i]);
    }
    strings_free(&env);
}

static char *
add_conda(struct buf *b, const struct layerkey_wants *w, const struct strings *finding)
{
    struct err none;
    char *prefix = strchr(w->conda, '/') == NULL ? conda_find(finding, w->conda, &none)
                                                 : host_path(finding, w->conda);

    add_place(b, "conda", prefix);
    return prefix;
}

void
layerkey_make(const struct layerkey_wants *w, char out[SHA256_HEX_LEN + 1])
{
    struct strings env = {NULL, 0};
    struct buf b = BUF_INIT;
    struct utsname u;
    struct sha256 sum;
    char *python = NULL;

    strings_add_all(&env, w->login);
    for (size_t i = 0; !w->confined && i < w->own->n; i++) {
        env_put(&env, w->own->v[i]);
    }
    buf_printf(&b, "gpurun.layer.v1\nkey=%s\narch=%s\n", w->key,
               uname(&u) == 0 ? u.machine : "");
    if (w->conda != NULL) {
        char *prefix = add_conda(&b, w, &env);

        python = prefix == NULL ? NULL : path_join(prefix, "bin/python");
        free(prefix);
    } else {
        python = interpreter(w->python, &env);
    }
    if (python != NULL) {
        add_stat(&b, python);
        add_shim(&b, python, &env);
    }
    add_place(&b, "venv", w->venv);
    add_own(&b, w->own);
    sha256_of(b.data, b.len, &sum);
    sha256_format(&sum, out);
    free(python);
    buf_free(&b);
    strings_free(&env);
}
