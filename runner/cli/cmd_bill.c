#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "meter/bill.h"
#include "meter/receipt.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/out.h"
#include "runner/client/hosts.h"
#include "runner/client/i18n.h"
#include "runner/client/jobs.h"
#include "runner/client/receipts.h"

struct bill_options {
    const char *month;
    bool csv;
    bool verify;
    bool all;
};

static const struct opt options_bill[] = {
    {"month", 0, OPT_STR, offsetof(struct bill_options, month), "YYYY-MM",
     N_("only what belongs to that month (Asia/Shanghai)")},
    {"csv", 0, OPT_FLAG, offsetof(struct bill_options, csv), NULL,
     N_("as CSV, line by line")},
    {"verify", 0, OPT_FLAG, offsetof(struct bill_options, verify), NULL,
     N_("recompute a receipt (a file, or a job's) from its signed records, offline")},
    {"all", 0, OPT_FLAG, offsetof(struct bill_options, all), NULL,
     N_("with --verify: every receipt kept here, and every signature in each")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

/* ---- which receipts ---- */

struct entry {
    struct receipt *receipt;
    struct bill bill;
    struct job_record record; /* empty where none is kept */
};

struct entries {
    struct entry *v;
    size_t n;
};

static void
entries_free(struct entries *l)
{
    for (size_t i = 0; i < l->n; i++) {
        bill_clear(&l->v[i].bill);
        receipt_free(l->v[i].receipt);
        job_record_free(&l->v[i].record);
    }
    free(l->v);
}

/* The pinned key of the host a job ran on, where the host is still known. */
static bool
pinned_key(const struct home *home, const char *host, struct sign_public *key)
{
    struct host h;
    struct err ignored;
    bool pinned;

    if (host == NULL || hosts_load(home, host, &h, &ignored) != 0) {
        return false;
    }
    pinned = h.pinned;
    *key = h.key;
    host_free(&h);
    return pinned;
}

static int
add_entry(const struct cli *c, struct entries *l, const char *job, struct err *e)
{
    struct entry *en;
    struct sign_public key;
    struct err ignored;
    bool pinned;

    l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
    en = &l->v[l->n];
    memset(en, 0, sizeof *en);
    job_record_init(&en->record);
    (void)!jobs_load(c->home, job, &en->record, &ignored);
    pinned = pinned_key(c->home, en->record.host, &key);
    if (receipts_load(c->home, job, pinned ? &key : NULL, &en->receipt, e) != 0) {
        job_record_free(&en->record);
        return err_wrap(e, _("the receipt of job %s"), job);
    }
    if (bill_from_receipt(&en->bill, en->receipt, e) != 0) {
        receipt_free(en->receipt);
        job_record_free(&en->record);
        return -1;
    }
    l->n++;
    return 0;
}

static int
by_time(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;

    return x->receipt->made_wall_ns < y->receipt->made_wall_ns   ? -1
           : x->receipt->made_wall_ns > y->receipt->made_wall_ns ? 1
                                                                 : 0;
}

static int
add_all(const struct cli *c, struct entries *l, struct err *e)
{
    struct receipt_ids ids = {NULL, 0};
    int rc = receipts_list(c->home, &ids, e);

    for (size_t i = 0; rc == 0 && i < ids.n; i++) {
        rc = add_entry(c, l, ids.v[i], e);
    }
    free(ids.v);
    if (rc == 0 && l->n > 0) {
        qsort(l->v, l->n, sizeof *l->v, by_time);
    }
    return rc;
}

/*
 * One job, by name or id. A job that was not followed to its end from here has no
 * receipt yet: then its host is asked for it.
 */
static int
fetch_receipt(struct cli *c, const char *what, char id[JOB_ID_LEN + 1], struct err *e)
{
    struct client cl = {.loop = NULL};
    struct session *s = NULL;
    struct fetch *f = NULL;
    struct receipt *r = NULL;
    struct job_record job;
    int rc = -1;

    job_record_init(&job);
    if (context_open(&cl, c, e) != 0 || context_find_job(&cl, what, &job, e) != 0) {
        goto out;
    }
    memcpy(id, job.id, JOB_ID_LEN + 1);
    if (receipts_kept(c->home, id)) {
        rc = 0;
        goto out;
    }
    c->stage = STAGE_TRYING;
    if (context_session(&cl, job.host, CONTEXT_PATIENCE_NS, &s, e) != 0 ||
        fetch_new(&f, &cl, s, id, e) != 0) {
        goto out;
    }
    fetch_refresh(f, session_conn(s));
    if (fetch_wait_present(f, CONTEXT_ANSWER_NS, &r, e) == 0) {
        receipt_free(r);
        rc = 0;
    }

out:
    fetch_free(f);
    session_close(s);
    job_record_free(&job);
    context_close(&cl);
    return rc;
}

/* ---- text ---- */

static bool
in_month(const struct bill_line *l, const char *month)
{
    return month == NULL || strcmp(l->month, month) == 0;
}

static const char *
line_label(const struct bill_line *l)
{
    switch (l->kind) {
    case BILL_FREE:
        return usage_state_name(l->state);
    case BILL_SETUP:
        return _("set-up, no card");
    case BILL_JOB:
        return _("per job");
    case BILL_DEVICE:
        return _("running");
    case BILL_WINDOW:
        return _("stop window");
    case BILL_KEEPING:
        return _("keeping");
    default:
        return "";
    }
}

static void
line_row(struct table *t, const struct bill_line *l, bool with_month)
{
    char took[TEXT_DURATION_MAX];
    char money[OUT_MONEY_MAX];
    char price[OUT_MONEY_MAX];

    if (with_month) {
        table_cell(t, l->month);
    }
    table_cell(t, line_label(l));
    text_format_duration(l->seconds, took);
    table_cell(t, took);
    if (l->kind == BILL_FREE || l->n_units == 0) {
        table_cell(t, NULL);
        table_cell(t, NULL);
    } else {
        table_cellf(t, "%" PRId64 "x %s", l->n_units,
                    l->type[0] != '\0' ? l->type : l->class_name);
        table_cell(t, out_price(l->price_uyuan_per_h, _("h"), price));
    }
    table_cell(t, out_fen(l->fen, money));
    table_cell(t, l->why[0] != '\0' ? _(l->why) : " ");
}

static void
one_text(const struct entry *en, const struct bill_options *o, struct buf *out)
{
    const char *headers[] = {_("MONTH"),  _("WHAT"),    _(">TIME"), _("DEVICES"),
                             _(">PRICE"), _(">AMOUNT"), "",         NULL};
    const struct receipt *r = en->receipt;
    struct table *t;
    char money[OUT_MONEY_MAX];
    char made[OUT_TIME_MAX];

    buf_printf(out, _("job %s"), r->job);
    if (en->record.name != NULL) {
        buf_printf(out, " (%s)", en->record.name);
    }
    buf_printf(out, _(", lease %s, ended %s: %s"), r->lease,
               out_time(r->last.at.wall_ns, made), r->reason);
    if (r->exit_code >= 0) {
        buf_printf(out, " %d", r->exit_code);
    }
    buf_add_str(out, "\n");
    t = table_new(headers);
    for (size_t i = 0; i < en->bill.n_lines; i++) {
        if (in_month(&en->bill.lines[i], o->month)) {
            line_row(t, &en->bill.lines[i], true);
        }
    }
    table_print(t, out);
    table_free(t);
    buf_printf(out, _("total %s"), out_fen(en->bill.total_fen, money));
    if (en->bill.keep_hold_fen > 0) {
        buf_printf(out, _("; %s held for keeping the data"),
                   out_fen(en->bill.keep_hold_fen, money));
    }
    buf_add_str(out, _("; signed by the host, verified here\n"));
}

static int64_t
sum_month(const struct entry *en, const char *month)
{
    int64_t fen = 0;

    for (size_t i = 0; i < en->bill.n_lines; i++) {
        fen += in_month(&en->bill.lines[i], month) ? en->bill.lines[i].fen : 0;
    }
    return fen;
}

static bool
touches_month(const struct entry *en, const char *month)
{
    for (size_t i = 0; i < en->bill.n_lines; i++) {
        if (in_month(&en->bill.lines[i], month)) {
            return true;
        }
    }
    return false;
}

static void
all_text(const struct entries *l, const struct bill_options *o, struct buf *out)
{
    const char *headers[] = {_("JOB"), _("NAME"),      _("HOST"),    _("ENDED"),
                             _("HOW"), _(">DEVICE S"), _(">AMOUNT"), NULL};
    struct table *t = table_new(headers);
    int64_t total_fen = 0;
    char money[OUT_MONEY_MAX];
    char when[OUT_TIME_MAX];

    for (size_t i = 0; i < l->n; i++) {
        const struct entry *en = &l->v[i];
        int64_t fen = sum_month(en, o->month);

        if (!touches_month(en, o->month)) {
            continue;
        }
        total_fen += fen;
        table_cell(t, en->receipt->job);
        table_cell(t, en->record.name);
        table_cell(t, en->record.host);
        table_cell(t, out_time(en->receipt->last.at.wall_ns, when));
        if (en->receipt->exit_code >= 0) {
            table_cellf(t, "%s %d", en->receipt->reason, en->receipt->exit_code);
        } else {
            table_cell(t, en->receipt->reason);
        }
        table_cellf(t, "%" PRId64, en->receipt->device_s);
        table_cell(t, out_fen(fen, money));
    }
    table_print(t, out);
    table_free(t);
    buf_printf(out, _("total %s%s%s\n"), out_fen(total_fen, money),
               o->month != NULL ? _(" in ") : "", o->month != NULL ? o->month : "");
}

/* ---- JSON and CSV ---- */

static void
entry_json(struct json_writer *j, const struct entry *en)
{
    const struct receipt *r = en->receipt;
    char host[2 * SIGN_PUBLIC_LEN + 1];
    char text[CLOCK_TEXT_MAX];

    sign_public_format(&r->host, host);
    clock_format_utc(r->last.at.wall_ns, 9, text);
    json_obj(j);
    json_kstr(j, "job", r->job);
    json_kstr(j, "name", en->record.name);
    json_kstr(j, "host", en->record.host);
    json_kstr(j, "host_key", host);
    json_kstr(j, "lease", r->lease);
    json_kstr(j, "reason", r->reason);
    json_key(j, "exit_code");
    if (r->exit_code >= 0) {
        json_int(j, r->exit_code);
    } else {
        json_nil(j);
    }
    json_kstr(j, "ended", text);
    json_kint(j, "ended_ns", r->last.at.wall_ns);
    json_kint(j, "setup_s", r->setup_s);
    json_kint(j, "device_s", r->device_s);
    json_kint(j, "charge_fen", r->charge_fen);
    json_kint(j, "cap_fen", r->grant.cap_fen);
    json_kint(j, "keep_hold_fen", en->bill.keep_hold_fen);
    json_kint(j, "busy_bps", en->bill.busy_bps);
    json_kstr(j, "snapshot", r->snapshot[0] != '\0' ? r->snapshot : NULL);
    json_key(j, "lines");
    bill_json(j, &en->bill);
    json_obj_end(j);
}

static void
print_json(const struct entries *l, const struct bill_options *o, bool single,
           struct buf *out)
{
    struct json_writer w = json_to(out);
    struct json_writer *j = &w;
    int64_t total_fen = 0;

    if (single) {
        entry_json(j, &l->v[0]);
        buf_add_str(out, "\n");
        return;
    }
    json_obj(j);
    json_key(j, "bills");
    json_arr(j);
    for (size_t i = 0; i < l->n; i++) {
        if (touches_month(&l->v[i], o->month)) {
            entry_json(j, &l->v[i]);
            total_fen += sum_month(&l->v[i], o->month);
        }
    }
    json_arr_end(j);
    json_kstr(j, "month", o->month);
    json_kint(j, "total_fen", total_fen);
    json_obj_end(j);
    buf_add_str(out, "\n");
}

/* The header comes with each bill: kept once. */
static void
print_csv(const struct entries *l, struct buf *out)
{
    for (size_t i = 0; i < l->n; i++) {
        struct buf one = BUF_INIT;
        const char *body;

        bill_csv(&one, &l->v[i].bill, l->v[i].receipt->job);
        body = strchr(buf_str(&one), '\n');
        buf_add_str(out, i == 0 || body == NULL ? buf_str(&one) : body + 1);
        buf_free(&one);
    }
}

/* ---- verify ---- */

/*
 * Whose key a receipt file is signed with: that of the host its job ran on, if the job
 * is known here, and then no other will do; else that of any host with that key.
 * *host (malloc'ed) is NULL where none is pinned.
 */
static int
signing_host(const struct cli *c, const struct receipt *r, char **host, struct err *e)
{
    struct host_list l = {NULL, 0};
    struct job_record job;
    struct sign_public key;
    struct err ignored;
    int rc = 0;

    *host = NULL;
    job_record_init(&job);
    if (jobs_load(c->home, r->job, &job, &ignored) == 0 &&
        pinned_key(c->home, job.host, &key)) {
        if (memcmp(key.b, r->host.b, sizeof key.b) == 0) {
            *host = xstrdup(job.host);
        } else {
            rc = err_set(e, ERR_DENIED,
                         _("job %s ran on host '%s', but another key has signed this"),
                         r->job, job.host);
        }
    } else if (hosts_list(c->home, true, &l, e) != 0) {
        rc = -1;
    }
    for (size_t i = 0; rc == 0 && *host == NULL && i < l.n; i++) {
        if (l.v[i].pinned && memcmp(l.v[i].key.b, r->host.b, sizeof r->host.b) == 0) {
            *host = xstrdup(l.v[i].name);
        }
    }
    host_list_free(&l);
    job_record_free(&job);
    return rc;
}

static int
verify_print(const struct cli *c, const struct receipt *r, const char *host,
             struct err *e)
{
    struct buf out = BUF_INIT;
    char money[OUT_MONEY_MAX];
    int rc;

    if (c->g.json) {
        struct json_writer j = json_to(&out);

        json_obj(&j);
        json_kstr(&j, "job", r->job);
        json_kbool(&j, "verified", true);
        json_kbool(&j, "host_key_pinned", host != NULL);
        json_kstr(&j, "host", host);
        json_kint(&j, "charge_fen", r->charge_fen);
        json_obj_end(&j);
        buf_add_str(&out, "\n");
    } else if (host != NULL) {
        buf_printf(&out, _("%s: right, %s, signed by the pinned key of host '%s'\n"),
                   r->job, out_fen(r->charge_fen, money), host);
    } else {
        buf_printf(&out,
                   _("%s: right, %s, but no host is pinned here to compare its signature "
                     "with\n"),
                   r->job, out_fen(r->charge_fen, money));
    }
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

static int
verify_one(const struct cli *c, const char *what, bool check_all, struct err *e)
{
    struct receipt_pins pins = {.check_all = check_all};
    struct job_record job;
    struct receipt *r = NULL;
    struct sign_public key;
    char *path = NULL;
    char *host = NULL;
    int rc = -1;

    job_record_init(&job);
    if (strchr(what, '/') == NULL && jobs_find(c->home, what, &job, e) == 0) {
        path = home_path(c->home, "receipts", job.id);
        pins.job = job.id;
        if (!receipts_kept(c->home, job.id)) {
            err_set(e, ERR_NOT_FOUND,
                    _("no receipt of job '%s' is kept here: `gpurun bill %s` fetches it"),
                    job.id, job.id);
            goto out;
        }
        if (pinned_key(c->home, job.host, &key)) {
            pins.host = &key;
        }
    } else if (file_exists(what)) {
        path = xstrdup(what);
    } else {
        err_set(e, ERR_NOT_FOUND, _("'%s' is neither a job known here nor a file"), what);
        goto out;
    }
    if (receipt_verify_file(&r, path, &pins, e) != 0) {
        /* It is there, but no receipt: that is no mistake of typing. */
        e->code = e->code == ERR_NOT_FOUND ? ERR_CORRUPT : e->code;
        err_wrap(e, "%s", what);
        goto out;
    }
    if (signing_host(c, r, &host, e) == 0) {
        rc = verify_print(c, r, host, e);
    }

out:
    free(host);
    receipt_free(r);
    free(path);
    job_record_free(&job);
    return rc;
}

static int
verify_all(struct cli *c, struct err *e)
{
    struct receipt_ids ids = {NULL, 0};
    int64_t start_ns = clock_boot_ns();
    int rc = receipts_list(c->home, &ids, e);
    size_t n = ids.n;

    for (size_t i = 0; rc == 0 && i < ids.n; i++) {
        rc = verify_one(c, ids.v[i], true, e);
    }
    free(ids.v);
    if (rc == 0) {
        say(c, _("%zu receipts, every signature checked, in %lld ms"), n,
            (long long)((clock_boot_ns() - start_ns) / 1000000));
    }
    return rc;
}

/* ---- the command ---- */

static int
check_month(const char *month, struct err *e)
{
    bool ok =
        month == NULL || (strlen(month) == 7 && strspn(month, "0123456789") == 4 &&
                          month[4] == '-' && strspn(month + 5, "0123456789") == 2 &&
                          strcmp(month + 5, "01") >= 0 && strcmp(month + 5, "12") <= 0);

    return ok ? 0 : err_set(e, ERR_INVALID, _("--month wants YYYY-MM, as in 2026-11"));
}

static int
print_bills(struct cli *c, const struct bill_options *o, const struct words *w,
            struct err *e)
{
    struct entries l = {NULL, 0};
    struct buf out = BUF_INIT;
    char id[JOB_ID_LEN + 1];
    int rc;

    if (w->n == 1) {
        rc = fetch_receipt(c, w->v[0], id, e) == 0 ? add_entry(c, &l, id, e) : -1;
    } else {
        rc = add_all(c, &l, e);
    }
    if (rc != 0 && e->code != ERR_NOT_FOUND && e->code != ERR_INVALID) {
        c->stage = STAGE_TRYING; /* a receipt that is not right is no mistake of typing */
    }
    if (rc == 0) {
        if (o->csv) {
            print_csv(&l, &out);
        } else if (c->g.json) {
            print_json(&l, o, w->n == 1, &out);
        } else if (w->n == 1) {
            one_text(&l.v[0], o, &out);
        } else {
            all_text(&l, o, &out);
        }
        rc = out_write(&out, e);
    }
    buf_free(&out);
    entries_free(&l);
    return rc;
}

static int
run_bill(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct bill_options *o = options;

    if (check_month(o->month, e) != 0) {
        return -1;
    }
    if (!o->verify) {
        return o->all ? err_set(e, ERR_INVALID, "%s", _("--all goes with --verify"))
                      : print_bills(c, o, w, e);
    }
    if (o->all ? w->n != 0 : w->n != 1) {
        return err_set(e, ERR_INVALID, "%s",
                       _("--verify wants a FILE or a JOB, or --all"));
    }
    /* A receipt that is not right is no mistake of typing. */
    if ((o->all ? verify_all(c, e) : verify_one(c, w->v[0], true, e)) == 0) {
        return 0;
    }
    c->stage = e->code == ERR_NOT_FOUND && !o->all ? STAGE_INPUT : STAGE_TRYING;
    if (c->stage == STAGE_TRYING && e->code != ERR_SYSTEM) {
        e->code = ERR_CORRUPT;
    }
    return -1;
}

const struct command cmd_bill = {
    .name = "bill",
    .usage = N_("[JOB] [--month YYYY-MM] [--csv] | --verify FILE|JOB | --verify --all"),
    .help = N_("what jobs have cost, recomputed from the hosts' signed records"),
    .options = options_bill,
    .options_size = sizeof(struct bill_options),
    .max_words = 1,
    .word = WORD_JOB,
    .run = run_bill,
};
