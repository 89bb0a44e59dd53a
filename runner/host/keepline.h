#ifndef RUNNER_HOST_KEEPLINE_H
#define RUNNER_HOST_KEEPLINE_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "runner/host/agent.h"

/*
 * What keeping a job's data cost: a line of its own (meter/keeping.h), signed when the
 * data is gone. It follows from the receipt and from when and why the snapshot's claim
 * was given up, which are on the disk: so it can be made at any time after, always the
 * same. Once made it lies in the job's directory as `keeping`, and holds even if the data
 * comes back.
 */

/*
 * Append the job's line to out. ERR_BUSY: its data is kept still; ERR_NOT_FOUND: nothing
 * is held for it, or there is no such job.
 */
int keepline_get(const struct agent *a, const struct renter *r, const char *job,
                 struct buf *out, struct err *e) MUST_USE;

/* Make those that are due and not made, after something has expired. */
void keepline_sweep(const struct agent *a, const struct renter *r);

#endif
