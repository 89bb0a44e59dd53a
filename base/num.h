#ifndef BASE_NUM_H
#define BASE_NUM_H

/* The smaller, the larger, what sorts, and copying what may be nothing. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline size_t
size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t
size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

static inline uint64_t
u64_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t
u64_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline int64_t
i64_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t
i64_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Below, at or above 0 as a is below, at or above b: for qsort. */
static inline int
i64_cmp(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* n, doubled until it is at least want; n > 0. */
static inline size_t
size_double_to(size_t n, size_t want)
{
    while (n < want) {
        n *= 2;
    }
    return n;
}

/* memcpy where from may be NULL if n is 0. */
static inline void
bytes_copy(void *to, const void *from, size_t n)
{
    if (n > 0) {
        memcpy(to, from, n);
    }
}

#endif
