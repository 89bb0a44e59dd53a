#ifndef STORAGE_SCACHE_H
#define STORAGE_SCACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/scan.h"
#include "storage/tree.h"

/* Times of files come from a clock that ticks 100 to 1000 times a second. */
#define SCACHE_TICK_NS ((int64_t)10 * 1000000)

/*
 * Scan caches: for one directory, the tree it was last seen as, and for each entry
 * what stat said then. An entry whose stat says the same, and is older than the
 * moment at which the cache could still have missed a change, need not be read again.
 *
 * The file is written beside its name and renamed; it is not synced: every block
 * carries a checksum, and a cache that is missing, torn or strange is no cache.
 *
 * What is trusted, and why (DESIGN.md, "Scan caches"): inode number and change time
 * equal, and the change time *before* the reference time, taken before anything was read:
 * a later change then has a later change time. After a reboot data may be older than its
 * inode (lost in a power cut), so then only what was old when the cache was written
 * counts. Nothing is cached where memory-mapped writes leave no trace (tmpfs).
 */

/* What the disk said about one entry; no entry has all zero. */
struct scache_mark {
    uint64_t ino;
    int64_t ctime_ns;
    uint32_t rest; /* digest of the other fields */
};

struct scache_mark scache_mark_of(const struct scan_entry *entry);

/*
 * The reference time for a cache of the directory fd whose files are about to be read
 * (or have just been made): entries changed from then on are not trusted. live:
 * somebody may have it mapped for writing right now. INT64_MIN: cache nothing here.
 */
int64_t scache_reference(int fd, bool live);
/*
 * Wait until a reference of now lies behind that change time, if that is a matter of the
 * clock's next tick (10 ms); else not at all. For what costs more to be read again.
 */
void scache_settle(int fd, int64_t ctime_ns);

/* ---- writing ---- */

struct scache_writer;

/* A temporary beside path; where another process is at it, nothing is written. */
int scache_create(struct scache_writer **out, const char *path, struct err *e) MUST_USE;
/* Append encoded groups, as tree_writer_add gave them. */
int scache_add(struct scache_writer *w, const void *encoded, size_t len,
               struct err *e) MUST_USE;
/* The mark of the next entry; returns its number for scache_set_mark. */
size_t scache_add_mark(struct scache_writer *w, const struct scache_mark *m);
void scache_set_mark(struct scache_writer *w, size_t i, const struct scache_mark *m);
/* Complete it and put it in place of path. w is freed in any case. */
int scache_commit(struct scache_writer *w, const struct sha256 *tree, int64_t reference,
                  struct err *e) MUST_USE;
void scache_discard(struct scache_writer *w); /* NULL is allowed */

/* ---- reading ---- */

struct scache;

/* A group with all its chunks, also those of continued files. */
struct scache_group {
    const struct tree_entry *entries;
    const struct scache_mark *marks; /* of each entry */
    size_t n_entries;
    const struct tree_chunk *chunks;
    size_t n_chunks;
};

/* NULL if there is no sound cache at path. */
struct scache *scache_open(const char *path);
void scache_close(struct scache *c); /* NULL is allowed */
void scache_tree(const struct scache *c, struct sha256 *out);
uint64_t scache_n_entries(const struct scache *c);
/*
 * The next group, valid until the next call; false at the end. What turns out to be
 * damaged ends it early and sets *damaged: what was given before is still right.
 */
bool scache_next(struct scache *c, struct scache_group *g, bool *damaged);
/* Is the entry what the mark says, and was it quiet when the mark was taken? */
bool scache_trusts(const struct scache *c, const struct scache_mark *m,
                   const struct scan_entry *entry);

#endif
