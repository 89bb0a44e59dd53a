#include "storage/reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"

#define RESERVE_FILE "reserve"
#define INDEX_FILE   "index.db"

/*
 * Condemning every chunk adds some two thirds of the index to it, at most as much as it
 * is; taking a pack away journals at most every page of both. A third of the reserve is
 * let go for the one, the rest for the other. See DESIGN.md, "A full disk".
 */
#define PER_INDEX  ((uint64_t)4)
#define FIRST_PART 3
/* It follows the index when it lacks so much of what it is to be. */
#define LACK_PART 8
#define BYTES_MIN ((uint64_t)1 << 20)
#define BYTES_MAX ((uint64_t)256 << 20)
/* For some records; a quarter of what the index asks for may go like that. */
#define SPARE_BYTES ((uint64_t)64 << 10)
#define SPARE_PART  4
/* A disk with so many times as much free has plenty. */
#define PLENTY ((uint64_t)16)

uint64_t
reserve_bytes(uint64_t index_bytes)
{
    if (index_bytes > BYTES_MAX / PER_INDEX) {
        return BYTES_MAX;
    }
    return index_bytes < BYTES_MIN / PER_INDEX ? BYTES_MIN : index_bytes * PER_INDEX;
}

static uint64_t
wanted(int dir_fd)
{
    struct stat st;

    if (fstatat(dir_fd, INDEX_FILE, &st, AT_SYMLINK_NOFOLLOW) == -1 || st.st_size < 0) {
        return BYTES_MIN;
    }
    return reserve_bytes((uint64_t)st.st_size);
}

static bool
has_plenty(int dir_fd, uint64_t want)
{
    struct statvfs v;

    return fstatvfs(dir_fd, &v) == 0 &&
           (uint64_t)v.f_bavail * v.f_frsize >= PLENTY * want;
}

/* Who changes it holds its lock. -1: it is not there, or somebody has that. */
static int
open_locked(int dir_fd, int flags, bool wait)
{
    int fd = openat(dir_fd, RESERVE_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    struct stat st;

    if (fd != -1 && (flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB)) == -1 ||
                     fstat(fd, &st) == -1 || st.st_nlink == 0)) {
        (void)fd_close(&fd);
    }
    return fd;
}

/* Have it that long, or as it was. */
static void
enlarge(int dir_fd, int fd, off_t was, uint64_t want)
{
    if (fallocate(fd, 0, 0, (off_t)want) == 0) {
        return;
    }
    if (was == 0 || ftruncate(fd, was) == -1) {
        (void)unlinkat(dir_fd, RESERVE_FILE, 0); /* this file system cannot */
    }
}

void
reserve_hold(int dir_fd)
{
    uint64_t want = wanted(dir_fd);
    bool plenty = has_plenty(dir_fd, want);
    int fd = open_locked(dir_fd, plenty ? O_CREAT : 0, false);
    struct stat st;

    if (fd != -1 && fstat(fd, &st) == 0) {
        if ((uint64_t)st.st_size > want) {
            (void)!ftruncate(fd,
                             (off_t)want); /* 8 MiB, whatever the store, in old ones */
        } else if (plenty && (uint64_t)st.st_size < want) {
            enlarge(dir_fd, fd, st.st_size, want);
        }
    }
    (void)fd_close(&fd);
}

void
reserve_follow(int dir_fd)
{
    uint64_t want = wanted(dir_fd);
    struct stat st;
    int fd;

    if (fstatat(dir_fd, RESERVE_FILE, &st, AT_SYMLINK_NOFOLLOW) == -1 ||
        (uint64_t)st.st_size >= want - want / LACK_PART || !has_plenty(dir_fd, want)) {
        return;
    }
    fd = open_locked(dir_fd, 0, false);
    if (fd != -1 && fstat(fd, &st) == 0 && (uint64_t)st.st_size < want) {
        enlarge(dir_fd, fd, st.st_size, want);
    }
    (void)fd_close(&fd);
}

bool
reserve_may_help(const struct err *e)
{
    return e->code == ERR_SPACE && e->sys_errno != ENOMEM;
}

bool
reserve_release(int dir_fd, int *fd)
{
    struct stat st;

    if (*fd == -1) {
        *fd = open_locked(dir_fd, 0, true);
        if (*fd == -1) {
            return false;
        }
        if (fstat(*fd, &st) == 0 &&
            ftruncate(*fd, st.st_size - st.st_size / FIRST_PART) == 0) {
            return true;
        }
    }
    (void)!ftruncate(*fd, 0); /* while it is open its name does not matter */
    (void)unlinkat(dir_fd, RESERVE_FILE, 0);
    return false;
}

bool
reserve_spare(int dir_fd)
{
    uint64_t want = wanted(dir_fd);
    int fd = open_locked(dir_fd, 0, false);
    bool spared = false;
    struct stat st;

    if (fd != -1 && fstat(fd, &st) == 0 &&
        (uint64_t)st.st_size >= want - want / SPARE_PART + SPARE_BYTES) {
        spared = ftruncate(fd, st.st_size - (off_t)SPARE_BYTES) == 0;
    }
    (void)fd_close(&fd);
    return spared;
}
