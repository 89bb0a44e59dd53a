#ifndef RUNNER_CLIENT_FORWARD_H
#define RUNNER_CLIENT_FORWARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/client/session.h"
#include "runner/client/ship.h"

/*
 * A snapshot from one host to another: what the one's store sends goes straight to the
 * other's, and nothing of it lands on a disk here. It keeps its id and its manifest,
 * signed by the host that made it. The receiver checks every chunk, so nobody in between
 * has to be believed.
 */
struct forward_progress {
    uint64_t bytes; /* of chunks, as they are kept, that were passed on; 0 before */
};

/*
 * Begin; each session is up, or on its way there. All of it goes on whenever the loop
 * runs, beside all else on these sessions, which must outlive it; so everything that can
 * go wrong with a host is told by forward_finish. patient: a cut link is waited for (as
 * long as its session's patience lasts), and what had arrived is not sent again; else it
 * is ERR_LINK. ERR_NOT_FOUND: the data is gone.
 */
struct forward;
int forward_start(struct forward **out, struct session *from, struct session *to,
                  const char *id, bool patient, struct forward_progress *progress,
                  struct err *e) MUST_USE;
bool forward_is_over(const struct forward *f);
/* How it went; f is gone. Before it is over it is given up (ERR_LINK). */
int forward_finish(struct forward *f, struct err *e) MUST_USE;

/* All of that; runs the loop meanwhile. */
int forward_snapshot(struct client *cl, struct session *from, struct session *to,
                     const char *id, bool patient, struct forward_progress *progress,
                     struct err *e) MUST_USE;

/* Run the loop until a ship to this session is through; goes on after a cut link. */
int forward_ship(struct client *cl, struct ship *s, struct session *to,
                 struct err *e) MUST_USE;

#endif
