#ifndef RUNNER_HOST_RECOVER_H
#define RUNNER_HOST_RECOVER_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/host/agent.h"

/*
 * Jobs whose supervisor died. Whoever finds one and gets its lock kills what may be left
 * of it, keeps its directory as a snapshot, closes its bill at the last record and calls
 * it lost: how it ended is unknown, and is never guessed. May be cut off anywhere and
 * begun again.
 */

/* One job. Fine if it is final, or somebody else is at it (ERR_BUSY). */
int recover_job(const struct agent *a, const struct renter *r, const char *job,
                struct err *e) MUST_USE;

/* All of all renters; *n is how many were found lost. The first failure is told. */
int recover_all(const struct agent *a, size_t *n, struct err *e) MUST_USE;

/* `gpurun-agent recover RENTER JOB`, started by serve. */
int recover_main(const char *renter_id, const char *job);

#endif
