#ifndef METER_CARD_INTERNAL_H
#define METER_CARD_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/rec.h"
#include "meter/card.h"

/* Shared by card.c (rules, changes), card_code.c (bytes) and offer_code.c (plans). */
struct card {
    struct card_price *prices; /* sorted by class, type, from */
    size_t n_prices;
    struct card_plan *plans;
    size_t n_plans;
    struct card_level *levels;
    size_t n_levels;
    int64_t quota_bytes;
    char *title;
    char *tax_number;
    int64_t vat_bps;
};

/* Room for one more entry of an array of n; returns the new, zeroed entry. */
void *card_grow(void **array, size_t *n, size_t size);
#define CARD_GROW(array, n) card_grow((void **)&(array), &(n), sizeof *(array))

enum card_unit card_unit_of(const char *class_name);
int card_by_key_and_time(const void *a,
                         const void *b); /* the order of prices, for qsort */
int card_check_plan(const struct card_plan *p, struct err *e) MUST_USE;
int card_check(const struct card *c, struct err *e) MUST_USE; /* all rules */

/* A plan stands in rate cards and in offers in the same form. */
void card_encode_plan(struct rec *r, const struct card_plan *p);
bool card_parse_plan(const char *v, size_t len, struct card_plan *p);

#endif
