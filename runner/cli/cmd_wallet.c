#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/lang.h"
#include "meter/calendar.h"
#include "meter/money.h"
#include "runner/cli/commands.h"
#include "runner/cli/out.h"
#include "runner/cli/refused.h"
#include "runner/cli/walletview.h"
#include "runner/client/jobs.h"
#include "runner/client/purse.h"
#include "runner/client/wallet.h"

struct wallet_options {
    const char *ref;
    const char *month;
    const char *host_key;
};

static const struct opt options_wallet[] = {
    {"ref", 0, OPT_STR, offsetof(struct wallet_options, ref), "ID",
     N_("with topup: an id of yours; the same one again adds nothing")},
    {"month", 0, OPT_STR, offsetof(struct wallet_options, month), "YYYY-MM",
     N_("with log: only that month (Asia/Shanghai)")},
    {"host-key", 0, OPT_STR, offsetof(struct wallet_options, host_key), "SHA256:...",
     N_("with use: the SSH host key that the book's host must have")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

/* ---- what there is ---- */

/* A hold, with the job it is for. */
struct view {
    const struct job_list *jobs;
    struct table *table; /* or */
    struct json_writer *json;
};

static const struct job_record *
job_of(const struct job_list *jobs, const char *lease)
{
    for (size_t i = 0; i < jobs->n; i++) {
        if (strcmp(jobs->v[i].lease, lease) == 0) {
            return &jobs->v[i];
        }
    }
    return NULL;
}

static int
hold_row(void *ctx, const char *lease, const struct ledger_lease *h, struct err *e)
{
    struct view *v = ctx;
    const struct job_record *job = job_of(v->jobs, lease);
    bool keeping = h->state == LEDGER_HOLD_KEEPING;
    char money[OUT_MONEY_MAX];

    (void)e;
    if (v->json != NULL) {
        json_obj(v->json);
        json_kstr(v->json, "lease", lease);
        json_kstr(v->json, "job", job != NULL ? job->id : NULL);
        json_kstr(v->json, "name", job != NULL ? job->name : NULL);
        json_kstr(v->json, "for", keeping ? "keeping" : "run");
        json_kint(v->json, "held_fen", h->held_fen);
        json_obj_end(v->json);
        return 0;
    }
    table_cell(v->table, job != NULL ? job->id : lease);
    table_cell(v->table, job != NULL ? job->name : NULL);
    table_cell(v->table, keeping ? _("keeping its data") : _("a run"));
    table_cell(v->table, out_fen(h->held_fen, money));
    return 0;
}

static int
show_text(struct ledger *l, const struct ledger_funds *f, size_t n_waiting,
          const struct job_list *jobs, struct buf *out, struct err *e)
{
    const char *headers[] = {_("HELD FOR"), _("NAME"), _("WHAT"), _(">AMOUNT"), NULL};
    struct view v = {.jobs = jobs};
    char balance[OUT_MONEY_MAX];
    char held[OUT_MONEY_MAX];
    char free_money[OUT_MONEY_MAX];
    int rc;

    v.table = table_new(headers);
    rc = ledger_each_hold(l, hold_row, &v, e);
    if (rc == 0) {
        buf_printf(out, _("balance %s, of it held %s, free %s\n"),
                   out_fen(f->balance_fen, balance), out_fen(f->held_fen, held),
                   out_fen(f->free_fen, free_money));
        if (table_rows(v.table) > 0) {
            table_print(v.table, out);
        }
        if (n_waiting > 0) {
            buf_printf(out,
                       _("%zu without a receipt yet: `gpurun bill JOB` fetches it\n"),
                       n_waiting);
        }
    }
    table_free(v.table);
    return rc;
}

static int
show_json(const struct cli *c, struct ledger *l, const struct ledger_funds *f,
          const struct job_list *jobs, struct buf *out, struct err *e)
{
    struct json_writer j = json_to(out);
    struct view v = {.jobs = jobs, .json = &j};
    int rc;

    json_obj(&j);
    json_kbool(&j, "wallet", true);
    json_kint(&j, "balance_fen", f->balance_fen);
    json_kint(&j, "held_fen", f->held_fen);
    json_kint(&j, "free_fen", f->free_fen);
    json_key(&j, "holds");
    json_arr(&j);
    rc = ledger_each_hold(l, hold_row, &v, e);
    json_arr_end(&j);
    rc = rc == 0 ? refused_put(c, NULL, &j, e) : -1;
    json_obj_end(&j);
    buf_add_str(out, "\n");
    return rc;
}

static int
show(const struct cli *c, struct ledger *l, struct err *e)
{
    struct job_list jobs = {NULL, 0};
    struct ledger_funds f;
    struct buf out = BUF_INIT;
    size_t n_waiting = 0;
    int rc = -1;

    if (wallet_sync(c->home, l, &n_waiting, e) != 0 || ledger_funds(l, &f, e) != 0 ||
        jobs_list(c->home, &jobs, e) != 0) {
        goto out;
    }
    rc = c->g.json ? show_json(c, l, &f, &jobs, &out, e)
                   : show_text(l, &f, n_waiting, &jobs, &out, e);
    if (rc == 0 && !c->g.json) {
        rc = refused_put(c, &out, NULL, e);
    }
    if (rc == 0) {
        rc = out_write(&out, e);
    }

out:
    job_list_free(&jobs);
    buf_free(&out);
    return rc;
}

static int
show_none(const struct cli *c, bool logs, struct err *e)
{
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    int rc;

    if (c->g.json && logs) {
        buf_add_str(&out, "[]\n");
        rc = 0;
    } else if (c->g.json) {
        json_obj(&j);
        json_kbool(&j, "wallet", false);
        rc = refused_put(c, NULL, &j, e);
        json_obj_end(&j);
        buf_add_str(&out, "\n");
    } else {
        buf_add_str(&out, _("no wallet: caps alone bound what a run may cost; "
                            "`gpurun wallet topup YUAN` begins a budget\n"));
        rc = refused_put(c, &out, NULL, e);
    }
    rc = rc == 0 ? out_write(&out, e) : -1;
    buf_free(&out);
    return rc;
}

/* ---- money in ---- */

static int
topup(struct cli *c, const struct wallet_options *o, const char *yuan, struct err *e)
{
    struct ledger *l = NULL;
    struct ledger_funds f;
    struct buf out = BUF_INIT;
    char ref[JOB_ID_LEN + 1];
    char money[OUT_MONEY_MAX];
    const char *id = o->ref;
    bool repeated = false;
    int64_t fen;
    int rc = -1;

    if (money_parse_fen(yuan, strlen(yuan), &fen, e) != 0) {
        return -1;
    }
    if (fen == 0) {
        return err_set(e, ERR_INVALID, "%s", _("topup wants more than nothing"));
    }
    if (id == NULL) {
        random_id("t", ref);
        id = ref;
    }
    if (wallet_open(&l, c->home, true, e) != 0 ||
        ledger_topup(l, id, fen, clock_wall_ns(), &repeated, e) != 0 ||
        ledger_funds(l, &f, e) != 0) {
        goto out;
    }
    if (c->g.json) {
        struct json_writer j = json_to(&out);

        json_obj(&j);
        json_kstr(&j, "id", id);
        json_kint(&j, "fen", fen);
        json_kbool(&j, "repeated", repeated);
        json_kint(&j, "balance_fen", f.balance_fen);
        json_kint(&j, "free_fen", f.free_fen);
        json_obj_end(&j);
        buf_add_str(&out, "\n");
    } else {
        buf_printf(&out, "%s\n", id);
    }
    say(c, repeated ? _("that was there already; balance %s") : _("balance now %s"),
        out_fen(f.balance_fen, money));
    rc = out_write(&out, e);

out:
    ledger_close(l);
    buf_free(&out);
    return rc;
}

/* ---- what happened ---- */

struct log_ctx {
    struct table *table;
    struct json_writer *json;
};

static int
log_row(void *ctx, const struct ledger_entry *en, struct err *e)
{
    struct log_ctx *c = ctx;
    char money[OUT_MONEY_MAX];
    char when[OUT_TIME_MAX];

    (void)e;
    if (c->json != NULL) {
        clock_format_utc(en->wall_ns, 9, when);
        json_obj(c->json);
        json_kint(c->json, "n", en->n);
        json_kstr(c->json, "id", en->id);
        json_kstr(c->json, "kind", en->kind);
        json_kstr(c->json, "lease", en->lease[0] != '\0' ? en->lease : NULL);
        json_kstr(c->json, "at", when);
        json_kint(c->json, "at_ns", en->wall_ns);
        json_kint(c->json, "balance_change_fen", en->cash_fen);
        json_kint(c->json, "held_change_fen", en->held_fen);
        json_obj_end(c->json);
        return 0;
    }
    table_cellf(c->table, "%" PRId64, en->n);
    table_cell(c->table, out_time(en->wall_ns, when));
    table_cell(c->table, en->kind);
    table_cell(c->table, en->lease[0] != '\0' ? en->lease : NULL);
    table_cell(c->table, out_fen(en->cash_fen, money));
    table_cell(c->table, out_fen(en->held_fen, money));
    return 0;
}

/* From when to when a log is shown. */
struct span {
    int64_t from_ns, to_ns;
};

static int
show_log(const struct cli *c, const struct span *when, struct ledger *l, struct err *e)
{
    const char *headers[] = {_(">N"),       _("WHEN"),  _("WHAT"), _("LEASE"),
                             _(">BALANCE"), _(">HELD"), NULL};
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct log_ctx ctx = {0};
    int rc = -1;

    if (wallet_sync(c->home, l, NULL, e) != 0) {
        return -1;
    }
    if (c->g.json) {
        ctx.json = &j;
        json_arr(&j);
    } else {
        ctx.table = table_new(headers);
    }
    rc = ledger_each(l, when->from_ns, when->to_ns, log_row, &ctx, e);
    if (c->g.json) {
        json_arr_end(&j);
        buf_add_str(&out, "\n");
    } else {
        table_print(ctx.table, &out);
        table_free(ctx.table);
    }
    if (rc == 0) {
        rc = out_write(&out, e);
    }
    buf_free(&out);
    return rc;
}

static int
run_own(struct cli *c, const struct span *when, bool logs, struct err *e)
{
    struct ledger *l = NULL;
    int rc;

    if (wallet_open(&l, c->home, false, e) != 0) {
        return -1;
    }
    if (l == NULL) {
        rc = show_none(c, logs, e);
    } else {
        rc = logs ? show_log(c, when, l, e) : show(c, l, e);
    }
    ledger_close(l);
    return rc;
}

static int
run_operators(struct cli *c, const struct span *when, bool adds, bool logs, struct err *e)
{
    if (adds) {
        return err_set(e, ERR_DENIED, "%s",
                       _("the book in use is an operator's, who takes deposits; for a "
                         "budget of your own `gpurun wallet use own` first"));
    }
    return logs ? walletview_log(c, when->from_ns, when->to_ns, e)
                : walletview_funds(c, e);
}

static int
run_wallet(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct wallet_options *o = options;
    const char *verb = w->n > 0 ? w->v[0] : "";
    bool adds = strcmp(verb, "topup") == 0;
    bool logs = strcmp(verb, "log") == 0;
    bool uses = strcmp(verb, "use") == 0;
    bool retries = strcmp(verb, "retry") == 0;
    int want = adds || uses ? 2 : logs || retries ? 1 : 0;
    struct span when = {INT64_MIN, INT64_MAX};
    struct host book;
    bool operators = false;

    if (w->n != want || (o->ref != NULL && !adds) || (o->month != NULL && !logs) ||
        (o->host_key != NULL && !uses)) {
        return err_set(e, ERR_INVALID, "%s",
                       _("it is `wallet`, `wallet topup YUAN [--ref ID]`, `wallet log "
                         "[--month YYYY-MM]`, `wallet retry` or `wallet use "
                         "own|[USER@]HOST[:PORT]`"));
    }
    if (o->month != NULL &&
        calendar_parse_month_ns(o->month, &when.from_ns, &when.to_ns, e) != 0) {
        return err_wrap(e, "--month");
    }
    if (uses) {
        return walletview_use(c, w->v[1], o->host_key, e);
    }
    c->stage = STAGE_TRYING;
    if (retries && refused_retry(c, e) != 0) {
        return -1;
    }
    if (purse_in_use(c->home, &operators, &book, e) != 0) {
        return -1;
    }
    if (operators) {
        host_free(&book);
        return run_operators(c, &when, adds, logs, e);
    }
    return adds ? topup(c, o, w->v[1], e) : run_own(c, &when, logs, e);
}

static const char *const verbs[] = {"topup", "log", "retry", "use", NULL};

const struct command cmd_wallet = {
    .name = "wallet",
    .usage = N_("[topup YUAN [--ref ID]] | log [--month YYYY-MM] | retry | use "
                "own|[USER@]HOST[:PORT]"),
    .help = N_("the money runs are paid from: a budget of your own, or an operator's "
               "book"),
    .options = options_wallet,
    .options_size = sizeof(struct wallet_options),
    .max_words = 2,
    .verbs = verbs,
    .run = run_wallet,
};
