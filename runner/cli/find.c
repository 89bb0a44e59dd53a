#include "runner/cli/find.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/context.h"
#include "runner/cli/out.h"
#include "runner/client/hosts.h"
#include "runner/client/jobs.h"
#include "runner/client/place.h"
#include "runner/client/told.h"
#include "runner/job/state.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

void
data_ref_close(struct data_ref *r)
{
    session_close(r->session);
    snap_info_free(&r->info);
    strings_free(&r->silent);
    strings_free(&r->damaged);
    memset(r, 0, sizeof *r);
}

int
find_ask_hosts(struct client *cl, struct place **out, struct err *e)
{
    struct host_list hosts = {NULL, 0};
    struct place *p = NULL;
    int rc = -1;

    if (hosts_list_used(cl->home, &hosts, e) != 0) {
        return -1;
    }
    if (place_open(&p, cl, &hosts, e) == 0 && place_ask_all(p, e) == 0) {
        *out = p;
        p = NULL;
        rc = 0;
    }
    place_free(p);
    host_list_free(&hosts);
    return rc;
}

/* Once of each. */
static void
say_silent(const struct cli *c, const char *host, const char *why, struct strings *said)
{
    if (said != NULL && strings_has(said, host)) {
        return;
    }
    say(c, "%s", why);
    if (said != NULL) {
        strings_add(said, host);
    }
}

void
find_snapshots_at(struct cli *c, const struct place *p, bool all, struct strings *said,
                  struct snap_infos *out, struct buf *silent, struct buf *doubts)
{
    struct snap_infos l = {NULL, 0};
    struct err e;

    for (size_t i = 0; i < place_n(p); i++) {
        const struct candidate *cand = place_at(p, i);
        bool up = session_state(cand->session) == SESSION_UP;

        if (!up || snaps_list(cand->session, all, &l, doubts, &e) != 0) {
            say_silent(c, cand->host, up ? e.msg : session_why(cand->session)->err.msg,
                       said);
            buf_printf(silent, "%s%s", silent->len > 0 ? ", " : "", cand->host);
        }
    }
    snaps_sort(&l);
    *out = l;
}

int
find_all_snapshots(struct cli *c, struct client *cl, bool all, struct strings *said,
                   struct snap_infos *out, struct buf *silent, struct err *e)
{
    struct place *p = NULL;

    if (find_ask_hosts(cl, &p, e) != 0) {
        return -1;
    }
    find_snapshots_at(c, p, all, said, out, silent, NULL);
    place_free(p);
    return 0;
}

static int
use_snapshot(struct client *cl, const char *host, const char *id, struct data_ref *out,
             struct err *e)
{
    (void)snprintf(out->snapshot, sizeof out->snapshot, "%s", id);
    snap_info_init(&out->info);
    if (context_session(cl, host, CONTEXT_PATIENCE_NS, &out->session, e) != 0) {
        return -1;
    }
    return snaps_show(out->session, id, &out->info, NULL, e);
}

/* A job that was run from here, by its present state on its host. */
static int
use_job(struct client *cl, const struct job_record *job, bool live, struct data_ref *out,
        struct err *e)
{
    struct rec *req = NULL;
    struct rec *resp = NULL;
    struct job_state st;
    int rc = -1;

    state_init(&st);
    if (context_session(cl, job->host, CONTEXT_PATIENCE_NS, &out->session, e) != 0) {
        return -1;
    }
    req = msg_request_new(VERB_JOB_SHOW);
    rec_add(req, "job", job->id);
    if (session_call(out->session, req, CONTEXT_ANSWER_NS, &resp, e) != 0) {
        goto out;
    }
    if (told_state(out->session, resp, job->id, &st, e) != 0) {
        goto out;
    }
    if (live && (!job_phase_is_final(st.phase) || job_data_waits(&st))) {
        (void)snprintf(out->job, sizeof out->job, "%s", job->id);
        rc = 0;
    } else if (st.snapshot[0] == '\0') {
        if (st.kept_why != NULL) {
            err_told(e, ERR_NOT_FOUND, st.kept_why, st.kept_form);
            err_wrap(e, _("job %s has no snapshot"), job->id);
        } else {
            err_set(e, ERR_NOT_FOUND, _("job %s has no snapshot (yet)"), job->id);
        }
        if (job_data_waits(&st)) {
            err_wrap(e, _("`gpurun snap take %s` may still take one"), job->id);
        }
    } else {
        (void)snprintf(out->snapshot, sizeof out->snapshot, "%s", st.snapshot);
        rc = snaps_show(out->session, st.snapshot, &out->info, NULL, e);
    }

out:
    state_free(&st);
    rec_free(resp);
    rec_free(req);
    return rc;
}

/* Snapshots of jobs that ended here under our eyes need no search. */
static bool
known_place(const struct home *home, const char *what, char **host)
{
    struct job_list jobs = {NULL, 0};
    struct err ignored;
    bool found = false;

    if (!id_is(ID_SNAPSHOT, what) || jobs_list(home, &jobs, &ignored) != 0) {
        return false;
    }
    for (size_t i = 0; i < jobs.n && !found; i++) {
        if (strcmp(jobs.v[i].snapshot, what) == 0) {
            *host = xstrdup(jobs.v[i].host);
            found = true;
        }
    }
    job_list_free(&jobs);
    return found;
}

/* Of its manifest nothing is known but that it is there. */
static int
use_damaged(struct client *cl, const struct snap_info *s, bool remove,
            struct data_ref *out, struct err *e)
{
    if (!remove) {
        return err_set(e, ERR_CORRUPT, _("%s: %s; `gpurun snap rm %s` gives it up"),
                       s->host, s->damaged, s->id);
    }
    (void)snprintf(out->snapshot, sizeof out->snapshot, "%s", s->id);
    memcpy(out->info.id, s->id, sizeof out->info.id);
    return context_session(cl, s->host, CONTEXT_PATIENCE_NS, &out->session, e);
}

/* Who could not be asked may have it. */
static int
not_asked(const struct place *p, const char *what, const char *silent, struct err *e)
{
    char shown[80];

    (void)context_silent(p, silent, e);
    return err_wrap(e,
                    _("no snapshot '%s', nor a job that left one, on the hosts that "
                      "answer; not asked"),
                    text_escape_to(shown, sizeof shown, what));
}

static int
search_hosts(struct cli *c, struct client *cl, const char *what, bool remove,
             struct data_ref *out, struct err *e)
{
    struct snap_infos l = {NULL, 0};
    struct place *p = NULL;
    struct buf silent = BUF_INIT;
    const struct snap_info *s = NULL;
    int rc = find_ask_hosts(cl, &p, e);

    if (rc == 0) {
        find_snapshots_at(c, p, true, &out->silent, &l, &silent, NULL);
        rc = snaps_find(&l, what, &s, e);
        if (rc != 0 && e->code == ERR_NOT_FOUND && silent.len > 0) {
            rc = not_asked(p, what, buf_str(&silent), e);
        }
    }
    place_free(p);
    if (rc == 0) {
        rc = s->damaged != NULL ? use_damaged(cl, s, remove, out, e)
                                : use_snapshot(cl, s->host, s->id, out, e);
    }
    buf_free(&silent);
    snap_infos_free(&l);
    return rc;
}

/* Host gone cannot be asked (*e): a copy elsewhere; *e is kept where there is none. */
static int
search_copy(struct cli *c, struct client *cl, const char *gone, const char *what,
            bool remove, struct data_ref *out, struct err *e)
{
    struct data_ref r;
    struct err none;

    memset(&r, 0, sizeof r);
    snap_info_init(&r.info);
    strings_add(&r.silent, gone); /* said below, or by who called */
    if (search_hosts(c, cl, what, remove, &r, &none) != 0) {
        data_ref_close(&r);
        return -1;
    }
    say(c, _("%s; its snapshot %s is on %s, too"), e->msg, r.snapshot,
        session_host(r.session)->name);
    *out = r;
    return 0;
}

static int
find(struct cli *c, struct client *cl, const char *what, bool live, bool remove,
     struct data_ref *out, struct err *e)
{
    struct job_record job;
    struct data_ref r;
    char *host = NULL;
    int rc;

    memset(&r, 0, sizeof r);
    snap_info_init(&r.info);
    job_record_init(&job);
    c->stage = STAGE_TRYING;
    if (known_place(cl->home, what, &host) && use_snapshot(cl, host, what, &r, e) == 0) {
        rc = 0;
    } else if (host != NULL && r.session == NULL) {
        rc = search_copy(c, cl, host, what, remove, &r, e);
    } else if (host == NULL && jobs_find(cl->home, what, &job, e) == 0) {
        rc = use_job(cl, &job, live, &r, e);
        if (rc != 0 && r.session == NULL) {
            rc = search_copy(c, cl, job.host,
                             job.snapshot[0] != '\0' ? job.snapshot : job.id, remove, &r,
                             e);
        }
    } else {
        data_ref_close(&r);
        snap_info_init(&r.info);
        rc = search_hosts(c, cl, what, remove, &r, e);
    }
    if (rc == 0) {
        *out = r;
    } else {
        data_ref_close(&r);
    }
    free(host);
    job_record_free(&job);
    return rc;
}

/* ---- more copies than one ---- */

/* On another host than r: not one that was found damaged, nor except. */
static const struct snap_info *
other_copy(const struct snap_infos *l, const struct data_ref *r, const char *except)
{
    const char *own = session_host(r->session)->name;

    for (size_t i = 0; i < l->n; i++) {
        const struct snap_info *s = &l->v[i];

        if (strcmp(s->id, r->snapshot) == 0 && s->kept && s->damaged == NULL &&
            strcmp(s->host, own) != 0 && !strings_has(&r->damaged, s->host) &&
            (except == NULL || strcmp(s->host, except) != 0)) {
            return s;
        }
    }
    return NULL;
}

bool
find_other(struct cli *c, struct client *cl, struct data_ref *r, const char *except)
{
    struct snap_infos l = {NULL, 0};
    struct buf silent = BUF_INIT;
    struct data_ref other = {.session = NULL};
    const struct snap_info *s = NULL;
    struct err none;
    bool found;

    if (find_all_snapshots(c, cl, false, &r->silent, &l, &silent, &none) == 0) {
        s = other_copy(&l, r, except);
    }
    found = s != NULL && use_snapshot(cl, s->host, s->id, &other, &none) == 0;
    if (found) {
        strings_add_all(&other.silent, &r->silent);
        strings_add_all(&other.damaged, &r->damaged);
        data_ref_close(r);
        *r = other;
    } else {
        data_ref_close(&other);
    }
    snap_infos_free(&l);
    buf_free(&silent);
    return found;
}

/* What is told of host, if the message begins with its name; else NULL. */
static const char *
said_of(const char *host, const char *msg)
{
    size_t n = strlen(host);

    return strncmp(msg, host, n) == 0 && strncmp(msg + n, ": ", 2) == 0 ? msg + n + 2
                                                                        : NULL;
}

bool
find_sound(struct cli *c, struct client *cl, struct data_ref *r, const char *to,
           const struct err *why)
{
    const char *what;
    char *bad;
    bool found;

    if (why->code != ERR_CORRUPT || r->snapshot[0] == '\0' ||
        (to != NULL && said_of(to, why->msg) != NULL)) {
        return false;
    }
    bad = xstrdup(session_host(r->session)->name);
    what = said_of(bad, why->msg);
    strings_add(&r->damaged, bad);
    found = find_other(c, cl, r, to);
    if (found) {
        say(c,
            _("%s: %s; going on with the copy on %s (`gpurun snap mirror %s --host %s` "
              "mends the first)"),
            bad, what != NULL ? what : why->msg, session_host(r->session)->name,
            r->snapshot, bad);
    }
    free(bad);
    return found;
}

/* ---- by name ---- */

int
find_data(struct cli *c, struct client *cl, const char *what, bool live,
          struct data_ref *out, struct err *e)
{
    return find(c, cl, what, live, false, out, e);
}

int
find_to_remove(struct cli *c, struct client *cl, const char *what, struct data_ref *out,
               struct err *e)
{
    return find(c, cl, what, false, true, out, e);
}
