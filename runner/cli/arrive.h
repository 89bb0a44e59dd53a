#ifndef RUNNER_CLI_ARRIVE_H
#define RUNNER_CLI_ARRIVE_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/cli.h"
#include "runner/cli/find.h"
#include "runner/client/bring.h"

/*
 * Bring what want names of ref here and make it appear at target (bring_tree, then
 * land_tree), with progress: want's and lo's own are set here. Of a snapshot whose copy
 * there is damaged another copy is taken, and ref is that one.
 */
int arrive(struct cli *c, struct client *cl, struct data_ref *ref,
           struct bring_want *want, const char *target, struct land_options *lo,
           struct err *e) MUST_USE;

#endif
