#ifndef METER_WIDE_H
#define METER_WIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/num.h"

/*
 * Checked arithmetic in 128 bits, shared by the files of meter/. Written out because
 * clang turns __builtin_mul_overflow on __int128 into a call that libgcc does not
 * have.
 */
#define WIDE_MAX ((__int128)((~(unsigned __int128)0) >> 1))
#define WIDE_MIN (-WIDE_MAX - 1)

static inline bool
wide_fits64(__int128 v)
{
    return v >= INT64_MIN && v <= INT64_MAX;
}

/* *out = a x b for a, b >= 0; false if it does not fit. */
static inline bool
wide_mul(__int128 a, __int128 b, __int128 *out)
{
    if (a > INT64_MAX || b > INT64_MAX) { /* 63 x 63 bits always fit */
        if (a != 0 && b > WIDE_MAX / a) {
            return false;
        }
    }
    *out = a * b;
    return true;
}

/* *out = a + b for a, b >= 0; false if it does not fit. */
static inline bool
wide_add(__int128 a, __int128 b, __int128 *out)
{
    if (a > WIDE_MAX - b) {
        return false;
    }
    *out = a + b;
    return true;
}

/* Towards minus infinity; b > 0. */
static inline __int128
wide_floor_div(__int128 a, __int128 b)
{
    __int128 q;

    if (wide_fits64(a) && wide_fits64(b)) { /* nearly always, and much quicker */
        int64_t a64 = (int64_t)a;
        int64_t b64 = (int64_t)b;

        return a64 % b64 < 0 ? a64 / b64 - 1 : a64 / b64;
    }
    q = a / b;
    return a % b < 0 ? q - 1 : q;
}

/* Towards plus infinity; b > 0. */
static inline __int128
wide_ceil_div(__int128 a, __int128 b)
{
    __int128 q;

    if (wide_fits64(a) && wide_fits64(b)) {
        int64_t a64 = (int64_t)a;
        int64_t b64 = (int64_t)b;

        return a64 % b64 > 0 ? (__int128)(a64 / b64) + 1 : a64 / b64;
    }
    q = a / b;
    return a % b > 0 ? q + 1 : q;
}

static inline __int128
wide_min(__int128 a, __int128 b)
{
    return a < b ? a : b;
}

static inline __int128
wide_max(__int128 a, __int128 b)
{
    return a > b ? a : b;
}

/* The nearest int64 of a value >= 0. */
static inline int64_t
wide_clamp64(__int128 v)
{
    return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

#endif
