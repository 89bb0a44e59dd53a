#ifndef RUNNER_HOST_ERRANDS_H
#define RUNNER_HOST_ERRANDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/sign.h"
#include "runner/host/agent.h"

/*
 * What operators' books are to hear of this host, whether a renter ever comes back or
 * not: receipts of sessions that have ended, lines of keeping, leases that were declined,
 * what became of reservations, and of sessions that run the last signed checkpoint, whose
 * acknowledgement goes into the chain. Only books that are reached from here
 * (books.h) are called.
 *
 * What a book has taken is noted in <agent's home>/told/<lease or reservation>.<id of the
 * book>; all of it may come to the book twice, or by the renter first: it then changes
 * nothing. So whoever is killed in the middle asks again.
 */
struct errands {
    size_t n_told;    /* taken by a book now */
    size_t n_refused; /* by a book now, for good (refusals.h): not a failure here */
    size_t n_waiting; /* could not be brought, or taken, now */
    bool went;        /* it was our turn, and there was a book to call */
};

/*
 * Go to each book that has something to hear, in turn with others who do. The first
 * failure is told, the rest is seen to all the same. patient: wait for the turn, however
 * many wait; else where one waits already, who will see what we would, nothing is done.
 * Blocks: five minutes at most for the turn (ERR_BUSY), and about as long at each book,
 * whose rest waits for the next time.
 */
int errands_run(const struct agent *a, bool patient, struct errands *out,
                struct err *e) MUST_USE;

/*
 * The same by a process of its own, where a book is called at all, not patiently: nobody
 * waits for it.
 */
void errands_start(const struct agent *a);
/*
 * While a job runs that is paid by that book: is it time to have its checkpoints
 * acknowledged? Every five minutes, for all jobs and books of this host together; where
 * errands fail, ever more seldom, up to an hour. Whoever is told so is the only one
 * (under a lock; while another holds that, it is not time): it does
 * errands_start_watched. Not where that book is not called from here.
 */
bool errands_due(const struct agent *a, const struct sign_public *book);
/* As errands_start, by a process of whoever goes on running. */
struct loop;
struct child;
struct child_end;
int errands_start_watched(struct loop *l, struct child **out,
                          void (*fn)(void *ctx, const struct child_end *end), void *ctx,
                          struct err *e) MUST_USE;
/* Books were gone to, well or not: when that is due again. */
void errands_done(const struct agent *a, bool well);
/* `gpurun-agent errands`, that process. */
int errands_main(void);

#endif
