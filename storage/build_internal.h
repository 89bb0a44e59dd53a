#ifndef STORAGE_BUILD_INTERNAL_H
#define STORAGE_BUILD_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "storage/arena.h"
#include "storage/build.h"
#include "storage/chunker.h"
#include "storage/scache.h"

/*
 * Inside a build. The calling thread sweeps (scan.h), forms groups in path order,
 * compares them with the scan cache, and writes the finished ones in the same order.
 * Groups that must be read go to workers; a big file is read and cut by one of them and
 * hashed by all, block by block. The calling thread works too when it has to wait.
 *
 * A group belongs to the calling thread until it is queued and again once it is
 * complete; in between to the worker that reads it (its chunks: under lock).
 */

#define BUILD_BLOCK_BYTES  ((size_t)2 * 1024 * 1024)
#define BUILD_BLOCK_CHUNKS (BUILD_BLOCK_BYTES / CHUNKER_MIN_BYTES + 1)
/* Groups formed and not yet written; bounds memory, not order. */
#define BUILD_GROUPS_MAX 128
/* Groups that the cache knows, of which the sink is asked together. */
#define BUILD_ASK_MAX 64

/* What goes with each tree_entry of a group. */
struct build_item {
    struct scan_entry st; /* path unset */
    bool known;           /* as the scan cache has it: metadata is complete */
    bool gone;            /* vanished: left out of what is shipped */
    bool lost_xattrs;     /* not all of them are in the entry */
};

struct build_group;

/* A stretch of a big file, cut; data is given back once it is hashed. */
struct build_block {
    struct build_block *next_queued;
    struct build_block *next; /* in its group, in order */
    struct build_group *group;
    uint8_t *data;
    size_t len;
    struct build_chunk chunks[BUILD_BLOCK_CHUNKS];
    size_t n;
    bool done;
};

struct build_group {
    struct build_group *next;        /* in path order */
    struct build_group *next_queued; /* to be read */
    struct arena mem;
    struct tree_entry *entries;
    struct build_item *items;
    size_t n;
    size_t cap;
    uint64_t weight;
    bool big; /* one file of TREE_BIG_FILE_BYTES or more */

    /* which cached group its content is, if it is just that */
    uint64_t cached_seq; /* 0: none yet */
    size_t cached_files; /* files with content in the cached group */
    size_t n_files;      /* ... and in this one, so far */
    bool differs;        /* some content is not of that group */
    bool content_known;  /* once closed: chunks is right, nothing to be read */
    bool meta_known;     /* so far: every entry is known */

    struct tree_chunk *chunks;
    size_t n_chunks;
    size_t cap_chunks;

    /* under lock */
    bool was_read; /* the reader is through with it */
    bool complete;
    struct build_block *blocks; /* not yet in chunks; in order */
    struct build_block **blocks_end;
};

/* Names of users and groups: read from /etc once, no NSS (the agent is static). */
struct build_owners;
struct build_owners *build_owners_new(void);
void build_owners_free(struct build_owners *o);
const char *build_user_name(struct build_owners *o, uint32_t uid); /* "" unknown */
const char *build_group_name(struct build_owners *o, uint32_t gid);

/* First paths of files with several names. */
struct build_links;
struct build_links *build_links_new(void);
void build_links_free(struct build_links *l);
/* The path under which (dev, ino) was seen first; NULL: it is now, as path. */
const char *build_links_seen(struct build_links *l, dev_t dev, ino_t ino,
                             const char *path);

struct build {
    int root_fd;
    const struct build_options *o;
    const struct build_sink *sink;
    struct build_report *r;
    uint64_t told_entries, told_bytes; /* of progress */
    bool is_root;                      /* we are: more xattrs can be seen */

    /* the calling thread's */
    struct scan *scan;
    uint64_t n_seen; /* entries */
    struct build_owners *owners;
    struct build_links *links;
    struct scache *cache;
    struct scache_group cached; /* the group the cursor is in */
    size_t cached_at;           /* next entry of it */
    uint64_t cached_seq;        /* its number, from 1 */
    size_t cached_files;        /* with content in it */
    bool cached_end;
    bool cache_damaged; /* it ended early: the rest is read */
    struct tree_writer *writer;
    struct scache_writer *cache_writer; /* NULL: none is written */
    int64_t reference;
    struct buf encoded;
    struct build_group *forming;
    struct build_group *first; /* formed, not written */
    struct build_group **last;
    size_t n_groups;
    struct build_group *asking[BUILD_ASK_MAX]; /* among those; not yet asked about */
    size_t n_asking;

    pthread_mutex_t lock;
    pthread_cond_t work; /* for workers: something to do, or room for blocks */
    pthread_cond_t done; /* for the calling thread: a group may be complete */
    struct build_group *queue;
    struct build_group **queue_end;
    size_t n_queued;
    struct build_block *blocks;
    struct build_block **blocks_end;
    size_t n_blocks; /* in memory, queued or being hashed */
    bool stop;
    bool failed;
    struct err why;
    uint64_t read_bytes;
    pthread_t *threads;
    unsigned n_threads;
    unsigned max_threads;
    struct buf small; /* the calling thread's, when it reads */
};

/* ---- build_group.c: the calling thread ---- */

int build_take(struct build *b, const struct scan_entry *entry, struct err *e) MUST_USE;
/* The group being formed, if any, is full: read it or, if the cache knows it, do not. */
int build_close_group(struct build *b, struct err *e) MUST_USE;
/* Ask the sink about those that wait to be asked about. */
int build_ask(struct build *b, struct err *e) MUST_USE;
void build_group_free(struct build_group *g);
/* What stat says, into the entry (path, links and xattrs aside). Any thread. */
void build_fill_entry(const struct build *b, struct tree_entry *to,
                      const struct scan_entry *from);
void build_group_chunk(struct build_group *g, const struct build_chunk *c);

/* ---- build_emit.c: the calling thread ---- */

/* Write finished groups in order; with all, also wait for those that are not. */
int build_emit(struct build *b, bool all, struct err *e) MUST_USE;

/* ---- build_work.c: threads ---- */

void build_queue_read(struct build *b, struct build_group *g);
/* Work, or wait, until g is complete or the build failed. */
void build_wait(struct build *b, const struct build_group *g);
bool build_is_complete(struct build *b, const struct build_group *g);
void build_fail(struct build *b, const struct err *why);
bool build_failed(struct build *b, struct err *e);
void build_stop_threads(struct build *b);
/* A block to fill; hashes others while too many are in memory. NULL: the build failed. */
struct build_block *build_block_new(struct build *b, struct build_group *g);
void build_block_free(struct build *b, struct build_block *k); /* unused after all */
void build_block_queue(struct build *b, struct build_block *k);
/* Wait for the blocks of g that were queued, and forget them: it could not be read. */
void build_drop_blocks(struct build *b, struct build_group *g);
int build_put(struct build *b, struct build_chunk *chunks, size_t n,
              struct err *e) MUST_USE;

/* ---- build_read.c: any thread ---- */

/* small is the thread's own buffer for files that share a chunk. */
int build_read_group(struct build *b, struct build_group *g, struct buf *small,
                     struct err *e) MUST_USE;
/*
 * The entry at i could not be read: a damaged entry, left out, or (-1) the end of the
 * build, as its policy says.
 */
int build_damaged(struct build *b, struct build_group *g, size_t i, int sys_errno,
                  struct err *e) MUST_USE;
/* What the open file is by now, unless the scan cache's word for it still stands. */
void build_fill_file(struct build *b, struct build_group *g, size_t i, int fd,
                     const struct scan_entry *st);
/* stat of an open file as the scan would give it. -1 with errno. */
int build_fstat(int fd, struct scan_entry *to);
/*
 * The same before reading where others may write: the times of a file tell of a write
 * only if the clock that sets them has ticked since the last one, so a file that is
 * younger is waited for, a tick at most, and so is a write that is under way. *settled:
 * it was old enough then, and what is written from now on changes its times.
 */
int build_fstat_settled(const struct build *b, int fd, struct scan_entry *to,
                        bool *settled);
bool build_same_file(const struct scan_entry *a, const struct scan_entry *b);
bool build_same_content(const struct scan_entry *before, const struct scan_entry *after);

/* ---- build_big.c: any thread ---- */

/* Read, cut and queue the contents of the group's one file, open as fd. */
int build_read_big(struct build *b, struct build_group *g, int fd,
                   struct err *e) MUST_USE;

/* ---- build_xattr.c ---- */

/* Of fd, or (fd opened by O_PATH) by way of /proc. Allocated in mem, sorted. false: not
 * all that are to be kept. */
bool build_read_xattrs(int fd, bool by_proc, struct arena *mem, struct tree_entry *entry);

#endif
