#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/host/errands.h"
#include "runner/host/park.h"
#include "runner/host/supervise_internal.h"
#include "runner/host/workdirs.h"

#define NS_PER_S ((int64_t)1000000000)

void
sup_say(struct sup *s, const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    char at[CLOCK_TEXT_MAX];
    va_list ap;
    int fd = jobdir_open_log(&s->dir);

    if (fd == -1) {
        return;
    }
    clock_format_utc(clock_wall_ns(), 3, at);
    buf_printf(&b, "%s ", at);
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    buf_add_str(&b, "\n");
    (void)!write(fd, b.data, b.len);
    (void)close(fd);
    buf_free(&b);
}

/* ---- state ---- */

static void
take_figures(struct sup *s)
{
    struct meter_status m;

    if (s->meter == NULL) {
        return;
    }
    meter_session_status(s->meter, &m);
    s->state.cost_fen = m.cost_fen;
    s->state.cap_fen = m.cap_fen;
    s->state.alert_pct = m.alert_pct;
    s->state.can_run_s = m.can_run_s == INT64_MAX ? JOB_NOT_SET : m.can_run_s;
}

static void
write_state(struct sup *s, bool durable)
{
    struct err e;

    s->state.seq++;
    if (jobdir_set_state(&s->dir, &s->state, durable, &e) != 0) {
        sup_say(s, "%s", e.msg);
    }
    sup_peer_tell_state(s);
    sup_notify(s);
}

void
sup_refresh(struct sup *s)
{
    take_figures(s);
    write_state(s, false);
}

void
sup_enter(struct sup *s, enum job_phase phase, bool durable)
{
    s->state.phase = phase;
    s->state.since_wall_ns = clock_wall_ns();
    take_figures(s);
    write_state(s, durable);
}

void
sup_journal(struct sup *s, const struct err *why)
{
    const char *text = why != NULL ? why->msg : NULL;

    if (s->journal_why == NULL ? text == NULL
                               : text != NULL && strcmp(s->journal_why, text) == 0) {
        return;
    }
    sup_say(s, "usage journal: %s", text != NULL ? text : "written again");
    state_set_text(&s->journal_why, text);
}

void
sup_meter(struct sup *s, enum usage_state state, const char *reason)
{
    struct err e;
    int rc;

    sup_busy_note(s);
    rc = meter_session_state(s->meter, state, reason, &e);
    sup_journal(s, rc != 0 ? &e : NULL);
    sup_run_schedule(s);
}

/* ---- stopping ---- */

static void
kill_everything(struct sup *s)
{
    struct err e;

    s->killed = s->killed || !s->main_exited;
    if (s->guard != NULL && guard_signal(s->guard, 0, SIGKILL, &e) != 0) {
        sup_say(s, "%s", e.msg);
    }
    cgroup_kill(s->cgroup);
}

static void
window_over(void *ctx)
{
    struct sup *s = ctx;

    sup_say(s, "stop window over, killing");
    kill_everything(s);
}

static void
ask_to_end(struct sup *s)
{
    static const int orders[] = {SIGTERM, SIGCONT}; /* a stopped process hears nothing */
    struct err e;

    if (s->pty_fd != -1 && guard_signal(s->guard, 0, SIGHUP, &e) != 0) {
        sup_say(s, "%s", e.msg); /* interactive shells ignore SIGTERM */
    }
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        if (guard_signal(s->guard, 0, orders[i], &e) != 0) {
            sup_say(s, "%s", e.msg);
        }
    }
}

void
sup_stop(struct sup *s, enum job_reason reason, bool now, const struct err *why)
{
    bool first = s->stop_reason == JOB_REASON_NONE;

    if (s->ending) {
        return;
    }
    if (s->main_exited) { /* by itself; what it left behind need not be waited for */
        if (now) {
            kill_everything(s);
        }
        return;
    }
    if (first) {
        s->stop_reason = reason;
        if (why != NULL) {
            s->stop_why = *why;
        }
        s->state.reason = reason;
        sup_say(s, "stop ordered: %s", job_reason_name(reason));
    }
    if (!s->started) {
        /* Nothing runs yet, or only set-up: what prepares ends in sup_end. */
        if (s->state.phase == JOB_SETUP) {
            kill_everything(s);
        } else if (first) {
            sup_refresh(s);
        }
        return;
    }
    if (first) {
        sup_meter(s, USAGE_STOPPING, job_reason_name(reason));
        sup_enter(s, JOB_STOPPING, false);
    }
    if (now || s->spec.window_s == 0) {
        timer_cancel(s->window_timer);
        kill_everything(s);
    } else if (first) {
        ask_to_end(s);
        timer_after(s->window_timer, s->grant.window_s * NS_PER_S);
    }
}

void
sup_fail(struct sup *s, enum job_reason reason, const struct err *why)
{
    if (s->stop_reason == JOB_REASON_NONE) {
        s->stop_reason = reason;
        s->stop_why = *why;
    }
    sup_end(s);
}

/* ---- start and end of the process ---- */

static void
on_signal(void *ctx, int signo)
{
    struct sup *s = ctx;
    struct err why;

    (void)signo;
    err_set(&why, ERR_DENIED, "the owner of the machine ended it");
    sup_stop(s, JOB_OWNER, false, &why);
}

/*
 * Leave the process that serve waits for, its session and everything it had open. The
 * parent's exit tells serve that we are on our own.
 */
static int
detach(void)
{
    pid_t pid = fork();
    int null;

    if (pid > 0) {
        _exit(0);
    }
    if (pid == -1) {
        return -1;
    }
    (void)setsid();
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 3 && null != -1; i++) {
        (void)dup2(null, i);
    }
    (void)fcntl(SUPERVISE_FD, F_SETFD, FD_CLOEXEC);
    if (chdir("/") != 0) { /* or we would keep a file system from being unmounted */
        return -1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    /* Secrets are in our memory, and we run as the job's own user. */
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static void
init(struct sup *s)
{
    memset(s, 0, sizeof *s);
    spec_init(&s->spec);
    state_init(&s->state);
    grant_init(&s->grant);
    s->dir.fd = s->dir.jobs_fd = s->dir.lock_fd = -1;
    s->log_fd = s->pty_fd = s->hold_fd = -1;
    s->pumps[0].fd = s->pumps[1].fd = -1;
    s->next_command = SUP_COMMAND_EXEC;
    s->empty = true;
}

static int
open_up(struct sup *s, const char *renter_id, struct err *e)
{
    if (agent_open(&s->agent, e) != 0 ||
        renter_open(&s->renter, s->agent, renter_id, false, e) != 0 ||
        loop_new(&s->loop, e) != 0) {
        return -1;
    }
    s->window_timer = timer_new(s->loop, window_over, s);
    /*
     * While serve still takes in what the job needs. It is forked before any thread is,
     * and goes with us should there be no job; if it fails it is tried again, and told.
     */
    if (guard_start(&s->guard, e) != 0) {
        s->guard = NULL;
    }
    return sup_peer_add(s, SUPERVISE_FD, e);
}

static void
close_down(struct sup *s)
{
    sup_exec_free_all(s);
    sup_port_free_all(s);
    sup_stdin_free(s);
    sup_log_close(s);
    sup_peer_free_all(s);
    unix_listener_free(s->listener);
    watch_free(s->guard_watch);
    guard_free(s->guard);
    timer_free(s->meter_timer);
    timer_free(s->window_timer);
    timer_free(s->leftover_timer);
    timer_free(s->drain_timer);
    timer_free(s->watch_timer);
    timer_free(s->reserved_timer);
    timer_free(s->settle_timer);
    sup_held_free(s);
    sup_snaps_free(s);
    sup_busy_free(s);
    sup_acks_free(s);
    meter_session_free(s->meter);
    offer_free(s->offer);
    grant_clear(&s->grant);
    for (size_t i = 0; i < s->n_picked; i++) {
        (void)fd_close(&s->lock_fds[i]);
    }
    device_list_free(&s->devices);
    for (size_t i = 0; i < s->secrets.n; i++) {
        explicit_bzero(s->secrets.v[i], strlen(s->secrets.v[i]));
    }
    strings_free(&s->secrets);
    sup_data_free(s);
    sup_setup_free(s);
    strings_free(&s->env);
    strings_free(&s->login);
    strings_free(&s->user_env);
    strings_free(&s->shown);
    spec_free(&s->spec);
    state_free(&s->state);
    free(s->workdir);
    free(s->tmpdir);
    free(s->tmp_seen);
    free(s->user_base);
    free(s->work_note);
    free(s->login_note);
    free(s->end_detail);
    free(s->end_form);
    free(s->journal_why);
    jobdir_drop(&s->dir);
    loop_free(s->loop);
    renter_close(s->renter);
    agent_close(s->agent);
}

int
supervise_main(const char *renter_id, const char *job)
{
    struct signal_watch *term = NULL;
    struct sup s;
    struct err e;
    int status = 1;

    (void)job; /* for people who look at the process list */
    if (detach() != 0) {
        return 1;
    }
    init(&s);
    if (open_up(&s, renter_id, &e) == 0 &&
        signal_watch_new(&term, s.loop, SIGTERM, on_signal, &s, &e) == 0) {
        loop_run(s.loop); /* until the job has ended, or serve went before it began */
        status = s.exit_status;
    }
    if (s.renter != NULL && workdirs_trim(s.renter, NULL, &e) != 0) {
        sup_say(&s, "%s", e.msg);
    }
    signal_watch_free(term);
    park_release(&s.hold_fd);
    if (s.agent != NULL) {
        errands_start(s.agent); /* what it cost */
        park_ensure(s.agent);
    }
    close_down(&s);
    return status;
}
