#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/due.h"
#include "runner/cli/ending.h"
#include "runner/cli/out.h"
#include "runner/cli/parkview.h"
#include "runner/client/dispute.h"
#include "runner/client/hosts.h"
#include "runner/client/place.h"
#include "runner/client/told.h"
#include "runner/job/state.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define NS_PER_S ((int64_t)1000000000)

struct ps_options {
    bool all;
};

static const struct opt options_ps[] = {
    {"all", 'a', OPT_FLAG, offsetof(struct ps_options, all), NULL, N_("ended jobs too")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

/* A job as a host tells it, or as it was last known here while its host is silent. */
struct row {
    struct job_state st;
    struct job_record own; /* of a silent host's job */
    const char *host;
    bool silent;
};

struct listing {
    struct row *v;
    size_t n;
};

static struct row *
add_row(struct listing *l)
{
    l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
    memset(&l->v[l->n], 0, sizeof l->v[l->n]);
    state_init(&l->v[l->n].st);
    job_record_init(&l->v[l->n].own);
    return &l->v[l->n++];
}

static void
listing_free(struct listing *l)
{
    for (size_t i = 0; i < l->n; i++) {
        state_free(&l->v[i].st);
        job_record_free(&l->v[i].own);
    }
    free(l->v);
}

/* What a host says of another one's job is no news of that job. */
static void
drop_foreign(struct listing *l, const struct cli *c, const struct session *s)
{
    struct row *row = &l->v[l->n - 1];

    if (told_foreign(c->home, s, row->st.job)) {
        say(c, _("host '%s' tells of job %s, which is another host's: left out"),
            row->host, row->st.job);
        state_free(&row->st);
        l->n--;
    }
}

static int
ask_host(struct listing *l, const struct cli *c, struct session *s, bool all,
         struct err *e)
{
    struct rec *req = msg_request_new(VERB_JOB_LIST);
    struct rec *resp = NULL;
    int rc;

    rec_add_int(req, "all", all ? 1 : 0);
    rc = session_call(s, req, CONTEXT_ANSWER_NS, &resp, e);
    for (size_t i = 0; rc == 0 && i < rec_count(resp, "state"); i++) {
        struct row *row = add_row(l);

        row->host = session_host(s)->name;
        if (state_get(resp, i, &row->st, e) != 0) {
            l->n--;
            rc = err_wrap(e, _("host '%s' tells of a job in a way that cannot be read"),
                          row->host);
        } else {
            drop_foreign(l, c, s);
        }
    }
    rec_free(resp);
    rec_free(req);
    return rc;
}

static void
add_silent(struct listing *l, const struct cli *c, const char *host)
{
    struct job_list jobs = {NULL, 0};
    struct err e;

    if (jobs_list(c->home, &jobs, &e) != 0) {
        return;
    }
    for (size_t i = 0; i < jobs.n; i++) {
        struct job_record *j = &jobs.v[i];

        if (!j->final && strcmp(j->host, host) == 0) {
            struct row *row = add_row(l);

            row->own = *j;
            row->host = host;
            row->silent = true;
            job_record_init(j);
        }
    }
    job_list_free(&jobs);
}

static int64_t
made(const struct row *r)
{
    return r->silent ? r->own.made_wall_ns : r->st.made_wall_ns;
}

static int
newest_first(const void *a, const void *b)
{
    int64_t x = made(a);
    int64_t y = made(b);

    return x < y ? 1 : x > y ? -1 : 0;
}

/* ---- text ---- */

static void
cell_device(struct table *t, const struct job_state *st)
{
    const struct state_device *d = st->n_devices > 0 ? &st->devices[0] : NULL;

    bool cpu = d == NULL || strcmp(d->device_class, "cpu") == 0;
    char *text = cpu ? out_devices("cpu", "", st->count)
                     : out_devices(d->device_class, d->type, (int64_t)st->n_devices);

    table_cell(t, text);
    free(text);
}

static void
cell_times(struct table *t, const struct job_state *st, int64_t now)
{
    char text[TEXT_DURATION_MAX];
    int64_t end = st->ended_wall_ns > 0 ? st->ended_wall_ns : now;

    if (st->started_wall_ns > 0 && end >= st->started_wall_ns) {
        text_format_duration((end - st->started_wall_ns) / NS_PER_S, text);
        table_cell(t, text);
    } else {
        table_cell(t, NULL);
    }
}

static void
cell_can_run(struct table *t, const struct job_state *st, int64_t now)
{
    char text[TEXT_DURATION_MAX];
    int64_t left;

    if (st->can_run_s == JOB_NOT_SET || job_phase_is_final(st->phase)) {
        table_cell(t, NULL);
        return;
    }
    left = st->can_run_s;
    (void)now;
    text_format_duration(left > 0 ? left : 0, text);
    table_cell(t, text);
}

static void
text_row(struct table *t, const struct row *r, int64_t now)
{
    const struct job_state *st = &r->st;
    char phrase[JOB_PHRASE_MAX];
    char money[OUT_MONEY_MAX];

    if (r->silent) {
        table_cell(t, r->own.id);
        table_cell(t, r->own.name);
        table_cell(t, r->host);
        table_cell(t, NULL);
        table_cell(t, _("unknown: the host does not answer"));
        table_cell(t, NULL);
        table_cell(t, NULL);
        table_cell(t, r->own.cap_fen > 0 ? out_fen(r->own.cap_fen, money) : NULL);
        table_cell(t, NULL);
        table_cell(t, r->own.command);
        return;
    }
    job_phrase(st, phrase);
    table_cell(t, st->job);
    table_cell(t, st->name);
    table_cell(t, r->host);
    cell_device(t, st);
    table_cell(t, phrase);
    cell_times(t, st, now);
    table_cell(
        t, out_fen(st->charge_fen != JOB_NOT_SET ? st->charge_fen : st->cost_fen, money));
    table_cell(t, st->cap_fen > 0 ? out_fen(st->cap_fen, money) : NULL);
    cell_can_run(t, st, now);
    table_cell(t, st->command);
}

static void
print_text(const struct listing *l, struct buf *out)
{
    const char *headers[] = {_("ID"),       _("NAME"),    _("HOST"),  _("DEVICE"),
                             _("STATE"),    _(">RAN"),    _(">COST"), _(">CAP"),
                             _(">CAN RUN"), _("COMMAND"), NULL};
    struct table *t = table_new(headers);
    int64_t now = clock_wall_ns();

    table_narrow(t, "9730258", "93241");
    for (size_t i = 0; i < l->n; i++) {
        text_row(t, &l->v[i], now);
    }
    table_print(t, out);
    table_free(t);
}

static void
say_disputes(const struct cli *c, const struct listing *l)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct row *r = &l->v[i];
        const char *job = r->silent ? r->own.id : r->st.job;
        struct stopwatch claim;
        bool said = false;

        if (dispute_load(c->home, job, &claim)) {
            ending_say_dispute(c, &claim, job, r->host, &said);
        }
    }
}

/* ---- hosts that park themselves ---- */

/* NULL: it is silent. */
static const struct host_info *
host_said(const struct candidate *c)
{
    return session_state(c->session) == SESSION_UP ? session_info(c->session) : NULL;
}

static void
say_parking(const struct cli *c, const struct place *p)
{
    for (size_t i = 0; i < place_n(p); i++) {
        const struct candidate *cand = place_at(p, i);
        const struct host_info *info = host_said(cand);
        char *text = info != NULL ? parkview_text(cand->host, &info->park) : NULL;

        if (text != NULL) {
            say(c, "%s", text);
        }
        free(text);
    }
}

/* ---- JSON ---- */

static void
print_json(const struct cli *c, const struct listing *l, const struct place *p,
           const struct buf *silent, struct buf *out)
{
    struct json_writer w = json_to(out);
    struct json_writer *j = &w;

    json_obj(j);
    json_key(j, "jobs");
    json_arr(j);
    for (size_t i = 0; i < l->n; i++) {
        const struct row *r = &l->v[i];

        if (!r->silent) {
            ending_json_state(j, c->home, &r->st, r->host);
            continue;
        }
        json_obj(j);
        json_kstr(j, "id", r->own.id);
        json_kstr(j, "name", r->own.name);
        json_kstr(j, "host", r->host);
        json_kstr(j, "state", "unknown");
        json_kstr(j, "command", r->own.command);
        json_obj_end(j);
    }
    json_arr_end(j);
    json_kstr(j, "silent_hosts", buf_str(silent));
    due_json(j, c->home);
    json_key(j, "parking");
    json_arr(j);
    for (size_t i = 0; i < place_n(p); i++) {
        const struct host_info *info = host_said(place_at(p, i));

        if (info != NULL && info->park.phase != PARK_NONE) {
            json_obj(j);
            json_kstr(j, "host", place_at(p, i)->host);
            park_json(j, &info->park);
            json_obj_end(j);
        }
    }
    json_arr_end(j);
    json_obj_end(j);
    buf_add_str(out, "\n");
}

static int
collect(const struct cli *c, struct place *p, bool all, struct listing *l,
        struct buf *silent, struct err *e)
{
    for (size_t i = 0; i < place_n(p); i++) {
        const struct candidate *cand = place_at(p, i);

        if (session_state(cand->session) != SESSION_UP ||
            ask_host(l, c, cand->session, all, e) != 0) {
            const char *why = session_state(cand->session) == SESSION_UP
                                  ? e->msg
                                  : session_why(cand->session)->err.msg;

            say(c, "%s", why);
            buf_printf(silent, "%s%s", silent->len > 0 ? " " : "", cand->host);
            add_silent(l, c, cand->host);
        }
    }
    if (l->n > 0) {
        qsort(l->v, l->n, sizeof *l->v, newest_first);
    }
    return 0;
}

static int
run_ps(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct ps_options *o = options;
    struct client cl = {.loop = NULL};
    struct host_list hosts = {NULL, 0};
    struct listing l = {NULL, 0};
    struct place *p = NULL;
    struct buf out = BUF_INIT;
    struct buf silent = BUF_INIT;
    int rc = -1;

    (void)w;
    if (hosts_list_used(c->home, &hosts, e) != 0) {
        return -1;
    }
    c->stage = STAGE_TRYING;
    if (context_open(&cl, c, e) == 0 && place_open(&p, &cl, &hosts, e) == 0 &&
        place_ask_all(p, e) == 0 && collect(c, p, o->all, &l, &silent, e) == 0) {
        if (c->g.json) {
            print_json(c, &l, p, &silent, &out);
        } else {
            print_text(&l, &out);
            say_parking(c, p);
            say_disputes(c, &l);
        }
        rc = out_write(&out, e);
        due_pay_place(c, &cl, p);
    }
    listing_free(&l);
    place_free(p);
    context_close(&cl);
    host_list_free(&hosts);
    buf_free(&silent);
    buf_free(&out);
    return rc;
}

const struct command cmd_ps = {
    .name = "ps",
    .usage = N_("[-a]"),
    .help = N_("list the jobs: state, cost so far, cap, how long they can run"),
    .options = options_ps,
    .options_size = sizeof(struct ps_options),
    .run = run_ps,
};
