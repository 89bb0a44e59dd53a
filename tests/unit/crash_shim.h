#ifndef TESTS_UNIT_CRASH_SHIM_H
#define TESTS_UNIT_CRASH_SHIM_H

/*
 * Stands between a test program and the file system: every call that changes files under
 * one directory is counted, and the chosen one dies or fails. Include it in one test
 * program; its functions take the place of libc's for libsqlite3 too.
 *
 * Dying by power cut forgets what was not synced: all of it, or a random part (each
 * write to a file for itself; names in a directory from some point on). A base copy of
 * each file is kept since its last sync, and what was done since; at death the file is
 * written anew from these. SHIM_PLUG does no such books: the file system that the root is
 * on, an ext4 of its own, is shut down, and what it had not put on its disk is gone.
 *
 * With `reads` it is the calls that read which are counted and fail, not those that
 * change: opening a file that is there, reading it, and listing a directory.
 *
 * What needs room may be told only when it is synced: blocks are given then, and a
 * network file system writes then.
 */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/unit/crash_books.h"

enum shim_fate { SHIM_GO, SHIM_HALF, SHIM_FAIL };

/* Another call that changes something: what becomes of it? */
static enum shim_fate
shim_next(const char *call, const char *path, bool is_write, bool needs_room)
{
    uint64_t n;

    if (shim.reads) {
        return SHIM_GO;
    }
    n = ++*shim.count;
    if (shim.watch != NULL) {
        shim.watch(call, path);
    }
    if (shim.mode == SHIM_COUNT || n < shim.die_at) {
        return SHIM_GO;
    }
    if (shim.mode == SHIM_ENOSPC || shim.mode == SHIM_EDQUOT) {
        errno = shim.mode == SHIM_ENOSPC ? ENOSPC : EDQUOT;
        return needs_room ? SHIM_FAIL : SHIM_GO;
    }
    if (n > shim.die_at) {
        return SHIM_GO;
    }
    if (shim.mode == SHIM_EIO) {
        errno = EIO;
        return SHIM_FAIL;
    }
    if (shim.mode == SHIM_SHORT || shim.mode == SHIM_TORN) {
        if (is_write) {
            return SHIM_HALF;
        }
        if (shim.mode == SHIM_SHORT) {
            return SHIM_GO;
        }
    }
    shim_die();
    return SHIM_GO;
}

/* Another call that reads. */
static enum shim_fate
shim_next_read(const char *call, int fd, const char *path_known)
{
    char path[300];
    bool now;

    if (!shim.reads || (path_known == NULL && !shim_path(fd, path))) {
        return SHIM_GO;
    }
    shim_lock();
    ++*shim.count;
    if (shim.watch != NULL) {
        shim.watch(call, path_known != NULL ? path_known : path);
    }
    now = *shim.count == shim.die_at;
    (void)shim_unlock(0);
    errno = EIO;
    return now && shim.mode == SHIM_EIO     ? SHIM_FAIL
           : now && shim.mode == SHIM_SHORT ? SHIM_HALF
                                            : SHIM_GO;
}

/* ---- the calls ---- */

ssize_t
pread(int fd, void *to, size_t len, off_t at)
{
    enum shim_fate fate = shim_next_read("read", fd, NULL);

    return fate == SHIM_FAIL ? -1
                             : syscall(SYS_pread64, fd, to,
                                       fate == SHIM_HALF && len > 1 ? len / 2 : len, at);
}

ssize_t
pread64(int fd, void *to, size_t len, off64_t at)
{
    return pread(fd, to, len, at);
}

ssize_t
read(int fd, void *to, size_t len)
{
    enum shim_fate fate = shim_next_read("read", fd, NULL);

    return fate == SHIM_FAIL
               ? -1
               : syscall(SYS_read, fd, to, fate == SHIM_HALF && len > 1 ? len / 2 : len);
}

static struct dirent64 *
shim_readdir(DIR *d)
{
    static struct dirent64 *(*next)(DIR *);
    int was = errno;

    if (next == NULL) {
        next = (struct dirent64 * (*)(DIR *)) dlsym(RTLD_NEXT, "readdir64");
    }
    if (shim_next_read("list", dirfd(d), NULL) == SHIM_FAIL) {
        return NULL;
    }
    errno = was; /* the end of a directory leaves it alone, and is told by that */
    return next(d);
}

struct dirent64 *
readdir64(DIR *d)
{
    return shim_readdir(d);
}

/* They are one where off_t has 64 bits. */
struct dirent *
readdir(DIR *d)
{
    return (struct dirent *)(void *)shim_readdir(d);
}

static ssize_t
shim_write(int fd, const void *data, size_t len, off_t at)
{
    char path[300];
    ssize_t n;

    if (shim_path(fd, path)) {
        switch (shim_next("write", path, true, true)) {
        case SHIM_FAIL:
            return -1;
        case SHIM_HALF:
            n = syscall(SYS_pwrite64, fd, data, len > 1 ? len / 2 : len, at);
            if (shim.mode == SHIM_TORN) {
                shim_die();
            }
            return n;
        case SHIM_GO:
            shim_note(fd, at, data, len);
            break;
        }
    }
    return syscall(SYS_pwrite64, fd, data, len, at);
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
    shim_lock();
    return shim_unlock(shim_write(fd, data, len, at));
}

ssize_t
pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    return pwrite(fd, data, len, at);
}

ssize_t
write(int fd, const void *data, size_t len)
{
    char path[300];
    off_t at;
    ssize_t n;

    if (!shim_path(fd, path)) {
        return syscall(SYS_write, fd, data, len);
    }
    shim_lock();
    at = (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
    n = shim_write(fd, data, len, at);
    if (n > 0) {
        (void)syscall(SYS_lseek, fd, at + n, SEEK_SET);
    }
    return shim_unlock(n);
}

ssize_t
pwritev(int fd, const struct iovec *iov, int n_iov, off_t at)
{
    size_t len = 0;
    uint8_t *all;
    ssize_t n;

    for (int i = 0; i < n_iov; i++) {
        len += iov[i].iov_len;
    }
    all = malloc(len + 1);
    len = 0;
    for (int i = 0; i < n_iov; i++) {
        memcpy(all + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    n = pwrite(fd, all, len, at);
    free(all);
    return n;
}

static int
shim_truncate(int fd, off_t len)
{
    char path[300];

    if (shim_path(fd, path)) {
        if (shim_next("truncate", path, false, false) == SHIM_FAIL) {
            return -1;
        }
        shim_note(fd, len, NULL, 0);
    }
    return (int)syscall(SYS_ftruncate, fd, len);
}

int
ftruncate(int fd, off_t len)
{
    shim_lock();
    return (int)shim_unlock(shim_truncate(fd, len));
}

int
ftruncate64(int fd, off64_t len)
{
    return ftruncate(fd, len);
}

/* A power cut takes back the length that it gave; of the bytes there are none. */
static int
shim_fallocate(int fd, int how, off_t at, off_t len)
{
    char path[300];

    if (shim_path(fd, path)) {
        if (shim_next("fallocate", path, false, true) == SHIM_FAIL) {
            return -1;
        }
        shim_note(fd, at + len, NULL, 0);
    }
    return (int)syscall(SYS_fallocate, fd, how, at, len);
}

int
fallocate(int fd, int how, off_t at, off_t len)
{
    shim_lock();
    return (int)shim_unlock(shim_fallocate(fd, how, at, len));
}

int
fallocate64(int fd, int how, off64_t at, off64_t len)
{
    return fallocate(fd, how, at, len);
}

static int
shim_sync(int fd, long call)
{
    char path[300];

    if (shim_path(fd, path)) {
        if (shim_next("sync", path, false, true) == SHIM_FAIL) {
            return -1;
        }
        shim_synced(fd);
    }
    return (int)syscall(call, fd);
}

int
fsync(int fd)
{
    shim_lock();
    return (int)shim_unlock(shim_sync(fd, SYS_fsync));
}

int
fdatasync(int fd)
{
    shim_lock();
    return (int)shim_unlock(shim_sync(fd, SYS_fdatasync));
}

static int
shim_open_locked(int dir_fd, const char *name, int flags, mode_t mode)
{
    char path[300];
    char dir[300];
    bool ours = (flags & O_CREAT) != 0 && shim_path_at(dir_fd, name, path, dir);
    int fd;

    if (ours && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == -1) {
        if (shim_next("create", path, false, true) == SHIM_FAIL) {
            return -1;
        }
    } else {
        ours = false;
    }
    if ((flags & O_TRUNC) != 0 && shim_path_at(dir_fd, name, path, dir) && !ours) {
        int old = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);

        if (old != -1) {
            shim_note(old, 0, NULL, 0);
            (void)syscall(SYS_close, old);
        }
    }
    if (!ours && shim.reads && shim_path_at(dir_fd, name, path, dir) &&
        syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0 &&
        shim_next_read("open", -1, path) == SHIM_FAIL) {
        return -1;
    }
    fd = (int)syscall(SYS_openat, dir_fd, name, flags, mode);
    if (fd != -1 && ours) {
        shim_note_name('c', path, dir, "", NULL);
        (void)shim_note(fd, 0, NULL, 0);
    }
    return fd;
}

static int
shim_open(int dir_fd, const char *name, int flags, mode_t mode)
{
    shim_lock();
    return (int)shim_unlock(shim_open_locked(dir_fd, name, flags, mode));
}

#define SHIM_MODE(flags, mode)                                                           \
    do {                                                                                 \
        va_list ap;                                                                      \
        va_start(ap, flags);                                                             \
        (mode) = ((flags) & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;        \
        va_end(ap);                                                                      \
    } while (0)

int
openat(int dir_fd, const char *name, int flags, ...)
{
    mode_t mode;

    SHIM_MODE(flags, mode);
    return shim_open(dir_fd, name, flags, mode);
}

int
openat64(int dir_fd, const char *name, int flags, ...)
{
    mode_t mode;

    SHIM_MODE(flags, mode);
    return shim_open(dir_fd, name, flags, mode);
}

int
open(const char *name, int flags, ...)
{
    mode_t mode;

    SHIM_MODE(flags, mode);
    return shim_open(AT_FDCWD, name, flags, mode);
}

int
open64(const char *name, int flags, ...)
{
    mode_t mode;

    SHIM_MODE(flags, mode);
    return shim_open(AT_FDCWD, name, flags, mode);
}

static int
shim_mkdirat(int dir_fd, const char *name, mode_t mode)
{
    char path[300];
    char dir[300];
    bool ours = shim_path_at(dir_fd, name, path, dir) &&
                syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == -1;

    if (ours && shim_next("mkdir", path, false, true) == SHIM_FAIL) {
        return -1;
    }
    if (syscall(SYS_mkdirat, dir_fd, name, mode) == -1) {
        return -1;
    }
    if (ours) {
        shim_note_name('d', path, dir, "", NULL);
    }
    return 0;
}

int
mkdirat(int dir_fd, const char *name, mode_t mode)
{
    shim_lock();
    return (int)shim_unlock(shim_mkdirat(dir_fd, name, mode));
}

static int
shim_unlinkat(int dir_fd, const char *name, int flags)
{
    char path[300];
    char dir[300];

    if (flags == 0 && shim_path_at(dir_fd, name, path, dir)) {
        if (shim_next("unlink", path, false, false) == SHIM_FAIL) {
            return -1;
        }
        if (syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0) {
            shim_note_name('u', path, dir, "", path);
        }
    }
    return (int)syscall(SYS_unlinkat, dir_fd, name, flags);
}

int
unlinkat(int dir_fd, const char *name, int flags)
{
    shim_lock();
    return (int)shim_unlock(shim_unlinkat(dir_fd, name, flags));
}

int
unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

static int
shim_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    char from_path[300];
    char from_dir[300];
    char path[300];
    char dir[300];

    if (shim_path_at(from_fd, from, from_path, from_dir) &&
        shim_path_at(to_fd, to, path, dir)) {
        bool replaces = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;

        if (shim_next("rename", path, false, true) == SHIM_FAIL) {
            return -1;
        }
        shim_note_name('r', path, dir, from_path, replaces ? path : NULL);
        if (strcmp(dir, from_dir) != 0) {
            shim_note_name('o', from_path, from_dir, "", NULL);
        }
    }
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    shim_lock();
    return (int)shim_unlock(shim_renameat(from_fd, from, to_fd, to));
}

int
rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

#endif
