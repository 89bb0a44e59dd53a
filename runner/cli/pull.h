#ifndef RUNNER_CLI_PULL_H
#define RUNNER_CLI_PULL_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/cli.h"
#include "runner/client/snaps.h"

/*
 * A data set that a host fetches itself: a job there, without a device and at that price,
 * downloads it by curl, wget or Python, whichever the host has; what it leaves becomes
 * the set, and its snapshot is given up.
 */
struct pull {
    const char *name, *url;
    const char *host;
    const char *sha256; /* hex, or NULL: believe what comes */
    bool unpack;
    const char *max_cost, *max_time; /* as for run, or NULL */
};

/* All but the host, before anything is done. */
int pull_check(const struct pull *p, struct err *e) MUST_USE;

/* 0 and the set; else the exit code, already said, or -1 with *e. */
int pull_run(struct cli *c, const struct pull *p, struct snap_info *out,
             struct err *e) MUST_USE;

#endif
