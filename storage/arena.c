#include "storage/arena.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define FIRST_BYTES ((size_t)4 * 1024)
#define BLOCK_BYTES ((size_t)64 * 1024)

struct arena_block {
    struct arena_block *next;
    size_t used;
    size_t cap;
    size_t unused; /* keeps bytes aligned */
    char bytes[];
};

static void *
take(struct arena *a, size_t n, size_t align)
{
    struct arena_block *b = a->blocks;
    size_t at = b != NULL ? (b->used + align - 1) & ~(align - 1) : 0;

    if (b == NULL || at > b->cap || b->cap - at < n) {
        size_t cap = b == NULL ? FIRST_BYTES : BLOCK_BYTES;

        cap = n > cap ? n : cap;
        b = xmalloc(sizeof *b + cap);
        b->next = a->blocks;
        b->cap = cap;
        a->blocks = b;
        at = 0;
    }
    b->used = at + n;
    return b->bytes + at;
}

void *
arena_alloc(struct arena *a, size_t n)
{
    return take(a, n, 16);
}

char *
arena_bytes(struct arena *a, size_t n)
{
    return take(a, n, 1);
}

char *
arena_text(struct arena *a, const void *data, size_t len)
{
    char *p = take(a, len + 1, 1);

    if (len != 0) {
        memcpy(p, data, len);
    }
    p[len] = '\0';
    return p;
}

static void
free_blocks(struct arena_block *b)
{
    while (b != NULL) {
        struct arena_block *next = b->next;

        free(b);
        b = next;
    }
}

void
arena_reset(struct arena *a)
{
    if (a->blocks != NULL) {
        free_blocks(a->blocks->next);
        a->blocks->next = NULL;
        a->blocks->used = 0;
    }
}

void
arena_free(struct arena *a)
{
    free_blocks(a->blocks);
    a->blocks = NULL;
}

size_t
arena_held(const struct arena *a)
{
    size_t n = 0;

    for (const struct arena_block *b = a->blocks; b != NULL; b = b->next) {
        n += sizeof *b + b->cap;
    }
    return n;
}
