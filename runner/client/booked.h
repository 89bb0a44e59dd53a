#ifndef RUNNER_CLIENT_BOOKED_H
#define RUNNER_CLIENT_BOOKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "meter/reservation.h"
#include "runner/client/home.h"
#include "runner/client/purse.h"
#include "runner/client/session.h"

/*
 * The renter's reservations (meter/reservation.h), kept as their hosts signed them:
 *
 *   <home>/reservations/<id>         the chain
 *   <home>/reservations/<id>.order   what was ordered and not heard of yet: written
 * before money is held for it, removed when that has ended one way or the other
 *   <home>/reservations/<id>.tell    a book has not been told of the chain yet
 *
 * So a crash anywhere leaves something that booked_sync brings to an end.
 */
struct booked_list {
    struct reservation **v; /* by id */
    size_t n;
};

/* All that are kept, over or not; checked. ERR_CORRUPT names the one that is wrong. */
int booked_list(const struct home *home, struct booked_list *out, struct err *e) MUST_USE;
void booked_free(struct booked_list *l);
/* By id, or the beginning of only one. ERR_NOT_FOUND. */
int booked_find(const struct home *home, const char *what, struct reservation **out,
                struct err *e) MUST_USE;

/* An order (filled but for who signs it) with what it costs, as offered now. */
struct booking {
    struct order order;
    int64_t fen; /* > 0 to be paid, < 0 comes back */
    char class_name[CARD_WORD_MAX + 1];
    char type[CARD_WORD_MAX + 1]; /* whose price on demand the grant names */
    int64_t n_devices;
    bool sent; /* the host may have heard of it */
};
/* was: as it stands, or NULL to buy. offer: NULL to give back. host's wall clock. */
int booked_quote(struct booking *b, const struct reservation *was,
                 const struct offer *offer, int64_t at_s, struct err *e) MUST_USE;

/*
 * Pay, order, and keep what the host signed: *out is the reservation afterwards.
 * ERR_LINK: nobody knows whether it was heard (booked_sync finds out). Else after a
 * failure the host has signed that nothing is ordered, and no money is held; where it
 * could not be asked, booked_sync does so. ERR_BUSY: an earlier order is not settled.
 */
int booked_order(struct client *cl, struct purse *p, struct session *s, struct booking *b,
                 struct reservation **out, struct err *e) MUST_USE;

/*
 * Bring to an end what was left behind: ask hosts for what was ordered, take it or have
 * its money freed, tell books. *n_waiting: what has to wait on. The first failure is told
 * in *e at the end; the rest is done.
 */
int booked_sync(struct client *cl, size_t *n_waiting, struct err *e) MUST_USE;

/* The host that a reservation is on, among those known. ERR_NOT_FOUND. host_free *out. */
int booked_host(const struct home *home, const struct sign_public *key, struct host *out,
                struct err *e) MUST_USE;

#endif
