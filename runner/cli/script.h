#ifndef RUNNER_CLI_SCRIPT_H
#define RUNNER_CLI_SCRIPT_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/job/spec.h"

/*
 * From what was typed to what is shipped and run: the directory to ship, where in it the
 * job starts, and how its command reads there.
 */
struct script {
    char *root; /* absolute, links resolved: what is shipped */
    bool named; /* by --dir: then even a home folder */
    char *cwd;  /* where the job starts, relative to root; "" is root */
    enum spec_kind kind;
    struct strings args; /* the command as it reads there */
    char *stem;          /* "train" of ../train.py: what the job is called after */
};

struct script_options {
    const char *script; /* NULL: a command */
    char *const *args;  /* the script's own, or the command */
    int n_args;
    const char *dir;   /* --dir, or NULL */
    bool wants_python; /* --python, --conda or --venv: .py is run by that one */
};

/*
 * ERR_NOT_FOUND: no such script or directory. ERR_INVALID: nothing says how to run it, or
 * it lies outside of --dir. ERR_DENIED: it cannot be read.
 */
int script_resolve(struct script *out, const struct script_options *o,
                   struct err *e) MUST_USE;
void script_free(struct script *s);

/* The nearest directory at or above dir that holds .git; malloc'ed, NULL: none. */
char *script_git_root(const char *dir);
/* path (absolute) relative to root, "" for root itself; NULL: not beneath it. Stays
 * path's. */
const char *script_beneath(const char *root, const char *path);
/* The way from the directory from (relative to some root) to to (likewise); malloc'ed. */
char *script_way(const char *from, const char *to);

#endif
