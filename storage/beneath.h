#ifndef STORAGE_BENEATH_H
#define STORAGE_BENEATH_H

#include <sys/stat.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/buf.h"
#include "storage/tree.h"

/*
 * Opening and looking beneath a held directory (base/file.h) for code that acts on
 * errno, and what stat tells in a tree's terms.
 */

/*
 * path relative to root_fd, "" for the directory itself; no symbolic link is
 * followed. The descriptor, or -errno (a link in the way is ELOOP).
 */
int beneath_open(int root_fd, const char *path, int flags, mode_t mode) MUST_USE;

/*
 * Append what is in a file without ever waiting (it may be a FIFO by now). What is not
 * readable, no regular file or longer than max_bytes counts as empty.
 */
void beneath_read(int root_fd, const char *path, size_t max_bytes, struct buf *out);

enum tree_type tree_type_of_mode(mode_t mode);
mode_t tree_mode_of_type(enum tree_type type); /* S_IF…, 0 for TREE_NONE */
/* What a failed open, stat or read of the source means for its entry. */
enum tree_damage tree_damage_of(int sys_errno);
int64_t stat_mtime_ns(const struct stat *st);
int64_t stat_ctime_ns(const struct stat *st);

#endif
