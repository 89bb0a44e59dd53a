#include "meter/money.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "meter/refuse.h"

#define SHOWN_MAX 33 /* of a user's text in a message */

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t
count_digits(const char *text, size_t len)
{
    size_t n = 0;

    while (n < len && is_digit(text[n])) {
        n++;
    }
    return n;
}

/* The user's text in a message: short, and nothing that steers a terminal. */
static void
show(const char *text, size_t len, char out[SHOWN_MAX])
{
    char copy[40] = "";

    memcpy(copy, text, len < sizeof copy - 1 ? len : sizeof copy - 1);
    (void)text_escape_to(out, SHOWN_MAX, copy);
}

static bool
push_digit(int64_t *v, int digit)
{
    return !__builtin_mul_overflow(*v, (int64_t)10, v) &&
           !__builtin_add_overflow(*v, (int64_t)digit, v);
}

static int
parse(const char *text, size_t len, size_t decimals, int64_t *out, struct err *e)
{
    size_t n_int = count_digits(text, len);
    size_t n_frac = 0;
    int64_t v = 0;
    char shown[SHOWN_MAX];

    show(text, len, shown);
    if (n_int < len) {
        if (text[n_int] == '.') {
            n_frac = count_digits(text + n_int + 1, len - n_int - 1);
        }
        if (n_frac == 0 || n_int + 1 + n_frac != len) {
            n_int = 0;
        }
    }
    if (n_int == 0) {
        return refuse_typed(e, REFUSE_SYNTAX, "'%s' is not an amount like 1.88", shown);
    }
    if (n_int > 1 && text[0] == '0') {
        return refuse_typed(e, REFUSE_LEADING_ZERO, "'%s' begins with a zero too many",
                            shown);
    }
    if (n_frac > decimals) {
        return refuse_typed(e, REFUSE_PRECISION, "'%s' has more than %zu decimals", shown,
                            decimals);
    }
    for (size_t i = 0; i < n_int + decimals; i++) {
        size_t at = i < n_int ? i : i + 1;

        if (!push_digit(&v, at < len ? text[at] - '0' : 0)) {
            return refuse_typed(e, REFUSE_RANGE, "'%s' is too large an amount", shown);
        }
    }
    *out = v;
    return 0;
}

int
money_parse_fen(const char *text, size_t len, int64_t *fen, struct err *e)
{
    return parse(text, len, 2, fen, e);
}

int
money_parse_uyuan(const char *text, size_t len, int64_t *uyuan, struct err *e)
{
    return parse(text, len, 6, uyuan, e);
}

static uint64_t
magnitude(int64_t v)
{
    return v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
}

void
money_format_fen(int64_t fen, char out[MONEY_TEXT_MAX])
{
    uint64_t m = magnitude(fen);

    (void)snprintf(out, MONEY_TEXT_MAX, "%s%" PRIu64 ".%02u", fen < 0 ? "-" : "", m / 100,
                   (unsigned)(m % 100));
}

void
money_format_uyuan(int64_t uyuan, char out[MONEY_TEXT_MAX])
{
    uint64_t m = magnitude(uyuan);
    int n = snprintf(out, MONEY_TEXT_MAX, "%s%" PRIu64 ".%06u", uyuan < 0 ? "-" : "",
                     m / MONEY_UYUAN_PER_YUAN, (unsigned)(m % MONEY_UYUAN_PER_YUAN));

    for (int cut = 0; cut < 4 && out[n - 1] == '0'; cut++) {
        out[--n] = '\0';
    }
}
