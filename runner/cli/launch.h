#ifndef RUNNER_CLI_LAUNCH_H
#define RUNNER_CLI_LAUNCH_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/request.h"
#include "runner/client/config.h"
#include "runner/client/session.h"

/*
 * From a request to its end: place, plan, ask, ship, submit and follow. Returns the exit
 * code, or -1 with *e. only_plan: print the plan on stdout and stop there.
 */
int launch(struct cli *c, struct client *cl, const struct config *cfg,
           struct run_request *r, bool only_plan, struct err *e) MUST_USE;

/*
 * The set-up of a run that starts from the snapshot r->spec.from, which the host of s
 * has: request_fill_setup with that under what is shipped.
 */
int launch_fill_setup(struct client *cl, struct run_request *r, const char *command,
                      struct session *s, struct err *e) MUST_USE;

#endif
