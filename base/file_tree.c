#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_internal.h"

/*
 * A job can nest directories deeper than we may have descriptors, and longer
 * than any path. Directories deeper than this are first moved up, next to the top.
 */
#define DEPTH_MAX     32
#define LIFTED_PREFIX ".gpurun-remove-"

struct removal {
    int top_fd;        /* the directory to remove, held open */
    unsigned n_lifted; /* names used so far */
    bool lifted;       /* this pass moved something up: one more is needed */
    bool failed;       /* *e has the first failure; the rest is removed all the same */
    struct err *e;
};

/* What is gone, or in a directory that is, another has removed meanwhile. */
static void
removal_failed(struct removal *r, int why, const char *name)
{
    if (why != ENOENT && !r->failed) {
        r->failed = true;
        (void)err_set_sys(r->e, why, "cannot remove '%s'", name);
    }
}

/* Take away what keeps us, its owner, from reading and emptying a directory. */
static void
open_up(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char path[32];

    if (fd == -1) {
        return;
    }
    /* By descriptor: the name may be a symbolic link by now. */
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    (void)chmod(path, 0700);
    (void)fd_close(&fd);
}

static int
open_dir(int dir_fd, const char *name)
{
    int fd = beneath_open_dir(dir_fd, name);
    struct stat st;

    if (fd == -1 && errno == EACCES) {
        open_up(dir_fd, name);
        fd = beneath_open_dir(dir_fd, name);
    }
    if (fd != -1 && fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700) {
        (void)fchmod(fd, 0700);
    }
    return fd;
}

static bool
is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Move the directory name of dir_fd to the top; the next pass finds it there. */
static void
lift(struct removal *r, int dir_fd, const char *name)
{
    char to[sizeof LIFTED_PREFIX + 12];
    int rc;

    open_up(dir_fd, name); /* a directory's ".." is written by moving it */
    do {
        (void)snprintf(to, sizeof to, LIFTED_PREFIX "%u", r->n_lifted++);
        rc = renameat2(dir_fd, name, r->top_fd, to, RENAME_NOREPLACE);
        if (rc == -1 && errno == EINVAL) {
            /* This file system cannot refuse to replace; an empty directory is no loss.
             */
            rc = renameat(dir_fd, name, r->top_fd, to);
        }
    } while (rc == -1 && (errno == EEXIST || errno == ENOTEMPTY));
    if (rc == -1) {
        removal_failed(r, errno, name);
    } else {
        r->lifted = true;
    }
}

static void empty_dir(struct removal *r, int fd, int depth);

static void
remove_subdir(struct removal *r, int dir_fd, const char *name, int depth)
{
    int fd;

    /* Most are empty, or are no concern of the depth. */
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT) {
        return;
    }
    if (depth == DEPTH_MAX) {
        lift(r, dir_fd, name);
        return;
    }
    fd = open_dir(dir_fd, name);
    if (fd == -1) {
        removal_failed(r, errno == EXDEV ? EBUSY : errno, name);
        return;
    }
    empty_dir(r, fd, depth + 1); /* closes it */
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) == -1 && errno != ENOENT && !r->failed) {
        removal_failed(r, errno, name);
    }
}

static void
remove_entry(struct removal *r, int dir_fd, const char *name, int depth)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT) {
        return;
    }
    /* Linux says EISDIR for a directory, POSIX allows EPERM. */
    if (errno == EISDIR || errno == EPERM) {
        remove_subdir(r, dir_fd, name, depth);
    } else {
        removal_failed(r, errno, name);
    }
}

/* Empty the directory fd, which is closed. */
static void
empty_dir(struct removal *r, int fd, int depth)
{
    DIR *dir = fdopendir(fd);
    struct dirent *d;

    if (dir == NULL) {
        removal_failed(r, errno, ".");
        (void)close(fd);
        return;
    }
    for (;;) {
        errno = 0;
        d = readdir(dir);
        if (d == NULL) {
            break;
        }
        if (is_dots(d->d_name)) {
            continue;
        }
        if (d->d_type == DT_DIR) {
            remove_subdir(r, fd, d->d_name, depth);
        } else {
            remove_entry(r, fd, d->d_name, depth);
        }
    }
    if (errno != 0) {
        removal_failed(r, errno, ".");
    }
    (void)closedir(dir);
}

/* Empty the directory top_fd, in as many passes as depth makes necessary. */
static void
empty_top(struct removal *r)
{
    do {
        int fd = openat(r->top_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        r->lifted = false;
        if (fd == -1) {
            removal_failed(r, errno, ".");
            return;
        }
        empty_dir(r, fd, 0);
    } while (r->lifted); /* what moved up is nearer each time: it ends */
}

int
file_remove_tree_at(int dir_fd, const char *name, struct err *e)
{
    struct removal r = {.top_fd = -1, .e = e};

    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    if (errno != EISDIR && errno != EPERM) {
        return err_set_sys(e, errno, "cannot remove '%s'", name);
    }
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0) {
        return 0;
    }
    r.top_fd = open_dir(dir_fd, name);
    if (r.top_fd == -1 && errno == ENOENT) {
        return 0;
    }
    if (r.top_fd == -1) {
        return err_set_sys(e, errno == EXDEV ? EBUSY : errno, "cannot remove '%s'", name);
    }
    empty_top(&r);
    (void)fd_close(&r.top_fd);
    if (r.failed) {
        return err_wrap(e, "'%s'", name);
    }
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) == -1 && errno != ENOENT) {
        return err_set_sys(e, errno, "cannot remove '%s'", name);
    }
    return 0;
}

int
file_remove_tree(const char *path, struct err *e)
{
    size_t len = strlen(path);
    char *trimmed;
    char *parent = NULL;
    const char *slash;
    int dir_fd = -1;
    int rc;

    while (len > 1 && path[len - 1] == '/') {
        len--; /* "dir/" is dir */
    }
    trimmed = xasprintf("%.*s", (int)len, path);
    parent = path_parent(trimmed);
    slash = strrchr(trimmed, '/');
    dir_fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd == -1) {
        rc = errno == ENOENT ? 0 : err_set_sys(e, errno, "cannot remove '%s'", path);
    } else {
        rc = file_remove_tree_at(dir_fd, slash != NULL ? slash + 1 : trimmed, e);
    }
    (void)fd_close(&dir_fd);
    free(parent);
    free(trimmed);
    return rc;
}

int
file_each_name(int dir_fd,
               int (*fn)(void *ctx, int dir_fd, const char *name, struct err *e),
               void *ctx, struct err *e)
{
    /* An offset of its own: another listing of the same directory may be under way. */
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd == -1 ? NULL : fdopendir(fd);
    int rc = 0;

    if (dir == NULL) {
        err_set_sys(e, errno, "cannot list a directory");
        (void)fd_close(&fd);
        return -1;
    }
    while (rc == 0) {
        const struct dirent *d;

        errno = 0;
        d = readdir(dir);
        if (d == NULL) {
            rc = errno == 0 ? 0 : err_set_sys(e, errno, "cannot list a directory");
            break;
        }
        if (!is_dots(d->d_name)) {
            rc = fn(ctx, dir_fd, d->d_name, e);
        }
    }
    (void)closedir(dir);
    return rc;
}
