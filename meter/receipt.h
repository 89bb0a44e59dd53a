#ifndef METER_RECEIPT_H
#define METER_RECEIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/sign.h"
#include "meter/journal.h"

/*
 * The receipt: the last, signed record of a journal ("gpurun.receipt.v1"). The whole
 * journal is the receipt file; anyone can recompute it offline with the keys of host
 * and book, by the code that made it.
 */
#define RECEIPT_FILE_MAX  ((uint64_t)4 << 30)
#define RECEIPT_KNOWN_MAX ((int64_t)64 << 10)

/* A stretch in one state, from one record to another. */
struct receipt_interval {
    enum usage_state state;
    char reason[JOURNAL_WORD_MAX + 1]; /* why it began */
    int64_t from_wall_ns;              /* labels */
    int64_t to_wall_ns;
    char boot[BOOT_ID_LEN + 1]; /* in which it began and passed */
    int64_t from_boot_ns;       /* CLOCK_BOOTTIME there */
    struct usage_totals spent;  /* the time between, by the state it was booked to */
};

/* Device time of one month (Asia/Shanghai): from this device second on. */
struct receipt_month {
    int64_t from_device_s;
    int64_t from_wall_s;
};

struct receipt {
    char lease[GRANT_ID_MAX + 1];
    char job[GRANT_ID_MAX + 1];
    struct offer *offer;
    struct grant grant; /* the last one */
    struct journal_device *devices;
    size_t n_devices;
    struct journal_record last; /* the receipt as a journal record */

    char reason[JOURNAL_WORD_MAX + 1];
    int exit_code; /* -1 none */
    int signal;    /* 0 none */
    char snapshot[GRANT_ID_MAX + 1];
    int64_t kept_bytes;
    int64_t keep_until_wall_ns;
    int64_t keep_hold_fen; /* stays held for keeping */

    int64_t made_wall_ns;
    int64_t setup_s;
    int64_t device_s;
    int64_t charge_fen;
    int64_t busy_ns; /* of the device time; -1 unknown */
    bool lost;
    bool open; /* not ended yet (receipt_pins.open): there is no receipt, and the sums are
                  those of its last record */
    int64_t cosigned_renter_s; /* device seconds */
    int64_t cosigned_book_s;

    struct receipt_interval *intervals; /* in order of time, all of the session */
    size_t n_intervals;
    struct receipt_month *months; /* the first is that of the session's begin */
    size_t n_months;
    struct sign_public host;
    uint64_t file_bytes;
    uint64_t tail_bytes; /* of them: the frame of the receipt itself; 0 of an open one */
    struct sha256 file_hash; /* of the file, where receipt_pins.known asks for it; else
                                all zeros */
};

/* Keys that must match; a NULL is not compared. */
struct receipt_pins {
    const struct sign_public *host;
    const struct sign_public *renter;
    const struct sign_public *book;
    const char *job;
    bool open;      /* take a journal that has no receipt yet, too */
    bool check_all; /* every signature, not only those the chain does not cover */
    /*
     * The hash of a whole file that was verified before with these very pins: where the
     * file is that one, its signatures are not computed again (most of the time that a
     * short one takes); everything else is. Another file is verified as ever. All zeros:
     * none yet. NULL: nor is its hash wanted. Not together with check_all. A file of
     * more than RECEIPT_KNOWN_MAX bytes is never known: to hash it costs more than the
     * few signatures that it would spare.
     */
    const struct sha256 *known;
    /*
     * Where the gist of a longer file is kept (receipt_verify_file makes it, if its
     * directory is there), signed with own; NULL: none. While the file is, by what the
     * file system says, the one verified, only its last record is read again: the host's
     * signature, the terms and all sums of that are computed. Believed is of the gist
     * when months and states began, the states' why and boots, devices, countersigned
     * seconds. One not right in anything is as good as none. Not together with check_all
     * or open.
     */
    const char *gist;
    const struct sign_key *own;
};

/*
 * Verify a whole receipt file. ERR_CORRUPT names the first wrong record and what is
 * wrong with it; ERR_DENIED a key that is not the pinned one; ERR_NOT_FOUND a journal
 * that has no receipt (yet). *out is the caller's (receipt_free).
 */
int receipt_verify(struct receipt **out, const void *data, size_t len,
                   const struct receipt_pins *pins, struct err *e) MUST_USE;
int receipt_verify_file(struct receipt **out, const char *path,
                        const struct receipt_pins *pins, struct err *e) MUST_USE;
void receipt_free(struct receipt *r);

/*
 * The time booked to a state that lies in [from, to) of the wall clock, by its labels: an
 * interval that runs over an edge is divided with running floors, so spans that follow
 * each other sum to the whole. One whose clock went back lies where it began.
 */
int64_t receipt_state_ns(const struct receipt *r, enum usage_state state,
                         int64_t from_wall_ns, int64_t to_wall_ns);

/*
 * Many files at once, on as many threads as there are cores: each task as
 * receipt_verify_file would do it. Returns when all are done; out and e of each are the
 * caller's.
 */
struct receipt_task {
    const char *path;
    struct receipt_pins pins;
    struct receipt *out; /* NULL: e says why */
    struct err e;
};
#define RECEIPT_THREADS_MAX 16
void receipt_verify_files(struct receipt_task *tasks, size_t n);

#endif
