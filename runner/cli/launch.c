#include "runner/cli/launch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/lang.h"
#include "runner/cli/context.h"
#include "runner/cli/due.h"
#include "runner/cli/ending.h"
#include "runner/cli/launch_internal.h"
#include "runner/cli/out.h"
#include "runner/client/hosts.h"
#include "runner/client/lease.h"

/* ---- the plan ---- */

/*
 * Sending is free, and the host keeps what it gets only with the tree that comes last: so
 * it begins while the rest is still being read, unless somebody may yet say no.
 */
static int
send_early(struct launch *l, struct err *e)
{
    const struct offer *o = session_offer(l->session);
    struct conn *c = session_conn(l->session);
    bool may_ask = !l->c->g.yes && ask_has_terminal(l->cl->ask);

    if (l->ship == NULL || o == NULL || c == NULL || (may_ask && !o->free) ||
        ship_state(l->ship, e) != SHIP_BUILDING) {
        return 0;
    }
    return ship_send(l->ship, l->session, c, e);
}

void
launch_set_env(struct job_spec *s, const struct strings *own, const struct host *h)
{
    strings_free(&s->env);
    for (size_t i = 0; i < h->n_env; i++) {
        strings_add(&s->env, h->env[i]);
    }
    strings_add_all(&s->env, own);
}

static int
make_plan(struct launch *l, const struct candidate *chosen, struct err *e)
{
    struct plan *p = &l->plan;
    struct err none;
    struct lease_want want = {.max_cost_fen = l->r->max_cost_fen,
                              .ceiling = l->r->cost_ceiling,
                              .has_window = l->r->has_window};

    if (l->ship != NULL && ship_wait_built(l->ship, &p->ship, e) != 0) {
        l->c->stage = STAGE_INPUT;
        return -1;
    }
    want.keep_bytes = p->ship != NULL ? (int64_t)p->ship->totals.stored : 0;
    if (session_offer(l->session) == NULL) {
        return err_set(e, ERR_INVALID,
                       _("host '%s' makes no offer, so nothing can run there; "
                         "`gpurun-agent doctor` on it says why"),
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
    grant_clear(&l->grant);
    if (lease_make(&l->grant, l->cl, l->purse, p->offer, chosen, &l->r->spec, &want, e) !=
        0) {
        return -1;
    }
    p->can_run_s = lease_can_run_s(&l->grant, want.keep_bytes);
    p->asks = launch_asks(l->c, l->cfg, l->grant.cap_fen);
    p->needs_word = launch_check_unasked(l->c, l->cfg, l->r->cost_unasked,
                                         l->grant.cap_fen, &none) != 0;
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

bool
launch_asks(const struct cli *c, const struct config *cfg, int64_t cap_fen)
{
    return !c->g.yes && cap_fen > config_money_fen(cfg, "ask-above");
}

int
launch_check_unasked(const struct cli *c, const struct config *cfg, bool unasked,
                     int64_t cap_fen, struct err *e)
{
    char money[OUT_MONEY_MAX];

    if (!unasked || !launch_asks(c, cfg, cap_fen)) {
        return 0;
    }
    return err_set(e, ERR_INVALID,
                   _("the project file chose what may cost up to %s, more than "
                     "ask-above: give --max-cost or -y with the command"),
                   out_fen(cap_fen, money));
}

static int
ask_user(struct launch *l, struct err *e)
{
    char money[OUT_MONEY_MAX];
    char *question;
    bool yes = false;
    int rc;

    if (!launch_asks(l->c, l->cfg, l->grant.cap_fen) || !ask_has_terminal(l->cl->ask)) {
        return launch_check_unasked(l->c, l->cfg, l->r->cost_unasked, l->grant.cap_fen,
                                    e);
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

/* ---- record of the job ---- */

void
launch_fill_record(struct job_record *rec, const struct run_request *r,
                   const struct host *h, const struct grant *g, int64_t ship_wall_ns,
                   const struct buf *spec)
{
    const struct job_spec *s = &r->spec;
    char hex[SHA256_HEX_LEN + 1];

    job_record_free(rec);
    memcpy(rec->id, s->job, sizeof rec->id);
    rec->name = xstrdup(s->name);
    rec->host = xstrdup(h->name);
    rec->command = s->title != NULL ? xstrdup(s->title) : request_command_line(&s->args);
    rec->notify = r->notify != NULL ? xstrdup(r->notify) : NULL;
    rec->dir = r->ships ? xstrdup(r->script.root) : NULL;
    if (s->has_tree) {
        sha256_format(&s->tree, hex);
        rec->tree = xstrdup(hex);
    }
    (void)snprintf(rec->lease, sizeof rec->lease, "%.13s", g->lease);
    strings_add_all(&rec->outs, &r->outs);
    rec->shipped_wall_ns = ship_wall_ns;
    rec->made_wall_ns = clock_wall_ns();
    rec->cap_fen = g->cap_fen;
    buf_add(&rec->spec, spec->data, spec->len);
    clock_boot_id(rec->unsent);
}

static int
save_record(struct launch *l, struct err *e)
{
    launch_fill_record(&l->record, l->r, session_host(l->session), &l->grant,
                       l->ship_wall_ns, &l->spec_bytes);
    if (!l->r->for_data) {
        due_expect(l->c, l->cl, session_host(l->session), &l->record, &l->r->spec,
                   l->r->detach);
    }
    return jobs_save(l->cl->home, &l->record, e);
}

static int
encode_spec(struct launch *l, struct err *e)
{
    struct job_spec *s = &l->r->spec;
    struct rec *r;

    if (home_renter(l->cl->home, s->renter, e) != 0) {
        return -1;
    }
    request_name_data(l->r);
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

static int
prepare_follow(struct launch *l, struct err *e)
{
    struct follow_options o = {
        .job = l->r->spec.job,
        .want_out = !l->r->detach,
        .want_err = !l->r->detach && !l->r->spec.tty,
        .want_stdin = !l->r->detach,
        .tty = l->r->spec.tty,
        .events = &launch_follow_events,
        .ctx = l,
    };
    bool tells; /* nobody else knows of the job yet */

    if (jobs_seen_open(l->cl->home, l->r->spec.job, &l->seen, &l->seen_lock, &tells, e) !=
        0) {
        say_more(l->c, "%s", e->msg);
    }
    o.seen = l->seen != NULL ? l->seen : &l->unmapped;
    l->alerts.notify = l->r->notify;
    l->alerts.told = &o.seen->told;
    if (fetch_new(&l->fetch, l->cl, l->session, l->r->spec.job, e) != 0) {
        return -1;
    }
    fetch_unsubmitted(l->fetch);
    fetch_on_point(l->fetch, launch_checkpoint, l);
    return follow_new(&l->follow, l->cl, l->session, &o, e);
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
    call_cancel(l->ack);
    l->ack = NULL;
    progress_end(l->progress);
    l->progress = NULL;
    launch_close_ports(l);
    follow_free(l->follow);
    l->follow = NULL;
    fetch_free(l->fetch);
    l->fetch = NULL;
    jobs_seen_close(l->seen, &l->seen_lock);
    l->seen = NULL;
    (void)fd_close(&l->wallet_guard);
}

void
launch_forget(const struct cli *c, const struct client *cl, struct purse *purse,
              struct session *s, const struct grant *g, const char *job,
              const struct err *why)
{
    bool up = s != NULL && session_state(s) == SESSION_UP;
    struct err e;

    if (purse_release(purse, up ? s : NULL, g, &e) != 0 &&
        (why == NULL || strcmp(e.msg, why->msg) != 0)) {
        say(c, "%s", e.msg);
    }
    jobs_forget(cl->home, job);
}

static void
forget(const struct launch *l, const struct err *why)
{
    launch_forget(l->c, l->cl, l->purse, l->session, &l->grant, l->record.id, why);
}

/* Hold the cap; from then on the host may be asked. */
static int
hold(struct launch *l, struct err *e)
{
    int rc = -1;

    if (purse_hold(l->purse, &l->grant, session_offer(l->session), e) != 0 ||
        prepare_follow(l, e) != 0) {
        return -1;
    }
    l->record.unsent[0] = '\0';
    rc = l->wallet_guard != -1 ? jobs_save(l->cl->home, &l->record, e) : 0;
    (void)fd_close(&l->wallet_guard);
    return rc;
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
        .for_data = l->r->for_data,
        .known = l->accepted,
        .said_dispute = l->said_dispute,
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
        forget(l, NULL);
    }
    return ending_of(&en, r, e);
}

/* One host: plan, ask, ship, submit, follow. *again: it was taken before us. */
static int
attempt(struct launch *l, const struct candidate *chosen, bool only_plan, bool *again,
        struct err *e)
{
    const struct follow_result *r;
    struct due_live *live;
    int rc = -1;

    *again = false;
    l->session = place_take(l->place, chosen);
    session_set_patience(l->session, LAUNCH_EARLY_NS);
    launch_set_env(&l->r->spec, &l->own_env, session_host(l->session));
    if (launch_find_data(l, e) != 0 || launch_find_setup(l, e) != 0 ||
        (!only_plan && send_early(l, e) != 0) || make_plan(l, chosen, e) != 0) {
        return -1;
    }
    if (only_plan) {
        return print_plan(l, e);
    }
    progress_end(l->progress);
    l->progress = NULL;
    plan_remarks(l->c, &l->plan);
    if (ask_user(l, e) != 0 || launch_move_from(l, e) != 0 ||
        launch_move_data(l, e) != 0 || encode_spec(l, e) != 0 ||
        purse_begin(l->purse, &l->wallet_guard, e) != 0 || save_record(l, e) != 0) {
        return -1;
    }
    context_pin_host(l->c, l->cl, l->session);
    if (hold(l, e) != 0) {
        forget(l, e);
        goto out;
    }
    if (!l->r->spec.tty) {
        l->progress = progress_start(l->c, l->cl->loop, launch_progress_line, l);
    }
    follow_start(l->follow);
    live = due_live_new(l->c, l->cl, l->session);
    due_live_add(live, l->record.id, l->r->spec.snap_every_s);
    r = follow_run(l->follow);
    due_live_end(live);
    progress_end(l->progress);
    l->progress = NULL;
    if (l->refused && l->refusal.code == ERR_BUSY) {
        *again = true;
        *e = l->refusal;
        forget(l, NULL);
        goto out;
    }
    rc = finish(l, r, e);

out:
    end_attempt(l);
    return rc;
}

static int
start_ship(struct launch *l, bool only_plan, struct err *e)
{
    struct ship_options o = {
        .dir = l->r->script.root,
        .with_git = l->r->with_git,
        .allow_home = l->r->script.named,
        .measure = only_plan,
        .for_job = l->r->from == NULL && l->r->spec.from[0] == '\0',
        .with = (const char *const *)l->r->with.v,
        .n_with = l->r->with.n,
        .changed = launch_ship_changed,
        .ctx = l,
    };

    l->ship_wall_ns = clock_wall_ns();
    return l->r->ships ? ship_start(&l->ship, l->cl, &o, e) : 0;
}

/* The host did not take the data, and may take it later: read again, for another. */
static int
ship_anew(struct launch *l, struct err *e)
{
    ship_free(l->ship);
    l->ship = NULL;
    l->c->stage = STAGE_TRYING;
    return start_ship(l, false, e);
}

static int
run_attempts(struct launch *l, bool only_plan, struct err *e)
{
    bool again = true;
    int rc = -1;

    while (again) {
        const struct candidate *chosen;

        if (launch_find_place(l, e) != 0) {
            return -1;
        }
        launch_prefer_data(l);
        l->c->stage = STAGE_TRYING;
        chosen = place_best(l->place);
        if (place_check_paid(l->place, chosen, e) != 0) {
            return -1;
        }
        rc = attempt(l, chosen, only_plan, &again, e);
        if (rc < 0 && !again && l->ship != NULL && ship_was_put_off(l->ship)) {
            again = true;
        }
        if (again) {
            place_exclude(l->place, chosen->host, e->msg);
            session_close(l->session);
            if (l->ship != NULL && ship_was_put_off(l->ship) && ship_anew(l, e) != 0) {
                l->session = NULL;
                return -1;
            }
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
    struct launch l = {
        .c = c, .cl = cl, .cfg = cfg, .r = r, .seen_lock = -1, .wallet_guard = -1};
    struct host_list hosts = {NULL, 0};
    int rc = -1;

    job_record_init(&l.record);
    grant_init(&l.grant);
    strings_add_all(&l.own_env, &r->spec.env);
    if (purse_open(&l.purse, cl, e) != 0 ||
        (r->named && launch_check_name(c, cl, r->spec.name, e) != 0) ||
        launch_list_hosts(&l, &hosts, e) != 0 ||
        place_open(&l.place, cl, &hosts, e) != 0 || start_ship(&l, only_plan, e) != 0) {
        goto out;
    }
    l.progress = progress_start(c, cl->loop, launch_progress_line, &l);
    c->stage = STAGE_TRYING;
    if (launch_find_from(&l, e) != 0) {
        goto out;
    }
    place_set_want(l.place, &r->want);
    rc = run_attempts(&l, only_plan, e);

out:
    end_attempt(&l);
    ship_free(l.ship);
    session_close(l.session);
    place_free(l.place);
    purse_close(l.purse);
    host_list_free(&hosts);
    snap_infos_free(&l.sets);
    grant_clear(&l.grant);
    buf_free(&l.spec_bytes);
    strings_free(&l.own_env);
    job_record_free(&l.record);
    return rc;
}
