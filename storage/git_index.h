#ifndef STORAGE_GIT_INDEX_H
#define STORAGE_GIT_INDEX_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Which paths a git repository tracks: its index (gitformat-index(5), versions 2 to 4,
 * SHA-1 or SHA-256 names). Ignore rules are for what is not tracked; what is, is shipped.
 * The file is somebody's: every length in it is checked. Read-only after its making.
 */

struct git_index;

/* Larger ones count as none: about five million files. */
#define GIT_INDEX_MAX_BYTES ((size_t)512 * 1024 * 1024)

/*
 * Open the repository's own folder: root_fd's .git, or what a .git file of a worktree or
 * submodule names. The caller's; -1: none.
 */
int git_dir_open(int root_fd);
/* The one that all worktrees share (info/exclude is there). The caller's; -1: none. */
int git_common_dir_open(int git_dir_fd);

/* The index in git_dir_fd; NULL: there is none, or it is not one that we know. */
struct git_index *git_index_read(int git_dir_fd);
/* The same from its bytes, which are copied. */
struct git_index *git_index_parse(const void *bytes, size_t n);
void git_index_free(struct git_index *x); /* NULL is allowed */

/* Paths relative to the work tree's top, without a slash at their end; x NULL: nothing.
 */
bool git_index_has(const struct git_index *x, const char *path, size_t len);
/* Is there a tracked path below this directory? */
bool git_index_below(const struct git_index *x, const char *path, size_t len);

#endif
