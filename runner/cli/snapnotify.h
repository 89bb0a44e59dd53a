#ifndef RUNNER_CLI_SNAPNOTIFY_H
#define RUNNER_CLI_SNAPNOTIFY_H

#include "runner/cli/cli.h"
#include "runner/client/session.h"
#include "runner/client/snaps.h"

/*
 * --notify of a run that was watched here, three days and one day before the last copy of
 * what it left goes (job/notify.h): nobody of ours waits for that, so it is told by who
 * looks at the snapshots, `snap ls`. The job's record here says what was told.
 */

/* Copies of one snapshot, [0, n) of v; goes_wall_ns: when the last of them does. */
void snapnotify(const struct cli *c, const struct client *cl, const struct snap_info *v,
                int64_t goes_wall_ns);

#endif
