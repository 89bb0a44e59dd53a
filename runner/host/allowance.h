#ifndef RUNNER_HOST_ALLOWANCE_H
#define RUNNER_HOST_ALLOWANCE_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/host/agent.h"

/*
 * What the owner allows a renter in all (`allow --max-cost`). ERR_LIMIT: fen more would
 * be too much, with what its jobs cost or may still cost, and what it reserved. Under
 * renter_lock_admission, exclusive. Nothing to do where there is no such bound.
 */
int allowance_check(const struct agent *a, const struct renter *r, int64_t fen,
                    struct err *e) MUST_USE;

#endif
