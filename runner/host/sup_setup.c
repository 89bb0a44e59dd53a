#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/loginenv.h"
#include "runner/host/setups.h"
#include "runner/host/supervise_internal.h"
#include "runner/host/work.h"
#include "runner/host/workdirs.h"
#include "runner/loop/fdio.h"

/*
 * --setup: the renter's command runs once per key, before the job has a device, at the
 * price of no card. It has a copy of what was shipped as its directory, and what it puts
 * into $GPURUN_SETUP_DIR is the layer that this job and later ones see read-only. Only
 * then the device is leased.
 */

static void get_device(struct sup *s);

#define WAIT_NS    ((int64_t)500000000)
#define NO_PROGRAM 127 /* a shell's exit code */

/* ---- running it ---- */

static int
open_output(struct sup *s, int *end, struct err *e)
{
    enum logseg_stream stream = s->spec.tty ? LOGSEG_OUT : LOGSEG_ERR;
    int fds[2];

    if (fdio_pipe(fds, false, e) != 0) {
        return -1;
    }
    *end = fds[1];
    if (fdio_set_nonblock(fds[0], true, e) != 0) {
        (void)close(fds[0]);
        return -1;
    }
    return sup_log_pump(s, stream, fds[0], e);
}

static int
spawn(struct sup *s, struct err *e)
{
    struct strings args = {NULL, 0};
    struct strings env = {NULL, 0};
    char *cwd = sup_setup_cwd(s);
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int out = -1;
    int rc = -1;

    sup_setup_command_env(s, &env);
    strings_add(&args, "/bin/sh");
    strings_add(&args, "-c");
    strings_add(&args, s->spec.setup);
    if (in == -1) {
        err_set_sys(e, errno, "cannot open '/dev/null'");
    } else if (sup_run_limits(s, SUP_SETUP_CORES, e) == 0 &&
               open_output(s, &out, e) == 0) {
        struct guard_command g = {.id = SUP_COMMAND_SETUP,
                                  .args = &args,
                                  .env = &env,
                                  .cwd = cwd,
                                  .in_fd = in,
                                  .out_fd = out,
                                  .err_fd = out};

        sup_watch_start(s);
        rc = guard_spawn(s->guard, &g, e);
    }
    (void)fd_close(&in);
    (void)fd_close(&out);
    for (size_t i = 0; i < env.n; i++) {
        explicit_bzero(env.v[i], strlen(env.v[i])); /* secrets are among them */
    }
    strings_free(&env);
    strings_free(&args);
    free(cwd);
    return rc;
}

void
sup_setup_start(struct sup *s)
{
    struct err e;

    if (s->setup_whole) { /* another job was quicker */
        get_device(s);
        return;
    }
    s->empty = false;
    sup_meter(s, USAGE_SETUP, "setup");
    sup_enter(s, JOB_SETUP, false);
    sup_held_start(s);
    if (spawn(s, &e) != 0) {
        sup_fail(s, JOB_FAULT, &e);
    }
}

/* ---- after it ---- */

static void
moment_over(void *ctx)
{
    struct sup *s = ctx;

    if (s->has_setup_lock) {
        get_device(s);
    } else {
        sup_setup_take(s);
    }
}

static void
again_in_a_moment(struct sup *s)
{
    if (s->setup_timer == NULL) {
        s->setup_timer = timer_new(s->loop, moment_over, s);
    }
    timer_after(s->setup_timer, WAIT_NS);
}

static int
rebuild_env(void *ctx, struct err *e)
{
    struct sup *s = ctx;

    strings_free(&s->env);
    if (sup_setup_tidy(s, e) != 0) {
        return -1;
    }
    sup_env_login(s);
    return sup_env_build(s, e);
}

static void
env_rebuilt(void *ctx, int rc, const struct err *why)
{
    struct sup *s = ctx;

    s->preparing = false;
    if (s->stop_reason != JOB_REASON_NONE) {
        sup_end(s);
    } else if (rc != 0) {
        sup_fail(s, JOB_FAILED, why);
    } else {
        s->setup_due = false;
        sup_run_walls(s); /* anew: the layer read-only, the device's nodes */
    }
}

static void
get_device(struct sup *s)
{
    struct err e;

    if (s->stop_reason != JOB_REASON_NONE) {
        sup_end(s);
        return;
    }
    if (!sup_log_drained(s)) {
        again_in_a_moment(s);
        return;
    }
    if (sup_lease_devices(s, &e) != 0) {
        if (e.code == ERR_BUSY) { /* others were quicker: free until one is given back */
            again_in_a_moment(s);
        } else {
            sup_fail(s, JOB_FAILED, &e);
        }
        return;
    }
    s->preparing = true;
    if (work_start(s->loop, rebuild_env, env_rebuilt, s, &e) != 0) {
        s->preparing = false;
        sup_fail(s, JOB_FAULT, &e);
    }
}

/* ---- taking the layer ---- */

static int
take_run(void *ctx, struct err *e)
{
    struct sup *s = ctx;

    if (setups_take(s->renter, s->layer_key, &s->setup_whole, &s->setup_lock, e) != 0) {
        return -1;
    }
    s->has_setup_lock = true;
    return s->setup_whole ? 0 : sup_setup_show_host(s, e);
}

static void
taken(void *ctx, int rc, const struct err *why)
{
    struct sup *s = ctx;
    struct err gone;

    s->preparing = false;
    if (s->stop_reason != JOB_REASON_NONE) {
        sup_end(s);
    } else if (rc != 0 && why->code == ERR_BUSY) {
        again_in_a_moment(s);
    } else if (rc != 0) {
        sup_fail(s, JOB_FAULT, why);
    } else if (!s->setup_due && !s->setup_whole) {
        err_set(&gone, ERR_NOT_FOUND,
                "the result of the set-up has just gone: run it again");
        sup_fail(s, JOB_FAULT, &gone);
    } else {
        sup_run_walls(s);
    }
}

void
sup_setup_take(struct sup *s)
{
    struct err e;

    if (s->stop_reason != JOB_REASON_NONE) {
        sup_end(s);
        return;
    }
    s->preparing = true;
    if (work_start(s->loop, take_run, taken, s, &e) != 0) {
        s->preparing = false;
        sup_fail(s, JOB_FAULT, &e);
    }
}

/* ---- the result ---- */

static int
keep_run(void *ctx, struct err *e)
{
    struct sup *s = ctx;

    return sup_setup_check(s, e) == 0 && setups_keep(s->agent, s->renter, s->layer_key,
                                                     s->spec.setup, s->setup_lock, e) == 0
               ? 0
               : err_wrap(e, "what the set-up made could not be kept");
}

static void
kept(void *ctx, int rc, const struct err *why)
{
    struct sup *s = ctx;

    s->preparing = false;
    if (rc != 0) {
        sup_fail(s, why->code == ERR_INVALID ? JOB_FAILED : JOB_FAULT, why);
        return;
    }
    s->setup_whole = true;
    get_device(s);
}

static void
keep_layer(struct sup *s)
{
    struct err e;

    sup_enter(s, JOB_PREPARING, false);
    s->preparing = true;
    if (work_start(s->loop, keep_run, kept, s, &e) != 0) {
        s->preparing = false;
        sup_fail(s, JOB_FAULT, &e);
    }
}

/* A shell's 127. What `auto` runs is known, and what helps there. */
static void
no_program(const struct sup *s, struct err *why)
{
    static const char uv[] = "uv sync ";
    static const char conda[] = " env create --prefix ";
    char *found = env_which(&s->env, "uv");

    if (found == NULL && strstr(s->spec.setup, uv) != NULL) {
        err_set(why, ERR_NOT_FOUND,
                "there is no uv on this host: --setup 'python3 -m pip install uv && "
                "%.200s' brings it",
                s->spec.setup);
    } else if (strstr(s->spec.setup, conda) != NULL) {
        err_set(
            why, ERR_NOT_FOUND,
            "there is no conda, mamba or micromamba on this host, where --conda looks "
            "for them: install one (miniforge), or put what pip can install into a "
            "requirements.txt");
    } else {
        err_set(why, ERR_NOT_FOUND,
                "a program that the set-up starts is not on this host (exit code %d; its "
                "own last words name it): %.200s",
                NO_PROGRAM, s->spec.setup);
    }
    free(found);
}

static void
failed(struct sup *s)
{
    struct err why;

    if (cgroup_oom_kills(s->cgroup) > 0) {
        if (cgroup_limits_memory(s->cgroup)) {
            sup_watch_too_much(s, &why);
        } else {
            err_set(&why, ERR_LIMIT, "set-up out of memory: the kernel killed it");
        }
        sup_fail(s, JOB_MEMORY, &why);
        return;
    }
    if (WIFEXITED(s->setup_status) && WEXITSTATUS(s->setup_status) == NO_PROGRAM) {
        no_program(s, &why);
    } else if (WIFEXITED(s->setup_status)) {
        err_set(&why, ERR_INVALID, "set-up failed with exit code %d: %.200s",
                WEXITSTATUS(s->setup_status), s->spec.setup);
    } else {
        err_set(&why, ERR_INVALID, "set-up ended by signal %d: %.200s",
                WTERMSIG(s->setup_status), s->spec.setup);
    }
    sup_fail(s, JOB_FAILED, &why);
}

static void
look(struct sup *s)
{

    if (!s->setup_exited || !s->empty || s->ending) {
        return;
    }
    if (s->stop_reason != JOB_REASON_NONE) {
        sup_end(s);
        return;
    }
    if (WIFEXITED(s->setup_status) && WEXITSTATUS(s->setup_status) == 0) {
        keep_layer(s);
        return;
    }
    failed(s);
}

bool
sup_setup_guard_event(struct sup *s, const struct guard_event *ev)
{
    struct err e;

    if (!s->setup_due || s->state.phase != JOB_SETUP) {
        return false;
    }
    switch (ev->kind) {
    case GUARD_EV_STARTED:
        return true;
    case GUARD_EV_EXITED:
        s->setup_exited = true;
        s->setup_status = ev->status;
        sup_meter(s, USAGE_PREPARING, "setup"); /* what follows is the house's */
        if (!s->empty && guard_signal(s->guard, 0, SIGKILL, &e) != 0) {
            sup_say(s, "%s", e.msg);
        }
        look(s);
        return true;
    case GUARD_EV_EMPTY:
        s->empty = true;
        look(s);
        return true;
    case GUARD_EV_NONE:
    case GUARD_EV_DONE:
    case GUARD_EV_FAILED:
    case GUARD_EV_NOT_STARTED:
    case GUARD_EV_GONE:
        break;
    }
    return false;
}

void
sup_setup_discard(struct sup *s)
{
    struct err e;

    if (s->has_setup_lock && !s->setup_whole &&
        setups_discard(s->renter, s->layer_key, &e) != 0) {
        sup_say(s, "%s", e.msg);
    }
}

void
sup_setup_free(struct sup *s)
{
    timer_free(s->setup_timer);
    s->setup_timer = NULL;
    if (s->has_setup_lock) {
        (void)fd_close(&s->setup_lock);
        s->has_setup_lock = false;
    }
}
