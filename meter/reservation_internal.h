#ifndef METER_RESERVATION_INTERNAL_H
#define METER_RESERVATION_INTERNAL_H

#include "meter/reservation.h"

/* Shared by reservation.c (the chain) and reservation_sum.c (what an order comes to). */

/* What a reservation becomes by an order; the lists are the caller's to free. */
struct reservation_sum {
    int64_t charge_fen;
    int64_t refund_fen;
    enum reserve_unit unit;
    int64_t fee_bps;
    int64_t from_s;
    int64_t to_s;
    bool given_back;
    const char *class_name;
    const char *type;
    struct reservation_stretch *stretches;
    size_t n_stretches;
    struct reservation_back *back;
    size_t n_back;
};
void reservation_sum_clear(struct reservation_sum *s);
int reservation_sum_of(const struct reservation *r, const struct order *o,
                       const struct offer *offer, int64_t at_s,
                       struct reservation_sum *out, struct err *e) MUST_USE;

#endif
