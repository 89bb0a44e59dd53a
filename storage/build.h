#ifndef STORAGE_BUILD_H
#define STORAGE_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/scan.h"
#include "storage/store.h"
#include "storage/tree.h"

/*
 * From a directory to a tree and its chunks: one sweep, in which only groups with a
 * changed file are read; several threads read, cut and hash. The same code serves
 * the host (chunks go into a store) and the client (they are offered to a host).
 */

enum build_policy {
    BUILD_NONE = 0,
    BUILD_SHIP,     /* unreadable: refused by name, nothing is made */
    BUILD_SNAPSHOT, /* unreadable or vanished: a damaged entry, and on */
};

struct build_chunk {
    const uint8_t *data; /* lent for the call */
    uint32_t len;
    struct sha256 id;
};

/* A group whose chunks the scan cache knows; nothing of it was read. */
struct build_known {
    const struct tree_chunk *chunks;
    size_t n;
    bool need_data; /* false; the sink sets it to have the files read and put after all */
};

/* Where the chunks go. Called from several threads at a time, and may block. */
struct build_sink {
    void *ctx;
    /*
     * Bytes just read from the directory (STORE_KIND_DATA: put fills in the ids), or of
     * the tree itself (STORE_KIND_META: ids are filled in).
     */
    int (*put)(void *ctx, enum store_kind kind, struct build_chunk *chunks, size_t n,
               struct err *e);
    /*
     * Many at a time, since asking costs the more the more often it is done; by the
     * caller's thread. NULL: the data is never needed.
     */
    int (*known)(void *ctx, struct build_known *groups, size_t n, struct err *e);
    /*
     * A big file that is to be read again was made of these chunks in the scan cache's
     * tree; most of them are likely to come again. By the caller's thread, before any of
     * the file is put. NULL: of no use.
     */
    void (*was)(void *ctx, const struct tree_chunk *chunks, size_t n);
};

/*
 * Chunks into a store, compressed by the threads that read. held: the chunks of the
 * scan cache's tree are known to be kept (a manifest read after store_open holds them).
 */
struct build_store_sink {
    struct store *store;
    bool held;
};
struct build_sink build_sink_store(struct build_store_sink *s);

struct build_options {
    enum build_policy policy;
    struct scan_options scan;
    /*
     * Scan cache: read if it is there and sound, replaced on success. NULL: none.
     * May be lost or stale in any way without harm. One build per file at a time.
     */
    const char *cache_path;
    bool no_cache_write; /* only read it */
    bool live; /* processes may be writing in the directory: trust less, cache less */
    unsigned n_threads; /* 0: one per core, at most 8 */
    /*
     * Now and then, from the calling thread: what was looked at so far, bytes of content,
     * and how many entries there were when the scan cache was written (0: there is none).
     */
    void (*progress)(void *ctx, uint64_t n_entries, uint64_t bytes, uint64_t n_before);
    void *progress_ctx;
};

#define BUILD_TOP 10
struct build_named {
    char *path;
    enum tree_damage damage;
    int sys_errno;
    uint64_t bytes;
};

struct build_report {
    struct sha256 tree;
    struct tree_totals totals;
    /* What has the latest change time, files before directories: where two trees of a
     * directory differ, the one that did it is most likely this. "" is the root. */
    char *newest;
    int64_t newest_ctime_ns;
    uint64_t read_bytes;      /* of content really read */
    uint64_t known_groups;    /* taken from the cache */
    uint64_t n_lost_xattrs;   /* entries with more attributes than a tree can hold */
    bool had_cache;           /* a sound cache was found ... */
    struct sha256 cache_tree; /* ... which was of this tree */
    /* The first ones; TREE_CHANGED included, and TREE_WHOLE that lost attributes. */
    struct build_named damaged[BUILD_TOP];
    size_t n_damaged;
    struct build_named largest[BUILD_TOP];
    size_t n_largest;
    struct scan_skipped skipped; /* owned by the report */
};

/*
 * Make the tree of the directory root_fd. *r is filled on success (build_report_free).
 * ERR_DENIED: BUILD_SHIP and an unreadable file, or a tree that is not to be shipped
 * (scan.h); errors of the sink and of the cache's directory as they are. On failure
 * the cache is as it was.
 */
int build_tree(int root_fd, const struct build_options *o, const struct build_sink *sink,
               struct build_report *r, struct err *e) MUST_USE;
void build_report_free(struct build_report *r);

/*
 * Read chunks again that were made from the directory root_fd (a peer wants what was
 * never read): entries and chunks are one whole group of a tree (scache.h). Each chunk
 * that wanted says yes to is read, checked against its id and given to emit. ERR_BUSY:
 * a file is not as it was (named, build_set_changed); build again.
 */
int build_reread(int root_fd, const struct tree_entry *entries, size_t n_entries,
                 const struct tree_chunk *chunks, size_t n_chunks,
                 bool (*wanted)(void *ctx, const struct tree_chunk *c),
                 int (*emit)(void *ctx, const struct build_chunk *c, struct err *e),
                 void *ctx, struct err *e) MUST_USE;
/* ERR_BUSY: that path, and so the tree, is not what it was when it was read. -1. */
int build_set_changed(const char *path, struct err *e);

#endif
