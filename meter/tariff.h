#ifndef METER_TARIFF_H
#define METER_TARIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * From use to fen. A session is a list of segments in order of time; its cost
 * is the exact sum of price x units x seconds over them, held in 128 bits as
 * micro-yuan-seconds per hour ("cost" below; TARIFF_COST_PER_FEN of them are one
 * fen); its charge is one floor of that sum, raised to a minimum. Whoever
 * floors twice makes or loses money: add costs, then charge once. A bill line is
 * the difference of two running floors, so lines always sum to the charge.
 *
 * Pure functions: no state, no clock. Out-parameters are written on success
 * only. Refusals by name (refuse.h): "range", "inexact_price".
 */
#define TARIFF_COST_PER_FEN 36000000 /* 3600 s x 10,000 micro-yuan */
#define TARIFF_BPS_ONE      10000
#define TARIFF_MIN_FEN      1 /* what a session costs at least, if it costs anything */

struct tariff_segment {
    int64_t price_uyuan_per_h; /* per unit, before the discount */
    int64_t n_units;           /* devices, or GB, or whatever the price is per */
    int64_t used_s;
    int64_t discount_bps; /* TARIFF_BPS_ONE: none */
};

/*
 * The frozen price: price x bps / 10000, which must come out whole, so that a
 * discount is decided when the offer is made and never at billing time.
 */
int tariff_eff_price(int64_t price_uyuan_per_h, int64_t discount_bps,
                     int64_t *eff_uyuan_per_h, struct err *e) MUST_USE;

/* The exact cost of all segments. */
int tariff_cost(const struct tariff_segment *segments, size_t n_segments, __int128 *cost,
                struct err *e) MUST_USE;

/* floor(cost / fen), raised to min_fen if cost > 0 and it is less. cost >= 0. */
int tariff_charge_of(__int128 cost, int64_t min_fen, int64_t *charge_fen,
                     struct err *e) MUST_USE;

/* tariff_charge_of the tariff_cost. */
int tariff_charge(const struct tariff_segment *segments, size_t n_segments,
                  int64_t min_fen, int64_t *charge_fen, struct err *e) MUST_USE;

/*
 * Cut the session at cuts_s (seconds from its start; any order, repeats and
 * those not strictly inside are dropped; the array is sorted in place) into
 * *n_lines <= n_cuts + 1 lines; lines_fen has room for that many. The minimum is
 * applied at the end only. They sum to *total_fen, the charge; none is negative.
 */
int tariff_lines(const struct tariff_segment *segments, size_t n_segments,
                 int64_t *cuts_s, size_t n_cuts, int64_t min_fen, int64_t *lines_fen,
                 size_t *n_lines, int64_t *total_fen, struct err *e) MUST_USE;

/*
 * The last whole second at which the exact cost is within the budget. A price
 * or unit count of zero has no such second: INT64_MAX. A budget below zero: 0.
 */
int tariff_max_seconds(int64_t budget_fen, int64_t price_uyuan_per_h, int64_t n_units,
                       int64_t *max_s, struct err *e) MUST_USE;

/*
 * The first whole second at which the exact cost reaches level_pct of the
 * budget, but never later than tariff_max_seconds of all of it.
 */
int tariff_alert_second(int64_t budget_fen, int64_t price_uyuan_per_h, int64_t level_pct,
                        int64_t *at_s, struct err *e) MUST_USE;

/* Smallest and largest whole seconds of one unit whose charge is charge_fen. */
int tariff_invert(int64_t charge_fen, int64_t price_uyuan_per_h, int64_t *min_s,
                  int64_t *max_s, struct err *e) MUST_USE;

/*
 * Keeping data: price in micro-yuan per GB-day, GB = 10^9 bytes, exact to the
 * byte. paid_bytes is what is paid for: the free quota is already off.
 */
#define TARIFF_BYTES_PER_GB 1000000000
#define TARIFF_S_PER_DAY    86400

struct tariff_keeping {
    int64_t paid_bytes;
    int64_t kept_s;
};

/* Summed exactly over the segments, floored once; min_fen as in tariff_charge_of. */
int tariff_keeping(int64_t price_uyuan_per_gb_day, const struct tariff_keeping *segments,
                   size_t n_segments, int64_t min_fen, int64_t *charge_fen,
                   struct err *e) MUST_USE;
/* The same for a quantity in whole GB. */
int tariff_keeping_gb(int64_t price_uyuan_per_gb_day,
                      const struct tariff_keeping *gb_segments, size_t n_segments,
                      int64_t min_fen, int64_t *charge_fen, struct err *e) MUST_USE;
/* What must be held so that keeping paid_bytes for kept_s is covered: a ceil. */
int tariff_keeping_hold(int64_t price_uyuan_per_gb_day, int64_t paid_bytes,
                        int64_t kept_s, int64_t *hold_fen, struct err *e) MUST_USE;

#endif
