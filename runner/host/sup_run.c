#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/host/supervise_internal.h"
#include "runner/loop/fdio.h"

#define NS_PER_S   ((int64_t)1000000000)
#define PIPE_BYTES ((size_t)1 << 20)
#define LEFTOVER_NS                                                                      \
    (2 * NS_PER_S) /* for what the command left running, after SIGTERM                   \
                    */

/* ---- the meter's clock, and with it the limits ---- */

static enum job_reason
limit_reason(enum grant_limit why)
{
    switch (why) {
    case GRANT_LIMIT_BALANCE:
        return JOB_BALANCE;
    case GRANT_LIMIT_TIME:
        return JOB_TIME;
    case GRANT_LIMIT_LEASE:
        return JOB_LEASE;
    case GRANT_LIMIT_COST:
    case GRANT_LIMIT_NONE:
    case GRANT_LIMIT_COUNT:
        break;
    }
    return JOB_COST;
}

/* A grant without an end leaves the time limit to the specification. */
static int64_t
own_time_left_ns(const struct sup *s, const struct meter_status *m)
{
    if (s->grant.max_s != GRANT_NO_END || m->since_device_ns < 0) {
        return INT64_MAX;
    }
    return s->spec.max_time_s * NS_PER_S - m->since_device_ns;
}

static void
meter_due(void *ctx)
{
    struct sup *s = ctx;
    struct meter_status m;
    struct err e;
    int rc;

    sup_busy_note(s);
    rc = meter_session_tick(s->meter, &e);
    sup_journal(s, rc != 0 ? &e : NULL);
    meter_session_status(s->meter, &m);
    if (s->stop_reason == JOB_REASON_NONE && !s->main_exited) {
        if (m.stop_in_ns <= 0) {
            sup_stop(s, limit_reason(m.stop_why), false, NULL);
        } else if (own_time_left_ns(s, &m) <= 0) {
            sup_stop(s, JOB_TIME, false, NULL);
        } else if (s->state.phase == JOB_RUNNING) {
            sup_refresh(s); /* cost so far, for listings */
        }
    }
    sup_acks(s);
    sup_run_schedule(s);
}

void
sup_run_schedule(struct sup *s)
{
    struct meter_status m;
    int64_t in_ns;

    if (s->meter == NULL || s->ending) {
        return;
    }
    if (s->meter_timer == NULL) {
        s->meter_timer = timer_new(s->loop, meter_due, s);
    }
    meter_session_status(s->meter, &m);
    in_ns = meter_session_next_ns(s->meter);
    if (s->stop_reason == JOB_REASON_NONE) {
        in_ns = m.stop_in_ns < in_ns ? m.stop_in_ns : in_ns;
        in_ns = own_time_left_ns(s, &m) < in_ns ? own_time_left_ns(s, &m) : in_ns;
    }
    timer_after(s->meter_timer, in_ns < 0 ? 0 : in_ns);
}

/* ---- walls ---- */

void
sup_run_walls(struct sup *s)
{
    struct rec *walls = rec_new("gpurun.walls.v1");
    char *cache = path_join(s->renter->path, "cache");
    struct strings nodes = {NULL, 0};
    bool spaces = guard_spaces(s->guard) != SANDBOX_SPACES_NONE;
    struct err e;

    rec_add(walls, "confined", s->renter->confined ? "1" : "0");
    rec_add(walls, "hide", s->agent->home);
    rec_add(walls, "show", s->workdir);
    rec_add(walls, "rw", s->workdir);
    sup_data_walls(s, walls);
    sup_setup_walls(s, walls);
    rec_add(walls, "show", cache);
    rec_add(walls, "rw", cache);
    if (s->renter->confined) {
        rec_add(walls, "rw", spaces ? "/tmp" : s->tmpdir);
        if (spaces && !s->walls_stand) { /* built anew after set-up: /tmp is its own */
            rec_add(walls, "tmp", s->tmpdir);
        }
        devices_nodes(s->agent, &s->devices, s->picked, s->n_picked, &nodes);
        for (size_t i = 0; i < nodes.n; i++) {
            rec_add(walls, "rw", nodes.v[i]);
        }
        for (size_t i = 0; i < s->shown.n; i++) {
            rec_add(walls, "ro", s->shown.v[i]);
        }
        strings_free(&nodes);
    }
    if (guard_walls(s->guard, walls, &e) != 0) {
        sup_fail(s, JOB_FAULT, &e);
    }
    rec_free(walls);
    free(cache);
}

/* ---- starting ---- */

struct ends { /* of what the command gets; -1: none */
    int in;
    int out;
    int err;
};

static void
close_ends(struct ends *c)
{
    if (c->err == c->out) { /* a pty is one */
        c->err = -1;
    }
    if (c->out == c->in) {
        c->out = -1;
    }
    (void)fd_close(&c->in);
    (void)fd_close(&c->out);
    (void)fd_close(&c->err);
}

static int
open_pty(struct sup *s, struct ends *c, struct err *e)
{
    struct winsize size = {.ws_row = (unsigned short)s->spec.rows,
                           .ws_col = (unsigned short)s->spec.cols};
    int unlock = 0;
    int copy;

    s->pty_fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (s->pty_fd == -1 || ioctl(s->pty_fd, TIOCSPTLCK, &unlock) != 0) {
        return err_set_sys(e, errno, "cannot open a terminal for the job");
    }
    c->in = ioctl(s->pty_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (c->in == -1) {
        return err_set_sys(e, errno, "cannot open the job's end of its terminal");
    }
    c->out = c->err = c->in;
    if (size.ws_col != 0 && size.ws_row != 0) {
        (void)ioctl(s->pty_fd, TIOCSWINSZ, &size);
    }
    copy = fcntl(s->pty_fd, F_DUPFD_CLOEXEC, 3);
    if (copy == -1) {
        return err_set_sys(e, errno, "cannot copy a descriptor");
    }
    if (sup_log_pump(s, LOGSEG_OUT, s->pty_fd, e) != 0 ||
        sup_stdin_attach(s, copy, e) != 0) {
        return -1;
    }
    return 0;
}

static int
open_stream(struct sup *s, enum logseg_stream stream, int *end, struct err *e)
{
    int fds[2];

    if (fdio_pipe(fds, false, e) != 0) {
        return -1;
    }
    fdio_pipe_widen(fds[1], PIPE_BYTES);
    *end = fds[1];
    if (fdio_set_nonblock(fds[0], true, e) != 0 ||
        sup_log_pump(s, stream, fds[0], e) != 0) {
        return -1;
    }
    return 0;
}

static int
open_stdin(struct sup *s, int *end, struct err *e)
{
    int fds[2];

    if (s->spec.stdin_mode == SPEC_STDIN_NULL) {
        *end = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return *end == -1 ? err_set_sys(e, errno, "cannot open '/dev/null'") : 0;
    }
    if (fdio_pipe(fds, false, e) != 0) {
        return -1;
    }
    *end = fds[0];
    if (fdio_set_nonblock(fds[1], true, e) != 0) {
        (void)close(fds[1]);
        return -1;
    }
    return sup_stdin_attach(s, fds[1], e);
}

static int
open_ends(struct sup *s, struct ends *c, struct err *e)
{
    if (s->spec.tty) {
        return open_pty(s, c, e);
    }
    if (open_stdin(s, &c->in, e) != 0 || open_stream(s, LOGSEG_OUT, &c->out, e) != 0 ||
        open_stream(s, LOGSEG_ERR, &c->err, e) != 0) {
        return -1;
    }
    return 0;
}

/* The counterpart of the directory the user stood in; made if nothing of it was shipped.
 */
static int
find_cwd(struct sup *s, char **cwd, struct err *e)
{
    int root;
    int fd = -1;
    int rc;

    *cwd =
        s->spec.cwd[0] == '\0' ? xstrdup(s->workdir) : path_join(s->workdir, s->spec.cwd);
    if (s->spec.cwd[0] == '\0') {
        return 0;
    }
    root = open(s->workdir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root == -1) {
        return err_set_sys(e, errno, "cannot open the job's directory");
    }
    rc = file_mkdirs_beneath(root, s->spec.cwd, 0755, &fd, e);
    (void)fd_close(&fd);
    (void)fd_close(&root);
    return rc;
}

int
sup_run_limits(struct sup *s, int64_t cores, struct err *e)
{
    struct cgroup_limits l = {.mem_bytes = s->spec.mem_bytes,
                              .cpu_cores = cores < devices_cores() ? cores : 0};
    bool had = s->cgroup != NULL;
    int fds[CGROUP_JOIN_MAX];
    size_t n;

    cgroup_remove(s->cgroup);
    s->cgroup = NULL;
    if (cgroup_make(&s->cgroup, s->spec.job, &l, e) != 0) {
        return -1;
    }
    n = cgroup_join_fds(s->cgroup, fds);
    return n == 0 && !had ? 0 : guard_join(s->guard, fds, n, e);
}

/* Of cores a job has those it pays for; with a device, all there are. */
static int
limit_main(struct sup *s, struct err *e)
{
    bool cpu = strcmp(s->spec.device_class, "cpu") == 0;

    return sup_run_limits(s, cpu ? s->spec.count : 0, e);
}

static int
spawn_main(struct sup *s, struct err *e)
{
    struct strings args = {NULL, 0};
    struct ends c = {-1, -1, -1};
    char *cwd = NULL;
    int rc = -1;

    if (sup_command(s, &args, e) == 0 && find_cwd(s, &cwd, e) == 0 &&
        limit_main(s, e) == 0 && open_ends(s, &c, e) == 0) {
        struct guard_command g = {.id = SUP_COMMAND_MAIN,
                                  .args = &args,
                                  .env = &s->env,
                                  .cwd = cwd,
                                  .in_fd = c.in,
                                  .out_fd = c.out,
                                  .err_fd = c.err,
                                  .tty = s->spec.tty};

        sup_watch_start(s); /* knows by the group what it has to watch itself */
        rc = guard_spawn(s->guard, &g, e);
    }
    close_ends(&c);
    strings_free(&args);
    free(cwd);
    return rc;
}

void
sup_run_ready(struct sup *s)
{
    struct err e;

    s->state.started_wall_ns = clock_wall_ns();
    sup_meter(s, USAGE_RUNNING, "ready");
    s->started = true;
    s->empty = false;
    sup_held_start(s);
    sup_snaps_start(s);
    sup_busy_start(s);
    if (spawn_main(s, &e) != 0) {
        s->started = false;
        sup_fail(s, e.code == ERR_NOT_FOUND ? JOB_FAILED : JOB_FAULT, &e);
    }
}

/* ---- events ---- */

static void
leftovers_over(void *ctx)
{
    struct sup *s = ctx;
    struct err e;

    if (guard_signal(s->guard, 0, SIGKILL, &e) != 0) {
        sup_say(s, "%s", e.msg);
    }
    cgroup_kill(s->cgroup);
}

/*
 * The command is gone. If it was told to stop, so was all that it started, and has the
 * rest of the window: a shell dies of SIGTERM at once, while what it started saves its
 * work. Else what it left behind may tidy up for a moment, then goes too.
 */
static void
main_exited(struct sup *s, int status)
{
    struct err e;

    s->main_exited = true;
    s->main_status = status;
    s->state.ended_wall_ns = clock_wall_ns();
    if (!s->empty && s->stop_reason != JOB_REASON_NONE && !s->killed) {
        return; /* it still holds its devices: the state stays stopping */
    }
    timer_cancel(s->window_timer);
    sup_meter(s, USAGE_SNAPSHOTTING, WIFEXITED(status) ? "exited" : "signalled");
    if (s->empty) {
        sup_end(s);
        return;
    }
    if (guard_signal(s->guard, 0, SIGTERM, &e) != 0 ||
        guard_signal(s->guard, 0, SIGCONT, &e) != 0) {
        sup_say(s, "%s", e.msg);
    }
    s->leftover_timer = timer_new(s->loop, leftovers_over, s);
    timer_after(s->leftover_timer, LEFTOVER_NS);
}

static void
guard_gone(struct sup *s)
{
    s->empty = true;
    cgroup_kill(s->cgroup);
    if (s->ending) {
        return;
    }
    if (!s->main_exited && s->stop_reason == JOB_REASON_NONE) {
        s->stop_reason = JOB_FAULT;
        err_set(&s->stop_why, ERR_SYSTEM,
                "the job's guard was killed: how the command ended is not known");
    }
    if (s->state.ended_wall_ns == 0) {
        s->state.ended_wall_ns = clock_wall_ns();
        sup_meter(s, USAGE_FAULT, "guard");
    }
    sup_end(s);
}

void
sup_run_guard_event(struct sup *s, const struct guard_event *ev)
{
    switch (ev->kind) {
    case GUARD_EV_DONE:
        s->walls_stand = true;
        if (s->stop_reason != JOB_REASON_NONE) {
            sup_end(s);
        } else if (s->setup_due) {
            sup_setup_start(s);
        } else {
            sup_run_ready(s);
        }
        break;
    case GUARD_EV_FAILED:
        sup_fail(s, JOB_FAULT, &ev->why);
        break;
    case GUARD_EV_STARTED:
        sup_enter(s, s->stop_reason == JOB_REASON_NONE ? JOB_RUNNING : JOB_STOPPING,
                  false);
        sup_settle_start(s);
        break;
    case GUARD_EV_NOT_STARTED:
        s->started = false;
        s->state.started_wall_ns = 0;
        sup_fail(s, JOB_FAILED, &ev->why);
        break;
    case GUARD_EV_EXITED:
        if (ev->id == SUP_COMMAND_MAIN) {
            main_exited(s, ev->status);
        }
        break;
    case GUARD_EV_EMPTY:
        s->empty = true;
        if (s->main_exited && !s->ending) {
            sup_end(s);
        }
        break;
    case GUARD_EV_GONE:
        guard_gone(s);
        break;
    case GUARD_EV_NONE:
        break;
    }
}
