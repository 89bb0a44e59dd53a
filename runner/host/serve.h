#ifndef RUNNER_HOST_SERVE_H
#define RUNNER_HOST_SERVE_H

/*
 * One connection of a client, on stdin and stdout. Answers what can be read from files,
 * takes files into the renter's store, starts supervisors and passes streams on to them.
 * It holds nothing of a job: killing it at any moment harms none.
 *
 * renter_id: fixed by a forced command, NULL: what the client says, as everything here
 * belongs to the login user anyway. Returns the exit status.
 */
int serve_main(const char *renter_id);

#endif
