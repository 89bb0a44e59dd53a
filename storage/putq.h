#ifndef STORAGE_PUTQ_H
#define STORAGE_PUTQ_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/store.h"

/*
 * A queue of puts worked off by several threads, so that one thread that reads
 * and cuts keeps all cores busy with hashing and compressing. Memory is bounded:
 * putting blocks while too much is in flight (a few chunks per worker).
 *
 * One thread uses a struct putq; its workers use the store. The first error stops
 * the queue and is told by the next putq_put or putq_wait; nothing after it is put.
 */
struct putq;

/* n_workers 0: one per core this process may use, at most 8. s must outlive the queue. */
int putq_open(struct putq **out, struct store *s, unsigned n_workers,
              struct err *e) MUST_USE;

/*
 * Queue data[0..len) (copied; 0 < len <= STORE_CHUNK_MAX_BYTES). *id must stay valid;
 * it is filled by the time putq_wait returns 0.
 */
int putq_put(struct putq *q, enum store_kind kind, const void *data, size_t len,
             struct sha256 *id, struct err *e) MUST_USE;

/* Wait until all that was queued is put (not committed: that is store_commit). */
int putq_wait(struct putq *q, struct err *e) MUST_USE;

/* Stop the workers and free q; what is still queued is dropped. NULL is allowed. */
void putq_close(struct putq *q);

#endif
