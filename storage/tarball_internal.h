#ifndef STORAGE_TARBALL_INTERNAL_H
#define STORAGE_TARBALL_INTERNAL_H

#include <stdbool.h>

#include "storage/tree.h"

/* What both directions of the module tarball agree on (DESIGN.md, "Exports"). */

#define TAR_BLOCK ((size_t)512)
/* In a global header's comment: this, what it is, a blank, hex digits. */
#define TARBALL_MARK     "gpurun.export.v1 "
#define TARBALL_MANIFEST "manifest "
#define TARBALL_TREE     "tree "
/* Of one such piece; readers of tar take no extended header above 1 MiB. */
#define TARBALL_PIECE_BYTES ((size_t)400 * 1024)
#define TARBALL_BODY_MAX    ((size_t)1024 * 1024)

/* Offsets in a header block (POSIX.1-2001, ustar). */
#define TAR_SIZE_AT     124
#define TAR_SIZE_LEN    12
#define TAR_CHECKSUM_AT 148
#define TAR_TYPE_AT     156
#define TAR_MAGIC_AT    257

/* Has the tar a member for it? All others are in the tree's groups alone. */
static inline bool
tarball_is_member(const struct tree_entry *entry)
{
    if (entry->type == TREE_SOCKET || entry->type == TREE_WHITEOUT) {
        return false;
    }
    return entry->type == TREE_DIR || entry->damage == TREE_WHOLE ||
           entry->damage == TREE_CHANGED;
}

#endif
