#ifndef STORAGE_TREE_H
#define STORAGE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/store.h"

/*
 * Trees: what a directory held, as a list of chunks (DESIGN.md, "Trees").
 *
 * A tree is a sequence of entries in path order (component by component, bytewise:
 * a directory comes right before all that is in it), the root itself first with the
 * empty path. Entries stand in groups. A group is encoded by itself, so an unchanged
 * stretch of a directory is the same bytes in every tree; it holds
 *   - the entries (metadata), and
 *   - the list of chunks whose bytes, one after another, are the contents of the
 *     group's files in order: contents only, less holes.
 * Files below TREE_BIG_FILE_BYTES share one chunk per group; a bigger one is a group
 * of its own, continued in further groups when its list of chunks is long.
 *
 * The encoded groups are cut into chunks again (STORE_KIND_META); the list of those is
 * the root, one chunk. The tree id is the root's chunk id: equal trees have equal ids.
 *
 * Everything read here may come from a hostile peer. A tree that a reader hands out
 * without error has: valid paths (no "", ".", "..", NUL, over-long or absolute ones),
 * strictly in order (hence no duplicates), each in a directory that came before;
 * hard links to earlier paths; lengths that add up. What a path may do to a file
 * system is extract.h's matter.
 */

#define TREE_PATH_MAX_BYTES    ((size_t)4095)
#define TREE_NAME_MAX_BYTES    ((size_t)255)
#define TREE_TARGET_MAX_BYTES  ((size_t)4095) /* text of a symbolic link */
#define TREE_OWNER_MAX_BYTES   ((size_t)255)
#define TREE_XATTR_NAME_MAX    ((size_t)255)
#define TREE_XATTR_VALUE_MAX   ((size_t)64 * 1024)
#define TREE_XATTRS_MAX        ((size_t)4096)       /* of one entry ... */
#define TREE_XATTRS_MAX_BYTES  ((size_t)512 * 1024) /* ... all together */
#define TREE_EXTENTS_MAX       ((size_t)262144)     /* pieces of data in a sparse file */
#define TREE_GROUP_ENTRIES_MAX ((size_t)4096)
#define TREE_GROUP_CHUNKS_MAX  ((size_t)4096)
#define TREE_GROUP_MAX_BYTES   ((size_t)8 * 1024 * 1024) /* encoded */
#define TREE_ROOT_CHUNKS_MAX   ((size_t)24576)
#define TREE_BIG_FILE_BYTES    ((uint64_t)128 * 1024)
#define TREE_SIZE_MAX          ((uint64_t)INT64_MAX)

enum tree_type {
    TREE_NONE = 0,
    TREE_DIR = 1,
    TREE_FILE = 2,
    TREE_SYMLINK = 3,
    TREE_FIFO = 4,
    TREE_SOCKET = 5,
    TREE_CHAR = 6,
    TREE_BLOCK = 7,
    TREE_WHITEOUT = 8, /* image layers: the name is gone here */
};

/* What went wrong with the source when the entry was made. Only TREE_CHANGED has
 * contents. */
enum tree_damage {
    TREE_WHOLE = 0,
    TREE_UNREADABLE = 1, /* no permission; of a directory: its entries are unknown */
    TREE_VANISHED = 2,   /* was listed, then gone */
    TREE_IO_ERROR = 3,
    TREE_CHANGED = 4, /* kept changing while it was read: may be torn */
};

struct tree_xattr {
    const char *name; /* NUL-terminated; ACLs are system.posix_acl_* */
    const uint8_t *value;
    size_t len;
};

struct tree_extent {
    uint64_t at; /* offset in the file */
    uint64_t len;
};

/* All pointers belong to whoever made the entry. Texts are NUL-terminated too. */
struct tree_entry {
    const char *path; /* relative to the root; "" is the root */
    size_t path_len;
    enum tree_type type;
    enum tree_damage damage;
    bool opaque;    /* directory of an image layer that hides what is below it */
    bool hard_link; /* one more name of what target, an earlier entry's path, names */
    uint32_t mode;  /* permission bits, 07777 */
    uint32_t uid;
    uint32_t gid;
    const char *user; /* "" where unknown */
    const char *group;
    int64_t mtime_ns;   /* since 1970, may be negative */
    uint64_t size;      /* files: as stat tells */
    uint64_t stored;    /* files: bytes of content in the tree; size less holes */
    const char *target; /* symbolic link's text or hard link's path; else NULL */
    size_t target_len;
    uint32_t dev_major;
    uint32_t dev_minor;
    const struct tree_xattr *xattrs; /* sorted by name */
    size_t n_xattrs;
    bool sparse;                       /* extents tell where the stored bytes go */
    const struct tree_extent *extents; /* ascending, apart, not empty */
    size_t n_extents;
};

struct tree_chunk {
    struct sha256 id;
    uint32_t len; /* 1..STORE_CHUNK_MAX_BYTES */
};

struct tree_group {
    const struct tree_entry *entries;
    size_t n_entries; /* 0 only if continues */
    const struct tree_chunk *chunks;
    size_t n_chunks;
    bool continues; /* chunks go on with the one file of the group before */
    bool more;      /* that file goes on in the next group */
};

struct tree_totals {
    uint64_t n_entries;
    uint64_t n_files;    /* regular files, hard links not counted */
    uint64_t bytes;      /* sum of size over those */
    uint64_t stored;     /* sum of stored: bytes of content to be read or written */
    uint64_t n_damaged;  /* entries with damage but TREE_CHANGED */
    uint64_t n_changed;  /* entries with TREE_CHANGED */
    uint64_t meta_bytes; /* of the encoded groups */
};

/* Path order: <0, 0, >0. "a" < "a/b" < "a-b". */
int tree_path_cmp(const char *a, size_t a_len, const char *b, size_t b_len);
/* Is this a path a tree may hold (see above)? The empty path is. */
bool tree_path_ok(const char *path, size_t len);
/* Is path dir itself or below it? */
bool tree_path_beneath(const char *path, size_t len, const char *dir, size_t dir_len);
/* The same extended attributes, which an entry holds in order? */
bool tree_same_xattrs(const struct tree_entry *a, const struct tree_entry *b);

/* ---- where chunks go and come from ---- */

/* put: bytes just made; keep what is needed, data is only lent. Called by one thread. */
struct tree_sink {
    void *ctx;
    int (*put)(void *ctx, enum store_kind kind, const struct sha256 *id, const void *data,
               size_t len, struct err *e);
};

/* get: append the chunk's bytes, verified, to out. From several threads at a time. */
struct tree_source {
    void *ctx;
    int (*get)(void *ctx, const struct sha256 *id, struct buf *out, struct err *e);
};

/* The store as either. */
struct tree_sink tree_sink_store(struct store *s);
struct tree_source tree_source_store(struct store *s);

/* ---- writing ---- */

struct tree_writer;
struct tree_arena; /* memory of one decoded group */

struct tree_writer *tree_writer_new(const struct tree_sink *sink);
void tree_writer_free(struct tree_writer *w); /* NULL is allowed */
/*
 * Append a group; entries must be valid and in order (asserted where it is cheap). A
 * group with more chunks than one may hold is one big file and is split. *encoded, if
 * not NULL, is appended what was written (the scan cache keeps a copy).
 */
int tree_writer_add(struct tree_writer *w, const struct tree_group *g,
                    struct buf *encoded, struct err *e) MUST_USE;
/* Put what is left and the root. The writer can then only be freed. */
int tree_writer_finish(struct tree_writer *w, struct sha256 *tree_id,
                       struct tree_totals *totals, struct err *e) MUST_USE;

/* ---- reading ---- */

struct tree_reader;

/* Read the root of tree_id. ERR_CORRUPT: not a tree, or not in the source. */
int tree_open(struct tree_reader **out, const struct sha256 *tree_id,
              const struct tree_source *source, struct err *e) MUST_USE;
/*
 * The same groups from a plain byte stream: read gives what there is, nothing at the end,
 * and is not called while a whole group is at hand.
 */
int tree_open_stream(struct tree_reader **out,
                     int (*read)(void *ctx, void *to, size_t n, size_t *got,
                                 struct err *e),
                     void *ctx, struct err *e) MUST_USE;
void tree_close(struct tree_reader *r); /* NULL is allowed */
/* The next group, valid until the next call; NULL at the end (then the totals agreed). */
int tree_next(struct tree_reader *r, const struct tree_group **g, struct err *e) MUST_USE;
/* The bytes the last group was decoded from, with their length before them. */
const uint8_t *tree_encoded(const struct tree_reader *r, size_t *len);
/* Take over the memory the last group lives in (tree_arena_free). */
struct tree_arena *tree_take_arena(struct tree_reader *r);
/* As the root tells; all zero for a stream. */
const struct tree_totals *tree_totals(const struct tree_reader *r);
/* Length of the root, which is one chunk; 0 for a stream. */
uint32_t tree_root_len(const struct tree_reader *r);
/* The chunks of the tree's own encoding, without the root. */
const struct tree_chunk *tree_meta_chunks(const struct tree_reader *r, size_t *n);

/*
 * Every chunk the tree needs: the root, its metadata, the contents; a chunk used
 * twice comes twice. visit stops the walk by returning -1 with *e filled.
 */
int tree_walk_chunks(const struct sha256 *tree_id, const struct tree_source *source,
                     int (*visit)(void *ctx, enum store_kind kind,
                                  const struct tree_chunk *c, struct err *e),
                     void *ctx, struct err *e) MUST_USE;

/* ---- one group, for modules of storage/ ---- */

void tree_group_encode(const struct tree_group *g, struct buf *out);
struct tree_arena *tree_arena_new(void);
void tree_arena_free(struct tree_arena *a);
size_t tree_arena_held(const struct tree_arena *a); /* bytes of memory */
/*
 * Decode exactly data[0..len) into *g, which lives in a until the next decode. Checks
 * all that can be told from the group alone. ERR_CORRUPT.
 */
int tree_group_decode(struct tree_arena *a, const void *data, size_t len,
                      struct tree_group *g, struct err *e) MUST_USE;

#endif
