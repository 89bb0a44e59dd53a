#ifndef STORAGE_RESERVE_H
#define STORAGE_RESERVE_H

#include <stdbool.h>

/*
 * A little disk held back, so that gc, which needs some to write down what it frees,
 * can work when the disk is full. Where it cannot be had, nothing is said: it is a help.
 */

/* Hold it, if the disk has plenty. */
void reserve_make(int dir_fd);
/* Let it go if the disk is nearly full. */
void reserve_release_if_full(int dir_fd);
/* Let it go. Was it there? */
bool reserve_release(int dir_fd);

#endif
