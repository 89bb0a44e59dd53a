#ifndef STORAGE_RECENT_H
#define STORAGE_RECENT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/hash.h"

/*
 * The contents of chunks that were just checked, kept for who needs them next: it would
 * read, decode and hash them once more. The oldest go where there are too many; once
 * max_bytes went that nobody had asked for, none is kept any more. Any number of threads.
 */
struct recent;

struct recent *recent_new(size_t max_bytes);
void recent_free(struct recent *r); /* NULL is allowed */

/* content is chunk id's; its memory may be taken, and then it is empty, or has other. */
void recent_put(struct recent *r, const struct sha256 *id, struct buf *content);
/* Append the chunk to out and keep it no longer; false: it is not here. */
bool recent_take(struct recent *r, const struct sha256 *id, struct buf *out);

#endif
