#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/out.h"
#include "runner/cli/refused.h"
#include "runner/cli/reserve_choose.h"
#include "runner/cli/reserve_job.h"
#include "runner/cli/reserveview.h"
#include "runner/client/ask.h"
#include "runner/client/booked.h"
#include "runner/client/config.h"

#define NS_PER_S    ((int64_t)1000000000)
#define ORDER_TRIES 5

struct reserve_options {
    bool day, week, month, year;
    const char *host;
    const char *device;
    bool dry_run;
};

static const struct opt options_reserve[] = {
    {"day", 0, OPT_FLAG, offsetof(struct reserve_options, day), NULL,
     N_("for N times 24 hours")},
    {"week", 0, OPT_FLAG, offsetof(struct reserve_options, week), NULL,
     N_("for N times 7 days")},
    {"month", 0, OPT_FLAG, offsetof(struct reserve_options, month), NULL,
     N_("for N times 30 days")},
    {"year", 0, OPT_FLAG, offsetof(struct reserve_options, year), NULL,
     N_("for N times 365 days")},
    {"host", 0, OPT_STR, offsetof(struct reserve_options, host), "NAME",
     N_("on this host only (default: the cheapest that has it free)")},
    {"device", 0, OPT_STR, offsetof(struct reserve_options, device), "CLASS:TYPE[:N]",
     N_("in place of TYPE, which is one of GPUs")},
    {"dry-run", 'n', OPT_FLAG, offsetof(struct reserve_options, dry_run), NULL,
     N_("say what it would cost or bring back, and stop")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

/* One call of the command. */
struct desk {
    struct cli *c;
    const struct reserve_options *o;
    struct client cl;
    struct config *cfg;
    struct purse *purse;
    struct session *session; /* with the host it is about */
    struct reservation *was;
    struct booking b;
};

static void
desk_close(struct desk *d)
{
    order_clear(&d->b.order);
    reservation_free(d->was);
    session_close(d->session);
    purse_close(d->purse);
    context_close(&d->cl);
    config_free(d->cfg);
}

static int
desk_open(struct desk *d, struct err *e)
{
    size_t n = 0;
    struct err why;

    order_init(&d->b.order);
    if (config_open(&d->cfg, d->c->home, e) != 0 || context_open(&d->cl, d->c, e) != 0) {
        return -1;
    }
    d->c->stage = STAGE_TRYING;
    /* What an earlier call left behind comes first: it may hold the money. */
    if (booked_sync(&d->cl, &n, &why) != 0) {
        say(d->c, "%s", why.msg);
    }
    refused_say(d->c);
    return 0;
}

/* ---- asking ---- */

static int64_t
host_now_s(const struct session *s)
{
    return session_info(s)->wall_ns / NS_PER_S;
}

static int
confirm(struct desk *d, struct err *e)
{
    bool asks = !d->c->g.yes && ask_has_terminal(d->cl.ask) &&
                (d->b.fen < 0 || d->b.order.act == ORDER_REFUND ||
                 d->b.fen > config_money_fen(d->cfg, "ask-above"));
    bool yes = false;
    int rc;

    if (!asks) {
        return 0;
    }
    rc = ask_begin(d->cl.ask, -1, e);
    if (rc == 0) {
        rc = ask_yes_no(d->cl.ask, _("Do it?"), true, &yes, e);
        ask_end(d->cl.ask);
    }
    if (rc == 0 && !yes) {
        rc = err_set(e, ERR_DENIED, "%s", _("nothing was ordered, as you wished"));
    }
    return rc;
}

/*
 * Other devices cost less the less time is left: the price of the moment, as the host
 * reckons it when the order arrives. *moved: it is below what was agreed to by now.
 */
static int
price_now(struct desk *d, bool *moved, struct err *e)
{
    int64_t agreed_fen = d->b.fen;

    *moved = false;
    if (d->b.order.act != ORDER_CHANGE) {
        return 0;
    }
    if (session_refresh(d->session, e) != 0 ||
        booked_quote(&d->b, d->was, session_offer(d->session), host_now_s(d->session),
                     e) != 0) {
        return -1;
    }
    *moved = d->b.fen < agreed_fen;
    if (d->b.fen > agreed_fen) {
        return err_set(e, ERR_DENIED, "%s",
                       _("the price has gone up meanwhile: nothing was ordered"));
    }
    return 0;
}

/* Order, and again where a fen went by while the order was on its way. */
static int
order(struct desk *d, struct reservation **r, struct err *e)
{
    bool moved;
    int rc = price_now(d, &moved, e);

    for (int n = 0; rc == 0; n++) {
        struct err why;

        rc = booked_order(&d->cl, d->purse, d->session, &d->b, r, e);
        if (rc == 0 || e->code != ERR_DENIED || n == ORDER_TRIES ||
            price_now(d, &moved, &why) != 0 || !moved) {
            break;
        }
        rc = 0;
    }
    return rc;
}

/* What was bought is for a job that runs: from now on it costs nothing by the hour. */
static int
put_job(struct desk *d, const char *job, const char *reservation, struct err *e)
{
    d->c->stage = STAGE_CHANGED;
    if (reserve_job_put(d->session, job, reservation, e) != 0) {
        return err_wrap(e,
                        _("reservation %s holds, but job %s is not on it: the same "
                          "command again buys nothing and tries anew"),
                        reservation, job);
    }
    say(d->c, _("job %s runs on reservation %s from now on"), job, reservation);
    return 0;
}

/* The order is filled: say what it costs, ask, do it, show what there is now. */
static int
carry_out(struct desk *d, struct err *e)
{
    const struct host *h = session_host(d->session);
    struct reservation *r = NULL;
    int rc;

    reserveview_quote(d->c, &d->b, d->was, h->name);
    if (d->o->dry_run) {
        return reserveview_print_quote(d->c, &d->b, h->name, e);
    }
    if (confirm(d, e) != 0 || purse_open(&d->purse, &d->cl, e) != 0) {
        return -1;
    }
    context_pin_host(d->c, &d->cl, d->session);
    rc = order(d, &r, e);
    if (rc == 0 || (d->b.sent && e->code == ERR_LINK)) {
        d->c->stage = STAGE_CHANGED;
    }
    if (rc != 0 && d->b.sent && e->code == ERR_LINK) {
        err_wrap(e, _("nobody knows whether it was ordered (`gpurun reserve ls` asks)"));
    }
    if (rc == 0 && d->b.job[0] != '\0') {
        rc = put_job(d, d->b.job, r->id, e);
    }
    if (rc == 0) {
        rc = reserveview_made(d->c, r, h->name, e);
    }
    reservation_free(r);
    return rc;
}

/* ---- to buy ---- */

static int
unit_of(const struct reserve_options *o, enum reserve_unit *unit, struct err *e)
{
    if (o->day + o->week + o->month + o->year != 1) {
        return err_set(e, ERR_INVALID, "%s",
                       _("for how long? One of --day, --week, --month and --year"));
    }
    *unit = o->day     ? RESERVE_DAY
            : o->week  ? RESERVE_WEEK
            : o->month ? RESERVE_MONTH
                       : RESERVE_YEAR;
    return 0;
}

static int
parse_n(const char *text, int64_t *n, struct err *e)
{
    *n = 1;
    return text == NULL ? 0 : text_parse_int(text, 1, ORDER_UNITS_MAX, "N", n, e);
}

static int
choose(struct desk *d, const struct device_want *want, enum reserve_unit unit,
       struct err *e)
{
    struct reserve_choice choice = {.order = &d->b.order};

    if (reserve_choose(d->c, &d->cl, d->o->host, want, unit, &choice, e) != 0) {
        d->c->stage = choice.reached ? STAGE_INPUT : d->c->stage;
        return -1;
    }
    d->session = choice.session;
    return 0;
}

static int
buy(struct desk *d, const struct words *w, struct err *e)
{
    bool named = d->o->device != NULL;
    struct device_want want;
    enum reserve_unit unit = RESERVE_NONE;
    int at = named ? 0 : 1;
    int64_t n = 1;

    if (unit_of(d->o, &unit, e) != 0 ||
        (named ? device_want_parse(&want, d->o->device, e)
               : device_want_parse_gpu(&want, w->v[0], e)) != 0 ||
        parse_n(w->n > at ? w->v[at] : NULL, &n, e) != 0) {
        return -1;
    }
    if (w->n > at + 1) {
        return err_set(e, ERR_INVALID, _("'%s' is one word too many"), w->v[at + 1]);
    }
    if (strcmp(want.device_class, "cpu") == 0) {
        return err_set(e, ERR_INVALID, "%s",
                       _("cores are shared: they cannot be reserved"));
    }
    if (desk_open(d, e) != 0 || choose(d, &want, unit, e) != 0) {
        return -1;
    }
    d->b.order.n = n;
    if (booked_quote(&d->b, NULL, session_offer(d->session), host_now_s(d->session), e) !=
        0) {
        return -1;
    }
    return carry_out(d, e);
}

/* ---- what was bought ---- */

/* An order goes on from what the host has: its owner may have broken it meanwhile. */
static int
learn(struct desk *d, struct err *e)
{
    struct reservation *now = NULL;

    if (booked_fetch(&d->cl, d->session, d->was->id, &now, e) != 0) {
        return -1;
    }
    reservation_free(d->was);
    d->was = now;
    return 0;
}

/* The reservation as its host has it now, and a session there. */
static int
meet_host(struct desk *d, const char *what, struct err *e)
{
    if (desk_open(d, e) != 0) {
        return -1;
    }
    if (booked_find(d->c->home, what, &d->was, e) != 0) {
        d->c->stage = STAGE_INPUT;
        return -1;
    }
    return session_open_by_key(&d->session, &d->cl, &d->was->host, CONTEXT_PATIENCE_NS,
                               e) == 0
               ? learn(d, e)
               : -1;
}

static int
change(struct desk *d, enum order_act act, const struct words *w, struct err *e)
{
    struct order *o = &d->b.order;
    struct device_want want;
    const struct offer *offer;

    if (act == ORDER_CHANGE) {
        int rc = d->o->device != NULL ? device_want_parse(&want, d->o->device, e)
                                      : device_want_parse_gpu(&want, w->v[2], e);

        if (rc != 0) {
            return -1;
        }
    }
    if (meet_host(d, w->v[1], e) != 0) {
        return -1;
    }
    order_init(o);
    o->act = act;
    offer = act == ORDER_REFUND ? NULL : session_offer(d->session);
    if (act == ORDER_RENEW && parse_n(w->n > 2 ? w->v[2] : NULL, &o->n, e) != 0) {
        return -1;
    }
    if (act == ORDER_CHANGE) {
        (void)snprintf(o->class_name, sizeof o->class_name, "%.32s", want.device_class);
        o->n_devices = want.count;
        if (reserveview_type(session_info(d->session), &want, o->type, e) != 0) {
            d->c->stage = STAGE_INPUT;
            return -1;
        }
    }
    if (act != ORDER_REFUND && offer == NULL) {
        return err_set(e, ERR_NOT_FOUND, "%s", _("the host makes no offer"));
    }
    return booked_quote(&d->b, d->was, offer, host_now_s(d->session), e) == 0
               ? carry_out(d, e)
               : -1;
}

/* The job's devices are paid in front already: it has but to go over. */
static int
put_covered(struct desk *d, const char *job, const char *id, struct err *e)
{
    if (booked_find(d->c->home, id, &d->was, e) != 0) {
        return -1;
    }
    if (d->o->dry_run) {
        say(d->c, _("reservation %s covers job %s: nothing would be bought"), id, job);
    } else if (put_job(d, job, id, e) != 0) {
        return -1;
    }
    return reserveview_made(d->c, d->was, session_host(d->session)->name, e);
}

/*
 * From paying by the hour to time paid in front, for a job that goes on: what it has cost
 * so far stays on its bill.
 */
static int
switch_devices(struct desk *d, const char *job, const struct job_state *st,
               enum reserve_unit unit, int64_t n, struct err *e)
{
    const struct offer *offer = session_offer(d->session);
    struct order *o = &d->b.order;
    char id[GRANT_ID_MAX + 1];

    if (reserve_job_covered(d->c->home, d->session, st, id)) {
        return put_covered(d, job, id, e);
    }
    if (offer == NULL) {
        return err_set(e, ERR_NOT_FOUND, "%s", _("the host makes no offer"));
    }
    o->act = ORDER_BUY;
    (void)snprintf(o->class_name, sizeof o->class_name, "%.32s",
                   st->devices[0].device_class);
    (void)snprintf(o->type, sizeof o->type, "%.32s", st->devices[0].type);
    (void)snprintf(o->unit, sizeof o->unit, "%s", reserve_unit_name(unit));
    o->n_devices = (int64_t)st->n_devices;
    o->n = n;
    memcpy(d->b.job, job, sizeof d->b.job);
    return booked_quote(&d->b, NULL, offer, host_now_s(d->session), e) == 0
               ? carry_out(d, e)
               : -1;
}

static int
switch_job(struct desk *d, const struct words *w, struct err *e)
{
    enum reserve_unit unit = RESERVE_NONE;
    struct job_record job;
    struct job_state st;
    int64_t n = 1;
    int rc = -1;

    if (unit_of(d->o, &unit, e) != 0 || parse_n(w->n > 2 ? w->v[2] : NULL, &n, e) != 0 ||
        desk_open(d, e) != 0) {
        return -1;
    }
    job_record_init(&job);
    state_init(&st);
    if (context_job(d->c, &d->cl, w->v[1], CONTEXT_PATIENCE_NS, &job, &d->session, e) ==
        0) {
        d->c->stage = STAGE_TRYING;
        rc = reserve_job_devices(d->session, job.id, &st, e) == 0
                 ? switch_devices(d, job.id, &st, unit, n, e)
                 : -1;
    }
    state_free(&st);
    job_record_free(&job);
    return rc;
}

/* ---- looking ---- */

static int
look_all(struct desk *d, struct err *e)
{
    struct booked_list l = {.v = NULL};
    int rc = booked_list(d->c->home, &l, e) == 0 ? reserveview_list(d->c, &l, e) : -1;

    for (size_t i = 1; rc == 0 && i < l.wrong.n; i++) {
        say(d->c, "%s", l.wrong.v[i]);
    }
    if (rc == 0 && l.wrong.n > 0) {
        rc = err_set(e, ERR_CORRUPT, "%s", l.wrong.v[0]);
    }
    booked_free(&l);
    return rc;
}

/* While it holds its host is asked how it stands; where it cannot be, what is kept here
 * is shown, with a word of warning. */
static int
look_at_one(struct desk *d, const char *what, struct err *e)
{
    struct err why;

    if (booked_find(d->c->home, what, &d->was, e) != 0) {
        d->c->stage = STAGE_INPUT;
        return -1;
    }
    if (reservation_holds(d->was, clock_wall_ns() / NS_PER_S) &&
        (session_open_by_key(&d->session, &d->cl, &d->was->host, 0, &why) != 0 ||
         learn(d, &why) != 0)) {
        say(d->c, _("as it was last heard of: %s"), why.msg);
    }
    return reserveview_show(d->c, d->was, e);
}

static int
look(struct desk *d, const char *what, struct err *e)
{
    if (desk_open(d, e) != 0) {
        return -1;
    }
    return what == NULL ? look_all(d, e) : look_at_one(d, what, e);
}

/* Whichever host has it was asked (desk_open): what is damaged still can only be left. */
static int
forget(struct desk *d, const char *what, struct err *e)
{
    char id[JOB_ID_LEN + 1];

    if (desk_open(d, e) != 0) {
        return -1;
    }
    if (booked_forget(d->c->home, what, id, e) != 0) {
        d->c->stage = STAGE_INPUT;
        return -1;
    }
    say(d->c, _("reservation %s is left out from now on"), id);
    return 0;
}

static int
dispatch(struct desk *d, const struct words *w, struct err *e)
{
    static const struct {
        const char *word;
        enum order_act act;
        int min, max; /* words, with itself */
    } verbs[] = {
        {"ls", ORDER_NONE, 1, 1},       {"show", ORDER_NONE, 2, 2},
        {"renew", ORDER_RENEW, 2, 3},   {"refund", ORDER_REFUND, 2, 2},
        {"switch", ORDER_CHANGE, 2, 3}, {"forget", ORDER_NONE, 2, 2},
    };
    bool timed = d->o->day || d->o->week || d->o->month || d->o->year;

    for (size_t i = 0; w->n > 0 && i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(verbs[i].word, w->v[0]) != 0) {
            continue;
        }
        if (timed && verbs[i].act == ORDER_CHANGE && w->n >= 2 && d->o->host == NULL &&
            d->o->device == NULL) {
            return switch_job(d, w, e);
        }
        if (w->n < verbs[i].min || w->n > verbs[i].max || timed || d->o->host != NULL ||
            (verbs[i].act == ORDER_CHANGE && (w->n == 3) == (d->o->device != NULL))) {
            return err_set(e, ERR_INVALID, "%s",
                           _("it is `reserve ls`, `show ID`, `renew ID [N]`, `refund "
                             "ID`, `switch ID TYPE[:N]`, `switch JOB --day [N]` or "
                             "`forget ID`"));
        }
        if (strcmp(verbs[i].word, "forget") == 0) {
            return forget(d, w->v[1], e);
        }
        return verbs[i].act == ORDER_NONE ? look(d, w->n > 1 ? w->v[1] : NULL, e)
                                          : change(d, verbs[i].act, w, e);
    }
    if (w->n == 0 && d->o->device == NULL) {
        return err_set(e, ERR_INVALID, "%s",
                       _("reserve what? like `gpurun reserve 4090 --day`"));
    }
    return buy(d, w, e);
}

static int
run_reserve(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct desk d = {.c = c, .o = options, .cl = {.loop = NULL}};
    int rc = dispatch(&d, w, e);

    desk_close(&d);
    return rc;
}

const struct command cmd_reserve = {
    .name = "reserve",
    .usage = N_(
        "TYPE[:N] --day|--week|--month|--year [N] [--host H] | ls | show ID | renew ID "
        "[N] | refund ID | switch ID TYPE[:N] | switch JOB --day [N] | forget ID"),
    .help = N_("devices paid in front and held for you: runs use them first, at no cost"),
    .options = options_reserve,
    .options_size = sizeof(struct reserve_options),
    .max_words = 3,
    .run = run_reserve,
};
