/*
 * Chunks as they come from a peer: the first byte is the codec, the next three the length
 * announced, the rest the encoded bytes. Never more is written than was announced, and
 * what is encoded here is decoded again.
 */
#include <stdlib.h>
#include <string.h>

#include "storage/chunker.h"
#include "storage/codec.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct codec *c = codec_new();
    const void *out;
    size_t out_len;
    size_t raw_len;
    uint8_t *raw;
    enum store_codec codec;
    struct err e;

    if (size < 5) {
        codec_free(c);
        return 0;
    }
    raw_len = (size_t)data[1] | (size_t)data[2] << 8 | (size_t)data[3] << 16;
    raw_len = raw_len > STORE_CHUNK_MAX_BYTES ? STORE_CHUNK_MAX_BYTES : raw_len;
    raw = malloc(raw_len + 1); /* a sanitizer sees a byte too many */
    must(raw != NULL);
    (void)!codec_decode(c, (enum store_codec)data[0], data + 4, size - 4, raw, raw_len,
                        &e);
    free(raw);

    size = size > STORE_CHUNK_MAX_BYTES ? STORE_CHUNK_MAX_BYTES : size;
    codec = codec_encode(c, 1, data, size, &out, &out_len);
    must(out_len <= size);
    raw = malloc(size);
    must(raw != NULL);
    must(codec_decode(c, codec, out, out_len, raw, size, &e) == 0);
    must(memcmp(raw, data, size) == 0);
    free(raw);
    for (size_t at = 0; at < size;) {
        size_t n = chunker_cut(data + at, size - at);

        must(n > 0 && n <= size - at && n <= CHUNKER_MAX_BYTES);
        at += n;
    }
    codec_free(c);
    return 0;
}
