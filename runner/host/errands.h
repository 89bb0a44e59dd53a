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
#define ERRANDS_TOLD_DIR "told"

struct errands {
    size_t n_told;    /* taken by a book now */
    size_t n_refused; /* by a book now, for good (refusals.h): not a failure here */
    size_t n_waiting; /* could not be brought, or taken, now */
};

/*
 * Go to all books at once (ERRANDS_AT_ONCE), to each in turn with others who do. The
 * first failure is told, the rest is seen to all the same: one that hangs delays what is
 * for itself. Blocks: five minutes at most for a turn (ERR_BUSY), and about as long at a
 * book, whose rest waits for the next time.
 */
#define ERRANDS_AT_ONCE ((size_t)16)
int errands_run(const struct agent *a, struct errands *out, struct err *e) MUST_USE;

/*
 * The same by a process of its own, where a book is called at all; not to a book for
 * which another waits already, who will see what we would.
 */
void errands_start(const struct agent *a);
/*
 * While a job runs that is paid by that book: is it time to have its checkpoints
 * acknowledged? Every five minutes, for all jobs of that book on this host together;
 * where it fails, ever more seldom, up to an hour. Whoever is told so is the only one
 * (under a lock; while another holds that, it is not time): it does
 * errands_start_watched. Not where that book is not called from here.
 */
bool errands_due(const struct agent *a, const struct sign_public *book);
/* As errands_start, of that book alone, by a process of whoever goes on running. */
struct loop;
struct child;
struct child_end;
int errands_start_watched(struct loop *l, const struct sign_public *book,
                          struct child **out,
                          void (*fn)(void *ctx, const struct child_end *end), void *ctx,
                          struct err *e) MUST_USE;
/* That book was gone to, well or not: when that is due again. */
void errands_done(const struct agent *a, const struct sign_public *book, bool well);
/* `gpurun-agent errands [KEY]`, that process; KEY NULL: all books. */
int errands_main(const char *key);

#endif
