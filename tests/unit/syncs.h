#ifndef TESTS_UNIT_SYNCS_H
#define TESTS_UNIT_SYNCS_H

/*
 * fsync and fdatasync as the code under test sees them: counted, failing on order, and
 * fast, as nothing is synced. For one .c file of a test program: the linker takes these
 * before the C library's.
 */
#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    atomic_int n_files;
    atomic_int n_dirs;
    atomic_int fail_at;   /* the call that fails, counted from 1; 0: none */
    atomic_int fail_with; /* errno of it */
    atomic_int n;         /* calls since */
    off_t bytes[64];      /* how long each synced file was then, the first ones */
} syncs;

static inline void
syncs_reset(void)
{
    syncs.n_files = syncs.n_dirs = syncs.n = 0;
    syncs.fail_at = 0;
}

/* The nth call from now on fails, and none after it. */
static inline void
syncs_fail(int nth, int with_errno)
{
    syncs.n = 0;
    syncs.fail_with = with_errno;
    syncs.fail_at = nth;
}

static inline int
syncs_call(int fd)
{
    struct stat st;

    if (++syncs.n == syncs.fail_at) {
        errno = syncs.fail_with;
        return -1;
    }
    if (fstat(fd, &st) != 0) {
        return -1;
    }
    if (S_ISDIR(st.st_mode)) {
        syncs.n_dirs++;
    } else {
        int i = syncs.n_files++;

        if (i < (int)(sizeof syncs.bytes / sizeof *syncs.bytes)) {
            syncs.bytes[i] = st.st_size;
        }
    }
    return 0;
}

int
fsync(int fd)
{
    return syncs_call(fd);
}

int
fdatasync(int fd)
{
    return syncs_call(fd);
}

#endif
