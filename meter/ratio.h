#ifndef METER_RATIO_H
#define METER_RATIO_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Exact amounts, as shown in bills ("47/45 fen") and compared in tests: a
 * rational in lowest terms, denominator positive; text "47/45", or "188" when whole.
 */
struct ratio {
    __int128 num;
    __int128 den;
};

#define RATIO_TEXT_MAX 88

struct ratio ratio_of(__int128 num, __int128 den); /* den > 0 */
void ratio_format(const struct ratio *r, char out[RATIO_TEXT_MAX]);
/* Other terms are reduced. "syntax" for what is no rational, "range" above 128 bits. */
int ratio_parse(struct ratio *out, const char *text, size_t len, struct err *e) MUST_USE;

/*
 * To a whole number: usage is floored, VAT half-up (an exact half goes up), holds and
 * fees of cancelling are ceilings. Nothing is ever rounded half-even. "range".
 */
enum ratio_round { RATIO_NONE = 0, RATIO_FLOOR, RATIO_HALF_UP, RATIO_CEIL };
int ratio_round(const struct ratio *r, enum ratio_round how, int64_t *out,
                struct err *e) MUST_USE;

#endif
