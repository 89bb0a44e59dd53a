#ifndef RUNNER_CLIENT_TOLD_H
#define RUNNER_CLIENT_TOLD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "runner/client/home.h"
#include "runner/client/session.h"
#include "runner/job/state.h"

/* What a host tells of jobs. It speaks for its own, and of the one that was asked for. */

/*
 * The state of that job in a host's answer about it; out was initialised. ERR_CORRUPT:
 * it cannot be read, or is another job's.
 */
int told_state(const struct session *s, const struct rec *resp, const char *job,
               struct job_state *out, struct err *e) MUST_USE;

/*
 * Does this home know the job as that of another host, with another key? A host that was
 * removed since is not known, so its jobs are nobody's: it may be back by another name.
 */
bool told_foreign(const struct home *home, const struct session *s, const char *job);

#endif
