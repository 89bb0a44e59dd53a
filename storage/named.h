#ifndef STORAGE_NAMED_H
#define STORAGE_NAMED_H

#include <stdbool.h>
#include <stddef.h>

#include "storage/tree.h"

/*
 * Files of one tree whose contents are lost, or left out, as they are met: what else is a
 * name of such a file (a hard link, which comes later) shares its lot.
 */
struct named {
    char **v; /* in path order */
    size_t n;
    size_t cap;
};
/* All zero: none yet. Paths come in path order. */
void named_add(struct named *n, const char *path, size_t len);
/* Is the entry one more name of one of them? */
bool named_by_link(const struct named *n, const struct tree_entry *entry);
/* Of paths that came in any order: once sorted, is path one of them? */
void named_sort(struct named *n);
bool named_has(const struct named *n, const char *path);
void named_free(struct named *n);

#endif
