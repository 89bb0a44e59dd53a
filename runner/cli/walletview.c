#include "runner/cli/walletview.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/context.h"
#include "runner/cli/out.h"
#include "runner/cli/refused.h"
#include "runner/client/hosts.h"
#include "runner/client/jobs.h"
#include "runner/client/known_hosts.h"
#include "runner/client/purse.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define NUMBER_MAX 24

/* ---- which book ---- */

static int
meet(struct cli *c, struct host *h, const char *host_key, struct err *e)
{
    struct client cl = {.loop = NULL};
    char hex[2 * SIGN_PUBLIC_LEN + 1];
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    int rc = -1;

    if (context_open(&cl, c, e) == 0 && purse_use(&cl, h, host_key, e) == 0) {
        char *where = host_where(h);

        sign_public_format(&h->key, hex);
        say(c, _("runs are paid by the book at %s from now on"), where);
        if (c->g.json) {
            json_obj(&j);
            json_kstr(&j, "book", hex);
            json_kstr(&j, "where", where);
            json_obj_end(&j);
            buf_add_str(&out, "\n");
        } else {
            buf_printf(&out, "%s\n", hex);
        }
        free(where);
        rc = out_write(&out, e);
    }
    buf_free(&out);
    context_close(&cl);
    return rc;
}

int
walletview_use(struct cli *c, const char *target, const char *host_key, struct err *e)
{
    struct host h;
    char *remark = NULL;
    int rc = -1;

    if (strcmp(target, "own") == 0) {
        rc = purse_use_own(c->home, e);
        if (rc == 0) {
            say(c, "%s", _("runs are paid by your own book from now on"));
        }
        return rc;
    }
    host_init(&h);
    h.name = xstrdup("book");
    h.command = xstrdup(COUNTER_COMMAND);
    h.added_wall_ns = clock_wall_ns();
    if (host_key != NULL && ssh_fingerprint_check(host_key, e) != 0) {
        (void)err_wrap(e, "--host-key");
    } else if (host_parse_target(&h, target, &remark, e) == 0) {
        if (remark != NULL) {
            say(c, "%s", remark);
        }
        c->stage = STAGE_TRYING;
        rc = meet(c, &h, host_key, e);
    }
    free(remark);
    host_free(&h);
    return rc;
}

/* ---- what it says ---- */

/* The next of a line's words, cut off it; NULL: there is none. */
static char *
word(char **line)
{
    return strsep(line, " ");
}

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
bad_line(struct err *e)
{
    return err_set(e, ERR_CORRUPT, "%s", _("the book says something unreadable"));
}

static int
put_hold(const char *text, const struct job_list *jobs, struct table *t,
         struct json_writer *j, struct err *e)
{
    char *copy = xstrdup(text);
    char *line = copy;
    const char *lease = word(&line);
    const char *what = word(&line);
    const char *fen_text = word(&line);
    const struct job_record *job = job_of(jobs, lease);
    char money[OUT_MONEY_MAX];
    int64_t fen = 0;
    int rc = -1;

    if (fen_text == NULL || text_parse_int(fen_text, 0, INT64_MAX, "fen", &fen, e) != 0) {
        (void)bad_line(e);
    } else if (j != NULL) {
        json_obj(j);
        json_kstr(j, "lease", lease);
        json_kstr(j, "job", job != NULL ? job->id : NULL);
        json_kstr(j, "name", job != NULL ? job->name : NULL);
        json_kstr(j, "for", what);
        json_kint(j, "held_fen", fen);
        json_obj_end(j);
        rc = 0;
    } else {
        table_cell(t, job != NULL ? job->id : lease);
        table_cell(t, job != NULL ? job->name : NULL);
        table_cell(t, strcmp(what, "keeping") == 0 ? _("keeping its data") : _("a run"));
        table_cell(t, out_fen(fen, money));
        rc = 0;
    }
    free(copy);
    return rc;
}

static int
put_holds(const struct rec *r, const struct job_list *jobs, struct table *t,
          struct json_writer *j, struct err *e)
{
    for (size_t i = 0; i < rec_count(r, "hold"); i++) {
        if (put_hold(rec_get_nth(r, "hold", i, NULL), jobs, t, j, e) != 0) {
            return -1;
        }
    }
    return 0;
}

/* "ID FREE PROMISED LEAST UNTIL" */
static int
put_voucher(const char *text, struct table *t, struct json_writer *j, struct err *e)
{
    char *copy = xstrdup(text);
    char *line = copy;
    const char *id = word(&line);
    int64_t fen[3] = {0, 0, 0};
    const char *until;
    char money[OUT_MONEY_MAX];
    int rc = -1;

    for (size_t i = 0; i < 3; i++) {
        const char *w = word(&line);

        if (w == NULL || text_parse_int(w, 0, INT64_MAX, "fen", &fen[i], e) != 0) {
            (void)bad_line(e);
            goto out;
        }
    }
    until = word(&line);
    if (until == NULL) {
        (void)bad_line(e);
        goto out;
    }
    if (j != NULL) {
        json_obj(j);
        json_kstr(j, "id", id);
        json_kint(j, "free_fen", fen[0]);
        json_kint(j, "promised_fen", fen[1]);
        json_kint(j, "min_spend_fen", fen[2]);
        json_kstr(j, "until", strcmp(until, "-") != 0 ? until : NULL);
        json_obj_end(j);
    } else {
        table_cell(t, id);
        for (size_t i = 0; i < 3; i++) {
            table_cell(t, out_fen(fen[i], money));
        }
        table_cell(t, until);
    }
    rc = 0;

out:
    free(copy);
    return rc;
}

static int
put_vouchers(const struct rec *r, struct buf *out, struct json_writer *j, struct err *e)
{
    const char *headers[] = {_("VOUCHER"),    _(">FREE"), _(">PROMISED"),
                             _(">MIN SPEND"), _("UNTIL"), NULL};
    struct table *t = table_new(headers);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < rec_count(r, "voucher"); i++) {
        rc = put_voucher(rec_get_nth(r, "voucher", i, NULL), t, j, e);
    }
    if (rc == 0 && table_rows(t) > 0) {
        table_print(t, out);
    }
    table_free(t);
    return rc;
}

/* What an account holds, as its book says it. */
struct funds {
    const struct rec *told;
    struct job_list jobs;
    char *where; /* its book */
    char hex[2 * SIGN_PUBLIC_LEN + 1];
    int64_t balance;
    int64_t held;
    int64_t free_fen;
    int64_t reach_fen;
    size_t n_waiting;
};

static int
take_funds(struct funds *f, const struct cli *c, const struct host *h, struct err *e)
{
    const struct rec *r = f->told;

    f->where = host_where(h);
    sign_public_format(&h->key, f->hex);
    return jobs_list(c->home, &f->jobs, e) == 0 &&
                   rec_need_int(r, "balance", 0, INT64_MAX, &f->balance, e) == 0 &&
                   rec_need_int(r, "held", 0, INT64_MAX, &f->held, e) == 0 &&
                   rec_need_int(r, "free", 0, INT64_MAX, &f->free_fen, e) == 0
               ? rec_opt_int(r, "reach", 0, INT64_MAX, f->free_fen, &f->reach_fen, e)
               : -1;
}

static int
funds_json(const struct cli *c, const struct funds *f, struct buf *out, struct err *e)
{
    struct json_writer j = json_to(out);
    int rc;

    json_obj(&j);
    json_kbool(&j, "wallet", true);
    json_kstr(&j, "book", f->hex);
    json_kstr(&j, "where", f->where);
    json_kstr(&j, "account", rec_get(f->told, "account"));
    json_kint(&j, "balance_fen", f->balance);
    json_kint(&j, "held_fen", f->held);
    json_kint(&j, "free_fen", f->free_fen);
    json_kint(&j, "reach_fen", f->reach_fen);
    json_kint(&j, "waiting", (int64_t)f->n_waiting);
    json_key(&j, "holds");
    json_arr(&j);
    rc = put_holds(f->told, &f->jobs, NULL, &j, e);
    json_arr_end(&j);
    json_key(&j, "vouchers");
    json_arr(&j);
    rc = rc == 0 ? put_vouchers(f->told, NULL, &j, e) : -1;
    json_arr_end(&j);
    rc = rc == 0 ? refused_put(c, NULL, &j, e) : -1;
    json_obj_end(&j);
    buf_add_str(out, "\n");
    return rc;
}

static int
funds_text(const struct cli *c, const struct funds *f, struct buf *out, struct err *e)
{
    const char *headers[] = {_("HELD FOR"), _("NAME"), _("WHAT"), _(">AMOUNT"), NULL};
    struct table *t = table_new(headers);
    char a[OUT_MONEY_MAX];
    char b[OUT_MONEY_MAX];
    char free_text[OUT_MONEY_MAX];
    int rc;

    buf_printf(out, _("the book at %s: balance %s, of it held %s, free %s\n"), f->where,
               out_fen(f->balance, a), out_fen(f->held, b),
               out_fen(f->free_fen, free_text));
    if (f->reach_fen > f->free_fen) {
        buf_printf(out, _("with vouchers a run may hold %s\n"), out_fen(f->reach_fen, a));
    }
    rc = put_holds(f->told, &f->jobs, t, NULL, e);
    if (rc == 0 && table_rows(t) > 0) {
        table_print(t, out);
    }
    table_free(t);
    rc = rc == 0 ? put_vouchers(f->told, out, NULL, e) : -1;
    if (f->n_waiting > 0) {
        buf_printf(out, _("%zu without a receipt yet: `gpurun bill JOB` fetches it\n"),
                   f->n_waiting);
    }
    return rc == 0 ? refused_put(c, out, NULL, e) : -1;
}

static int
show_funds(const struct cli *c, const struct rec *r, const struct host *h,
           size_t n_waiting, struct err *e)
{
    struct funds f = {.told = r, .n_waiting = n_waiting};
    struct buf out = BUF_INIT;
    int rc = take_funds(&f, c, h, e);

    if (rc == 0) {
        rc = c->g.json ? funds_json(c, &f, &out, e) : funds_text(c, &f, &out, e);
    }
    rc = rc == 0 ? out_write(&out, e) : -1;
    free(f.where);
    job_list_free(&f.jobs);
    buf_free(&out);
    return rc;
}

int
walletview_funds(struct cli *c, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct purse *p = NULL;
    struct rec *req = msg_request_new(VERB_BOOK_FUNDS);
    struct rec *resp = NULL;
    struct host h;
    size_t n_waiting = 0;
    bool used = false;
    struct err why;
    int rc = -1;

    host_init(&h);
    if (context_open(&cl, c, e) != 0 || purse_open(&p, &cl, e) != 0 ||
        purse_in_use(c->home, &used, &h, e) != 0) {
        goto out;
    }
    if (purse_sync(&cl, &n_waiting, &why) != 0) {
        say(c, "%s", why.msg);
    }
    refused_say(c);
    if (counter_call(purse_counter(p), req, &resp, e) == 0) {
        rc = show_funds(c, resp, &h, n_waiting, e);
    }

out:
    rec_free(resp);
    rec_free(req);
    purse_close(p);
    host_free(&h);
    context_close(&cl);
    return rc;
}

/* ---- what happened ---- */

static int
put_entry(const char *text, struct table *t, struct json_writer *j, int64_t *n,
          struct err *e)
{
    char *copy = xstrdup(text);
    char *line = copy;
    const char *w[7];
    const char *voucher;
    int64_t v[5] = {0, 0, 0, 0, 0};
    char when[OUT_TIME_MAX > CLOCK_TEXT_MAX ? OUT_TIME_MAX : CLOCK_TEXT_MAX];
    char money[OUT_MONEY_MAX];
    int rc = -1;

    for (size_t i = 0; i < 7; i++) {
        w[i] = word(&line);
        if (w[i] == NULL) {
            (void)bad_line(e);
            goto out;
        }
    }
    voucher = word(&line); /* a book of before there were any says nothing */
    if (text_parse_int(w[0], 1, INT64_MAX, "n", &v[0], e) != 0 ||
        text_parse_int(w[4], INT64_MIN, INT64_MAX, "at", &v[1], e) != 0 ||
        text_parse_int(w[5], INT64_MIN, INT64_MAX, "fen", &v[2], e) != 0 ||
        text_parse_int(w[6], INT64_MIN, INT64_MAX, "fen", &v[3], e) != 0 ||
        (voucher != NULL &&
         text_parse_int(voucher, INT64_MIN, INT64_MAX, "fen", &v[4], e) != 0)) {
        (void)bad_line(e);
        goto out;
    }
    *n = v[0];
    if (j != NULL) {
        clock_format_utc(v[1], 9, when);
        json_obj(j);
        json_kint(j, "n", v[0]);
        json_kstr(j, "id", w[1]);
        json_kstr(j, "kind", w[2]);
        json_kstr(j, "lease", strcmp(w[3], "-") != 0 ? w[3] : NULL);
        json_kstr(j, "at", when);
        json_kint(j, "at_ns", v[1]);
        json_kint(j, "balance_change_fen", v[2]);
        json_kint(j, "held_change_fen", v[3]);
        json_kint(j, "voucher_change_fen", v[4]);
        json_obj_end(j);
    } else {
        table_cell(t, w[0]);
        table_cell(t, out_time(v[1], when));
        table_cell(t, w[2]);
        table_cell(t, strcmp(w[3], "-") != 0 ? w[3] : NULL);
        table_cell(t, out_fen(v[2], money));
        table_cell(t, out_fen(v[3], money));
        table_cell(t, out_fen(v[4], money));
    }
    rc = 0;

out:
    free(copy);
    return rc;
}

/* One answer holds so many entries; the next begins behind its last. */
static int
ask_log(struct purse *p, int64_t from_ns, int64_t to_ns, struct table *t,
        struct json_writer *j, struct err *e)
{
    int64_t after = 0;
    size_t n = BOOK_LOG_MAX;
    int rc = 0;

    while (rc == 0 && n == BOOK_LOG_MAX) {
        struct rec *req = msg_request_new(VERB_BOOK_LOG);
        struct rec *resp = NULL;

        rec_add_int(req, "from_wall_ns", from_ns);
        rec_add_int(req, "to_wall_ns", to_ns);
        rec_add_int(req, "after", after);
        rc = counter_call(purse_counter(p), req, &resp, e);
        n = rc == 0 ? rec_count(resp, "entry") : 0;
        for (size_t i = 0; i < n && rc == 0; i++) {
            rc = put_entry(rec_get_nth(resp, "entry", i, NULL), t, j, &after, e);
        }
        rec_free(req);
        rec_free(resp);
    }
    return rc;
}

int
walletview_log(struct cli *c, int64_t from_wall_ns, int64_t to_wall_ns, struct err *e)
{
    const char *headers[] = {_(">N"),       _("WHEN"),  _("WHAT"),      _("LEASE"),
                             _(">BALANCE"), _(">HELD"), _(">VOUCHERS"), NULL};
    struct client cl = {.loop = NULL};
    struct purse *p = NULL;
    struct buf out = BUF_INIT;
    struct json_writer j = json_to(&out);
    struct table *t = table_new(headers);
    int rc = -1;

    json_arr(&j);
    if (context_open(&cl, c, e) == 0 && purse_open(&p, &cl, e) == 0) {
        rc = ask_log(p, from_wall_ns, to_wall_ns, t, c->g.json ? &j : NULL, e);
    }
    json_arr_end(&j);
    if (c->g.json) {
        buf_add_str(&out, "\n");
    } else {
        buf_reset(&out);
        table_print(t, &out);
    }
    rc = rc == 0 ? out_write(&out, e) : -1;
    table_free(t);
    buf_free(&out);
    purse_close(p);
    context_close(&cl);
    return rc;
}
