#ifndef RUNNER_HOST_SERVE_EARLY_H
#define RUNNER_HOST_SERVE_EARLY_H

#include "runner/host/serve_internal.h"
#include "storage/store.h"

/*
 * The directory of the job that will start with a tree, made while the tree is shipped
 * (storage/early.h), where that pays: nothing of the tree was here before, there is much
 * of it, and room. All but its thread is the loop's.
 */
struct serve_early;

/* over: on the loop, once the thread has ended. NULL: it cannot be. st outlives it. */
struct serve_early *serve_early_new(struct serve *s, struct store *st,
                                    void (*over)(void *ctx), void *ctx);
/* sync_recv_options.came; early may be NULL, here and below. */
void serve_early_came(void *early, enum store_kind kind, const struct sha256 *id,
                      uint32_t raw_len, struct buf *raw);
/* The tree is whole; NULL: it will not be. */
void serve_early_end(struct serve_early *y, const struct sha256 *tree);
bool serve_early_runs(const struct serve_early *y);
/* Not while it runs. Where no job wants it (wanted false) what was made goes. */
void serve_early_free(struct serve_early *y, bool wanted);

#endif
