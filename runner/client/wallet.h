#ifndef RUNNER_CLIENT_WALLET_H
#define RUNNER_CLIENT_WALLET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "meter/grant.h"
#include "meter/ledger.h"
#include "meter/receipt.h"
#include "runner/client/home.h"

/*
 * The renter's own book of money: a budget in <home>/ledger (meter/ledger.h). It exists
 * once it was topped up; without one, caps are all that bounds a run. Each priced run
 * holds its whole cap before it is submitted; its receipt, once kept here, settles it.
 *
 * A crash anywhere leaves a hold that is too large, never one that is missing:
 * wallet_sync mends it from what is kept here, whenever the wallet is looked at. So that
 * the hold of a run that was killed before it asked its host is known for what it is, the
 * job's record says "unsent" until then, and from before the hold until that is taken
 * back a run holds the lock of wallet_begin.
 */

/* *guard (-1 before): from now on this run's hold is no orphan, until guard is closed.
 * Stays -1 where there is no wallet. */
int wallet_begin(const struct home *home, int *guard, struct err *e) MUST_USE;

/* *used: there is a wallet. Then *free_fen is what a run may hold. Settles first. */
int wallet_free(const struct home *home, bool *used, int64_t *free_fen,
                struct err *e) MUST_USE;

/* *out is NULL where there is no wallet (make: then one is made). The caller's
 * (ledger_close). */
int wallet_open(struct ledger **out, const struct home *home, bool make,
                struct err *e) MUST_USE;

/* Hold the grant's cap (all of it: an extension raises it). ERR_LIMIT: not so much is
 * free. Nothing to do without a wallet, and for a grant of nothing. */
int wallet_hold(const struct home *home, const struct grant *g, struct err *e) MUST_USE;
/* The lease came to nothing. */
int wallet_release(const struct home *home, const char *lease, struct err *e) MUST_USE;

/* Settle what a kept receipt says of a lease that holds something. */
int wallet_settle(const struct home *home, const struct receipt *r,
                  struct err *e) MUST_USE;
/*
 * Settle every hold whose receipt is kept, and post the keeping of data whose time is
 * over, by the storage rule. *n_waiting (may be NULL): leases without a receipt yet.
 */
int wallet_sync(const struct home *home, struct ledger *l, size_t *n_waiting,
                struct err *e) MUST_USE;

#endif
