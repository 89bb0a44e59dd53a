#ifndef METER_LEDGER_INTERNAL_H
#define METER_LEDGER_INTERNAL_H

#include "base/buf.h"
#include "base/db.h"
#include "base/hash.h"
#include "meter/ledger.h"

/* Shared by ledger.c, ledger_end.c and ledger_voucher.c (what is asked), ledger_cover.c
 * (who pays), ledger_store.c (rows), ledger_account.c (what accounts stand at),
 * ledger_schema.c, ledger_read.c, ledger_check.c and ledger_check_lease.c. */

enum ledger_statement {
    LEDGER_BEGIN = 0,
    LEDGER_COMMIT,
    LEDGER_FIND,
    LEDGER_LAST,
    LEDGER_ADD,
    LEDGER_CLOSE_SPAN,
    LEDGER_SPAN_OF,
    LEDGER_BODY,
    LEDGER_LEASE,
    LEDGER_SET_LEASE,
    LEDGER_OPEN_VOUCHERS,
    LEDGER_COVERS,
    LEDGER_SET_COVER,
    LEDGER_STATEMENT_COUNT
};

/* Entries whose earliest and latest time is kept together: the wall clock may go back, so
 * that a month's entries lie close together, but need not follow each other. */
#define LEDGER_SPAN      1024
#define LEDGER_SPAN_TEXT "1024"

extern const char ledger_schema[];
extern const char *const ledger_upgrades[LEDGER_VERSION - 1];
extern const char *const ledger_statements[LEDGER_STATEMENT_COUNT];

#define LEDGER_ACCOUNT_MAX   (LEDGER_TEXT_MAX + 32)
#define LEDGER_ACCOUNTS_KEPT 512 /* in memory; more only within one entry */
#define LEDGER_ACCOUNT_HEADS 1024

/* What an account stands at; held: what is held of it, a wallet's cash. */
struct ledger_standing {
    int64_t debit_fen;
    int64_t credit_fen;
    int64_t held_fen;
    bool there; /* it has a row */
};

struct ledger_account_kept {
    char name[LEDGER_ACCOUNT_MAX];
    struct ledger_standing is;
    uint32_t next; /* of those with the same head */
    bool dirty;
};

/* Accounts as they stand within a transaction, and which of them are not written yet. */
struct ledger_accounts {
    sqlite3 *db;
    sqlite3_stmt *get; /* debit, credit, held of name ?1 */
    sqlite3_stmt *put; /* name, debit, credit, held */
    struct ledger_account_kept *v;
    size_t n;
    size_t cap;
    size_t n_dirty;
    bool vouchers_dirty;
    uint32_t heads[LEDGER_ACCOUNT_HEADS];
};
int ledger_accounts_open(struct ledger_accounts *a, sqlite3 *db, const char *get,
                         const char *put, struct err *e) MUST_USE;
void ledger_accounts_close(struct ledger_accounts *a);
void ledger_accounts_forget(struct ledger_accounts *a); /* what is not written, too */
/* *at is its place until the next ledger_accounts_room. One without a row has nothing. */
int ledger_accounts_find(struct ledger_accounts *a, const char *name, size_t *at,
                         struct err *e) MUST_USE;
/* To be changed now and written later. */
struct ledger_standing *ledger_accounts_change(struct ledger_accounts *a, size_t at);
int ledger_accounts_write(struct ledger_accounts *a, struct err *e) MUST_USE;
/* Before an entry: forget what is written, when there is much. */
int ledger_accounts_room(struct ledger_accounts *a, struct err *e) MUST_USE;

struct ledger_post {
    char dr[LEDGER_ACCOUNT_MAX];
    char cr[LEDGER_ACCOUNT_MAX];
    int64_t fen;
    size_t dr_at; /* their places, once ledger_accounts_bear has found them */
    size_t cr_at;
};

/* Refused ("range") if an account cannot count what these put into it. The whole entry is
 * held against each account: exact enough so far below the end of the numbers. */
int ledger_accounts_bear(struct ledger_accounts *a, struct ledger_post *p, size_t n,
                         struct err *e) MUST_USE;

struct ledger {
    sqlite3 *db;
    sqlite3_stmt *s[LEDGER_STATEMENT_COUNT];
    bool grouped; /* between ledger_begin and ledger_commit */
    bool writing; /* an entry is half written: no way back but that of the whole */
    bool failed;  /* so the group is lost */
    struct err why;
    char wallet[LEDGER_TEXT_MAX + 1]; /* in use */
    bool all;                         /* all of them, to be read */

    /* The last entry as it was seen last, and accounts as they stood then. */
    int64_t last_n;
    struct sha256 last_chain;
    struct ledger_accounts accounts;

    /* Room that is used again for each entry. */
    struct ledger_post *posts;
    size_t cap_posts;
    struct buf body;
    struct buf post_lines;
    struct buf text;
};

/* An entry about to be made. */
struct ledger_draft {
    struct ledger *l;
    const char *id;
    const char *kind;
    const char *lease; /* "" none */
    bool of_wallet;    /* asked for by a wallet, so only that may ask again */
    char wallet[LEDGER_TEXT_MAX + 1];
    int64_t wall_ns;
    int64_t held_fen; /* change of what is held */
    size_t n_posts;   /* of l->posts; what was asked is in l->body: compared when the id
                         comes again */
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

/*
 * As many as there are: what a lease used up stays with it, and a correction may open
 * vouchers again that others have followed.
 */
struct ledger_covers {
    struct ledger_covering *c;
    size_t n;
    size_t cap;
    size_t *order; /* of those that pay now */
    size_t n_order;
};
void ledger_covers_free(struct ledger_covers *s);

/* lease "": none. In any case ledger_covers_free it. */
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
int ledger_covers_save(struct ledger *l, const char *lease, struct ledger_covers *s,
                       struct err *e) MUST_USE;
/* "renter:voucher:WALLET:ID", or of what is promised of it. */
void ledger_voucher_name(char out[LEDGER_ACCOUNT_MAX], bool promised, const char *wallet,
                         const char *id);
void ledger_post(struct ledger_draft *d, const char *dr, const char *cr, int64_t fen);
/* What an account's name says: is it of that wallet's vouchers? */
bool ledger_is_voucher(const char *account, const char *wallet);
bool ledger_is_of_vouchers(const char *account); /* of any wallet */
void ledger_name_copy(char out[LEDGER_ACCOUNT_MAX], const char *name);
/* "KIND:WHAT" */
#define LEDGER_ID_MAX (LEDGER_TEXT_MAX + 40)
void ledger_id(char out[LEDGER_ID_MAX], const char *kind, const char *what);
/* To what is asked: a line "key=fen". The first one begins the body anew. */
void ledger_ask(struct ledger *l, const char *key, int64_t fen);
void ledger_ask_text(struct ledger *l, const char *key, const char *text);

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

/* Find or make the entry, all in one transaction. */
int ledger_carry_out(struct ledger *l, struct ledger_draft *d, struct ledger_order *o,
                     bool *repeated, struct err *e) MUST_USE;
int ledger_check_text(const char *what, const char *text, struct err *e) MUST_USE;
int ledger_check_fen(int64_t fen, int64_t least, struct err *e) MUST_USE;
/* Fill v (its id is there) with how it was given, and whether it has expired. */
int ledger_voucher_terms(struct ledger *l, int64_t wall_ns, struct ledger_voucher *v,
                         struct err *e) MUST_USE;

/*
 * A transaction, or a part of a group. A failed one is undone by ledger_undo: a refusal
 * in a group has written nothing; whatever else fails halfway takes the group with it.
 */
int ledger_enter(struct ledger *l, struct err *e) MUST_USE;
int ledger_leave(struct ledger *l, struct err *e) MUST_USE;
void ledger_undo(struct ledger *l, const struct err *why);

/* *found: an entry of that id and content is there. Other content is refused. */
int ledger_find(struct ledger *l, const struct ledger_draft *d, bool *found,
                struct err *e) MUST_USE;
/* ERR_LIMIT if less than nothing would be free afterwards. ERR_EXISTS: an entry of that
 * id is there; nothing has changed then, and ledger_find tells whether it is the same. */
int ledger_append(struct ledger *l, const struct ledger_draft *d, struct err *e) MUST_USE;
int ledger_get_lease(struct ledger *l, const char *lease, struct ledger_lease *out,
                     int64_t *fee_bps, struct err *e) MUST_USE;
int ledger_set_lease(struct ledger *l, const char *lease, const struct ledger_lease *h,
                     int64_t fee_bps, struct err *e) MUST_USE;
/* What is not written yet of a group, so that statements see it. */
int ledger_settle_accounts(struct ledger *l, struct err *e) MUST_USE;
/* Nothing at all of a wallet that is not there. */
int ledger_totals(struct ledger *l, const char *wallet, int64_t *balance_fen,
                  int64_t *held_fen, struct err *e) MUST_USE;
/* What is due to the owner of that host. */
int ledger_due(struct ledger *l, const char *host, int64_t *fen, struct err *e) MUST_USE;

/*
 * fn for each row of sql, whose parameters are two integers, and the wallet in use (NULL:
 * all).
 */
int ledger_each_row(struct ledger *l, const char *sql, int64_t a, int64_t b,
                    int (*fn)(void *ctx, sqlite3_stmt *s, struct err *e), void *ctx,
                    struct err *e) MUST_USE;
const char *ledger_text_at(sqlite3_stmt *s, int column); /* "" of NULL */

/* "renter:cash", or with the wallet's id behind. */
void ledger_cash_name(char out[LEDGER_ACCOUNT_MAX], const char *wallet);
void ledger_payable_name(char out[LEDGER_ACCOUNT_MAX], const char *host);

/* What an entry adds to the chain, and the chain after it; scratch is room for it. */
struct ledger_link {
    int64_t n;
    const char *id;
    const char *kind;
    const char *wallet;
    const char *lease;
    int64_t wall_ns;
    int64_t held_fen;
    const void *body;
    size_t body_len;
    const void *posts; /* lines "DR CR FEN" */
    size_t posts_len;
};
void ledger_chain(struct sha256 *chain, const struct ledger_link *k, struct buf *scratch);

/*
 * For ledger_check, of each entry; cleared_fen: what its postings put into its lease's
 * clearing account. ERR_CORRUPT: it does not say what was asked, or posts something else.
 */
int ledger_lease_entry(const struct ledger_link *k, int64_t cleared_fen,
                       struct err *e) MUST_USE;
/* Then of all: ERR_CORRUPT names the first lease that is not what its entries make it. */
int ledger_leases_compare(struct ledger *l, struct err *e) MUST_USE;

#define LEDGER_CASH     "renter:cash"
#define LEDGER_CLEARING "clearing:"
#define LEDGER_VOUCHER  "renter:voucher"
#define LEDGER_PROMISED "renter:promised"
#define LEDGER_FUNDER   "platform:voucher"

#endif
