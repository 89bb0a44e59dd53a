#ifndef RUNNER_HOST_QUOTA_HOLDS_H
#define RUNNER_HOST_QUOTA_HOLDS_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/host/agent.h"

/*
 * Bytes of a renter's quota that are spoken for and not in its store yet: what a job's
 * directory holds, what an upload may bring. So several at once do not each take the
 * whole rest. A hold is renters/<id>/holds/<random>, the number of bytes in it, locked by
 * the process that has it: whoever gets that lock knows that it has died, and removes the
 * file. All that counts is done under holds/lock.
 */
struct quota_hold;

/* One of 0 bytes. */
int quota_hold_open(struct quota_hold **out, const struct renter *r,
                    struct err *e) MUST_USE;
void quota_hold_close(struct quota_hold *h); /* given back; NULL allowed */

/* It is so many bytes now, whatever the others have; *others_bytes: what they have. */
int quota_hold_set(struct quota_hold *h, int64_t bytes, int64_t *others_bytes,
                   struct err *e) MUST_USE;

/*
 * It is `bytes` (which came already, and may not be in the store yet), and up to
 * want_bytes more, of which *granted_bytes are below limit_bytes together with
 * stored_bytes and what the others hold. 0: none are left.
 */
int quota_hold_draw(struct quota_hold *h, int64_t bytes, int64_t want_bytes,
                    int64_t stored_bytes, int64_t limit_bytes, int64_t *granted_bytes,
                    struct err *e) MUST_USE;

#endif
