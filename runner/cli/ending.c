#include "runner/cli/ending.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/refuse.h"
#include "runner/cli/due.h"
#include "runner/cli/out.h"
#include "runner/cli/outs.h"
#include "runner/cli/pypackage.h"
#include "runner/cli/refused.h"
#include "runner/client/dispute.h"
#include "runner/client/hosts.h"
#include "runner/client/purse.h"

#define NS_PER_S        ((int64_t)1000000000)
#define RECEIPT_WAIT_NS (30 * NS_PER_S)
#define SIGNAL_BASE     128

void
ending_say_down(const struct cli *c, const char *host, const struct failure *why)
{
    say(c, _("the link to host '%s' is gone (%s); the job goes on, trying to come back"),
        host, why->err.msg);
}

void
ending_say_back(const struct cli *c, const char *host)
{
    say(c, _("the link to host '%s' is back"), host);
}

void
ending_say_unbilled(const struct cli *c, const struct job_state *st, bool *said)
{
    if (!*said && st->phase == JOB_SNAPSHOTTING && st->detail != NULL &&
        strncmp(st->detail, JOB_NOT_BILLED, strlen(JOB_NOT_BILLED)) == 0) {
        struct err told;

        *said = true;
        refuse_told(&told, ERR_NONE, st->detail, st->detail_form);
        say(c, _("the job is over, but %s"), told.msg);
    }
}

void
ending_say_dispute(const struct cli *c, const struct stopwatch *claim, const char *job,
                   const char *host, bool *said)
{
    char counted[TEXT_DURATION_MAX];
    char passed[TEXT_DURATION_MAX];
    char unasked[TEXT_DURATION_MAX];

    if (claim == NULL || *said) {
        return;
    }
    *said = true;
    text_format_duration(claim->host_s, counted);
    text_format_duration(claim->passed_s, passed);
    text_format_duration(claim->unasked_s, unasked);
    if (claim->unasked_s > 0) {
        say(c,
            _("host '%s' counts %s of job %s, %s of it as set-up, which the job was sent "
              "without; at most %s can be right: not countersigned (`gpurun bill %s` "
              "says "
              "what is in dispute)"),
            host, counted, job, unasked, passed, job);
    } else {
        say(c,
            _("host '%s' counts %s of job %s, of which at most %s can have passed by the "
              "clock here: not countersigned (`gpurun bill %s` says what is in dispute)"),
            host, counted, job, passed, job);
    }
}

static const char *
job_word(const struct job_record *r)
{
    return r->name != NULL ? r->name : r->id;
}

/* ---- JSON ---- */

void
ending_json_state(struct json_writer *j, const struct home *home,
                  const struct job_state *st, const char *host)
{
    bool final = job_phase_is_final(st->phase);
    struct stopwatch claim;

    json_obj(j);
    json_kstr(j, "id", st->job);
    json_kstr(j, "name", st->name);
    json_kstr(j, "host", host);
    json_kstr(j, "state", job_phase_name(st->phase));
    json_kstr(j, "reason", job_reason_name(st->reason));
    json_kint_or_nil(j, "exit_code", st->exit_code, JOB_NOT_SET);
    json_kint_or_nil(j, "signal", st->signal, JOB_NOT_SET);
    json_kstr(j, "detail", st->detail);
    json_key(j, "gpurun_exit");
    if (final) {
        json_int(j, job_exit_code(st));
    } else {
        json_nil(j);
    }
    json_kstr(j, "command", st->command);
    json_ktime(j, "made", st->made_wall_ns);
    json_ktime(j, "started", st->started_wall_ns);
    json_ktime(j, "ended", st->ended_wall_ns);
    state_json_devices(j, st);
    json_kint(j, "count", st->count);
    json_kint_or_nil(j, "price_uyuan_per_h", st->price_uyuan, JOB_NOT_SET);
    json_kint(j, "cost_fen", st->cost_fen);
    json_kint_or_nil(j, "cap_fen", st->cap_fen, JOB_NOT_SET);
    json_kint_or_nil(j, "can_run_s", st->can_run_s, JOB_NOT_SET);
    json_kint(j, "alert_pct", st->alert_pct);
    json_kint_or_nil(j, "charge_fen", st->charge_fen, JOB_NOT_SET);
    json_kstr(j, "snapshot", st->snapshot[0] != '\0' ? st->snapshot : NULL);
    json_kstr(j, "snapshot_state", job_kept_name(st->kept));
    json_kstr(j, "snapshot_why", st->kept_why);
    json_ktime(j, "expires", st->expires_wall_ns);
    json_key(j, "dispute");
    if (dispute_load(home, st->job, &claim)) {
        json_obj(j);
        json_kint(j, "host_s", claim.host_s);
        json_kint(j, "passed_s", claim.passed_s);
        json_kint(j, "unasked_s", claim.unasked_s);
        json_obj_end(j);
    } else {
        json_nil(j);
    }
    json_obj_end(j);
}

/* ---- the last line ---- */

/* "on h1 + laptop", "only on h1". */
static char *
where_text(const struct ending *en, const struct job_state *st)
{
    const char *host = session_host(en->session)->name;
    const char *copy = en->record->mirror;

    if (copy != NULL) {
        return xasprintf(_("on %s + %s"), host,
                         strcmp(copy, HOST_LOCAL) == 0 ? _("laptop") : copy);
    }
    if (session_host(en->session)->local) {
        return xasprintf(_("on %s"), host);
    }
    return xasprintf(
        st->kept_as_shipped == 1 ? _("as shipped, only on %s") : _("only on %s"), host);
}

static void
say_snapshot(const struct ending *en, const struct job_state *st)
{
    const struct cli *c = en->c;
    const char *host = session_host(en->session)->name;
    char until[OUT_TIME_MAX];
    char *where;
    struct err why;

    err_told(&why, ERR_NONE, st->kept_why != NULL ? st->kept_why : "", st->kept_form);
    if (st->snapshot[0] == '\0') {
        say(c, _("no snapshot: %s"),
            why.msg[0] != '\0' ? why.msg : _("the host does not say why"));
        if (job_data_waits(st)) {
            say(c,
                _("its data waits in the job's directory on %s: make room there, then "
                  "`gpurun snap take %s`"),
                host, st->job);
        }
        return;
    }
    if (st->expires_wall_ns > 0) {
        (void)out_time(st->expires_wall_ns, until);
    } else {
        (void)snprintf(until, sizeof until, "%s", _("removed"));
    }
    where = where_text(en, st);
    say(c, _("data: snapshot %s %s, kept until %s%s%s"), st->snapshot, where, until,
        st->kept == JOB_KEPT_PARTIAL ? _("; partial: ") : "",
        st->kept == JOB_KEPT_PARTIAL ? why.msg : "");
    free(where);
}

/* An end that the job did not choose: said even with -q. */
static bool
is_error(const struct job_state *st)
{
    return st->phase == JOB_LOST || job_reason_is_limit(st->reason) ||
           st->reason == JOB_FAILED || st->reason == JOB_FAULT || st->reason == JOB_OWNER;
}

static void
say_end(const struct ending *en, const struct job_state *st, int64_t charge_fen)
{
    char phrase[JOB_PHRASE_MAX];
    char took[TEXT_DURATION_MAX];
    char money[OUT_MONEY_MAX];
    struct buf b = BUF_INIT;

    job_phrase(st, phrase);
    buf_printf(&b, "%s %s", job_word(en->record), phrase);
    if (st->detail != NULL) {
        struct err told;

        refuse_told(&told, ERR_NONE, st->detail, st->detail_form);
        buf_printf(&b, ": %s", told.msg);
    }
    if (st->started_wall_ns > 0 && st->ended_wall_ns >= st->started_wall_ns) {
        text_format_duration((st->ended_wall_ns - st->started_wall_ns) / NS_PER_S, took);
        buf_printf(&b, _("; ran %s on %s"), took, session_host(en->session)->name);
    }
    if (charge_fen >= 0) {
        buf_printf(&b, _("; costs %s"), out_fen(charge_fen, money));
    }
    if (is_error(st)) {
        struct err why;

        err_set(&why, job_reason_is_limit(st->reason) ? ERR_LIMIT : ERR_SYSTEM, "%s",
                buf_str(&b));
        say_error(en->c, &why, job_exit_code(st));
    } else {
        say(en->c, "%s", buf_str(&b));
    }
    buf_free(&b);
}

/* The last line: what helps. */
static void
say_advice(const struct ending *en, const struct job_state *st)
{
    const char *module;
    char *package;

    if (st->detail == NULL ||
        strncmp(st->detail, JOB_NO_MODULE, strlen(JOB_NO_MODULE)) != 0) {
        return;
    }
    module = st->detail + strlen(JOB_NO_MODULE);
    package = pypackage_of(module);
    if (package != NULL) {
        say(en->c,
            _("%s has no module %s there: --conda ENV or --venv DIR runs where it is "
              "installed, --setup 'pip install %s' (or --setup auto) installs it once"),
            session_host(en->session)->name, module, package);
    } else {
        say(en->c,
            _("the Python of %s was built without its own module %s: --python P or "
              "--conda ENV takes another"),
            session_host(en->session)->name, module);
    }
    free(package);
}

/* ---- ends ---- */

void
ending_record(const struct cli *c, struct job_record *record, const struct job_state *st,
              int64_t charge_fen)
{
    char phrase[JOB_PHRASE_MAX];
    struct err e;

    job_phrase(st, phrase);
    free(record->phrase);
    record->phrase = xstrdup(phrase);
    record->final = true;
    record->exit_code = job_exit_code(st);
    record->charge_fen = charge_fen;
    (void)snprintf(record->snapshot, sizeof record->snapshot, "%s", st->snapshot);
    record->expires_wall_ns = st->expires_wall_ns;
    if (jobs_save(c->home, record, &e) != 0) {
        say(c, "%s", e.msg);
    }
}

void
ending_say_no_receipt(const struct cli *c, const struct fetch *f,
                      const struct job_record *job, const struct job_state *st,
                      struct err *why)
{
    switch (fetch_state(f)) {
    case FETCH_RUNNING:
        say(c, _("the bill of job %s did not come; `gpurun bill %s` fetches it"), job->id,
            job_word(job));
        return;
    case FETCH_FAILED:
        say(c, _("the bill of job %s did not come: %s; `gpurun bill %s` fetches it"),
            job->id, why->msg, job_word(job));
        return;
    default:
        err_wrap(why, _("the bill of job %s is refused"), job->id);
        say_error(c, why, job_exit_code(st));
    }
}

/* The receipt's charge, or the state's own word where no receipt came. */
static int64_t
collect_receipt(struct ending *en, const struct job_state *st)
{
    struct receipt *receipt = NULL;
    int64_t charge_fen = st->charge_fen;
    struct err e;

    if (en->fetch == NULL) {
        return charge_fen;
    }
    if (fetch_wait(en->fetch, RECEIPT_WAIT_NS, &receipt, &e) == 0) {
        charge_fen = receipt->charge_fen;
        receipt_free(receipt);
        ending_say_dispute(en->c, fetch_dispute(en->fetch), en->record->id,
                           session_host(en->session)->name, &en->said_dispute);
        if (purse_deliver(en->cl, en->record->id, &e) != 0) {
            say(en->c,
                _("%s; it gets the receipt with the next run, or by `gpurun wallet`"),
                e.msg);
        }
        refused_say(en->c);
        return charge_fen;
    }
    ending_say_no_receipt(en->c, en->fetch, en->record, st, &e);
    return -1;
}

static int
print_json(const struct ending *en, const struct job_state *st, struct err *e)
{
    struct buf b = BUF_INIT;
    struct json_writer j = json_to(&b);
    int rc;

    ending_json_state(&j, en->c->home, st, session_host(en->session)->name);
    buf_add_str(&b, "\n");
    rc = out_write(&b, e);
    buf_free(&b);
    return rc;
}

static int
end_final(struct ending *en, const struct job_state *st, struct err *e)
{
    int64_t charge_fen = collect_receipt(en, st);
    int n_failed = 0;
    int code = job_exit_code(st);
    bool first = !en->record->final;

    /* Put down now: should this be told to go while the rest comes, it is known. */
    en->record->outs_due = en->record->outs.n > 0 && (first || en->record->outs_due);
    ending_record(en->c, en->record, st, charge_fen);
    if (en->bring && en->record->outs_due) {
        n_failed = outs_bring(en->c, en->cl, en->session, en->record, st->snapshot);
        en->record->outs_due = false;
        ending_record(en->c, en->record, st, charge_fen);
    }
    if (!en->for_data) {
        due_pay_job(en->c, en->cl, en->session, en->record, st, first);
    }
    if (en->as_json && en->c->g.json) {
        if (print_json(en, st, e) != 0) {
            return -1;
        }
    } else {
        say_end(en, st, charge_fen);
        if (!en->for_data) {
            say_snapshot(en, st);
        }
        say_advice(en, st);
    }
    due_pay_some(en->c, en->cl, &en->session, 1);
    /* The job's own status counts for more than ours. */
    return code == 0 && n_failed > 0 ? CLI_CHANGED : code;
}

static int
end_signal(struct ending *en, const struct follow_result *r, struct err *e)
{
    const char *word = job_word(en->record);

    if (!en->known) {
        say(en->c, "%s", _("interrupted; nothing was started"));
        return SIGNAL_BASE + r->signal;
    }
    if (r->signal == SIGINT && session_conn(en->session) == NULL) {
        return err_set(
            e, ERR_LINK,
            _("the link is gone, so job %s could not be told; it may be running: "
              "`gpurun attach %s` comes back, `gpurun stop %s` ends it"),
            en->record->id, word, word);
    }
    say(en->c, _("detached; job %s goes on: `gpurun attach %s` comes back"),
        en->record->id, word);
    return SIGNAL_BASE + r->signal;
}

int
ending_of(struct ending *en, const struct follow_result *r, struct err *e)
{
    const char *word = job_word(en->record);

    switch (r->end) {
    case FOLLOW_FINAL:
        return end_final(en, &r->state, e);
    case FOLLOW_PRESENT:
        due_pay_some(en->c, en->cl, &en->session, 1);
        return 0;
    case FOLLOW_SIGNAL:
        return end_signal(en, r, e);
    case FOLLOW_STDOUT:
        return CLI_STDOUT_CLOSED;
    case FOLLOW_LINK:
        *e = r->e;
        if (en->known) {
            err_wrap(
                e,
                _("contact with job %s is lost, it may be running (`gpurun attach %s` "
                  "looks)"),
                en->record->id, word);
            e->code = ERR_LINK;
        }
        return -1;
    case FOLLOW_FAILED:
        *e = r->e;
        if (e->code == ERR_INVALID || e->code == ERR_RANGE) {
            e->code = ERR_CORRUPT; /* not what was typed, but what a host did with it */
        }
        if (en->known && en->c->stage == STAGE_CHANGED) {
            err_wrap(e, _("job %s may be running (`gpurun attach %s` looks)"),
                     en->record->id, word);
        }
        return -1;
    case FOLLOW_CANCELLED:
    case FOLLOW_NONE:
        *e = r->e;
        return -1;
    }
    return err_set(e, ERR_INVALID, "following ended in no known way");
}
