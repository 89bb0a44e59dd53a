#include "meter/ratio.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "meter/refuse.h"
#include "meter/wide.h"

static __int128
gcd(__int128 a, __int128 b)
{
    while (b != 0) {
        __int128 r = a % b;

        a = b;
        b = r;
    }
    return a < 0 ? -a : a;
}

struct ratio
ratio_of(__int128 num, __int128 den)
{
    __int128 g = gcd(num, den);

    assert(den > 0);
    return (struct ratio){.num = num / g, .den = den / g};
}

static size_t
format_wide(__int128 v, char *out)
{
    char digits[44];
    size_t n = 0;
    size_t len = 0;
    unsigned __int128 m = v < 0 ? 0 - (unsigned __int128)v : (unsigned __int128)v;

    do {
        digits[n++] = (char)('0' + (int)(m % 10));
        m /= 10;
    } while (m > 0);
    if (v < 0) {
        out[len++] = '-';
    }
    while (n > 0) {
        out[len++] = digits[--n];
    }
    out[len] = '\0';
    return len;
}

void
ratio_format(const struct ratio *r, char out[RATIO_TEXT_MAX])
{
    size_t n = format_wide(r->num, out);

    if (r->den != 1) {
        out[n++] = '/';
        (void)format_wide(r->den, out + n);
    }
}

/* Digits without a superfluous zero in front. */
static bool
parse_wide(const char *text, size_t len, __int128 *out, bool *too_large)
{
    __int128 v = 0;

    if (len == 0 || (len > 1 && text[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        if (!wide_mul(v, 10, &v) || !wide_add(v, text[i] - '0', &v)) {
            *too_large = true;
            v = 0;
        }
    }
    *out = v;
    return true;
}

int
ratio_parse(struct ratio *out, const char *text, size_t len, struct err *e)
{
    const char *slash = len == 0 ? NULL : memchr(text, '/', len);
    bool negative = len > 0 && text[0] == '-';
    size_t n_num = slash != NULL ? (size_t)(slash - text) : len;
    struct ratio r = {.num = 0, .den = 1};
    bool too_large = false;

    if (!parse_wide(text + negative, n_num - negative, &r.num, &too_large) ||
        (slash != NULL && !parse_wide(slash + 1, len - n_num - 1, &r.den, &too_large))) {
        return refuse(e, REFUSE_SYNTAX, "not an exact amount like 47/45");
    }
    if (too_large) {
        return refuse(e, REFUSE_RANGE, "an exact amount of more than 128 bits");
    }
    if (r.den == 0) {
        return refuse(e, REFUSE_SYNTAX, "an exact amount with denominator 0");
    }
    *out = ratio_of(negative ? -r.num : r.num, r.den);
    return 0;
}

int
ratio_round(const struct ratio *r, enum ratio_round how, int64_t *out, struct err *e)
{
    __int128 q = wide_floor_div(r->num, r->den);
    __int128 rest = r->num - q * r->den;

    if (how == RATIO_CEIL && rest > 0) {
        q++;
    } else if (how == RATIO_HALF_UP && rest >= r->den - rest) {
        q++;
    }
    if (!wide_fits64(q)) {
        return refuse(e, REFUSE_RANGE, "the rounded amount is out of range");
    }
    *out = (int64_t)q;
    return 0;
}
