#ifndef RUNNER_CLIENT_PURSE_INTERNAL_H
#define RUNNER_CLIENT_PURSE_INTERNAL_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "meter/grant.h"
#include "runner/client/counter.h"
#include "runner/client/purse.h"
#include "runner/job/refusals.h"

/* Shared by purse.c (a run's money) and purse_sync.c (what was left behind). */

/* Begin to connect to a book that was used once. ERR_NOT_FOUND. */
int purse_open_book(struct client *cl, const struct sign_public *key,
                    struct counter **out, struct err *e) MUST_USE;

/* ---- <home>/pending ---- */

#define PURSE_PENDING_DIR "pending"

/* A shared lock, held from before a lease is pending until its host may have it. */
int purse_pending_begin(const struct home *home, int *guard, struct err *e) MUST_USE;
int purse_pending_add(const struct home *home, const struct grant *g,
                      const struct sign_public *book, struct err *e) MUST_USE;
void purse_pending_drop(const struct home *home, const char *job);
bool purse_pending_has(const struct home *home, const char *job);
/* The book that holds for it. */
int purse_pending_book(const struct home *home, const char *job, struct sign_public *book,
                       struct err *e) MUST_USE;

/* The host's word that nothing began under that grant, taken to the book. */
int purse_decline(const struct home *home, struct counter *c, struct session *s,
                  const char *job, const struct buf *grant, struct err *e) MUST_USE;

/* ---- what a book has refused for good ---- */

struct refusal purse_thing(const char *what, const char *id, const char *job,
                           const struct sign_public *book);
/* As it stands: then it is not sent. */
bool purse_is_refused(const struct home *home, const struct refusal *thing);
/*
 * c could not be told, for *e. Where the book itself has refused it for good that is
 * noted, and 0 returned: it is over. Else -1, also where it cannot be noted: *e says why
 * in any case, and it is sent again.
 */
int purse_failed(const struct home *home, const struct counter *c, struct refusal *thing,
                 const struct err *e) MUST_USE;
void purse_taken(const struct home *home, const struct refusal *thing);

#endif
