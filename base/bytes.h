#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

/*
 * Reading binary formats. Integers are little endian; varints are unsigned
 * LEB128 in their shortest form, at most ten bytes (longer forms are refused,
 * so every value has one encoding).
 *
 * A cursor never reads outside what it was given. Once a read did not fit or
 * was malformed, bad is set, stays set, and every further read returns zero:
 * read a whole structure, then look at bad once.
 */
struct cursor {
    const uint8_t *at;
    size_t left;
    bool bad;
};

struct cursor cursor_of(const void *data, size_t len);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
uint64_t cursor_varint(struct cursor *c);
/* n bytes that stay the owner's; NULL (and bad) if fewer are left. */
const uint8_t *cursor_bytes(struct cursor *c, size_t n);
/* Everything was read and nothing was bad. */
bool cursor_done(const struct cursor *c);

void put_u16(uint8_t *to, uint16_t v);
void put_u32(uint8_t *to, uint32_t v);
void put_u64(uint8_t *to, uint64_t v);
uint16_t get_u16(const uint8_t *from);
uint32_t get_u32(const uint8_t *from);
uint64_t get_u64(const uint8_t *from);

/* Signed to unsigned and back, so that small values of either sign are small varints. */
uint64_t zigzag(int64_t v);
int64_t unzigzag(uint64_t v);

/* CRC-32C (Castagnoli), initial value 0, for torn-write detection only. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
