#ifndef RUNNER_HOST_SETUPS_H
#define RUNNER_HOST_SETUPS_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/host/agent.h"
#include "runner/host/trim.h"

/*
 * What set-ups left, by their key (of command and files, made by the client):
 *
 *     setup/<key>         the layer: what the command put there; at one path for good,
 *                         since what is installed may know where it is
 *     setup/<key>.ready   the directory is whole, and on the disk
 *     setup/<key>.lock    flock: shared by each job that uses it, alone to make or remove
 *
 * A layer is whole only with a kept manifest of kind `setup`; from that it is made again
 * where the directory has gone.
 */
#define SETUPS_KEEP_S ((int64_t)30 * 86400) /* from its last use */

/* Where the layer of that key is; malloc'ed. */
char *setups_path(const struct renter *r, const char *key);

/* Is it whole? Changes nothing. */
int setups_has(const struct renter *r, const char *key, bool *ready,
               struct err *e) MUST_USE;

/*
 * Take a layer for a job: *ready: it is whole and stays while *lock_fd is open. Else it
 * is the caller's to make: the directory is there, empty. ERR_BUSY: another job makes it
 * now.
 */
int setups_take(const struct renter *r, const char *key, bool *ready, int *lock_fd,
                struct err *e) MUST_USE;

/* The caller's set-up went well: keep what it made, durable; its lock is shared then. */
int setups_keep(const struct agent *a, const struct renter *r, const char *key,
                const char *command, int lock_fd, struct err *e) MUST_USE;

/* The caller's set-up did not go well: nothing of it stays. Its lock is still held. */
int setups_discard(const struct renter *r, const char *key, struct err *e) MUST_USE;

/* Remove layers that are no longer kept and that no job uses. */
int setups_trim(const struct renter *r, const struct trim_told *only,
                struct err *e) MUST_USE;

#endif
