#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
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
