#ifndef RUNNER_CLI_WATCH_H
#define RUNNER_CLI_WATCH_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/cli/cli.h"
#include "runner/client/follow.h"
#include "runner/client/jobs.h"
#include "runner/client/session.h"

/*
 * Watching a job that runs already: attach, logs, wait and stop. Finds it, reaches its
 * host, follows it to its end and returns the exit code, or -1 with *e.
 */
struct watch_want {
    bool out, err, input; /* which streams */
    bool go_on;           /* from where this client left off, and keep count */
    bool only_present;
    bool no_signals;
    bool as_json;
    bool receipt;          /* fetch and keep it at the end */
    int64_t lines;         /* only the last so many of each stream; 0: all */
    bool only_later;       /* nothing of what is there already */
    int64_t since_wall_ns; /* and these as runner/client/follow.h has them */
    const regex_t *grep;
    bool timestamps;
    /* Before following: a request to make (stop). NULL: none. */
    int (*first)(struct session *s, const struct job_record *job, void *ctx,
                 struct err *e);
    void *ctx;
};

int watch_job(struct cli *c, const char *what, const struct watch_want *w,
              struct err *e) MUST_USE;

/* How long a watcher goes on trying to get its link back. */
#define WATCH_PATIENCE_NS ((int64_t)1800 * 1000000000)

#endif
