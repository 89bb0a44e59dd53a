#ifndef RUNNER_HOST_GUARD_H
#define RUNNER_HOST_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "runner/host/sandbox.h"

/*
 * The guard: the process that starts, reaps and, above all, ends everything of one job.
 * It is pid 1 of a pid name space where that may be had, else a subreaper; it waits for
 * orders on a socket pair and reports what happened. It holds the device locks and the
 * job's lock beside the supervisor, on the same open files.
 *
 * When the supervisor is gone (the socket ends) it kills everything, waits until the last
 * process is reaped, and only then exits: so locks are free only when nothing of the job
 * lives. It must be started while the supervisor is single-threaded.
 */
#define GUARD_FDS_MAX 64

struct guard; /* the supervisor's end of it; one thread */

/* Start one, with the strongest name spaces this host allows. The log says why not more.
 */
int guard_start(struct guard **out, struct err *e) MUST_USE;
/* Close the socket: the guard then ends everything, and itself. It is not waited for. */
void guard_close(struct guard *g);
/*
 * Wait for that. true: the guard is gone, and nothing of the job lives; false: not
 * within timeout_ms. Only from then on may what the guard holds be given to others.
 */
bool guard_wait(struct guard *g, int timeout_ms);
/* SIGKILL to a guard that does not end: where it has a name space, all in it die too. */
void guard_kill(struct guard *g);
/* guard_close, and free. NULL allowed. */
void guard_free(struct guard *g);
int guard_fd(const struct guard *g);    /* to be watched for reading; non-blocking */
pid_t guard_pid(const struct guard *g); /* as we see it; our child or grandchild's heir */
enum sandbox_spaces guard_spaces(const struct guard *g);

/* ---- orders ---- */

/*
 * Walls for everything started from now on. The record's fields: `confined` (0 or 1),
 * `rw`, `ro` (paths, repeated), `hide` (a directory), `show` (paths beneath it,
 * repeated), `show_ro`, `tmp` (put over /tmp). Answer: GUARD_EV_DONE or GUARD_EV_FAILED.
 */
int guard_walls(struct guard *g, const struct rec *walls, struct err *e) MUST_USE;
/* Hold copies of these descriptors until the end. No answer. */
int guard_hold(struct guard *g, const int *fds, size_t n, struct err *e) MUST_USE;
/*
 * From now on commands are started in the control groups of these (cgroup_join_fds), and
 * no more in those of an earlier call. No answer.
 */
int guard_join(struct guard *g, const int *fds, size_t n, struct err *e) MUST_USE;

struct guard_command {
    uint32_t id; /* the caller's, not 0 */
    const struct strings *args;
    const struct strings *env; /* all of it */
    const char *cwd;
    int in_fd, out_fd, err_fd; /* stay the caller's */
    bool tty;                  /* in_fd is the slave of a pty */
};
/* Start a command in a session of its own. Answer: GUARD_EV_STARTED or _NOT_STARTED. */
int guard_spawn(struct guard *g, const struct guard_command *c, struct err *e) MUST_USE;

/* signo to the process group of command id, or, with id 0, to every process of the job.
 */
int guard_signal(struct guard *g, uint32_t id, int signo, struct err *e) MUST_USE;

/* ---- what happened ---- */

enum guard_event_kind {
    GUARD_EV_NONE = 0,
    GUARD_EV_DONE,        /* walls stand */
    GUARD_EV_FAILED,      /* they do not, or an order could not be read: why */
    GUARD_EV_STARTED,     /* id */
    GUARD_EV_NOT_STARTED, /* id, why */
    GUARD_EV_EXITED,      /* id, status as of waitpid */
    GUARD_EV_EMPTY,       /* no process of the job is left */
    GUARD_EV_GONE,        /* the guard itself died: nobody saw how the commands ended */
};

struct guard_event {
    enum guard_event_kind kind;
    uint32_t id;
    int status;
    bool landlock; /* DONE: it is in force */
    struct err why;
};

/* The next event; false: none now. */
bool guard_next(struct guard *g, struct guard_event *out);

#endif
