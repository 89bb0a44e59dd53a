/* How one record follows from the one before: time, money and months. */
#include <string.h>

#include "meter/calendar.h"
#include "meter/journal_internal.h"
#include "meter/refuse.h"
#include "meter/tariff.h"
#include "meter/wide.h"

/* A boot without a name may be any boot: across processes it is never the same. */
static bool
same_boot(const struct usage_moment *a, const struct usage_moment *b)
{
    return strcmp(a->boot, b->boot) == 0 && strcmp(a->boot, "unknown") != 0;
}

/* Nobody saw this time: whoever takes over after a crash may only say how long it was. */
static int
book_lost(struct usage_track *t, const struct usage_moment *from,
          const struct usage_moment *to, struct err *e)
{
    struct usage_track lost = {.state = USAGE_LOST, .total = t->total};

    if (!same_boot(from, to)) {
        return 0;
    }
    if (to->mono_ns < from->mono_ns ||
        to->mono_ns - from->mono_ns > ((int64_t)1 << 60) - lost.total.ns[USAGE_LOST]) {
        return refuse(e, REFUSE_CLOCK_BACK, "the clock of this boot went back");
    }
    usage_add(&lost, to->mono_ns - from->mono_ns);
    t->total = lost.total;
    return 0;
}

int
journal_book(const struct journal_reader *r, struct usage_track *t,
             enum journal_kind kind, const struct usage_moment *to, struct err *e)
{
    if (r->last.seq == 0) {
        return 0;
    }
    if (kind == JOURNAL_REOPEN) {
        return book_lost(t, &r->last.at, to, e);
    }
    return usage_book(t, &r->last.at, to,
                      grant_billed_window_s(&r->grant) * USAGE_NS_PER_S, e);
}

/* Of the time spent in a state, what was granted. */
static int64_t
granted_ns(const struct grant *g, int64_t spent_ns)
{
    return spent_ns / USAGE_NS_PER_S < g->max_s ? spent_ns : g->max_s * USAGE_NS_PER_S;
}

int64_t
journal_cost(const struct grant *g, const struct usage_totals *t)
{
    /* Each on its own: a window that was not used pays for no late second before it. */
    struct usage_totals granted = *t;

    granted.ns[USAGE_SETUP] = granted_ns(g, t->ns[USAGE_SETUP]);
    granted.ns[USAGE_RUNNING] = granted_ns(g, t->ns[USAGE_RUNNING]);
    return grant_charge(g, usage_setup_s(&granted), usage_device_s(&granted));
}

/* The end of the stretch that second s lies in. */
static int64_t
stretch_end(int64_t s)
{
    return (s / JOURNAL_STRETCH_S + 1) * JOURNAL_STRETCH_S;
}

int64_t
journal_drawn(const struct grant *g, const struct usage_track *t, int64_t keep_fen,
              int64_t drawn_fen)
{
    int64_t setup_s = usage_setup_s(&t->total);
    int64_t device_s = usage_device_s(&t->total);
    __int128 fen;

    if (t->state == USAGE_SETUP) {
        setup_s = stretch_end(setup_s);
    } else if (t->state == USAGE_RUNNING) {
        int64_t max_s = grant_max_device_s(g, setup_s, keep_fen);
        /* The last one is cut to what is covered. */
        device_s = i64_max(i64_min(stretch_end(device_s), max_s), device_s);
    }
    fen = wide_ceil_div(grant_cost(g, setup_s, device_s), TARIFF_COST_PER_FEN);
    return (int64_t)wide_max(wide_min(fen, g->cap_fen), drawn_fen);
}

static int64_t
device_ns(const struct usage_totals *t)
{
    return t->ns[USAGE_RUNNING] + t->ns[USAGE_WINDOW];
}

static int64_t
wall_s(const struct journal_record *r)
{
    return (int64_t)wide_floor_div(r->at.wall_ns, USAGE_NS_PER_S);
}

/* Device time at the wall's `boundary`, as far as labels can tell. */
static int64_t
device_ns_at(const struct journal_record *from, const struct journal_record *to,
             int64_t boundary_s)
{
    int64_t a = device_ns(&from->total);
    int64_t b = device_ns(&to->total);
    __int128 past = (__int128)boundary_s * USAGE_NS_PER_S - from->at.wall_ns;

    if (past < 0 || past > b - a) {
        return b;
    }
    return a + (int64_t)past;
}

void
journal_note_month(struct journal_reader *r, const struct journal_record *from,
                   const struct journal_record *to)
{
    struct journal_month next;
    struct journal_month *last = &r->months[r->n_months - 1];
    int64_t end_s = last->end_wall_s;

    /* Only forwards: a wall clock that is set back does not bring a month back. */
    if (wall_s(to) < end_s || r->n_months == JOURNAL_MONTHS_MAX) {
        return;
    }
    next.from_device_s = device_ns_at(from, to, end_s) / USAGE_NS_PER_S;
    next.from_wall_s = calendar_month_start(wall_s(to));
    next.end_wall_s = calendar_month_end(next.from_wall_s);
    if (next.from_device_s == last->from_device_s) {
        *last = next; /* no whole second of device time in that month */
        return;
    }
    r->months = xrealloc(r->months, (r->n_months + 1) * sizeof *r->months);
    r->months[r->n_months++] = next;
}

int
journal_take_grant(const struct journal_reader *r, struct grant *g, const struct buf *b,
                   struct err *e)
{
    return r->known ? grant_parse_known(g, b->data, b->len, e)
                    : grant_parse(g, b->data, b->len, e);
}

int
journal_take_offer(const struct journal_reader *r, struct offer **o, const struct buf *b,
                   struct err *e)
{
    const struct sign_public *host = r->host_known ? &r->host : NULL;

    return r->known ? offer_parse_known(o, b->data, b->len, host, e)
                    : offer_parse(o, b->data, b->len, host, e);
}
