#ifndef STORAGE_STORE_H
#define STORAGE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"

/*
 * The chunk store: immutable byte strings ("chunks") named by their SHA-256.
 *
 * Shipped code, images, snapshots and saved images are all lists of chunk ids
 * over one store, so bytes they share are kept, and sent, once. One store
 * directory belongs to one renter: a hash of somebody else is not there.
 *
 * Life of a chunk. It is put, made durable by store_commit, and then lives as
 * long as a manifest (storage/manifest.h) refers to it. An open struct store is
 * also a lease: until it is closed, no gc takes away a chunk that
 *   - was put through it, or for which it answered "here" (store_put found it,
 *     store_has, store_locate), or
 *   - is part of a manifest that was read *after* the store was opened and had
 *     its data then, whatever becomes of that manifest meanwhile.
 * So: open, put what is missing, commit, write the manifest, close. The order
 * commit -> manifest is the durability rule of the whole system. A lease ends with
 * its process; nothing has to be cleaned up, and no clock is involved.
 *
 * Processes and threads. Several processes may have one store open; each fills
 * packs of its own and only the short index commit is serialised. All functions
 * but store_open and store_close may be called from several threads on one
 * struct store at once: hashing, compressing and file I/O happen outside its
 * locks, so puts from N threads use N cores (storage/putq.h does it for you).
 * Do not use a struct store across fork.
 *
 * Files and formats: storage/DESIGN.md.
 */

struct store; /* opaque */

/* Chunks longer than this are refused on the way in and on the way out. */
#define STORE_CHUNK_MAX_BYTES ((size_t)1024 * 1024)
/* Ids in one call of store_has and store_locate. */
#define STORE_BATCH_MAX ((size_t)1 << 24)

/* How the bytes of a chunk are written. The numbers are part of the pack and wire
 * formats. */
enum store_codec {
    STORE_CODEC_NONE = 0, /* not a codec */
    STORE_CODEC_RAW = 1,  /* as they are */
    STORE_CODEC_ZSTD = 2, /* one zstd frame, shorter than the chunk, no dictionary */
};

/* What a chunk is for. Says nothing about its name: equal bytes are one chunk. */
enum store_kind {
    STORE_KIND_NONE = 0,
    STORE_KIND_DATA = 1, /* contents of files */
    STORE_KIND_META = 2, /* trees, lists of ids: kept twice in a pack, since losing one
                            such chunk would lose many files */
};

struct store_options {
    bool must_exist; /* ERR_NOT_FOUND instead of making a new store */
    bool scratch;    /* a new one is thrown away soon: it holds no disk back for gc */
};

/*
 * Open the store in dir and take a lease. A missing or empty dir (also its
 * parents) becomes an empty store unless o says otherwise; o may be NULL.
 * A missing index is rebuilt from the packs first (other openers then wait). *out is
 * the caller's, to be given to store_close. Costs well under a millisecond when all
 * is there. ERR_CORRUPT: the index is damaged (see gpurun fsck) or dir holds
 * something else; ERR_VERSION: made by a newer gpurun. Nothing was changed then.
 */
int store_open(struct store **out, const char *dir, const struct store_options *o,
               struct err *e) MUST_USE;

/*
 * Give up the lease and free s. What was put and not committed is dropped. No
 * other thread may still be using s. NULL is allowed.
 */
void store_close(struct store *s);

/* The directory as given to store_open, and a descriptor of it; both stay s's. */
const char *store_dir(const struct store *s);
int store_dir_fd(const struct store *s);

/*
 * Add the chunk data[0..len), or find that it is there. Sets *id to its name
 * and, if added is not NULL, *added to whether it was new. data stays the caller's.
 * A crash may lose it until store_commit has returned 0. ERR_RANGE: len is 0
 * or above STORE_CHUNK_MAX_BYTES. ERR_SPACE, ERR_SYSTEM: not added, and every
 * later put and commit of this s fails too (what was committed stands).
 */
int store_put(struct store *s, enum store_kind kind, const void *data, size_t len,
              struct sha256 *id, bool *added, struct err *e) MUST_USE;

/* As store_put with an id computed elsewhere: ERR_CORRUPT if data is not that chunk. */
int store_put_checked(struct store *s, enum store_kind kind, const struct sha256 *id,
                      const void *data, size_t len, bool *added, struct err *e) MUST_USE;

/*
 * As store_put_checked for a chunk that comes encoded, from the wire or another
 * store: it is decoded into at most raw_len <= STORE_CHUNK_MAX_BYTES bytes, hashed, and
 * then kept as it came, without compressing again. ERR_RANGE: a length is out of
 * bounds; ERR_CORRUPT: not an encoding of chunk id; ERR_INVALID: unknown codec. raw, if
 * not NULL, is filled with the chunk's bytes, unless they are data's (STORE_CODEC_RAW).
 */
int store_put_encoded(struct store *s, enum store_kind kind, const struct sha256 *id,
                      enum store_codec codec, size_t raw_len, const void *data,
                      size_t len, struct buf *raw, bool *added, struct err *e) MUST_USE;

/*
 * Make all that was put through s survive a crash of the machine. Costs nothing
 * when nothing was added. Long sessions are committed in between by themselves
 * (some hundred MB apart), which bounds memory and makes interrupted uploads
 * resumable; only after this call is everything safe. On failure some of it may be
 * durable; s can then only be read from and closed.
 */
int store_commit(struct store *s, struct err *e) MUST_USE;

/*
 * Which of ids[0..n) are here: bit i of bits (bits[i / 8] >> (i % 8) & 1) is set
 * for those. bits has (n + 7) / 8 bytes, all written. Any order, repeats
 * allowed; sorted by sha256_cmp is fastest. What is here stays while s is open.
 */
int store_has(struct store *s, const struct sha256 *ids, size_t n, uint8_t *bits,
              struct err *e) MUST_USE;

/* Where a chunk lies. Valid while s is open (gc may move it; reading follows). */
struct store_loc {
    uint64_t offset;     /* of the entry in its pack */
    uint32_t pack;       /* 0: the chunk is not here */
    uint32_t stored_len; /* bytes as encoded */
    uint32_t raw_len;    /* bytes of the chunk */
    uint8_t codec;       /* enum store_codec */
};

/* Look up ids[0..n) at once, as store_has; locs has room for n. */
int store_locate(struct store *s, const struct sha256 *ids, size_t n,
                 struct store_loc *locs, struct err *e) MUST_USE;

/* Order of locations by pack and offset: reading in it is sequential. */
int store_loc_cmp(const struct store_loc *a, const struct store_loc *b);

/*
 * Tell the kernel that the chunks at locs[0..n) will be read soon (neighbours
 * become one request). A hint: never fails, never waits.
 */
void store_prefetch(struct store *s, const struct store_loc *locs, size_t n);

/*
 * Read the chunk id at loc (from store_locate, loc->pack != 0) into
 * to[0..loc->raw_len) and check it against id. ERR_NOT_FOUND: not here any more.
 * ERR_CORRUPT: the stored bytes are damaged and no second copy helped; `to` is
 * undefined then.
 */
int store_read(struct store *s, const struct sha256 *id, const struct store_loc *loc,
               void *to, struct err *e) MUST_USE;

/*
 * Append the chunk as it is stored (loc->codec, loc->stored_len bytes) to out, for
 * sending: its entry is checked, its bytes are not decoded (the receiver hashes
 * them). On failure out is as it was. Errors as store_read.
 */
int store_read_encoded(struct store *s, const struct sha256 *id,
                       const struct store_loc *loc, struct buf *out,
                       struct err *e) MUST_USE;

/* Locate and read one chunk, appended to out. ERR_NOT_FOUND if it is not here. */
int store_get(struct store *s, const struct sha256 *id, struct buf *out,
              struct err *e) MUST_USE;

/* What is in the store (committed) and what this s has done. */
struct store_stats {
    uint64_t n_packs;
    uint64_t n_chunks;
    uint64_t raw_bytes;    /* of all chunks, before compressing */
    uint64_t stored_bytes; /* of all chunks, as encoded */
    uint64_t pack_bytes;   /* of the pack files, with headers and what gc will free */
    uint64_t put_chunks;   /* through this s: offered ... */
    uint64_t put_raw_bytes;
    uint64_t new_chunks; /* ... and really added */
    uint64_t new_raw_bytes;
    uint64_t new_stored_bytes;
};
int store_stats(struct store *s, struct store_stats *out, struct err *e) MUST_USE;

#endif
