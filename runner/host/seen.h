#ifndef RUNNER_HOST_SEEN_H
#define RUNNER_HOST_SEEN_H

#include "base/attr.h"
#include "base/err.h"
#include "meter/audit.h"
#include "runner/host/agent.h"

/*
 * Devices that were seen free, for the audit: <home>/devices/seen, a record of stretches
 * (device, boot, from, to). Nothing of ours runs on an idle host, so somebody has to
 * look: `gpurun-agent tick` in cron does, and the audit itself. Two looks that are
 * further apart than SEEN_STEP_NS say nothing of the time between. A look that is lost (a
 * crash, two at once) makes time unobserved, never idle.
 */
#define SEEN_STEP_NS ((int64_t)900 * 1000000000)

/* Look at all devices now, and note those that are free. */
int seen_note(const struct agent *a, struct err *e) MUST_USE;
/* Put what was noted into an audit. */
int seen_put(const struct agent *a, struct audit *to, struct err *e) MUST_USE;

#endif
