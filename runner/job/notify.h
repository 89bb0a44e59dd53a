#ifndef RUNNER_JOB_NOTIFY_H
#define RUNNER_JOB_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
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
 *
 * and for what is left of a job, its last snapshot (notify_expiry, job/line.h):
 *
 *   expires-3d expires-1d  so soon its data is given up
 */
#define NOTIFY_COMMAND_MAX ((size_t)16384) /* a whole script */
#define NOTIFY_LIMIT_S     600
#define NOTIFY_TIME_S      60 /* a command that takes longer is ended */

struct notify_seen {
    int percent;
    bool had_time; /* more than ten minutes were left once */
    bool limit;
    bool final;
};

/* In one number, to be kept; 0: nothing seen yet. */
uint64_t notify_seen_pack(const struct notify_seen *seen);
struct notify_seen notify_seen_unpack(uint64_t packed);

/* The next thing to tell, or NULL. All of one state: ask until it is NULL. */
const char *notify_next(struct notify_seen *seen, const struct job_state *st);

/*
 * How much of the end of a job's data was told: a record of type NOTIFY_EXPIRY_TYPE, so
 * that each moment is told once whoever looks, and however often. All zero: nothing.
 */
#define NOTIFY_EXPIRY_TYPE      "gpurun.expiring.v1"
#define NOTIFY_EXPIRY_MAX_BYTES ((size_t)4096)
#define NOTIFY_EXPIRY_DAYS      3 /* before that there is nothing to tell */
struct notify_expiry {
    int64_t expires_wall_ns; /* what was told was of this end */
    int64_t told_days;       /* the nearest moment told: 3, 1; 0: none */
};
/*
 * What is to be told at now of data that is kept until expires_wall_ns (0: no end), or
 * NULL; *seen then knows. A look so late that both moments are over tells the nearer;
 * once the data's time is over there is nothing to tell. Another end than was told of
 * (`snap keep`) has moments of its own.
 */
const char *notify_expiry(struct notify_expiry *seen, int64_t expires_wall_ns,
                          int64_t now_wall_ns);
struct rec *notify_expiry_encode(const struct notify_expiry *seen);
/* ERR_CORRUPT, ERR_INVALID. Written on success. */
int notify_expiry_parse(struct notify_expiry *out, const struct rec *r,
                        struct err *e) MUST_USE;

/* "GPURUN_EVENT=…", and what else is known: appended. host may be NULL. */
void notify_facts(struct strings *env, const char *event, const struct job_state *st,
                  const char *host);

/*
 * How it is told that a command did not go well: by a line that is ready before it
 * starts, since it may outlive whoever started it.
 */
struct notify_report {
    int fd;       /* where to; stays the caller's */
    bool stamped; /* the line begins with the time it is written */
    const char
        *code; /* the line up to its exit code (128 + n: signal n), which ends it */
    const char *late; /* the whole line where it took longer than NOTIFY_TIME_S */
};

/*
 * Start `/bin/sh -c command` with that environment (of one name the last counts), apart
 * from us and for at most NOTIFY_TIME_S (then it is killed with all of its process
 * group); its output goes to our stderr. The caller need not live. report: NULL: nobody
 * is told. *pid is the caller's child, to be reaped; it ends as the command does, and
 * after what it has to report.
 */
int notify_start(const char *command, const struct strings *env,
                 const struct notify_report *report, pid_t *pid, struct err *e) MUST_USE;

#endif
