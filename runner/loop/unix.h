#ifndef RUNNER_LOOP_UNIX_H
#define RUNNER_LOOP_UNIX_H

/*
 * Unix sockets, by a directory's descriptor and a name, so that no path is too long
 * and none is followed through a link. Sockets are 0600; the peer's user id is checked on
 * both sides.
 */

#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/loop/loop.h"

struct unix_peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

struct unix_listener; /* keeps the loop running */

/*
 * Listen as dir_fd/name, replacing atomically what had that name. fn owns the
 * (non-blocking, close-on-exec) descriptor it is given; peers of another user id than
 * ours are turned away before.
 */
int unix_listen(struct unix_listener **out, struct loop *l, int dir_fd, const char *name,
                void (*fn)(void *ctx, int fd, const struct unix_peer *peer), void *ctx,
                struct err *e) MUST_USE;
/* Stop, without removing the name (unlinkat it if you own it still). */
void unix_listener_free(struct unix_listener *u); /* NULL allowed */

/*
 * Connect (without blocking: a listener with a full backlog is ERR_BUSY). ERR_NOT_FOUND:
 * no such name. ERR_LINK: nobody listens there. ERR_DENIED: it belongs to another user.
 */
int unix_connect(int dir_fd, const char *name, int *fd, struct unix_peer *peer,
                 struct err *e) MUST_USE;

/* Credentials of the peer of a connected socket. */
int unix_peer_of(int fd, struct unix_peer *out, struct err *e) MUST_USE;

/* A connected pair, close-on-exec, non-blocking. */
int unix_pair(int fds[2], struct err *e) MUST_USE;

#endif
