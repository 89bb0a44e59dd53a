#include "meter/tariff.h"

#include <inttypes.h>
#include <stdlib.h>

#include "meter/refuse.h"
#include "meter/wide.h"

int
tariff_eff_price(int64_t price_uyuan_per_h, int64_t discount_bps,
                 int64_t *eff_uyuan_per_h, struct err *e)
{
    __int128 product = (__int128)price_uyuan_per_h * discount_bps;

    if (price_uyuan_per_h < 0) {
        return refuse(e, REFUSE_RANGE, "a price of %" PRId64 " micro-yuan is negative",
                      price_uyuan_per_h);
    }
    if (discount_bps < 0 || discount_bps > TARIFF_BPS_ONE) {
        return refuse(e, REFUSE_RANGE, "a discount to %" PRId64 " of 10000 is impossible",
                      discount_bps);
    }
    if (product % TARIFF_BPS_ONE != 0) {
        return refuse(e, REFUSE_INEXACT_PRICE,
                      "%" PRId64 " micro-yuan at %" PRId64
                      " of 10000 is no whole number of micro-yuan",
                      price_uyuan_per_h, discount_bps);
    }
    *eff_uyuan_per_h = (int64_t)(product / TARIFF_BPS_ONE);
    return 0;
}

/* Cost per second of a segment, with all that can be wrong with it. */
static int
segment_rate(const struct tariff_segment *s, __int128 *rate, struct err *e)
{
    int64_t eff = 0;

    if (tariff_eff_price(s->price_uyuan_per_h, s->discount_bps, &eff, e) != 0) {
        return -1;
    }
    if (s->n_units < 0 || s->used_s < 0) {
        return refuse(e, REFUSE_RANGE,
                      "%" PRId64 " units for %" PRId64 " s is negative use", s->n_units,
                      s->used_s);
    }
    *rate = (__int128)eff * s->n_units;
    return 0;
}

static int
too_much(struct err *e)
{
    return refuse(e, REFUSE_RANGE, "the cost is too large to count");
}

int
tariff_cost(const struct tariff_segment *segments, size_t n_segments, __int128 *cost,
            struct err *e)
{
    __int128 sum = 0;

    for (size_t i = 0; i < n_segments; i++) {
        __int128 part = 0;

        if (segment_rate(&segments[i], &part, e) != 0) {
            return -1;
        }
        if (!wide_mul(part, segments[i].used_s, &part) || !wide_add(sum, part, &sum)) {
            return too_much(e);
        }
    }
    *cost = sum;
    return 0;
}

int
tariff_charge_of(__int128 cost, int64_t min_fen, int64_t *charge_fen, struct err *e)
{
    __int128 fen = cost / TARIFF_COST_PER_FEN;

    if (cost < 0 || !wide_fits64(fen)) {
        return too_much(e);
    }
    *charge_fen = cost > 0 ? i64_max((int64_t)fen, min_fen) : 0;
    return 0;
}

int
tariff_charge(const struct tariff_segment *segments, size_t n_segments, int64_t min_fen,
              int64_t *charge_fen, struct err *e)
{
    __int128 cost = 0;

    if (tariff_cost(segments, n_segments, &cost, e) != 0) {
        return -1;
    }
    return tariff_charge_of(cost, min_fen, charge_fen, e);
}

static int
by_value(const void *a, const void *b)
{
    return i64_cmp(*(const int64_t *)a, *(const int64_t *)b);
}

/* Sort, and keep what is strictly inside (0, end), once each. */
static size_t
clean_cuts(int64_t *cuts_s, size_t n_cuts, __int128 end_s)
{
    size_t n = 0;

    if (n_cuts > 0) {
        qsort(cuts_s, n_cuts, sizeof *cuts_s, by_value);
    }
    for (size_t i = 0; i < n_cuts; i++) {
        if (cuts_s[i] > 0 && cuts_s[i] < end_s &&
            (n == 0 || cuts_s[i] != cuts_s[n - 1])) {
            cuts_s[n++] = cuts_s[i];
        }
    }
    return n;
}

/* Where a walk along the session stands. The whole cost is known to fit. */
struct walk {
    const struct tariff_segment *segments;
    size_t i;      /* the segment it is in */
    int64_t in_s;  /* seconds of it already behind */
    __int128 at_s; /* seconds since the session's start */
    __int128 cost; /* of all of them */
};

static void
walk_to(struct walk *w, size_t n_segments, int64_t to_s)
{
    while (w->i < n_segments && w->at_s < to_s) {
        const struct tariff_segment *s = &w->segments[w->i];
        __int128 step = s->used_s - w->in_s;
        __int128 eff = (__int128)s->price_uyuan_per_h * s->discount_bps / TARIFF_BPS_ONE;
        bool whole = step <= to_s - w->at_s;

        step = whole ? step : to_s - w->at_s;
        w->cost += step * eff * s->n_units;
        w->at_s += step;
        w->in_s = whole ? 0 : w->in_s + (int64_t)step;
        w->i += whole ? 1 : 0;
    }
}

int
tariff_lines(const struct tariff_segment *segments, size_t n_segments, int64_t *cuts_s,
             size_t n_cuts, int64_t min_fen, int64_t *lines_fen, size_t *n_lines,
             int64_t *total_fen, struct err *e)
{
    struct walk w = {.segments = segments};
    __int128 end_s = 0;
    int64_t total = 0;
    int64_t before = 0;
    size_t n;

    if (tariff_charge(segments, n_segments, min_fen, &total, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n_segments; i++) {
        end_s += segments[i].used_s;
    }
    n = clean_cuts(cuts_s, n_cuts, end_s);
    for (size_t i = 0; i < n; i++) {
        int64_t running;

        walk_to(&w, n_segments, cuts_s[i]);
        running = (int64_t)(w.cost / TARIFF_COST_PER_FEN); /* <= total: fits */
        lines_fen[i] = running - before;
        before = running;
    }
    lines_fen[n] = total - before;
    *n_lines = n + 1;
    *total_fen = total;
    return 0;
}

/* price x units, both checked. */
static int
rate_of(int64_t price_uyuan_per_h, int64_t n_units, __int128 *rate, struct err *e)
{
    if (price_uyuan_per_h < 0 || n_units < 0) {
        return refuse(e, REFUSE_RANGE,
                      "%" PRId64 " units at %" PRId64 " micro-yuan is negative", n_units,
                      price_uyuan_per_h);
    }
    *rate = (__int128)price_uyuan_per_h * n_units;
    return 0;
}

int
tariff_max_seconds(int64_t budget_fen, int64_t price_uyuan_per_h, int64_t n_units,
                   int64_t *max_s, struct err *e)
{
    __int128 rate = 0;

    if (rate_of(price_uyuan_per_h, n_units, &rate, e) != 0) {
        return -1;
    }
    if (budget_fen < 0) {
        *max_s = 0;
    } else if (rate == 0) {
        *max_s = INT64_MAX;
    } else {
        *max_s = wide_clamp64((__int128)budget_fen * TARIFF_COST_PER_FEN / rate);
    }
    return 0;
}

int
tariff_alert_second(int64_t budget_fen, int64_t price_uyuan_per_h, int64_t level_pct,
                    int64_t *at_s, struct err *e)
{
    __int128 reach;
    int64_t max_s = 0;
    int64_t s = INT64_MAX;

    if (budget_fen < 0 || level_pct < 0) {
        return refuse(e, REFUSE_RANGE, "%" PRId64 " %% of %" PRId64 " fen is negative",
                      level_pct, budget_fen);
    }
    if (tariff_max_seconds(budget_fen, price_uyuan_per_h, 1, &max_s, e) != 0) {
        return -1;
    }
    if (price_uyuan_per_h > 0 &&
        wide_mul((__int128)budget_fen * TARIFF_COST_PER_FEN, level_pct, &reach)) {
        s = wide_clamp64(wide_ceil_div(reach, (__int128)price_uyuan_per_h * 100));
    }
    *at_s = i64_min(s, max_s);
    return 0;
}

int
tariff_invert(int64_t charge_fen, int64_t price_uyuan_per_h, int64_t *min_s,
              int64_t *max_s, struct err *e)
{
    __int128 from;
    __int128 to;

    if (charge_fen < 0 || price_uyuan_per_h < 0) {
        return refuse(e, REFUSE_RANGE, "a negative charge or price");
    }
    if (price_uyuan_per_h == 0) {
        from = 0;
        to = charge_fen == 0 ? INT64_MAX : -1;
    } else if (charge_fen == 0) {
        from = to = 0; /* one second costs the minimum already */
    } else {
        __int128 cost = (__int128)charge_fen * TARIFF_COST_PER_FEN;

        from = charge_fen == TARIFF_MIN_FEN ? 1 : wide_ceil_div(cost, price_uyuan_per_h);
        to = wide_ceil_div(cost + TARIFF_COST_PER_FEN, price_uyuan_per_h) - 1;
    }
    if (to < from || from > INT64_MAX) {
        return refuse(e, REFUSE_RANGE, "no number of seconds costs %" PRId64 " fen",
                      charge_fen);
    }
    *min_s = (int64_t)from;
    *max_s = wide_clamp64(to);
    return 0;
}

/*
 * Exact keeping cost in micro-yuan x unit x seconds per day, and how many of those
 * are one fen: per byte for bytes, per GB for whole GB.
 */
static int
keeping_cost(int64_t price_uyuan, const struct tariff_keeping *s, size_t n,
             __int128 *cost, struct err *e)
{
    __int128 sum = 0;

    if (price_uyuan < 0) {
        return refuse(e, REFUSE_RANGE, "a negative price of keeping");
    }
    for (size_t i = 0; i < n; i++) {
        __int128 part = (__int128)price_uyuan * s[i].paid_bytes;

        if (s[i].paid_bytes < 0 || s[i].kept_s < 0) {
            return refuse(e, REFUSE_RANGE, "a negative amount of keeping");
        }
        if (!wide_mul(part, s[i].kept_s, &part) || !wide_add(sum, part, &sum)) {
            return too_much(e);
        }
    }
    *cost = sum;
    return 0;
}

static int
keeping_charge(int64_t price_uyuan, const struct tariff_keeping *s, size_t n,
               __int128 cost_per_fen, int64_t min_fen, int64_t *charge_fen, struct err *e)
{
    __int128 cost = 0;
    __int128 fen;

    if (keeping_cost(price_uyuan, s, n, &cost, e) != 0) {
        return -1;
    }
    fen = cost / cost_per_fen;
    if (!wide_fits64(fen)) {
        return too_much(e);
    }
    *charge_fen = cost > 0 ? i64_max((int64_t)fen, min_fen) : 0;
    return 0;
}

#define GB_COST_PER_FEN   ((__int128)TARIFF_S_PER_DAY * 10000)
#define BYTE_COST_PER_FEN (GB_COST_PER_FEN * TARIFF_BYTES_PER_GB)

int
tariff_keeping(int64_t price_uyuan_per_gb_day, const struct tariff_keeping *segments,
               size_t n_segments, int64_t min_fen, int64_t *charge_fen, struct err *e)
{
    return keeping_charge(price_uyuan_per_gb_day, segments, n_segments, BYTE_COST_PER_FEN,
                          min_fen, charge_fen, e);
}

int
tariff_keeping_gb(int64_t price_uyuan_per_gb_day,
                  const struct tariff_keeping *gb_segments, size_t n_segments,
                  int64_t min_fen, int64_t *charge_fen, struct err *e)
{
    return keeping_charge(price_uyuan_per_gb_day, gb_segments, n_segments,
                          GB_COST_PER_FEN, min_fen, charge_fen, e);
}

int
tariff_keeping_hold(int64_t price_uyuan_per_gb_day, int64_t paid_bytes, int64_t kept_s,
                    int64_t *hold_fen, struct err *e)
{
    const struct tariff_keeping s = {.paid_bytes = paid_bytes, .kept_s = kept_s};
    __int128 cost = 0;
    __int128 fen;

    if (keeping_cost(price_uyuan_per_gb_day, &s, 1, &cost, e) != 0) {
        return -1;
    }
    fen = wide_ceil_div(cost, BYTE_COST_PER_FEN);
    if (!wide_fits64(fen)) {
        return too_much(e);
    }
    *hold_fen = (int64_t)fen;
    return 0;
}
