#ifndef METER_USAGE_H
#define METER_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"

/*
 * What a job can be doing, what each state costs, and how time is booked to
 * states. Every nanosecond of a session is in exactly one state, in cumulative
 * totals, so records that come twice, late or not at all change nothing.
 */
enum usage_state {
    USAGE_NONE = 0,
    USAGE_SHIPPING,      /* free: code and data on their way */
    USAGE_PREPARING,     /* free: pulling, unpacking, preflight, also queueing */
    USAGE_SETUP,         /* no-card: the renter's own set-up command, no device held */
    USAGE_RUNNING,       /* device: from ready to the stop order or the command's end */
    USAGE_RESERVED,      /* free: as RUNNING, on devices paid in front meanwhile */
    USAGE_STOPPING,      /* free: the first USAGE_FREE_STOP_S of the stop window */
    USAGE_WINDOW,        /* device: the rest of a longer stop window */
    USAGE_SNAPSHOTTING,  /* free: the closing snapshot */
    USAGE_RELEASED,      /* free: the renter gave the device up for a while */
    USAGE_SUSPENDED,     /* free: the host slept */
    USAGE_HOST_SNAPSHOT, /* free: a snapshot that owner or platform wanted */
    USAGE_PREEMPTED,  /* free: a run the owner took back before it was worth anything */
    USAGE_FAULT,      /* free: gaps over USAGE_GAP_NS, and faults of the host */
    USAGE_LOST,       /* free: after the last record of a session nobody ended */
    USAGE_ENDED,      /* nothing is booked any more */
    USAGE_STATE_COUNT /* not a state */
};

/* What a second of a state is charged at. */
enum usage_price { USAGE_FREE = 0, USAGE_NOCARD, USAGE_DEVICE };

/* "running", …: stable names for records and JSON; "" for USAGE_NONE. */
const char *usage_state_name(enum usage_state s);
/* USAGE_NONE if no state has that name. */
enum usage_state usage_state_from_name(const char *name, size_t len);
enum usage_price usage_state_price(enum usage_state s);
/* Why a free state is free, one English phrase for a bill line (gettext key). */
const char *usage_state_why(enum usage_state s);

#define USAGE_NS_PER_S       1000000000LL
#define USAGE_GAP_NS         (30 * USAGE_NS_PER_S) /* longer without a record is a fault */
#define USAGE_SUSPEND_MIN_NS 100000000LL /* less is the noise of reading two clocks */
#define USAGE_FREE_STOP_S    60
#define USAGE_FREE_PREEMPT_S 60

struct usage_totals {
    int64_t ns[USAGE_STATE_COUNT];
};

/* A moment by all three clocks (base/clock.h). */
struct usage_moment {
    char boot[BOOT_ID_LEN + 1];
    int64_t mono_ns;
    int64_t boot_ns;
    int64_t wall_ns; /* a label, never arithmetic on money */
};

void usage_now(struct usage_moment *out);
/*
 * All of it but the boot id. A process that is stopped between the reading of two clocks
 * reads them again, so that no such stop is booked as the host's sleep.
 */
void usage_read_clocks(struct usage_moment *out);

/*
 * Where a session stands: the one state machine behind running sessions, behind
 * verification and behind the billing vectors' lifecycle.
 */
struct usage_track {
    enum usage_state state;
    struct usage_totals total;
    int64_t run_ns; /* device time since the last `ready`, for an early preemption */
};

/* Enter a state. A run begins where RUNNING is entered and the same one does not go on.
 */
void usage_enter(struct usage_track *t, enum usage_state state);
/* May a session in `from` enter `to` (meter/DESIGN.md has the table)? */
bool usage_may_enter(enum usage_state from, enum usage_state to);

/*
 * The owner takes the device back: if the present run has less than free_ns, it
 * moves from RUNNING to PREEMPTED. Returns what moved.
 */
int64_t usage_preempt(struct usage_track *t, int64_t free_ns);

/* Book ns to the present state, and to the run where that is RUNNING. */
void usage_add(struct usage_track *t, int64_t ns);

/*
 * Book the time between two moments to t:
 *  - another boot: nothing, as nobody can know how long it was (nor was the
 *    job running: it died with the old boot);
 *  - CLOCK_MONOTONIC not moved on by what CLOCK_BOOTTIME did: the difference is
 *    USAGE_SUSPENDED;
 *  - more than USAGE_GAP_NS: USAGE_FAULT, all of it;
 *  - USAGE_STOPPING: USAGE_FREE_STOP_S free in all, then up to billed_window_ns as
 *    USAGE_WINDOW, what is beyond both is USAGE_FAULT (the host was late);
 *  - USAGE_ENDED: nothing;
 *  - else the state itself.
 * "clock_went_back": `to` is before `from` within one boot, or the totals would
 * leave what can be counted.
 */
int usage_book(struct usage_track *t, const struct usage_moment *from,
               const struct usage_moment *to, int64_t billed_window_ns,
               struct err *e) MUST_USE;

/* Whole seconds: each made whole once, from the session's total. */
int64_t usage_setup_s(const struct usage_totals *t);
int64_t usage_device_s(const struct usage_totals *t); /* running + billed window */

#endif
