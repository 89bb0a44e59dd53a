#ifndef RUNNER_CLI_PROGRESS_H
#define RUNNER_CLI_PROGRESS_H

#include <stdint.h>

#include "base/buf.h"
#include "runner/cli/cli.h"
#include "runner/loop/loop.h"

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
int64_t progress_elapsed_ns(const struct progress *p);

#endif
