#ifndef RUNNER_HOST_QUOTA_H
#define RUNNER_HOST_QUOTA_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "runner/host/agent.h"

/*
 * How many bytes a renter may keep here (its store, as packed, and beside it its cache
 * and what is there twice: directories of ended jobs, files of data sets), and one of its
 * jobs in its directory and what its set-up makes. Looked at before anything is taken in,
 * and now and then while a job runs. What is beside the store makes room for the rest, so
 * before anything is taken in only the store counts. What a job has written when
 * it ends is kept all the same: a quota stops what comes next, it loses nothing.
 */
#define QUOTA_TOP 10

struct quota_named {
    char *what; /* escaped */
    int64_t bytes;
};

/* The largest of many, in order. */
struct quota_top {
    struct quota_named v[QUOTA_TOP];
    size_t n;
};
/* Keep it if it is among the largest; what is copied, and escaped. */
void quota_top_add(struct quota_top *t, const char *what, int64_t bytes);
void quota_top_free(struct quota_top *t); /* and empty again */
/*
 * "big.bin 1.2 GB, …"; nothing if there is none. In max_bytes at the most: where that is
 * too little for all names they are shortened in the middle, and where that does not do
 * those at the end are left out, with a "…" for them.
 */
void quota_top_text(const struct quota_top *t, size_t max_bytes, struct buf *out);
#define QUOTA_TOP_SAID_MAX ((size_t)300) /* in an error, beside what it says of them */

struct quota_use {
    int64_t bytes;            /* that the store takes */
    int64_t cache_bytes;      /* only where it was asked for: quota_use_all */
    int64_t copies_bytes;     /* likewise */
    struct quota_top largest; /* snapshots: id, name; the cache; and copies */
};
int quota_use_of(const struct renter *r, struct quota_use *out, struct err *e) MUST_USE;
/* Without what was kept of that job on the way: its directory holds it still. */
int quota_use_besides(const struct renter *r, const char *job, struct quota_use *out,
                      struct err *e) MUST_USE;
int quota_use_all(const struct renter *r, struct quota_use *out, struct err *e) MUST_USE;
void quota_use_free(struct quota_use *u);
/* What is there twice and nobody uses; remove it. */
int quota_idle_copies(const struct renter *r, int64_t *bytes, struct err *e) MUST_USE;
int quota_drop_copies(const struct renter *r, struct err *e) MUST_USE;

/*
 * What is about to come in, of a renter with a limit: the first step of what may, and
 * what nobody has spoken for now, with the words for that not being enough. They name the
 * renter, its limit and the ten largest things it keeps, as does ERR_SPACE: nothing may.
 */
struct quota_hold;
struct quota_room {
    struct quota_hold
        *hold;           /* the caller closes it; NULL: no limit is set, nor the rest */
    int64_t first_bytes; /* above 0 */
    int64_t left_bytes;
    struct err why;
};
int quota_begin(const struct renter *r, struct quota_room *out, struct err *e) MUST_USE;

/*
 * So many bytes have come in through this hold: let a step more come, that no job and no
 * other upload has spoken for. *more_bytes is above 0. ERR_SPACE: none are left.
 */
int quota_draw(const struct renter *r, struct quota_hold *h, int64_t taken_bytes,
               int64_t *more_bytes, struct err *e) MUST_USE;

#endif
