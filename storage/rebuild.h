#ifndef STORAGE_REBUILD_H
#define STORAGE_REBUILD_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * Making the index anew from the packs. Nothing else is needed for it, and no pack is
 * changed, save that the good entries of one that is torn or damaged are taken over into
 * a new pack and the old file is moved to bad/.
 */
struct rebuild_result {
    uint64_t n_packs;
    uint64_t n_chunks;
    uint64_t n_salvaged; /* packs that were torn or damaged */
};

/* The new index until it has the old one's name; its journal has "-journal" behind. */
#define REBUILD_NEW_FILE "index.db.new"

/*
 * Rebuild the index of the store in dir. The caller holds STORE_LOCK_ALL exclusively
 * (store_rebuild takes it). After a crash the index is missing, and the next
 * opener begins anew. out may be NULL.
 */
int rebuild_index(const char *dir, struct rebuild_result *out, struct err *e) MUST_USE;

/* The same for a store that nobody has open; ERR_BUSY if somebody has. */
int store_rebuild(const char *dir, struct rebuild_result *out, struct err *e) MUST_USE;

#endif
