#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/host/procs.h"
#include "runner/host/supervise_internal.h"
#include "runner/host/work.h"

#define WATCH_NS     ((int64_t)1000000000)
#define NS_PER_S     ((int64_t)1000000000)
#define IDLE_PERCENT 5 /* of one core; less is what an event loop at rest needs */
#define VMSTAT_MAX   ((size_t)1 << 20)

int64_t
sup_watch_machine_ooms(void)
{
    struct buf b = BUF_INIT;
    struct err none;
    const char *at;
    int64_t n = -1;

    if (file_read("/proc/vmstat", VMSTAT_MAX, &b, &none) == 0 && b.len > 0) {
        at = strstr((const char *)b.data, "\noom_kill ");
        n = at == NULL ? -1 : strtoll(at + strlen("\noom_kill "), NULL, 10);
    }
    buf_free(&b);
    return n;
}

/* Killed by a signal nobody here sent, as the kernel does it; also through a shell. */
static bool
looks_killed(const struct sup *s)
{
    if (s->killed) {
        return false;
    }
    return (WIFSIGNALED(s->main_status) && WTERMSIG(s->main_status) == SIGKILL) ||
           (WIFEXITED(s->main_status) && WEXITSTATUS(s->main_status) == 128 + SIGKILL);
}

void
sup_watch_too_much(const struct sup *s, struct err *why)
{
    int64_t mib = s->spec.mem_bytes >> 20;

    if (s->state.phase == JOB_SETUP) {
        err_set(why, ERR_LIMIT,
                "set-up out of memory: more than the %" PRId64 " MiB asked for", mib);
    } else {
        err_set(why, ERR_LIMIT, "out of memory: more than the %" PRId64 " MiB asked for",
                mib);
    }
}

bool
sup_watch_was_oom(struct sup *s, struct err *why)
{
    int64_t in_group = cgroup_oom_kills(s->cgroup);
    int64_t machine = sup_watch_machine_ooms();

    if (!looks_killed(s)) {
        return false;
    }
    if (in_group > 0) {
        if (cgroup_limits_memory(s->cgroup)) {
            sup_watch_too_much(s, why);
        } else {
            err_set(why, ERR_LIMIT, "out of memory: the kernel killed it");
        }
        return true;
    }
    if (in_group == 0) { /* the kernel counts kills of this job: there was none */
        return false;
    }
    if (s->oom_before >= 0 && machine > s->oom_before) {
        err_set(why, ERR_LIMIT,
                "out of memory, as far as can be told: it was killed, and the "
                "kernel killed for memory meanwhile");
        return true;
    }
    return false;
}

/* ---- limits that nobody else holds ---- */

static bool
watches_memory(const struct sup *s)
{
    return s->spec.mem_bytes > 0 && !cgroup_limits_memory(s->cgroup);
}

static void
check_memory(struct sup *s, const struct proc_list *l)
{
    uint64_t total = 0;
    struct err why;

    for (size_t i = 0; i < l->n; i++) {
        total += l->v[i].rss_bytes;
    }
    if (total > (uint64_t)s->spec.mem_bytes) {
        err_set(&why, ERR_LIMIT,
                "out of memory: %" PRIu64 " MiB used, %" PRId64 " MiB asked for",
                total >> 20, s->spec.mem_bytes >> 20);
        sup_stop(s, JOB_MEMORY, true, &why);
    }
}

/* ---- idle: the cores are, but are the devices? ---- */

struct idle_look {
    struct sup *sup;
    struct device_list devices;
};

static int
idle_look_run(void *ctx, struct err *e)
{
    struct idle_look *k = ctx;

    return devices_list(k->sup->agent, true, &k->devices, NULL, e);
}

/* Does a device of the job work, as far as its driver tells? */
static bool
device_works(const struct sup *s, const struct device_list *now)
{
    for (size_t i = 0; i < s->n_picked; i++) {
        const char *uuid = s->devices.v[s->picked[i]].uuid;

        for (size_t k = 0; k < now->n; k++) {
            if (strcmp(now->v[k].uuid, uuid) == 0 &&
                now->v[k].busy_percent >= IDLE_PERCENT) {
                return true;
            }
        }
    }
    return false;
}

static void
idle_look_done(void *ctx, int rc, const struct err *why)
{
    struct idle_look *k = ctx;
    struct sup *s = k->sup;
    struct err idle;

    (void)why;
    s->idle_looking = false;
    if (rc == 0 && device_works(s, &k->devices)) {
        s->idle_since_ns = clock_boot_ns();
    } else if (!s->main_exited && !s->ending && s->stop_reason == JOB_REASON_NONE) {
        err_set(&idle, ERR_LIMIT, "idle for as long as --idle allows");
        sup_stop(s, JOB_IDLE, false, &idle);
    }
    device_list_free(&k->devices);
    free(k);
}

/* The cores were idle for long enough. Asking a driver takes its time: on a thread. */
static void
idle_is_due(struct sup *s)
{
    struct idle_look *k;
    struct err e;

    if (s->idle_looking) {
        return;
    }
    k = xcalloc(1, sizeof *k);
    k->sup = s;
    s->idle_looking = true;
    if (work_start(s->loop, idle_look_run, idle_look_done, k, &e) != 0) {
        idle_look_done(k, -1, &e);
    }
}

static void
check_idle(struct sup *s, const struct proc_list *l)
{
    int64_t now_ns = clock_boot_ns();
    uint64_t ticks = 0;
    uint64_t allowed;

    for (size_t i = 0; i < l->n; i++) {
        ticks += l->v[i].cpu_ticks;
    }
    allowed = (uint64_t)sysconf(_SC_CLK_TCK) * IDLE_PERCENT *
              (uint64_t)((now_ns - s->idle_since_ns) / WATCH_NS + 1) / 100;
    /* Fewer than before: a process ended, and that is something happening. */
    if (s->idle_since_ns == 0 || ticks < s->idle_ticks ||
        ticks - s->idle_ticks > allowed) {
        s->idle_ticks = ticks;
        s->idle_since_ns = now_ns;
    } else if (now_ns - s->idle_since_ns >= s->spec.idle_s * NS_PER_S) {
        idle_is_due(s);
    }
}

/*
 * Version 1 kills one process and leaves the others, which may wait for it for ever, at
 * the renter's cost; version 2 ends all of the group by itself.
 */
static bool
watches_kills(const struct sup *s)
{
    return s->spec.mem_bytes > 0 && cgroup_limits_memory(s->cgroup) &&
           cgroup_kind(s->cgroup) == CGROUP_V1;
}

static void
check_kills(struct sup *s)
{
    struct err why;

    if (cgroup_oom_kills(s->cgroup) > 0) {
        sup_watch_too_much(s, &why);
        sup_stop(s, JOB_MEMORY, true, &why);
    }
}

static void
look(void *ctx)
{
    struct sup *s = ctx;
    struct proc_list l = {NULL, 0};
    struct err e;

    if (s->main_exited || s->ending) {
        return;
    }
    timer_after(s->watch_timer, WATCH_NS);
    if (s->stop_reason == JOB_REASON_NONE && watches_kills(s)) {
        check_kills(s);
    }
    if (s->stop_reason != JOB_REASON_NONE ||
        (!watches_memory(s) && s->spec.idle_s == 0) ||
        proc_descendants(guard_pid(s->guard), &l, &e) != 0) {
        return;
    }
    if (watches_memory(s)) {
        check_memory(s, &l);
    }
    if (s->spec.idle_s > 0 && s->started) {
        check_idle(s, &l);
    }
    proc_list_free(&l);
}

void
sup_watch_start(struct sup *s)
{
    s->oom_before = sup_watch_machine_ooms();
    if (!watches_memory(s) && !watches_kills(s) && s->spec.idle_s == 0) {
        return; /* nothing to look at: no wake-ups */
    }
    if (s->watch_timer == NULL) { /* else it watched the set-up */
        s->watch_timer = timer_new(s->loop, look, s);
    }
    timer_after(s->watch_timer, WATCH_NS);
}
