#ifndef RUNNER_CLIENT_LINES_H
#define RUNNER_CLIENT_LINES_H

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "runner/job/logseg.h"

/*
 * A job's output line by line, for `logs --grep` and `--timestamps`: which lines are
 * shown, and the time they were written before each. Times come from the host's log
 * index (runner/job/logseg.h), beside the bytes and a little later; a line whose time is
 * still to come is not taken yet.
 */

/* ---- when bytes were written ---- */

struct line_times;

/* False for a stream whose times nobody will ask for: they are not kept. */
struct line_times *line_times_new(bool want_out, bool want_err);
void line_times_free(struct line_times *t); /* NULL allowed */
/*
 * Index bytes as they come, in any pieces. How many were taken: all, unless so many times
 * wait for their lines that there is no room.
 */
size_t line_times_feed(struct line_times *t, const uint8_t *data, size_t n);
/* No more will come: what is not known by now never will be. */
void line_times_complete(struct line_times *t);

/* ---- lines ---- */

struct lines;

/* A longer line is taken in pieces of this length, which are lines of their own where
 * they are looked at (grep) or begin with a time. */
#define LINES_LINE_MAX ((size_t)1 << 20)

struct lines_options {
    enum logseg_stream stream;
    const regex_t *grep;      /* only lines it finds something in; NULL: all */
    struct line_times *times; /* times before the lines; NULL: none */
    /* Who has left a line unfinished in the place where several streams go; NULL: nobody.
     * Shared by them: none goes on in another's line. NULL: it goes alone. */
    const struct lines **open;
};

struct lines *lines_new(const struct lines_options *o);
void lines_free(struct lines *l); /* NULL allowed */
/*
 * n bytes of the stream at offset; what is to be shown is appended to out. How many were
 * taken: less than n where a time has to be waited for.
 */
size_t lines_take(struct lines *l, uint64_t offset, const uint8_t *data, size_t n,
                  struct buf *out);
/* That was all: the last line may have no end. false: its time is still to come. */
bool lines_end(struct lines *l, struct buf *out) MUST_USE;

#endif
