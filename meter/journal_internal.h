#ifndef METER_JOURNAL_INTERNAL_H
#define METER_JOURNAL_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "meter/journal.h"

/*
 * Shared by the files of the journal: how one record is written (journal_record.c) and
 * read (journal_scan.c), how it follows from the one before (journal_step.c), and the
 * reader's insides, which are also a running session's state.
 */

/* What a receipt says beside the common part. */
struct journal_receipt {
    struct sha256 offer;
    struct sha256 grant;
    struct sha256 card;
    struct sign_public renter;
    int64_t exit_code; /* -1 none */
    int64_t signal;    /* 0 none */
    bool lost;
    char snapshot[GRANT_ID_MAX + 1];
    int64_t kept_bytes;
    int64_t keep_until_wall_ns;
    int64_t keep_hold_fen;
    int64_t setup_s;
    int64_t device_s;
    int64_t charge_fen;
};

/* One record with all that any kind can hold. */
struct journal_entry {
    struct journal_record r;
    char lease[GRANT_ID_MAX + 1];
    char job[GRANT_ID_MAX + 1];
    struct buf offer;               /* open: bytes */
    struct buf grant;               /* open, extend */
    struct buf cosign;              /* cosign */
    struct journal_device *devices; /* state: those now held */
    size_t n_devices;
    int64_t moved_ns;  /* state: run that an early preemption made free */
    int64_t cut_bytes; /* reopen: torn or damaged bytes that were dropped */
    struct journal_receipt receipt;
    struct sign_public signer; /* checkpoint, receipt */
    uint8_t sig[SIGN_SIG_LEN];
    size_t signed_len; /* of the record's bytes that sig covers */
};

#define JOURNAL_USAGE_TYPE   "gpurun.usage.v1"
#define JOURNAL_RECEIPT_TYPE "gpurun.receipt.v1"

void journal_entry_clear(struct journal_entry *x);
/* What it holds is freed; nothing in it may be looked at any more. */
void journal_entry_release(struct journal_entry *x);
bool journal_kind_is_signed(enum journal_kind k);

/* Append the record (no frame); signed kinds with key. Fills r.hash. */
void journal_entry_encode(struct journal_entry *x, const struct sign_key *key,
                          struct buf *out);
/* Strict: accepts exactly what encode writes. Signatures are not checked. Fills r.hash.
 */
int journal_entry_parse(struct journal_entry *x, const void *data, size_t len,
                        struct sha256_ctx *hasher, struct err *e) MUST_USE;
/* Is the signature of a signed record that host's? */
int journal_entry_check_sig(const struct journal_entry *x, const void *data,
                            const struct sign_public *host, struct err *e) MUST_USE;

/* Put a frame's head in front of a record / read one: the record's length and crc. */
void journal_frame_head(char out[JOURNAL_FRAME_HEAD + 1], const void *record, size_t len);
int journal_frame_parse(const void *head, size_t *len, uint32_t *crc,
                        struct err *e) MUST_USE;

/* Month boundaries that the device time passed. */
#define JOURNAL_MONTHS_MAX 1200
struct journal_month {
    int64_t from_device_s; /* the month's first device second */
    int64_t from_wall_s;   /* a second in that month */
    int64_t end_wall_s;    /* the first one after it */
};

struct journal_interval {
    enum usage_state state;
    char reason[JOURNAL_WORD_MAX + 1];
    struct usage_moment from;
    struct usage_totals before;
};
#define JOURNAL_INTERVALS_MAX 65536

#define JOURNAL_POINTS 64 /* points that may still be countersigned */

struct journal_reader {
    struct sign_public host;
    bool host_known;
    char *lease;
    bool check_all;
    bool known; /* no signature is computed */
    bool failed;
    bool ended;

    struct buf waiting; /* bytes of a frame that is not whole yet */
    uint64_t good_bytes;
    struct sha256_ctx *hasher;

    struct journal_record last; /* seq 0: none */
    struct usage_track track;
    struct offer *offer;
    struct grant grant;
    struct journal_device *devices;
    size_t n_devices;
    char job[GRANT_ID_MAX + 1];

    struct journal_point points[JOURNAL_POINTS]; /* ring */
    uint64_t n_points;
    struct buf last_signed;         /* bytes of the last signed record */
    struct buf unchecked;           /* last signed record, signature put off; or empty */
    struct buf unchecked_cosign[3]; /* by enum journal_signer */
    int64_t cosigned_s[3];

    struct journal_interval *intervals;
    size_t n_intervals;
    struct journal_month *months;
    size_t n_months;
    struct journal_receipt receipt;
};

/*
 * Book the time from the reader's last record to `to` as a record of this kind would:
 * a reopening books it as lost, whatever its length.
 */
int journal_book(const struct journal_reader *r, struct usage_track *t,
                 enum journal_kind kind, const struct usage_moment *to,
                 struct err *e) MUST_USE;

/* What the record that follows must say of money. */
int64_t journal_cost(const struct grant *g, const struct usage_totals *t);
int64_t journal_drawn(const struct grant *g, const struct usage_track *t,
                      int64_t keep_fen, int64_t drawn_fen);

/*
 * Does the receipt name the session's terms, and the sums of these totals, and keep its
 * data no longer than was granted?
 */
int journal_check_receipt(const struct journal_reader *r, const struct usage_totals *t,
                          const struct journal_entry *x, struct err *e) MUST_USE;
/*
 * The latest moment until which a receipt of that moment may keep data: the days granted
 * are what its hold pays for. 0 where labels end.
 */
int64_t journal_keep_until_max(const struct grant *g, int64_t made_wall_ns);

/* Account months of device time between two records. */
void journal_note_month(struct journal_reader *r, const struct journal_record *from,
                        const struct journal_record *to);

/* Offer and grant of a record, their signatures computed unless the reader is known. */
int journal_take_offer(const struct journal_reader *r, struct offer **o,
                       const struct buf *b, struct err *e) MUST_USE;
int journal_take_grant(const struct journal_reader *r, struct grant *g,
                       const struct buf *b, struct err *e) MUST_USE;

/* One whole record with its frame's length, for the reader; errors name it. */
int journal_take(struct journal_reader *r, const uint8_t *record, size_t len,
                 struct err *e) MUST_USE;
/* journal_cosign_parse, with the signature left for later if it is not wanted now. */
int journal_cosign_read(struct journal_cosign *out, const void *data, size_t len,
                        bool check_signature, struct err *e) MUST_USE;
/* Take a record that holds one / the last record of all. */
int journal_take_cosign(struct journal_reader *r, const struct journal_entry *x,
                        struct err *e) MUST_USE;
int journal_take_receipt(struct journal_reader *r, struct usage_track *t,
                         const struct journal_entry *x, struct err *e) MUST_USE;
/* Is it of this session's keys, and of a recent point? */
int journal_check_cosign(const struct journal_reader *r, const struct journal_cosign *c,
                         struct err *e) MUST_USE;

#endif
