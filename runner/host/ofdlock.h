#ifndef RUNNER_HOST_OFDLOCK_H
#define RUNNER_HOST_OFDLOCK_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/attr.h"

/*
 * Locks of an open file (F_OFD_SETLK), on all of it: like flock's they go with the last
 * copy of its descriptor, but can be looked at without being taken.
 */

/* 0: taken; EAGAIN: others have it; else why this file system cannot. Never waits. */
int ofdlock_take(int fd, bool exclusive) MUST_USE;
void ofdlock_give_up(int fd);
/* By somebody else, in whichever way; false where that cannot be known. */
bool ofdlock_is_held(int fd);

/* The same on one byte, which need not exist: a lock on all of the file is on it, too. */
int ofdlock_take_byte(int fd, off_t at, bool exclusive) MUST_USE;
bool ofdlock_byte_is_held(int fd, off_t at);

#endif
