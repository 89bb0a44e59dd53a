#ifndef STORAGE_STORE_INTERNAL_H
#define STORAGE_STORE_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "storage/codec.h"
#include "storage/index.h"
#include "storage/pack.h"
#include "storage/store.h"

/*
 * The inside of a struct store, for store*.c, manifest.c, snap.c, gc.c, fsck.c and
 * rebuild.c.
 *
 * Locks, in the order in which they may be taken: claim_mu, mu, then the index's own.
 * fd_mu and codec_mu are taken alone.
 */

/* ---- files of a store that more than one source file names ---- */

#define STORE_FORMAT_FILE "format"
#define STORE_CLOCK_FILE  "clock" /* what was last known of the wall clock */

/* ---- the lock file: what its bytes mean (open file description locks) ---- */

enum store_lock_byte {
    STORE_LOCK_ALL =
        0,             /* shared: the store is open. Exclusive: the index is being made */
    STORE_LOCK_GC = 1, /* exclusive: a gc or fsck is running */
    STORE_LOCK_CLAIM = 2, /* exclusive: claims are being changed (also claim_mu) */
};
/* Shared lock on byte STORE_LEASE_BASE + g: a handle that saw generation g when it
 * opened. */
#define STORE_LEASE_BASE ((int64_t)1 << 32)

/* ERR_BUSY if not wait and somebody holds it. */
int store_lock(int lock_fd, int64_t byte, bool exclusive, bool wait,
               struct err *e) MUST_USE;
void store_unlock(int lock_fd, int64_t byte);
/* Is a lease of a generation below gen held through another handle? Then *one is such. */
int store_leases_below(int lock_fd, uint64_t gen, bool *held, uint64_t *one,
                       struct err *e) MUST_USE;

/* ---- what has been put and is not in the index yet ---- */

enum pending_state { PENDING_NONE = 0, PENDING_CLAIMED, PENDING_WRITTEN };

struct pending {
    struct sha256 id;
    enum pending_state state;
    uint32_t slot; /* own pack */
    uint32_t offset;
    uint32_t stored_len;
    uint32_t raw_len;
    uint8_t codec;
};

struct pending_table {
    struct pending *v; /* open addressing; state NONE is free */
    size_t cap;        /* a power of two, or 0 */
    size_t n;
};
struct pending *pending_find(const struct pending_table *t, const struct sha256 *id);
/* id must not be there. The pointer is valid until the next add or drop. */
struct pending *pending_add(struct pending_table *t, const struct sha256 *id);
/* Drop all that lie in own packs with slot < below. */
void pending_drop_slots(struct pending_table *t, uint32_t below);
void pending_free(struct pending_table *t);

/* ---- packs of this handle ---- */

/* Packs of this handle are numbered from OWN_PACK on; those of the index lie below. */
#define OWN_PACK ((uint32_t)1 << 31)

struct own_pack {
    struct pack_name name;
    struct pack_writer *w; /* NULL once it is in the index, or discarded */
    uint32_t in_flight;    /* entries reserved and not yet written */
    bool keep;             /* the index may know it, even if its commit failed */
};

struct read_fd {
    uint32_t pack; /* 0: free */
    int fd;
    uint32_t users;
    uint64_t last_use;
};
#define READ_FDS 32

#define CODECS 16

struct store {
    char *dir;
    int dir_fd;
    int packs_fd;
    int snaps_fd;
    int lock_fd;
    uint64_t lease_gen; /* 0: no lease */
    struct index *ix;

    pthread_mutex_t mu; /* guards from here on */
    pthread_cond_t changed;
    struct pending_table pending;
    struct own_pack *own; /* slots [0, n_own); of those [0, n_sealed) are sealed, */
    uint32_t n_own, own_cap;
    uint32_t n_sealed;
    uint32_t n_done;    /* [0, n_done) are in the index */
    bool filling;       /* the last slot takes entries */
    bool sealing;       /* somebody seals slot n_sealed */
    bool indexing;      /* somebody takes sealed packs into the index */
    uint32_t n_claimed; /* chunks between claim and written */
    bool gate;          /* a commit waits for n_claimed to become 0: no new claims */
    bool flusher_runs;  /* a thread seals full packs */
    bool flusher_stop;
    pthread_t flusher;
    bool failed; /* no put or commit any more; why: */
    struct err why;
    struct store_stats stats;

    pthread_mutex_t claim_mu; /* a file lock does not part threads of one handle */

    pthread_mutex_t fd_mu;
    struct read_fd fds[READ_FDS];
    uint64_t fd_clock;

    pthread_mutex_t codec_mu;
    struct codec *codecs[CODECS];
    size_t n_codecs;
};

/* A codec for one thread's use, to be given back. */
struct codec *store_codec_take(struct store *s);
void store_codec_give(struct store *s, struct codec *c);

/* Stop the flusher and drop what is not committed. */
void store_put_end(struct store *s);
void store_read_end(struct store *s);

/*
 * A small file of a store; as file_read_at, but a disk that fails to read is asked again.
 * What it does not give back then is damage (pack_is_damage).
 */
int store_read_file(int dir_fd, const char *name, size_t max_bytes, struct buf *out,
                    struct err *e) MUST_USE;

/* Is there a store of the format that this program knows? ERR_VERSION, ERR_CORRUPT. */
int store_check_format(const char *dir, struct err *e) MUST_USE;

#endif
