#ifndef RUNNER_CLIENT_DISPUTE_H
#define RUNNER_CLIENT_DISPUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "meter/journal.h"
#include "meter/stopwatch.h"
#include "runner/client/home.h"

/*
 * What this renter's own clock says of the seconds that a host counts, of one job each,
 * in <home>/evidence/<job>: from before the job is submitted until its receipt is here,
 * and for good where it did not hold. A file that cannot be read is as good as none, and
 * one that cannot be written harms nothing now. Several clients may hold the same job:
 * of what they know the last one's stands, as each of it is true; what one of them has
 * found not to hold stands for all.
 */
struct dispute;

struct dispute *dispute_open(const struct home *home, const char *job);
void dispute_close(struct dispute *d); /* NULL allowed */

/* The job has not been submitted to anybody yet. */
void dispute_begin(struct dispute *d);
/* The whole journal, to that record, in answer to what was asked at that moment. */
void dispute_look(struct dispute *d, const struct usage_moment *asked,
                  const struct journal_record *last);
/* May so many seconds of set-up and of the device be over by now? False: it is put down.
 */
bool dispute_holds(struct dispute *d, int64_t seq, int64_t setup_s, int64_t device_s);
/* What did not hold; NULL: nothing yet. It stays d's. */
const struct stopwatch *dispute_claim(const struct dispute *d);
/* The receipt is here: nothing more is to be judged. What did not hold is kept. */
void dispute_end(struct dispute *d);

/* What is kept of a job: true, and *w has a claim that did not hold. */
bool dispute_load(const struct home *home, const char *job, struct stopwatch *w);
/* The job came to nothing. */
void dispute_forget(const struct home *home, const char *job);

#endif
