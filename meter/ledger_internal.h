#ifndef METER_LEDGER_INTERNAL_H
#define METER_LEDGER_INTERNAL_H

#include "base/buf.h"
#include "base/db.h"
#include "base/hash.h"
#include "meter/ledger.h"

/* Shared by ledger.c (what is asked), ledger_store.c (rows) and ledger_check.c. */

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
    LEDGER_STATEMENT_COUNT
};

#define LEDGER_POSTS_MAX   4
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

#define LEDGER_CASH "renter:cash"

#endif
