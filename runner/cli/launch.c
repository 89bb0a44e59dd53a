#include "runner/cli/launch.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/text.h"
#include "runner/cli/ending.h"
#include "runner/cli/out.h"
#include "runner/cli/plan.h"
#include "runner/cli/progress.h"
#include "runner/client/follow.h"
#include "runner/client/i18n.h"
#include "runner/client/lease.h"
#include "runner/client/ship.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define NS_PER_S    ((int64_t)1000000000)
#define PATIENCE_NS (1800 * NS_PER_S) /* with a job out there */
#define EARLY_NS    (120 * NS_PER_S)  /* before there is one */
#define POLL_NS     (5 * NS_PER_S)    /* --wait */

struct launch {
    struct cli *c;
    struct client *cl;
    const struct config *cfg;
    struct run_request *r;
    struct strings own_env; /* the request's, without the host's */
    struct place *place;
    struct session *session;
    struct ship *ship;
    struct plan plan;
    struct grant grant;
    struct buf spec_bytes;
    struct follow *follow;
    struct fetch *fetch;
    struct call *submit;
    struct progress *progress;
    struct job_record record;
    struct job_seen *seen;
    struct job_seen unmapped; /* where no file could be had */
    bool submitted;           /* asked at least once: who knows */
    bool accepted;
    bool refused; /* the host's answer to submit: refusal */
    bool said_down;
    int64_t ship_wall_ns; /* when reading began */
    struct err refusal;
};

/* ---- where ---- */

static int
list_hosts(const struct launch *l, struct host_list *out, struct err *e)
{
    struct host_list all = {NULL, 0};
    size_t n = 0;

    if (l->r->host != NULL) {
        out->v = xcalloc(1, sizeof *out->v);
        if (hosts_load(l->cl->home, l->r->host, &out->v[0], e) != 0) {
            free(out->v);
            return -1;
        }
        out->n = 1;
        return 0;
    }
    if (hosts_list(l->cl->home, true, &all, e) != 0) {
        return -1;
    }
    /* `local` is for machines that know no other host. */
    for (size_t i = 0; i < all.n && all.n > 1; i++) {
        if (all.v[i].local) {
            host_free(&all.v[i]);
        } else {
            all.v[n++] = all.v[i];
        }
    }
    all.n = all.n > 1 ? n : all.n;
    *out = all;
    return 0;
}

/* No fit is a matter of what was asked for, unless nobody could be asked. */
static int
no_place(struct launch *l, struct err *e)
{
    (void)place_explain(l->place, e);
    if (e->code != ERR_LINK) {
        l->c->stage = STAGE_INPUT;
    }
    return -1;
}

static int
wait_for_place(struct launch *l, struct err *e)
{
    int64_t end_ns = clock_boot_ns() + l->r->wait_ns;
    bool said = false;

    for (;;) {
        int64_t left = end_ns - clock_boot_ns();

        if (place_best(l->place) != NULL) {
            return 0;
        }
        if (left <= 0) {
            return no_place(l, e);
        }
        if (!said) {
            struct err why;

            (void)place_explain(l->place, &why);
            say(l->c, _("waiting: %s"), why.msg);
            said = true;
        }
        if (place_nap(l->place, left < POLL_NS ? left : POLL_NS, e) != 0 ||
            place_refresh(l->place, e) != 0) {
            return -1;
        }
    }
}

static int
find_place(struct launch *l, struct err *e)
{
    if (place_wait(l->place, e) != 0) {
        return -1;
    }
    if (place_best(l->place) == NULL) {
        return l->r->wait_ns == 0 ? no_place(l, e) : wait_for_place(l, e);
    }
    return 0;
}

/* ---- the plan ---- */

static void
set_env(struct launch *l, const struct host *h)
{
    struct job_spec *s = &l->r->spec;

    strings_free(&s->env);
    for (size_t i = 0; i < h->n_env; i++) {
        strings_add(&s->env, h->env[i]);
    }
    for (size_t i = 0; i < l->own_env.n; i++) {
        strings_add(&s->env, l->own_env.v[i]);
    }
}

static int
make_plan(struct launch *l, const struct candidate *chosen, struct err *e)
{
    struct plan *p = &l->plan;
    struct lease_want want = {.max_cost_fen = l->r->max_cost_fen,
                              .has_window = l->r->has_window};

    if (l->ship != NULL && ship_wait_built(l->ship, &p->ship, e) != 0) {
        l->c->stage = STAGE_INPUT;
        return -1;
    }
    want.keep_bytes = p->ship != NULL ? (int64_t)p->ship->totals.stored : 0;
    if (session_offer(l->session) == NULL) {
        return err_set(e, ERR_INVALID,
                       _("host '%s' makes no offer: nothing can run there"),
                       chosen->host);
    }
    p->request = l->r;
    p->place = l->place;
    p->chosen = chosen;
    p->host = session_host(l->session);
    p->info = session_info(l->session);
    p->offer = session_offer(l->session);
    p->keep_bytes = want.keep_bytes;
    p->transport = session_transport(l->session);
    p->grant = &l->grant;
    set_env(l, p->host);
    grant_clear(&l->grant);
    if (lease_make(&l->grant, l->cl->home, p->offer, chosen, &l->r->spec, &want, e) !=
            0 ||
        lease_can_run_s(&l->grant, want.keep_bytes, &p->can_run_s, e) != 0) {
        return -1;
    }
    return 0;
}

static int
print_plan(const struct launch *l, struct err *e)
{
    struct buf out = BUF_INIT;
    int rc;

    if (l->c->g.json) {
        plan_json(&l->plan, &out);
    } else {
        plan_page(&l->plan, &out);
    }
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

/* A question only where there is somebody, and only about real money. */
static bool
must_ask(const struct launch *l, int64_t cap_fen)
{
    return !l->c->g.yes && cap_fen > config_money_fen(l->cfg, "ask-above") &&
           ask_has_terminal(l->cl->ask);
}

static int
ask_user(struct launch *l, struct err *e)
{
    char money[OUT_MONEY_MAX];
    char *question;
    bool yes = false;
    int rc;

    if (!must_ask(l, l->grant.cap_fen)) {
        return 0;
    }
    question =
        xasprintf(_("It may cost up to %s. Run it?"), out_fen(l->grant.cap_fen, money));
    rc = ask_begin(l->cl->ask, -1, e);
    if (rc == 0) {
        rc = ask_yes_no(l->cl->ask, question, true, &yes, e);
        ask_end(l->cl->ask);
    }
    free(question);
    if (rc == 0 && !yes) {
        rc = err_set(e, ERR_DENIED, "%s", _("not started, as you wished"));
    }
    return rc;
}

/* ---- the flight ---- */

static void
on_submitted(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct launch *l = ctx;

    l->submit = NULL;
    if (resp != NULL) {
        l->accepted = true;
        l->c->stage = STAGE_CHANGED;
        session_set_patience(l->session, PATIENCE_NS);
        follow_job_exists(l->follow);
        if (l->r->detach) {
            struct err done;

            err_set(&done, ERR_NONE, "detached");
            follow_cancel(l->follow, &done);
        }
        return;
    }
    if (why->code == ERR_LINK) {
        return; /* asked again when the link is back */
    }
    l->refused = true;
    session_peer_error(why, hint, &l->refusal);
    follow_cancel(l->follow, &l->refusal);
}

static int
send_submit(struct launch *l, struct conn *c, struct err *e)
{
    struct rec *req = msg_request_new(VERB_JOB_SUBMIT);
    uint8_t key[MSG_KEY_LEN];
    struct sha256 h;
    int rc;

    /* The same key for the same submit, however often it is sent. */
    sha256_of(l->grant.lease, strlen(l->grant.lease), &h);
    memcpy(key, h.b, sizeof key);
    msg_add_key(req, key);
    rec_add_bytes(req, "spec", l->spec_bytes.data, l->spec_bytes.len);
    rec_add_bytes(req, "grant", l->grant.bytes.data, l->grant.bytes.len);
    for (size_t i = 0; i < l->r->secrets.n; i++) {
        rec_add(req, "secret", l->r->secrets.v[i]);
    }
    rc = call_start(&l->submit, c, req, -1, on_submitted, l, e);
    rec_free(req);
    return rc;
}

static void
on_before(void *ctx, struct conn *c, bool first)
{
    struct launch *l = ctx;
    struct err e;

    (void)first;
    if (!l->accepted) {
        call_cancel(l->submit);
        l->submit = NULL;
        if ((l->ship != NULL && ship_send(l->ship, l->session, c, &e) != 0) ||
            send_submit(l, c, &e) != 0) {
            if (e.code != ERR_LINK) {
                follow_cancel(l->follow, &e);
            }
            return;
        }
        l->submitted = true;
    }
    fetch_begin(l->fetch, c);
}

static void
on_state(void *ctx, const struct job_state *st)
{
    struct launch *l = ctx;

    l->accepted = true;
    if (st->phase >= JOB_RUNNING) {
        progress_end(l->progress);
        l->progress = NULL;
    }
    if (st->phase == JOB_STOPPING && st->reason != JOB_STOPPED &&
        st->reason != JOB_REASON_NONE) {
        say(l->c, _("the job is being stopped: %s%s%s"), job_reason_name(st->reason),
            st->detail != NULL ? ": " : "", st->detail != NULL ? st->detail : "");
    }
}

static void
on_down(void *ctx, const struct failure *why, int64_t retry_ns)
{
    struct launch *l = ctx;

    (void)retry_ns;
    if (!l->said_down) {
        ending_say_down(l->c, session_host(l->session)->name, why);
        l->said_down = true;
    }
}

static void
on_back(void *ctx)
{
    struct launch *l = ctx;

    l->said_down = false;
    ending_say_back(l->c, session_host(l->session)->name);
}

static void
on_interrupt(void *ctx, int times)
{
    struct launch *l = ctx;

    if (times == 1) {
        say_more(l->c, "%s", _("SIGINT sent to the job; again within a second stops it"));
    } else if (times == 2) {
        say(l->c,
            _("stopping the job (it has %lld s; `gpurun stop --now %s` does not wait)"),
            (long long)l->r->spec.window_s, l->r->spec.name);
    }
}

static void
on_gap(void *ctx, bool of_stderr, uint64_t from, uint64_t to)
{
    struct launch *l = ctx;

    say(l->c, _("%s: bytes %" PRIu64 " to %" PRIu64 " are no longer kept"),
        of_stderr ? "stderr" : "stdout", from, to);
}

static const struct follow_events follow_events = {
    .before = on_before,
    .state = on_state,
    .down = on_down,
    .back = on_back,
    .interrupt = on_interrupt,
    .gap = on_gap,
};

static void
progress_line(void *ctx, struct buf *out)
{
    struct launch *l = ctx;
    struct sync_stats st;
    uint64_t n;
    uint64_t bytes;
    char size[TEXT_SIZE_MAX];
    struct err e;

    if (l->session == NULL) {
        buf_add_str(out, _("asking the hosts"));
        return;
    }
    switch (l->ship != NULL ? ship_state(l->ship, &e) : SHIP_DONE) {
    case SHIP_BUILDING:
    case SHIP_BUILT:
        ship_scanned(l->ship, &n, &bytes);
        text_format_size(bytes, size);
        buf_printf(out, _("reading: %" PRIu64 " entries, %s"), n, size);
        break;
    case SHIP_SENDING:
        ship_stats(l->ship, &st);
        buf_add_str(out, _("sending: "));
        progress_amount(out, st.sent_bytes,
                        st.n_sent > 0 ? st.sent_bytes / st.n_sent * st.n_wanted : 0,
                        progress_elapsed_ns(l->progress));
        break;
    case SHIP_DONE:
        buf_add_str(out, _("waiting for the job to start"));
        break;
    case SHIP_NONE:
    case SHIP_FAILED:
        break;
    }
}

/* ---- record of the job ---- */

static int
save_record(struct launch *l, struct err *e)
{
    struct job_record *rec = &l->record;
    struct job_spec *s = &l->r->spec;
    char hex[SHA256_HEX_LEN + 1];

    job_record_free(rec);
    memcpy(rec->id, s->job, sizeof rec->id);
    rec->name = xstrdup(s->name);
    rec->host = xstrdup(session_host(l->session)->name);
    rec->command = request_command_line(&s->args);
    rec->dir = l->r->ships ? xstrdup(l->r->script.root) : NULL;
    if (s->has_tree) {
        sha256_format(&s->tree, hex);
        rec->tree = xstrdup(hex);
    }
    (void)snprintf(rec->lease, sizeof rec->lease, "%.13s", l->grant.lease);
    for (size_t i = 0; i < l->r->outs.n; i++) {
        strings_add(&rec->outs, l->r->outs.v[i]);
    }
    rec->shipped_wall_ns = l->ship_wall_ns;
    rec->made_wall_ns = clock_wall_ns();
    rec->cap_fen = l->grant.cap_fen;
    return jobs_save(l->cl->home, rec, e);
}

static int
encode_spec(struct launch *l, struct err *e)
{
    struct job_spec *s = &l->r->spec;
    struct rec *r;

    if (home_renter(l->cl->home, s->renter, e) != 0) {
        return -1;
    }
    s->has_tree = l->plan.ship != NULL;
    if (s->has_tree) {
        s->tree = l->plan.ship->tree;
    }
    r = spec_encode(s);
    buf_reset(&l->spec_bytes);
    rec_encode(r, &l->spec_bytes);
    rec_free(r);
    return 0;
}

/* A host met for the first time is known by its agent's key from now on. */
static void
pin_host(const struct launch *l)
{
    struct host h;
    struct err e;

    if (session_host(l->session)->pinned) {
        return;
    }
    host_copy(&h, session_host(l->session));
    h.pinned = true;
    h.key = session_info(l->session)->key;
    if (hosts_save(l->cl->home, &h, false, &e) != 0) {
        say(l->c, "%s", e.msg);
    }
    host_free(&h);
}

static int
prepare_follow(struct launch *l, struct err *e)
{
    struct follow_options o = {
        .job = l->r->spec.job,
        .want_out = !l->r->detach,
        .want_err = !l->r->detach && !l->r->spec.tty,
        .want_stdin = !l->r->detach,
        .tty = l->r->spec.tty,
        .events = &follow_events,
        .ctx = l,
    };

    if (jobs_seen_open(l->cl->home, l->r->spec.job, &l->seen, e) != 0) {
        say_more(l->c, "%s", e->msg);
    }
    o.seen = l->seen != NULL ? l->seen : &l->unmapped;
    return fetch_new(&l->fetch, l->cl, l->session, l->r->spec.job, e) == 0 &&
                   follow_new(&l->follow, l->cl, l->session, &o, e) == 0
               ? 0
               : -1;
}

static int
print_id(const struct launch *l, struct err *e)
{
    struct buf out = BUF_INIT;
    int rc;

    if (l->c->g.json) {
        struct json_writer j = json_to(&out);

        json_obj(&j);
        json_kstr(&j, "id", l->record.id);
        json_kstr(&j, "name", l->record.name);
        json_kstr(&j, "host", l->record.host);
        json_obj_end(&j);
        buf_add_str(&out, "\n");
    } else {
        buf_printf(&out, "%s\n", l->record.id);
    }
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

static void
end_attempt(struct launch *l)
{
    call_cancel(l->submit);
    l->submit = NULL;
    progress_end(l->progress);
    l->progress = NULL;
    follow_free(l->follow);
    l->follow = NULL;
    fetch_free(l->fetch);
    l->fetch = NULL;
    jobs_seen_close(l->seen);
    l->seen = NULL;
}

static int
finish(struct launch *l, const struct follow_result *r, struct err *e)
{
    struct ending en = {
        .c = l->c,
        .cl = l->cl,
        .session = l->session,
        .fetch = l->fetch,
        .record = &l->record,
        .bring = true,
        .known = l->accepted,
    };

    if (l->accepted && l->r->detach && r->end == FOLLOW_CANCELLED && !l->refused) {
        return print_id(l, e);
    }
    if (!l->accepted && l->submitted &&
        (r->end == FOLLOW_LINK || r->end == FOLLOW_SIGNAL) &&
        (l->ship == NULL || ship_state(l->ship, e) == SHIP_DONE)) {
        en.known = true; /* it was asked for, and nobody knows whether it was heard */
        l->c->stage = STAGE_CHANGED;
    }
    if (!en.known) {
        jobs_forget(l->cl->home, l->record.id);
    }
    return ending_of(&en, r, e);
}

/* One host: plan, ask, ship, submit, follow. *again: it was taken before us. */
static int
attempt(struct launch *l, const struct candidate *chosen, bool only_plan, bool *again,
        struct err *e)
{
    const struct follow_result *r;
    int rc = -1;

    *again = false;
    l->session = place_take(l->place, chosen);
    session_set_patience(l->session, EARLY_NS);
    if (make_plan(l, chosen, e) != 0) {
        return -1;
    }
    if (only_plan) {
        return print_plan(l, e);
    }
    progress_end(l->progress);
    l->progress = NULL;
    plan_remarks(l->c, &l->plan);
    if (ask_user(l, e) != 0 || encode_spec(l, e) != 0 || save_record(l, e) != 0) {
        return -1;
    }
    pin_host(l);
    if (prepare_follow(l, e) != 0) {
        goto out;
    }
    if (!l->r->spec.tty) {
        l->progress = progress_start(l->c, l->cl->loop, progress_line, l);
    }
    follow_start(l->follow);
    r = follow_run(l->follow);
    progress_end(l->progress);
    l->progress = NULL;
    if (l->refused && l->refusal.code == ERR_BUSY) {
        *again = true;
        *e = l->refusal;
        jobs_forget(l->cl->home, l->record.id);
        goto out;
    }
    rc = finish(l, r, e);

out:
    end_attempt(l);
    return rc;
}

static void
on_ship_changed(void *ctx)
{
    struct launch *l = ctx;
    struct err e;

    if (l->follow != NULL && !l->accepted && ship_state(l->ship, &e) == SHIP_FAILED) {
        follow_cancel(l->follow, &e);
    }
}

static int
start_ship(struct launch *l, bool only_plan, struct err *e)
{
    struct ship_options o = {
        .dir = l->r->script.root,
        .with_git = l->r->with_git,
        .allow_home = l->r->script.named,
        .measure = only_plan,
        .with = (const char *const *)l->r->with.v,
        .n_with = l->r->with.n,
        .changed = on_ship_changed,
        .ctx = l,
    };

    l->ship_wall_ns = clock_wall_ns();
    return l->r->ships ? ship_start(&l->ship, l->cl, &o, e) : 0;
}

static int
run_attempts(struct launch *l, bool only_plan, struct err *e)
{
    bool again = true;
    int rc = -1;

    while (again) {
        const struct candidate *chosen;

        if (find_place(l, e) != 0) {
            return -1;
        }
        l->c->stage = STAGE_TRYING;
        chosen = place_best(l->place);
        rc = attempt(l, chosen, only_plan, &again, e);
        if (again) {
            place_exclude(l->place, chosen->host, e->msg);
            session_close(l->session);
        }
        if (again || rc < 0) {
            l->refused = false;
        }
        if (!again) {
            break;
        }
        l->session = NULL;
        l->submitted = false;
    }
    return rc;
}

int
launch(struct cli *c, struct client *cl, const struct config *cfg, struct run_request *r,
       bool only_plan, struct err *e)
{
    struct launch l = {.c = c, .cl = cl, .cfg = cfg, .r = r};
    struct host_list hosts = {NULL, 0};
    int rc = -1;

    job_record_init(&l.record);
    grant_init(&l.grant);
    for (size_t i = 0; i < r->spec.env.n; i++) {
        strings_add(&l.own_env, r->spec.env.v[i]);
    }
    if (list_hosts(&l, &hosts, e) != 0 || place_open(&l.place, cl, &hosts, e) != 0 ||
        start_ship(&l, only_plan, e) != 0) {
        goto out;
    }
    l.progress = progress_start(c, cl->loop, progress_line, &l);
    c->stage = STAGE_TRYING;
    place_set_want(l.place, &r->want);
    rc = run_attempts(&l, only_plan, e);

out:
    end_attempt(&l);
    ship_free(l.ship);
    session_close(l.session);
    place_free(l.place);
    host_list_free(&hosts);
    grant_clear(&l.grant);
    buf_free(&l.spec_bytes);
    strings_free(&l.own_env);
    job_record_free(&l.record);
    return rc;
}
