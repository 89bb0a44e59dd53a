#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

/*
 * Files, with the failures of close, fsync and short reads and writes told.
 * Every descriptor made here is close-on-exec. EINTR is retried.
 */

/*
 * Replace the file at path (or name beneath dir_fd) with data, so that after a
 * crash at any instant it holds all of the old content or all of the new;
 * returns once the new content and its name are on stable storage. Mode 0600.
 * The temporary is "<path>.tmp"; writers of one path, also in other processes, take
 * turns. On failure the old content stands, save if the directory could not be synced:
 * then either.
 */
int file_replace(const char *path, const void *data, size_t len, struct err *e) MUST_USE;
int file_replace_at(int dir_fd, const char *name, const void *data, size_t len,
                    struct err *e) MUST_USE;

/* Append the whole file to out. ERR_RANGE above max_bytes; ERR_NOT_FOUND if missing. */
int file_read(const char *path, size_t max_bytes, struct buf *out,
              struct err *e) MUST_USE;
int file_read_at(int dir_fd, const char *name, size_t max_bytes, struct buf *out,
                 struct err *e) MUST_USE;

/* All n bytes, or -1 with errno set. */
int fd_write_all(int fd, const void *data, size_t n);
int fd_pwrite_all(int fd, const void *data, size_t n, off_t at);
ssize_t fd_read_full(int fd, void *data, size_t n); /* bytes read; < n at end */
ssize_t fd_pread_full(int fd, void *data, size_t n, off_t at);

/*
 * Open name beneath dir_fd, empty, for this open file alone: made, or taken over from who
 * has died with it. Others wait, or (wait false) fail with EWOULDBLOCK, until the last
 * duplicate of it is closed; rename or unlink it before that. -1 with errno set. Where
 * the file system knows no locks there are none.
 */
int file_open_alone(int dir_fd, const char *name, bool wait);

/*
 * Remove name beneath dir_fd if it is what a writer of file_replace left when it died;
 * *removed says so. One whose writer lives stays.
 */
int file_remove_left(int dir_fd, const char *name, bool *removed, struct err *e) MUST_USE;

/* Close *fd if it is not -1 and make it -1; -1 with errno if the close failed. */
int fd_close(int *fd);
void fd_close_from(int first); /* all from there on; safe after a fork */

/* fsync the directory path. */
int file_sync_dir(const char *path, struct err *e) MUST_USE;

/* mkdir -p with that mode for what is new; existing directories are fine. */
int file_mkdirs(const char *path, mode_t mode, struct err *e) MUST_USE;

bool file_exists(const char *path); /* lstat succeeds */

/*
 * fn for each name in the directory but "." and "..", in no order, until it fails. dir_fd
 * stays the caller's; fn may remove what it is called for.
 */
int file_each_name(int dir_fd,
                   int (*fn)(void *ctx, int dir_fd, const char *name, struct err *e),
                   void *ctx, struct err *e) MUST_USE;

/*
 * Remove path and everything beneath it, never following a symbolic link and
 * never leaving the mount path is on (a mount beneath: ERR_SYSTEM with EBUSY).
 * Directories closed to their owner are opened; any depth is fine, and so is
 * that path is missing. On failure all the rest was removed nevertheless.
 */
int file_remove_tree(const char *path, struct err *e) MUST_USE;
int file_remove_tree_at(int dir_fd, const char *name, struct err *e) MUST_USE;

/*
 * An advisory whole-file lock (flock) on path, created 0600 if missing. *out_fd
 * holds it until its last copy is closed. wait false: ERR_BUSY if taken.
 */
int file_lock(const char *path, bool exclusive, bool wait, int *out_fd,
              struct err *e) MUST_USE;

/*
 * Open name beneath dir_fd without ever leaving it and without following any
 * symbolic link (openat2 with RESOLVE_BENEATH, NO_SYMLINKS and NO_MAGICLINKS; where
 * the kernel has no openat2, a walk by O_NOFOLLOW components). name may hold slashes.
 * ERR_DENIED: it is empty, absolute, has a "..", or meets a symbolic link;
 * ERR_NOT_FOUND; ERR_EXISTS (with O_EXCL).
 */
int file_open_beneath(int dir_fd, const char *name, int flags, mode_t mode, int *out_fd,
                      struct err *e) MUST_USE;
/* mkdir -p beneath dir_fd under the same rule; *out_fd is the last directory. */
int file_mkdirs_beneath(int dir_fd, const char *name, mode_t mode, int *out_fd,
                        struct err *e) MUST_USE;

/* "a/b" from "a" and "b"; malloc'ed. */
char *path_join(const char *a, const char *b);
/* The directory the last component lies in: "a" of "a/b", "." of "b"; malloc'ed. */
char *path_parent(const char *path);

#endif
