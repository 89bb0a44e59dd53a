#ifndef RUNNER_CLIENT_MIRROR_H
#define RUNNER_CLIENT_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/client/forward.h"
#include "runner/client/hosts.h"
#include "runner/client/session.h"

struct job_record;
struct job_state;

/*
 * A second copy of a snapshot, so that a host that vanishes loses nothing: on the host
 * that `host add --mirror` names, else on this machine (the host `local`) for what is
 * small or was asked for by --out.
 */
#define MIRROR_NONE      "none"
#define MIRROR_MAX_BYTES ((int64_t)100 * 1000 * 1000) /* as stored, where nobody said */

/*
 * Where a copy of such a snapshot of host h goes; NULL: nowhere. outs: its job has --out
 * paths. bytes < 0: not known yet (plan), taken for small.
 */
const char *mirror_target(const struct host *h, int64_t stored_bytes, bool outs);

/* The same for what a job has left; NULL also where it left nothing new, or is copied. */
const char *mirror_of_job(const struct host *h, const struct job_record *r,
                          const struct job_state *st);

/* A session to the host a copy goes to, on its way up: a host that does not answer has
 * soon failed. mirror_open also runs the loop until it is up. */
int mirror_begin(struct session **out, struct client *cl, const char *to,
                 struct err *e) MUST_USE;
int mirror_open(struct session **out, struct client *cl, const char *to,
                struct err *e) MUST_USE;

/*
 * Copy snapshot id of the host of `from`, whose session is up, to the host `to`. Runs the
 * loop. A link that is cut is not waited for: ERR_LINK.
 */
int mirror_copy(struct client *cl, struct session *from, const char *to, const char *id,
                struct forward_progress *progress, struct err *e) MUST_USE;

#endif
