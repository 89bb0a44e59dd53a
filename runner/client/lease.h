#ifndef RUNNER_CLIENT_LEASE_H
#define RUNNER_CLIENT_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "meter/grant.h"
#include "meter/offer.h"
#include "runner/client/place.h"
#include "runner/client/purse.h"
#include "runner/job/spec.h"

/*
 * The money side of a run: the grant that lets one host draw up to a cap for one lease,
 * of the book in use (purse.h).
 */
struct lease_want {
    int64_t max_cost_fen; /* -1: the price of the whole time, and the landing reserve */
    bool ceiling;         /* of that: max_cost_fen may only make it less */
    int64_t keep_bytes;   /* what the snapshot will have to keep at least */
    bool has_window; /* the window was asked for: above the host's limit is an error */
};

/*
 * Fill and sign *g (grant_clear it). spec names job, count, time and window; its window
 * is cut to what the offer allows unless it was asked for. ERR_INVALID: the cap does not
 * cover even the landing; ERR_DENIED: the host takes no grants of that book. With an
 * operator's book it is a request yet: purse_hold makes it a grant.
 */
int lease_make(struct grant *g, struct client *cl, struct purse *p, const struct offer *o,
               const struct candidate *c, struct job_spec *spec,
               const struct lease_want *w, struct err *e) MUST_USE;

/*
 * How long, in s, the lease can run within its cap, less the landing reserve for
 * keep_bytes; its time limit if that comes first.
 */
int64_t lease_can_run_s(const struct grant *g, int64_t keep_bytes);

/*
 * A higher cap (fen, -1: as it is) and time (s, -1): the next grant of the same lease, or
 * the request for it.
 */
int lease_extend(struct grant *next, struct home *home, const struct grant *g,
                 int64_t cap_fen, int64_t max_s, struct err *e) MUST_USE;

#endif
