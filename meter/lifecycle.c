#include "meter/lifecycle.h"

#include <string.h>

#include "meter/refuse.h"
#include "meter/wide.h"

static const char *const event_names[LIFECYCLE_EVENT_COUNT] = {
    [LIFECYCLE_NONE] = "",
    [LIFECYCLE_READY] = "ready",
    [LIFECYCLE_NOCARD_READY] = "nocard_ready",
    [LIFECYCLE_STOP] = "stop",
    [LIFECYCLE_EXIT] = "exit",
    [LIFECYCLE_BUDGET_STOP] = "budget_stop",
    [LIFECYCLE_PREEMPT] = "preempt",
    [LIFECYCLE_PAUSE_RELEASE] = "pause_release",
    [LIFECYCLE_RESUME_BEGIN] = "resume_begin",
    [LIFECYCLE_PAUSE_HOLD] = "pause_hold",
    [LIFECYCLE_RESUME_HOLD] = "resume_hold",
    [LIFECYCLE_SUSPEND] = "suspend",
    [LIFECYCLE_UNSUSPEND] = "unsuspend",
    [LIFECYCLE_SNAP_BEGIN] = "snap_begin",
    [LIFECYCLE_SNAP_END] = "snap_end",
    [LIFECYCLE_HOST_LOST] = "host_lost",
    [LIFECYCLE_END] = "end",
    [LIFECYCLE_PROVISION_FAILED] = "provision_failed",
};

enum lifecycle_event
lifecycle_event_from_name(const char *name)
{
    for (int i = LIFECYCLE_NONE + 1; i < LIFECYCLE_EVENT_COUNT; i++) {
        if (strcmp(event_names[i], name) == 0) {
            return (enum lifecycle_event)i;
        }
    }
    return LIFECYCLE_NONE;
}

struct lifecycle
lifecycle_new(int64_t free_preempt)
{
    struct lifecycle l;

    memset(&l, 0, sizeof l);
    l.track.state = USAGE_PREPARING;
    l.free_preempt = free_preempt;
    return l;
}

static bool
is_running(enum usage_state s)
{
    return s == USAGE_RUNNING || s == USAGE_SETUP;
}

/* A host that vanished proves time only up to its last heartbeat. */
static void
book_lost(struct lifecycle *l, int64_t t, int64_t last_heartbeat)
{
    int64_t proven = i64_max(i64_min(last_heartbeat, t), l->at);

    if (!is_running(l->track.state)) {
        usage_add(&l->track, t - l->at);
        return;
    }
    usage_add(&l->track, proven - l->at);
    l->track.total.ns[USAGE_LOST] += t - proven;
}

/* Into a free state that a running session comes back from. */
static void
interrupt(struct lifecycle *l, enum usage_state state)
{
    if (is_running(l->track.state)) {
        l->awake = l->track.state;
        usage_enter(&l->track, state);
    }
}

static void
go_on(struct lifecycle *l, enum usage_state state)
{
    if (l->track.state == state) {
        usage_enter(&l->track, l->awake);
    }
}

static void
happen(struct lifecycle *l, enum lifecycle_event ev, bool by_renter)
{
    switch (ev) {
    case LIFECYCLE_READY:
        l->track.run_ns = 0;
        usage_enter(&l->track, USAGE_RUNNING);
        break;
    case LIFECYCLE_NOCARD_READY:
        usage_enter(&l->track, USAGE_SETUP);
        break;
    case LIFECYCLE_PREEMPT:
        (void)usage_preempt(&l->track, l->free_preempt);
        usage_enter(&l->track, USAGE_STOPPING);
        break;
    case LIFECYCLE_STOP:
    case LIFECYCLE_EXIT:
    case LIFECYCLE_BUDGET_STOP:
        usage_enter(&l->track, USAGE_STOPPING);
        break;
    case LIFECYCLE_PAUSE_RELEASE:
        usage_enter(&l->track, USAGE_RELEASED);
        break;
    case LIFECYCLE_RESUME_BEGIN:
        usage_enter(&l->track, USAGE_PREPARING);
        break;
    case LIFECYCLE_SUSPEND:
        interrupt(l, USAGE_SUSPENDED);
        break;
    case LIFECYCLE_UNSUSPEND:
        go_on(l, USAGE_SUSPENDED);
        break;
    case LIFECYCLE_SNAP_BEGIN:
        if (!by_renter) {
            interrupt(l, USAGE_HOST_SNAPSHOT);
        }
        break;
    case LIFECYCLE_SNAP_END:
        if (!by_renter) {
            go_on(l, USAGE_HOST_SNAPSHOT);
        }
        break;
    case LIFECYCLE_HOST_LOST:
    case LIFECYCLE_END:
    case LIFECYCLE_PROVISION_FAILED:
        usage_enter(&l->track, USAGE_ENDED);
        break;
    case LIFECYCLE_PAUSE_HOLD:
    case LIFECYCLE_RESUME_HOLD:
    case LIFECYCLE_NONE:
    case LIFECYCLE_EVENT_COUNT:
        break; /* the device stays reserved: billed on */
    }
}

int
lifecycle_step(struct lifecycle *l, int64_t t, enum lifecycle_event ev, bool by_renter,
               int64_t last_heartbeat, struct err *e)
{
    if (t < l->at) {
        return refuse(e, REFUSE_RANGE, "an event before the one in front of it");
    }
    if (ev == LIFECYCLE_HOST_LOST) {
        book_lost(l, t, last_heartbeat);
    } else {
        usage_add(&l->track, t - l->at);
    }
    l->at = t;
    happen(l, ev, by_renter);
    return 0;
}
