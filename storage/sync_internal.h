#ifndef STORAGE_SYNC_INTERNAL_H
#define STORAGE_SYNC_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/build.h"
#include "storage/codec.h"
#include "storage/part.h"
#include "storage/store.h"
#include "storage/sync.h"
#include "storage/tree.h"

/*
 * Frames: u32 length of the payload, u8 type, 3 zero bytes, payload.
 *
 *   OFFER    ids, 32 bytes each
 *   WANT     u64 number of the first id it is about (counted over all OFFERs), u32 how
 *            many ids, then that many bits, lowest first
 *   CHUNK    u8 kind, u8 codec, 2 zero bytes, u32 raw length, u32 stored length, id,
 *            then the stored bytes; as many as fit
 *   MORE     the stored bytes go on
 *   TREE     id: all that was asked for was sent, is it whole?
 *   MISSING  u8 last, 7 zero bytes, ids that the tree needs and that are not there
 *   UNKNOWN  id: not even the tree's root is there
 *   DONE     id: whole and committed
 *   FAIL     error code's name, a newline, the message; to a sender that wants it also
 *            a 0x1c and the message's form (base/form.h), and where it says what helps a
 *            0x1c more
 */
enum sync_frame {
    SYNC_FRAME_NONE = 0,
    SYNC_OFFER = 1,
    SYNC_WANT = 2,
    SYNC_CHUNK = 3,
    SYNC_MORE = 4,
    SYNC_TREE = 5,
    SYNC_MISSING = 6,
    SYNC_UNKNOWN = 7,
    SYNC_DONE_FRAME = 8,
    SYNC_FAIL = 9,
};

#define SYNC_HEADER_BYTES       ((size_t)8)
#define SYNC_CHUNK_HEADER_BYTES ((size_t)12 + SHA256_LEN)
#define SYNC_WANT_HEADER_BYTES  ((size_t)12)
#define SYNC_IDS_PER_FRAME      ((size_t)4096)
#define SYNC_FAIL_MAX_BYTES     ((size_t)2048)
#define SYNC_FAIL_TEXT_MAX      ((size_t)1024) /* without form */
#define SYNC_FAIL_FORM          '\x1c'

/* Append a header; the payload follows. */
void sync_put_header(struct buf *out, enum sync_frame type, size_t len);
/* Append a whole FAIL frame. */
void sync_put_fail(struct buf *out, const struct err *why, bool form);

/*
 * Take the next whole frame from the front of in: *got false when there is none yet.
 * *payload lies in in, from *at on; *at moves behind the frame. ERR_CORRUPT: too long or
 * malformed.
 */
int sync_next_frame(const struct buf *in, size_t *at, enum sync_frame *type,
                    const uint8_t **payload, size_t *len, bool *got,
                    struct err *e) MUST_USE;

/* ---- the sender's chunks ---- */

enum sync_chunk_state {
    SYNC_CHUNK_NONE = 0,
    SYNC_CHUNK_FRESH,   /* not offered yet */
    SYNC_CHUNK_OFFERED, /* waiting for the answer */
    SYNC_CHUNK_WANTED,  /* to be sent, content not at hand */
    SYNC_CHUNK_QUEUED,  /* to be sent, content at hand */
    SYNC_CHUNK_SENT,
    SYNC_CHUNK_THERE, /* the receiver has it */
};

struct sync_chunk {
    struct sha256 id;
    uint32_t raw_len;
    uint32_t stored_len; /* also of what is not at hand, where it is known; else 0 */
    uint8_t kind;        /* enum store_kind */
    uint8_t codec;       /* of stored */
    uint8_t state;
    bool known;      /* from the scan cache: part of the cache's tree */
    uint8_t *stored; /* encoded content; NULL: not at hand */
};

/* Chunks by id, numbered in order of coming; numbers stay. Not locked. */
struct sync_table {
    struct sync_chunk *v;
    size_t n;
    size_t cap;
    uint32_t *slots; /* number + 1; 0: free */
    size_t n_slots;  /* power of two */
};

void sync_table_free(struct sync_table *t);
/* The chunk of that id, added (FRESH, no content) if it was not there. */
size_t sync_table_add(struct sync_table *t, const struct sha256 *id, bool *added);
/* NULL if not there. */
struct sync_chunk *sync_table_find(const struct sync_table *t, const struct sha256 *id);

/* ---- the sender ---- */

struct sync_numbers { /* a queue of chunk numbers */
    size_t *v;
    size_t n;
    size_t at; /* first not yet taken */
    size_t cap;
};

void sync_numbers_add(struct sync_numbers *q, size_t number);
bool sync_numbers_take(struct sync_numbers *q, size_t *number);
void sync_numbers_free(struct sync_numbers *q);

struct sync_send {
    struct sync_send_options o;
    /* One of both is the source; they stay the caller's. */
    int root_fd;
    const struct build_options *build;
    struct store *store;

    pthread_t thread;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t moved; /* something the threads may wait for has changed */
    bool abort;

    struct sync_table chunks;
    struct sync_table before; /* what changed big files were made of */
    size_t held_bytes;        /* stored content of data chunks at hand */
    struct codec **codecs;    /* idle ones */
    size_t n_codecs;

    bool built; /* the tree is made */
    struct sha256 tree;
    struct build_report report;
    bool has_report;
    bool failed;
    struct err why;

    bool begun;
    bool has_base;
    struct sha256 base;
    bool base_holds; /* built, and what the cache knew is the base's */

    size_t next_fresh;             /* chunks below were dealt with by sync_plan */
    struct sync_numbers held_back; /* with a base: not to be offered before the end */
    struct sync_numbers to_offer;
    struct sync_numbers offered; /* in order of offering; at: first not yet answered */
    struct sync_numbers to_send; /* QUEUED */
    struct sync_numbers wanted;  /* WANTED: content to be fetched */
    size_t n_wanted;             /* how many chunks are in that state */
    uint64_t n_answered;         /* ids of offers that were answered */
    uint64_t pushed_bytes;
    size_t sending; /* chunk half sent, or SIZE_MAX */
    size_t sending_at;

    bool has_room; /* the receiver's is known: */
    uint64_t room_bytes;
    uint64_t weigh_at_bytes; /* sent: what it lacks is weighed (again) */
    bool sized;              /* how long that is, encoded, was looked up in the store */

    bool said_tree;
    unsigned n_rounds; /* of MISSING */
    bool done;
    struct buf in;
    struct buf out;
    size_t out_at; /* bytes of out already gone */
    struct sync_stats stats;
};

#define SYNC_ROUNDS_MAX 16u

/* A codec for this thread, from the idle ones; give it back. Takes the lock itself. */
struct codec *sync_codec_take(struct sync_send *s);
void sync_codec_give(struct sync_send *s, struct codec *c);
/*
 * Content of a chunk came (again): keep it, and queue it if it is wanted. Waits for room
 * in the window if may_wait. Takes the lock itself; stored is taken over (NULL: content
 * that was of no use, and only what there is of it is noted). ERR_BUSY: aborted.
 */
int sync_content(struct sync_send *s, enum store_kind kind, const struct sha256 *id,
                 size_t raw_len, enum store_codec codec, uint8_t *stored,
                 size_t stored_len, bool may_wait, struct err *e) MUST_USE;

/* The thread of the sender (sync_source.c): make the tree, then fetch what is wanted. */
void *sync_source_run(void *sender);
/* With the lock held: does the receiver know of all chunks of a tree that is made, and
 * has it said which of them it lacks? */
bool sync_all_answered(const struct sync_send *s);
/* With the lock held: no more; wakes everybody. */
void sync_send_fail_locked(struct sync_send *s, const struct err *why);

#endif
