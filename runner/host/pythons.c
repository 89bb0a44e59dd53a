#include "runner/host/pythons.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "runner/host/loginenv.h"

#define PREFIX     "python"
#define DIGITS     "0123456789."
#define LISTED_MAX 40 /* in an error */

bool
pythons_is_version(const char *text)
{
    return text[0] >= '0' && text[0] <= '9' && text[strspn(text, DIGITS)] == '\0';
}

/* ---- pyenv ---- */

char *
pythons_pyenv_path(const struct strings *env, const char *name)
{
    const char *root = env_get(env, "PYENV_ROOT");
    const char *home = env_get(env, "HOME");

    return root != NULL ? path_join(root, name)
                        : xasprintf("%s/.pyenv/%s", home == NULL ? "" : home, name);
}

/* The interpreter of one of its versions; NULL: that is not one. */
static char *
pyenv_python(const char *versions, const char *name)
{
    char *python = xasprintf("%s/%s/bin/python", versions, name);

    if (access(python, X_OK) != 0) {
        free(python);
        return NULL;
    }
    return python;
}

/* "3.11" also stands for 3.11.4. */
static bool
is_of_version(const char *name, const char *version)
{
    size_t n = strlen(version);

    return strncmp(name, version, n) == 0 && (name[n] == '\0' || name[n] == '.');
}

static char *
newest_of_pyenv(const struct strings *env, const char *version)
{
    char *versions = pythons_pyenv_path(env, "versions");
    DIR *d = opendir(versions);
    const struct dirent *one;
    char *newest = NULL;
    char *found = NULL;

    while (d != NULL && (one = readdir(d)) != NULL) {
        char *python = is_of_version(one->d_name, version) &&
                               (newest == NULL || strverscmp(one->d_name, newest) > 0)
                           ? pyenv_python(versions, one->d_name)
                           : NULL;

        if (python != NULL) {
            free(newest);
            newest = xstrdup(one->d_name);
            free(found);
            found = python;
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    free(newest);
    free(versions);
    return found;
}

/* ---- finding ---- */

/* In PATH: in pyenv's shims alone, or everywhere else. */
static char *
find_in_path(const struct strings *env, const char *name, const char *shims, bool in_them)
{
    const char *rest = env_get(env, "PATH");
    char *found = NULL;
    char *dir;

    while (found == NULL && (dir = env_next_dir(&rest)) != NULL) {
        found = path_join(dir, name);
        if ((strcmp(dir, shims) == 0) != in_them || access(found, X_OK) != 0) {
            free(found);
            found = NULL;
        }
        free(dir);
    }
    return found;
}

char *
pythons_find(const struct strings *path_env, const struct strings *pyenv_env,
             const char *version)
{
    char *name = xasprintf(PREFIX "%s", version);
    char *shims = pythons_pyenv_path(pyenv_env, "shims");
    char *found = find_in_path(path_env, name, shims, false);

    found = found != NULL ? found : newest_of_pyenv(pyenv_env, version);
    found = found != NULL ? found : find_in_path(path_env, name, shims, true);
    free(shims);
    free(name);
    return found;
}

char *
pythons_wanted(const struct strings *path_env, const struct strings *pyenv_env,
               const char *wanted)
{
    char *found;

    if (wanted != NULL) {
        return pythons_is_version(wanted) ? pythons_find(path_env, pyenv_env, wanted)
                                          : env_which(path_env, wanted);
    }
    found = env_which(path_env, "python3");
    return found != NULL ? found : env_which(path_env, "python");
}

/* ---- naming ---- */

/* "" where name does not end in a version alone (python3-config, python3.11m). */
static const char *
version_of(const char *name)
{
    const char *version = name + strlen(PREFIX);

    return strncmp(name, PREFIX, strlen(PREFIX)) == 0 &&
                   version[strspn(version, DIGITS)] == '\0'
               ? version
               : "";
}

static void
add_dir(struct strings *found, const char *dir)
{
    DIR *d = opendir(dir);
    const struct dirent *one;

    while (d != NULL && (one = readdir(d)) != NULL) {
        const char *version = version_of(one->d_name);

        if (version[0] != '\0' && faccessat(dirfd(d), one->d_name, X_OK, 0) == 0) {
            strings_add_once(found, version);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

static void
add_pyenv(struct strings *found, const struct strings *env)
{
    char *versions = pythons_pyenv_path(env, "versions");
    DIR *d = opendir(versions);
    const struct dirent *one;

    while (d != NULL && (one = readdir(d)) != NULL) {
        char *python = one->d_name[strspn(one->d_name, DIGITS)] == '\0'
                           ? pyenv_python(versions, one->d_name)
                           : NULL;

        if (python != NULL) {
            strings_add_once(found, one->d_name);
        }
        free(python);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    free(versions);
}

static int
by_version(const void *a, const void *b)
{
    return strverscmp(*(char *const *)a, *(char *const *)b);
}

void
pythons_name(const struct strings *env, struct buf *out)
{
    const char *rest = env_get(env, "PATH");
    char *shims = pythons_pyenv_path(env, "shims");
    struct strings found = {NULL, 0};
    char *dir;

    while ((dir = env_next_dir(&rest)) != NULL) {
        if (strcmp(dir, shims) != 0) {
            add_dir(&found, dir);
        }
        free(dir);
    }
    add_pyenv(&found, env);
    if (found.n > 1) {
        qsort(found.v, found.n, sizeof *found.v, by_version);
    }
    for (size_t i = 0; i < found.n && i < LISTED_MAX; i++) {
        buf_printf(out, "%s%s", i == 0 ? "" : ", ", found.v[i]);
    }
    if (found.n > LISTED_MAX) {
        buf_add_str(out, ", …");
    }
    strings_free(&found);
    free(shims);
}
