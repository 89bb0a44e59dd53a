#ifndef RUNNER_CLI_WALLETVIEW_H
#define RUNNER_CLI_WALLETVIEW_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/cli.h"

/* `gpurun wallet` where an operator's book is in use: what that book says. */

/* Meet the book at target and use it from now on; "own": the renter's own again. */
int walletview_use(struct cli *c, const char *target, const char *host_key,
                   struct err *e) MUST_USE;
/* Brings receipts that wait here to their books first. */
int walletview_funds(struct cli *c, struct err *e) MUST_USE;
int walletview_log(struct cli *c, int64_t from_wall_ns, int64_t to_wall_ns,
                   struct err *e) MUST_USE;

#endif
