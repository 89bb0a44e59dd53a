#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

/*
 * A growable byte string. Start with BUF_INIT, end with buf_free; in between
 * data[0..len) is valid, and data[len] is a NUL once anything was appended, so
 * text can be used as a C string.
 *
 * Running out of memory aborts the process: nothing here is ever sized by a
 * peer (check lengths against a named _MAX before appending), so it is our
 * own mistake or a machine that is beyond help.
 */
struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
};

#define BUF_INIT                                                                         \
    {                                                                                    \
        NULL, 0, 0                                                                       \
    }

void buf_free(struct buf *b);              /* and make it BUF_INIT again */
void buf_reset(struct buf *b);             /* length 0, memory kept */
void buf_reserve(struct buf *b, size_t n); /* room for n more bytes */
void buf_add(struct buf *b, const void *data, size_t n);
void buf_add_str(struct buf *b, const char *s);
void buf_add_int(struct buf *b, int64_t v); /* in decimal, without printf */
void buf_add_u8(struct buf *b, uint8_t v);
void buf_add_u16(struct buf *b, uint16_t v); /* integers: little endian */
void buf_add_u32(struct buf *b, uint32_t v);
void buf_add_u64(struct buf *b, uint64_t v);
void buf_add_varint(struct buf *b, uint64_t v); /* LEB128, see bytes.h */
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
void buf_drop_front(struct buf *b, size_t n); /* n <= len; O(rest) */

/* The text so far as a NUL-terminated string; "" when empty. Stays b's. */
const char *buf_str(const struct buf *b);

/* Hand the bytes over as a malloc'ed, NUL-terminated string; b is BUF_INIT again. */
char *buf_steal(struct buf *b);

/* malloc and friends that abort instead of returning NULL. Free with free(). */
void *xmalloc(size_t n);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t n);
/* v, an array of n things of that size, with room for one more; it grows only by this. */
void *xgrow(void *v, size_t n, size_t size);
char *xstrdup(const char *s);
void *xmemdup(const void *p, size_t n);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
