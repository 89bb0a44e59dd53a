#ifndef BASE_FILE_INTERNAL_H
#define BASE_FILE_INTERNAL_H

#include <sys/types.h>

#include "base/attr.h"

/*
 * What file_open_beneath does where the kernel has no openat2: one component after
 * the other, none of them a symbolic link. Same descriptor or errno. Shared with
 * its unit test, which would not come here otherwise.
 */
int beneath_walk(int dir_fd, const char *name, int flags, mode_t mode) MUST_USE;

/*
 * The directory name (one component) of dir_fd, opened for reading unless that would
 * follow a symbolic link (ELOOP or ENOTDIR) or cross onto another mount (EXDEV).
 */
int beneath_open_dir(int dir_fd, const char *name) MUST_USE;

#endif
