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

#define NO_DIGIT 16U

/* Upper case is refused: a hash has one spelling. */
static unsigned
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : NO_DIGIT;
}

bool
hex_parse(const char *text, size_t text_len, void *out, size_t n)
{
    uint8_t *to = out;

    if (text_len % 2 != 0 || text_len / 2 != n) {
        return false;
    }
    for (size_t i = 0; i < text_len; i++) {
        if (hex_value(text[i]) == NO_DIGIT) {
            return false; /* before anything was written */
        }
    }
    for (size_t i = 0; i < n; i++) {
        to[i] = (uint8_t)(hex_value(text[2 * i]) << 4 | hex_value(text[2 * i + 1]));
    }
    return true;
}
