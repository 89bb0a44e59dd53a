#ifndef RUNNER_CLIENT_TMPDIR_H
#define RUNNER_CLIENT_TMPDIR_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/client/home.h"

/*
 * A directory for what is on its way, in <home>/tmp: held (flock) as long as its process
 * lives. What one that was killed has left goes when the next is made.
 */
struct tmpdir {
    char *path; /* NULL: there is none */
    int fd;
};
#define TMPDIR_NONE ((struct tmpdir){NULL, -1})

/* Called prefix and some letters. A full disk is told with what helps (room.h). */
int tmpdir_make(struct tmpdir *t, const struct home *home, const char *prefix,
                struct err *e) MUST_USE;
/* With all in it; TMPDIR_NONE afterwards, and allowed. */
void tmpdir_remove(struct tmpdir *t);

#endif
