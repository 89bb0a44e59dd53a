#ifndef RUNNER_HOST_PYTHONS_H
#define RUNNER_HOST_PYTHONS_H

#include <stdbool.h>

#include "base/buf.h"
#include "runner/job/spec.h"

/*
 * Interpreters of a host by their version: python3.11 in a PATH, and what pyenv has
 * under PYENV_ROOT (else ~/.pyenv), whose own programs need be in no PATH.
 */

/* "3", "3.11", "3.11.4": a version alone. */
bool pythons_is_version(const char *text);

/* A path below pyenv's own directory, as env has it; malloc'ed. */
char *pythons_pyenv_path(const struct strings *env, const char *name);

/*
 * "3", "3.11" or "3.11.4" to a path, malloc'ed; NULL: there is none. path_env's PATH is
 * looked through first, then the newest of that version that pyenv_env leads to. A shim
 * of pyenv's stands for the version that was chosen last, whatever it is called: it comes
 * last.
 */
char *pythons_find(const struct strings *path_env, const struct strings *pyenv_env,
                   const char *version);

/*
 * The same of what --python asks for (NULL: nothing) if it is no path: a version, the
 * name of a program in path_env's PATH, else python3 or python there.
 */
char *pythons_wanted(const struct strings *path_env, const struct strings *pyenv_env,
                     const char *wanted);

/* What env has, as --python takes it: "3, 3.11, 3.12.1"; appends nothing if nothing. */
void pythons_name(const struct strings *env, struct buf *out);

#endif
