#ifndef RUNNER_CLIENT_CUT_H
#define RUNNER_CLIENT_CUT_H

#include <signal.h>
#include <stdbool.h>

/*
 * Work on the main thread that leaves something half done where a signal ends the
 * process: in between it is ended in order, and the signal does its work afterwards.
 * SIGINT, SIGTERM and SIGHUP, as far as they would end the process now; a second one
 * does so at once. One at a time in a process.
 */
#define CUT_SIGNALS 3
struct cut {
    struct sigaction old[CUT_SIGNALS];
    bool ours[CUT_SIGNALS];
};

void cut_begin(struct cut *c);
/* Has one come? From any thread: give up now, what was made goes. */
bool cut_came(void);
/* Does not return if one has. */
void cut_end(struct cut *c);

#endif
