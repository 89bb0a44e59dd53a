#ifndef RUNNER_CLI_SNAPNOTIFY_H
#define RUNNER_CLI_SNAPNOTIFY_H

#include "runner/cli/cli.h"
#include "runner/client/session.h"
#include "runner/client/snaps.h"

/*
 * --notify of a run that was watched here, three days and one day before the last copy of
 * what is left of it goes (job/notify.h, job/line.h): nobody of ours waits for that, so
 * it is told by who looks at the snapshots, `snap ls`. The job's record here says what
 * was told. Nothing of what a snapshot in l carries on. l is sorted.
 */
void snapnotify(const struct cli *c, const struct client *cl, const struct snap_infos *l);

#endif
