#ifndef METER_JOURNAL_H
#define METER_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/sign.h"
#include "meter/grant.h"
#include "meter/offer.h"
#include "meter/usage.h"

/*
 * The usage journal of one session: frames, each a record and its crc, chained by
 * sha256, cumulative, with checkpoints signed by the host (meter/DESIGN.md). The first
 * record holds offer and grant, the last is the receipt (receipt.h): so a whole
 * journal *is* the self-contained receipt file, and a copy of its bytes is worth
 * as much as the original.
 *
 * This is the reading side, for the client's copy, for books, for verification and
 * for the host after a crash. It works on bytes as they arrive, in pieces of any
 * size, with memory that does not grow with the session.
 */
#define JOURNAL_FRAME_HEAD   19 /* "#LLLLLLLL CCCCCCCC\n", lower-case hex */
#define JOURNAL_RECORD_MAX   ((size_t)4 << 20)
#define JOURNAL_TICK_S       10  /* at least one record in so long */
#define JOURNAL_CHECKPOINT_S 60  /* at least one signature in so long */
#define JOURNAL_STRETCH_S    300 /* the host draws on the grant in stretches */
#define JOURNAL_DEVICES_MAX  64
#define JOURNAL_WORD_MAX     64

enum journal_kind {
    JOURNAL_NONE = 0,
    JOURNAL_OPEN,       /* first: offer, grant, devices */
    JOURNAL_TICK,       /* time passed */
    JOURNAL_STATE,      /* state changes, with its reason */
    JOURNAL_CHECKPOINT, /* signed by the host */
    JOURNAL_EXTEND,     /* a further grant */
    JOURNAL_COSIGN,     /* a countersignature or acknowledgement came back */
    JOURNAL_REOPEN,     /* another process took over after a crash */
    JOURNAL_RECEIPT,    /* last: signed */
    JOURNAL_KIND_COUNT
};
const char *journal_kind_name(enum journal_kind k);

struct journal_device {
    char class_name[CARD_WORD_MAX + 1];
    char type[CARD_WORD_MAX + 1];
    char uuid[JOURNAL_WORD_MAX + 1];
};

/* What one record says, whatever its kind. */
struct journal_record {
    enum journal_kind kind;
    int64_t seq; /* 1, 2, 3, … */
    struct usage_moment at;
    enum usage_state state;            /* from this record on */
    struct usage_totals total;         /* up to this record */
    int64_t busy_ns;                   /* device busy so far as NVML says; -1 unknown */
    int64_t held_bytes;                /* bytes a snapshot would have to keep */
    int64_t keep_fen;                  /* reserved for keeping them */
    int64_t drawn_fen;                 /* drawn on the grant so far, in stretches */
    int64_t cost_fen;                  /* charge so far */
    struct sha256 prev;                /* of the record before; zeros in the first */
    struct sha256 hash;                /* of this record's bytes */
    char reason[JOURNAL_WORD_MAX + 1]; /* of a state change; "" else */
};

/* A point that the host has signed. */
struct journal_point {
    int64_t seq; /* 0: none yet */
    struct sha256 hash;
    uint64_t end_bytes; /* offset of the first byte after its frame */
    int64_t device_s;
    int64_t setup_s;
    int64_t cost_fen;
};

struct journal_reader; /* one thread at a time */

/*
 * host: the pinned key of the host; NULL takes it from the first record (then the
 * caller compares journal_reader_offer()->host). lease: the lease expected; NULL for any.
 */
struct journal_reader *journal_reader_new(const struct sign_public *host,
                                          const char *lease);
void journal_reader_free(struct journal_reader *r);

/*
 * With this on, every signature is checked as it comes. Off (the default), the chain
 * covers what a later signature covers: the receipt's is checked, and by
 * journal_reader_settle the last checkpoint's and, of each who countersigns, that of the
 * countersignature whose seconds count.
 */
void journal_reader_check_all(struct journal_reader *r, bool all);

/*
 * With this on, no signature is computed: everything else is checked as ever. Only for
 * bytes that the caller compares, by their hash, with a journal verified before.
 */
void journal_reader_known(struct journal_reader *r, bool known);

/*
 * Take the next bytes of the journal. Each whole record is checked: frame, canonical
 * form, seq, chain, clocks, totals against the clocks, cost against the prices, grants,
 * signatures. An incomplete record at the end waits for more.
 *
 * ERR_CORRUPT: "record 17 (checkpoint): …" names the first wrong record; r then
 * stays at the good records before it and refuses more bytes until
 * journal_reader_rewind. ERR_DENIED: a right journal of another host or lease.
 */
int journal_reader_feed(struct journal_reader *r, const void *data, size_t len,
                        struct err *e) MUST_USE;
/* Check the signature of the last checkpoint or receipt if that was put off. */
int journal_reader_settle(struct journal_reader *r, struct err *e) MUST_USE;

/* Bytes that were whole and right: a copy is cut here, and asked for from here. */
uint64_t journal_reader_good_bytes(const struct journal_reader *r);
/* Bytes after them that are not a whole record yet. */
size_t journal_reader_waiting_bytes(const struct journal_reader *r);

/* All NULL before the first record. They stay r's. */
const struct journal_record *journal_reader_last(const struct journal_reader *r);
const struct offer *journal_reader_offer(const struct journal_reader *r);
const struct grant *journal_reader_grant(const struct journal_reader *r); /* newest */
const struct journal_device *journal_reader_devices(const struct journal_reader *r,
                                                    size_t *n);
/* The last signed point; what to countersign, after journal_reader_settle. */
const struct journal_point *journal_reader_point(const struct journal_reader *r);
bool journal_reader_ended(const struct journal_reader *r); /* the receipt was seen */

/* A host that loses power may lose records after its last signed point and write
 * others: a copy may then go back to that point (truncate to its end_bytes) and read
 * on from there; never further. This is a new reader's state, fed with the copy. */

/*
 * Countersignature by the renter, or acknowledgement by a book, of a signed point:
 * a record "gpurun.cosign.v1" that the host puts into the chain.
 */
enum journal_signer { JOURNAL_BY_NONE = 0, JOURNAL_BY_RENTER, JOURNAL_BY_BOOK };

struct journal_cosign {
    enum journal_signer by;
    char lease[GRANT_ID_MAX + 1];
    int64_t seq;
    struct sha256 hash;
    int64_t device_s;
    int64_t setup_s;
    struct sign_public signer;
};

#define JOURNAL_COSIGN_MAX 4096
void journal_cosign_make(struct buf *out, enum journal_signer by, const char *lease,
                         const struct journal_point *point, const struct sign_key *key);
/* Signature and form only: whose key it is and which point, the caller compares. */
int journal_cosign_parse(struct journal_cosign *out, const void *data, size_t len,
                         struct err *e) MUST_USE;

/*
 * A checkpoint (or receipt) by itself, as a book is shown it: form and the host's
 * signature. The chain before it is covered by that, but not seen.
 */
int journal_point_parse(struct journal_point *out, char lease[GRANT_ID_MAX + 1],
                        const void *record, size_t len, const struct sign_public *host,
                        struct err *e) MUST_USE;
/* The bytes of the last signed record of the reader; NULL: none yet. They stay r's. */
const struct buf *journal_reader_signed(const struct journal_reader *r);

/* Highest device seconds countersigned by renter and by book so far. */
void journal_reader_cosigned(const struct journal_reader *r, int64_t *by_renter_s,
                             int64_t *by_book_s);

#endif
