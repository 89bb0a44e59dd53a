#ifndef METER_MONEY_H
#define METER_MONEY_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Money as text. 1 yuan = 100 fen = 1,000,000 micro-yuan. Amounts are fen and
 * have two decimals, prices are micro-yuan and have at most six. Text is ASCII:
 *
 *     amount = int [ "." frac ]      int = "0" | nonzero-digit *digit
 *
 * with no sign, space, separator or exponent. Refusals by name (refuse.h), the
 * first that applies: "syntax" (not digits, or digits point digits),
 * "leading_zero", "precision" (more decimals than allowed), "range".
 */
#define MONEY_UYUAN_PER_FEN  10000
#define MONEY_UYUAN_PER_YUAN 1000000
#define MONEY_TEXT_MAX       24 /* any int64 in either form, with sign and NUL */

int money_parse_fen(const char *text, size_t len, int64_t *fen, struct err *e) MUST_USE;
int money_parse_uyuan(const char *text, size_t len, int64_t *uyuan,
                      struct err *e) MUST_USE;

/* "-" if negative, yuan, ".", exactly two digits: the whole int64 range. */
void money_format_fen(int64_t fen, char out[MONEY_TEXT_MAX]);
/* As a price: at least two decimals, at most six, no trailing zeros beyond two. */
void money_format_uyuan(int64_t uyuan, char out[MONEY_TEXT_MAX]);

#endif
