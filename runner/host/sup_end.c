#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "runner/host/notices.h"
#include "runner/host/supervise_internal.h"
#include "runner/host/work.h"
#include "runner/host/workdirs.h"

#define NS_PER_S     ((int64_t)1000000000)
#define DRAIN_NS     NS_PER_S /* for output of processes that are dead */
#define SYNC_WAIT_NS ((int64_t)2000000)
#define HELD_WAIT_NS ((int64_t)10000000)
#define RETRY_MIN_NS NS_PER_S /* for a receipt that the disk refuses */
#define RETRY_MAX_NS (60 * NS_PER_S)
/* An empty guard is gone within a millisecond; all longer waits leave the loop alone. */
#define GUARD_WAIT_MS    20
#define GUARD_PAUSE_NS   ((int64_t)20000000)
#define GUARD_KILL_NS    (2 * NS_PER_S)
#define GUARD_GIVE_UP_NS (10 * NS_PER_S)

/*
 * The end of a job, in the order that a crash at any point leaves the truth: the exit
 * record, the snapshot, the receipt, and only then the word `ended`.
 */

struct closing {
    struct sup *sup;
    struct workdirs_end end;
    struct workdirs_snapshot snapshot;
    struct sha256 bill;
    char id[JOB_ID_LEN + 1];
    bool wanted; /* a snapshot is to be taken */
    bool failed;
    struct err why;
    int n_under_way; /* of the two things done at the same time */
};

/* ---- how it ended ---- */

static void
take_status(struct sup *s)
{
    if (!s->main_exited) {
        return;
    }
    if (WIFEXITED(s->main_status)) {
        s->state.exit_code = WEXITSTATUS(s->main_status);
    } else if (WIFSIGNALED(s->main_status)) {
        s->state.signal = WTERMSIG(s->main_status);
    }
}

static enum job_reason
find_reason(struct sup *s)
{
    struct job_state *st = &s->state;
    struct err why;

    if (s->stop_reason != JOB_REASON_NONE) {
        state_tell(&st->detail, &st->detail_form,
                   s->stop_why.code == ERR_NONE ? NULL : &s->stop_why);
        return s->stop_reason;
    }
    if (sup_watch_was_oom(s, &why)) {
        state_tell(&st->detail, &st->detail_form, &why);
        return JOB_MEMORY;
    }
    return WIFEXITED(s->main_status) ? JOB_EXITED : JOB_SIGNALLED;
}

/* Nothing of the job lives: its devices are for others now. */
static void
release_devices(struct sup *s)
{
    guard_free(s->guard);
    s->guard = NULL;
    for (size_t i = 0; i < s->n_picked; i++) {
        (void)fd_close(&s->lock_fds[i]);
    }
    cgroup_remove(s->cgroup);
    s->cgroup = NULL;
}

/* ---- the last steps ---- */

/*
 * The disk refuses the receipt. There is no end without it, so it is asked for as long as
 * it takes, but ever more seldom, and who looks at the job is told once what it waits
 * for.
 */
static void
receipt_refused(struct sup *s, const struct err *why)
{
    struct job_state *st = &s->state;
    struct err told = *why;

    sup_journal(s, why);
    if (s->receipt_wait_ns == 0) {
        s->end_detail = st->detail;
        s->end_form = st->detail_form;
        st->detail = NULL;
        st->detail_form = NULL;
        err_wrap(&told, "its bill cannot be written yet, which is tried again");
        state_tell(&st->detail, &st->detail_form, &told);
        s->receipt_wait_ns = RETRY_MIN_NS;
        sup_refresh(s);
    } else {
        s->receipt_wait_ns =
            2 * s->receipt_wait_ns < RETRY_MAX_NS ? 2 * s->receipt_wait_ns : RETRY_MAX_NS;
    }
    timer_after(s->drain_timer, s->receipt_wait_ns);
}

static void
receipt_written(struct sup *s)
{
    sup_journal(s, NULL);
    if (s->receipt_wait_ns != 0) {
        state_set_text(&s->state.detail, s->end_detail);
        state_set_text(&s->state.detail_form, s->end_form);
    }
}

static void
receipt_due(void *ctx)
{
    struct sup *s = ctx;
    struct job_state *st = &s->state;
    struct meter_end end = {.reason = job_reason_name(st->reason),
                            .exit_code = (int)st->exit_code,
                            .signal = st->signal == JOB_NOT_SET ? 0 : (int)st->signal,
                            .snapshot = st->snapshot[0] == '\0' ? NULL : st->snapshot,
                            .kept_bytes = st->kept_bytes,
                            .keep_until_wall_ns = st->expires_wall_ns};
    struct meter_status m;
    struct err e;

    if (!sup_held_stop(s) ||
        !sup_snaps_stop(s)) { /* its thread still looks at what we are about to free */
        timer_after(s->drain_timer, HELD_WAIT_NS);
        return;
    }
    if (meter_session_end(s->meter, &end, &e) != 0) {
        receipt_refused(s, &e);
        return;
    }
    receipt_written(s);
    meter_session_status(s->meter, &m);
    st->charge_fen = m.cost_fen;
    sup_snaps_end(s);
    if (st->snapshot[0] != '\0') {
        notices_expect(s->renter, &s->spec);
    }
    sup_enter(s, JOB_ENDED, true);
    jobdir_unmark_active(s->renter, s->spec.job);
    sup_peer_finish(s);
}

static void
tell_damaged(uint64_t n, const char *first, struct err *why)
{
    if (n == 1) {
        err_set(why, ERR_CORRUPT, "'%s' could not be kept as it was", first);
    } else {
        err_set(why, ERR_CORRUPT,
                "%llu entries could not be kept as they were, first '%s'",
                (unsigned long long)n, first);
    }
}

static void
closing_done(void *ctx, int rc, const struct err *why)
{
    struct closing *c = ctx;
    struct sup *s = c->sup;
    struct job_state *st = &s->state;

    (void)rc;
    (void)why;
    if (--c->n_under_way > 0) {
        return;
    }
    if (c->wanted && !c->failed) {
        memcpy(st->snapshot, c->id, sizeof st->snapshot);
        st->kept = c->snapshot.partial ? JOB_KEPT_PARTIAL : JOB_KEPT_WHOLE;
        st->kept_bytes = c->snapshot.stored_bytes;
        st->kept_as_shipped = c->snapshot.as_shipped ? 1 : 0;
        st->expires_wall_ns = c->snapshot.expires_wall_ns;
        if (c->snapshot.partial) {
            tell_damaged(c->snapshot.n_damaged, c->snapshot.first_damaged, &c->why);
            state_tell(&st->kept_why, &st->kept_form, &c->why);
        }
    } else if (c->wanted) {
        sup_say(s, "snapshot: %s", c->why.msg);
        state_tell(&st->kept_why, &st->kept_form, &c->why);
    }
    free(c);
    timer_free(s->drain_timer);
    s->drain_timer = timer_new(s->loop, receipt_due, s);
    receipt_due(s);
}

static int
closing_run(void *ctx, struct err *e)
{
    struct closing *c = ctx;
    struct sup *s = c->sup;

    if (logw_sync(s->log, e) != 0) {
        sup_say(s, "%s", e->msg);
    }
    sup_data_unlink(s);
    if (c->wanted) {
        c->failed =
            workdirs_snapshot(s->agent, s->renter, &c->end, &c->snapshot, &c->why) != 0;
    }
    return 0;
}

/* Beside the snapshot: a busy disk may take as long for this as for that. */
static int
tidy_run(void *ctx, struct err *e)
{
    struct closing *c = ctx;
    struct sup *s = c->sup;

    sup_setup_discard(s);
    if (s->tmpdir != NULL && file_remove_tree(s->tmpdir, e) != 0) {
        sup_say(s, "%s", e->msg);
    }
    return 0;
}

static void
close_up(struct sup *s)
{
    struct closing *c = xcalloc(1, sizeof *c);
    const struct journal_point *point = meter_session_point(s->meter);
    struct err e;

    c->sup = s;
    c->n_under_way = 1;
    c->wanted = s->started && !s->no_snapshot;
    if (!c->wanted) {
        state_set_text(&s->state.kept_why,
                       s->started ? JOB_WHY_NOT_WANTED : JOB_WHY_NOT_STARTED);
    }
    random_id("s", c->id);
    if (point != NULL && point->seq > 0) {
        c->bill = point->hash;
        c->end.bill = &c->bill;
    }
    c->end.spec = &s->spec;
    c->end.state = &s->state;
    c->end.id = c->id;
    if (work_start(s->loop, tidy_run, closing_done, c, &e) == 0) {
        c->n_under_way++;
    } else {
        (void)tidy_run(c, &e);
    }
    if (work_start(s->loop, closing_run, closing_done, c, &e) != 0) {
        closing_done(c, closing_run(c, &e), &e);
    }
}

/* All output is in the log, or will not come any more. */
static void
drained(void *ctx)
{
    struct sup *s = ctx;

    sup_log_stop(s);
    if (s->syncing) {
        timer_after(s->drain_timer, SYNC_WAIT_NS);
        return;
    }
    s->state.out_end = (int64_t)logw_end(s->log, LOGSEG_OUT);
    s->state.err_end = (int64_t)logw_end(s->log, LOGSEG_ERR);
    sup_advice(s);
    sup_enter(s, JOB_SNAPSHOTTING, true); /* the exit record */
    close_up(s);
}

/*
 * The guard goes when nothing of the job lives; one that a job has got at is killed. What
 * cannot be killed (it hangs in a driver) keeps the guard, and with it the devices'
 * locks, but not us from keeping the data.
 */
static void
wait_for_guard(void *ctx)
{
    struct sup *s = ctx;
    bool gone = s->guard == NULL || guard_wait(s->guard, GUARD_WAIT_MS);
    int64_t waited_ns = clock_boot_ns() - s->ending_since_ns;

    if (!gone && waited_ns < GUARD_GIVE_UP_NS) {
        if (waited_ns >= GUARD_KILL_NS) {
            guard_kill(s->guard);
        }
        timer_after(s->drain_timer, GUARD_PAUSE_NS);
        return;
    }
    if (gone) {
        release_devices(s);
    } else {
        sup_say(s, "something of the job cannot be ended: its devices stay locked");
    }
    timer_free(s->drain_timer);
    s->drain_timer = timer_new(s->loop, drained, s);
    timer_after(s->drain_timer, sup_log_drained(s) ? 0 : DRAIN_NS);
}

void
sup_end(struct sup *s)
{
    if (s->ending) {
        return;
    }
    s->ending = true;
    timer_cancel(s->window_timer);
    timer_free(s->leftover_timer);
    s->leftover_timer = NULL;
    if (s->meter_timer != NULL) {
        timer_cancel(s->meter_timer);
    }
    if (s->reserved_timer != NULL) {
        timer_cancel(s->reserved_timer);
    }
    if (s->watch_timer != NULL) {
        timer_cancel(s->watch_timer);
    }
    (void)sup_held_stop(s);
    (void)sup_snaps_stop(s);
    sup_busy_stop(s);
    if (s->state.ended_wall_ns == 0) {
        s->state.ended_wall_ns = clock_wall_ns();
    }
    take_status(s);
    s->state.reason = find_reason(s);
    sup_meter(s, USAGE_SNAPSHOTTING, job_reason_name(s->state.reason));
    sup_exec_free_all(s);
    sup_port_free_all(s);
    sup_stdin_free(s);
    watch_free(s->guard_watch);
    s->guard_watch = NULL;
    s->ending_since_ns = clock_boot_ns();
    if (s->guard != NULL) {
        guard_close(s->guard);
    }
    s->drain_timer = timer_new(s->loop, wait_for_guard, s);
    wait_for_guard(s);
}
