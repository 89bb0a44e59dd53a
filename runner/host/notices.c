#include "runner/host/notices.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/host/jobdir.h"
#include "runner/host/loginenv.h"
#include "runner/host/upkeep.h"
#include "runner/host/workdirs.h"
#include "runner/job/notify.h"
#include "storage/snap.h"
#include "storage/store.h"

#define DIR_NAME  "expiring"
#define MARKER    "notices"
#define EVERY_S   ((int64_t)600)
#define NICE_LAST 19

void
notices_tell(const struct agent *a, const char *command, const char *event,
             const struct job_state *st, pid_t *pid)
{
    char host[HOST_NAME_MAX + 1] = "";
    struct strings env = {NULL, 0};
    struct err none;
    struct err why;

    (void)gethostname(host, sizeof host - 1);
    loginenv_get(a, &env, &why);
    notify_facts(&env, event, st, host);
    if (notify_start(command, &env, pid, &none) != 0) {
        *pid = -1;
    }
    strings_free(&env);
}

/* ---- what was told ---- */

/* Durable on return. */
static int
save(int dir_fd, const char *job, const struct notify_expiry *seen, struct err *e)
{
    struct rec *r = notify_expiry_encode(seen);
    struct buf b = BUF_INIT;
    int rc;

    rec_encode(r, &b);
    rec_free(r);
    rc = file_replace_at(dir_fd, job, b.data, b.len, e);
    buf_free(&b);
    return rc;
}

/* One that a power cut spoiled says that nothing was told. */
static void
load(int dir_fd, const char *job, struct notify_expiry *out)
{
    struct buf b = BUF_INIT;
    struct rec *r = NULL;
    struct err none;

    *out = (struct notify_expiry){0, 0};
    if (file_read_at(dir_fd, job, NOTIFY_EXPIRY_MAX_BYTES, &b, &none) == 0 &&
        rec_parse(&r, b.data, b.len, NOTIFY_EXPIRY_TYPE, &none) == 0) {
        (void)!notify_expiry_parse(out, r, &none);
    }
    rec_free(r);
    buf_free(&b);
}

void
notices_expect(const struct renter *r, const struct job_spec *spec,
               const struct job_state *st)
{
    const struct notify_expiry nothing = {0, 0};
    int dir_fd = -1;
    struct err none;

    if (spec->notify_host == NULL || r->confined || st->snapshot[0] == '\0') {
        return;
    }
    if (renter_dir(r, DIR_NAME, &dir_fd, &none) == 0) {
        (void)!save(dir_fd, st->job, &nothing, &none);
    }
    (void)fd_close(&dir_fd);
}

/* ---- looking ---- */

struct round {
    const struct agent *agent;
    const struct renter *renter;
    struct store *store;
    int dir_fd;
    size_t n_told;
};

static void
forget(const struct round *g, const char *job)
{
    (void)unlinkat(g->dir_fd, job, 0);
}

/* The job has ended; st->expires_wall_ns becomes what it is now. false: nothing to tell
 * of, now or ever. */
static bool
is_kept(const struct round *g, const struct job_spec *spec, struct job_state *st)
{
    struct snap_claim claim;
    struct err why;

    if (spec->notify_host == NULL || g->renter->confined || st->snapshot[0] == '\0') {
        return false;
    }
    if (snap_claim_get(g->store, st->snapshot, &claim, &why) != 0) {
        st->expires_wall_ns = 0; /* cannot be read now: that is no moment */
        return why.code != ERR_NOT_FOUND;
    }
    st->expires_wall_ns = claim.expires_wall_ns;
    return claim.data != SNAP_DATA_GONE;
}

static void
look_at(struct round *g, const struct job_spec *spec, struct job_state *st)
{
    struct notify_expiry seen;
    const char *event;
    struct err none;
    pid_t pid;

    load(g->dir_fd, st->job, &seen);
    event = notify_expiry(&seen, st->expires_wall_ns, clock_wall_ns());
    /* What cannot be written down would be told at every look. */
    if (event != NULL && save(g->dir_fd, st->job, &seen, &none) == 0) {
        notices_tell(g->agent, spec->notify_host, event, st, &pid);
        g->n_told++;
    }
}

static void
look(struct round *g, const char *job)
{
    struct job_spec spec;
    struct job_state st;
    struct jobdir d;
    struct err why;

    if (jobdir_open(&d, g->renter, job, &why) != 0) {
        if (why.code == ERR_NOT_FOUND) {
            forget(g, job);
        }
        return;
    }
    spec_init(&spec);
    state_init(&st);
    if (jobdir_spec(&d, &spec, &why) == 0 && jobdir_state(&d, &st, &why) == 0 &&
        job_phase_is_final(st.phase)) {
        if (is_kept(g, &spec, &st)) {
            look_at(g, &spec, &st);
        } else {
            forget(g, job);
        }
    }
    state_free(&st);
    spec_free(&spec);
    jobdir_close(&d);
}

static int
look_at_all(struct round *g, struct err *e)
{
    struct err doubt;
    struct dirent *de;
    DIR *d = NULL;
    int fd = -1;
    int rc = -1;

    if (workdirs_open_store(g->renter, &g->store, e) != 0) {
        return -1;
    }
    snap_clock_doubt(g->store, &doubt);
    if (doubt.code != ERR_NONE) { /* nothing expires by it either */
        rc = 0;
        goto out;
    }
    fd = openat(g->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    d = fd == -1 ? NULL : fdopendir(fd);
    if (d == NULL) {
        err_set_sys(e, errno, "cannot list '%s/%s'", g->renter->path, DIR_NAME);
        goto out;
    }
    fd = -1;
    while ((de = readdir(d)) != NULL) {
        if (id_is(ID_JOB, de->d_name)) {
            look(g, de->d_name);
        }
    }
    rc = 0;

out:
    if (d != NULL) {
        (void)closedir(d);
    }
    (void)fd_close(&fd);
    store_close(g->store);
    return rc;
}

int
notices_give(const struct agent *a, const struct renter *r, size_t *n, struct err *e)
{
    struct round g = {.agent = a, .renter = r, .dir_fd = -1};
    int rc = 0;

    g.dir_fd = openat(r->fd, DIR_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (g.dir_fd == -1) {
        return errno == ENOENT
                   ? 0
                   : err_set_sys(e, errno, "cannot open '%s/%s'", r->path, DIR_NAME);
    }
    /* Two that look at once would both tell. */
    if (flock(g.dir_fd, LOCK_EX | LOCK_NB) == 0) {
        rc = look_at_all(&g, e);
    }
    *n += g.n_told;
    (void)fd_close(&g.dir_fd);
    return rc;
}

bool
notices_are_due(const struct renter *r)
{
    return faccessat(r->fd, DIR_NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
           upkeep_due(r, MARKER, EVERY_S);
}

int
notices_main(const char *renter_id)
{
    struct agent *a = NULL;
    struct renter *r = NULL;
    size_t n = 0;
    struct err e;
    int rc = 1;

    (void)setpriority(PRIO_PROCESS, 0, NICE_LAST);
    if (agent_open(&a, &e) == 0 && renter_open(&r, a, renter_id, false, &e) == 0 &&
        notices_give(a, r, &n, &e) == 0) {
        rc = 0;
    } else {
        (void)fprintf(stderr, "gpurun-agent: %s\n", e.msg);
    }
    renter_close(r);
    agent_close(a);
    return rc;
}
