#ifndef STORAGE_DIFF_H
#define STORAGE_DIFF_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/tree.h"

/*
 * What differs between two trees, in path order. Contents are compared by their chunks;
 * where equal files may lie in different ones (small files share a chunk with their
 * neighbours) they are read, so the answer is exact. Nothing is read of what is equal.
 */
enum diff_what {
    DIFF_TYPE = 1,     /* one is a file, the other a directory, … */
    DIFF_CONTENTS = 2, /* bytes of a file, a link's text, a device's numbers */
    DIFF_MODE = 4,
    DIFF_OWNER = 8, /* numbers; names only label */
    DIFF_XATTRS = 16,
    DIFF_TIME = 32,
};

struct diff_change {
    const struct tree_entry *before; /* NULL: it is new */
    const struct tree_entry *after;  /* NULL: it is gone */
    unsigned what;                   /* enum diff_what, or'ed; 0 unless both are there */
};

struct diff_result {
    uint64_t n_added;
    uint64_t n_removed;
    uint64_t n_changed; /* type, contents, mode, owner, attributes */
    uint64_t n_touched; /* the time alone */
    uint64_t read_bytes;
};

/*
 * visit is called for each, touched ones included; it stops the walk by returning -1 with
 * *e filled. A hard link is what it names; a sparse file is its size and its pieces.
 */
int diff_trees(const struct sha256 *before, const struct tree_source *before_source,
               const struct sha256 *after, const struct tree_source *after_source,
               int (*visit)(void *ctx, const struct diff_change *c, struct err *e),
               void *ctx, struct diff_result *r, struct err *e) MUST_USE;

#endif
