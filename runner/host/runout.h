#ifndef RUNNER_HOST_RUNOUT_H
#define RUNNER_HOST_RUNOUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

/*
 * Run a short-lived program and take its standard output: probes and login shells, which
 * may hang, print without end or fail. It gets no standard input, a session of its own,
 * and is killed with its whole group when the time is over or the output too long.
 */
struct runout_options {
    const char *path;
    char *const *argv;
    char *const *envp;
    int64_t timeout_ns;
    size_t max_bytes;
    /*
     * Enough once its output holds this: something that it left in the background may
     * keep the output open. It is killed then. NULL: until the output ends.
     */
    const char *until;
};

/*
 * *status is as of waitpid. ERR_LIMIT: out of time; ERR_RANGE: too much output;
 * ERR_SYSTEM: it could not be started. Blocks; any thread.
 */
int runout(const struct runout_options *o, struct buf *out, int *status,
           struct err *e) MUST_USE;

#endif
