/*
 * The process that waits for a machine to be idle, and parks it (park.h). It sleeps,
 * looks, and sleeps again: what it looks at are a lock and a few directories.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/devices.h"
#include "runner/host/jobdir.h"
#include "runner/host/loginenv.h"
#include "runner/host/park_internal.h"
#include "runner/host/recover.h"
#include "runner/host/reservations.h"
#include "runner/host/runout.h"

#define TIMER_NAME     "park.timer"
#define NS_PER_S       ((int64_t)1000000000)
#define LOOKS          20 /* in the time that is waited for */
#define LOOK_MAX_S     30
#define HELD_MIN_S     5 /* between looks at all jobs and, by their drivers, devices */
#define COMMAND_NS     (300 * NS_PER_S) /* a command that takes longer is ended */
#define OUTPUT_MAX     ((size_t)1 << 20)
#define LINGER_NS      (60 * NS_PER_S) /* for the machine to go down, before jobs again */
#define RETRY_MIN_S    60
#define RETRY_MAX_S    3600
#define RETRY_DOUBLING 6

struct park_timer {
    struct agent *agent;
    struct park asked;
    int hold_fd;
    struct park_state st; /* as it is in the file */
    int64_t retry_ns;     /* after a failure: not before; CLOCK_BOOTTIME */
    int64_t held_ns;      /* when what holds it was last looked at */
};

/* ---- what stands in the way ---- */

typedef bool job_fn(const struct renter *r, const char *job, struct err *why);

/* true: fn has found something. What cannot be read is something, too. */
static bool
any_job(const struct agent *a, bool active, job_fn *fn, struct err *why)
{
    struct renter_ids l;
    bool found = false;

    if (renter_list(a, &l, why) != 0) {
        return true;
    }
    for (size_t i = 0; i < l.n && !found; i++) {
        struct renter *r = NULL;
        struct job_ids ids = {NULL, 0};

        if (renter_open(&r, a, l.v[i], false, why) != 0 ||
            (active ? jobdir_list_active(r, &ids, why) : jobdir_list(r, &ids, why)) !=
                0) {
            found = true;
        }
        for (size_t k = 0; k < ids.n && !found; k++) {
            found = fn(r, ids.v[k], why);
        }
        job_ids_free(&ids);
        renter_close(r);
    }
    renter_ids_free(&l);
    return found;
}

/* A mark of a job that was never placed means nothing. */
static bool
is_there(const struct renter *r, const char *job, struct err *why)
{
    struct jobdir d;
    struct err none;

    if (jobdir_open(&d, r, job, &none) != 0) {
        return false;
    }
    jobdir_close(&d);
    err_set(why, ERR_BUSY, "job %s has not ended", job);
    return true;
}

/* Ended, but its data is nowhere but in the directory it left. */
static bool
data_waits(const struct renter *r, const char *job, struct err *why)
{
    struct job_state st;
    struct jobdir d;
    struct err none;
    bool waits = false;

    if (jobdir_open(&d, r, job, &none) != 0) {
        return false;
    }
    state_init(&st);
    if (jobdir_state(&d, &st, &none) == 0 && job_data_waits(&st)) {
        err_told(why, ERR_SPACE, st.kept_why != NULL ? st.kept_why : "", st.kept_form);
        err_wrap(why,
                 "`gpurun snap take %s` keeps the data of job %s, which could not be "
                 "kept at its end",
                 job, job);
        waits = true;
    }
    state_free(&st);
    jobdir_close(&d);
    return waits;
}

/* Other users of this machine have agents of their own, but the same devices. */
static bool
device_in_use(const struct agent *a, struct err *why)
{
    struct device_list l = {NULL, 0};
    bool used = false;

    /* Asked afresh: who computes there without us is seen by the driver only. */
    if (devices_list(a, true, &l, NULL, why) != 0) {
        return false;
    }
    devices_look(a, &l);
    if (reservations_mark(a, &l, why) != 0) {
        used = true;
    }
    for (size_t i = 0; i < l.n && !used; i++) {
        used = true;
        if (l.v[i].state == DEVICE_BUSY) {
            err_set(why, ERR_BUSY, "device %.80s is in use", l.v[i].uuid);
        } else if (l.v[i].state == DEVICE_RESERVED) {
            err_set(why, ERR_BUSY, "device %.80s is reserved", l.v[i].uuid);
        } else if (l.v[i].n_processes == 1) {
            err_set(why, ERR_BUSY,
                    "device %.80s is in use by 1 process that no job started",
                    l.v[i].uuid);
        } else if (l.v[i].n_processes > 0) {
            err_set(why, ERR_BUSY,
                    "device %.80s is in use by %lld processes that no job started",
                    l.v[i].uuid, (long long)l.v[i].n_processes);
        } else {
            used = false;
        }
    }
    device_list_free(&l);
    return used;
}

/* ---- the command ---- */

static void
first_line(const struct buf *b, char *out, size_t size)
{
    size_t len = 0;

    while (len < b->len && b->data[len] != '\n' && len < size - 1) {
        len++;
    }
    (void)snprintf(out, size, "%.*s", (int)len, len > 0 ? (const char *)b->data : "");
}

static char **
command_env(const struct agent *a, struct strings *env)
{
    char host[HOST_NAME_MAX + 1] = "";
    struct err why;
    char **envp;

    (void)gethostname(host, sizeof host - 1);
    loginenv_get(a, env, &why);
    env_set(env, "GPURUN_EVENT", "park");
    env_set(env, "GPURUN_HOST", host);
    envp = xcalloc(env->n + 1, sizeof *envp);
    memcpy(envp, env->v, env->n * sizeof *envp);
    return envp;
}

/* 0: it ran and was content. */
static int
run_command(const struct park_timer *t, struct err *why)
{
    char *const argv[] = {(char *)(uintptr_t) "sh",
                          (char *)(uintptr_t) "-c",
                          (char *)(uintptr_t) "exec 2>&1; eval \"$1\"",
                          (char *)(uintptr_t) "sh",
                          t->asked.command,
                          NULL};
    struct strings env = {NULL, 0};
    char **envp = command_env(t->agent, &env);
    struct runout_options o = {.path = "/bin/sh",
                               .argv = argv,
                               .envp = envp,
                               .timeout_ns = COMMAND_NS,
                               .max_bytes = OUTPUT_MAX};
    struct buf out = BUF_INIT;
    char said[200];
    int status = 0;
    int rc = runout(&o, &out, &status, why);

    first_line(&out, said, sizeof said);
    if (rc == 0 && WIFSIGNALED(status)) {
        rc = err_set(why, ERR_SYSTEM, "killed by signal %d%s%s", WTERMSIG(status),
                     said[0] != '\0' ? ": " : "", said);
    } else if (rc == 0 && WEXITSTATUS(status) != 0) {
        rc = err_set(why, ERR_SYSTEM, "exit status %d%s%s", WEXITSTATUS(status),
                     said[0] != '\0' ? ": " : "", said);
    }
    buf_free(&out);
    free(envp);
    strings_free(&env);
    return rc;
}

/* ---- states ---- */

static void
enter(struct park_timer *t, enum park_phase phase, const struct err *why)
{
    struct park_state *st = &t->st;
    struct err none;

    if (st->phase == phase && strcmp(st->why.msg, why->msg) == 0 &&
        phase != PARK_COUNTING) {
        return;
    }
    st->phase = phase;
    st->why = *why;
    /* A disk that refuses costs what is shown, and the time after a restart. */
    (void)!park_state_save(t->agent, st, &none);
}

static void
pause_ns(int64_t ns)
{
    struct timespec ts = {.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};

    (void)nanosleep(&ts, NULL);
    while (waitpid(-1, NULL, WNOHANG) > 0) { /* what recovering a job has told somebody */
    }
}

static void
park_now(struct park_timer *t)
{
    struct err why = {0};
    int64_t wait_s = RETRY_MIN_S;
    bool first = t->st.n_failed == 0;

    t->st.at_wall_ns = clock_wall_ns();
    enter(t, PARK_RUNNING, &why);
    if (first) { /* in front: after it there may be no machine left to tell it */
        park_tell(t->agent, "parking", NULL);
    }
    if (run_command(t, &why) == 0) {
        t->st.n_failed = 0;
        pause_ns(LINGER_NS < t->asked.after_s * NS_PER_S ? LINGER_NS
                                                         : t->asked.after_s * NS_PER_S);
        enter(t, PARK_PARKED, &why);
        return;
    }
    for (int64_t i = 0; i < t->st.n_failed && i < RETRY_DOUBLING; i++) {
        wait_s = 2 * wait_s < RETRY_MAX_S ? 2 * wait_s : RETRY_MAX_S;
    }
    t->st.n_failed++;
    t->retry_ns = clock_boot_ns() + wait_s * NS_PER_S;
    enter(t, PARK_FAILED, &why);
    if (first) {
        park_tell(t->agent, "park-failed", why.msg);
    }
}

/* Nobody holds the lock. Jobs whose supervisor died are put right first. */
static bool
nothing_left(struct park_timer *t, struct err *why)
{
    size_t n;

    if (any_job(t->agent, true, is_there, why)) {
        (void)!recover_all(t->agent, &n, why);
        return false;
    }
    return true;
}

/* The time is over. Everything is looked at again under the lock. */
static void
time_is_over(struct park_timer *t)
{
    struct err why = {0};
    int64_t now_ns = clock_boot_ns();

    if (t->st.phase == PARK_HELD && now_ns - t->held_ns < HELD_MIN_S * NS_PER_S) {
        return;
    }
    t->held_ns = now_ns;
    if (any_job(t->agent, false, data_waits, &why) || device_in_use(t->agent, &why)) {
        enter(t, PARK_HELD, &why);
        return;
    }
    if (!park_take_alone(t->hold_fd)) {
        return;
    }
    if (park_hold_time(t->hold_fd) == t->st.hold_ns && nothing_left(t, &why)) {
        park_now(t);
    }
    park_give_up(t->hold_fd);
}

static void
look(struct park_timer *t)
{
    struct err why = {0};
    int64_t now_ns = clock_boot_ns();
    int64_t hold_ns = park_hold_time(t->hold_fd);

    if (park_is_held(t->hold_fd)) {
        t->st.idle_since_ns = now_ns;
        err_set(&why, ERR_BUSY, "a job runs, or data is on its way");
        enter(t, PARK_WAITING, &why);
    } else if (!nothing_left(t, &why)) {
        t->st.idle_since_ns = now_ns;
        enter(t, PARK_WAITING, &why);
    } else if (hold_ns != t->st.hold_ns || t->st.phase == PARK_NONE ||
               t->st.phase == PARK_WAITING) {
        t->st.hold_ns = hold_ns;
        t->st.idle_since_ns = now_ns;
        t->st.n_failed = 0;
        t->retry_ns = 0;
        enter(t, PARK_COUNTING, &why);
    } else if (t->st.phase != PARK_PARKED && now_ns >= t->retry_ns &&
               now_ns - t->st.idle_since_ns >= t->asked.after_s * NS_PER_S) {
        time_is_over(t);
    }
}

/* ---- its life ---- */

static int
detach(void)
{
    pid_t pid = fork();

    if (pid > 0) {
        _exit(0);
    }
    if (pid == -1 || chdir("/") != 0) {
        return -1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    return 0;
}

/* The timer before this one was of another boot, or of other things: begin anew. */
static void
resume(struct park_timer *t)
{
    char boot[BOOT_ID_LEN + 1];

    park_state_load(t->agent, &t->st);
    clock_boot_id(boot);
    if (strcmp(t->st.boot, boot) != 0) {
        memset(&t->st, 0, sizeof t->st);
        memcpy(t->st.boot, boot, sizeof boot);
    } else if (t->st.phase ==
               PARK_RUNNING) { /* ended with it: what came of it is unknown */
        t->st.phase = PARK_FAILED;
        /* Perhaps the command did its work, and a container has just been started again.
         */
        t->st.idle_since_ns = clock_boot_ns();
        err_set(&t->st.why, ERR_SYSTEM, "the process that ran it was ended");
    }
}

/* false: it is asked for no more. */
static bool
read_asked(struct park_timer *t)
{
    struct park p;
    struct err none;
    bool asked;

    park_init(&p);
    if (park_asked(t->agent, &asked, &p, &none) != 0) {
        return true; /* a disk that cannot be read now: what is known stands */
    }
    park_free(&t->asked);
    t->asked = p;
    return asked;
}

static int
watch(struct park_timer *t)
{
    t->hold_fd = park_hold_open(t->agent);
    resume(t);
    while (read_asked(t)) {
        int64_t left_ns;
        int64_t ns = t->asked.after_s * NS_PER_S / LOOKS;

        look(t);
        ns = ns < NS_PER_S ? NS_PER_S : ns;
        ns = ns > LOOK_MAX_S * NS_PER_S ? LOOK_MAX_S * NS_PER_S : ns;
        left_ns = t->st.idle_since_ns + t->asked.after_s * NS_PER_S - clock_boot_ns();
        if (t->st.phase == PARK_COUNTING && left_ns > 0 && left_ns < ns) {
            ns = left_ns;
        }
        pause_ns(ns);
    }
    (void)fd_close(&t->hold_fd);
    return 0;
}

int
park_timer_main(void)
{
    struct park_timer t = {.hold_fd = -1};
    char *path = NULL;
    int lock_fd = -1;
    int rc = 1;
    struct err e;

    if (detach() != 0 || agent_open(&t.agent, &e) != 0) {
        return 1;
    }
    path = agent_path(t.agent, TIMER_NAME);
    /* Asked for again while we go: whoever asks finds the lock taken or starts another.
     */
    while (file_lock(path, true, false, &lock_fd, &e) == 0) {
        rc = watch(&t);
        (void)fd_close(&lock_fd);
        if (!read_asked(&t)) {
            break;
        }
    }
    park_free(&t.asked);
    free(path);
    agent_close(t.agent);
    return rc;
}
