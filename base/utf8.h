#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/*
 * Decode the UTF-8 character at s[0..left) into *cp. Returns its length, 1 to 4,
 * or 0 where the bytes are no UTF-8 by RFC 3629 (overlong, surrogate, above
 * U+10FFFF, cut off) or left is 0.
 */
size_t utf8_decode(const void *s, size_t left, uint32_t *cp);

/* Terminal columns of one character: 2 for wide East Asian, 0 for combining, else 1. */
int utf8_columns(uint32_t cp);

#endif
