#ifndef METER_RESERVATION_H
#define METER_RESERVATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/sign.h"
#include "meter/grant.h"
#include "meter/offer.h"
#include "meter/order.h"
#include "meter/reserve.h"

/*
 * Devices of a host, paid in front and held for one renter for a time. A reservation is a
 * chain of events, each signed by the host, that holds what each came from: the renter's
 * order, the offer whose prices held, the grant that paid. So whoever has the chain
 * reckons every fen again (reservation_parse does), with the keys pinned and nothing
 * else.
 *
 * Life: reservation_buy, then any number of further orders until its time is over or it
 * was given back. The host carries orders out (reservation_do) and keeps the chain;
 * renter and book keep copies. An object belongs to one thread at a time.
 *
 * Its time is time of the calendar (the host's wall clock), used or idle.
 */
#define RESERVATION_TYPE        "gpurun.reservation.v1"
#define RESERVATION_MAX_BYTES   ((size_t)16 << 20)
#define RESERVATION_EVENTS_MAX  1000
#define RESERVATION_DEVICES_MAX 64
/* Between when an order was made and when it was carried out, by either clock. */
#define RESERVATION_ORDER_AGE_MAX_NS ((int64_t)3600 * 1000000000)

/* Money that came in under one lease, less what went back. */
struct reservation_payment {
    char lease[GRANT_ID_MAX + 1];
    struct sign_public book; /* who granted it */
    int64_t paid_fen;
    int64_t left_fen;
};

/* A part of a refund, to the payment it is of. */
struct reservation_back {
    char lease[GRANT_ID_MAX + 1];
    int64_t fen;
};

/* Time at one price. */
struct reservation_stretch {
    int64_t from_s; /* wall seconds */
    int64_t to_s;
    int64_t unit_fen;         /* of all devices, for one unit of time */
    int64_t burn_uyuan_per_h; /* of all devices, on demand */
};

struct reservation_event {
    enum order_act act;
    int64_t wall_ns;
    int64_t charge_fen;
    int64_t refund_fen;
    char lease[GRANT_ID_MAX + 1]; /* of the charge; "" nothing was paid */
    struct reservation_back *back;
    size_t n_back;
    char class_name[CARD_WORD_MAX + 1]; /* held from then on */
    char type[CARD_WORD_MAX + 1];
    char (*devices)[OFFER_WORD_MAX + 1];
    size_t n_devices;
    struct sha256 order;
    struct sha256 hash;
};

struct reservation {
    char id[GRANT_ID_MAX + 1];
    struct sign_public host;
    struct sign_public renter;
    char class_name[CARD_WORD_MAX + 1];
    char type[CARD_WORD_MAX + 1];
    char devices[RESERVATION_DEVICES_MAX][OFFER_WORD_MAX + 1]; /* uuids, held now */
    size_t n_devices;
    enum reserve_unit unit;
    int64_t fee_bps; /* of giving it back */
    int64_t from_s;
    int64_t to_s;
    bool given_back; /* or broken by the owner */

    struct reservation_stretch *stretches;
    size_t n_stretches;
    struct reservation_payment *payments;
    size_t n_payments;
    struct reservation_event *events;
    size_t n_events;
    struct sha256 head; /* of the chain */
    struct buf bytes;   /* all of it */
};

struct reservation *reservation_new(void);
void reservation_free(struct reservation *r); /* NULL allowed */

/* Is it in force at that wall second? */
bool reservation_holds(const struct reservation *r, int64_t at_s);
bool reservation_has_device(const struct reservation *r, const char *uuid);
int64_t reservation_paid_fen(const struct reservation *r); /* less what went back */
/*
 * Is now the chain was, and perhaps more behind it? Where neither goes on with the other
 * the host has signed two histories: both chains together are proof of it.
 */
bool reservation_continues(const struct reservation *now, const struct reservation *was);
/* The event that carried this order out, or NULL. */
const struct reservation_event *reservation_find(const struct reservation *r,
                                                 const struct sha256 *order);

/*
 * What the order would cost (> 0), or bring back (< 0), at wall second at_s. r as it is
 * now; a new one to buy. ERR_NOT_FOUND: the offer has no such plan, or no price on demand
 * that a refund could be reckoned by; ERR_DENIED: the time is over; ERR_EXISTS: it was
 * bought already.
 */
int reservation_quote(const struct reservation *r, const struct order *o,
                      const struct offer *offer, int64_t at_s, int64_t *fen,
                      struct err *e) MUST_USE;

/*
 * Carry out an order that was parsed: devices are those held from now on (as many as it
 * names; NULL where it names none), grant pays exactly the charge (NULL where there is
 * none). Checked is all that follows from these; that the grant is good for this host and
 * renter, and that the devices are free, is the caller's. r is unchanged after a failure.
 */
struct reservation_deed {
    const struct order *order;
    const struct offer *offer; /* NULL to give back */
    const struct grant *grant;
    const char *const *devices;
    size_t n_devices;
    int64_t wall_ns;
};
int reservation_do(struct reservation *r, const struct reservation_deed *d,
                   const struct sign_key *host, struct err *e) MUST_USE;

/*
 * Read a chain and reckon all of it again. host, renter: NULL or who it must be of.
 * ERR_CORRUPT names the first event that is wrong; ERR_DENIED: another host's or
 * renter's.
 */
int reservation_parse(struct reservation **out, const void *data, size_t len,
                      const struct sign_public *host, const struct sign_public *renter,
                      struct err *e) MUST_USE;

/*
 * Post in a book's ledger what a chain says of the leases that it holds for: charges to
 * the host's owner less the fee, refunds as corrections of them. Once however often.
 * posted_wall_ns: when that is done; 0: each entry is of the moment of its event, as an
 * owner's own ledger has it.
 */
struct ledger;
int ledger_reservation(struct ledger *l, const struct reservation *r, int64_t fee_bps,
                       int64_t posted_wall_ns, struct err *e) MUST_USE;

#endif
