/*
 * Frames come out the same however the bytes arrive; each is one that may be, and is
 * exactly what would be written; after a refusal nothing comes any more.
 */
#include <string.h>

#include "runner/wire/frame.h"
#include "tests/fuzz/fuzz.h"

/* Decode all of data, given in pieces of this size; what came out, encoded again. */
static int
decode(const uint8_t *data, size_t size, size_t piece, bool by_room, struct buf *out)
{
    struct frame_decoder *d = frame_decoder_new();
    size_t at = 0;
    int rc = 0;

    while (at < size && rc == 0) {
        size_t n = piece < size - at ? piece : size - at;
        bool got = true;
        struct frame f;
        struct err e = {0};

        if (by_room) {
            size_t room;
            uint8_t *to = frame_decoder_room(d, &room);

            must(room >= FRAME_HEADER_BYTES);
            n = n < room ? n : room;
            memcpy(to, data + at, n);
            frame_decoder_filled(d, n);
        } else {
            frame_decoder_feed(d, data + at, n);
        }
        at += n;
        while (got && (rc = frame_decoder_next(d, &f, &got, &e)) == 0) {
            if (got) {
                must(frame_check(&f, &e) == 0);
                frame_encode(out, &f);
            }
        }
        if (rc == -1) {
            must(e.code == ERR_CORRUPT);
            must(frame_decoder_next(d, &f, &got, &e) == -1);
        } else if ((at & 7) == 0) {
            frame_decoder_trim(d);
        }
    }
    if (rc == 0) {
        must(out->len + frame_decoder_pending(d) == size);
    }
    frame_decoder_free(d);
    return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 3, 4096, SIZE_MAX};
    struct buf first = BUF_INIT;
    int rc;

    if (size > 200000) {
        return 0; /* byte by byte takes its time */
    }
    rc = decode(data, size, SIZE_MAX, false, &first);
    must(first.len <= size &&
         (first.len == 0 || memcmp(first.data, data, first.len) == 0));
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct buf b = BUF_INIT;

        must(decode(data, size, pieces[i], i % 2 == 0, &b) == rc);
        must(b.len == first.len &&
             (b.len == 0 || memcmp(b.data, first.data, b.len) == 0));
        buf_free(&b);
    }
    buf_free(&first);
    return 0;
}
