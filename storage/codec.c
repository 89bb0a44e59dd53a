#include "storage/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/buf.h"

/*
 * What compressing must gain, as a part of the length, for the chunk to be kept
 * compressed: less than that is not worth decompressing at every use.
 */
#define GAIN_PART 32

/*
 * Where the chunk before gave less than a quarter, as of images and weights, the fast
 * level finds as much of it in two thirds of the time; of text it would lose a seventh.
 */
#define TOUGH_PART 4
#define FAST_LEVEL (-1)

/*
 * What zstd's level 1 takes for chunks of our sizes is minMatch 6 and hashLog 13. These
 * find 2.5 % more in programs and text for 3 % more time (DESIGN.md).
 */
#define MIN_MATCH 5
#define HASH_LOG  15

struct codec {
    bool tough; /* the chunk before gave little */
    ZSTD_CCtx *cctx;
    ZSTD_DCtx *dctx;
    uint8_t *out; /* ZSTD_compressBound(STORE_CHUNK_MAX_BYTES) bytes once used */
    uint8_t *scratch;
    size_t scratch_len;
};

struct codec *
codec_new(void)
{
    return xcalloc(1, sizeof(struct codec));
}

void
codec_free(struct codec *c)
{
    if (c != NULL) {
        (void)ZSTD_freeCCtx(c->cctx);
        (void)ZSTD_freeDCtx(c->dctx);
        free(c->out);
        free(c->scratch);
        free(c);
    }
}

static size_t
compress(struct codec *c, int level, size_t room, const void *data, size_t len)
{
    bool fast = level == FAST_LEVEL;

    /* 0: what belongs to the level. Of these four no value is ever out of bounds. */
    (void)ZSTD_CCtx_setParameter(c->cctx, ZSTD_c_compressionLevel, level);
    (void)ZSTD_CCtx_setParameter(c->cctx, ZSTD_c_minMatch, fast ? 0 : MIN_MATCH);
    (void)ZSTD_CCtx_setParameter(c->cctx, ZSTD_c_hashLog, fast ? 0 : HASH_LOG);
    return ZSTD_compress2(c->cctx, c->out, room, data, len);
}

enum store_codec
codec_encode(struct codec *c, int level, const void *data, size_t len, const void **out,
             size_t *out_len)
{
    size_t room = ZSTD_compressBound(STORE_CHUNK_MAX_BYTES);
    size_t n;

    if (c->out == NULL) {
        c->out = xmalloc(room);
    }
    if (c->cctx == NULL) {
        c->cctx = ZSTD_createCCtx();
    }
    *out = data;
    *out_len = len;
    if (c->cctx == NULL) {
        return STORE_CODEC_RAW; /* no memory for zstd: larger, not lost */
    }
    n = compress(c, c->tough && level > FAST_LEVEL ? FAST_LEVEL : level, room, data, len);
    c->tough = ZSTD_isError(n) || n > len - len / TOUGH_PART;
    if (ZSTD_isError(n) || n + len / GAIN_PART >= len) {
        return STORE_CODEC_RAW;
    }
    *out = c->out;
    *out_len = n;
    return STORE_CODEC_ZSTD;
}

/* One frame that fills data, announces raw_len bytes and needs no dictionary? */
static int
check_frame(const void *data, size_t len, size_t raw_len, struct err *e)
{
    if (ZSTD_getFrameContentSize(data, len) != raw_len ||
        ZSTD_findFrameCompressedSize(data, len) != len ||
        ZSTD_getDictID_fromFrame(data, len) != 0) {
        return err_set(e, ERR_CORRUPT, "not a zstd frame of %zu bytes", raw_len);
    }
    return 0;
}

int
codec_decode(struct codec *c, enum store_codec codec, const void *data, size_t len,
             void *to, size_t raw_len, struct err *e)
{
    size_t n;

    if (codec == STORE_CODEC_RAW) {
        if (len != raw_len) {
            return err_set(e, ERR_CORRUPT, "a raw chunk of %zu bytes has %zu", raw_len,
                           len);
        }
        memcpy(to, data, len);
        return 0;
    }
    if (codec != STORE_CODEC_ZSTD) {
        return err_set(e, ERR_INVALID, "unknown codec %d", (int)codec);
    }
    if (check_frame(data, len, raw_len, e) == -1) {
        return -1;
    }
    if (c->dctx == NULL) {
        c->dctx = ZSTD_createDCtx();
    }
    if (c->dctx == NULL) {
        (void)err_set(e, ERR_SPACE, "no memory to decompress");
        e->sys_errno = ENOMEM; /* no disk would help */
        return -1;
    }
    n = ZSTD_decompressDCtx(c->dctx, to, raw_len, data, len);
    if (ZSTD_isError(n) || n != raw_len) {
        return err_set(e, ERR_CORRUPT, "a damaged zstd frame");
    }
    return 0;
}

void *
codec_scratch(struct codec *c, size_t n)
{
    if (c->scratch_len < n) {
        free(c->scratch);
        c->scratch = xmalloc(n);
        c->scratch_len = n;
    }
    return c->scratch;
}

bool
codec_possible(enum store_codec codec, size_t raw_len, size_t stored_len)
{
    if (raw_len > STORE_CHUNK_MAX_BYTES || stored_len == 0) {
        return false;
    }
    switch (codec) {
    case STORE_CODEC_RAW:
        return stored_len == raw_len;
    case STORE_CODEC_ZSTD:
        return stored_len < raw_len;
    case STORE_CODEC_NONE:
        break;
    }
    return false;
}
