#include "runner/client/tmpdir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/client/room.h"

/* What somebody holds is in use; the rest is nobody's. What cannot be removed stays. */
static int
sweep(void *ctx, int dir_fd, const char *name, struct err *e)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct err ignored;

    (void)ctx;
    (void)e;
    if (fd != -1 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        (void)!file_remove_tree_at(dir_fd, name, &ignored);
    }
    (void)fd_close(&fd);
    return 0;
}

/* *there false: it was swept away before it was held. */
static int
make_one(struct tmpdir *t, const char *template, bool *there, struct err *e)
{
    struct stat st;

    t->path = xstrdup(template);
    *there = false;
    if (mkdtemp(t->path) == NULL) {
        err_set_sys(e, errno, "cannot make '%s'", template);
        free(t->path);
        *t = TMPDIR_NONE;
        return -1;
    }
    t->fd = open(t->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (t->fd == -1 && errno != ENOENT) {
        err_set_sys(e, errno, "cannot open '%s'", t->path);
        tmpdir_remove(t);
        return -1;
    }
    /* Where there are no such locks nobody sweeps, either. */
    while (t->fd != -1 && flock(t->fd, LOCK_EX) == -1 && errno == EINTR) {
    }
    *there = t->fd != -1 && fstat(t->fd, &st) == 0 && st.st_nlink > 0;
    return 0;
}

int
tmpdir_make(struct tmpdir *t, const struct home *home, const char *prefix, struct err *e)
{
    char *name = xasprintf("%sXXXXXX", prefix);
    char *template = NULL;
    struct err ignored;
    bool there = false;
    int rc = home_make(home, "tmp", name, &template, e);

    *t = TMPDIR_NONE;
    if (rc == 0) {
        (void)!home_each_name(home, "tmp", sweep, NULL, &ignored);
    }
    while (rc == 0 && !there) {
        tmpdir_remove(t);
        rc = make_one(t, template, &there, e);
    }
    free(template);
    free(name);
    return rc == 0 ? 0 : room_full_home(home, e);
}

void
tmpdir_remove(struct tmpdir *t)
{
    struct err ignored;

    if (t->path != NULL) {
        (void)!file_remove_tree(t->path, &ignored);
    }
    (void)fd_close(&t->fd);
    free(t->path);
    *t = TMPDIR_NONE;
}
