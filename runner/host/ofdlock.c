#include "runner/host/ofdlock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static struct flock
whole_file(short type)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET};
}

int
ofdlock_take(int fd, bool exclusive)
{
    struct flock l = whole_file(exclusive ? F_WRLCK : F_RDLCK);

    if (fcntl(fd, F_OFD_SETLK, &l) == 0) {
        return 0;
    }
    return errno == EACCES ? EAGAIN : errno; /* POSIX allows both */
}

void
ofdlock_give_up(int fd)
{
    struct flock l = whole_file(F_UNLCK);

    (void)fcntl(fd, F_OFD_SETLK, &l);
}

bool
ofdlock_is_held(int fd)
{
    struct flock l = whole_file(F_WRLCK);

    return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}
