#ifndef METER_STOPWATCH_H
#define METER_STOPWATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "meter/grant.h"
#include "meter/receipt.h"
#include "meter/usage.h"

/*
 * A renter's own clock, held against what a host counts. The priced seconds of a session
 * (set-up and device) cannot be more than the time that has passed since the renter knew
 * of fewer. What it knows is one point: *at that moment at most so much was counted*. It
 * is from before the job was submitted (nothing was), or from a look at the whole
 * journal; the tightest one stays, so a host that counts too fast gains the tolerance
 * once and not with each look (meter/DESIGN.md, "What a renter's clock proves").
 *
 * No clock is read here: moments are the caller's. One thread at a time.
 */
#define STOPWATCH_TOL_S   30   /* a record may be as old (USAGE_GAP_NS) */
#define STOPWATCH_TOL_PPM 1000 /* two clocks that are 500 ppm off, in opposite ways */
/* What a wall clock may be set back by between two boots: from one end of the world's
 * time zones to the other, as two systems on one machine read its clock differently. */
#define STOPWATCH_ZONES_NS (26 * 3600 * USAGE_NS_PER_S)
/* Between two looks: what came in between was written in between, so it is no older. */
#define STOPWATCH_LOOK_NS (25 * USAGE_NS_PER_S)

struct stopwatch {
    bool set; /* false: nothing is known yet, and nothing can be judged */
    struct usage_moment since;
    int64_t priced_ns; /* counted then, at most */

    /* The last claim that did not hold; host_s 0: none. From the first on all that the
     * host counts is in dispute with it. */
    int64_t seq;
    int64_t host_s;
    int64_t passed_s;  /* of them, at most */
    int64_t unasked_s; /* of them, set-up of a job that was sent without one */

    /* Of this process alone, not kept: */
    bool no_setup;  /* the job was sent without one: no second of it can be right */
    bool wall_kept; /* clock_wall_kept: may be held against another boot's */
    bool looked;
    struct usage_moment look; /* the last time the whole journal was seen */
    int64_t look_seq;         /* its last record */
};

/* The job is not submitted yet. Of a stopwatch that knows something: nothing. */
void stopwatch_begin(struct stopwatch *w, const struct usage_moment *now);

/*
 * The whole journal, to its last record of number seq, came in answer to what was asked
 * at that moment. It counts if it brought a record and the look before is not long ago:
 * else that record might be an old one, of a disk that has been full. True: something new
 * is known, to be kept.
 */
bool stopwatch_look(struct stopwatch *w, const struct usage_moment *asked, int64_t seq,
                    const struct usage_totals *total);

/*
 * Does it hold that so many seconds of set-up and of the device were over by now? True
 * also where nothing is known: from before the first look, or of another boot where the
 * wall clocks say nothing. False: it is noted.
 */
bool stopwatch_holds(struct stopwatch *w, const struct usage_moment *now, int64_t seq,
                     int64_t setup_s, int64_t device_s);

/* Of a file: all but what is of one process. ERR_CORRUPT. */
void stopwatch_encode(const struct stopwatch *w, struct buf *out);
int stopwatch_parse(struct stopwatch *out, const void *data, size_t len,
                    struct err *e) MUST_USE;

/* What a claim that did not hold means for the bill. */
struct stopwatch_dispute {
    int64_t host_s;      /* priced seconds by the receipt */
    int64_t passed_s;    /* of them, at most */
    int64_t unasked_s;   /* of them, set-up of a job that was sent without one */
    int64_t cosigned_s;  /* device seconds countersigned by the renter */
    int64_t acked_s;     /* and acknowledged by a book */
    int64_t owed_fen;    /* all the same, by evidence_billable */
    int64_t dispute_fen; /* of the charge: what the seconds beyond passed_s cost */
};
/* False: nothing of it is in dispute. */
bool stopwatch_dispute_of(const struct stopwatch *w, const struct receipt *r,
                          struct stopwatch_dispute *out);

#endif
