#ifndef RUNNER_CLI_NOTIFY_H
#define RUNNER_CLI_NOTIFY_H

#include "runner/cli/cli.h"
#include "runner/job/state.h"

/*
 * --notify: a command of the user's, run by sh when a job that this client follows
 * reaches 50, 80 and 100 % of its cap, and when it ends. Its stdout goes to our stderr,
 * as stdout is the job's; nobody waits for it. It is told by its environment:
 * GPURUN_EVENT
 * ("cost-50", "cost-80", "cost-100", "ended"), GPURUN_JOB, GPURUN_NAME, GPURUN_STATE,
 * GPURUN_REASON, GPURUN_COST_FEN, GPURUN_CAP_FEN.
 */
void notify_run(struct cli *c, const char *command, const char *event,
                const struct job_state *st);

#endif
