#ifndef STORAGE_PART_H
#define STORAGE_PART_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "storage/tree.h"

/*
 * One path of a tree and what is below it: which groups' contents does it take? Those
 * that hold a file of it, and those of files outside of which it has one more name (a
 * hard link). So one file of a snapshot can be moved without the rest of the contents,
 * while the tree stays the one its manifest is signed for.
 */
struct tree_part;

/*
 * Walk the tree (its own chunks must all be in source). ERR_NOT_FOUND: no such path in
 * it; ERR_INVALID: only is no path that a tree may hold.
 */
int tree_part_open(struct tree_part **out, const struct sha256 *tree_id,
                   const struct tree_source *source, const char *only,
                   struct err *e) MUST_USE;
void tree_part_close(struct tree_part *p); /* NULL is allowed */

/* Are the chunks of g needed? To be asked for every group, in order. */
bool tree_part_needs(struct tree_part *p, const struct tree_group *g);

/*
 * tree_walk_chunks of the part alone: the root, the tree's own chunks, and of the
 * contents what is needed.
 */
int tree_part_walk(const struct sha256 *tree_id, const struct tree_source *source,
                   const char *only,
                   int (*visit)(void *ctx, enum store_kind kind,
                                const struct tree_chunk *c, struct err *e),
                   void *ctx, struct err *e) MUST_USE;

#endif
