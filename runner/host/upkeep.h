#ifndef RUNNER_HOST_UPKEEP_H
#define RUNNER_HOST_UPKEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/host/agent.h"
#include "storage/care.h"

/* Looking after a renter's store: for the owner's commands and for the renter's own. */

struct upkeep_gc {
    uint64_t freed_bytes;
    uint64_t n_unreadable; /* packs left alone: fsck is to look at them */
    uint64_t n_no_room;    /* packs left alone: the disk is too full to rewrite them */
    size_t n_expired;
    struct err clock_doubt; /* ERR_NONE: what has expired was given up; else why not */
};

struct upkeep_told {
    void (*say)(void *arg, const struct err *line);
    care_fn *progress; /* of the store */
    void *arg;         /* of both; each may be NULL */
};

/*
 * Give up what has expired, trim the directories of ended jobs, and take away what no
 * snapshot claims. dry_run: say what would be done, change nothing. told: NULL allowed.
 * Sums are added to *sums. No store yet: nothing to do. -1: something could not be done,
 * the first thing is told; the rest was done all the same, and is in *sums.
 */
int upkeep_gc(const struct renter *r, bool dry_run, const struct upkeep_told *told,
              struct upkeep_gc *sums, struct err *e) MUST_USE;

/*
 * Once a day, by whoever comes first: true to one of them. The first day begins when the
 * renter is first seen. A wrong wall clock makes it earlier or later, never harmful.
 */
bool upkeep_is_due(const struct renter *r);
/* The same for anything else that is done every so often: a marker of its own. */
bool upkeep_due(const struct renter *r, const char *marker, int64_t every_s);

/* `gpurun-agent upkeep RENTER`, started by serve when it is due; low priority. */
int upkeep_main(const char *renter_id);

#endif
