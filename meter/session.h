#ifndef METER_SESSION_H
#define METER_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/sign.h"
#include "meter/grant.h"
#include "meter/journal.h"
#include "meter/offer.h"
#include "meter/usage.h"

/*
 * The running meter of one job on the host: the writing side of the journal, the
 * cost so far, and the second at which the stop must be ordered. It reads the
 * clock itself (base/clock.h), starts no timer and no thread: the supervisor calls
 * meter_session_tick by meter_session_next_ns.
 *
 * Life: start (state shipping) → state … → end, which writes the receipt. Every
 * record is on stable storage when the call that wrote it returns 0. If the disk refuses
 * (ERR_SPACE, ERR_SYSTEM), the record waits in memory, the session goes on, and every
 * later call tries again: the caller logs the error and need do nothing else. A crash
 * loses what was not written, in the renter's favour.
 */
struct meter_session; /* one thread at a time */

struct meter_session_options {
    int dir_fd;                      /* the job's directory, held by the caller */
    const char *name;                /* the journal's name in it; NULL: "usage" */
    const struct sign_key *host_key; /* stays the caller's, outlives the session */
    const struct offer *offer;       /* signed; copied */
    const struct grant *grant;       /* signed and checked (grant_check); copied */
};

/*
 * Start the journal, in state shipping; ERR_EXISTS if there is one already. A journal
 * that cannot be begun (also: offer and grant that do not go together) leaves nothing.
 */
int meter_session_start(struct meter_session **out, const struct meter_session_options *o,
                        struct err *e) MUST_USE;

/*
 * Take an existing journal up again after a crash, by whoever holds the job's lock:
 * verify all of it, cut a torn tail (never guessed), append a reopen record. Time
 * since the last record is USAGE_LOST (same boot) or nothing (new boot): nobody saw it.
 * The session is in state fault then, free, until it goes on to snapshotting or its end.
 * Damage that is more than a torn tail: what follows the last good record is saved
 * as "<name>.damaged" and cut too. Only host_key, dir_fd and name are used of o.
 * ERR_NOT_FOUND; ERR_EXISTS if it ended (the receipt is there).
 */
int meter_session_reopen(struct meter_session **out,
                         const struct meter_session_options *o, struct err *e) MUST_USE;
/* Free s. Writes nothing: without meter_session_end the session is as after a crash. */
void meter_session_free(struct meter_session *s);

/*
 * The devices now held (class, type, uuid), once known; before running. They are named
 * in the next state record.
 */
int meter_session_devices(struct meter_session *s, const struct journal_device *devices,
                          size_t n, struct err *e) MUST_USE;

/*
 * Enter a state now; the time up to now is booked to the state before. reason is a
 * word of the caller's ("exited", "cost", "" …). Entering the present state is fine
 * and writes nothing. Time in STOPPING becomes billed by itself after USAGE_FREE_STOP_S.
 * ERR_INVALID: out of ENDED, or into NONE, WINDOW, PREEMPTED, LOST, ENDED.
 */
int meter_session_state(struct meter_session *s, enum usage_state state,
                        const char *reason, struct err *e) MUST_USE;
/*
 * The owner takes the machine back: as STOPPING, but a run of fewer than the offer's
 * free_preempt_s device seconds becomes free.
 */
int meter_session_preempt(struct meter_session *s, const char *reason,
                          struct err *e) MUST_USE;

/* Write the record or checkpoint that is due, if one is, and what the disk refused
 * before. */
int meter_session_tick(struct meter_session *s, struct err *e) MUST_USE;
/* ns until meter_session_tick has something to do; 0: now. Never above 10 s. */
int64_t meter_session_next_ns(const struct meter_session *s);

/* A signed checkpoint now, for a client or book that asks for something to countersign.
 */
int meter_session_checkpoint(struct meter_session *s, struct err *e) MUST_USE;

/* Bytes that a snapshot would have to keep now, for the landing reserve. */
void meter_session_held(struct meter_session *s, int64_t held_bytes);
/* Device busy time so far (cumulative), where the host can tell. */
void meter_session_busy(struct meter_session *s, int64_t busy_ns);

/*
 * A further grant of this lease, as grant_parse gave it; everything else is checked here
 * (the offer may have expired meanwhile, the lease goes on at its frozen prices). The
 * same one again is fine. ERR_DENIED says what it may not change, or that it expired.
 */
int meter_session_extend(struct meter_session *s, const struct grant *next,
                         struct err *e) MUST_USE;
/*
 * A countersignature or acknowledgement arrived. Repeats and older ones are
 * fine and write nothing. ERR_DENIED: another key, lease, or a point that is not ours.
 */
int meter_session_cosign(struct meter_session *s, const void *data, size_t len,
                         struct err *e) MUST_USE;

struct meter_status {
    enum usage_state state;
    int64_t setup_s;
    int64_t device_s;
    int64_t cost_fen; /* the charge if it ended now; never above the cap */
    int64_t cap_fen;
    int64_t window_fen; /* landing reserve: the billed part of the stop window */
    int64_t keep_fen;   /* landing reserve: keeping what is held for 15 days */
    int64_t can_run_s;  /* whole seconds left until the stop; INT64_MAX: no limit */
    int64_t stop_in_ns; /* until the stop must be ordered; 0: now; INT64_MAX: no limit */
    enum grant_limit stop_why; /* the limit that comes first; NONE: no limit */
    int alert_pct;             /* highest of 50, 80, 100 % of the cap reached; 0 none */
    int64_t since_device_ns;   /* boot clock since ready; -1 before */
};

/* As of now, by the clock; changes and writes nothing. */
void meter_session_status(const struct meter_session *s, struct meter_status *out);
/* The journal's last signed point, and its length in bytes on disk. */
const struct journal_point *meter_session_point(const struct meter_session *s);
uint64_t meter_session_bytes(const struct meter_session *s);
const struct grant *meter_session_grant(const struct meter_session *s);

struct meter_end {
    const char *reason;         /* "exited", "cost", "lost", …: a word */
    int exit_code;              /* -1: none */
    int signal;                 /* 0: none */
    const char *snapshot;       /* snapshot id; NULL: none */
    int64_t kept_bytes;         /* what that snapshot keeps, before the quota */
    int64_t keep_until_wall_ns; /* 0: nothing kept; cut to the days granted from now */
    bool lost;                  /* nobody saw the end: billed to the last record */
};

/*
 * End the session: book the time up to now (lost: to USAGE_LOST), write the
 * receipt as last record, sync. From then on the journal is the receipt file.
 * This one must succeed: on failure the session is still open, and calling again is
 * right. A second call after success is ERR_INVALID.
 */
int meter_session_end(struct meter_session *s, const struct meter_end *end,
                      struct err *e) MUST_USE;

#endif
