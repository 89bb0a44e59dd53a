#include "storage/reserve.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define RESERVE_FILE  "reserve"
#define RESERVE_BYTES ((off_t)8 << 20)
/* With less than this the disk counts as full; with less than twice this, as tight. */
#define FULL_BYTES ((uint64_t)64 << 20)

static uint64_t
free_bytes(int dir_fd)
{
    struct statvfs v;

    return fstatvfs(dir_fd, &v) == -1 ? UINT64_MAX : (uint64_t)v.f_bavail * v.f_frsize;
}

void
reserve_make(int dir_fd)
{
    struct stat st;
    int fd;

    if (free_bytes(dir_fd) < 2 * FULL_BYTES) {
        return;
    }
    fd = openat(dir_fd, RESERVE_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1) {
        return;
    }
    if (fstat(fd, &st) == 0 && st.st_size < RESERVE_BYTES &&
        fallocate(fd, 0, 0, RESERVE_BYTES) == -1) {
        (void)unlinkat(dir_fd, RESERVE_FILE, 0); /* this file system cannot */
    }
    (void)close(fd);
}

void
reserve_release_if_full(int dir_fd)
{
    if (free_bytes(dir_fd) < FULL_BYTES) {
        (void)reserve_release(dir_fd);
    }
}

bool
reserve_release(int dir_fd)
{
    return unlinkat(dir_fd, RESERVE_FILE, 0) == 0;
}
