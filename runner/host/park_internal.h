#ifndef RUNNER_HOST_PARK_INTERNAL_H
#define RUNNER_HOST_PARK_INTERNAL_H

#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "runner/host/park.h"

/* What is asked for; *asked is false, and nothing else written, where nothing is. */
int park_asked(const struct agent *a, bool *asked, struct park *out,
               struct err *e) MUST_USE;

/* How far the timer has got, so that the next one goes on where it was. */
struct park_state {
    enum park_phase phase;
    char boot[BOOT_ID_LEN + 1]; /* of which the next two are */
    int64_t idle_since_ns;      /* CLOCK_BOOTTIME */
    int64_t hold_ns;            /* the lock file's time: unchanged, nobody was here */
    int64_t at_wall_ns;
    int64_t n_failed; /* in a row */
    struct err why;
};
/* All zero where there is none, or none that can be read. */
void park_state_load(const struct agent *a, struct park_state *out);
int park_state_save(const struct agent *a, const struct park_state *st,
                    struct err *e) MUST_USE;

/* The lock file. */
int park_hold_open(const struct agent *a); /* -1: there is none, nor can be */
int64_t park_hold_time(int fd);            /* when it was last taken or given up */
bool park_is_held(int fd);                 /* by others, whose use counts */
bool park_take_alone(int fd);              /* false: others have it */
void park_give_up(int fd);

/*
 * Tell the --notify-host of the job that ended last and has one, with that job's facts;
 * why (NULL allowed) in place of its detail. Back when the command is done, which has
 * NOTIFY_TIME_S: the machine may be down right after.
 */
void park_tell(const struct agent *a, const char *event, const char *why);
/*
 * Reap pid, a child of ours that leads a session of its own. After limit_ns it, and its
 * group, is killed: it may have put off the signal that was to end it in time.
 */
void park_reap(pid_t pid, int64_t limit_ns);

#endif
