#ifndef STORAGE_TREE_INTERNAL_H
#define STORAGE_TREE_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/arena.h"
#include "storage/tree.h"

/* Formats of storage/DESIGN.md, "Trees", shared by the files of the module tree. */

#define TREE_MAGIC      "GPRTREE1"
#define TREE_MAGIC_KIND 7 /* bytes of it that say "a tree"; then the version */
#define TREE_MAGIC_LEN  8

/* A file with more chunks than this is split into several groups. */
#define TREE_SPLIT_ABOVE 1024
/* Parts of it end where a chunk id says so, within these bounds. */
#define TREE_PART_MIN 64
#define TREE_PART_MAX 2048

/* First byte of a group. */
#define TREE_GROUP_CONTINUES 1u
#define TREE_GROUP_MORE      2u

/* First byte of an entry after its path: the type in the low four bits, and: */
#define TREE_HAS_XATTRS 0x10u
#define TREE_HAS_EXTRA  0x20u /* a second byte follows */
#define TREE_HAS_OWNER  0x40u /* another owner than the entry before */
#define TREE_HAS_MODE   0x80u /* another mode than the entry before */

/* The second byte: damage in the low three bits, and: */
#define TREE_EXTRA_OPAQUE 0x08u
#define TREE_EXTRA_LINK   0x10u
#define TREE_EXTRA_SPARSE 0x20u

/* A deep copy in mem (path included), but for extents and where a link leads. */
const struct tree_entry *tree_entry_keep(struct arena *mem, const struct tree_entry *e);

/* Totals of what a reader or writer has seen. */
void tree_count(struct tree_totals *t, const struct tree_entry *entry);

#endif
