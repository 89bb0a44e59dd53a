#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/lang.h"
#include "meter/calendar.h"
#include "meter/money.h"
#include "runner/cli/bill.h"
#include "runner/cli/out.h"

#define NS_PER_S ((int64_t)1000000000)
#define DAY_S    86400
/* No line is as long: a clock was set on. It is of its begin then, as its month is. */
#define SPAN_MAX_S (366 * (int64_t)DAY_S)

static struct bill_period *
period_at(struct bill_periods *p, int64_t wall_s, bool by_day)
{
    char name[CALENDAR_MONTH_MAX];
    size_t at = 0;

    if (by_day) {
        calendar_day(wall_s, name);
    } else {
        calendar_month(wall_s, name);
    }
    while (at < p->n && strcmp(p->v[at].name, name) < 0) {
        at++;
    }
    if (at == p->n || strcmp(p->v[at].name, name) != 0) {
        p->v = xrealloc(p->v, (p->n + 1) * sizeof *p->v);
        memmove(&p->v[at + 1], &p->v[at], (p->n - at) * sizeof *p->v);
        memset(&p->v[at], 0, sizeof p->v[at]);
        memcpy(p->v[at].name, name, sizeof name);
        p->n++;
    }
    return &p->v[at];
}

static int64_t
next_cut(int64_t wall_s, bool by_day)
{
    int64_t day = (wall_s + CALENDAR_OFFSET_S) / DAY_S;

    return by_day ? (day + 1) * DAY_S - CALENDAR_OFFSET_S : calendar_month_end(wall_s);
}

/* A part of whole that lies before at of span: a floor, so parts are differences. */
static int64_t
share_of(int64_t whole, int64_t at, int64_t span)
{
    return (int64_t)((__int128)whole * at / span);
}

static bool
is_device(const struct bill_line *l)
{
    return l->kind == BILL_DEVICE || l->kind == BILL_WINDOW;
}

static void
add_line(struct bill_periods *p, const struct bill_line *l, bool by_day)
{
    int64_t from_s = l->from_wall_ns / NS_PER_S;
    int64_t to_s = l->to_wall_ns / NS_PER_S;
    int64_t span_s = to_s - from_s <= SPAN_MAX_S ? to_s - from_s : 0;
    int64_t device_s = is_device(l) ? l->seconds : 0;
    int64_t done_fen = 0;
    int64_t done_s = 0;

    /* A label that went back, or leapt, says nothing of where the time lay: all to its
     * begin. Else a host that says it ran from 1970 until now fills 20,000 days. */
    for (int64_t at = from_s; span_s > 0 && at < to_s;) {
        int64_t cut = next_cut(at, by_day);
        int64_t end = cut < to_s ? cut : to_s;
        int64_t fen = share_of(l->fen, end - from_s, span_s);
        int64_t s = share_of(device_s, end - from_s, span_s);
        struct bill_period *to = period_at(p, at, by_day);

        to->fen += fen - done_fen;
        to->device_s += s - done_s;
        done_fen = fen;
        done_s = s;
        at = end;
    }
    if (span_s <= 0) {
        struct bill_period *to = period_at(p, from_s, by_day);

        to->fen += l->fen;
        to->device_s += device_s;
    }
}

void
bill_periods_of(struct bill_periods *out, const struct bill_entries *l, const char *month,
                bool by_day)
{
    *out = (struct bill_periods){NULL, 0};
    for (size_t i = 0; i < l->n; i++) {
        const struct bill_entry *en = &l->v[i];

        for (size_t k = 0; k < en->bill.n_lines; k++) {
            const struct bill_line *line = &en->bill.lines[k];

            if (line->kind != BILL_FREE &&
                (month == NULL || strcmp(line->month, month) == 0)) {
                add_line(out, line, by_day);
            }
        }
        if (bill_touches_month(en, month)) {
            period_at(out, en->receipt->last.at.wall_ns / NS_PER_S, by_day)->n_jobs++;
        }
    }
    for (size_t i = 0; i < l->n_front; i++) {
        const struct bill_front *f = &l->front[i];

        if (bill_front_in(f, month)) { /* paid at one moment, for time to come */
            period_at(out, f->wall_ns / NS_PER_S, by_day)->fen += f->fen;
        }
    }
}

void
bill_periods_free(struct bill_periods *p)
{
    free(p->v);
    *p = (struct bill_periods){NULL, 0};
}

static int64_t
sum_of(const struct bill_periods *p)
{
    int64_t fen = 0;

    for (size_t i = 0; i < p->n; i++) {
        fen += p->v[i].fen;
    }
    return fen;
}

void
bill_periods_text(const struct bill_periods *p, bool by_day, struct buf *out)
{
    const char *headers[] = {by_day ? _("DAY") : _("MONTH"), _(">JOBS ENDED"),
                             _(">DEVICE S"), _(">AMOUNT"), NULL};
    struct table *t = table_new(headers);
    char money[OUT_MONEY_MAX];

    for (size_t i = 0; i < p->n; i++) {
        table_cell(t, p->v[i].name);
        table_cellf(t, "%zu", p->v[i].n_jobs);
        table_cellf(t, "%" PRId64, p->v[i].device_s);
        table_cell(t, out_fen(p->v[i].fen, money));
    }
    table_print(t, out);
    table_free(t);
    buf_printf(out, _("total %s\n"), out_fen(sum_of(p), money));
}

void
bill_periods_json(const struct bill_periods *p, const struct bill_entries *l, bool by_day,
                  const char *month, struct buf *out)
{
    struct json_writer w = json_to(out);
    struct json_writer *j = &w;

    json_obj(j);
    json_key(j, by_day ? "days" : "months");
    json_arr(j);
    for (size_t i = 0; i < p->n; i++) {
        json_obj(j);
        json_kstr(j, by_day ? "day" : "month", p->v[i].name);
        json_kint(j, "jobs_ended", (int64_t)p->v[i].n_jobs);
        json_kint(j, "device_s", p->v[i].device_s);
        json_kint(j, "fen", p->v[i].fen);
        json_obj_end(j);
    }
    json_arr_end(j);
    json_kstr(j, "month", month);
    json_kint(j, "total_fen", sum_of(p));
    bill_lacks_json(l, j);
    json_obj_end(j);
    buf_add_str(out, "\n");
}

void
bill_periods_csv(const struct bill_periods *p, const struct bill_entries *l, bool by_day,
                 struct buf *out)
{
    buf_printf(out, "%s,jobs_ended,device_s,fen\n", by_day ? "day" : "month");
    for (size_t i = 0; i < p->n; i++) {
        buf_printf(out, "%s,%zu,%" PRId64 ",%" PRId64 "\n", p->v[i].name, p->v[i].n_jobs,
                   p->v[i].device_s, p->v[i].fen);
    }
    if (l->refused.n > 0) {
        buf_printf(out, "refused,%zu,,\n", l->refused.n);
    }
}
