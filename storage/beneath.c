#include "storage/beneath.h"

#include <errno.h>
#include <fcntl.h>

#include "base/file.h"

int
beneath_open(int root_fd, const char *path, int flags, mode_t mode)
{
    struct err e = {0};
    int fd;

    if (file_open_beneath(root_fd, path[0] != '\0' ? path : ".", flags, mode, &fd, &e) ==
        0) {
        return fd;
    }
    switch (e.code) {
    case ERR_NOT_FOUND:
        return -ENOENT;
    case ERR_EXISTS:
        return -EEXIST;
    case ERR_DENIED:
        return -ELOOP;
    default:
        return e.sys_errno != 0 ? -e.sys_errno : -EIO;
    }
}

void
beneath_read(int root_fd, const char *path, size_t max_bytes, struct buf *out)
{
    int fd = beneath_open(root_fd, path, O_RDONLY | O_NONBLOCK, 0);
    struct stat st;
    ssize_t n;

    if (fd < 0) {
        return;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size != 0 &&
        (uint64_t)st.st_size <= max_bytes) {
        buf_reserve(out, (size_t)st.st_size);
        n = fd_read_full(fd, out->data + out->len, (size_t)st.st_size);
        out->len += n > 0 ? (size_t)n : 0;
    }
    (void)fd_close(&fd);
}

enum tree_type
tree_type_of_mode(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return TREE_DIR;
    case S_IFREG:
        return TREE_FILE;
    case S_IFLNK:
        return TREE_SYMLINK;
    case S_IFIFO:
        return TREE_FIFO;
    case S_IFSOCK:
        return TREE_SOCKET;
    case S_IFCHR:
        return TREE_CHAR;
    case S_IFBLK:
        return TREE_BLOCK;
    default:
        return TREE_NONE;
    }
}

mode_t
tree_mode_of_type(enum tree_type type)
{
    static const mode_t modes[] = {
        [TREE_DIR] = S_IFDIR,   [TREE_FILE] = S_IFREG,    [TREE_SYMLINK] = S_IFLNK,
        [TREE_FIFO] = S_IFIFO,  [TREE_SOCKET] = S_IFSOCK, [TREE_CHAR] = S_IFCHR,
        [TREE_BLOCK] = S_IFBLK,
    };

    return (size_t)type < sizeof modes / sizeof modes[0] ? modes[type] : 0;
}

enum tree_damage
tree_damage_of(int sys_errno)
{
    switch (sys_errno) {
    case 0:
        return TREE_WHOLE;
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ESTALE:
        return TREE_VANISHED;
    case EACCES:
    case EPERM:
        return TREE_UNREADABLE;
    default:
        return TREE_IO_ERROR;
    }
}

/* Before 1677 and after 2262: the nearest that 64 bits can say. */
static int64_t
ns_of(const struct timespec *t)
{
    int64_t ns;

    if (__builtin_mul_overflow((int64_t)t->tv_sec, (int64_t)1000000000, &ns) ||
        __builtin_add_overflow(ns, (int64_t)t->tv_nsec, &ns)) {
        return t->tv_sec < 0 ? INT64_MIN : INT64_MAX;
    }
    return ns;
}

int64_t
stat_mtime_ns(const struct stat *st)
{
    return ns_of(&st->st_mtim);
}

int64_t
stat_ctime_ns(const struct stat *st)
{
    return ns_of(&st->st_ctim);
}
