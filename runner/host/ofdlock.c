#include "runner/host/ofdlock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static struct flock
whole_file(short type)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET};
}

static struct flock
one_byte(short type, off_t at)
{
    return (struct flock){
        .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
}

static int
take(int fd, struct flock l)
{
    if (fcntl(fd, F_OFD_SETLK, &l) == 0) {
        return 0;
    }
    return errno == EACCES ? EAGAIN : errno; /* POSIX allows both */
}

static bool
is_held(int fd, struct flock l)
{
    return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

int
ofdlock_take(int fd, bool exclusive)
{
    return take(fd, whole_file(exclusive ? F_WRLCK : F_RDLCK));
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
    return is_held(fd, whole_file(F_WRLCK));
}

int
ofdlock_take_byte(int fd, off_t at, bool exclusive)
{
    return take(fd, one_byte(exclusive ? F_WRLCK : F_RDLCK, at));
}

bool
ofdlock_byte_is_held(int fd, off_t at)
{
    return is_held(fd, one_byte(F_WRLCK, at));
}
