#ifndef RUNNER_JOB_NOTIFY_H
#define RUNNER_JOB_NOTIFY_H

#include <stdbool.h>
#include <sys/types.h>

#include "runner/job/spec.h"
#include "runner/job/state.h"

/*
 * What a job's owner wants to hear of, found in its state as it changes: the same on the
 * host (--notify-host) and on the client (--notify). Each event comes once:
 *
 *   cost-50 cost-80 so much of the cap is used
 *   cost-100        it is stopped by its cap, or by what the book covers
 *   limit           ten minutes are left of cost or time, whichever ends first
 *   ended           by itself or by a stop; GPURUN_REASON and GPURUN_EXIT say how
 *   failed          it did not start, or the host broke
 *   lost            its supervisor died
 */
#define NOTIFY_COMMAND_MAX ((size_t)4096)
#define NOTIFY_LIMIT_S     600
#define NOTIFY_TIME_S      60 /* a command that takes longer is ended */

struct notify_seen {
    int percent;
    bool had_time; /* more than ten minutes were left once */
    bool limit;
    bool final;
};

/* The next thing to tell, or NULL. All of one state: ask until it is NULL. */
const char *notify_next(struct notify_seen *seen, const struct job_state *st);

/* "GPURUN_EVENT=…", and what else is known: appended. host may be NULL. */
void notify_facts(struct strings *env, const char *event, const struct job_state *st,
                  const char *host);

/*
 * Start `/bin/sh -c command` with that environment, apart from us and for at most
 * NOTIFY_TIME_S; its output goes to our stderr. The caller need not live. *pid is its
 * child, to be reaped.
 */
int notify_start(const char *command, const struct strings *env, pid_t *pid,
                 struct err *e) MUST_USE;

#endif
