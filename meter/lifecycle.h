#ifndef METER_LIFECYCLE_H
#define METER_LIFECYCLE_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "meter/usage.h"

/*
 * A session as a list of events: the same states and rules as a metered session
 * (usage.h), without clocks. For books and disputes, where somebody tells what
 * happened when. Times are in any one unit; totals come out in the same.
 */
enum lifecycle_event {
    LIFECYCLE_NONE = 0,
    LIFECYCLE_READY,
    LIFECYCLE_NOCARD_READY,
    LIFECYCLE_STOP,        /* the renter's order */
    LIFECYCLE_EXIT,        /* end of the command */
    LIFECYCLE_BUDGET_STOP, /* own budget */
    LIFECYCLE_PREEMPT,     /* owner or platform takes the machine back */
    LIFECYCLE_PAUSE_RELEASE,
    LIFECYCLE_RESUME_BEGIN,
    LIFECYCLE_PAUSE_HOLD,
    LIFECYCLE_RESUME_HOLD,
    LIFECYCLE_SUSPEND,
    LIFECYCLE_UNSUSPEND,
    LIFECYCLE_SNAP_BEGIN,
    LIFECYCLE_SNAP_END,
    LIFECYCLE_HOST_LOST,
    LIFECYCLE_END,
    LIFECYCLE_PROVISION_FAILED,
    LIFECYCLE_EVENT_COUNT
};
/* LIFECYCLE_NONE: no such event. */
enum lifecycle_event lifecycle_event_from_name(const char *name);

struct lifecycle {
    struct usage_track track;
    enum usage_state awake; /* what a suspended or snapshotted session goes back to */
    int64_t at;
    int64_t free_preempt;
};

/* At time 0, provisioning. */
struct lifecycle lifecycle_new(int64_t free_preempt);

/*
 * Book the time since the event before, then let this one happen. last_heartbeat: for
 * LIFECYCLE_HOST_LOST. by_renter: whose snapshot begins or ends. "range" if t falls.
 */
int lifecycle_step(struct lifecycle *l, int64_t t, enum lifecycle_event ev,
                   bool by_renter, int64_t last_heartbeat, struct err *e) MUST_USE;

#endif
