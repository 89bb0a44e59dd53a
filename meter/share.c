#include "meter/share.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/buf.h"
#include "meter/refuse.h"
#include "meter/tariff.h"
#include "meter/wide.h"

static const char *const account_names[SHARE_ACCOUNT_COUNT] = {
    [SHARE_NONE] = "",
    [SHARE_CLEARING] = "clearing",
    [SHARE_RENTER_CASH] = "renter:cash",
    [SHARE_RENTER_VOUCHER] = "renter:voucher",
    [SHARE_PLATFORM_FEE] = "platform:fee",
    [SHARE_OWNER_PAYABLE] = "owner:payable",
};

const char *
share_account_name(enum share_account a)
{
    return account_names[a];
}

int
share_split(int64_t charge_fen, int64_t fee_bps, int64_t *platform_fen,
            int64_t *owner_fen, struct err *e)
{
    int64_t fee = 0;

    if (fee_bps < 0 || fee_bps > TARIFF_BPS_ONE) {
        return refuse(e, REFUSE_RANGE, "a fee of %" PRId64 " of 10000 is impossible",
                      fee_bps);
    }
    fee = (int64_t)wide_floor_div((__int128)charge_fen * fee_bps, TARIFF_BPS_ONE);
    *platform_fen = fee;
    *owner_fen = charge_fen - fee;
    return 0;
}

int
share_split_lines(const int64_t *lines_fen, size_t n, int64_t fee_bps,
                  int64_t *platform_lines, int64_t *owner_lines, int64_t *platform_fen,
                  int64_t *owner_fen, struct err *e)
{
    int64_t total = 0;
    int64_t platform = 0;
    int64_t owner = 0;

    if (share_split(0, fee_bps, &platform, &owner, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        int64_t platform_before = platform;
        int64_t owner_before = owner;

        if (__builtin_add_overflow(total, lines_fen[i], &total)) {
            return refuse(e, REFUSE_RANGE, "the lines sum to more than can be counted");
        }
        if (share_split(total, fee_bps, &platform, &owner, e) != 0) {
            return -1;
        }
        platform_lines[i] = platform - platform_before;
        owner_lines[i] = owner - owner_before;
    }
    *platform_fen = platform;
    *owner_fen = owner;
    return 0;
}

int
share_split_voucher(int64_t charge_fen, int64_t fee_bps, int64_t voucher_fen,
                    int64_t *owner_fen, int64_t *platform_fee_fen,
                    int64_t *renter_cash_fen, struct err *e)
{
    if (charge_fen < 0 || voucher_fen < 0 || voucher_fen > charge_fen) {
        return refuse(e, REFUSE_RANGE,
                      "a voucher of %" PRId64 " fen on a charge of %" PRId64, voucher_fen,
                      charge_fen);
    }
    if (share_split(charge_fen, fee_bps, platform_fee_fen, owner_fen, e) != 0) {
        return -1;
    }
    *renter_cash_fen = charge_fen - voucher_fen;
    return 0;
}

/* A part's remainder, for handing out what the floors left over. */
struct remainder {
    __int128 rest;
    size_t i;
};

static int
by_rest(const void *a, const void *b)
{
    const struct remainder *x = a;
    const struct remainder *y = b;

    if (x->rest != y->rest) {
        return x->rest < y->rest ? 1 : -1;
    }
    return i64_cmp((int64_t)x->i, (int64_t)y->i);
}

int
share_prorata(int64_t amount_fen, const int64_t *weights, size_t n, int64_t *parts_fen,
              struct err *e)
{
    __int128 sum = 0;
    __int128 left = amount_fen;
    struct remainder *rests;

    for (size_t i = 0; i < n; i++) {
        if (weights[i] < 0) {
            return refuse(e, REFUSE_RANGE, "a negative weight");
        }
        sum += weights[i];
    }
    if (sum == 0) {
        return refuse(e, REFUSE_RANGE, "nothing to share by");
    }
    rests = xcalloc(n, sizeof *rests);
    for (size_t i = 0; i < n; i++) {
        __int128 product = (__int128)amount_fen * weights[i];
        __int128 part = wide_floor_div(product, sum);

        parts_fen[i] = (int64_t)part;
        rests[i] = (struct remainder){.rest = product - part * sum, .i = i};
        left -= part;
    }
    qsort(rests, n, sizeof *rests, by_rest);
    for (size_t i = 0; left > 0; i++, left--) {
        parts_fen[rests[i].i]++;
    }
    free(rests);
    return 0;
}

int
share_vat(int64_t gross_fen, int64_t rate_bps, int64_t *net_fen, int64_t *tax_fen,
          struct err *e)
{
    __int128 den = (__int128)TARIFF_BPS_ONE + rate_bps;
    __int128 product = (__int128)gross_fen * TARIFF_BPS_ONE;
    __int128 net;
    __int128 rest;

    if (rate_bps < 0) {
        return refuse(e, REFUSE_RANGE, "a negative tax rate");
    }
    net = wide_floor_div(product, den);
    rest = product - net * den;
    net += rest >= den - rest ? 1 : 0;
    *net_fen = (int64_t)net;
    *tax_fen = gross_fen - (int64_t)net;
    return 0;
}

int
share_vat_invoice(const int64_t *lines_gross_fen, size_t n, int64_t rate_bps,
                  int64_t *net_fen, int64_t *tax_fen, struct err *e)
{
    int64_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        if (__builtin_add_overflow(sum, lines_gross_fen[i], &sum)) {
            return refuse(e, REFUSE_RANGE, "the lines sum to more than can be counted");
        }
    }
    return share_vat(sum, rate_bps, net_fen, tax_fen, e);
}

static void
post(struct share_posting *out, size_t *n, enum share_account dr, enum share_account cr,
     int64_t fen)
{
    if (fen != 0) {
        out[(*n)++] = (struct share_posting){.dr = dr, .cr = cr, .fen = fen};
    }
}

int
share_post_session(int64_t charge_fen, int64_t voucher_fen, int64_t fee_bps,
                   struct share_posting *out, size_t *n, struct err *e)
{
    int64_t owner = 0;
    int64_t fee = 0;
    int64_t cash = 0;

    if (share_split_voucher(charge_fen, fee_bps, voucher_fen, &owner, &fee, &cash, e) !=
        0) {
        return -1;
    }
    *n = 0;
    post(out, n, SHARE_RENTER_VOUCHER, SHARE_CLEARING, voucher_fen);
    post(out, n, SHARE_RENTER_CASH, SHARE_CLEARING, cash);
    post(out, n, SHARE_CLEARING, SHARE_PLATFORM_FEE, fee);
    post(out, n, SHARE_CLEARING, SHARE_OWNER_PAYABLE, owner);
    return 0;
}

int
share_post_correction(int64_t prior_fen, int64_t overcharge_fen, int64_t fee_bps,
                      struct share_posting *out, size_t *n, struct err *e)
{
    int64_t fee_was = 0;
    int64_t owner_was = 0;
    int64_t fee_is = 0;
    int64_t owner_is = 0;

    if (prior_fen < 0 || overcharge_fen < 0 || overcharge_fen > prior_fen) {
        return refuse(e, REFUSE_RANGE,
                      "an overcharge of %" PRId64 " fen in a charge of %" PRId64,
                      overcharge_fen, prior_fen);
    }
    if (share_split(prior_fen, fee_bps, &fee_was, &owner_was, e) != 0 ||
        share_split(prior_fen - overcharge_fen, fee_bps, &fee_is, &owner_is, e) != 0) {
        return -1;
    }
    *n = 0;
    post(out, n, SHARE_OWNER_PAYABLE, SHARE_CLEARING, owner_was - owner_is);
    post(out, n, SHARE_PLATFORM_FEE, SHARE_CLEARING, fee_was - fee_is);
    post(out, n, SHARE_CLEARING, SHARE_RENTER_CASH, overcharge_fen);
    return 0;
}

int64_t
share_balance(const struct share_posting *p, size_t n, enum share_account a)
{
    __int128 sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += a == SHARE_NONE || p[i].dr == a ? p[i].fen : 0;
        sum -= a == SHARE_NONE || p[i].cr == a ? p[i].fen : 0;
    }
    return (int64_t)sum;
}
