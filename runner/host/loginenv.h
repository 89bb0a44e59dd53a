#ifndef RUNNER_HOST_LOGINENV_H
#define RUNNER_HOST_LOGINENV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/host/agent.h"
#include "runner/job/spec.h"

/*
 * The environment an interactive login of the host's user has: conda, pyenv, proxies and
 * paths included. Captured by running the login shell once, with a time limit, and kept
 * in the agent's home until a start file of the shell changes, for an hour at most (what
 * start files read in turn is not known), and for two minutes where the shell did not
 * answer in full. Without SSH_*, and without what belongs to one terminal or one shell.
 */

/*
 * Append "K=V" strings to out. Never fails for want of a working shell: *why then says
 * what happened, and the environment is what a lesser start of the shell has, or this
 * process's own. All 0 otherwise.
 */
void loginenv_get(const struct agent *a, struct strings *out, struct err *why);
/* The same, the shell asked again if its last answer was not a full one. */
void loginenv_get_again(const struct agent *a, struct strings *out, struct err *why);

/* The end of the shell's command: print this process's environment between marks. */
int loginenv_print(void);

/*
 * Append what print-env printed, between whatever else the shell said. false: it is not
 * there, or torn (out then has a part of it).
 */
struct buf;
bool loginenv_take(const struct buf *b, struct strings *out);

/*
 * Run argv, which ends in "PROGRAM print-env" (PROGRAM: loginenv_program, malloc'ed,
 * NULL where /proc is not there), and take what it printed. ERR_LIMIT: no end in time;
 * ERR_INVALID: no environment in it; else as runout. out is then empty.
 */
int loginenv_ask(char *const argv[], char *const envp[], int64_t timeout_ns,
                 struct strings *out, struct err *e) MUST_USE;
char *loginenv_program(void);

/* ---- working on an environment ---- */

/* The value of name in env, or NULL. */
const char *env_get(const struct strings *env, const char *name);
void env_set(struct strings *env, const char *name, const char *value);
void env_put(struct strings *env, const char *assignment); /* "K=V" */
void env_unset(struct strings *env, const char *name);
/*
 * The next directory of a list like PATH, malloc'ed; NULL: none is left, or *rest is
 * NULL. What is empty or relative is passed over: it would be looked for in the agent's
 * own directory, not in the job's.
 */
char *env_next_dir(const char **rest);
/* The full path of a program by env's PATH; malloc'ed, NULL: none. */
char *env_which(const struct strings *env, const char *name);

#endif
