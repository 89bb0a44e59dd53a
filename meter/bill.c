#include "meter/bill.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "meter/tariff.h"
#include "meter/wide.h"

static const char *const kind_names[BILL_KIND_COUNT] = {
    [BILL_NONE] = "none",       [BILL_FREE] = "free",     [BILL_SETUP] = "setup",
    [BILL_JOB] = "job",         [BILL_DEVICE] = "device", [BILL_WINDOW] = "window",
    [BILL_KEEPING] = "keeping",
};

const char *
bill_kind_name(enum bill_kind k)
{
    return kind_names[k];
}

/*
 * Priced lines are made in order with their exact cost; their fen are then the
 * differences of running floors, whatever their number.
 */
struct draft {
    struct bill *b;
    const struct receipt *r;
    __int128 *cost; /* per line of b; 0 for free ones */
};

static struct bill_line *
add(struct draft *d, enum bill_kind kind, enum usage_state state, __int128 cost)
{
    struct bill *b = d->b;
    struct bill_line *l;

    b->lines = xrealloc(b->lines, (b->n_lines + 1) * sizeof *b->lines);
    d->cost = xrealloc(d->cost, (b->n_lines + 1) * sizeof *d->cost);
    d->cost[b->n_lines] = cost;
    l = &b->lines[b->n_lines++];
    memset(l, 0, sizeof *l);
    l->kind = kind;
    l->state = state;
    l->why = "";
    return l;
}

static void
set_span(struct bill_line *l, int64_t from_wall_ns, int64_t to_wall_ns)
{
    l->from_wall_ns = from_wall_ns;
    l->to_wall_ns = to_wall_ns;
    calendar_month((int64_t)wide_floor_div(from_wall_ns, USAGE_NS_PER_S), l->month);
}

/* From the first to the last interval in which time was booked to the state. */
static void
set_span_of_state(const struct receipt *r, enum usage_state state, struct bill_line *l)
{
    int64_t from = r->made_wall_ns;
    int64_t to = r->made_wall_ns;
    bool any = false;

    for (size_t i = 0; i < r->n_intervals; i++) {
        if (r->intervals[i].spent.ns[state] != 0) {
            from = any ? from : r->intervals[i].from_wall_ns;
            to = r->intervals[i].to_wall_ns;
            any = true;
        }
    }
    set_span(l, from, to);
}

static void
add_free(struct draft *d, enum usage_state state)
{
    int64_t ns = d->r->last.total.ns[state];
    struct bill_line *l;

    if (ns <= 0) {
        return;
    }
    l = add(d, BILL_FREE, state, 0);
    l->why = usage_state_why(state);
    l->seconds = ns / USAGE_NS_PER_S;
    l->ns = ns;
    set_span_of_state(d->r, state, l);
}

/*
 * What is charged of the seconds that were counted; the host bears the rest. To the time
 * granted it is journal_cost's sum; of that, as far as the cap goes.
 */
struct paid {
    int64_t setup_granted_s;
    int64_t run_granted_s;
    int64_t setup_s;
    int64_t run_s;
    int64_t window_s;
};

static bool
fills_cap(const struct grant *g, int64_t setup_s, int64_t device_s)
{
    return grant_cost(g, setup_s, device_s) / TARIFF_COST_PER_FEN >= g->cap_fen;
}

/* The first second, of at most end_s of set-up or of devices, at which the cap is full.
 */
static int64_t
until_cap(const struct grant *g, bool of_setup, int64_t setup_s, int64_t end_s)
{
    int64_t from = 0;

    while (from < end_s) {
        int64_t mid = from + (end_s - from) / 2;

        if (of_setup ? fills_cap(g, mid, 0) : fills_cap(g, setup_s, mid)) {
            end_s = mid;
        } else {
            from = mid + 1;
        }
    }
    return end_s;
}

static void
find_paid(const struct receipt *r, int64_t running_s, struct paid *p)
{
    const struct grant *g = &r->grant;
    const int64_t *ns = r->last.total.ns;
    int64_t device_s = r->device_s;

    p->setup_granted_s = i64_min(r->setup_s, g->max_s);
    p->run_granted_s = i64_min(running_s, g->max_s);
    if (running_s >= g->max_s) {
        device_s = g->max_s + ns[USAGE_WINDOW] / USAGE_NS_PER_S;
    }
    p->setup_s = p->setup_granted_s;
    if (grant_cost(g, p->setup_s, device_s) / TARIFF_COST_PER_FEN > g->cap_fen) {
        p->setup_s = until_cap(g, true, 0, p->setup_granted_s);
        device_s =
            fills_cap(g, p->setup_s, 0) ? 0 : until_cap(g, false, p->setup_s, device_s);
    }
    p->run_s = i64_min(p->run_granted_s, device_s);
    p->window_s = device_s - p->run_s;
}

static const char why_late[] = "beyond the time granted: the host bears it";
static const char why_cap[] = "beyond the cap: the host bears it";

/* Whole seconds of a priced state that cost nothing. */
static void
add_borne(struct draft *d, enum usage_state state, int64_t seconds, const char *why)
{
    struct bill_line *l;

    if (seconds > 0) {
        l = add(d, BILL_FREE, state, 0);
        l->why = why;
        l->seconds = seconds;
        l->ns = seconds * USAGE_NS_PER_S;
        set_span_of_state(d->r, state, l);
        /* The last ones of it: labels only. */
        l->from_wall_ns = i64_max(l->from_wall_ns, l->to_wall_ns - l->ns);
        set_span(l, l->from_wall_ns, l->to_wall_ns);
    }
}

static void
add_setup(struct draft *d, const struct paid *p)
{
    const struct grant *g = &d->r->grant;
    struct bill_line *l;

    if (d->r->last.total.ns[USAGE_SETUP] <= 0) {
        return;
    }
    l = add(d, BILL_SETUP, USAGE_SETUP, (__int128)g->nocard_uyuan_per_h * p->setup_s);
    memcpy(l->class_name, "cpu", sizeof "cpu");
    l->n_units = 1;
    l->price_uyuan_per_h = g->nocard_uyuan_per_h;
    l->seconds = p->setup_s;
    set_span_of_state(d->r, USAGE_SETUP, l);
    add_borne(d, USAGE_SETUP, p->setup_granted_s - p->setup_s, why_cap);
    add_borne(d, USAGE_SETUP, d->r->setup_s - p->setup_granted_s, why_late);
}

static void
add_job(struct draft *d)
{
    const struct grant *g = &d->r->grant;
    struct bill_line *l;

    if (g->job_uyuan == 0 || d->r->device_s == 0) {
        return;
    }
    l = add(d, BILL_JOB, USAGE_RUNNING, (__int128)g->job_uyuan * 3600);
    l->n_units = 1;
    l->price_uyuan_per_h = g->job_uyuan; /* per job */
    set_span_of_state(d->r, USAGE_RUNNING, l);
}

/* Device seconds [from_s, to_s): one line for each kind of device. */
static void
add_device(struct draft *d, enum bill_kind kind, enum usage_state state, int64_t from_s,
           int64_t to_s, int64_t from_wall_ns, int64_t to_wall_ns)
{
    const struct grant *g = &d->r->grant;

    for (size_t i = 0; i < g->n_rows; i++) {
        const struct grant_row *row = &g->rows[i];
        __int128 rate = (__int128)row->n_units * row->uyuan_per_h;
        struct bill_line *l = add(d, kind, state, rate * (to_s - from_s));

        memcpy(l->class_name, row->class_name, sizeof l->class_name);
        memcpy(l->type, row->type, sizeof l->type);
        l->n_units = row->n_units;
        l->price_uyuan_per_h = row->uyuan_per_h;
        l->seconds = to_s - from_s;
        if (g->reservation[0] != '\0' && row->uyuan_per_h == 0) {
            l->why = "reserved: paid in front";
        }
        set_span(l, from_wall_ns, to_wall_ns);
    }
}

/* Device seconds [from_s, to_s) of one state, a piece for each month. */
static void
add_months(struct draft *d, enum bill_kind kind, enum usage_state state, int64_t from_s,
           int64_t to_s)
{
    const struct receipt *r = d->r;
    struct bill_line whole;

    set_span_of_state(r, state, &whole);
    for (size_t i = 0; i < r->n_months; i++) {
        const struct receipt_month *m = &r->months[i];
        bool last = i + 1 == r->n_months;
        int64_t a = i64_max(from_s, m->from_device_s);
        int64_t b = last ? to_s : i64_min(to_s, r->months[i + 1].from_device_s);
        int64_t from_wall_ns =
            i64_max(whole.from_wall_ns, m->from_wall_s * USAGE_NS_PER_S);
        int64_t to_wall_ns = last
                                 ? whole.to_wall_ns
                                 : i64_min(whole.to_wall_ns,
                                           r->months[i + 1].from_wall_s * USAGE_NS_PER_S);

        if (a < b) {
            /* A wall clock that was set back may turn a span around: labels only. */
            add_device(d, kind, state, a, b, from_wall_ns,
                       i64_max(from_wall_ns, to_wall_ns));
        }
    }
}

/* Running floors, the charge itself at the end: the lines sum to it by construction. */
static void
price_lines(struct draft *d)
{
    int64_t before_fen = 0;
    __int128 cost = 0;
    struct bill_line *last = NULL;

    for (size_t i = 0; i < d->b->n_lines; i++) {
        struct bill_line *l = &d->b->lines[i];
        __int128 fen;

        cost += d->cost[i];
        if (d->cost[i] > 0 && cost / TARIFF_COST_PER_FEN > d->r->charge_fen) {
            l->why = "up to the cap";
        }
        fen = wide_min(cost / TARIFF_COST_PER_FEN, d->r->charge_fen);
        l->fen = (int64_t)fen - before_fen;
        before_fen = (int64_t)fen;
        if (d->cost[i] > 0) {
            last = l;
        }
    }
    if (last != NULL) {
        last->fen += d->r->charge_fen - before_fen; /* the minimum */
    }
}

static void
add_lines(struct draft *d)
{
    static const enum usage_state later[] = {
        USAGE_SNAPSHOTTING, USAGE_RELEASED, USAGE_SUSPENDED, USAGE_HOST_SNAPSHOT,
        USAGE_PREEMPTED,    USAGE_FAULT,    USAGE_LOST,
    };
    int64_t running_s =
        i64_min(d->r->last.total.ns[USAGE_RUNNING] / USAGE_NS_PER_S, d->r->device_s);
    struct paid p;

    find_paid(d->r, running_s, &p);
    add_free(d, USAGE_SHIPPING);
    add_free(d, USAGE_PREPARING);
    add_setup(d, &p);
    add_job(d);
    add_months(d, BILL_DEVICE, USAGE_RUNNING, 0, p.run_s);
    add_borne(d, USAGE_RUNNING, p.run_granted_s - p.run_s, why_cap);
    add_borne(d, USAGE_RUNNING, running_s - p.run_granted_s, why_late);
    add_free(d, USAGE_RESERVED);
    add_free(d, USAGE_STOPPING);
    add_months(d, BILL_WINDOW, USAGE_WINDOW, running_s, running_s + p.window_s);
    add_borne(d, USAGE_WINDOW, d->r->device_s - running_s - p.window_s,
              p.run_granted_s < running_s && p.run_s == p.run_granted_s ? why_late
                                                                        : why_cap);
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        add_free(d, later[i]);
    }
}

static int64_t
busy_share(const struct receipt *r)
{
    const int64_t *ns = r->last.total.ns;
    __int128 device_ns = (__int128)ns[USAGE_RUNNING] + ns[USAGE_WINDOW];
    __int128 bps;

    if (r->busy_ns < 0 || device_ns <= 0) {
        return -1;
    }
    bps = (__int128)r->busy_ns * TARIFF_BPS_ONE / device_ns;
    return (int64_t)wide_min(bps, TARIFF_BPS_ONE);
}

int
bill_from_receipt(struct bill *b, const struct receipt *r, struct err *e)
{
    struct draft d = {.b = b, .r = r};
    int64_t sum = 0;

    memset(b, 0, sizeof *b);
    add_lines(&d);
    price_lines(&d);
    free(d.cost);
    b->total_fen = r->charge_fen;
    b->keep_hold_fen = r->keep_hold_fen;
    b->device_s = r->device_s;
    b->busy_bps = busy_share(r);
    for (size_t i = 0; i < b->n_lines; i++) {
        sum += b->lines[i].fen;
    }
    if (sum != b->total_fen) {
        bill_clear(b);
        return err_set(e, ERR_CORRUPT,
                       "the lines sum to %" PRId64 " fen, not to %" PRId64, sum,
                       r->charge_fen);
    }
    return 0;
}

static void
add_keeping(struct bill *b, int64_t from_wall_ns, int64_t to_wall_ns, int64_t kept_s,
            int64_t fen)
{
    struct bill_line *l;

    b->lines = xrealloc(b->lines, (b->n_lines + 1) * sizeof *b->lines);
    l = &b->lines[b->n_lines++];
    memset(l, 0, sizeof *l);
    l->kind = BILL_KEEPING;
    l->seconds = kept_s;
    l->from_wall_ns = from_wall_ns;
    l->to_wall_ns = to_wall_ns;
    calendar_month((int64_t)wide_floor_div(to_wall_ns, USAGE_NS_PER_S), l->month);
    l->why = fen == 0 ? "less than a fen" : "";
    l->fen = fen;
    b->total_fen += fen;
    b->keep_hold_fen = 0;
}

int
bill_add_keeping(struct bill *b, const struct keeping *k, const struct receipt *r,
                 struct err *e)
{
    if (keeping_check(k, r, e) != 0) {
        return -1;
    }
    add_keeping(b, k->from_wall_ns, k->to_wall_ns, k->kept_s, k->charge_fen);
    return 0;
}

int
bill_add_keeping_end(struct bill *b, const struct receipt *r, struct err *e)
{
    int64_t to_ns = r->keep_until_wall_ns;
    int64_t fen = 0;

    if (keeping_charge_at(r, to_ns, &fen, e) != 0) {
        return -1;
    }
    add_keeping(b, r->made_wall_ns, to_ns,
                i64_max(to_ns - r->made_wall_ns, 0) / USAGE_NS_PER_S, fen);
    return 0;
}

struct bill_part
bill_part_of(const struct bill *b, const char *month)
{
    struct bill_part p = {0};

    for (size_t i = 0; i < b->n_lines; i++) {
        const struct bill_line *l = &b->lines[i];

        if (month == NULL || strcmp(l->month, month) == 0) {
            p.n_lines++;
            p.charge_fen += l->kind != BILL_KEEPING ? l->fen : 0;
            p.keeping_fen += l->kind == BILL_KEEPING ? l->fen : 0;
        }
    }
    return p;
}

void
bill_clear(struct bill *b)
{
    free(b->lines);
    memset(b, 0, sizeof *b);
}

void
bill_json(struct json_writer *w, const struct bill *b)
{
    json_arr(w);
    for (size_t i = 0; i < b->n_lines; i++) {
        const struct bill_line *l = &b->lines[i];

        json_obj(w);
        json_kstr(w, "kind", kind_names[l->kind]);
        json_kstr(w, "state", usage_state_name(l->state));
        json_kstr(w, "month", l->month);
        if (l->class_name[0] != '\0') {
            json_kstr(w, "class", l->class_name);
            json_kstr(w, "type", l->type);
        }
        if (l->kind != BILL_FREE) {
            json_kint(w, "units", l->n_units);
            json_kint(w,
                      l->kind == BILL_JOB ? "price_uyuan_per_job" : "price_uyuan_per_h",
                      l->price_uyuan_per_h);
        } else {
            json_kint(w, "ns", l->ns);
        }
        json_kint(w, "seconds", l->seconds);
        json_kint(w, "fen", l->fen);
        json_kint(w, "from_wall_ns", l->from_wall_ns);
        json_kint(w, "to_wall_ns", l->to_wall_ns);
        json_kstr(w, "why", l->why);
        json_obj_end(w);
    }
    json_arr_end(w);
}

/* A field by RFC 4180, and the comma or line end behind it. */
static void
csv_text(struct buf *out, const char *s, char after)
{
    if (strpbrk(s, ",\"\r\n") == NULL) {
        buf_add_str(out, s);
    } else {
        buf_add_u8(out, '"');
        for (; *s != '\0'; s++) {
            buf_add(out, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1);
        }
        buf_add_u8(out, '"');
    }
    buf_add_u8(out, (uint8_t)after);
}

static void
csv_line(struct buf *out, const struct bill_line *l, const char *job)
{
    char from[CLOCK_TEXT_MAX];
    char to[CLOCK_TEXT_MAX];

    clock_format_utc(l->from_wall_ns, 3, from);
    clock_format_utc(l->to_wall_ns, 3, to);
    csv_text(out, job, ',');
    csv_text(out, l->month, ',');
    csv_text(out, kind_names[l->kind], ',');
    csv_text(out, usage_state_name(l->state), ',');
    csv_text(out, l->class_name, ',');
    csv_text(out, l->type, ',');
    buf_printf(out, "%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",", l->n_units,
               l->price_uyuan_per_h, l->seconds, l->fen);
    csv_text(out, from, ',');
    csv_text(out, to, ',');
    csv_text(out, l->why, '\n');
}

void
bill_csv(struct buf *out, const struct bill *b, const char *job)
{
    buf_add_str(out,
                "job,month,kind,state,class,type,units,price_uyuan_per_h,seconds,fen,"
                "from,to,why\n");
    for (size_t i = 0; i < b->n_lines; i++) {
        csv_line(out, &b->lines[i], job);
    }
}
