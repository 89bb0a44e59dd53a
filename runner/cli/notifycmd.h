#ifndef RUNNER_CLI_NOTIFYCMD_H
#define RUNNER_CLI_NOTIFYCMD_H

#include <stddef.h>
#include <sys/types.h>

#include "runner/cli/cli.h"
#include "runner/job/notify.h"
#include "runner/job/state.h"

/*
 * Commands of --notify here. Each goes on by itself, however soon gpurun ends
 * (job/notify.h), and tells on stderr if it did not go well, unless -q says otherwise.
 */
struct notifycmds {
    pid_t *v; /* not reaped yet */
    size_t n;
};

/*
 * Run it (NULL: nothing) for each event that the state has beyond what was told
 * (notify_seen_pack).
 */
void notifycmd_state(const struct cli *c, const char *command, uint64_t *told,
                     const struct job_state *st, const char *host);

/* Run that command, told of that event in that state. host may be NULL. */
void notifycmd_run(const struct cli *c, const char *command, const char *event,
                   const struct job_state *st, const char *host);

/*
 * gpurun is about to end: wait for what was started, as most failures come at once, and a
 * line of theirs belongs before the shell's prompt; but only for a moment. Frees l->v.
 */
void notifycmd_await(struct notifycmds *l);

#endif
