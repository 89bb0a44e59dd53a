#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/loginenv.h"

/* Index of the variable called name[0..len), or env->n. */
static size_t
find(const struct strings *env, const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < env->n; i++) {
        if (strncmp(env->v[i], name, len) == 0 && env->v[i][len] == '=') {
            break;
        }
    }
    return i;
}

const char *
env_get(const struct strings *env, const char *name)
{
    size_t i = find(env, name, strlen(name));

    return i == env->n ? NULL : env->v[i] + strlen(name) + 1;
}

void
env_put(struct strings *env, const char *assignment)
{
    size_t i = find(env, assignment, strcspn(assignment, "="));

    if (i == env->n) {
        strings_add(env, assignment);
    } else {
        free(env->v[i]);
        env->v[i] = xstrdup(assignment);
    }
}

void
env_set(struct strings *env, const char *name, const char *value)
{
    char *assignment = xasprintf("%s=%s", name, value);

    env_put(env, assignment);
    free(assignment);
}

void
env_unset(struct strings *env, const char *name)
{
    size_t i = find(env, name, strlen(name));

    if (i < env->n) {
        free(env->v[i]);
        env->v[i] = env->v[--env->n];
    }
}

char *
env_next_dir(const char **rest)
{
    while (*rest != NULL && **rest != '\0') {
        const char *dir = *rest;
        size_t n = strcspn(dir, ":");

        *rest += n + (dir[n] == ':' ? 1 : 0);
        if (dir[0] == '/') {
            return xasprintf("%.*s", (int)n, dir);
        }
    }
    return NULL;
}

char *
env_which(const struct strings *env, const char *name)
{
    const char *rest = env_get(env, "PATH");
    char *found = NULL;
    char *dir;

    while (found == NULL && (dir = env_next_dir(&rest)) != NULL) {
        found = path_join(dir, name);
        if (access(found, X_OK) != 0) {
            free(found);
            found = NULL;
        }
        free(dir);
    }
    return found;
}
