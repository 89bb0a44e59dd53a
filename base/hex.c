#include "base/hash.h"

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

bool
hex_parse(const char *text, size_t text_len, void *out, size_t n)
{
    uint8_t *to = out;
    unsigned bad = 0;

    if (text_len % 2 != 0 || text_len / 2 != n) {
        return false;
    }
    for (size_t i = 0; i < text_len; i++) {
        bad |= hex_value(text[i]);
    }
    if (bad > 15) {
        return false; /* before anything was written */
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = (uint8_t)(hex_value(text[2 * i]) << 4 | hex_value(text[2 * i + 1]));
    }
    return true;
}
