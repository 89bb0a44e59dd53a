#ifndef RUNNER_CLI_ALERTS_H
#define RUNNER_CLI_ALERTS_H

#include <stdbool.h>
#include <stdint.h>

#include "runner/cli/cli.h"
#include "runner/job/notify.h"
#include "runner/job/state.h"

/* What a watched job's states have to tell before it ends: its cap, and its limits. */
struct alerts {
    bool silent;             /* nothing on stderr */
    struct notify_seen said; /* there, by this command */
    const char *notify;      /* --notify of the run, or NULL; not owned */
    /* What that was told of (notify_seen_pack), by whoever watched; NULL: another does.
     */
    uint64_t *told;
};

void alerts_state(struct alerts *a, const struct cli *c, const struct job_state *st,
                  const char *host);

#endif
