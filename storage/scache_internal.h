#ifndef STORAGE_SCACHE_INTERNAL_H
#define STORAGE_SCACHE_INTERNAL_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/clock.h"
#include "storage/codec.h"
#include "storage/scache.h"

/*
 * The file (DESIGN.md, "Scan caches"): a header, then blocks {u32 stored length, u32
 * length, u32 crc32c of what is stored, payload as stored}, compressed where it is stored
 * shorter. The first blocks' payloads together are the encoded groups; the marks' blocks
 * begin at a place that the header names, and no mark lies in two.
 */
#define SCACHE_MAGIC       "GPRSCAN3"
#define SCACHE_MAGIC_LEN   8
#define SCACHE_BLOCK_HEAD  12
#define SCACHE_BLOCK_BYTES ((size_t)64 * 1024)
#define SCACHE_MARK_MAX    24 /* two varints and a u32 */

#define SCACHE_AT_BOOT       8
#define SCACHE_AT_REFERENCE  48
#define SCACHE_AT_WRITTEN    56
#define SCACHE_AT_TREE       64
#define SCACHE_AT_STREAM_LEN 96
#define SCACHE_AT_N_ENTRIES  104
#define SCACHE_AT_MARKS      112
#define SCACHE_AT_CRC        120
#define SCACHE_HEADER_BYTES  124

/* Blocks, read one after the other. */
struct scache_cursor {
    off_t next;      /* where the next block begins */
    struct buf data; /* payload of the one before */
    size_t at;       /* its next byte */
};

struct scache {
    int fd;
    struct sha256 tree;
    int64_t reference; /* with the reboot rule applied */
    uint64_t n_entries;
    bool damaged;
    struct codec *codec;
    struct buf stored; /* a block as it lies in the file */
    struct scache_cursor stream;
    uint64_t stream_left; /* bytes of the groups that were not read yet */
    struct scache_cursor marks;
    uint64_t marks_left;
    struct scache_mark last_mark; /* what the next one is a difference to */
    struct buf frame;
    struct tree_arena *arena; /* of the group's entries */
    struct tree_arena *parts; /* of continued groups */
    struct tree_chunk *chunks;
    size_t cap_chunks;
    struct scache_mark group_marks[TREE_GROUP_ENTRIES_MAX];
};

#endif
