#include "runner/host/notices.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/host/jobdir.h"
#include "runner/host/loginenv.h"
#include "runner/host/upkeep.h"
#include "runner/host/workdirs.h"
#include "runner/job/line.h"
#include "runner/job/notify.h"
#include "storage/snap.h"
#include "storage/store.h"

#define DIR_NAME  "expiring"
#define MARKER    "notices"
#define EVERY_S   ((int64_t)600)
#define NICE_LAST 19
#define SHOWN_MAX 400 /* of a command, in a log */

/* ---- telling ---- */

/* Of one name the last counts (notify_start). */
static void
fill_env(struct strings *env, const struct notice *n)
{
    strings_add_all(env, n->login);
    strings_add_all(env, &n->spec->env);
    if (n->secrets != NULL) {
        strings_add_all(env, n->secrets);
    }
}

static void
say(int log_fd, const char *what, const struct err *why)
{
    char at[CLOCK_TEXT_MAX];
    char *line;

    clock_format_utc(clock_wall_ns(), 3, at);
    line = xasprintf("%s %s: %s\n", at, what, why->msg);
    (void)!write(log_fd, line, strlen(line));
    free(line);
}

void
notices_start(const struct notice *n, pid_t *pid)
{
    char host[HOST_NAME_MAX + 1] = "";
    char shown[SHOWN_MAX];
    struct notify_report report = {.fd = n->log_fd, .stamped = true};
    struct strings env = {NULL, 0};
    char *what;
    char *code;
    char *late;
    struct err e;

    (void)gethostname(host, sizeof host - 1);
    fill_env(&env, n);
    notify_facts(&env, n->event, n->state, host);
    (void)text_escape_to(shown, sizeof shown, n->spec->notify_host);
    what = xasprintf("--notify-host (%s) failed: '%s'", n->event, shown);
    code = xasprintf("%s ended with exit code ", what);
    late = xasprintf("%s took more than %d s and was ended", what, NOTIFY_TIME_S);
    report.code = code;
    report.late = late;
    if (notify_start(n->spec->notify_host, &env, n->log_fd != -1 ? &report : NULL, pid,
                     &e) != 0) {
        *pid = -1;
        say(n->log_fd, what, &e);
    }
    free(what);
    free(code);
    free(late);
    for (size_t i = 0; i < env.n; i++) {
        explicit_bzero(env.v[i], strlen(env.v[i])); /* secrets are among them */
    }
    strings_free(&env);
}

void
notices_tell(const struct agent *a, const struct notice *n, pid_t *pid)
{
    struct strings login = {NULL, 0};
    struct notice full = *n;
    struct err why;

    loginenv_get(a, &login, &why);
    full.login = &login;
    notices_start(&full, pid);
    strings_free(&login);
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
notices_expect(const struct renter *r, const struct job_spec *spec)
{
    const struct notify_expiry nothing = {0, 0};
    int dir_fd = -1;
    struct err none;

    if (spec->notify_host == NULL || r->confined) {
        return;
    }
    /* What was told of an earlier snapshot stands. */
    if (renter_dir(r, DIR_NAME, &dir_fd, &none) == 0 &&
        faccessat(dir_fd, spec->job, F_OK, AT_SYMLINK_NOFOLLOW) != 0) {
        (void)!save(dir_fd, spec->job, &nothing, &none);
    }
    (void)fd_close(&dir_fd);
}

/* ---- looking ---- */

struct round {
    const struct agent *agent;
    const struct renter *renter;
    struct snap_list list;
    struct line_snap *snaps; /* of that list */
    int dir_fd;
    size_t n_told;
};

/* Of a damaged manifest the claim still stands, and whose it is the job may know. */
static void
take_snaps(struct round *g)
{
    g->snaps = xcalloc(g->list.n + 1, sizeof *g->snaps);
    for (size_t i = 0; i < g->list.n; i++) {
        const struct snap *from = &g->list.v[i];
        const struct manifest *m = from->m;

        g->snaps[i] = (struct line_snap){
            .id = from->id,
            .job = m != NULL && m->kind == MANIFEST_SNAPSHOT ? m->job : NULL,
            .parent = m != NULL ? m->parent : NULL,
            .made_wall_ns = m != NULL ? m->made_wall_ns : 0,
            .expires_wall_ns = from->claim.expires_wall_ns,
            .kept = from->claim.data == SNAP_DATA_KEPT,
            .whole = m != NULL && !m->partial,
        };
    }
    line_sort(g->snaps, g->list.n);
}

/* What is left of that job; NULL: nothing. */
static const struct line_snap *
find_left(const struct round *g, const struct job_state *st)
{
    const struct line_snap *s = line_last(g->snaps, g->list.n, st->job);

    for (size_t i = 0; s == NULL && i < g->list.n; i++) {
        s = g->snaps[i].kept && strcmp(g->snaps[i].id, st->snapshot) == 0 ? &g->snaps[i]
                                                                          : NULL;
    }
    return s;
}

static void
forget(const struct round *g, const char *job)
{
    (void)unlinkat(g->dir_fd, job, 0);
}

/* st is told with the snapshot that it is about. */
static void
look_at(struct round *g, const struct jobdir *d, const struct job_spec *spec,
        struct job_state *st, const struct line_snap *s)
{
    struct notice n = {.spec = spec, .state = st};
    struct notify_expiry seen;
    const char *event;
    struct err none;
    pid_t pid;

    (void)snprintf(st->snapshot, sizeof st->snapshot, "%s", s->id);
    st->expires_wall_ns = s->expires_wall_ns;
    load(g->dir_fd, st->job, &seen);
    event = notify_expiry(&seen, st->expires_wall_ns, clock_wall_ns());
    if (event == NULL || line_is_carried_on(g->snaps, g->list.n, s)) {
        return;
    }
    /* What cannot be written down would be told at every look. */
    if (save(g->dir_fd, st->job, &seen, &none) == 0) {
        n.event = event;
        n.log_fd = jobdir_open_log(d);
        notices_tell(g->agent, &n, &pid);
        (void)fd_close(&n.log_fd);
        g->n_told++;
    }
}

static void
look(struct round *g, const char *job)
{
    const struct line_snap *s;
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
    if (jobdir_spec(&d, &spec, &why) == 0 && jobdir_state(&d, &st, &why) == 0) {
        s = find_left(g, &st);
        if (spec.notify_host == NULL || g->renter->confined) {
            forget(g, job);
        } else if (s != NULL) {
            look_at(g, &d, &spec, &st, s);
        } else if (job_phase_is_final(st.phase)) {
            forget(g, job);
        }
    }
    state_free(&st);
    spec_free(&spec);
    jobdir_close(&d);
}

/* *ready false: nothing is told by this clock, as nothing expires by it. */
static int
list_snaps(struct round *g, bool *ready, struct err *e)
{
    struct store *store = NULL;
    struct err doubt;
    int rc = -1;

    if (workdirs_open_store(g->renter, &store, e) == 0) {
        snap_clock_doubt(store, &doubt);
        *ready = doubt.code == ERR_NONE;
        rc = *ready ? snap_list(store, &g->list, e) : 0;
    }
    store_close(store);
    return rc;
}

static int
look_at_one(void *ctx, int dir_fd, const char *name, struct err *e)
{
    (void)dir_fd;
    (void)e;
    if (id_is(ID_JOB, name)) {
        look(ctx, name);
    }
    return 0;
}

static int
look_at_all(struct round *g, struct err *e)
{
    bool ready = false;

    if (list_snaps(g, &ready, e) != 0) {
        return -1;
    }
    if (!ready) {
        return 0;
    }
    take_snaps(g);
    return file_each_name(g->dir_fd, look_at_one, g, e) == 0
               ? 0
               : err_wrap(e, "%s/%s", g->renter->path, DIR_NAME);
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
    free(g.snaps);
    snap_list_free(&g.list);
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
