#ifndef RUNNER_CLI_COMPARE_H
#define RUNNER_CLI_COMPARE_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/cli.h"
#include "runner/cli/request.h"
#include "runner/client/session.h"

/*
 * `plan --compare`: what a run would cost on every card known, cheapest first: those
 * the hosts offer (at the price this renter pays, busy ones too), and for orientation
 * those of the price cards that come with gpurun (share/gpurun/cards, dated). Only
 * devices of the class the run asks for. Prints a table, or JSON.
 */
int compare_run(struct cli *c, struct client *cl, struct run_request *r,
                struct err *e) MUST_USE;

#endif
