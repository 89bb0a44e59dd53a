#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "meter/refuse.h"
#include "meter/reservation_internal.h"
#include "meter/tariff.h"
#include "meter/wallet.h"
#include "meter/wide.h"

#define NS_PER_S ((int64_t)1000000000)

void
reservation_sum_clear(struct reservation_sum *s)
{
    free(s->stretches);
    free(s->back);
    memset(s, 0, sizeof *s);
}

static const struct card_plan *
find_plan(const struct offer *o, const char *class_name, const char *type,
          const char *unit)
{
    for (size_t i = 0; i < o->n_plans; i++) {
        const struct card_plan *p = &o->plans[i];

        if (strcmp(p->class_name, class_name) == 0 && strcmp(p->type, type) == 0 &&
            strcmp(p->unit, unit) == 0) {
            return p;
        }
    }
    return NULL;
}

/* The plan and the price on demand of the sum's devices in the offer. */
static int
price_stretch(const struct reservation_sum *s, const struct offer *o, int64_t n_devices,
              struct reservation_stretch *out, int64_t *fee_bps, struct err *e)
{
    const char *unit = reserve_unit_name(s->unit);
    const struct card_plan *p = find_plan(o, s->class_name, s->type, unit);
    const struct offer_price *price = offer_find_price(o, s->class_name, s->type);
    __int128 fen;
    __int128 burn;

    if (p == NULL) {
        return err_set(e, ERR_NOT_FOUND, "the host sells no %s of %s %s", unit,
                       s->class_name, s->type);
    }
    if (price == NULL) {
        return err_set(e, ERR_NOT_FOUND, "the host has no price on demand of %s %s",
                       s->class_name, s->type);
    }
    fen = (__int128)p->price_fen * n_devices;
    burn = (__int128)price->uyuan_per_h * n_devices;
    if (!wide_fits64(fen) || !wide_fits64(burn)) {
        return refuse(e, REFUSE_RANGE, "the price of a reservation");
    }
    out->unit_fen = (int64_t)fen;
    out->burn_uyuan_per_h = (int64_t)burn;
    *fee_bps = p->refund_fee_bps;
    return 0;
}

static void
add_stretch(struct reservation_sum *s, const struct reservation_stretch *x)
{
    if (x->from_s < x->to_s) {
        s->stretches =
            xrealloc(s->stretches, (s->n_stretches + 1) * sizeof *s->stretches);
        s->stretches[s->n_stretches++] = *x;
    }
}

/* What was had until at_s stays as it is. */
static void
keep_until(struct reservation_sum *s, const struct reservation *r, int64_t at_s)
{
    for (size_t i = 0; i < r->n_stretches; i++) {
        struct reservation_stretch x = r->stretches[i];

        x.to_s = i64_min(x.to_s, at_s);
        add_stretch(s, &x);
    }
}

static int
sum_time(struct reservation_sum *s, const struct reservation *r, const struct order *o,
         const struct offer *offer, int64_t at_s, struct err *e)
{
    bool buys = o->act == ORDER_BUY;
    int64_t n_devices = buys ? o->n_devices : (int64_t)r->n_devices;
    struct reservation_stretch x = {.from_s = at_s};
    int64_t seconds = 0;

    if (buys && reserve_unit_parse(o->unit, &s->unit, e) != 0) {
        return -1;
    }
    if (price_stretch(s, offer, n_devices, &x, &s->fee_bps, e) != 0 ||
        reserve_price(s->unit, o->n, x.unit_fen, &s->charge_fen, &seconds, e) != 0 ||
        reserve_renew(buys ? at_s : r->to_s, at_s, seconds, &s->to_s, e) != 0) {
        return -1;
    }
    if (s->to_s > INT64_MAX / NS_PER_S) {
        return err_set(e, ERR_RANGE, "a reservation beyond the end of the calendar");
    }
    keep_until(s, r, INT64_MAX);
    x.from_s = s->to_s - seconds;
    x.to_s = s->to_s;
    s->from_s = buys ? at_s : r->from_s;
    add_stretch(s, &x);
    return 0;
}

/*
 * Other devices for what is left of each stretch: the difference for that time. What
 * comes back is the difference the other way round, so both ways are floored, and up and
 * down again bring no more than was paid.
 */
static int
price_change(struct reservation_sum *s, const struct reservation *r,
             struct reserve_rest *rest, size_t n, struct err *e)
{
    int64_t period_s = reserve_unit_s(s->unit);
    int64_t fen = 0;

    if (reserve_change_all(rest, n, period_s, &fen, e) != 0) {
        return -1;
    }
    s->charge_fen = i64_max(fen, 0);
    if (fen >= 0) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        int64_t old = rest[i].from_fen;

        rest[i].from_fen = rest[i].to_fen;
        rest[i].to_fen = old;
    }
    if (reserve_change_all(rest, n, period_s, &fen, e) != 0) {
        return -1;
    }
    s->refund_fen = i64_min(fen, reservation_paid_fen(r));
    return 0;
}

static int
sum_change(struct reservation_sum *s, const struct reservation *r, const struct order *o,
           const struct offer *offer, int64_t at_s, struct err *e)
{
    struct reserve_rest *rest;
    struct reservation_stretch x = {0};
    size_t n = 0;
    int rc;

    if (price_stretch(s, offer, o->n_devices, &x, &s->fee_bps, e) != 0) {
        return -1;
    }
    rest = xcalloc(r->n_stretches + 1, sizeof *rest);
    keep_until(s, r, at_s);
    for (size_t i = 0; i < r->n_stretches; i++) {
        const struct reservation_stretch *old = &r->stretches[i];

        x.from_s = i64_max(old->from_s, at_s);
        x.to_s = old->to_s;
        if (x.from_s < x.to_s) {
            rest[n++] = (struct reserve_rest){.from_fen = old->unit_fen,
                                              .to_fen = x.unit_fen,
                                              .remaining_s = x.to_s - x.from_s};
            add_stretch(s, &x);
        }
    }
    rc = price_change(s, r, rest, n, e);
    free(rest);
    return rc;
}

/* Seconds had until at_s, and what they would have cost on demand. */
static int
used(const struct reservation *r, int64_t at_s, int64_t *used_s, int64_t *total_s,
     int64_t *used_fen, struct err *e)
{
    __int128 cost = 0;

    *used_s = 0;
    *total_s = 0;
    for (size_t i = 0; i < r->n_stretches; i++) {
        const struct reservation_stretch *x = &r->stretches[i];
        int64_t s = i64_max(i64_min(at_s, x->to_s) - x->from_s, 0);
        __int128 part;

        if (!wide_mul(x->burn_uyuan_per_h, s, &part) || !wide_add(cost, part, &cost)) {
            return refuse(e, REFUSE_RANGE, "the cost of a reservation's use");
        }
        *used_s += s;
        *total_s += x->to_s - x->from_s;
    }
    return tariff_charge_of(cost, 0, used_fen, e);
}

static int
sum_return(struct reservation_sum *s, const struct reservation *r, const struct order *o,
           int64_t at_s, struct err *e)
{
    int64_t paid = reservation_paid_fen(r);
    int64_t used_s = 0;
    int64_t total_s = 0;
    int64_t used_fen = 0;

    if (used(r, at_s, &used_s, &total_s, &used_fen, e) != 0) {
        return -1;
    }
    if (o->act == ORDER_BREAK) {
        if (reserve_refund_broken(paid, used_s, total_s, &s->refund_fen, e) != 0) {
            return -1;
        }
    } else if (reserve_refund_of(paid, used_fen, used_s, r->fee_bps, &s->refund_fen, e) !=
               0) {
        return -1;
    }
    keep_until(s, r, at_s);
    s->to_s = at_s;
    s->given_back = true;
    return 0;
}

/* A refund goes back to what paid, the last first, to each what it gave. */
static int
share_refund(struct reservation_sum *s, const struct reservation *r, struct err *e)
{
    size_t n = r->n_payments;
    struct wallet_share *taken = xcalloc(n + 1, sizeof *taken);
    struct wallet_share *back = xcalloc(n + 1, sizeof *back);
    bool *expired = xcalloc(n + 1, sizeof *expired);
    int64_t forfeited;
    int rc;

    for (size_t i = 0; i < n; i++) {
        taken[i] = (struct wallet_share){.i = i, .fen = r->payments[i].left_fen};
    }
    s->back = xcalloc(n + 1, sizeof *s->back);
    rc = wallet_refund(s->refund_fen, taken, expired, n, back, &s->n_back, &forfeited, e);
    for (size_t i = 0; rc == 0 && i < s->n_back; i++) {
        memcpy(s->back[i].lease, r->payments[back[i].i].lease, sizeof s->back[i].lease);
        s->back[i].fen = back[i].fen;
    }
    free(taken);
    free(back);
    free(expired);
    return rc;
}

static int
check_order(const struct reservation *r, const struct order *o, const struct offer *offer,
            int64_t at_s, struct err *e)
{
    bool priced = o->act != ORDER_REFUND && o->act != ORDER_BREAK;

    if (o->act == ORDER_BUY && r->n_events > 0) {
        return err_set(e, ERR_EXISTS, "reservation %s was bought already", r->id);
    }
    if (o->act != ORDER_BUY && r->n_events == 0) {
        return err_set(e, ERR_NOT_FOUND, "there is no reservation %s", o->reservation);
    }
    if (r->given_back) {
        return err_set(e, ERR_DENIED, "reservation %s was given back", r->id);
    }
    if (o->act > ORDER_RENEW && at_s >= r->to_s) {
        return err_set(e, ERR_DENIED, "the time of reservation %s is over", r->id);
    }
    if (priced != (offer != NULL)) {
        return err_set(e, ERR_INVALID, "an order that does not say at which prices");
    }
    return 0;
}

int
reservation_sum_of(const struct reservation *r, const struct order *o,
                   const struct offer *offer, int64_t at_s, struct reservation_sum *out,
                   struct err *e)
{
    bool names = o->act == ORDER_BUY || o->act == ORDER_CHANGE;
    struct reservation_sum s = {.unit = r->unit,
                                .fee_bps = r->fee_bps,
                                .from_s = r->from_s,
                                .to_s = r->to_s,
                                .class_name = names ? o->class_name : r->class_name,
                                .type = names ? o->type : r->type};
    int rc = check_order(r, o, offer, at_s, e);

    if (rc == 0) {
        switch (o->act) {
        case ORDER_BUY:
        case ORDER_RENEW:
            rc = sum_time(&s, r, o, offer, at_s, e);
            break;
        case ORDER_CHANGE:
            rc = sum_change(&s, r, o, offer, at_s, e);
            break;
        case ORDER_REFUND:
        case ORDER_BREAK:
            rc = sum_return(&s, r, o, at_s, e);
            break;
        case ORDER_NONE:
        case ORDER_ACT_COUNT:
            rc = err_set(e, ERR_INVALID, "an order of nothing");
            break;
        }
    }
    if (rc == 0 && s.refund_fen > 0) {
        rc = share_refund(&s, r, e);
    }
    if (rc != 0) {
        reservation_sum_clear(&s);
        return -1;
    }
    *out = s;
    return 0;
}
