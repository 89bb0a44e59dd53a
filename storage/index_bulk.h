#ifndef STORAGE_INDEX_BULK_H
#define STORAGE_INDEX_BULK_H

#include "base/attr.h"
#include "base/err.h"
#include "storage/index.h"

/*
 * Filling a new index with any number of packs in bounded memory: rows are dealt out
 * by the first byte of their id to 256 heaps (kept in files when they grow), then each
 * heap is sorted and inserted, so the tree is written from left to right, once.
 *
 * Of a chunk that is in several packs the first one counts whose bytes are sound; that
 * is asked only then. One thread.
 */
struct index_bulk;

/* Are the bytes of en, in that pack, what its id says? */
typedef bool index_sound_fn(void *arg, const struct pack_name *pack,
                            const struct pack_entry *en);

/* Into the new index ix, which nobody else uses; heaps lie, nameless, in dir_fd. */
int index_bulk_open(struct index_bulk **out, struct index *ix, int dir_fd,
                    struct err *e) MUST_USE;
int index_bulk_add(struct index_bulk *b, const struct index_pack *p,
                   struct err *e) MUST_USE;
/* Insert everything, in one transaction with the packs. sound NULL: all are. */
int index_bulk_finish(struct index_bulk *b, index_sound_fn *sound, void *arg,
                      uint64_t *n_chunks, struct err *e) MUST_USE;
/* NULL is allowed; unfinished, nothing is in ix. */
void index_bulk_close(struct index_bulk *b);

#endif
