/*
 * How busy the device was while it was paid for, for the bill: cores by the processor
 * time of the job's processes, other devices by what their driver says of its last sample
 * period, now and then. A device that does not tell is unknown, never idle.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "runner/host/procs.h"
#include "runner/host/supervise_internal.h"
#include "runner/host/work.h"

#define NS_PER_S INT64_C(1000000000)
/* Starting a driver's library takes its time: seldom. The first soon, for short jobs. */
#define LOOK_FIRST_NS (1 * NS_PER_S)
#define LOOK_NS       (30 * NS_PER_S)
#define UNKNOWN       (-1)

struct sup_busy {
    struct sup *sup;
    bool cores;
    int64_t at_mono_ns;   /* up to when busy_ns is known */
    int64_t stop_mono_ns; /* the stop was ordered; 0: it was not */
    int64_t busy_ns;
    uint64_t ticks;      /* cores: of the job's processes, then */
    struct timer *timer; /* else: the next look */
    bool looking;        /* a thread asks */
    int64_t percent;     /* at the last look; UNKNOWN before */
};

/*
 * Processor time of all processes of the job there ever were: those that live, and by
 * their parents those that were waited for.
 */
static bool
job_ticks(const struct sup *s, uint64_t *ticks)
{
    struct proc_list l = {NULL, 0};
    struct proc_stat guard;
    struct err e;

    if (s->guard == NULL || !proc_read_stat(guard_pid(s->guard), &guard) ||
        proc_descendants(guard.pid, &l, &e) != 0) {
        return false;
    }
    *ticks = guard.child_ticks;
    for (size_t i = 0; i < l.n; i++) {
        *ticks += l.v[i].cpu_ticks + l.v[i].child_ticks;
    }
    proc_list_free(&l);
    return true;
}

/* Of spent_ns, the part that the device worked; UNKNOWN: nobody can tell yet. */
static int64_t
worked_ns(struct sup_busy *b, int64_t spent_ns)
{
    uint64_t ticks = 0;
    int64_t ns;

    if (!b->cores) {
        return b->percent == UNKNOWN ? UNKNOWN : spent_ns / 100 * b->percent;
    }
    if (!job_ticks(b->sup, &ticks)) {
        return UNKNOWN;
    }
    ns = ticks > b->ticks
             ? (int64_t)(ticks - b->ticks) * (NS_PER_S / sysconf(_SC_CLK_TCK)) /
                   (b->sup->spec.count > 0 ? b->sup->spec.count : 1)
             : 0;
    b->ticks = ticks;
    return ns;
}

/* Is the time since b->at_mono_ns device time? The state has not changed meanwhile. */
static bool
is_device_time(struct sup_busy *b)
{
    struct meter_status m;

    meter_session_status(b->sup->meter, &m);
    if (m.state != USAGE_STOPPING && m.state != USAGE_WINDOW) {
        return m.state == USAGE_RUNNING;
    }
    if (b->stop_mono_ns == 0) {
        b->stop_mono_ns = b->at_mono_ns;
    }
    return b->at_mono_ns - b->stop_mono_ns >= USAGE_FREE_STOP_S * NS_PER_S;
}

void
sup_busy_note(struct sup *s)
{
    struct sup_busy *b = s->busy;
    int64_t now_ns = clock_mono_ns();
    int64_t ns;

    if (b == NULL || s->meter == NULL) {
        return;
    }
    ns = worked_ns(b, now_ns - b->at_mono_ns);
    if (ns == UNKNOWN) {
        return;
    }
    /* A gap is nobody's device time (meter/usage.h). */
    if (is_device_time(b) && now_ns - b->at_mono_ns <= USAGE_GAP_NS) {
        /* More threads than cores paid for do not make a device more than busy. */
        b->busy_ns += ns < now_ns - b->at_mono_ns ? ns : now_ns - b->at_mono_ns;
        meter_session_busy(s->meter, b->busy_ns);
    }
    b->at_mono_ns = now_ns;
}

/* ---- asking the driver ---- */

struct look {
    struct sup *sup;
    struct device_list devices;
};

static int
look_run(void *ctx, struct err *e)
{
    struct look *k = ctx;

    return devices_list(k->sup->agent, true, &k->devices, NULL, e);
}

/* The mean of the job's devices; UNKNOWN if one of them does not tell. */
static int64_t
percent_of(const struct sup *s, const struct device_list *now)
{
    int64_t sum = 0;

    for (size_t i = 0; i < s->n_picked; i++) {
        const char *uuid = s->devices.v[s->picked[i]].uuid;
        int64_t percent = UNKNOWN;

        for (size_t k = 0; k < now->n; k++) {
            if (strcmp(now->v[k].uuid, uuid) == 0) {
                percent = now->v[k].busy_percent;
            }
        }
        if (percent < 0 || percent > 100) {
            return UNKNOWN;
        }
        sum += percent;
    }
    return s->n_picked > 0 ? sum / (int64_t)s->n_picked : UNKNOWN;
}

static void
look_done(void *ctx, int rc, const struct err *why)
{
    struct look *k = ctx;
    struct sup *s = k->sup;
    struct sup_busy *b = s->busy;
    int64_t percent = rc == 0 ? percent_of(s, &k->devices) : UNKNOWN;

    (void)why;
    b->looking = false;
    if (percent != UNKNOWN && !s->main_exited && !s->ending) {
        b->percent = percent;
        sup_busy_note(s);
        timer_after(b->timer, LOOK_NS);
    } else if (b->percent != UNKNOWN) { /* it told before: ask again */
        timer_after(b->timer, LOOK_NS);
    }
    device_list_free(&k->devices);
    free(k);
}

static void
look_due(void *ctx)
{
    struct sup_busy *b = ctx;
    struct look *k;
    struct err e;

    if (b->looking || b->sup->main_exited || b->sup->ending) {
        return;
    }
    k = xcalloc(1, sizeof *k);
    k->sup = b->sup;
    b->looking = true;
    if (work_start(b->sup->loop, look_run, look_done, k, &e) != 0) {
        look_done(k, -1, &e);
    }
}

void
sup_busy_start(struct sup *s)
{
    struct sup_busy *b = xcalloc(1, sizeof *b);

    b->sup = s;
    b->cores = strcmp(s->spec.device_class, "cpu") == 0;
    b->percent = UNKNOWN;
    b->at_mono_ns = clock_mono_ns();
    s->busy = b;
    if (b->cores) {
        (void)job_ticks(s, &b->ticks); /* set-up's is not the job's */
        return;
    }
    b->timer = timer_new(s->loop, look_due, b);
    timer_after(b->timer, LOOK_FIRST_NS);
}

void
sup_busy_stop(struct sup *s)
{
    if (s->busy != NULL && s->busy->timer != NULL) {
        timer_cancel(s->busy->timer);
    }
}

void
sup_busy_free(struct sup *s)
{
    if (s->busy != NULL) {
        timer_free(s->busy->timer);
        free(s->busy);
        s->busy = NULL;
    }
}
