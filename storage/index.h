#ifndef STORAGE_INDEX_H
#define STORAGE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/pack.h"
#include "storage/store.h"

/*
 * The index: which chunk lies where. A SQLite file that says nothing which the packs do
 * not say (rebuild.h makes it anew), but for three things that may be forgotten without
 * harm: which chunks are condemned (gc.h), the generation count, and which were found
 * damaged.
 *
 * Every call is one transaction, durable when it returns. A struct index may be used
 * by several threads at once (it locks itself).
 */
struct index;

/* The index file at path; made if create says so, else ERR_NOT_FOUND. */
int index_open(struct index **out, const char *path, bool create, struct err *e) MUST_USE;
void index_close(struct index *ix); /* NULL is allowed */

/* The generation: grows with every condemnation. */
int index_generation(struct index *ix, uint64_t *gen, struct err *e) MUST_USE;

/*
 * Find ids[0..n): locs[i].pack is 0 where there is none. A condemned chunk that is
 * asked for is pardoned in the same transaction.
 */
int index_lookup(struct index *ix, const struct sha256 *ids, size_t n,
                 struct store_loc *locs, struct err *e) MUST_USE;

/*
 * Take in sealed packs, all or none. Chunks that are there already keep their place.
 * nos[i], if nos is not NULL, is the number packs[i] has got.
 */
struct index_pack {
    struct pack_name name;
    const struct pack_entry *entries;
    size_t n_entries;
    uint64_t bytes; /* of the file */
};
int index_add(struct index *ix, const struct index_pack *packs, size_t n, uint32_t *nos,
              struct err *e) MUST_USE;

/* The name of pack no; *found false if there is no such pack (any more). */
int index_pack_name(struct index *ix, uint32_t no, struct pack_name *name, bool *found,
                    struct err *e) MUST_USE;

struct index_totals {
    uint64_t n_packs, n_entries, raw_bytes, stored_bytes, pack_bytes;
    uint64_t n_condemned;
    uint64_t n_bad;
};
int index_totals(struct index *ix, struct index_totals *out, struct err *e) MUST_USE;

/*
 * The chunk id at loc is damaged: forget its place, so that it counts as missing and is
 * put anew. Nothing happens if it lies elsewhere by now.
 */
int index_set_aside(struct index *ix, const struct sha256 *id,
                    const struct store_loc *loc, const char *why, struct err *e) MUST_USE;

#endif
