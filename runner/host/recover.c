#include "runner/host/recover.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "meter/receipt.h"
#include "meter/session.h"
#include "runner/host/cgroup.h"
#include "runner/host/jobdir.h"
#include "runner/host/notices.h"
#include "runner/host/procs.h"
#include "runner/host/setups.h"
#include "runner/host/workdirs.h"
#include "runner/job/logseg.h"

#define KILL_ROUNDS   200
#define KILL_PAUSE_US 10000

struct lost {
    const struct agent *agent;
    const struct renter *renter;
    struct jobdir dir;
    struct job_spec spec;
    struct job_state state;
};

/* ---- what may still run ---- */

/* Every process that was started with the job's id in its environment. */
static size_t
kill_by_environment(const char *job)
{
    DIR *d = opendir("/proc");
    struct dirent *de;
    size_t n = 0;

    while (d != NULL && (de = readdir(d)) != NULL) {
        pid_t pid = proc_pid_named(de->d_name);
        char *of = pid <= 1 || pid == getpid() ? NULL : proc_environ(pid, "GPURUN_JOB");

        if (of != NULL && strcmp(of, job) == 0 && proc_start(pid) != 0) {
            (void)kill(pid, SIGKILL);
            n++;
        }
        free(of);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return n;
}

static void
kill_all(const char *job)
{
    cgroup_sweep(job);
    for (int i = 0; i < KILL_ROUNDS && kill_by_environment(job) > 0; i++) {
        (void)usleep(KILL_PAUSE_US);
    }
}

static void
remove_tmp(const char *job)
{
    const char *base = getenv("TMPDIR");
    char *tmp =
        xasprintf("%s/gpurun-%s", base == NULL || base[0] != '/' ? "/tmp" : base, job);
    struct err none;

    (void)!file_remove_tree(tmp, &none);
    free(tmp);
}

/* ---- the record ---- */

static int
log_ends(struct lost *l, struct err *e)
{
    struct logr *r = NULL;
    uint64_t end;
    int fd = openat(l->dir.fd, "log", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc = -1;

    if (fd == -1) {
        return err_set_sys(e, errno, "cannot open the log of job %s", l->dir.job);
    }
    if (logr_open(&r, fd, e) == 0 && logr_end(r, LOGSEG_OUT, &end, e) == 0) {
        l->state.out_end = (int64_t)end;
        if (logr_end(r, LOGSEG_ERR, &end, e) == 0) {
            l->state.err_end = (int64_t)end;
            rc = 0;
        }
    }
    logr_close(r);
    (void)fd_close(&fd);
    return rc;
}

/* A power cut may have taken the state record: the specification has what it needs. */
static int
load(struct lost *l, struct err *e)
{
    struct err none;

    if (jobdir_spec(&l->dir, &l->spec, e) != 0) {
        return -1;
    }
    if (jobdir_state(&l->dir, &l->state, &none) != 0) {
        memcpy(l->state.job, l->spec.job, sizeof l->state.job);
        memcpy(l->state.renter, l->renter->id, sizeof l->state.renter);
        state_set_text(&l->state.name, l->spec.name);
        l->state.phase = JOB_PREPARING;
    }
    return 0;
}

static int
save(struct lost *l, struct err *e)
{
    l->state.seq++;
    l->state.since_wall_ns = clock_wall_ns();
    return jobdir_set_state(&l->dir, &l->state, true, e);
}

/* Did the supervisor itself see the command's end before it died? */
static bool
end_is_known(const struct job_state *st)
{
    return st->phase == JOB_SNAPSHOTTING && st->reason != JOB_REASON_NONE;
}

static void
snapshot(struct lost *l)
{
    struct workdirs_end end = {.spec = &l->spec, .state = &l->state};
    struct workdirs_snapshot got;
    char id[JOB_ID_LEN + 1];
    struct err e;

    if (l->state.started_wall_ns == 0) {
        state_set_text(&l->state.kept_why, JOB_WHY_NOT_STARTED);
        return;
    }
    random_id("s", id);
    end.id = id;
    if (workdirs_snapshot(l->agent, l->renter, &end, &got, &e) != 0) {
        state_tell(&l->state.kept_why, &l->state.kept_form, &e);
        return;
    }
    memcpy(l->state.snapshot, id, sizeof id);
    l->state.kept = got.partial ? JOB_KEPT_PARTIAL : JOB_KEPT_WHOLE;
    l->state.kept_bytes = got.stored_bytes;
    l->state.expires_wall_ns = got.expires_wall_ns;
}

/* The receipt is there: it was cut off after that, and what it charges stands there only.
 */
static int
take_charge(struct lost *l, struct err *e)
{
    const struct receipt_pins pins = {.host = &l->agent->pub, .job = l->dir.job};
    char *path = xasprintf("%s/jobs/%s/usage", l->renter->path, l->dir.job);
    struct receipt *r = NULL;
    int rc = receipt_verify_file(&r, path, &pins, e);

    if (rc == 0) {
        l->state.charge_fen = r->charge_fen;
        l->state.cost_fen = r->charge_fen;
    }
    receipt_free(r);
    free(path);
    return rc;
}

static int
close_bill(struct lost *l, bool known, struct err *e)
{
    struct meter_session_options o = {
        .dir_fd = l->dir.fd, .name = "usage", .host_key = l->agent->key};
    const struct job_state *st = &l->state;
    struct meter_end end = {.reason = known ? job_reason_name(st->reason) : "lost",
                            .exit_code = known ? (int)st->exit_code : -1,
                            .signal = known && st->signal > 0 ? (int)st->signal : 0,
                            .snapshot = st->snapshot[0] == '\0' ? NULL : st->snapshot,
                            .kept_bytes = st->kept_bytes,
                            .keep_until_wall_ns = st->expires_wall_ns,
                            .lost = !known};
    struct meter_session *m = NULL;
    struct meter_status status;
    struct err why;
    int rc = -1;

    if (meter_session_reopen(&m, &o, &why) != 0) {
        if (why.code == ERR_EXISTS) {
            return take_charge(l, e);
        }
        *e = why;
        return -1;
    }
    if (meter_session_end(m, &end, e) == 0) {
        meter_session_status(m, &status);
        l->state.charge_fen = status.cost_fen;
        l->state.cost_fen = status.cost_fen;
        rc = 0;
    }
    meter_session_free(m);
    return rc;
}

/* --notify-host: its supervisor is gone, so whoever finds the job tells of its end. */
static void
tell(const struct lost *l)
{
    struct notice n = {.spec = &l->spec,
                       .event = l->state.phase == JOB_LOST ? "lost" : "ended",
                       .state = &l->state};
    pid_t pid;

    if (l->spec.notify_host != NULL && !l->renter->confined) {
        n.log_fd = jobdir_open_log(&l->dir);
        notices_tell(l->agent, &n, &pid);
        (void)fd_close(&n.log_fd);
    }
}

static int
put_right(struct lost *l, struct err *e)
{
    struct err none;
    struct err why;
    bool known;

    kill_all(l->dir.job);
    if (load(l, e) != 0) {
        return -1;
    }
    if (job_phase_is_final(l->state.phase)) { /* cut off just before the mark went */
        jobdir_unmark_active(l->renter, l->dir.job);
        return 0;
    }
    known = end_is_known(&l->state);
    if (l->state.ended_wall_ns == 0) {
        l->state.ended_wall_ns = clock_wall_ns();
    }
    if (l->state.out_end == JOB_NOT_SET && log_ends(l, e) != 0) {
        return -1;
    }
    if (!known) {
        l->state.reason = JOB_REASON_NONE;
        err_set(&why, ERR_SYSTEM, "its supervisor died: how it ended is not known");
        state_tell(&l->state.detail, &l->state.detail_form, &why);
    }
    if (l->state.detail != NULL &&
        strncmp(l->state.detail, JOB_NOT_BILLED, strlen(JOB_NOT_BILLED)) == 0) {
        /* not of the end it comes to now */
        state_tell(&l->state.detail, &l->state.detail_form, NULL);
    }
    l->state.phase = JOB_SNAPSHOTTING;
    if (save(l, e) != 0) {
        return -1;
    }
    if (l->state.snapshot[0] == '\0') {
        snapshot(l);
    }
    remove_tmp(l->dir.job);
    if (l->spec.setup != NULL) { /* what it left half made is nobody's */
        (void)!setups_trim(l->renter, NULL, &none);
    }
    if (close_bill(l, known, e) != 0) {
        return -1;
    }
    if (l->state.snapshot[0] != '\0') {
        notices_expect(l->renter, &l->spec);
    }
    l->state.phase = known ? JOB_ENDED : JOB_LOST;
    if (save(l, e) != 0) {
        return -1;
    }
    (void)unlinkat(l->dir.fd, "sock", 0);
    jobdir_unmark_active(l->renter, l->dir.job);
    tell(l);
    return 0;
}

int
recover_job(const struct agent *a, const struct renter *r, const char *job, struct err *e)
{
    struct lost l = {.agent = a, .renter = r};
    bool got;
    int rc = -1;

    if (jobdir_open(&l.dir, r, job, e) != 0) {
        if (e->code == ERR_NOT_FOUND) { /* accepted it never was */
            jobdir_unmark_active(r, job);
        }
        return -1;
    }
    spec_init(&l.spec);
    state_init(&l.state);
    if (jobdir_try_lock(&l.dir, &got, e) != 0) {
        goto out;
    }
    if (!got) {
        err_set(e, ERR_BUSY, "job %s is looked after", job);
        goto out;
    }
    rc = put_right(&l, e);

out:
    spec_free(&l.spec);
    state_free(&l.state);
    jobdir_close(&l.dir);
    return rc;
}

static int
recover_renter(const struct agent *a, const char *id, size_t *n, struct err *e)
{
    struct renter *r = NULL;
    struct job_ids ids;
    int rc = 0;

    if (renter_open(&r, a, id, false, e) != 0) {
        return -1;
    }
    if (jobdir_list_active(r, &ids, e) != 0) {
        renter_close(r);
        return -1;
    }
    for (size_t i = 0; i < ids.n; i++) {
        struct err why;

        if (recover_job(a, r, ids.v[i], &why) == 0) {
            (*n)++;
        } else if (why.code != ERR_BUSY && why.code != ERR_NOT_FOUND && rc == 0) {
            *e = why;
            rc = -1;
        }
    }
    job_ids_free(&ids);
    renter_close(r);
    return rc;
}

int
recover_all(const struct agent *a, size_t *n, struct err *e)
{
    struct renter_ids l;
    int rc = 0;

    *n = 0;
    if (renter_list(a, &l, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l.n; i++) {
        struct err why;

        if (recover_renter(a, l.v[i], n, &why) != 0 && rc == 0) {
            *e = why;
            rc = -1;
        }
    }
    renter_ids_free(&l);
    return rc;
}

int
recover_main(const char *renter_id, const char *job)
{
    struct agent *a = NULL;
    struct renter *r = NULL;
    struct err e;
    int rc = 1;

    if (agent_open(&a, &e) == 0 && renter_open(&r, a, renter_id, false, &e) == 0 &&
        recover_job(a, r, job, &e) == 0) {
        rc = 0;
    } else {
        (void)fprintf(stderr, "gpurun-agent: %s\n", e.msg);
    }
    renter_close(r);
    agent_close(a);
    return rc;
}
