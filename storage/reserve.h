#ifndef STORAGE_RESERVE_H
#define STORAGE_RESERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * A little disk held back, so that gc, which needs some to write down what it frees,
 * can work when the disk is full. What it needs grows with the index: so does this. Where
 * it cannot be had, nothing is said: it is a help.
 */

/* What a store with an index that long is to hold back. */
uint64_t reserve_bytes(uint64_t index_bytes);

/*
 * Hold what the store's index asks for, no more; where there is less, only if the disk
 * has plenty.
 */
void reserve_hold(int dir_fd);
/* The index has grown: let the reserve, if there is one, follow. */
void reserve_follow(int dir_fd);

/* Is it disk that was missing (memory is ERR_SPACE as well)? */
bool reserve_may_help(const struct err *e);
/*
 * Let a third of it go, and the next time all. Is some held still? *fd (-1 at first)
 * holds its lock from then on, until it is closed: nobody enlarges it meanwhile.
 */
bool reserve_release(int dir_fd, int *fd);

/*
 * Let a little of it go for a small record that leads to more room. False: what is left
 * is for gc, or gc is in it. The caller tries again.
 */
bool reserve_spare(int dir_fd);

#endif
