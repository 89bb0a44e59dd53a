#ifndef RUNNER_CLIENT_RECEIPTS_H
#define RUNNER_CLIENT_RECEIPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "meter/receipt.h"
#include "meter/stopwatch.h"
#include "runner/client/session.h"
#include "runner/job/ids.h"

/*
 * The client's own copy of what a host has metered. While a job goes on its journal is
 * fetched now and then into <home>/usage/<job> (what a host that never returns can still
 * prove); at its end the whole journal, which is the receipt, is verified with the
 * pinned keys and kept for good as <home>/receipts/<job>.
 *
 * Every byte is checked as it comes (meter/journal.h). A journal that is not right is
 * never kept as a receipt: what came is put beside it as <job>.refused.
 */
struct fetch;

/* The session's host must have its key pinned, or known from its HELLO. */
int fetch_new(struct fetch **out, struct client *cl, struct session *s, const char *job,
              struct err *e) MUST_USE;
void fetch_free(struct fetch *f); /* NULL allowed */

/*
 * Ask on c for what is new, and to be told the rest once the job has ended; to be called
 * whenever the link came up. Answers are worked off by the loop.
 */
void fetch_begin(struct fetch *f, struct conn *c);
/* Get what is new now, for a copy that is not too old. */
void fetch_refresh(struct fetch *f, struct conn *c);

/*
 * While the job goes on, its journal is looked at now and then; each new checkpoint of
 * the host, once its signature holds and our own clock says nothing against it
 * (client/dispute.h), is countersigned with the renter's key and given to the host. seen
 * (may be NULL) is told of it, too: record is the checkpoint's bytes. What is handed to
 * fetch_give goes to the host with the next request.
 */
typedef void fetch_point_fn(void *ctx, const char *lease, const struct buf *record);
void fetch_on_point(struct fetch *f, fetch_point_fn *seen, void *ctx);
void fetch_give(struct fetch *f, const void *cosign, size_t len);

/*
 * The job has not been submitted yet, so none of its seconds has passed: from now on what
 * its host counts is held against our own clock. fetch_dispute: the last claim that did
 * not hold, the receipt's among them; NULL: none. It stays f's.
 */
void fetch_unsubmitted(struct fetch *f);
const struct stopwatch *fetch_dispute(const struct fetch *f);

enum fetch_state {
    FETCH_NONE = 0,
    FETCH_RUNNING,
    FETCH_DONE,
    FETCH_REFUSED, /* what came is not right */
    FETCH_FAILED   /* the host could not give it, or we not keep it: to be asked for again
                    */
};
enum fetch_state fetch_state(const struct fetch *f);
/* The cost so far, as the last good record says; false: nothing yet. */
bool fetch_cost(const struct fetch *f, int64_t *cost_fen);

/*
 * Run the loop until the receipt is here and kept, at most timeout_ns. *out is the
 * caller's (receipt_free). Refused: the message says which record; ERR_LINK: it did not
 * come in time.
 */
int fetch_wait(struct fetch *f, int64_t timeout_ns, struct receipt **out,
               struct err *e) MUST_USE;

/*
 * As fetch_wait after fetch_refresh, for a job that should have ended: ERR_BUSY if the
 * host has no receipt of it yet.
 */
int fetch_wait_present(struct fetch *f, int64_t timeout_ns, struct receipt **out,
                       struct err *e) MUST_USE;

/* ---- what is kept ---- */

bool receipts_kept(const struct home *home, const char *job);

/* Read and verify a kept receipt. host NULL: any signer. ERR_NOT_FOUND. */
int receipts_load(const struct home *home, const char *job,
                  const struct sign_public *host, struct receipt **out,
                  struct err *e) MUST_USE;

struct receipt_ids {
    char (*v)[JOB_ID_LEN + 1];
    size_t n;
};
/* The jobs whose receipts are kept, in the order of their ids. */
int receipts_list(const struct home *home, struct receipt_ids *out,
                  struct err *e) MUST_USE;

#endif
