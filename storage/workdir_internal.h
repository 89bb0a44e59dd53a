#ifndef STORAGE_WORKDIR_INTERNAL_H
#define STORAGE_WORKDIR_INTERNAL_H

#include "base/attr.h"
#include "base/err.h"

/*
 * Makers share the place, a sweep has it alone. Their locks on what they make would not
 * do: the name passes from one thing to the next, and a sweep may have looked at the one
 * and remove the other. *place -1 with 0: not to be had now, LOCK_NB.
 */
int workdir_lock_place(int work_fd, int how, int *place, struct err *e) MUST_USE;

#endif
