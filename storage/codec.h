#ifndef STORAGE_CODEC_H
#define STORAGE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "storage/store.h"

/*
 * Encoding of single chunks. A struct codec holds zstd's working memory (about
 * 1 MB once used); one thread at a time.
 */
struct codec;

struct codec *codec_new(void);
void codec_free(struct codec *c); /* NULL is allowed */

#define CODEC_LEVEL 1 /* of zstd, for chunks: chosen by measurement (DESIGN.md) */

/*
 * Encode data[0..len), len <= STORE_CHUNK_MAX_BYTES. *out and *out_len are what to keep:
 * either data itself (STORE_CODEC_RAW, where compressing gains too little) or memory of
 * c, valid until its next use. level is zstd's, for what gives something: after a chunk
 * that gave little the next is tried with a faster one.
 */
enum store_codec codec_encode(struct codec *c, int level, const void *data, size_t len,
                              const void **out, size_t *out_len);

/*
 * Decode data[0..len) into to[0..raw_len): exactly raw_len bytes from exactly len, or
 * ERR_CORRUPT. Never writes beyond. ERR_INVALID: no such codec. data may be hostile.
 */
int codec_decode(struct codec *c, enum store_codec codec, const void *data, size_t len,
                 void *to, size_t raw_len, struct err *e) MUST_USE;

/*
 * May a chunk of raw_len bytes be kept or sent as stored_len bytes of codec? What does
 * not compress is never kept as if it did, so that a chunk has one form for each codec.
 */
bool codec_possible(enum store_codec codec, size_t raw_len, size_t stored_len) MUST_USE;

/* Memory of at least n bytes that belongs to c, for the caller's use between two calls.
 */
void *codec_scratch(struct codec *c, size_t n);

#endif
