#ifndef STORAGE_RUN_H
#define STORAGE_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "storage/tree.h"

/*
 * One group, or a file's group and all that continue it: entries, and every chunk.
 * Valid until the next tree_run_next.
 */
struct tree_run {
    struct tree_group group; /* with more and continues taken away */
    struct tree_arena *arena;
    struct tree_chunk *chunks; /* of a file in parts; else NULL */
    size_t cap;
    /* The groups' bytes as they were, if wanted. */
    struct buf *encoded;
};

/* *end: there is none. */
int tree_run_next(struct tree_run *run, struct tree_reader *r, bool *end,
                  struct err *e) MUST_USE;
void tree_run_free(struct tree_run *run);

#endif
