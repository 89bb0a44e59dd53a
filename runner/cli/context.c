#include "runner/cli/context.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/out.h"
#include "runner/client/hosts.h"
#include "runner/client/place.h"
#include "runner/client/told.h"
#include "runner/job/state.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define LINKS_END_MS 100

int
context_open(struct client *cl, const struct cli *c, struct err *e)
{
    const char *ssh = getenv("GPURUN_SSH");

    memset(cl, 0, sizeof *cl);
    if (loop_new(&cl->loop, e) != 0) {
        return -1;
    }
    cl->links = links_new(cl->loop);
    cl->home = c->home;
    cl->ask = ask_new(ASK_MODE_AUTO);
    cl->ssh_program = ssh != NULL && ssh[0] != '\0' ? ssh : NULL;
    return 0;
}

void
context_close(struct client *cl)
{
    links_free(cl->links, LINKS_END_MS);
    ask_free(cl->ask);
    loop_free(cl->loop);
    memset(cl, 0, sizeof *cl);
}

int
context_session(struct client *cl, const char *host, int64_t patience_ns,
                struct session **out, struct err *e)
{
    struct session_options o = {.patience_ns = patience_ns, .host_key_ask = true};
    struct host h;
    int rc;

    if (hosts_load(cl->home, host, &h, e) != 0) {
        return -1;
    }
    rc = session_open(out, cl, &h, &o, e);
    host_free(&h);
    if (rc == 0 && session_wait_up(*out, e) != 0) {
        session_close(*out);
        *out = NULL;
        rc = -1;
    }
    return rc;
}

/* ---- jobs that were not run from here ---- */

static bool
state_matches(const struct job_state *st, const char *what, bool *exact)
{
    *exact =
        strcmp(st->job, what) == 0 || (st->name != NULL && strcmp(st->name, what) == 0);
    return *exact || strncmp(st->job, what, strlen(what)) == 0;
}

struct search {
    const char *what;
    struct job_record found;
    bool exact;
    size_t n;
};

static void
consider(struct search *s, const struct job_state *st, const char *host)
{
    bool exact;

    if (!state_matches(st, s->what, &exact) || (s->exact && !exact)) {
        return;
    }
    if (exact && !s->exact) {
        s->n = 0;
    }
    s->n++;
    if (s->n > 1 && !(exact && st->made_wall_ns > s->found.made_wall_ns)) {
        return;
    }
    s->exact = exact;
    job_record_free(&s->found);
    (void)snprintf(s->found.id, sizeof s->found.id, "%s", st->job);
    s->found.host = xstrdup(host);
    s->found.name = st->name != NULL ? xstrdup(st->name) : NULL;
    s->found.command = st->command != NULL ? xstrdup(st->command) : NULL;
    s->found.made_wall_ns = st->made_wall_ns;
    s->found.cap_fen = st->cap_fen;
}

static int
search_host(struct search *s, struct session *ses, struct err *e)
{
    struct rec *req = msg_request_new(VERB_JOB_LIST);
    struct rec *resp = NULL;
    int rc;

    rec_add_int(req, "all", 1);
    rc = session_call(ses, req, CONTEXT_ANSWER_NS, &resp, e);
    for (size_t i = 0; rc == 0 && i < rec_count(resp, "state"); i++) {
        struct job_state st;
        struct err ignored;

        state_init(&st);
        if (state_get(resp, i, &st, &ignored) == 0) {
            consider(s, &st, session_host(ses)->name);
        }
        state_free(&st);
    }
    rec_free(resp);
    rec_free(req);
    return rc;
}

int
context_silent(const struct place *p, const char *silent, struct err *e)
{
    for (size_t i = 0; i < place_n(p); i++) {
        struct session *s = place_at(p, i)->session;

        if (session_state(s) != SESSION_UP) {
            return err_set(e, ERR_LINK, "%s", session_why(s)->err.msg);
        }
    }
    return err_set(e, ERR_LINK, "%s", silent);
}

static int
search_hosts(struct client *cl, const char *what, struct job_record *out, struct err *e)
{
    struct host_list hosts = {NULL, 0};
    struct place *p = NULL;
    struct search s = {.what = what};
    struct buf silent = BUF_INIT;
    char shown[80];
    int rc = -1;

    job_record_init(&s.found);
    if (hosts_list_used(cl->home, &hosts, e) != 0 || place_open(&p, cl, &hosts, e) != 0 ||
        place_ask_all(p, e) != 0) {
        goto out;
    }
    for (size_t i = 0; i < place_n(p); i++) {
        const struct candidate *c = place_at(p, i);

        if (session_conn(c->session) == NULL || search_host(&s, c->session, e) != 0) {
            buf_printf(&silent, "%s%s", silent.len > 0 ? ", " : "", c->host);
        }
    }
    (void)text_escape_to(shown, sizeof shown, what);
    if (s.n == 0 && silent.len > 0) {
        (void)context_silent(p, buf_str(&silent), e);
        (void)err_wrap(e,
                       _("no job '%s' here or on any host that answers (not asked: %s)"),
                       shown, buf_str(&silent));
    } else if (s.n == 0) {
        err_set(e, ERR_NOT_FOUND, _("no job '%s'; `gpurun ps -a` lists what there is"),
                shown);
    } else if (s.n > 1 && !s.exact) {
        err_set(e, ERR_INVALID, _("'%s' is the beginning of %zu jobs"), shown, s.n);
    } else {
        *out = s.found;
        job_record_init(&s.found);
        rc = 0;
    }

out:
    job_record_free(&s.found);
    buf_free(&silent);
    place_free(p);
    host_list_free(&hosts);
    return rc;
}

int
context_find_job(struct client *cl, const char *what, struct job_record *out,
                 struct err *e)
{
    if (jobs_find(cl->home, what, out, e) == 0) {
        return 0;
    }
    if (e->code != ERR_NOT_FOUND || what[0] == '@' || what[0] == '\0') {
        return -1;
    }
    return search_hosts(cl, what, out, e);
}

int
context_job(struct cli *c, struct client *cl, const char *what, int64_t patience_ns,
            struct job_record *job, struct session **s, struct err *e)
{
    job_record_init(job);
    *s = NULL;
    if (context_find_job(cl, what, job, e) != 0) {
        c->stage = STAGE_TRYING;
        return -1;
    }
    c->stage = STAGE_TRYING;
    return context_session(cl, job->host, patience_ns, s, e);
}

void
context_pin_host(const struct cli *c, const struct client *cl, const struct session *s)
{
    struct host h;
    struct err e;

    if (session_host(s)->pinned) {
        return;
    }
    host_copy(&h, session_host(s));
    h.pinned = true;
    h.key = session_info(s)->key;
    if (hosts_save(cl->home, &h, false, &e) != 0) {
        say(c, "%s", e.msg);
    }
    host_free(&h);
}

int
context_show_job(struct session *s, const char *job, struct rec **resp, struct err *e)
{
    struct rec *req = msg_request_new(VERB_JOB_SHOW);
    int rc;

    rec_add(req, "job", job);
    rc = session_call(s, req, CONTEXT_ANSWER_NS, resp, e);
    rec_free(req);
    return rc;
}

int
context_show_live(struct session *s, const char *job, struct rec **resp, struct err *e)
{
    struct job_state st;
    int rc;

    if (context_show_job(s, job, resp, e) != 0) {
        return -1;
    }
    state_init(&st);
    rc = told_state(s, *resp, job, &st, e);
    if (rc == 0 && job_phase_is_final(st.phase)) {
        rc = err_set(e, ERR_NOT_FOUND,
                     _("job %s is not running; `gpurun cp` and `gpurun logs` get at what "
                       "it left"),
                     job);
    }
    state_free(&st);
    if (rc != 0) {
        rec_free(*resp);
        *resp = NULL;
    }
    return rc;
}
