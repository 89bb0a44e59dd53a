#ifndef RUNNER_HOST_VENV_H
#define RUNNER_HOST_VENV_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Virtual environments of the host's user. A set-up must not install into one, and pip
 * takes no --user in one that is closed. So it gets another over it: the same Python,
 * which finds what that one has behind what is installed anew, and the scripts of that
 * one, pip among them, run by it. pip takes nothing away from what lies outside of its
 * own.
 */

/* Is prefix one that sees no other packages than its own? (pyvenv.cfg, as Python reads
 * it) */
bool venv_is_closed(const char *prefix);

/* Make one at dir, which is not there yet, over that at under. */
int venv_put_over(const char *under, const char *dir, struct err *e) MUST_USE;

#endif
