#ifndef RUNNER_HOST_SUPERVISE_H
#define RUNNER_HOST_SUPERVISE_H

/*
 * The supervisor: one process per job, from its acceptance to its receipt. It is
 * started by serve with a connection on descriptor SUPERVISE_FD, over which it is told
 * what to run (SUP_START); afterwards anybody of the same user id connects to the job's
 * `sock`. It dies with nobody: not with serve, not with the client.
 *
 * What serve asks of it, beside the client's own job.stop, job.signal, job.extend and
 * job.usage's countersignatures, which are passed on as they came:
 */
#define SUPERVISE_FD 3

#define SUP_SETUP_CORES 1 /* what a set-up command has, and is billed at */

#define SUP_START  "sup.start"  /* spec, grant, secret… → state */
#define SUP_FOLLOW "sup.follow" /* → state, out, err; then the two events */
#define SUP_ACKED  "sup.acked"  /* out, err: a client holds everything below */
#define SUP_COSIGN "sup.cosign" /* cosign (bytes) */

#define SUP_EVENT_LOG "gpurun.event.log.v1" /* out, err: how far the log goes */

/* `gpurun-agent supervise RENTER JOB`; returns the exit status. */
int supervise_main(const char *renter_id, const char *job);

#endif
