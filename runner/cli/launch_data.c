#include <stdlib.h>
#include <string.h>

#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/context.h"
#include "runner/cli/launch_internal.h"
#include "runner/cli/out.h"
#include "runner/client/datasets.h"
#include "runner/client/hosts.h"
#include "runner/job/setupenv.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

/* ---- where they are ---- */

/* A host that has the data goes before one it would first have to be sent to. */
void
launch_prefer_data(struct launch *l)
{
    if (l->r->n_data == 0) {
        return;
    }
    snap_infos_free(&l->sets);
    for (size_t i = 0; i < place_n(l->place); i++) {
        const struct candidate *c = place_at(l->place, i);
        struct err why;

        if (c->fit != PLACE_FITS || session_state(c->session) != SESSION_UP) {
            continue;
        }
        /* Only a matter of whoever is chosen in the end. */
        if (datasets_list(c->session, &l->sets, &why) != 0) {
            say(l->c, "%s", why.msg);
            continue;
        }
        if (request_has_data(l->r, &l->sets, c->host)) {
            place_prefer(l->place, c->host);
        }
    }
}

int
launch_list_data(struct cli *c, struct client *cl, const char *but, struct snap_infos *to,
                 struct err *e)
{
    struct host_list hosts = {NULL, 0};
    struct place *p = NULL;
    int rc = -1;

    if (hosts_list(cl->home, true, &hosts, e) != 0 ||
        place_open(&p, cl, &hosts, e) != 0 || place_ask_all(p, e) != 0) {
        goto out;
    }
    for (size_t i = 0; i < place_n(p); i++) {
        const struct candidate *h = place_at(p, i);
        bool up = session_state(h->session) == SESSION_UP;
        struct err why;

        if ((but == NULL || strcmp(h->host, but) != 0) &&
            (!up || datasets_list(h->session, to, &why) != 0)) {
            say(c, "%s", up ? why.msg : session_why(h->session)->err.msg);
        }
    }
    rc = 0;

out:
    place_free(p);
    host_list_free(&hosts);
    return rc;
}

int
launch_find_data(struct launch *l, struct err *e)
{
    const char *host = session_host(l->session)->name;

    if (!request_has_data(l->r, &l->sets, host) &&
        (datasets_list(l->session, &l->sets, e) != 0 ||
         launch_list_data(l->c, l->cl, host, &l->sets, e) != 0)) {
        return -1;
    }
    if (request_choose_data(l->r, &l->sets, host, e) != 0) {
        l->c->stage = STAGE_INPUT;
        return -1;
    }
    return 0;
}

/* What decides which Python of the host the set-up will find, and what it makes. */
static void
add_key_of_host(struct rec *req, const struct job_spec *s)
{
    if (s->python != NULL) {
        rec_add(req, "python", s->python);
    }
    if (s->conda != NULL) {
        rec_add(req, "conda", s->conda);
    }
    for (size_t i = 0; i < s->env.n; i++) {
        if (setupenv_counts(s->env.v[i], s->setup)) {
            rec_add(req, "env", s->env.v[i]);
        }
    }
}

/* Is the result of the set-up of that key on the host? */
static int
ask_setup(struct launch *l, const char *key, bool *ready, struct err *e)
{
    struct rec *req = msg_request_new(VERB_SETUP_SHOW);
    struct rec *resp = NULL;
    int64_t is_ready = 0;
    int rc;

    rec_add(req, "key", key);
    add_key_of_host(req, &l->r->spec);
    rc = session_call(l->session, req, CONTEXT_ANSWER_NS, &resp, e);
    if (rc == 0) {
        rc = rec_opt_int(resp, "ready", 0, 1, 0, &is_ready, e);
    }
    *ready = rc == 0 && is_ready == 1;
    rec_free(req);
    rec_free(resp);
    return rc;
}

/* The set-up of that key is the one. */
static int
use_setup(struct launch *l, const char *key, struct err *e)
{
    struct job_spec *s = &l->r->spec;

    free(s->setup_key);
    s->setup_key = xstrdup(key);
    return ask_setup(l, key, &l->plan.setup_ready, e);
}

/*
 * What a job that is resumed had is what it goes on with, where the host has that still:
 * else the set-up runs on the files that there are now, and theirs is the key. Nothing of
 * these is fetched before.
 */
int
launch_find_setup(struct launch *l, struct err *e)
{
    struct run_request *r = l->r;

    l->plan.setup_ready = false;
    if (r->spec.setup == NULL) {
        return 0;
    }
    if (r->setup_had != NULL) {
        if (use_setup(l, r->setup_had, e) != 0) {
            return -1;
        }
        if (l->plan.setup_ready) {
            return 0;
        }
    }
    if (r->setup_made == NULL) {
        if (r->setup_had != NULL && launch_key_setup(l, e) != 0) {
            return -1;
        }
        r->setup_made = xstrdup(r->spec.setup_key);
    }
    return use_setup(l, r->setup_made, e);
}

/* ---- moving them ---- */

struct moving {
    struct progress *progress;
    struct forward_progress done;
    int64_t stored_bytes;
};

static void
forward_line(void *ctx, struct buf *out)
{
    struct moving *m = ctx;

    buf_add_str(out, _("passing the data set on: "));
    progress_at_most(out, m->done.bytes, m->stored_bytes,
                     progress_elapsed_ns(m->progress));
}

int
launch_move_set(struct cli *c, struct client *cl, struct session *to,
                const struct data_want *d, struct err *e)
{
    struct moving m = {.stored_bytes = d->stored_bytes};
    struct session *source = NULL;
    char size[TEXT_SIZE_MAX];
    int rc = -1;

    text_format_size((uint64_t)d->stored_bytes, size);
    say(c, _("data set %s (%s) goes from %s to %s first"), d->name, size, d->from,
        session_host(to)->name);
    m.progress = progress_start(c, cl->loop, forward_line, &m);
    if (context_session(cl, d->from, LAUNCH_EARLY_NS, &source, e) == 0) {
        rc = forward_snapshot(cl, source, to, d->id, true, &m.done, e);
    }
    progress_end(m.progress);
    session_close(source);
    return rc;
}

int
launch_move_data(struct launch *l, struct err *e)
{
    progress_end(l->progress);
    l->progress = NULL;
    for (size_t i = 0; i < l->r->n_data; i++) {
        if (l->r->data[i].from != NULL &&
            launch_move_set(l->c, l->cl, l->session, &l->r->data[i], e) != 0) {
            return -1;
        }
    }
    return 0;
}
