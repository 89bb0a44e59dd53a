#ifndef RUNNER_HOST_EARNED_H
#define RUNNER_HOST_EARNED_H

#include "base/attr.h"
#include "base/err.h"
#include "meter/keeping.h"
#include "meter/ledger.h"
#include "meter/receipt.h"
#include "meter/reservation.h"
#include "runner/host/agent.h"
#include "runner/job/state.h"

/*
 * The owner's own ledger of what this host has earned: <home>/ledger (meter/ledger.h),
 * append-only and chained, by lease: what the renter's book owes for an ended session
 * comes in and goes to the owner; what is held for keeping its data is held here too, and
 * is earned or given back when the data goes. It is made from the receipts, and outlives
 * them; the same receipt again changes nothing, another one for the same lease is
 * refused.
 */
int earned_open(struct ledger **out, const struct agent *a, struct err *e) MUST_USE;

/* Enter a verified, ended session of that renter, and its line of keeping if its data has
 * gone. ERR_CORRUPT: it stands there with other figures or another receipt. */
int earned_enter(struct ledger *l, const struct agent *a, const struct renter *renter,
                 const struct receipt *r, struct err *e) MUST_USE;

/* Its line of keeping, where its data has gone. keeping_clear(k) in any case. */
int earned_keeping(const struct agent *a, const struct renter *renter,
                   const struct receipt *r, struct keeping *k, bool *there,
                   struct err *e) MUST_USE;

/* Enter every ended session that is not there yet; the first failure is told, the others
 * are still seen to. */
int earned_sync(struct ledger *l, const struct agent *a, struct err *e) MUST_USE;

/* Enter a renter's reservation: what was paid for it, and what went back. */
int earned_reservation(struct ledger *l, const struct renter *renter,
                       const struct reservation *r, struct err *e) MUST_USE;
/* Each renter's reservations. fn returns 0 to go on. */
typedef int earned_reserved_fn(void *ctx, const struct renter *renter,
                               const struct reservation *r, struct err *e);
int earned_each_reservation(const struct agent *a, earned_reserved_fn *fn, void *ctx,
                            struct err *e) MUST_USE;

/*
 * Each session that has a journal: st is its record, r (NULL: it cannot be read, why says
 * why) ended or not. fn returns 0 to go on.
 */
typedef int earned_fn(void *ctx, const struct renter *r, const struct job_state *st,
                      const struct receipt *receipt, const struct err *why,
                      struct err *e);
int earned_each(const struct agent *a, earned_fn *fn, void *ctx, struct err *e) MUST_USE;

#endif
