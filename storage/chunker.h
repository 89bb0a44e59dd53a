#ifndef STORAGE_CHUNKER_H
#define STORAGE_CHUNKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "storage/store.h"

/*
 * Content-defined cutting of byte streams: the gear hash and the minimum of FastCDC
 * (Xia et al., USENIX ATC 2016), a gear table fixed for ever (DESIGN.md), integers only.
 * Equal stretches of bytes are cut into equal chunks wherever they stand in a
 * stream, so an insertion costs a chunk or two and not the rest of the file.
 *
 * What is cut is a stream of the *contents* of files, one after another in path
 * order. Small files run together; a file of CHUNKER_BIG_FILE_BYTES or more
 * starts and ends at a boundary of its own, so its chunks are the same in
 * whatever neighbourhood it appears (snapshot, image layer, another folder).
 *
 *     chunker_file(c, size);                    before each file
 *     p = chunker_space(c, &room);              read at most room bytes to p
 *     chunker_filled(c, n);
 *     while (chunker_next(c, &chunk, &len)) ... put chunk[0..len)
 *     chunker_end(c); while (chunker_next(...)) ...      after the last file
 *
 * Call chunker_next until it says false after each of chunker_file,
 * chunker_filled and chunker_end. One thread at a time.
 */
#define CHUNKER_MIN_BYTES      ((size_t)80 * 1024)
#define CHUNKER_MAX_BYTES      ((size_t)512 * 1024)
#define CHUNKER_BIG_FILE_BYTES ((size_t)128 * 1024)

struct chunker;

struct chunker *chunker_new(void);
void chunker_free(struct chunker *c); /* NULL is allowed */

/*
 * A file of size_bytes begins. Where its start is to be a boundary, the bytes
 * before it become a chunk of their own, given by chunker_next.
 */
void chunker_file(struct chunker *c, uint64_t size_bytes);

/* Where to put the next bytes: *room > 0 of them at most. */
uint8_t *chunker_space(struct chunker *c, size_t *room);
void chunker_filled(struct chunker *c, size_t n);

/* The next chunk that is certain, valid until chunker_space or chunker_free; else false.
 */
bool chunker_next(struct chunker *c, const uint8_t **chunk, size_t *len) MUST_USE;

/* No more bytes: chunker_next gives all that is left. The chunker is then as new. */
void chunker_end(struct chunker *c);

/*
 * The bare rule: the length of the first chunk of data[0..len). Looks at no more
 * than CHUNKER_MAX_BYTES; len itself where no cut was found (then, if len <
 * CHUNKER_MAX_BYTES, more data could move the cut).
 */
size_t chunker_cut(const uint8_t *data, size_t len);

#endif
