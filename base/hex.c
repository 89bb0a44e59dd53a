#include "base/hash.h"

#include <endian.h>
#include <string.h>

#include "base/num.h"

/* Apart from hash.c, so that a program without hashes needs no libcrypto. */
void
hex_format(const void *data, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

#define NO_DIGIT 0xffU

/*
 * A digit's value; above any for what is none. Upper case is refused: a hash has one
 * spelling. Without branches, as a journal is a third hexadecimal digits, and no pattern
 * in them.
 */
static inline unsigned
hex_value(char c)
{
    unsigned digit = (unsigned char)c - (unsigned)'0';
    unsigned letter = (unsigned char)c - (unsigned)'a';

    return (digit < 10 ? digit : NO_DIGIT) & (letter < 6 ? letter + 10 : NO_DIGIT);
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static uint64_t
eight_at(const char *text)
{
    uint64_t x;

    memcpy(&x, text, sizeof x);
    return le64toh(x);
}

/* The values of eight digits, a byte each; *bad gets bits where one is none. */
static uint64_t
eight_values(uint64_t x, uint64_t *bad)
{
    uint64_t letter = x >> 6 & EACH(1);
    uint64_t v = (x & EACH(0x0f)) + letter * 9;
    uint64_t above_9 = (v + EACH(6)) >> 4 & EACH(1);

    /* Spelled again they must be what was read, and none above 15. */
    *bad |= ((v + EACH('0') + above_9 * ('a' - '0' - 10)) ^ x) | (v & EACH(0xf0));
    return v;
}

/* Eight values as four bytes. */
static void
put_four(uint64_t v, uint8_t *to)
{
    uint32_t four;

    v = (v << 4 | v >> 8) & UINT64_C(0x00ff00ff00ff00ff);
    v = (v | v >> 8) & UINT64_C(0x0000ffff0000ffff);
    four = htole32((uint32_t)(v | v >> 16));
    memcpy(to, &four, sizeof four);
}

/* Bytes that are read in one pass: a signature's, and all that records have. */
#define AT_ONCE 64

static bool
parse_few(const char *text, uint8_t *to, size_t n)
{
    uint8_t out[AT_ONCE];
    uint64_t bad8 = 0;
    unsigned bad = 0;
    size_t i;

    for (i = 0; i + 4 <= n; i += 4) {
        put_four(eight_values(eight_at(text + 2 * i), &bad8), out + i);
    }
    for (; i < n; i++) {
        unsigned high = hex_value(text[2 * i]);
        unsigned low = hex_value(text[2 * i + 1]);

        bad |= high | low;
        out[i] = (uint8_t)(high << 4 | low);
    }
    if (bad > 15 || bad8 != 0) {
        return false;
    }
    memcpy(to, out, n);
    return true;
}

bool
hex_parse(const char *text, size_t text_len, void *out, size_t n)
{
    uint8_t *to = out;

    if (text_len % 2 != 0 || text_len / 2 != n) {
        return false;
    }
    /* What is longer is looked at first: a failed call writes nothing. */
    for (size_t i = 0; n > AT_ONCE && i < text_len; i++) {
        if (hex_value(text[i]) > 15) {
            return false;
        }
    }
    for (size_t i = 0; i < n; i += AT_ONCE) {
        if (!parse_few(text + 2 * i, to + i, size_min(n - i, AT_ONCE))) {
            return false;
        }
    }
    return true;
}
