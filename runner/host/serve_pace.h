#ifndef RUNNER_HOST_SERVE_PACE_H
#define RUNNER_HOST_SERVE_PACE_H

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "runner/host/serve_internal.h"
#include "storage/care.h"

/*
 * How a long request comes along, for a client that asked to be told (its field
 * `progress`): what the work's thread says last is passed on a few times a second.
 */
struct serve_pace;

/* On the loop. *out NULL: the client wants none. */
int serve_pace_open(struct serve_pace **out, struct serve *s, const struct rec *req,
                    struct err *e) MUST_USE;
/* On the loop, once the thread has ended. NULL allowed. */
void serve_pace_close(struct serve_pace *p);

/* On the thread; p NULL: nobody listens. */
void serve_pace_tell(struct serve_pace *p, enum care_step step, uint64_t done,
                     uint64_t all);

#endif
