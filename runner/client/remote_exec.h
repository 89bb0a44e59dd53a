#ifndef RUNNER_CLIENT_REMOTE_EXEC_H
#define RUNNER_CLIENT_REMOTE_EXEC_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/client/session.h"
#include "runner/job/spec.h"

/*
 * A further command inside a job's own environment: our stdin, stdout and stderr are
 * its, 8-bit clean; its status is ours. It outlives a cut link like the job does, and
 * goes on at the exact byte; it ends with the job.
 */
struct exec_want {
    const char *job;
    const struct strings *args;
    bool tty;
};

struct exec_result {
    int exit_code; /* 128 + n for a signal */
    int by_signal; /* we were told to go: that signal; 0 */
    bool stdout_closed;
    bool not_started; /* exit_code is a shell's for that, 127 or 126; why is filled in */
    struct err why;
};

/* Runs the loop until it has ended. ERR_LINK: contact lost for good. */
int remote_exec(struct client *cl, struct session *s, const struct exec_want *w,
                struct exec_result *out, struct err *e) MUST_USE;

#endif
