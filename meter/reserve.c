#include "meter/reserve.h"

#include <inttypes.h>
#include <string.h>

#include "meter/refuse.h"
#include "meter/tariff.h"
#include "meter/wide.h"

static const struct {
    const char *name;
    int64_t s;
} units[RESERVE_UNIT_COUNT] = {
    [RESERVE_NONE] = {"", 0},
    [RESERVE_DAY] = {"day", 24 * 3600},
    [RESERVE_WEEK] = {"week", 168 * 3600},
    [RESERVE_MONTH] = {"month30", 720 * 3600},
    [RESERVE_YEAR] = {"year365", 8760 * 3600},
};

const char *
reserve_unit_name(enum reserve_unit u)
{
    return units[u].name;
}

int64_t
reserve_unit_s(enum reserve_unit u)
{
    return units[u].s;
}

int
reserve_unit_parse(const char *name, enum reserve_unit *out, struct err *e)
{
    for (int u = RESERVE_NONE + 1; u < RESERVE_UNIT_COUNT; u++) {
        if (strcmp(units[u].name, name) == 0) {
            *out = (enum reserve_unit)u;
            return 0;
        }
    }
    return refuse(e, REFUSE_UNKNOWN, "no unit of reservation '%.32s'", name);
}

static int
out_of_range(struct err *e, const char *what)
{
    return refuse(e, REFUSE_RANGE, "%s out of range", what);
}

int
reserve_price(enum reserve_unit u, int64_t n, int64_t price_fen_per_unit,
              int64_t *charge_fen, int64_t *seconds, struct err *e)
{
    __int128 fen = (__int128)price_fen_per_unit * n;
    __int128 s = (__int128)units[u].s * n;

    if (n < 0 || price_fen_per_unit < 0 || !wide_fits64(fen) || !wide_fits64(s)) {
        return out_of_range(e, "a reservation");
    }
    *charge_fen = (int64_t)fen;
    *seconds = (int64_t)s;
    return 0;
}

static int
on_demand(int64_t price_uyuan_per_h, int64_t n_units, int64_t used_s, int64_t min_fen,
          int64_t *fen, struct err *e)
{
    const struct tariff_segment s = {
        .price_uyuan_per_h = price_uyuan_per_h,
        .n_units = n_units,
        .used_s = used_s,
        .discount_bps = TARIFF_BPS_ONE,
    };

    return tariff_charge(&s, 1, min_fen, fen, e);
}

int
reserve_overrun(int64_t run_s, int64_t reserved_s, int64_t payg_uyuan_per_h,
                int64_t *overrun_fen, struct err *e)
{
    if (reserved_s < 0 || run_s < reserved_s) {
        return out_of_range(e, "the time run past a reservation");
    }
    return on_demand(payg_uyuan_per_h, 1, run_s - reserved_s, TARIFF_MIN_FEN, overrun_fen,
                     e);
}

int
reserve_refund(int64_t paid_fen, int64_t payg_uyuan_per_h, int64_t n_units,
               int64_t used_s, int64_t fee_bps, int64_t *refund_fen, struct err *e)
{
    int64_t used_fen = 0;

    return on_demand(payg_uyuan_per_h, n_units, used_s, 0, &used_fen, e) == 0
               ? reserve_refund_of(paid_fen, used_fen, used_s, fee_bps, refund_fen, e)
               : -1;
}

int
reserve_refund_of(int64_t paid_fen, int64_t used_fen, int64_t used_s, int64_t fee_bps,
                  int64_t *refund_fen, struct err *e)
{
    __int128 fee = 0;

    if (paid_fen < 0 || used_fen < 0 || used_s < 0 || fee_bps < 0) {
        return out_of_range(e, "a refund");
    }
    if (used_s > 0) {
        fee = wide_ceil_div((__int128)paid_fen * fee_bps, TARIFF_BPS_ONE);
    }
    *refund_fen = (int64_t)wide_max((__int128)paid_fen - used_fen - fee, 0);
    return 0;
}

int
reserve_refund_broken(int64_t paid_fen, int64_t used_s, int64_t total_s,
                      int64_t *refund_fen, struct err *e)
{
    if (paid_fen < 0 || used_s < 0 || total_s <= 0) {
        return out_of_range(e, "a refund");
    }
    *refund_fen = (int64_t)((__int128)paid_fen * i64_max(total_s - used_s, 0) / total_s);
    return 0;
}

int
reserve_renew(int64_t old_end, int64_t now, int64_t period_s, int64_t *new_end,
              struct err *e)
{
    __int128 end = (__int128)i64_max(old_end, now) + period_s;

    if (period_s < 0 || !wide_fits64(end)) {
        return out_of_range(e, "the new end of a reservation");
    }
    *new_end = (int64_t)end;
    return 0;
}

int
reserve_change(int64_t from_fen, int64_t to_fen, int64_t remaining_s, int64_t period_s,
               int64_t *fen, struct err *e)
{
    const struct reserve_rest rest = {
        .from_fen = from_fen, .to_fen = to_fen, .remaining_s = remaining_s};

    return reserve_change_all(&rest, 1, period_s, fen, e);
}

int
reserve_change_all(const struct reserve_rest *v, size_t n, int64_t period_s, int64_t *fen,
                   struct err *e)
{
    __int128 sum = 0;

    if (period_s <= 0) {
        return out_of_range(e, "the rest of a reservation");
    }
    for (size_t i = 0; i < n; i++) {
        __int128 part = ((__int128)v[i].to_fen - v[i].from_fen) * v[i].remaining_s;

        if (v[i].remaining_s < 0) {
            return out_of_range(e, "the rest of a reservation");
        }
        if (part < 0 ? sum < WIDE_MIN - part : sum > WIDE_MAX - part) {
            return out_of_range(e, "the price of the change");
        }
        sum += part;
    }
    sum = wide_floor_div(sum, period_s);
    if (!wide_fits64(sum)) {
        return out_of_range(e, "the price of the change");
    }
    *fen = (int64_t)sum;
    return 0;
}
