#ifndef STORAGE_SCACHE_INTERNAL_H
#define STORAGE_SCACHE_INTERNAL_H

#include "base/buf.h"
#include "base/clock.h"
#include "storage/scache.h"

/*
 * The file (DESIGN.md, "Scan caches"): a header, then blocks {u32 len, u32 crc32c,
 * payload}; their payloads together are the encoded groups, then the marks. All but the
 * last block are full, so any place in the payload is found by arithmetic.
 */
#define SCACHE_MAGIC       "GPRSCAN1"
#define SCACHE_MAGIC_LEN   8
#define SCACHE_BLOCK_HEAD  8
#define SCACHE_BLOCK_BYTES ((size_t)64 * 1024)
#define SCACHE_MARK_BYTES  24

#define SCACHE_AT_BOOT       8
#define SCACHE_AT_REFERENCE  48
#define SCACHE_AT_WRITTEN    56
#define SCACHE_AT_TREE       64
#define SCACHE_AT_STREAM_LEN 96
#define SCACHE_AT_N_ENTRIES  104
#define SCACHE_AT_CRC        112
#define SCACHE_HEADER_BYTES  116

/* A place in the payload, read block by block. */
struct scache_cursor {
    uint64_t at;    /* next byte of the payload */
    uint64_t end;   /* where its section ends */
    uint64_t block; /* number of the block in data, + 1; 0: none */
    struct buf data;
};

struct scache {
    int fd;
    struct sha256 tree;
    int64_t reference; /* with the reboot rule applied */
    uint64_t n_entries;
    bool damaged;
    struct scache_cursor stream;
    struct scache_cursor marks;
    struct buf frame;
    struct tree_arena *arena; /* of the group's entries */
    struct tree_arena *parts; /* of continued groups */
    struct tree_chunk *chunks;
    size_t cap_chunks;
    struct scache_mark group_marks[TREE_GROUP_ENTRIES_MAX];
};

#endif
