#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "storage/store_internal.h"

/*
 * Open file description locks: they belong to the handle, not to the process, so
 * two handles in one process exclude each other as two processes do; and the kernel drops
 * them when the process dies.
 */
static struct flock
range(short type, int64_t from, int64_t len)
{
    return (struct flock){
        .l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = len};
}

int
store_lock(int lock_fd, int64_t byte, bool exclusive, bool wait, struct err *e)
{
    struct flock l = range(exclusive ? F_WRLCK : F_RDLCK, byte, 1);
    int rc;

    do {
        rc = fcntl(lock_fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &l);
    } while (rc == -1 && errno == EINTR);
    if (rc == -1 && (errno == EAGAIN || errno == EACCES)) {
        return err_set(e, ERR_BUSY, "the store is in use");
    }
    if (rc == -1) {
        return err_set_sys(e, errno, "cannot lock the store");
    }
    return 0;
}

void
store_unlock(int lock_fd, int64_t byte)
{
    struct flock l = range(F_UNLCK, byte, 1);

    (void)fcntl(lock_fd, F_OFD_SETLK, &l); /* unlocking cannot fail on an open file */
}

int
store_leases_below(int lock_fd, uint64_t gen, bool *held, uint64_t *one, struct err *e)
{
    struct flock l = range(F_WRLCK, STORE_LEASE_BASE, (int64_t)gen);

    *held = false;
    if (gen == 0) {
        return 0;
    }
    if (fcntl(lock_fd, F_OFD_GETLK, &l) == -1) {
        return err_set_sys(e, errno, "cannot ask for leases");
    }
    if (l.l_type != F_UNLCK) {
        *held = true;
        *one =
            l.l_start > STORE_LEASE_BASE ? (uint64_t)(l.l_start - STORE_LEASE_BASE) : 0;
    }
    return 0;
}
