#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file_internal.h"

/* A rename somewhere beneath us makes the kernel unsure, and say EAGAIN. */
#define OPENAT2_TRIES 64

static bool
makes_file(int flags)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

static int
sys_openat2(int dir_fd, const char *name, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = makes_file(flags) ? mode : 0, /* anything else is refused */
        .resolve = resolve,
    };

    for (int i = 0; i < OPENAT2_TRIES; i++) {
        int fd = (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof how);

        if (fd != -1 || (errno != EAGAIN && errno != EINTR)) {
            return fd;
        }
    }
    return -1;
}

/* Old kernels lack openat2; old container filters answer EPERM for what they do not know.
 */
static bool
lacks_openat2(int why)
{
    return why == ENOSYS || why == EPERM;
}

/* Not above, not absolute: "a//b" and "./a" are harmless. */
static bool
name_stays_beneath(const char *name)
{
    if (name[0] == '\0' || name[0] == '/') {
        return false;
    }
    for (const char *at = name; *at != '\0';) {
        size_t len = strcspn(at, "/");

        if (len == 2 && at[0] == '.' && at[1] == '.') {
            return false;
        }
        at += len;
        at += strspn(at, "/");
    }
    return true;
}

/* O_PATH opens a symbolic link itself; the caller did not ask for that. */
static int
refuse_symlink(int fd)
{
    struct stat st;

    if (fd != -1 && fstat(fd, &st) == 0 && S_ISLNK(st.st_mode)) {
        (void)close(fd);
        errno = ELOOP;
        return -1;
    }
    return fd;
}

/* openat for one component; a symbolic link is ELOOP, not now and then ENOTDIR. */
static int
open_component(int dir_fd, const char *name, int flags, mode_t mode)
{
    int fd = openat(dir_fd, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
    struct stat st;

    if (fd == -1 && errno == ENOTDIR) {
        bool link =
            fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);

        errno = link ? ELOOP : ENOTDIR;
    }
    return fd;
}

int
beneath_walk(int dir_fd, const char *name, int flags, mode_t mode)
{
    char *copy = xstrdup(name);
    char *at = copy;
    int parent = -1; /* ours; dir_fd itself as long as it is -1 */
    int fd = -1;
    int why;

    for (;;) {
        size_t len = strcspn(at, "/");
        size_t slashes = strspn(at + len, "/");
        bool last = at[len + slashes] == '\0';
        int from = parent != -1 ? parent : dir_fd;
        /* "a/" names a directory. */
        int how = !last ? O_PATH | O_DIRECTORY : flags | (slashes > 0 ? O_DIRECTORY : 0);

        at[len] = '\0';
        fd = open_component(from, at, how, mode);
        why = errno;
        (void)fd_close(&parent);
        errno = why;
        if (fd == -1 || last) {
            break;
        }
        parent = fd;
        at += len + slashes;
    }
    if ((flags & O_PATH) != 0 && (flags & O_NOFOLLOW) == 0) {
        fd = refuse_symlink(fd);
    }
    why = errno;
    free(copy);
    errno = why;
    return fd;
}

int
beneath_open_dir(int dir_fd, const char *name)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = sys_openat2(dir_fd, name, flags, 0,
                         RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    struct stat above;
    struct stat here;

    if (fd != -1 || !lacks_openat2(errno)) {
        return fd;
    }
    /* The best without openat2: a bind mount of the same file system goes unseen. */
    fd = openat(dir_fd, name, flags);
    if (fd != -1 && (fstat(dir_fd, &above) == -1 || fstat(fd, &here) == -1 ||
                     above.st_dev != here.st_dev)) {
        (void)close(fd);
        errno = EXDEV;
        return -1;
    }
    return fd;
}

static int
open_failed(const char *name, int why, struct err *e)
{
    switch (why) {
    case ENOENT:
        return err_set(e, ERR_NOT_FOUND, "'%s' does not exist", name);
    case EEXIST:
        return err_set(e, ERR_EXISTS, "'%s' exists already", name);
    case ELOOP:
    case EXDEV:
        return err_set(e, ERR_DENIED, "'%s' leads through a symbolic link", name);
    default:
        return err_set_sys(e, why, "cannot open '%s'", name);
    }
}

int
file_open_beneath(int dir_fd, const char *name, int flags, mode_t mode, int *out_fd,
                  struct err *e)
{
    int fd;

    if (!name_stays_beneath(name)) {
        return err_set(e, ERR_DENIED, "the name '%s' leads outside", name);
    }
    fd = sys_openat2(dir_fd, name, flags, mode,
                     RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    if (fd == -1 && lacks_openat2(errno)) {
        fd = beneath_walk(dir_fd, name, flags, mode);
    }
    if (fd == -1) {
        return open_failed(name, errno, e);
    }
    *out_fd = fd;
    return 0;
}

int
file_mkdirs_beneath(int dir_fd, const char *name, mode_t mode, int *out_fd, struct err *e)
{
    char *copy = NULL;
    char *at;
    int fd = -1; /* the directory so far; dir_fd itself as long as it is -1 */
    int rc = -1;

    if (!name_stays_beneath(name)) {
        return err_set(e, ERR_DENIED, "the name '%s' leads outside", name);
    }
    copy = xstrdup(name);
    for (at = copy; *at != '\0';) {
        size_t len = strcspn(at, "/");
        size_t slashes = strspn(at + len, "/");
        int from = fd != -1 ? fd : dir_fd;
        int next;

        at[len] = '\0';
        if (mkdirat(from, at, mode) == -1 && errno != EEXIST) {
            err_set_sys(e, errno, "cannot make the directory '%s'", name);
            goto out;
        }
        next = open_component(from, at, O_RDONLY | O_DIRECTORY, 0);
        if (next == -1) {
            open_failed(name, errno, e);
            goto out;
        }
        (void)fd_close(&fd);
        fd = next;
        at += len + slashes;
    }
    *out_fd = fd;
    fd = -1;
    rc = 0;

out:
    (void)fd_close(&fd);
    free(copy);
    return rc;
}
