#ifndef RUNNER_HOST_PARK_H
#define RUNNER_HOST_PARK_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/host/agent.h"
#include "runner/job/park.h"

/*
 * Parking this machine once nothing is left to do on it (job/park.h). What was asked for
 * is <home>/park; how it stands <home>/park.state; both are written by replacing them.
 *
 * One process, the timer, watches: started by whoever finds that it is asked for and not
 * there (serve, tick, a supervisor that ends), so that it comes back after it was killed,
 * and after a restart of the machine as soon as anybody of ours runs. It is the only one
 * of ours that lives on an idle host.
 *
 * <home>/park.hold is a lock. Who does something that parking would cut off holds it
 * shared: supervisors from before a job is accepted, connections that carry data. The
 * timer takes it alone while the command runs, so either the job is seen by the timer, or
 * the job is refused; never is it accepted and then switched off. Errands to books
 * (errands.h) come by the clock, however idle the host is: they hold one byte of it only,
 * which keeps the command off and counts for nothing else.
 */

/*
 * Ask for it, in place of what was asked before; command NULL: not any more. Durable on
 * return. ERR_INVALID (park_check).
 */
int park_set(const struct agent *a, const char *command, int64_t after_s,
             struct err *e) MUST_USE;
/* How it stands now; phase PARK_NONE where it was not asked for. */
int park_look(const struct agent *a, struct park *out, struct err *e) MUST_USE;

/*
 * Not now. *fd holds it off until it is closed (park_release), and the time begins anew
 * then. ERR_BUSY: the command runs already. Where a file system knows no locks, or has no
 * room for an empty file, *fd is -1 and marks of jobs alone count.
 */
int park_hold(const struct agent *a, int *fd, struct err *e) MUST_USE;
void park_release(int *fd);

/*
 * The same for what may not be cut off, but is no use of this machine: the command waits
 * until *fd is closed (fd_close), the time goes on as if nobody had been here.
 */
int park_keep_off(const struct agent *a, int *fd, struct err *e) MUST_USE;

/* Start the timer if it is asked for and not there. */
void park_ensure(const struct agent *a);

/* `gpurun-agent park-timer`; returns the exit status. */
int park_timer_main(void);

#endif
