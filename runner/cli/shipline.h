#ifndef RUNNER_CLI_SHIPLINE_H
#define RUNNER_CLI_SHIPLINE_H

#include "base/buf.h"
#include "runner/cli/progress.h"
#include "runner/client/ship.h"

/*
 * What a directory on its way shows: while it is read how much of it was looked at, of
 * as many entries as it had last; then what is sent (after `sending`, in the user's
 * words) of what the host asked for.
 */
void shipline(struct ship *s, const struct progress *p, const char *sending,
              struct buf *out);

#endif
