#ifndef RUNNER_HOST_OWNER_JSON_H
#define RUNNER_HOST_OWNER_JSON_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "runner/job/state.h"

/*
 * What the owner's commands say with --json: one object on one line of stdout. Money is
 * integer fen and micro-yuan; a moment is two members, "KEY" (RFC 3339, UTC) and "KEY_ns"
 * (since 1970), both null where there is none. The members are listed in
 * gpurun-agent(8), and only ever added to.
 */
void owner_json_job(struct json_writer *j, const struct job_state *st,
                    const char *renter_id, const char *renter_name);

#endif
