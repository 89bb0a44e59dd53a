/*
 * The first byte of each step says what to read next. Nothing is read outside; an
 * accepted varint is exactly what would be written; bad stays bad.
 */
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "tests/fuzz/fuzz.h"

static void
read_varint(struct cursor *c)
{
    const uint8_t *from = c->at;
    uint64_t v = cursor_varint(c);
    struct buf b = BUF_INIT;

    if (c->bad) {
        must(v == 0);
        return;
    }
    buf_add_varint(&b, v);
    must((size_t)(c->at - from) == b.len && memcmp(from, b.data, b.len) == 0);
    buf_free(&b);
}

static void
read_bytes(struct cursor *c, size_t n)
{
    size_t left = c->left;
    bool was_bad = c->bad;
    const uint8_t *p = cursor_bytes(c, n);

    must((p == NULL) == c->bad);
    must(c->bad ? was_bad || n > left : c->left == left - n);
    if (p != NULL) {
        (void)crc32c(0, p, n); /* a sanitizer sees what is not ours */
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor c = cursor_of(data, size);

    while (!cursor_done(&c) && !c.bad) {
        uint8_t op = cursor_u8(&c);

        switch (op & 7) {
        case 0:
            (void)cursor_u16(&c);
            break;
        case 1:
            (void)cursor_u32(&c);
            break;
        case 2:
            (void)cursor_u64(&c);
            break;
        case 3:
            read_bytes(&c, op >> 3);
            break;
        case 4:
            read_bytes(&c, (size_t)cursor_u64(&c));
            break;
        default:
            read_varint(&c);
        }
    }
    must(c.left <= size);
    if (c.bad) {
        must(cursor_u8(&c) == 0 && cursor_bytes(&c, 0) == NULL && !cursor_done(&c));
    }
    return 0;
}
