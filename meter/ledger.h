#ifndef METER_LEDGER_H
#define METER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "meter/share.h"

/*
 * A book's ledger: double entry in one SQLite file, append-only. Every entry has an id
 * made by who asks for it: the same id with the same content is answered as the first
 * time and changes nothing; with other content it is refused
 * ("idempotency_key_mismatch"). Entries are chained by SHA-256; postings always have a
 * debit and a credit side; what accounts stand at and what is held is kept beside them
 * and can be recomputed from them (ledger_check). A mistake is mended by a further entry,
 * never by a change.
 *
 * Accounts: "renter:cash" (its credit is the money there is; of a renter of an operator's
 * book "renter:cash:WALLET"), "funding" (where it came from), "owner:payable:HOST",
 * "platform:fee", "clearing:LEASE" (nothing once settled). Of a voucher
 * "renter:voucher:WALLET:ID", "renter:promised:WALLET:ID" (of it, to leases), and
 * "platform:voucher", which bears it.
 *
 * One ledger may keep the money of many renters, each in a wallet of its own: ledger_use
 * says whose is asked for. A lease is of the wallet that held for it first.
 *
 * Money held for a lease is still the renter's, but not free: balance = held + free.
 * free is never below zero, so the balance never is.
 *
 * One object belongs to one thread; several processes may have the file open. Every
 * call is one durable transaction, but between ledger_begin and ledger_commit all are
 * one (group commit). What is refused inside such a group leaves the group as it was
 * before it; any other failure in the middle of an entry (a disk that is full), or to
 * read (a disk that is worn), undoes the whole group, and ledger_commit says so: ask for
 * all of it again.
 */
#define LEDGER_VERSION  5
#define LEDGER_TEXT_MAX 128                /* ids, leases, hosts */
#define LEDGER_FEN_MAX  ((int64_t)1 << 52) /* of one entry */
/* Of all debits of an account, and of all its credits: an entry beyond it is refused
 * ("range"). */
#define LEDGER_ACCOUNT_FEN_MAX ((int64_t)1 << 62)

struct ledger;

/*
 * Open, made when missing. ERR_VERSION: it is from a newer program; ERR_CORRUPT: it is
 * something else. Nothing is changed then.
 */
int ledger_open(struct ledger **out, const char *path, struct err *e) MUST_USE;
void ledger_close(struct ledger *l); /* NULL allowed; a group not committed is undone */

int ledger_begin(struct ledger *l, struct err *e) MUST_USE;
int ledger_commit(struct ledger *l, struct err *e) MUST_USE;

/*
 * Whose money the calls below are about: a renter's id; "" (at first) the only one there
 * is, of one's own book; NULL all of them, for reading only.
 */
void ledger_use(struct ledger *l, const char *wallet);

struct ledger_funds {
    int64_t balance_fen;
    int64_t held_fen;
    int64_t free_fen;
    int64_t n_entries;
};
int ledger_funds(struct ledger *l, struct ledger_funds *out, struct err *e) MUST_USE;

/* Money in. fen > 0. *repeated (may be NULL): it was there already. */
int ledger_topup(struct ledger *l, const char *id, int64_t fen, int64_t wall_ns,
                 bool *repeated, struct err *e) MUST_USE;

/*
 * A voucher for the wallet in use: money that pays for runs and cannot be paid out. id,
 * at most LEDGER_VOUCHER_ID_MAX, is the book's own, and never used twice. It pays for a
 * lease whose whole charge is at least min_spend_fen, to the end of the day it expires on
 * (Asia/Shanghai); what was promised to a lease by then pays for that lease still.
 * ERR_LIMIT: the wallet has LEDGER_VOUCHERS_MAX with something left.
 *
 * A hold promises vouchers first and holds of the cash what they may leave to be paid,
 * whatever the charge will be; a charge draws on vouchers in the law's order
 * (wallet_deduct), then on cash; a correction gives back in the reverse order, and what
 * would go to a voucher that has expired is forfeited.
 */
#define LEDGER_VOUCHERS_MAX   16
#define LEDGER_VOUCHER_ID_MAX 48
#define LEDGER_DATE_LEN       10
struct ledger_voucher {
    char id[LEDGER_VOUCHER_ID_MAX + 1];
    char expires[LEDGER_DATE_LEN + 1]; /* "2026-12-31"; "" never */
    int64_t min_spend_fen;
    int64_t given_fen;
    int64_t free_fen;     /* what is left of it, */
    int64_t promised_fen; /* less what is promised to leases */
    bool expired;
};
/* Of v: id, expires, min_spend_fen and given_fen. */
int ledger_voucher(struct ledger *l, const struct ledger_voucher *v, int64_t wall_ns,
                   bool *repeated, struct err *e) MUST_USE;
/* Take back what is left of vouchers that have expired, in the wallet in use. */
int ledger_lapse(struct ledger *l, int64_t wall_ns, size_t *n_lapsed,
                 struct err *e) MUST_USE;
/* All that the wallet in use was ever given, by id. */
int ledger_each_voucher(struct ledger *l, int64_t wall_ns,
                        int (*fn)(void *ctx, const struct ledger_voucher *v,
                                  struct err *e),
                        void *ctx, struct err *e) MUST_USE;
/* The most that a further lease of the wallet in use may hold: free cash and vouchers. */
int ledger_reach(struct ledger *l, int64_t wall_ns, int64_t *fen, struct err *e) MUST_USE;

/* Money given back to where it came from. ERR_LIMIT: not so much is free. */
int ledger_refund(struct ledger *l, const char *id, int64_t fen, int64_t wall_ns,
                  bool *repeated, struct err *e) MUST_USE;

/* What an owner has earned, paid out. ERR_LIMIT: not so much is due. */
int ledger_payout(struct ledger *l, const char *id, const char *host, int64_t fen,
                  int64_t wall_ns, bool *repeated, struct err *e) MUST_USE;

/*
 * Hold total_fen in all for a lease: a further hold (a higher seq) may only raise it.
 * ERR_LIMIT: not so much is free; ERR_EXISTS: the lease is settled already; ERR_DENIED:
 * it is of another wallet.
 */
int ledger_hold(struct ledger *l, const char *lease, int64_t seq, int64_t total_fen,
                int64_t wall_ns, struct err *e) MUST_USE;
/* With what it is for: host's id, and lines "key=value" that the entry's body keeps, none
 * of them of the key "host". */
struct ledger_promise {
    const char *lease;
    int64_t seq;
    int64_t total_fen;
    const char *host;
    const char *note;
};
int ledger_promise(struct ledger *l, const struct ledger_promise *p, int64_t wall_ns,
                   bool *repeated, struct err *e) MUST_USE;
/* The body of the entry of that id, appended to out. ERR_NOT_FOUND. */
int ledger_body(struct ledger *l, const char *id, struct buf *out,
                struct err *e) MUST_USE;

/* The lease came to nothing (the host refused it): all is free again. */
int ledger_release(struct ledger *l, const char *lease, int64_t wall_ns,
                   struct err *e) MUST_USE;

/*
 * The end of a session: its charge goes to the owner and the fee, keep_fen of the hold
 * stay held for keeping, the rest is free. A lease that was never held may be settled
 * with what is free. "exceeds_pending" if charge and keep_fen are more than the hold.
 */
struct ledger_close {
    const char *lease;
    const char *host; /* its key's id */
    int64_t charge_fen;
    int64_t keep_fen;
    int64_t fee_bps;
    struct sha256 receipt; /* of the receipt's record */
};
int ledger_settle(struct ledger *l, const struct ledger_close *c, int64_t wall_ns,
                  bool *repeated, struct err *e) MUST_USE;

/* The data is gone: what keeping cost out of what is held for it; the rest is free. */
int ledger_keeping(struct ledger *l, const char *lease, int64_t charge_fen,
                   int64_t wall_ns, struct err *e) MUST_USE;

/* A settled session was overcharged: a new entry gives it back. id is the caller's. */
int ledger_correct(struct ledger *l, const char *id, const char *lease,
                   int64_t overcharge_fen, int64_t wall_ns, struct err *e) MUST_USE;

enum ledger_hold_state {
    LEDGER_HOLD_NONE = 0, /* nothing known of the lease */
    LEDGER_HOLD_OPEN,
    LEDGER_HOLD_KEEPING, /* settled; something is held for its data */
    LEDGER_HOLD_DONE,
};
struct ledger_lease {
    enum ledger_hold_state state;
    int64_t held_fen;                 /* of the cash */
    int64_t total_fen;                /* what cash and vouchers may have to pay yet */
    int64_t charge_fen;               /* posted so far, corrections taken off */
    int64_t fee_bps;                  /* once settled: with which fee */
    char host[LEDGER_TEXT_MAX + 1];   /* "" not known before it is settled */
    char wallet[LEDGER_TEXT_MAX + 1]; /* whose it is */
};
int ledger_lease(struct ledger *l, const char *lease, struct ledger_lease *out,
                 struct err *e) MUST_USE;
/* Leases of all wallets that hold something; returns 0 when fn returned 0 for each. */
int ledger_each_hold(struct ledger *l,
                     int (*fn)(void *ctx, const char *lease, const struct ledger_lease *h,
                               struct err *e),
                     void *ctx, struct err *e) MUST_USE;

struct ledger_entry {
    int64_t n; /* 1, 2, 3, … */
    const char *id;
    const char *kind;   /* "topup", "refund", "payout", "hold", "release", "settle",
                           "keeping", "correct", "voucher", "lapse" */
    const char *lease;  /* "" none */
    const char *wallet; /* whose */
    int64_t wall_ns;
    int64_t cash_fen;    /* what it did to that wallet's balance */
    int64_t held_fen;    /* and to what is held of it */
    int64_t voucher_fen; /* and to its vouchers, promised or not */
};
/* Entries of the wallet in use with from <= wall_ns < to, in order; memory does not grow
 * with their number, nor time much with that of the others. */
int ledger_each(struct ledger *l, int64_t from_wall_ns, int64_t to_wall_ns,
                int (*fn)(void *ctx, const struct ledger_entry *en, struct err *e),
                void *ctx, struct err *e) MUST_USE;

struct ledger_account {
    const char *name;
    int64_t debit_fen;
    int64_t credit_fen;
};
int ledger_each_account(struct ledger *l,
                        int (*fn)(void *ctx, const struct ledger_account *a,
                                  struct err *e),
                        void *ctx, struct err *e) MUST_USE;

/*
 * Recompute from the entries: the chain, numbers without a gap, accounts, what vouchers
 * cover, and all that is kept of each lease; debits = credits; clearing accounts at zero;
 * no renter below zero at any time (an owner may be, when what was paid out to it is
 * corrected). ERR_CORRUPT names the first entry, account, voucher or lease that is wrong.
 * Memory does not grow with their number.
 */
int ledger_check(struct ledger *l, struct err *e) MUST_USE;

#endif
