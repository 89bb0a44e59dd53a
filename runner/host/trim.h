#ifndef RUNNER_HOST_TRIM_H
#define RUNNER_HOST_TRIM_H

#include "base/err.h"

/*
 * What a trim that is only asked about (`gc --dry-run`) says it would remove, a line
 * each. Where a trim takes NULL for it, it does what it is for.
 */
struct trim_told {
    void (*say)(void *arg, const struct err *line);
    void *arg;
};

/* That it would remove that thing; a line of words and printf's arguments. */
#define trim_tell(t, ...)                                                                \
    do {                                                                                 \
        struct err line_;                                                                \
                                                                                         \
        (void)err_set(&line_, ERR_NONE, __VA_ARGS__);                                    \
        (t)->say((t)->arg, &line_);                                                      \
    } while (0)

/* What could not be removed is no reason to leave the rest: the first one is told. */
static inline void
trim_failed(int *rc, const struct err *why, struct err *e)
{
    if (*rc == 0) {
        *e = *why;
        *rc = -1;
    }
}

#endif
