#ifndef METER_LEDGER_INTERNAL_H
#define METER_LEDGER_INTERNAL_H

#include "base/buf.h"
#include "base/db.h"
#include "base/hash.h"
#include "meter/ledger.h"

/* Shared by ledger.c and ledger_voucher.c (what is asked), ledger_cover.c (who pays),
 * ledger_store.c (rows) and ledger_check.c. */

enum ledger_statement {
    LEDGER_FIND = 0,
    LEDGER_LAST,
    LEDGER_ADD,
    LEDGER_POST,
    LEDGER_ACCOUNT,
    LEDGER_NEW_ACCOUNT,
    LEDGER_MOVE,
    LEDGER_TOTALS,
    LEDGER_DAY,
    LEDGER_HELD,
    LEDGER_LEASE,
    LEDGER_SET_LEASE,
    LEDGER_SAVE,
    LEDGER_KEEP,
    LEDGER_NEW_WALLET,
    LEDGER_DUE,
    LEDGER_BODY,
    LEDGER_OPEN_VOUCHERS,
    LEDGER_COVERS,
    LEDGER_SET_COVER,
    LEDGER_STATEMENT_COUNT
};

#define LEDGER_POSTS_MAX   (4 + 3 * LEDGER_VOUCHERS_MAX)
#define LEDGER_ACCOUNT_MAX (LEDGER_TEXT_MAX + 32)
#define LEDGER_RECENT      8

struct ledger {
    sqlite3 *db;
    sqlite3_stmt *s[LEDGER_STATEMENT_COUNT];
    bool grouped;                     /* between ledger_begin and ledger_commit */
    char wallet[LEDGER_TEXT_MAX + 1]; /* in use */
    bool all;                         /* all of them, to be read */

    /* What was read or written in this group: nobody else can have changed it. */
    bool has_last;
    int64_t last_n;
    struct sha256 last_chain;
    struct {
        char name[LEDGER_ACCOUNT_MAX];
        int64_t n; /* 0: none */
    } recent[LEDGER_RECENT];
    size_t next_recent;
};

struct ledger_post {
    char dr[LEDGER_ACCOUNT_MAX];
    char cr[LEDGER_ACCOUNT_MAX];
    int64_t fen;
};

/* An entry about to be made. */
struct ledger_draft {
    const char *id;
    const char *kind;
    const char *lease; /* "" none */
    bool of_wallet;    /* asked for by a wallet, so only that may ask again */
    char wallet[LEDGER_TEXT_MAX + 1];
    int64_t wall_ns;
    int64_t held_fen; /* change of what is held */
    struct buf body;  /* what was asked: compared when the id comes again */
    struct ledger_post posts[LEDGER_POSTS_MAX];
    size_t n_posts;
};

/*
 * The vouchers of a wallet that have something left, and those that a lease has to do
 * with, as an order changes them.
 */
struct ledger_covering {
    struct ledger_voucher v;
    int64_t own_fen;   /* promised to this lease */
    int64_t spent_fen; /* and used by it, less what went back */
    int64_t seq;       /* the place of its first use in the lease; 0: none yet */
    int64_t take_fen;  /* pays so much now */
    int64_t next_fen;  /* promised to the lease from now on */
    int64_t back_fen;  /* gets so much back now */
};

struct ledger_covers {
    struct ledger_covering c[LEDGER_VOUCHERS_MAX];
    size_t n;
    size_t order[LEDGER_VOUCHERS_MAX]; /* of those that pay now */
    size_t n_order;
};

/* lease "": none. */
int ledger_covers_load(struct ledger *l, const char *wallet, const char *lease,
                       int64_t wall_ns, struct ledger_covers *out,
                       struct err *e) MUST_USE;
/* Let them pay a charge, by the law's order; what they pay of it. before_fen: what the
 * lease has been charged already, as a voucher's least spending is of the whole. */
int ledger_covers_pay(struct ledger_covers *s, int64_t charge_fen, int64_t before_fen,
                      int64_t *paid_fen, struct err *e) MUST_USE;
/* Promise them to the lease for a charge of up to total_fen, instead of what was promised
 * before. Returns the cash that has to be held beside them, whatever the charge. */
int64_t ledger_covers_promise(struct ledger_covers *s, int64_t total_fen,
                              int64_t before_fen);
/* The law's way back of a charge of which cash_fen was cash; what is cash of it. */
int ledger_covers_refund(struct ledger_covers *s, int64_t refund_fen, int64_t cash_fen,
                         int64_t *cash_back_fen, struct err *e) MUST_USE;
/* Post what changes between a voucher and its promises, and keep it. */
void ledger_covers_post(struct ledger_covers *s, struct ledger_draft *d);
int ledger_covers_save(struct ledger *l, const char *lease, const struct ledger_covers *s,
                       struct err *e) MUST_USE;
/* "renter:voucher:WALLET:ID", or of what is promised of it. */
void ledger_voucher_name(char out[LEDGER_ACCOUNT_MAX], bool promised, const char *wallet,
                         const char *id);
void ledger_post(struct ledger_draft *d, const char *dr, const char *cr, int64_t fen);
/* What an account's name says: is it of that wallet's vouchers? */
bool ledger_is_voucher(const char *account, const char *wallet);

/*
 * How an order changes a lease and fills the draft's effects; run inside the
 * transaction, with the lease as it stands. *nothing: there is nothing to enter.
 */
struct ledger_order;
typedef int ledger_effect_fn(struct ledger_order *o, struct ledger_draft *d,
                             struct ledger_lease *h, int64_t *fee_bps, bool *nothing,
                             struct err *e);

struct ledger_order {
    ledger_effect_fn *effect;
    int64_t fen;
    int64_t keep_fen;
    int64_t fee_bps;
    const char *host;
    bool needs_due;
    int64_t due_fen; /* to the owner of host */
    bool covered;    /* vouchers have to do with it */
    struct ledger_covers covers;
    const struct ledger_voucher *voucher; /* to be given, or taken back */
};

/* Find or make the entry, all in one transaction. Frees the draft's body. */
int ledger_carry_out(struct ledger *l, struct ledger_draft *d, struct ledger_order *o,
                     bool *repeated, struct err *e) MUST_USE;
int ledger_check_text(const char *what, const char *text, struct err *e) MUST_USE;
int ledger_check_fen(int64_t fen, int64_t least, struct err *e) MUST_USE;
/* Fill v (its id is there) with how it was given, and whether it has expired. */
int ledger_voucher_terms(struct ledger *l, int64_t wall_ns, struct ledger_voucher *v,
                         struct err *e) MUST_USE;

/* A transaction, or a part of a group. A failed one is undone by ledger_undo. */
int ledger_enter(struct ledger *l, struct err *e) MUST_USE;
int ledger_leave(struct ledger *l, struct err *e) MUST_USE;
void ledger_undo(struct ledger *l);

/* *found: an entry of that id and content is there. Other content is refused. */
int ledger_find(struct ledger *l, const struct ledger_draft *d, bool *found,
                struct err *e) MUST_USE;
/* ERR_LIMIT if less than nothing would be free afterwards. */
int ledger_append(struct ledger *l, const struct ledger_draft *d, struct err *e) MUST_USE;
int ledger_get_lease(struct ledger *l, const char *lease, struct ledger_lease *out,
                     int64_t *fee_bps, struct err *e) MUST_USE;
int ledger_set_lease(struct ledger *l, const char *lease, const struct ledger_lease *h,
                     int64_t fee_bps, struct err *e) MUST_USE;
/* Nothing at all of a wallet that is not there. */
int ledger_totals(struct ledger *l, const char *wallet, int64_t *balance_fen,
                  int64_t *held_fen, struct err *e) MUST_USE;
/* What is due to the owner of that host. */
int ledger_due(struct ledger *l, const char *host, int64_t *fen, struct err *e) MUST_USE;

/* "renter:cash", or with the wallet's id behind. */
void ledger_cash_name(char out[LEDGER_ACCOUNT_MAX], const char *wallet);

/* The day of Asia/Shanghai, counted from 1970. */
int64_t ledger_day(int64_t wall_ns);

/* The chain: what an entry adds to the hash of the one before. */
void ledger_chain(struct sha256 *chain, int64_t n, const char *id, const char *kind,
                  const char *wallet, const char *lease, int64_t wall_ns,
                  int64_t held_fen, const void *body, size_t body_len,
                  const struct buf *posts);
void ledger_chain_post(struct buf *out, const char *dr, const char *cr, int64_t fen);

#define LEDGER_CASH     "renter:cash"
#define LEDGER_VOUCHER  "renter:voucher"
#define LEDGER_PROMISED "renter:promised"
#define LEDGER_FUNDER   "platform:voucher"

#endif
