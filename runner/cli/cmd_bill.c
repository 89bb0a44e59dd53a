#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/bill.h"
#include "meter/receipt.h"
#include "runner/cli/bill.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/due.h"
#include "runner/cli/out.h"
#include "runner/cli/refused.h"
#include "runner/client/bring.h"
#include "runner/client/hosts.h"
#include "runner/client/jobs.h"
#include "runner/client/keepings.h"
#include "runner/client/purse.h"
#include "runner/client/receipts.h"
#include "runner/client/verified.h"

static const struct opt options_bill[] = {
    {"month", 0, OPT_STR, offsetof(struct bill_options, month), "YYYY-MM",
     N_("only what belongs to that month (Asia/Shanghai)")},
    {"by", 0, OPT_STR, offsetof(struct bill_options, by), "WHAT",
     N_("sums by job (the default), day or month, of Asia/Shanghai")},
    {"csv", 0, OPT_FLAG, offsetof(struct bill_options, csv), NULL,
     N_("as CSV, line by line")},
    {"excel", 0, OPT_FLAG, offsetof(struct bill_options, excel), NULL,
     N_("with --csv: as spreadsheets want it, so that Chinese stays intact")},
    {"plot", 0, OPT_FLAG, offsetof(struct bill_options, plot), NULL,
     N_("draw spending per day and per job")},
    {"output", 'o', OPT_STR, offsetof(struct bill_options, output), "FILE",
     N_("with --plot: as SVG into FILE")},
    {"verify", 0, OPT_FLAG, offsetof(struct bill_options, verify), NULL,
     N_("recompute a receipt (a file, or a job's) from its signed records, offline")},
    {"all", 0, OPT_FLAG, offsetof(struct bill_options, all), NULL,
     N_("with --verify: every receipt kept here, and every signature in each")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

static void
free_entry(struct bill_entry *en)
{
    bill_clear(&en->bill);
    receipt_free(en->receipt);
    job_record_free(&en->record);
}

void
bill_entries_free(struct bill_entries *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free_entry(&l->v[i]);
    }
    free(l->v);
    free(l->front);
    strings_free(&l->refused);
    strings_free(&l->waiting);
}

/* The session's lines, and keeping's where its data has gone. */
static int
make_bill(const struct cli *c, struct bill_entry *en, struct err *e)
{
    struct keeping k;
    bool there = false;
    int rc;

    if (bill_from_receipt(&en->bill, en->receipt, e) != 0) {
        return -1;
    }
    en->disputed = bill_dispute_of(c->home, en->receipt, &en->dispute);
    rc = keepings_load(c->home, en->receipt, &there, &k, e);
    if (rc == 0 && there) {
        rc = bill_add_keeping(&en->bill, &k, en->receipt, e);
    } else if (rc == 0 && en->receipt->keep_hold_fen > 0 &&
               clock_wall_ns() >= en->receipt->keep_until_wall_ns) {
        /* As every book posts it, in which it has gone by itself. */
        rc = bill_add_keeping_end(&en->bill, en->receipt, e);
    }
    if (rc != 0) {
        bill_clear(&en->bill);
    }
    keeping_clear(&k);
    return rc;
}

/* What is on record here of a job, and where its receipt is. */
static void
open_entry(const struct cli *c, const char *job, struct bill_entry *en,
           struct sign_public *key, struct receipt_task *t)
{
    struct err ignored;

    memset(en, 0, sizeof *en);
    job_record_init(&en->record);
    (void)!jobs_load(c->home, job, &en->record, &ignored);
    t->path = home_path(c->home, "receipts", job);
    t->pins.job = job;
    t->pins.host = bill_pinned_key(c->home, en->record.host, key) ? key : NULL;
}

/* The first that is wrong is the error, and each after it is told: one wrong receipt
 * hides no other, and no sum that lacks some goes for one that does not. */
static int
refused(const struct cli *c, struct bill_entries *l, const char *job, struct err *why,
        struct err *e)
{
    (void)err_wrap(why, _("the receipt of job %s"), job);
    if (l->refused.n == 0) {
        *e = *why;
        if (e->code != ERR_SYSTEM) {
            e->code = ERR_CORRUPT; /* whatever it was: no mistake of typing */
        }
    } else {
        say(c, "%s", why->msg);
    }
    strings_add(&l->refused, job);
    return -1;
}

/* Those whose receipt or lines are not right go. */
static void
drop_refused(struct bill_entries *l)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].right) {
            l->v[n++] = l->v[i];
        } else {
            free_entry(&l->v[i]);
        }
    }
    l->n = n;
}

/*
 * All of them at once: what takes time is verifying. Each that is wrong is told.
 * known: what was verified before, and is now; NULL: nothing is taken for known.
 */
static int
add_entries(const struct cli *c, struct bill_entries *l, char (*jobs)[JOB_ID_LEN + 1],
            size_t n, struct verified *known, struct err *e)
{
    struct receipt_task *tasks = xcalloc(n, sizeof *tasks);
    struct sign_public *keys = xcalloc(n, sizeof *keys);
    struct bill_entry *en;
    int rc = 0;

    l->v = xrealloc(l->v, (l->n + n) * sizeof *l->v);
    en = l->v + l->n;
    for (size_t i = 0; i < n; i++) {
        open_entry(c, jobs[i], &en[i], &keys[i], &tasks[i]);
        if (known != NULL) {
            tasks[i].pins.known = verified_hash(known, jobs[i], tasks[i].pins.host);
            tasks[i].pins.gist = verified_gist(known, jobs[i], &tasks[i].pins.own);
        }
    }
    l->n += n;
    receipt_verify_files(tasks, n);
    for (size_t i = 0; i < n; i++) {
        en[i].receipt = tasks[i].out;
        if (known != NULL && tasks[i].out != NULL) {
            verified_note(known, jobs[i], tasks[i].pins.host, &tasks[i].out->file_hash);
        }
        en[i].right = en[i].receipt != NULL && make_bill(c, &en[i], &tasks[i].e) == 0;
        if (!en[i].right) {
            rc = refused(c, l, jobs[i], &tasks[i].e, e);
        }
        free((void *)(uintptr_t)tasks[i].path);
        free((void *)(uintptr_t)tasks[i].pins.gist);
    }
    drop_refused(l);
    free(keys);
    free(tasks);
    return rc;
}

static int
by_time(const void *a, const void *b)
{
    const struct bill_entry *x = a;
    const struct bill_entry *y = b;

    return x->receipt->made_wall_ns < y->receipt->made_wall_ns   ? -1
           : x->receipt->made_wall_ns > y->receipt->made_wall_ns ? 1
                                                                 : 0;
}

int
bill_entries_all(const struct cli *c, struct bill_entries *l, bool afresh, struct err *e)
{
    struct receipt_ids ids = {NULL, 0};
    struct verified *known = afresh ? NULL : verified_open(c->home);
    int rc = receipts_list(c->home, &ids, e);
    struct err ignored;

    if (rc == 0 && ids.n > 0) {
        rc = add_entries(c, l, ids.v, ids.n, known, e);
    }
    if (rc == 0 && known != NULL && verified_save(known, &ignored) != 0) {
        say_more(c, "%s", ignored.msg);
    }
    verified_close(known);
    free(ids.v);
    if (l->n > 0) {
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
    struct err why;
    int rc = -1;

    job_record_init(&job);
    c->stage = STAGE_TRYING;
    if (context_open(&cl, c, e) != 0 || context_find_job(&cl, what, &job, e) != 0) {
        goto out;
    }
    memcpy(id, job.id, JOB_ID_LEN + 1);
    if (receipts_kept(c->home, id)) {
        rc = 0;
        goto out;
    }
    if (context_session(&cl, job.host, CONTEXT_PATIENCE_NS, &s, e) != 0 ||
        fetch_new(&f, &cl, s, id, e) != 0) {
        goto out;
    }
    fetch_refresh(f, session_conn(s));
    if (fetch_wait_present(f, CONTEXT_ANSWER_NS, &r, e) == 0) {
        receipt_free(r);
        rc = 0;
        if (purse_deliver(&cl, id, &why) != 0) {
            say(c, "%s", why.msg);
        }
        refused_say(c);
        due_pay_some(c, &cl, &s, 1);
    } else if (e->code == ERR_NOT_FOUND &&
               purse_unheard(&cl, s, id, job.lease, &why) == 0) {
        /* It was submitted, and its host never heard of it, or has lost all of it. */
        err_wrap(e, _("what was held for job %s is free again"), id);
    }

out:
    fetch_free(f);
    session_close(s);
    job_record_free(&job);
    context_close(&cl);
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

/* A spreadsheet takes a file for UTF-8 by its first three bytes, and wants CRLF. */
static void
for_excel(struct buf *b)
{
    struct buf out = BUF_INIT;

    buf_add_str(&out, "\xef\xbb\xbf");
    for (size_t i = 0; i < b->len; i++) {
        if (b->data[i] == '\n') {
            buf_add_u8(&out, '\r');
        }
        buf_add_u8(&out, b->data[i]);
    }
    buf_free(b);
    *b = out;
}

static void
print_periods(const struct cli *c, const struct bill_options *o,
              const struct bill_entries *l, struct buf *out)
{
    bool by_day = strcmp(o->by, "day") == 0;
    struct bill_periods p;

    bill_periods_of(&p, l, o->month, by_day);
    if (o->csv) {
        bill_periods_csv(&p, l, by_day, out);
    } else if (c->g.json) {
        bill_periods_json(&p, l, by_day, o->month, out);
    } else {
        bill_periods_text(&p, by_day, out);
    }
    bill_periods_free(&p);
}

static void
print_view(const struct cli *c, const struct bill_options *o,
           const struct bill_entries *l, bool single, const struct bill_paper *paper,
           struct buf *out)
{
    bool text = !o->csv && !c->g.json && o->output == NULL;

    if (o->plot && o->output != NULL) {
        bill_plot_svg(l, o->month, out);
    } else if (o->plot) {
        bill_plot_text(l, o->month, out);
    } else if (o->by != NULL && strcmp(o->by, "job") != 0) {
        print_periods(c, o, l, out);
    } else if (o->csv) {
        bill_view_csv(l, o, out);
    } else if (c->g.json) {
        bill_view_json(l, o, single ? NULL : paper, out);
    } else if (single) {
        bill_one_text(&l->v[0], o, out);
    } else {
        bill_all_text(l, o, out);
    }
    if (text && !single && l->refused.n > 0) {
        bill_lacks_text(l, out);
    } else if (text && !o->plot && !single) {
        bill_paper_text(paper, out);
    }
    if (text && !single) {
        bill_waiting_text(l, out);
    }
    if (o->excel) {
        for_excel(out);
    }
}

static int
write_view(const struct cli *c, const struct bill_options *o, const struct buf *out,
           struct err *e)
{
    if (o->output == NULL) {
        return out_write(out, e);
    }
    if (land_check_file(AT_FDCWD, o->output, o->output, e) != 0 ||
        file_replace(o->output, out->data, out->len, e) != 0) {
        return -1;
    }
    say(c, _("drawn into %s"), o->output);
    return 0;
}

/* What is no session's receipt, but belongs beside them. */
static int
load_rest(const struct cli *c, struct bill_entries *l, const char *month, struct err *e)
{
    return bill_front_all(c, l, e) == 0 ? bill_waiting_find(c, l, month, e) : -1;
}

/* All bills; or those that are right, *partial: each view says that it lacks some. */
static int
load_all(const struct cli *c, struct bill_entries *l, const char *month, bool *partial,
         struct err *e)
{
    struct err rest;
    int rc = bill_entries_all(c, l, false, e);

    if (rc == 0) {
        return load_rest(c, l, month, e);
    }
    *partial = l->refused.n > 0 && load_rest(c, l, month, &rest) == 0;
    return -1;
}

static int
print_bills(struct cli *c, const struct bill_options *o, const struct words *w,
            struct err *e)
{
    struct bill_entries l = {.v = NULL};
    struct bill_paper paper;
    struct config *cfg = NULL;
    struct buf out = BUF_INIT;
    char id[JOB_ID_LEN + 1];
    struct err later;
    bool partial = false;
    int rc = -1;

    if (config_open(&cfg, c->home, e) != 0) {
        return -1;
    }
    if (w->n == 1) {
        rc = fetch_receipt(c, w->v[0], id, e) == 0 ? add_entries(c, &l, &id, 1, NULL, e)
                                                   : -1;
    } else {
        rc = load_all(c, &l, o->month, &partial, e);
    }
    if (rc != 0 && e->code != ERR_NOT_FOUND && e->code != ERR_INVALID) {
        c->stage = STAGE_TRYING; /* a receipt that is not right is no mistake of typing */
    }
    if (rc == 0) {
        rc = bill_paper_of(&paper, cfg, bill_sum(&l, o->month), e);
    } else if (partial) {
        partial = bill_paper_of(&paper, cfg, bill_sum(&l, o->month), &later) == 0;
    }
    c->stage = rc == 0 ? STAGE_TRYING : c->stage;
    if (rc == 0 || partial) {
        print_view(c, o, &l, w->n == 1, &paper, &out);
        if (o->csv || o->output != NULL) {
            bill_waiting_say(c, &l);
        }
        rc = write_view(c, o, &out, rc == 0 ? e : &later) == 0 ? rc : -1;
    }
    buf_free(&out);
    bill_entries_free(&l);
    config_free(cfg);
    return rc;
}

static int
check_options(const struct bill_options *o, bool json, struct err *e)
{
    bool by_ok = o->by == NULL || strcmp(o->by, "job") == 0 ||
                 strcmp(o->by, "day") == 0 || strcmp(o->by, "month") == 0;

    if (check_month(o->month, e) != 0) {
        return -1;
    }
    if (!by_ok) {
        return err_set(e, ERR_INVALID, "%s", _("--by wants job, day or month"));
    }
    if (o->excel && !o->csv) {
        return err_set(e, ERR_INVALID, "%s", _("--excel goes with --csv"));
    }
    if (o->output != NULL && !o->plot) {
        return err_set(e, ERR_INVALID, "%s", _("-o goes with --plot"));
    }
    if (json && (o->csv || o->plot)) {
        return err_set(e, ERR_INVALID, _("--json and --%s are two forms of one bill"),
                       o->csv ? "csv" : "plot");
    }
    if (o->verify && (o->csv || o->month != NULL || o->by != NULL)) {
        return err_set(e, ERR_INVALID, "%s", _("--verify goes alone, or with --all"));
    }
    if (o->plot && (o->csv || o->verify || o->by != NULL)) {
        return err_set(e, ERR_INVALID, "%s",
                       _("--plot goes alone, or with --month and -o"));
    }
    return o->all && !o->verify
               ? err_set(e, ERR_INVALID, "%s", _("--all goes with --verify"))
               : 0;
}

static int
run_bill(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct bill_options *o = options;

    if (check_options(o, c->g.json, e) != 0) {
        return -1;
    }
    if (!o->verify) {
        return print_bills(c, o, w, e);
    }
    if (w->n == 0 && !o->all) {
        return err_set(e, ERR_INVALID, "%s",
                       _("--verify wants a FILE or a JOB, or --all"));
    }
    /* A receipt that is not right is no mistake of typing. */
    if ((w->n == 0 ? bill_verify_all(c, e) : bill_verify_one(c, w->v[0], true, e)) == 0) {
        return 0;
    }
    c->stage = e->code == ERR_NOT_FOUND && w->n == 1 ? STAGE_INPUT : STAGE_TRYING;
    if (c->stage == STAGE_TRYING && e->code != ERR_SYSTEM) {
        e->code = ERR_CORRUPT;
    }
    return -1;
}

const struct command cmd_bill = {
    .name = "bill",
    .usage = N_(
        "[JOB] [--month YYYY-MM] [--by job|day|month] [--csv [--excel]] | [JOB] --plot "
        "[-o FILE.svg] | --verify FILE|JOB | --verify --all"),
    .help = N_("what jobs have cost, recomputed from the hosts' signed records"),
    .options = options_bill,
    .options_size = sizeof(struct bill_options),
    .max_words = 1,
    .word = WORD_JOB,
    .run = run_bill,
};
