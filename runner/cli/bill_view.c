#include "base/lang.h"
#include "runner/cli/bill.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "meter/money.h"
#include "meter/share.h"
#include "runner/cli/out.h"

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
        return err_words(usage_state_name(l->state));
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
put_total(int64_t fen, const char *month, struct buf *out)
{
    char money[OUT_MONEY_MAX];

    buf_printf(out, _("total %s%s%s"), out_fen(fen, money),
               month != NULL ? _(" in ") : "", month != NULL ? month : "");
}

void
bill_one_text(const struct bill_entry *en, const struct bill_options *o, struct buf *out)
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
    if (r->offer->level[0] != '\0') {
        buf_printf(out, _("at level %s: %" PRId64 ".%02d %% of the host's price\n"),
                   r->offer->level, r->offer->level_bps / 100,
                   (int)(r->offer->level_bps % 100));
    }
    t = table_new(headers);
    for (size_t i = 0; i < en->bill.n_lines; i++) {
        if (in_month(&en->bill.lines[i], o->month)) {
            line_row(t, &en->bill.lines[i], true);
        }
    }
    table_print(t, out);
    table_free(t);
    put_total(bill_month_fen(en, o->month), o->month, out);
    if (en->bill.keep_hold_fen > 0) {
        buf_printf(out, _("; %s held for keeping the data"),
                   out_fen(en->bill.keep_hold_fen, money));
    }
    if (en->bill.busy_bps >= 0) {
        buf_printf(out,
                   _("; the device was busy %" PRId64 ".%02d %% of its time, idle the "
                     "rest"),
                   en->bill.busy_bps / 100, (int)(en->bill.busy_bps % 100));
    }
    buf_add_str(out, _("; signed by the host, verified here\n"));
    if (en->disputed) {
        bill_dispute_text(&en->dispute, out);
    }
}

int64_t
bill_month_fen(const struct bill_entry *en, const char *month)
{
    struct bill_part p = bill_part_of(&en->bill, month);

    return p.charge_fen + p.keeping_fen;
}

bool
bill_touches_month(const struct bill_entry *en, const char *month)
{
    return bill_part_of(&en->bill, month).n_lines > 0;
}

void
bill_all_text(const struct bill_entries *l, const struct bill_options *o, struct buf *out)
{
    const char *headers[] = {_("JOB"), _("NAME"),      _("HOST"),    _("ENDED"),
                             _("HOW"), _(">DEVICE S"), _(">AMOUNT"), NULL};
    struct table *t = table_new(headers);
    int64_t total_fen = 0;
    char money[OUT_MONEY_MAX];
    char when[OUT_TIME_MAX];

    for (size_t i = 0; i < l->n; i++) {
        const struct bill_entry *en = &l->v[i];
        int64_t fen = bill_month_fen(en, o->month);

        if (!bill_touches_month(en, o->month)) {
            continue;
        }
        total_fen += fen;
        table_cell(t, en->receipt->job);
        table_cell(t, en->record.name);
        table_cell(t, en->record.host);
        table_cell(t, out_time(en->receipt->last.at.wall_ns, when));
        if (en->receipt->exit_code >= 0) {
            table_cellf(t, "%s %d", err_words(en->receipt->reason),
                        en->receipt->exit_code);
        } else {
            table_cell(t, err_words(en->receipt->reason));
        }
        table_cellf(t, "%" PRId64, en->receipt->device_s);
        table_cell(t, out_fen(fen, money));
    }
    bill_front_rows(l, o->month, t);
    total_fen += bill_front_sum(l, o->month);
    table_print(t, out);
    table_free(t);
    put_total(total_fen, o->month, out);
    buf_add_str(out, "\n");
    bill_disputes_text(l, o->month, out);
}

void
bill_lacks_text(const struct bill_entries *l, struct buf *out)
{
    unsigned long n = l->refused.n;

    if (n > 0) {
        buf_printf(out,
                   NP_("NOT COMPLETE: the receipt of %lu more job is not right, and not "
                       "in this sum, which is no statement\n",
                       "NOT COMPLETE: the receipts of %lu more jobs are not right, and "
                       "not in this sum, which is no statement\n",
                       n),
                   n);
    }
}

/* ---- JSON and CSV ---- */

/* The bill with the lines of that month only, which are the caller's. */
static struct bill
lines_of_month(const struct bill *b, const char *month)
{
    struct bill part = *b;

    part.lines = xcalloc(b->n_lines + 1, sizeof *part.lines);
    part.n_lines = 0;
    for (size_t i = 0; i < b->n_lines; i++) {
        if (in_month(&b->lines[i], month)) {
            part.lines[part.n_lines++] = b->lines[i];
        }
    }
    return part;
}

static void
entry_json(struct json_writer *j, const struct bill_entry *en, const char *month)
{
    struct bill part = lines_of_month(&en->bill, month);
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
    json_kstr(j, "level", r->offer->level[0] != '\0' ? r->offer->level : NULL);
    json_kint(j, "setup_s", r->setup_s);
    json_kint(j, "device_s", r->device_s);
    json_kint(j, "charge_fen", r->charge_fen);
    json_kint(j, "cap_fen", r->grant.cap_fen);
    json_kint(j, "keep_hold_fen", en->bill.keep_hold_fen);
    json_kint(j, "busy_bps", en->bill.busy_bps);
    json_kstr(j, "snapshot", r->snapshot[0] != '\0' ? r->snapshot : NULL);
    bill_dispute_json(r, en->disputed ? &en->dispute : NULL, j);
    json_key(j, "lines");
    bill_json(j, &part);
    json_obj_end(j);
    free(part.lines);
}

static void
ids_json(const char *key, const struct strings *ids, struct json_writer *j)
{
    json_key(j, key);
    json_arr(j);
    for (size_t i = 0; i < ids->n; i++) {
        json_str(j, ids->v[i]);
    }
    json_arr_end(j);
}

void
bill_lacks_json(const struct bill_entries *l, struct json_writer *j)
{
    json_kbool(j, "complete", l->refused.n == 0);
    ids_json("refused", &l->refused, j);
    ids_json("waiting", &l->waiting, j);
}

void
bill_view_json(const struct bill_entries *l, const struct bill_options *o,
               const struct bill_paper *paper, struct buf *out)
{
    struct json_writer w = json_to(out);
    struct json_writer *j = &w;
    int64_t total_fen = 0;

    if (paper == NULL) {
        entry_json(j, &l->v[0], o->month);
        buf_add_str(out, "\n");
        return;
    }
    json_obj(j);
    json_key(j, "bills");
    json_arr(j);
    for (size_t i = 0; i < l->n; i++) {
        if (bill_touches_month(&l->v[i], o->month)) {
            entry_json(j, &l->v[i], o->month);
            total_fen += bill_month_fen(&l->v[i], o->month);
        }
    }
    json_arr_end(j);
    bill_front_json(l, o->month, j);
    total_fen += bill_front_sum(l, o->month);
    json_kstr(j, "month", o->month);
    json_kint(j, "total_fen", total_fen);
    bill_lacks_json(l, j);
    json_kstr(j, "title", paper->title[0] != '\0' ? paper->title : NULL);
    json_kstr(j, "tax_number", paper->tax_number[0] != '\0' ? paper->tax_number : NULL);
    json_kint(j, "vat_bps", paper->vat_bps);
    json_kint(j, "net_fen", paper->net_fen);
    json_kint(j, "tax_fen", paper->tax_fen);
    json_kbool(j, "fapiao", false);
    json_obj_end(j);
    buf_add_str(out, "\n");
}

void
bill_lacks_csv(const struct bill_entries *l, struct buf *out)
{
    for (size_t i = 0; i < l->refused.n; i++) {
        buf_printf(out, "%s,,refused,,,,,,,,,,the receipt is not right\n",
                   l->refused.v[i]);
    }
}

static void
csv_of(const struct bill_entry *en, const char *month, bool header, struct buf *out)
{
    struct bill part = lines_of_month(&en->bill, month);
    struct buf one = BUF_INIT;
    const char *body;

    bill_csv(&one, &part, en->receipt->job);
    body = strchr(buf_str(&one), '\n');
    buf_add_str(out, header || body == NULL ? buf_str(&one) : body + 1);
    buf_free(&one);
    free(part.lines);
}

void
bill_view_csv(const struct bill_entries *l, const struct bill_options *o, struct buf *out)
{
    for (size_t i = 0; i < l->n; i++) {
        csv_of(&l->v[i], o->month, i == 0, out);
    }
    if (l->n == 0) { /* a table of no rows has columns, too */
        const struct bill none = {.lines = NULL};

        bill_csv(out, &none, "");
    }
    bill_front_csv(l, o->month, out);
    bill_lacks_csv(l, out);
}

/* ---- the statement ---- */

int64_t
bill_sum(const struct bill_entries *l, const char *month)
{
    int64_t fen = 0;

    for (size_t i = 0; i < l->n; i++) {
        fen += bill_month_fen(&l->v[i], month);
    }
    return fen + bill_front_sum(l, month);
}

int
bill_paper_of(struct bill_paper *p, const struct config *cfg, int64_t total_fen,
              struct err *e)
{
    int64_t percent;

    if (text_parse_int(config_get(cfg, "bill-vat"), 0, 100, "bill-vat", &percent, e) !=
        0) {
        return -1;
    }
    p->title = config_get(cfg, "bill-title");
    p->tax_number = config_get(cfg, "bill-tax-number");
    p->vat_bps = percent * 100;
    return share_vat(total_fen, p->vat_bps, &p->net_fen, &p->tax_fen, e);
}

void
bill_paper_text(const struct bill_paper *p, struct buf *out)
{
    char net[OUT_MONEY_MAX];
    char tax[OUT_MONEY_MAX];

    if (p->title[0] != '\0') {
        buf_printf(out, _("for %s"), p->title);
        if (p->tax_number[0] != '\0') {
            buf_printf(out, _(", tax number %s"), p->tax_number);
        }
        buf_add_str(out, "\n");
    } else if (p->tax_number[0] != '\0') {
        buf_printf(out, _("for tax number %s\n"), p->tax_number);
    }
    buf_printf(out,
               _("of it %s net and %s VAT (%" PRId64 " %%); a statement, not a fapiao\n"),
               out_fen(p->net_fen, net), out_fen(p->tax_fen, tax), p->vat_bps / 100);
}
