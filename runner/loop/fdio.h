#ifndef RUNNER_LOOP_FDIO_H
#define RUNNER_LOOP_FDIO_H

/*
 * Descriptors that are shared with others. O_NONBLOCK belongs to the open file, not
 * to the descriptor: set on the user's terminal it would break the shell that started us.
 * So before watching one of our own standard descriptors, take a private one.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * A non-blocking, close-on-exec descriptor for the same file. Terminals, pipes and files
 * are opened anew (/proc/self/fd); what cannot be (sockets, no /proc) is duplicated and
 * set non-blocking until fdio_restore. flags is O_RDONLY or O_WRONLY.
 */
struct fdio {
    int fd;            /* -1: none */
    int restore_flags; /* -1: nothing to restore */
};
int fdio_private(struct fdio *out, int fd, int flags, struct err *e) MUST_USE;
/* Close it and put back what was changed. */
void fdio_restore(struct fdio *f);

int fdio_set_nonblock(int fd, bool on, struct err *e) MUST_USE;
/* A pipe, close-on-exec; [0] reads. */
int fdio_pipe(int fds[2], bool nonblock, struct err *e) MUST_USE;
/* Widen a pipe's buffer as far as allowed, up to n bytes; silently not. */
void fdio_pipe_widen(int fd, size_t n);

#endif
