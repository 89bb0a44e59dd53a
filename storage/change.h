#ifndef STORAGE_CHANGE_H
#define STORAGE_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/scache.h"
#include "storage/tree.h"

/*
 * From one tree to another in place: a directory that holds (about) what a scan cache
 * says is made to hold another tree by touching only what differs. What is kept is
 * provably the same: its stat is the one the cache saw and trusts, its metadata and its
 * chunks are those of the new tree. Everything else is removed and made anew.
 */

struct change_options {
    const char *cache_path; /* of the new tree's scan cache */
    /*
     * Where the name was that the old cache was trusted by, and is no more: synced before
     * the first file is written in place. Or a power cut brings the name back, and the
     * stat of before, over contents that are of the new tree.
     */
    int place_fd;
    unsigned n_threads; /* as extract_options */
};

struct change_report {
    uint64_t n_kept;
    uint64_t n_made;
    uint64_t n_removed;
};

/*
 * Make the directory root_fd, which was tree c (read from its beginning), hold tree_id
 * and write its scan cache. *done false with 0: not worth it, or hard links and the like
 * are in the way; then nothing was touched. -1: the directory is of no use any more.
 */
int change_tree(int root_fd, struct scache *c, const struct sha256 *tree_id,
                const struct tree_source *source, const struct change_options *o,
                struct change_report *r, bool *done, struct err *e) MUST_USE;

#endif
