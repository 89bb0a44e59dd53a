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

/* The same for what a job has left; NULL also where it left nothing new. */
const char *mirror_of_job(const struct host *h, const struct job_record *r,
                          const struct job_state *st);

/*
 * A session to the host a copy goes to, on its way up: a host that does not answer within
 * timeout_ms has failed. mirror_open also runs the loop until it is up.
 */
#define MIRROR_CONNECT_MS 15000 /* a copy is an extra: nobody waits longer */
int mirror_begin(struct session **out, struct client *cl, const char *to,
                 int64_t timeout_ms, struct err *e) MUST_USE;
int mirror_open(struct session **out, struct client *cl, const char *to,
                int64_t timeout_ms, struct err *e) MUST_USE;

/*
 * Copy snapshot id from one host to another, both sessions up. Runs the loop, for
 * timeout_ns at most (< 0: no limit). ERR_LINK: a link was cut, which is not waited for,
 * or loop_stop; ERR_LIMIT: time is up.
 */
int mirror_copy(struct client *cl, struct session *from, struct session *to,
                const char *id, struct forward_progress *progress, int64_t timeout_ns,
                struct err *e) MUST_USE;

#endif
