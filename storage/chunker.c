#include "storage/chunker.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "storage/chunker_internal.h"

/* Bytes the buffer holds: some chunks, so that what is left is seldom moved. */
#define BUFFER_BYTES (4 * CHUNKER_MAX_BYTES)

/*
 * A chunk ends behind the byte where these bits are all zero in the rolling hash, one of
 * 65,536. The bits are high ones: they depend on the last 63 bytes. One mask for all:
 * two, as FastCDC has, keep lengths closer together, but then cuts that are out of step
 * with those of an earlier version take three times as long to meet them again.
 */
#define CUT_BITS 16
#define CUT_MASK ((((uint64_t)1 << CUT_BITS) - 1) << (63 - CUT_BITS))

_Static_assert(CHUNKER_MAX_BYTES <= STORE_CHUNK_MAX_BYTES, "every chunk can be put");

struct chunker {
    uint8_t *data;
    size_t begin;   /* of the chunk being formed */
    size_t end;     /* of what was filled in */
    size_t scanned; /* bytes of the chunk the hash has been over */
    uint64_t hash;
    bool cut_here; /* a chunk ends at end, whatever its bytes */
    bool in_big;   /* the file being read has boundaries of its own */
    bool ended;
};

/* As chunker_cut, continued from *scanned bytes with *hash; 0: no cut in data[0..len). */
static size_t
cut_from(const uint8_t *data, size_t len, size_t *scanned, uint64_t *hash)
{
    size_t limit = len < CHUNKER_MAX_BYTES ? len : CHUNKER_MAX_BYTES;
    size_t at = *scanned < CHUNKER_MIN_BYTES ? CHUNKER_MIN_BYTES : *scanned;
    uint64_t h = *hash;

    while (at < limit) {
        h = (h << 1) + chunker_gear[data[at++]];
        if ((h & CUT_MASK) == 0) {
            return at;
        }
    }
    *scanned = at;
    *hash = h;
    return len >= CHUNKER_MAX_BYTES ? CHUNKER_MAX_BYTES : 0;
}

size_t
chunker_cut(const uint8_t *data, size_t len)
{
    size_t scanned = 0;
    uint64_t hash = 0;
    size_t cut = cut_from(data, len, &scanned, &hash);

    return cut == 0 ? len : cut;
}

struct chunker *
chunker_new(void)
{
    struct chunker *c = xcalloc(1, sizeof *c);

    c->data = xmalloc(BUFFER_BYTES);
    return c;
}

void
chunker_free(struct chunker *c)
{
    if (c != NULL) {
        free(c->data);
        free(c);
    }
}

void
chunker_file(struct chunker *c, uint64_t size_bytes)
{
    bool big = size_bytes >= CHUNKER_BIG_FILE_BYTES;

    if (big || c->in_big) {
        c->cut_here = true;
    }
    c->in_big = big;
}

uint8_t *
chunker_space(struct chunker *c, size_t *room)
{
    assert(!c->cut_here && c->end - c->begin < CHUNKER_MAX_BYTES);
    if (BUFFER_BYTES - c->end < CHUNKER_MAX_BYTES) {
        memmove(c->data, c->data + c->begin, c->end - c->begin);
        c->end -= c->begin;
        c->begin = 0;
    }
    *room = BUFFER_BYTES - c->end;
    return c->data + c->end;
}

void
chunker_filled(struct chunker *c, size_t n)
{
    assert(n <= BUFFER_BYTES - c->end);
    c->end += n;
}

bool
chunker_next(struct chunker *c, const uint8_t **chunk, size_t *len)
{
    size_t have = c->end - c->begin;
    size_t cut = cut_from(c->data + c->begin, have, &c->scanned, &c->hash);

    if (cut == 0 && c->cut_here) {
        cut = have;
        c->cut_here = false;
    }
    if (cut == 0) {
        return false;
    }
    *chunk = c->data + c->begin;
    *len = cut;
    c->begin += cut;
    c->scanned = 0;
    c->hash = 0;
    return true;
}

void
chunker_end(struct chunker *c)
{
    c->cut_here = true;
    c->in_big = false;
}
