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
#include "runner/job/ids.h"
#include "runner/job/spec.h"

/*
 * The renter's reservations (meter/reservation.h), kept as their hosts signed them:
 *
 *   <home>/reservations/<id>         the chain
 *   <home>/reservations/<id>.order   what was ordered and not heard of yet: written
 * before money is held for it, removed when that has ended one way or the other
 *   <home>/reservations/<id>.tell    a book has not been told of the chain yet
 *   <home>/reservations/<id>.damaged what could not be read, and was forgotten
 *
 * So a crash anywhere leaves something that booked_sync brings to an end.
 */
struct booked_list {
    struct reservation **v; /* by id */
    size_t n;
    struct strings wrong; /* of each that cannot be read: its id and why */
};

/*
 * All that are kept, over or not; checked. One that cannot be read hides no other: it is
 * told of in wrong, and what may depend on it is the caller's to judge.
 */
int booked_list(const struct home *home, struct booked_list *out, struct err *e) MUST_USE;
void booked_free(struct booked_list *l);
/* Could all be read? ERR_CORRUPT names the first that could not, and what to do. */
int booked_check(const struct booked_list *l, struct err *e) MUST_USE;
/* By id, or the beginning of only one. ERR_NOT_FOUND. */
int booked_find(const struct home *home, const char *what, struct reservation **out,
                struct err *e) MUST_USE;

/*
 * Set aside the file of one that cannot be read, as <id>.damaged: it is told of no more,
 * and what its host sold is paid and lost if that host is gone. By id, or the beginning
 * of only one; id gets the whole of it. ERR_DENIED: it can be read, there is nothing to
 * forget.
 */
int booked_forget(const struct home *home, const char *what, char id[JOB_ID_LEN + 1],
                  struct err *e) MUST_USE;

/* An order (filled but for who signs it) with what it costs, as offered now. */
struct booking {
    struct order order;
    int64_t fen;  /* > 0 to be paid, < 0 comes back */
    int64_t at_s; /* at this second of the host's wall clock */
    char class_name[CARD_WORD_MAX + 1];
    char type[CARD_WORD_MAX + 1]; /* whose price on demand the grant names */
    int64_t n_devices;
    char job[JOB_ID_LEN + 1]; /* to buy what this job of ours runs on; "" what is free */
    bool sent;                /* the host may have heard of it */
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
 * As its host has it now: asked for over s, kept, its books told. *out is the caller's.
 * ERR_NOT_FOUND: that host has none of this id; ERR_CORRUPT: another history than here.
 */
int booked_fetch(struct client *cl, struct session *s, const char *id,
                 struct reservation **out, struct err *e) MUST_USE;

/*
 * Bring to an end what was left behind: ask hosts for what was ordered, take it or have
 * its money freed, tell books; and ask for chains that cannot be read here any more.
 * *n_waiting: what has to wait on. The first failure is told in *e at the end; the rest
 * is done.
 */
int booked_sync(struct client *cl, size_t *n_waiting, struct err *e) MUST_USE;

#endif
