#ifndef RUNNER_HOST_WORK_H
#define RUNNER_HOST_WORK_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/loop/loop.h"

/*
 * One blocking piece of work on a thread of its own, while the loop goes on: making a
 * directory, taking a snapshot, syncing. run must touch nothing that the loop's thread
 * uses meanwhile.
 */
struct work;

/*
 * Start. run's result and error reach done on the loop, once; w is freed after that.
 * Keeps the loop running. -1: no thread could be had, nothing was started.
 */
int work_start(struct loop *l, int (*run)(void *ctx, struct err *e),
               void (*done)(void *ctx, int rc, const struct err *why), void *ctx,
               struct err *e) MUST_USE;

#endif
