#ifndef RUNNER_CLI_PROGRESS_H
#define RUNNER_CLI_PROGRESS_H

#include <stdint.h>

#include "base/buf.h"
#include "runner/cli/cli.h"
#include "runner/loop/loop.h"
#include "storage/sync.h"

/*
 * One line on the terminal that tells how something goes on: only there, only for what
 * takes longer than a second, gone without a trace afterwards. Not with -q, and off a
 * terminal nothing is written at all.
 */
struct progress;

/* line writes what to show now ("" for nothing) into out. */
struct progress *progress_start(const struct cli *c, struct loop *l,
                                void (*line)(void *ctx, struct buf *out), void *ctx);
/* Take the line away; NULL allowed. */
void progress_end(struct progress *p);

/* "12.3 MB of 400 MB, 33 MB/s, ETA 00:12"; total 0: unknown. */
void progress_amount(struct buf *out, uint64_t done_bytes, uint64_t total_bytes,
                     int64_t elapsed_ns);
/* The same where the total may turn out to be less, as some of it is there already. */
void progress_at_most(struct buf *out, uint64_t done_bytes, int64_t total_bytes,
                      int64_t elapsed_ns);
/*
 * The same of what is fetched: of all of a snapshot that is stored_bytes as it is kept;
 * 0: of a part, or of a running job's directory, by what was asked for.
 */
void progress_fetched(struct buf *out, const struct sync_stats *st, int64_t stored_bytes,
                      int64_t elapsed_ns);
/* "12 of 40, ETA 00:12", of things that are counted. */
void progress_count(struct buf *out, uint64_t done, uint64_t total, int64_t elapsed_ns);
/* What follows is another thing: it has a rate of its own. */
void progress_restart(struct progress *p);
/*
 * To be called now and then by what is done on the loop's own thread: the line is drawn,
 * and whatever else is due on the loop, in between. NULL allowed.
 */
void progress_breathe(struct progress *p);
int64_t progress_elapsed_ns(const struct progress *p);

#endif
