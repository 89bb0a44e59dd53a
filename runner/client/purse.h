#ifndef RUNNER_CLIENT_PURSE_H
#define RUNNER_CLIENT_PURSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/sign.h"
#include "meter/grant.h"
#include "meter/offer.h"
#include "runner/client/counter.h"
#include "runner/client/hosts.h"
#include "runner/client/session.h"
#include "runner/job/refusals.h"

/*
 * Whose book pays for a run: the renter's own (wallet.h), or an operator's that
 * `gpurun wallet use` named.
 *
 *   <home>/book            the key of the operator's book in use; missing: the own one
 *   <home>/books/<key>     how that book is reached, its key pinned
 *   <home>/pending/<job>   a lease an operator's book holds for: the grant. Written
 * before the book is asked, removed when the book has the receipt or the host's word that
 * nothing began. So a crash anywhere leaves something that purse_sync can bring to an
 * end.
 *   <home>/pending/….no    what a book has refused for good (runner/job/refusals.h): it
 * is not sent again before purse_retry.
 */
struct purse;

/*
 * Of the book in use. An operator's is connected to at once, in the background, and
 * waited for where it is needed.
 */
int purse_open(struct purse **out, struct client *cl, struct err *e) MUST_USE;
void purse_close(struct purse *p);
/* NULL: the own book. */
const struct sign_public *purse_book(const struct purse *p);
struct counter *purse_counter(struct purse *p); /* NULL: the own book */

/* What a run may hold, of cash and vouchers. *bounded false: an own book that was never
 * topped up. */
int purse_free_fen(struct purse *p, bool *bounded, int64_t *free_fen,
                   struct err *e) MUST_USE;

/*
 * Sign a filled grant as the one who asks. With the own book that is the grant already;
 * an operator's takes it for a request (purse_hold). ERR_DENIED: the owner of that offer
 * takes no grants of this book.
 */
int purse_sign(struct purse *p, struct grant *g, const struct offer *o,
               struct err *e) MUST_USE;

/*
 * From here on the run's hold is no orphan; *guard as in wallet_begin. Then hold the cap:
 * g is signed by the book afterwards, and its host may be asked. An extension the same.
 */
int purse_begin(struct purse *p, int *guard, struct err *e) MUST_USE;
int purse_hold(struct purse *p, struct grant *g, const struct offer *o,
               struct err *e) MUST_USE;

/*
 * The lease came to nothing. s: the host, up, whose word an operator's book wants; NULL:
 * not now, purse_sync asks later.
 */
int purse_release(struct purse *p, struct session *s, const struct grant *g,
                  struct err *e) MUST_USE;

/*
 * The job's receipt is kept here: take it to the book that waits for it. Nothing to do
 * for a job no operator's book has held for. A refusal for good is no failure here, but
 * one for purse_refused_tell.
 */
int purse_deliver(struct client *cl, const char *job, struct err *e) MUST_USE;
/*
 * All that books wait for and can have. *n_waiting (may be NULL): what has to wait on.
 * What one of them refuses or cannot take is told in *e at the end; the rest is done.
 */
int purse_sync(struct client *cl, size_t *n_waiting, struct err *e) MUST_USE;

/* refusals_free in any case of success. */
int purse_refused(const struct home *home, struct refusals *out, struct err *e) MUST_USE;
/* say each once (refusals_tell). */
int purse_refused_tell(const struct home *home,
                       void (*say)(void *ctx, const struct refusal *r), void *ctx,
                       struct err *e) MUST_USE;
/* Forget them: purse_sync and booked_sync send it all again. */
int purse_retry(const struct home *home, struct err *e) MUST_USE;

/*
 * The host that s is up with knows no such job, and there is no receipt: have it sign
 * that it never begins it, and free what is held. ERR_EXISTS: it did begin;
 * ERR_NOT_FOUND: nothing is held.
 */
int purse_unheard(struct client *cl, struct session *s, const char *job,
                  const char *lease, struct err *e) MUST_USE;

/* ---- which book ---- */

/* Meet the book that is reached by h, pin its key and use it from now on. */
int purse_use(struct client *cl, struct host *h, const char *host_key,
              struct err *e) MUST_USE;
int purse_use_own(const struct home *home, struct err *e) MUST_USE;
/* *used false: the own one. Then *out is not touched; else host_free it. */
int purse_in_use(const struct home *home, bool *used, struct host *out,
                 struct err *e) MUST_USE;

#endif
