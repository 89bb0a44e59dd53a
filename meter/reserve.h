#ifndef METER_RESERVE_H
#define METER_RESERVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Reservations: time paid in front. Pure functions; refusals by name (refuse.h).
 * Time is elapsed time since the start, used or idle.
 */
enum reserve_unit {
    RESERVE_NONE = 0,
    RESERVE_DAY,   /* 24 h */
    RESERVE_WEEK,  /* 168 h */
    RESERVE_MONTH, /* 720 h, "month30" */
    RESERVE_YEAR,  /* 8760 h, "year365" */
    RESERVE_UNIT_COUNT
};
const char *reserve_unit_name(enum reserve_unit u);
/* "unknown" if there is no such unit. */
int reserve_unit_parse(const char *name, enum reserve_unit *out, struct err *e) MUST_USE;
int64_t reserve_unit_s(enum reserve_unit u);

/* n units: their price and length. */
int reserve_price(enum reserve_unit u, int64_t n, int64_t price_fen_per_unit,
                  int64_t *charge_fen, int64_t *seconds, struct err *e) MUST_USE;

/* What running on past the end costs beside the reserved price ("payg"). */
int reserve_overrun(int64_t run_s, int64_t reserved_s, int64_t payg_uyuan_per_h,
                    int64_t *overrun_fen, struct err *e) MUST_USE;

/*
 * The renter gives it back: paid - floor(cost of used_s on demand, no minimum) - fee,
 * not below 0; fee = ceil(paid x fee_bps / 10000), and 0 while nothing was used.
 */
int reserve_refund(int64_t paid_fen, int64_t payg_uyuan_per_h, int64_t n_units,
                   int64_t used_s, int64_t fee_bps, int64_t *refund_fen,
                   struct err *e) MUST_USE;
/* The same, where what used_s cost on demand is known: it had several prices. */
int reserve_refund_of(int64_t paid_fen, int64_t used_fen, int64_t used_s, int64_t fee_bps,
                      int64_t *refund_fen, struct err *e) MUST_USE;
/* The owner broke it: floor(paid x (total - used) / total), not below 0. */
int reserve_refund_broken(int64_t paid_fen, int64_t used_s, int64_t total_s,
                          int64_t *refund_fen, struct err *e) MUST_USE;

/* max(old end, now) + period. */
int reserve_renew(int64_t old_end, int64_t now, int64_t period_s, int64_t *new_end,
                  struct err *e) MUST_USE;

/* floor((to - from) x remaining / period): upgrading from -> to, or the refund of to ->
 * from. */
int reserve_change(int64_t from_fen, int64_t to_fen, int64_t remaining_s,
                   int64_t period_s, int64_t *fen, struct err *e) MUST_USE;
/* The same of several rests at once: summed exactly, and floored once. */
struct reserve_rest {
    int64_t from_fen; /* for a period */
    int64_t to_fen;
    int64_t remaining_s;
};
int reserve_change_all(const struct reserve_rest *v, size_t n, int64_t period_s,
                       int64_t *fen, struct err *e) MUST_USE;

#endif
