#include "meter/usage.h"

#include <string.h>

#include "meter/refuse.h"
#include "meter/wide.h"

/* Two clocks read within so long are of one moment; else again, and the closest counts.
 */
#define CLOCKS_CLOSE_NS 1000000
#define CLOCKS_TRIES    16

#define NAME(text) text, sizeof(text) - 1

/* One row per state: what its time costs, and why it does not. */
static const struct {
    const char *name;
    size_t name_len;
    enum usage_price price;
    const char *why;
} states[USAGE_STATE_COUNT] = {
    [USAGE_NONE] = {NAME(""), USAGE_FREE, ""},
    [USAGE_SHIPPING] = {NAME("shipping"), USAGE_FREE, "code and data on their way"},
    [USAGE_PREPARING] = {NAME("preparing"), USAGE_FREE, "the host gets ready"},
    [USAGE_SETUP] = {NAME("setup"), USAGE_NOCARD, ""},
    [USAGE_RUNNING] = {NAME("running"), USAGE_DEVICE, ""},
    [USAGE_RESERVED] = {NAME("reserved"), USAGE_FREE, "reserved: paid in front"},
    [USAGE_STOPPING] = {NAME("stopping"), USAGE_FREE,
                        "the first 60 s after the stop order"},
    [USAGE_WINDOW] = {NAME("window"), USAGE_DEVICE, ""},
    [USAGE_SNAPSHOTTING] = {NAME("snapshotting"), USAGE_FREE, "your data is made safe"},
    [USAGE_RELEASED] = {NAME("released"), USAGE_FREE, "the device was given back"},
    [USAGE_SUSPENDED] = {NAME("suspended"), USAGE_FREE, "the host slept"},
    [USAGE_HOST_SNAPSHOT] = {NAME("host_snapshot"), USAGE_FREE,
                             "a snapshot the host wanted"},
    [USAGE_PREEMPTED] = {NAME("preempted"), USAGE_FREE,
                         "taken back by the owner too early"},
    [USAGE_FAULT] = {NAME("fault"), USAGE_FREE,
                     "a fault of the host: no record for over 30 s"},
    [USAGE_LOST] = {NAME("lost"), USAGE_FREE, "after the last record of a lost session"},
    [USAGE_ENDED] = {NAME("ended"), USAGE_FREE, ""},
};

const char *
usage_state_name(enum usage_state s)
{
    return states[s].name;
}

enum usage_state
usage_state_from_name(const char *name, size_t len)
{
    for (int s = USAGE_NONE + 1; s < USAGE_STATE_COUNT; s++) {
        if (states[s].name_len == len && memcmp(states[s].name, name, len) == 0) {
            return (enum usage_state)s;
        }
    }
    return USAGE_NONE;
}

enum usage_price
usage_state_price(enum usage_state s)
{
    return states[s].price;
}

const char *
usage_state_why(enum usage_state s)
{
    return states[s].why;
}

void
usage_read_clocks(struct usage_moment *out)
{
    int64_t best_ns = INT64_MAX;

    for (int i = 0; i < CLOCKS_TRIES && best_ns > CLOCKS_CLOSE_NS; i++) {
        int64_t before_ns = clock_mono_ns();
        int64_t boot_ns = clock_boot_ns();
        int64_t apart_ns = clock_mono_ns() - before_ns;

        if (apart_ns < best_ns) {
            best_ns = apart_ns;
            out->mono_ns = before_ns;
            out->boot_ns = boot_ns;
        }
    }
    out->wall_ns = clock_wall_ns();
}

void
usage_now(struct usage_moment *out)
{
    clock_boot_id(out->boot);
    usage_read_clocks(out);
}

/* A run goes on through the host's sleep, its own snapshots and time paid in front. */
static bool
keeps_run(enum usage_state from)
{
    return from == USAGE_RUNNING || from == USAGE_RESERVED || from == USAGE_SUSPENDED ||
           from == USAGE_HOST_SNAPSHOT;
}

void
usage_enter(struct usage_track *t, enum usage_state state)
{
    if (state == USAGE_RUNNING && !keeps_run(t->state)) {
        t->run_ns = 0;
    }
    t->state = state;
}

bool
usage_may_enter(enum usage_state from, enum usage_state to)
{
    if (from == to) {
        return true;
    }
    switch (to) {
    case USAGE_SHIPPING:
    case USAGE_PREPARING:
        return from != USAGE_ENDED && from != USAGE_SNAPSHOTTING;
    case USAGE_SETUP:
        return from == USAGE_SHIPPING || from == USAGE_PREPARING;
    case USAGE_RUNNING:
        return from != USAGE_ENDED && from != USAGE_SNAPSHOTTING &&
               from != USAGE_STOPPING;
    case USAGE_RESERVED:
    case USAGE_RELEASED:
    case USAGE_SUSPENDED:
    case USAGE_HOST_SNAPSHOT:
        return from == USAGE_RUNNING;
    case USAGE_STOPPING:
    case USAGE_SNAPSHOTTING:
    case USAGE_FAULT:
    case USAGE_ENDED:
        return from != USAGE_ENDED;
    case USAGE_NONE:
    case USAGE_WINDOW:
    case USAGE_PREEMPTED:
    case USAGE_LOST:
    case USAGE_STATE_COUNT:
        break;
    }
    return false; /* states that time is booked to, and nobody is in */
}

int64_t
usage_preempt(struct usage_track *t, int64_t free_ns)
{
    int64_t moved = t->run_ns < free_ns ? t->run_ns : 0;

    t->total.ns[USAGE_RUNNING] -= moved;
    t->total.ns[USAGE_PREEMPTED] += moved;
    t->run_ns = 0; /* a second order must not move it again */
    return moved;
}

void
usage_add(struct usage_track *t, int64_t ns)
{
    if (t->state != USAGE_ENDED) {
        t->total.ns[t->state] += ns;
    }
    if (t->state == USAGE_RUNNING) {
        t->run_ns += ns;
    }
}

/* Free first, then the billed window, then the host's own lateness. */
static void
book_stopping(struct usage_totals *t, int64_t ns, int64_t billed_window_ns)
{
    int64_t room = USAGE_FREE_STOP_S * USAGE_NS_PER_S - t->ns[USAGE_STOPPING];
    int64_t part = i64_min(ns, i64_max(room, 0));

    t->ns[USAGE_STOPPING] += part;
    ns -= part;
    room = billed_window_ns - t->ns[USAGE_WINDOW];
    part = i64_min(ns, i64_max(room, 0));
    t->ns[USAGE_WINDOW] += part;
    t->ns[USAGE_FAULT] += ns - part;
}

/* No session is longer than this, in all its states together: three hundred years would
 * overflow the sums, so a forged clock is caught well before. */
#define SPAN_MAX_NS ((int64_t)1 << 60)

int
usage_book(struct usage_track *t, const struct usage_moment *from,
           const struct usage_moment *to, int64_t billed_window_ns, struct err *e)
{
    int64_t mono_ns;
    int64_t boot_ns;
    int64_t sum_ns = 0;

    if (strcmp(from->boot, to->boot) != 0) {
        return 0;
    }
    if (__builtin_sub_overflow(to->mono_ns, from->mono_ns, &mono_ns) ||
        __builtin_sub_overflow(to->boot_ns, from->boot_ns, &boot_ns) || mono_ns < 0 ||
        boot_ns < 0 || mono_ns > SPAN_MAX_NS || boot_ns > SPAN_MAX_NS) {
        return refuse(e, REFUSE_CLOCK_BACK, "the clock of this boot went back");
    }
    for (int s = 0; s < USAGE_STATE_COUNT; s++) {
        sum_ns += t->total.ns[s];
    }
    if (sum_ns > SPAN_MAX_NS) {
        return refuse(e, REFUSE_CLOCK_BACK, "the session is longer than can be counted");
    }
    if (t->state == USAGE_ENDED) {
        return 0;
    }
    if (boot_ns - mono_ns >= USAGE_SUSPEND_MIN_NS) {
        t->total.ns[USAGE_SUSPENDED] += boot_ns - mono_ns;
    }
    if (mono_ns > USAGE_GAP_NS) {
        t->total.ns[USAGE_FAULT] += mono_ns;
    } else if (t->state == USAGE_STOPPING) {
        book_stopping(&t->total, mono_ns, billed_window_ns);
    } else {
        usage_add(t, mono_ns);
    }
    return 0;
}

int64_t
usage_setup_s(const struct usage_totals *t)
{
    return t->ns[USAGE_SETUP] / USAGE_NS_PER_S;
}

int64_t
usage_device_s(const struct usage_totals *t)
{
    return (t->ns[USAGE_RUNNING] + t->ns[USAGE_WINDOW]) / USAGE_NS_PER_S;
}
