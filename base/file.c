#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"

#define READ_STEP ((size_t)64 << 10)

int
fd_write_all(int fd, const void *data, size_t n)
{
    const char *at = data;

    while (n > 0) {
        ssize_t done = write(fd, at, n);

        if (done == -1 && errno == EINTR) {
            continue;
        }
        if (done == -1) {
            return -1;
        }
        at += done;
        n -= (size_t)done;
    }
    return 0;
}

int
fd_pwrite_all(int fd, const void *data, size_t n, off_t at)
{
    const char *from = data;

    while (n > 0) {
        ssize_t done = pwrite(fd, from, n, at);

        if (done == -1 && errno == EINTR) {
            continue;
        }
        if (done == -1) {
            return -1;
        }
        from += done;
        at += done;
        n -= (size_t)done;
    }
    return 0;
}

ssize_t
fd_read_full(int fd, void *data, size_t n)
{
    size_t got = 0;

    while (got < n) {
        ssize_t done = read(fd, (char *)data + got, n - got);

        if (done == -1 && errno == EINTR) {
            continue;
        }
        if (done == -1) {
            return -1;
        }
        if (done == 0) {
            break;
        }
        got += (size_t)done;
    }
    return (ssize_t)got;
}

ssize_t
fd_pread_full(int fd, void *data, size_t n, off_t at)
{
    size_t got = 0;

    while (got < n) {
        ssize_t done = pread(fd, (char *)data + got, n - got, at + (off_t)got);

        if (done == -1 && errno == EINTR) {
            continue;
        }
        if (done == -1) {
            return -1;
        }
        if (done == 0) {
            break;
        }
        got += (size_t)done;
    }
    return (ssize_t)got;
}

int
fd_close(int *fd)
{
    int was = *fd;

    *fd = -1; /* gone even if close fails or is interrupted: never twice */
    if (was == -1) {
        return 0;
    }
    return close(was) == -1 && errno != EINTR ? -1 : 0;
}

#define FDS_TRIED 65536

void
fd_close_from(int first)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0u, 0) == 0) {
        return;
    }
#endif
    for (int fd = first; fd < FDS_TRIED; fd++) {
        (void)close(fd);
    }
}

static int
flock_retry(int fd, int how)
{
    int rc;

    do {
        rc = flock(fd, how);
    } while (rc == -1 && errno == EINTR);
    return rc;
}

/* Is name still the file that fd has open? It may have been removed before we locked. */
static bool
same_file(int fd, int dir_fd, const char *name, int stat_flags)
{
    struct stat ours;
    struct stat named;

    return fstat(fd, &ours) == 0 && fstatat(dir_fd, name, &named, stat_flags) == 0 &&
           ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

int
file_open_alone(int dir_fd, const char *name, bool wait)
{
    for (;;) {
        int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        int why = 0;

        if (fd == -1) {
            return -1;
        }
        if (flock_retry(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB) == -1 &&
            errno == EWOULDBLOCK) {
            why = EWOULDBLOCK;
        } else if (same_file(fd, dir_fd, name, AT_SYMLINK_NOFOLLOW)) {
            if (ftruncate(fd, 0) == 0) {
                return fd;
            }
            why = errno;
        }
        (void)fd_close(&fd);
        if (why != 0) {
            errno = why;
            return -1;
        }
    }
}

/* What replace_at puts behind a name. */
#define TEMPORARY ".tmp"

int
file_remove_left(int dir_fd, const char *name, bool *removed, struct err *e)
{
    int rc = 0;
    int fd;

    *removed = false;
    if (!text_ends_with(name, TEMPORARY)) {
        return 0;
    }
    fd = file_open_alone(dir_fd, name, false);
    if (fd != -1 && unlinkat(dir_fd, name, 0) == 0) {
        *removed = true;
    } else if (errno != EWOULDBLOCK && errno != ENOENT) {
        rc = err_set_sys(e, errno, "cannot remove '%s'", name);
    }
    (void)fd_close(&fd);
    return rc;
}

/* shown is what messages call the file; dir_fd and name are where it is. */
static int
replace_at(int dir_fd, const char *name, const char *shown, const void *data, size_t len,
           struct err *e)
{
    char *tmp = xasprintf("%s" TEMPORARY, name);
    int lock = file_open_alone(dir_fd, tmp, true);
    bool made = lock != -1; /* the temporary's name is taken by us */
    int fd = -1;
    int rc = -1;

    if (lock == -1 || (fd = fcntl(lock, F_DUPFD_CLOEXEC, 0)) == -1) {
        err_set_sys(e, errno, "cannot create '%s.tmp'", shown);
        goto out;
    }
    if (fd_write_all(fd, data, len) == -1 || fsync(fd) == -1) {
        err_set_sys(e, errno, "cannot write '%s.tmp'", shown);
        goto out;
    }
    /* A network file system may report a lost write only here. */
    if (fd_close(&fd) == -1) {
        err_set_sys(e, errno, "cannot close '%s.tmp'", shown);
        goto out;
    }
    if (renameat(dir_fd, tmp, dir_fd, name) == -1) {
        err_set_sys(e, errno, "cannot replace '%s'", shown);
        goto out;
    }
    made = false;
    if (fsync(dir_fd) == -1) {
        err_set_sys(e, errno, "cannot sync the directory of '%s'", shown);
        goto out;
    }
    rc = 0;

out:
    (void)fd_close(&fd);
    if (made) {
        (void)unlinkat(dir_fd, tmp, 0);
    }
    (void)fd_close(&lock); /* now the next one may have the name */
    free(tmp);
    return rc;
}

int
file_replace_at(int dir_fd, const char *name, const void *data, size_t len, struct err *e)
{
    return replace_at(dir_fd, name, name, data, len, e);
}

int
file_replace(const char *path, const void *data, size_t len, struct err *e)
{
    char *parent = path_parent(path);
    const char *slash = strrchr(path, '/');
    int dir_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc;

    if (dir_fd == -1) {
        rc = err_set_sys(e, errno, "cannot create '%s.tmp'", path);
    } else {
        rc = replace_at(dir_fd, slash != NULL ? slash + 1 : path, path, data, len, e);
    }
    (void)fd_close(&dir_fd);
    free(parent);
    return rc;
}

static int
read_fd(int fd, const char *shown, size_t max_bytes, struct buf *out, struct err *e)
{
    size_t start = out->len;

    for (;;) {
        size_t room = max_bytes - (out->len - start);
        size_t step = room < READ_STEP ? room + 1 : READ_STEP; /* one more to see it */
        ssize_t n;

        buf_reserve(out, step);
        n = fd_read_full(fd, out->data + out->len, step);
        if (n == -1 || (size_t)n > room) {
            int why = errno;

            out->len = start;
            out->data[start] = '\0';
            return n == -1 ? err_set_sys(e, why, "cannot read '%s'", shown)
                           : err_set(e, ERR_RANGE, "'%s' is larger than %zu bytes", shown,
                                     max_bytes);
        }
        out->len += (size_t)n;
        out->data[out->len] = '\0';
        if ((size_t)n < step) {
            return 0;
        }
    }
}

int
file_read_at(int dir_fd, const char *name, size_t max_bytes, struct buf *out,
             struct err *e)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int rc;

    if (fd == -1) {
        if (errno == ENOENT) {
            return err_set(e, ERR_NOT_FOUND, "'%s' does not exist", name);
        }
        return err_set_sys(e, errno, "cannot open '%s'", name);
    }
    rc = read_fd(fd, name, max_bytes, out, e);
    (void)fd_close(&fd);
    return rc;
}

int
file_read(const char *path, size_t max_bytes, struct buf *out, struct err *e)
{
    return file_read_at(AT_FDCWD, path, max_bytes, out, e);
}

int
file_sync_dir(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;

    if (fd == -1 || fsync(fd) == -1) {
        rc = err_set_sys(e, errno, "cannot sync the directory '%s'", path);
    }
    (void)fd_close(&fd);
    return rc;
}

int
file_mkdirs(const char *path, mode_t mode, struct err *e)
{
    char *copy = xstrdup(path);
    struct stat st;
    int rc = 0;

    for (char *at = copy;;) {
        at += strspn(at, "/");
        at += strcspn(at, "/");
        char was = *at;
        *at = '\0';
        if (copy[0] != '\0' && mkdir(copy, mode) == -1 && errno != EEXIST) {
            int why = errno;

            /* On a read-only or foreign parent the directory may be there all the same.
             */
            if (stat(copy, &st) == -1 || !S_ISDIR(st.st_mode)) {
                rc = err_set_sys(e, why, "cannot make the directory '%s'", copy);
                break;
            }
        }
        *at = was;
        if (was == '\0') {
            break;
        }
    }
    if (rc == 0 && (stat(path, &st) == -1 || !S_ISDIR(st.st_mode))) {
        rc = err_set_sys(e, ENOTDIR, "cannot make the directory '%s'", path);
    }
    free(copy);
    return rc;
}

bool
file_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

int
file_lock(const char *path, bool exclusive, bool wait, int *out_fd, struct err *e)
{
    int how = (exclusive ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB);

    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);

        if (fd == -1) {
            return err_set_sys(e, errno, "cannot open the lock '%s'", path);
        }
        if (flock_retry(fd, how) == -1) {
            int why = errno;

            (void)fd_close(&fd);
            if (why == EWOULDBLOCK) {
                return err_set(e, ERR_BUSY, "'%s' is locked by another process", path);
            }
            return err_set_sys(e, why, "cannot lock '%s'", path);
        }
        if (same_file(fd, AT_FDCWD, path, 0)) {
            *out_fd = fd;
            return 0;
        }
        (void)fd_close(&fd);
    }
}

char *
path_join(const char *a, const char *b)
{
    size_t len = strlen(a);
    bool slash = len == 0 || a[len - 1] == '/';

    return xasprintf("%s%s%s", a, slash ? "" : "/", b);
}

char *
path_parent(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL) {
        return xstrdup(".");
    }
    if (slash == path) {
        return xstrdup("/");
    }
    return xasprintf("%.*s", (int)(slash - path), path);
}
