#include "runner/loop/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

int
fdio_set_nonblock(int fd, bool on, struct err *e)
{
    int flags = fcntl(fd, F_GETFL);
    int want = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;

    if (flags == -1 || (want != flags && fcntl(fd, F_SETFL, want) == -1)) {
        return err_set_sys(e, errno, "cannot change descriptor %d", fd);
    }
    return 0;
}

int
fdio_private(struct fdio *out, int fd, int flags, struct err *e)
{
    char path[32];
    struct stat st;
    struct fdio f = {.fd = -1, .restore_flags = -1};

    if (fstat(fd, &st) == -1) {
        return err_set_sys(e, errno, "cannot use descriptor %d", fd);
    }
    /* A regular file opened anew would begin at its start; it never blocks anyway. */
    if (!S_ISSOCK(st.st_mode) && !S_ISREG(st.st_mode)) {
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        f.fd = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    }
    if (f.fd == -1) {
        f.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (f.fd == -1) {
            return err_set_sys(e, errno, "cannot use descriptor %d", fd);
        }
        if (!S_ISREG(st.st_mode)) {
            f.restore_flags = fcntl(f.fd, F_GETFL);
        }
        if (fdio_set_nonblock(f.fd, true, e) == -1) {
            (void)fd_close(&f.fd);
            return -1;
        }
    }
    *out = f;
    return 0;
}

void
fdio_restore(struct fdio *f)
{
    if (f->fd == -1) {
        return;
    }
    if (f->restore_flags != -1) {
        (void)fcntl(f->fd, F_SETFL, f->restore_flags);
    }
    (void)fd_close(&f->fd);
}

int
fdio_pipe(int fds[2], bool nonblock, struct err *e)
{
    if (pipe2(fds, O_CLOEXEC | (nonblock ? O_NONBLOCK : 0)) == -1) {
        return err_set_sys(e, errno, "cannot make a pipe");
    }
    return 0;
}

void
fdio_pipe_widen(int fd, size_t n)
{
    while (n > 65536 && fcntl(fd, F_SETPIPE_SZ, (int)n) == -1) {
        n /= 2;
    }
}
