#ifndef METER_WALLET_H
#define METER_WALLET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * The arithmetic of prepaid money: which bucket pays, what goes back where, what a
 * hold may take, how far a lease reaches. No state: the book (book.h) keeps the
 * accounts. Amounts are fen; refusals by name (refuse.h).
 */
enum wallet_type { WALLET_NONE = 0, WALLET_VOUCHER, WALLET_GIFT, WALLET_CASH };
enum wallet_type wallet_type_from_name(const char *name); /* WALLET_NONE: no such type */

struct wallet_bucket {
    const char *id;
    enum wallet_type type;
    int64_t balance_fen;
    const char *expires;   /* a date (all of it, in Shanghai) or a moment; NULL: never */
    int64_t min_spend_fen; /* a voucher's: the least whole charge it may pay for */
};

/* What bucket `i` of a list gave or gets. */
struct wallet_share {
    size_t i;
    int64_t fen;
};

/*
 * The usable vouchers in the order they pay: earliest expiry, larger min(balance,
 * charge), smaller balance, id. order has room for n; their number is returned.
 */
size_t wallet_voucher_order(int64_t charge_fen, const struct wallet_bucket *buckets,
                            size_t n, size_t *order);

/*
 * Who pays a charge: vouchers in that order, gifts by expiry and id, cash as listed.
 * taken has room for n; entries of 0 are left out.
 */
int wallet_deduct(int64_t charge_fen, const struct wallet_bucket *buckets, size_t n,
                  struct wallet_share *taken, size_t *n_taken, int64_t *unpaid_fen,
                  struct err *e) MUST_USE;

/*
 * Give money back in the reverse order of taken, to each what it gave at most.
 * expired[i] (per entry of taken): its share is forfeited, never paid elsewhere.
 */
int wallet_refund(int64_t refund_fen, const struct wallet_share *taken,
                  const bool *expired, size_t n_taken, struct wallet_share *returned,
                  size_t *n_returned, int64_t *forfeited_fen, struct err *e) MUST_USE;

/* A top-up clears arrears first; what is cleared and what becomes cash. */
int wallet_topup(int64_t arrears_fen, int64_t topup_fen, int64_t *cleared_fen,
                 int64_t *cash_fen, struct err *e) MUST_USE;

/* May a further hold be placed? available = credits - debits - pending. */
int wallet_hold_check(int64_t credits_fen, int64_t debits_fen, int64_t pending_fen,
                      int64_t new_fen, bool *accepted, int64_t *available_fen,
                      struct err *e) MUST_USE;
/* Post from a hold, release the rest. "exceeds_pending". */
int wallet_hold_post(int64_t hold_fen, int64_t post_fen, int64_t *released_fen,
                     struct err *e) MUST_USE;

/* Notes carry totals: pay what is due beyond what was paid; never below 0. */
int64_t wallet_payment(int64_t total_due_fen, int64_t paid_fen);

/*
 * The next stretch of a running use: the largest l <= max_s such that
 * need = ceil(cost(ran_s + l)) - posted_fen <= available_fen. l = 0: it must stop.
 */
int wallet_stretch(int64_t price_uyuan_per_h, int64_t n_units, int64_t ran_s,
                   int64_t posted_fen, int64_t available_fen, int64_t max_s,
                   int64_t *len_s, int64_t *need_fen, struct err *e) MUST_USE;

/* One prepaid wallet that feeds several jobs by stretches: what a book does, replayed. */
struct wallet_job {
    int64_t price_uyuan_per_h;
    int64_t n_units;
    int64_t start_s;
    int64_t stop_s;     /* out: seconds it ran */
    int64_t charge_fen; /* out */
};

struct wallet_replay {
    int64_t balance_fen;
    int64_t n_leases;
    int64_t first_hold_fen;
    int64_t last_lease_s;
};

int wallet_replay(int64_t balance_fen, int64_t lease_s, struct wallet_job *jobs, size_t n,
                  struct wallet_replay *out, struct err *e) MUST_USE;

#endif
