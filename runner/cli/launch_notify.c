#include "runner/cli/launch_internal.h"
#include "runner/cli/notifycmd.h"

void
launch_notify(const struct cli *c, const char *command, struct notify_seen *seen,
              const struct job_state *st, const char *host)
{
    const char *event;

    while (command != NULL && (event = notify_next(seen, st)) != NULL) {
        notifycmd_run(c, command, event, st, host);
    }
}
