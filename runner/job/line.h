#ifndef RUNNER_JOB_LINE_H
#define RUNNER_JOB_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Snapshots in their lines: those of one job, in the order in which they were made (the
 * ones on the way, and the one at its end), and those of jobs that went on from them. So
 * that nobody is told of the end of data that a later snapshot holds, too, as it went on.
 */
struct line_snap {
    const char *id;
    const char *job;    /* NULL: of none, or not known */
    const char *parent; /* id of the one that its job started from; NULL: none */
    int64_t made_wall_ns;
    int64_t expires_wall_ns; /* 0: no end */
    bool kept;               /* its data is */
    bool whole;
};

/* For line_is_carried_on. */
void line_sort(struct line_snap *v, size_t n);

/*
 * What is left of the job: of its snapshots that are kept the newest, of whole ones if
 * there is any. NULL: nothing is.
 */
const struct line_snap *line_last(const struct line_snap *v, size_t n, const char *job);

/*
 * Does a whole one that is kept longer go on from s, or from a later one of its job? v is
 * sorted; snapshots whose data has gone are links of a line as well as others.
 */
bool line_is_carried_on(const struct line_snap *v, size_t n, const struct line_snap *s);

#endif
