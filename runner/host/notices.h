#ifndef RUNNER_HOST_NOTICES_H
#define RUNNER_HOST_NOTICES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/host/agent.h"
#include "runner/job/spec.h"
#include "runner/job/state.h"

/*
 * --notify-host once no supervisor of the job lives: that it is lost, and, three days and
 * one day before, that what it left is given up (job/notify.h). No process of ours waits
 * for that: it is told by who comes next, an agent that is started or `tick`.
 *
 * <renter>/expiring/<job> is a record of what was told of that job's data. It is made
 * with the job's first snapshot, where its owner wants to be told. Which snapshot is the
 * last of it that is kept, and until when, is asked of the store at every look; nothing
 * is told of one that others carry on (job/line.h). It goes once the job has ended and no
 * data of it is kept.
 */

/*
 * Something to tell of. Whoever tells, the command finds the same: what the host's user
 * logs in with, then --env, then the secrets as long as they are known, then the facts.
 */
struct notice {
    const struct job_spec *spec; /* with a notify_host */
    const struct strings *login;
    const struct strings *secrets; /* K=V; NULL: they went with the supervisor */
    const char *event;
    const struct job_state *state;
    int log_fd; /* takes a line if it does not go well (jobdir_open_log); -1: none does */
};

/* *pid is to be reaped; -1: it could not be started. */
void notices_start(const struct notice *n, pid_t *pid);
/* The same, with the login environment as it is now. */
void notices_tell(const struct agent *a, const struct notice *n, pid_t *pid);

/*
 * A snapshot of the job is kept, or about to be: see to it that the end of its data is
 * told of. Nothing where nobody wants to know. A disk that refuses costs the notice. Any
 * thread.
 */
void notices_expect(const struct renter *r, const struct job_spec *spec);

/* Is it time for a look? Cheap. At most every ten minutes true, and to one who asks. */
bool notices_are_due(const struct renter *r);

/*
 * Look at all of the renter's, and start what is to be told; *n is how many (added to).
 * That something was told is durable before it is: who is killed in between has told
 * nothing rather than twice. Nothing is told by a clock that is not believed
 * (storage/snap.h), nor while another looks.
 */
int notices_give(const struct agent *a, const struct renter *r, size_t *n,
                 struct err *e) MUST_USE;

/* `gpurun-agent notices RENTER`, started by serve when it is time; low priority. */
int notices_main(const char *renter_id);

#endif
