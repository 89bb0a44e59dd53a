#ifndef RUNNER_CLI_BATCH_H
#define RUNNER_CLI_BATCH_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/cli.h"
#include "runner/cli/request.h"
#include "runner/client/config.h"
#include "runner/client/session.h"

/*
 * Many jobs by one gpurun: --batch FILE (a job per line, as it would stand behind
 * `gpurun run`; options given before are the defaults of all) or --array A-B (one script,
 * with GPURUN_ARRAY_INDEX from A to B).
 *
 * One connection per host carries all of it. Jobs start in the order of the file, each on
 * the cheapest host with devices free for it, the next as soon as one gives its devices
 * back. Every one is a job like any other: durable, billed, with a name and a receipt.
 */
#define BATCH_JOBS_MAX 10000

bool batch_wanted(const struct run_options *o);

/* Returns the exit code (see batch_exit_code), or -1 with *e: then nothing was started.
 */
int batch_run(struct cli *c, struct client *cl, const struct config *cfg,
              const struct run_options *o, const struct words *w, bool only_plan,
              struct err *e) MUST_USE;

#endif
