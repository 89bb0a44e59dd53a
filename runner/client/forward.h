#ifndef RUNNER_CLIENT_FORWARD_H
#define RUNNER_CLIENT_FORWARD_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/client/session.h"
#include "runner/client/ship.h"

/*
 * A snapshot from one host to another, through a scratch store here: it keeps its id and
 * its manifest, signed by the host that made it, and is never a directory on the way.
 */
struct forward_progress {
    const char *what; /* "fetching", "sending" */
    struct sync_stats st;
};

/* Both sessions up; runs the loop and owns their events meanwhile. */
int forward_snapshot(struct client *cl, struct session *from, struct session *to,
                     const char *id, struct forward_progress *progress,
                     struct err *e) MUST_USE;

/* Run the loop until a ship to this session is through; goes on after a cut link. */
int forward_ship(struct client *cl, struct ship *s, struct session *to,
                 struct err *e) MUST_USE;

#endif
