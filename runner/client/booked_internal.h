#ifndef RUNNER_CLIENT_BOOKED_INTERNAL_H
#define RUNNER_CLIENT_BOOKED_INTERNAL_H

#include "base/text.h"
#include "runner/client/booked.h"

/* Shared by booked.c (ordering) and booked_sync.c (what was left behind). */
#define BOOKED_DIR        "reservations"
#define BOOKED_ORDER      ".order"
#define BOOKED_TELL       ".tell"
#define BOOKED_ORDER_TYPE "gpurun.ordered.v1"

/* Ids of the files that end in suffix, sorted. */
int booked_names(const struct home *home, const char *suffix, struct strings *out,
                 struct err *e) MUST_USE;
int booked_load(const struct home *home, const char *id, struct reservation **out,
                struct err *e) MUST_USE;
/* Keep a chain, and that its books are to be told. ERR_CORRUPT: another history. */
int booked_keep(const struct home *home, const struct reservation *r,
                struct err *e) MUST_USE;
/*
 * Keep the chain that a host answered with. ERR_NOT_FOUND: it has not carried the order
 * out; ERR_CORRUPT: it is none, or another history than the one kept.
 */
int booked_take(const struct home *home, const struct order *o, const struct rec *resp,
                struct reservation **out, struct err *e) MUST_USE;
void booked_drop(const struct home *home, const char *id, const char *suffix);
/* Is there an order for it of which nobody knows yet what became of it? */
bool booked_is_left(const struct home *home, const char *id);
/*
 * Ask the host over s what became of the order that is left for id. *out: the reservation
 * with it carried out, the caller's; NULL: the host has signed that it never will be, and
 * the money is free.
 */
int booked_settle(struct client *cl, struct session *s, const char *id,
                  struct reservation **out, struct err *e) MUST_USE;
/* Its books are to be told of it again. */
int booked_untold(const struct home *home, const char *id, struct err *e) MUST_USE;
/* Post it in the own ledger, and tell every other book that paid for it. What one has
 * refused for good is no failure (purse.h). */
int booked_tell(struct client *cl, const struct reservation *r, struct err *e) MUST_USE;

#endif
