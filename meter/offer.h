#ifndef METER_OFFER_H
#define METER_OFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/sign.h"
#include "meter/card.h"
#include "meter/usage.h"

/*
 * What a host offers, signed with its key: the prices of its rate card now in
 * force (for one renter, where that renter has a level), its devices, and the
 * rules of the stop. A record "gpurun.offer.v1"; its hash is that of all its bytes.
 *
 * Fill a struct offer (offer_new gives the defaults), offer_add_* the lists, then
 * offer_sign. An offer that was signed or parsed is not changed any more.
 */
#define OFFER_MAX_BYTES   ((size_t)1 << 20)
#define OFFER_DEVICES_MAX 1024
#define OFFER_BOOKS_MAX   256
#define OFFER_WORD_MAX    64 /* uuid, arch, isolation, renter: printable, no space */

struct offer_device {
    char class_name[CARD_WORD_MAX + 1];
    char type[CARD_WORD_MAX + 1]; /* the card's word for it; "" for cpu */
    char uuid[OFFER_WORD_MAX + 1];
    int64_t mem_bytes;
    int64_t n_units; /* 1; for class cpu, the cores */
};

struct offer_price {
    char class_name[CARD_WORD_MAX + 1];
    char type[CARD_WORD_MAX + 1];
    int64_t list_uyuan_per_h; /* before the renter's level */
    int64_t uyuan_per_h;      /* what this renter pays */
};

struct offer {
    struct sign_public host;
    int64_t made_wall_ns;
    int64_t until_wall_ns; /* a lease must start before */
    struct sha256 card;
    bool free; /* the owner asks nothing */
    char arch[OFFER_WORD_MAX + 1];
    char isolation[OFFER_WORD_MAX + 1];
    int64_t window_s;     /* default time between SIGTERM and SIGKILL */
    int64_t window_max_s; /* the longest a renter may ask for */
    int64_t free_preempt_s;
    int64_t keep_uyuan_per_gb_day;
    int64_t keep_free_bytes;
    int64_t keep_days;
    int64_t job_uyuan;               /* per job */
    int64_t nocard_uyuan_per_h;      /* set-up: one core */
    char renter[OFFER_WORD_MAX + 1]; /* renter id it was made for, "" for any */
    char level[CARD_WORD_MAX + 1];   /* that renter's level, "" none */
    int64_t level_bps;
    int64_t level_until_s;
    bool own_book; /* a renter's own key may sign grants (a budget, not money) */

    struct offer_device *devices;
    size_t n_devices;
    struct offer_price *prices;
    size_t n_prices;
    struct card_plan *plans;
    size_t n_plans;
    struct sign_public *books; /* operators' books accepted */
    size_t n_books;

    struct buf bytes; /* the signed encoding; empty before offer_sign */
    struct sha256 hash;
};

#define OFFER_WINDOW_S      60
#define OFFER_WINDOW_MAX_S  86400
#define OFFER_KEEP_DAYS     15
#define OFFER_KEEP_DAYS_MAX 36500

struct offer *offer_new(void);
void offer_free(struct offer *o);
void offer_add_device(struct offer *o, const struct offer_device *d);
void offer_add_book(struct offer *o, const struct sign_public *book);
/*
 * Take over prices, plans, keeping and no-card price of the card at at_s, at the
 * level of member (NULL: none). "inexact_price" cannot happen with a card that
 * loaded.
 */
int offer_set_card(struct offer *o, const struct card *c,
                   const struct card_member *member, int64_t at_s,
                   struct err *e) MUST_USE;
/* Fills host, bytes and hash. ERR_INVALID: a field breaks a rule. */
int offer_sign(struct offer *o, const struct sign_key *host, struct err *e) MUST_USE;

/*
 * Parse and check signature and every rule. host NULL: any signer (the caller then
 * pins o->host); else ERR_DENIED for another host's offer. *out is the caller's.
 */
int offer_parse(struct offer **out, const void *data, size_t len,
                const struct sign_public *host, struct err *e) MUST_USE;
/* The same but for computing the signature (sign_rec_signer says when). */
int offer_parse_known(struct offer **out, const void *data, size_t len,
                      const struct sign_public *host, struct err *e) MUST_USE;

/* The row for a device, or NULL. A free offer has a row of 0 for every device. */
const struct offer_price *offer_find_price(const struct offer *o, const char *class_name,
                                           const char *type);

#endif
