#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define BUF_FIRST_CAP 64

_Noreturn static void
out_of_memory(void)
{
    (void)fputs("out of memory\n", stderr);
    abort();
}

void
buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf)BUF_INIT;
}

void
buf_reset(struct buf *b)
{
    b->len = 0;
    if (b->data != NULL) {
        b->data[0] = '\0';
    }
}

void
buf_reserve(struct buf *b, size_t n)
{
    size_t need;
    size_t cap = b->cap > 0 ? b->cap : BUF_FIRST_CAP;

    if (__builtin_add_overflow(b->len, n, &need) || need == SIZE_MAX) {
        out_of_memory();
    }
    need++; /* the NUL behind the text */
    if (need <= b->cap) {
        return;
    }
    while (cap < need) {
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    }
    b->data = xrealloc(b->data, cap);
    b->cap = cap;
}

void
buf_add(struct buf *b, const void *data, size_t n)
{
    buf_reserve(b, n);
    if (n > 0) {
        memcpy(b->data + b->len, data, n);
    }
    b->len += n;
    b->data[b->len] = '\0';
}

void
buf_add_str(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void
buf_add_int(struct buf *b, int64_t v)
{
    char text[21]; /* INT64_MIN */
    char *at = text + sizeof text;
    uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (v < 0) {
        *--at = '-';
    }
    buf_add(b, at, (size_t)(text + sizeof text - at));
}

void
buf_add_u8(struct buf *b, uint8_t v)
{
    buf_add(b, &v, 1);
}

void
buf_add_u16(struct buf *b, uint16_t v)
{
    uint8_t le[2];

    put_u16(le, v);
    buf_add(b, le, sizeof le);
}

void
buf_add_u32(struct buf *b, uint32_t v)
{
    uint8_t le[4];

    put_u32(le, v);
    buf_add(b, le, sizeof le);
}

void
buf_add_u64(struct buf *b, uint64_t v)
{
    uint8_t le[8];

    put_u64(le, v);
    buf_add(b, le, sizeof le);
}

void
buf_add_varint(struct buf *b, uint64_t v)
{
    uint8_t out[10];
    size_t n = 0;

    while (v >= 0x80) {
        out[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (uint8_t)v;
    buf_add(b, out, n);
}

void
buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    assert(n >= 0); /* only our own formats come here */
    buf_reserve(b, (size_t)n);
    (void)vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
    va_end(again);
    b->len += (size_t)n;
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void
buf_drop_front(struct buf *b, size_t n)
{
    assert(n <= b->len);
    if (n == 0) {
        return;
    }
    b->len -= n;
    memmove(b->data, b->data + n, b->len + 1); /* with the NUL */
}

const char *
buf_str(const struct buf *b)
{
    return b->data != NULL ? (const char *)b->data : "";
}

char *
buf_steal(struct buf *b)
{
    char *s;

    buf_reserve(b, 0);
    b->data[b->len] = '\0';
    s = (char *)b->data;
    *b = (struct buf)BUF_INIT;
    return s;
}

void *
xmalloc(size_t n)
{
    void *p = malloc(n > 0 ? n : 1);

    if (p == NULL) {
        out_of_memory();
    }
    return p;
}

void *
xcalloc(size_t count, size_t size)
{
    void *p = calloc(count > 0 ? count : 1, size > 0 ? size : 1);

    if (p == NULL) {
        out_of_memory();
    }
    return p;
}

void *
xrealloc(void *p, size_t n)
{
    void *q = realloc(p, n > 0 ? n : 1);

    if (q == NULL) {
        out_of_memory();
    }
    return q;
}

void *
xgrow(void *v, size_t n, size_t size)
{
    /* Doubling whenever n is a power of two needs no capacity kept beside it. */
    return (n & (n - 1)) == 0 ? xrealloc(v, (n == 0 ? 1 : 2 * n) * size) : v;
}

char *
xstrdup(const char *s)
{
    return xmemdup(s, strlen(s) + 1);
}

void *
xmemdup(const void *p, size_t n)
{
    void *q = xmalloc(n);

    if (n > 0) {
        memcpy(q, p, n);
    }
    return q;
}

char *
xasprintf(const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    return buf_steal(&b);
}
