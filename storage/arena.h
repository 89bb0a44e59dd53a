#ifndef STORAGE_ARENA_H
#define STORAGE_ARENA_H

#include <stddef.h>

/*
 * Memory that is freed all at once: many small pieces that live as long as one group
 * of a tree. Pieces never move. Zero-initialised is empty.
 */
struct arena_block;
struct arena {
    struct arena_block *blocks; /* the one in use first */
};

void *arena_alloc(struct arena *a, size_t n); /* aligned to 16 */
char *arena_bytes(struct arena *a, size_t n); /* not aligned */
/* A copy of data[0..len) with a NUL behind it. */
char *arena_text(struct arena *a, const void *data, size_t len);
/* Forget all pieces, keeping one block, so that the usual round needs no malloc. */
void arena_reset(struct arena *a);
void arena_free(struct arena *a);
size_t arena_held(const struct arena *a); /* bytes of memory, used or not */

#endif
