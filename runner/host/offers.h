#ifndef RUNNER_HOST_OFFERS_H
#define RUNNER_HOST_OFFERS_H

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "meter/offer.h"
#include "runner/host/agent.h"
#include "runner/job/device.h"

/*
 * What this host offers now: the owner's card, the devices, the rules, signed. The last
 * one signed is published as long as it still says the truth and its end is far; every
 * one ever published is kept (offers/<hash>), as grants refer to it by hash.
 */
#define OFFERS_VALID_S ((int64_t)7 * 86400)
#define OFFERS_RENEW_S ((int64_t)86400) /* a new one when less than this is left */

/* In books/: with it there, no grants of renters' own books are taken. */
#define OFFERS_NO_OWN "no-own"

/* The offer for a renter (NULL: any). *out is the caller's (offer_free). */
int offers_current(struct offer **out, const struct agent *a, const struct renter *renter,
                   const struct device_list *devices, struct err *e) MUST_USE;

/* One that was published. ERR_DENIED: this host never made it. */
int offers_load(struct offer **out, const struct agent *a, const struct sha256 *hash,
                struct err *e) MUST_USE;

#endif
