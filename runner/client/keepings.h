#ifndef RUNNER_CLIENT_KEEPINGS_H
#define RUNNER_CLIENT_KEEPINGS_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "meter/keeping.h"
#include "meter/receipt.h"
#include "runner/client/session.h"

/*
 * What keeping a job's data cost, as its host signed it when the data went
 * (meter/keeping.h): kept for good as <home>/keepings/<job>, beside the receipt, and
 * posted to the book that paid for the job.
 */

/*
 * Ask the host of s for the job's line, keep it and post it: once, however often asked. A
 * job without a receipt here, or of which nothing is held, has none: *there false.
 * ERR_LINK: the line is kept, and its book could not be reached: again, then.
 */
int keepings_fetch(struct client *cl, struct session *s, const char *job, bool *there,
                   struct err *e) MUST_USE;

/* The line of that receipt, checked (keeping_clear it); *there false: none is known. */
int keepings_load(const struct home *home, const struct receipt *r, bool *there,
                  struct keeping *out, struct err *e) MUST_USE;

#endif
