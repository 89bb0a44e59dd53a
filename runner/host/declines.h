#ifndef RUNNER_HOST_DECLINES_H
#define RUNNER_HOST_DECLINES_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "runner/host/agent.h"

/*
 * Leases that a renter gave back unused (meter/declined.h): renters/<id>/declined/<lease>
 * holds what was signed. None of them is ever begun here.
 */

/*
 * Decline the lease of that grant, which has to be this host's and this renter's: *out
 * gets the signed record, the same one each time. ERR_EXISTS: its job did begin.
 */
int declines_make(const struct agent *a, const struct renter *r, const void *grant,
                  size_t grant_len, struct buf *out, struct err *e) MUST_USE;

/* ERR_DENIED if it was declined. Under renter_lock_admission. */
int declines_check(const struct renter *r, const char *lease, struct err *e) MUST_USE;

#endif
