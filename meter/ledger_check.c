/*
 * The proof that a ledger adds up: what accounts stand at and vouchers cover is made anew
 * from the entries, in temporary tables, so that memory does not grow with their number,
 * and compared. Of leases ledger_check_lease.c does it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "meter/ledger_internal.h"
#include "meter/words.h"

struct walk {
    struct ledger *l;
    struct ledger_accounts accounts; /* as the entries make them */
    sqlite3_stmt *cover;
    int64_t n;     /* entries so far */
    int64_t lo_ns; /* of those of the span at hand */
    int64_t hi_ns;
    struct sha256 chain;
    struct buf text;
};

/* One entry, as it is walked over. */
struct step {
    int64_t n;
    const char *wallet;
    const char *lease;
    char cash[LEDGER_ACCOUNT_MAX];
    int64_t moved_fen;   /* by all its postings so far */
    int64_t cleared_fen; /* of that, into its lease's clearing account */
    int64_t cash_fen;    /* what its postings do to its wallet */
    int64_t voucher_fen; /* and to that wallet's vouchers */
};

/* ---- postings ---- */

static bool
starts(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* A voucher's account of the step's wallet: what it does to the lease. */
static int
take_cover(struct walk *w, const struct step *st, const char *account, const char *other,
           int64_t fen, struct err *e)
{
    bool promised = starts(account, LEDGER_PROMISED ":");
    size_t kind = promised ? sizeof LEDGER_PROMISED : sizeof LEDGER_VOUCHER;
    bool row = false;

    if (!promised && !starts(other, LEDGER_CLEARING)) {
        return 0;
    }
    (void)sqlite3_bind_text(w->cover, 1, st->lease, -1, SQLITE_STATIC);
    (void)sqlite3_bind_text(w->cover, 2, account + kind + strlen(st->wallet) + 1, -1,
                            SQLITE_STATIC);
    (void)sqlite3_bind_int64(w->cover, 3, promised ? fen : 0);
    (void)sqlite3_bind_int64(w->cover, 4, promised ? 0 : -fen);
    return db_step(w->l->db, w->cover, &row, e);
}

/* fen: what one side of a posting puts into its account. */
static int
take_side(struct walk *w, struct step *st, const char *account, const char *other,
          int64_t fen, struct err *e)
{
    struct ledger_standing *is;
    size_t at = 0;

    if (ledger_accounts_find(&w->accounts, account, &at, e) != 0) {
        return -1;
    }
    is = ledger_accounts_change(&w->accounts, at);
    if ((fen < 0 ? is->debit_fen - fen : is->credit_fen + fen) > LEDGER_ACCOUNT_FEN_MAX) {
        return err_set(e, ERR_CORRUPT,
                       "entry %" PRId64 " moves more than account %s can count", st->n,
                       account);
    }
    is->debit_fen -= fen < 0 ? fen : 0;
    is->credit_fen += fen > 0 ? fen : 0;
    if (starts(account, LEDGER_CASH)) {
        st->cash_fen += fen;
        return strcmp(account, st->cash) == 0
                   ? 0
                   : err_set(e, ERR_CORRUPT,
                             "entry %" PRId64 " moves another wallet's money", st->n);
    }
    if (starts(account, LEDGER_CLEARING)) {
        st->cleared_fen += fen > 0 ? fen : 0;
        return strcmp(account + strlen(LEDGER_CLEARING), st->lease) == 0
                   ? 0
                   : err_set(e, ERR_CORRUPT,
                             "entry %" PRId64 " moves another lease's money", st->n);
    }
    if (!ledger_is_of_vouchers(account)) {
        return 0;
    }
    st->voucher_fen += fen;
    return ledger_is_voucher(account, st->wallet)
               ? take_cover(w, st, account, other, fen, e)
               : err_set(e, ERR_CORRUPT,
                         "entry %" PRId64 " moves another wallet's voucher", st->n);
}

/* The word up to `end`, copied; NULL: there is none. What follows it. */
static const char *
take_word(const char *at, char end, char out[LEDGER_ACCOUNT_MAX])
{
    const char *to = strchr(at, end);
    size_t len = to != NULL ? (size_t)(to - at) : 0;

    if (len == 0 || len >= LEDGER_ACCOUNT_MAX) {
        return NULL;
    }
    memcpy(out, at, len);
    out[len] = '\0';
    return to + 1;
}

static int
take_posts(struct walk *w, struct step *st, const char *lines, struct err *e)
{
    char dr[LEDGER_ACCOUNT_MAX];
    char cr[LEDGER_ACCOUNT_MAX];
    char number[LEDGER_ACCOUNT_MAX];

    for (const char *at = lines; *at != '\0';) {
        int64_t fen = 0;

        at = take_word(at, ' ', dr);
        at = at != NULL ? take_word(at, ' ', cr) : NULL;
        at = at != NULL ? take_word(at, '\n', number) : NULL;
        if (at == NULL || !words_parse_int(number, strlen(number), &fen) || fen <= 0 ||
            fen > LEDGER_FEN_MAX) {
            return err_set(e, ERR_CORRUPT, "entry %" PRId64 " has a posting that is none",
                           st->n);
        }
        st->moved_fen += fen;
        if (st->moved_fen > LEDGER_ACCOUNT_FEN_MAX) {
            return err_set(e, ERR_CORRUPT, "entry %" PRId64 " moves more than any can",
                           st->n);
        }
        if (take_side(w, st, dr, cr, -fen, e) != 0 ||
            take_side(w, st, cr, dr, fen, e) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- entries ---- */

/* What its wallet stands at, after it: never less than is held, nor that below nothing.
 */
static int
take_wallet(struct walk *w, const struct step *st, int64_t held_fen, struct err *e)
{
    const struct ledger_standing *is;
    int64_t sum_fen = 0;
    size_t at = 0;

    if (ledger_accounts_find(&w->accounts, st->cash, &at, e) != 0) {
        return -1;
    }
    is = &w->accounts.v[at].is;
    if (__builtin_add_overflow(is->held_fen, held_fen, &sum_fen) || sum_fen < 0 ||
        is->credit_fen - is->debit_fen < sum_fen) {
        return err_set(e, ERR_CORRUPT, "entry %" PRId64 " takes more than there is",
                       st->n);
    }
    if (held_fen != 0) {
        ledger_accounts_change(&w->accounts, at)->held_fen = sum_fen;
    }
    return 0;
}

/* Where in time the entries lie, by which a month's are found. */
static int
take_time(struct walk *w, int64_t wall_ns, struct err *e)
{
    sqlite3_stmt *s = w->l->s[LEDGER_SPAN_OF];
    bool first = w->n % LEDGER_SPAN == 1;
    bool row = false;
    bool right;

    w->lo_ns = first || wall_ns < w->lo_ns ? wall_ns : w->lo_ns;
    w->hi_ns = first || wall_ns > w->hi_ns ? wall_ns : w->hi_ns;
    if (w->n % LEDGER_SPAN != 0) {
        return 0;
    }
    (void)sqlite3_bind_int64(s, 1, w->n / LEDGER_SPAN - 1);
    if (db_step(w->l->db, s, &row, e) != 0) {
        return -1;
    }
    right = row && sqlite3_column_int64(s, 0) == w->lo_ns &&
            sqlite3_column_int64(s, 1) == w->hi_ns;
    (void)sqlite3_reset(s);
    return right ? 0
                 : err_set(e, ERR_CORRUPT,
                           "the span of entries to %" PRId64
                           " says other times than they have",
                           w->n);
}

static int
check_entry(void *ctx, sqlite3_stmt *s, struct err *e)
{
    struct walk *w = ctx;
    struct step st = {.n = sqlite3_column_int64(s, 0),
                      .wallet = ledger_text_at(s, 9),
                      .lease = ledger_text_at(s, 3)};
    const struct ledger_link k = {.n = st.n,
                                  .id = ledger_text_at(s, 1),
                                  .kind = ledger_text_at(s, 2),
                                  .wallet = st.wallet,
                                  .lease = st.lease,
                                  .wall_ns = sqlite3_column_int64(s, 4),
                                  .held_fen = sqlite3_column_int64(s, 5),
                                  .body = sqlite3_column_blob(s, 6),
                                  .body_len = (size_t)sqlite3_column_bytes(s, 6),
                                  .posts = ledger_text_at(s, 11),
                                  .posts_len = (size_t)sqlite3_column_bytes(s, 11)};

    if (st.n != w->n + 1) {
        return err_set(e, ERR_CORRUPT, "entry %" PRId64 " is missing", w->n + 1);
    }
    w->n = st.n;
    ledger_chain(&w->chain, &k, &w->text);
    if (sqlite3_column_bytes(s, 7) != (int)sizeof w->chain.b ||
        memcmp(sqlite3_column_blob(s, 7), w->chain.b, sizeof w->chain.b) != 0) {
        return err_set(e, ERR_CORRUPT,
                       "entry %" PRId64 " is not what was entered: its hash differs",
                       st.n);
    }
    ledger_cash_name(st.cash, st.wallet);
    if (ledger_accounts_room(&w->accounts, e) != 0 ||
        take_posts(w, &st, k.posts, e) != 0) {
        return -1;
    }
    if (st.cash_fen != sqlite3_column_int64(s, 8) ||
        st.voucher_fen != sqlite3_column_int64(s, 10)) {
        return err_set(e, ERR_CORRUPT, "entry %" PRId64 " is not the sum of its postings",
                       st.n);
    }
    return take_wallet(w, &st, k.held_fen, e) == 0 && take_time(w, k.wall_ns, e) == 0
               ? ledger_lease_entry(&k, st.cleared_fen, e)
               : -1;
}

/* ---- what is kept beside them ---- */

static int
wrong_row(void *ctx, sqlite3_stmt *s, struct err *e)
{
    const char *what = ctx;

    return err_set(e, ERR_CORRUPT, "%s %s", what, ledger_text_at(s, 0));
}

static int
check_sums(struct ledger *l, struct err *e)
{
    static const struct {
        const char *what;
        const char *sql;
    } checks[] = {
        {"not the sum of its postings: account",
         "SELECT name FROM (SELECT name, debit AS d, credit AS c, held AS h FROM account"
         " UNION ALL SELECT name, -debit, -credit, -held FROM temp.made_account)"
         " GROUP BY name HAVING sum(d) <> 0 OR sum(c) <> 0 OR sum(h) <> 0 LIMIT 1"},
        {"of no entries: span",
         "SELECT block FROM span WHERE block < 0 OR (block + 1) * " LEDGER_SPAN_TEXT
         " > (SELECT coalesce(max(n), 0) FROM entry) LIMIT 1"},
        {"not at zero: account",
         "SELECT name FROM account WHERE name GLOB 'clearing:*' AND debit <> credit"
         " LIMIT 1"},
        {"less than nothing: account",
         "SELECT name FROM account WHERE (name GLOB 'renter:voucher:*'"
         " OR name GLOB 'renter:promised:*')"
         " AND debit > credit LIMIT 1"},
        {"not what its entries promise and take: voucher",
         "SELECT voucher FROM (SELECT lease, voucher, promised AS p, spent AS s FROM "
         "cover"
         " UNION ALL SELECT lease, voucher, -promised, -spent FROM temp.made_cover)"
         " GROUP BY lease, voucher HAVING sum(p) <> 0 OR sum(s) <> 0 LIMIT 1"},
    };

    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        if (ledger_each_row(l, checks[i].sql, 0, 0, wrong_row,
                            (void *)(uintptr_t)checks[i].what, e) != 0) {
            return -1;
        }
    }
    return ledger_leases_compare(l, e);
}

#define DROP_MADE                                                                        \
    "DROP TABLE IF EXISTS temp.made_account; DROP TABLE IF EXISTS temp.made_cover"

/* Each lease has an account that is looked for by its name: what does not fit in here is
 * read from a file each time. */
#define TEMP_CACHE "PRAGMA temp.cache_size = -32768;" /* KiB */

static int
walk_open(struct walk *w, struct err *e)
{
    return db_exec(w->l->db,
                   TEMP_CACHE DROP_MADE
                   ";CREATE TEMP TABLE made_account(name TEXT PRIMARY KEY,"
                   " debit INTEGER, credit INTEGER, held INTEGER) WITHOUT ROWID;"
                   "CREATE TEMP TABLE made_cover(lease TEXT, voucher TEXT,"
                   " promised INTEGER, spent INTEGER, PRIMARY KEY(lease, voucher))"
                   " WITHOUT ROWID",
                   e) == 0 &&
                   ledger_accounts_open(
                       &w->accounts, w->l->db,
                       "SELECT debit, credit, held FROM temp.made_account WHERE name = "
                       "?1",
                       "INSERT OR REPLACE INTO temp.made_account VALUES(?1, ?2, ?3, ?4)",
                       e) == 0
               ? db_prepare(w->l->db,
                            "INSERT INTO temp.made_cover VALUES(?1, ?2, ?3, ?4)"
                            " ON CONFLICT DO UPDATE SET promised = promised + ?3,"
                            " spent = spent + ?4",
                            &w->cover, e)
               : -1;
}

static int
check_all(struct walk *w, struct err *e)
{
    return walk_open(w, e) == 0 &&
                   ledger_each_row(
                       w->l,
                       "SELECT n, id, kind, lease, wall_ns, held, body, chain,"
                       " cash, wallet, voucher, posts FROM entry ORDER BY n",
                       0, 0, check_entry, w, e) == 0 &&
                   ledger_accounts_write(&w->accounts, e) == 0
               ? check_sums(w->l, e)
               : -1;
}

int
ledger_check(struct ledger *l, struct err *e)
{
    struct walk *w = xcalloc(1, sizeof *w);
    int rc;

    w->l = l;
    /* One view of it all, whoever writes meanwhile. */
    if (!l->grouped && db_exec(l->db, "BEGIN", e) != 0) {
        free(w);
        return -1;
    }
    rc = check_all(w, e);
    (void)sqlite3_finalize(w->cover);
    ledger_accounts_close(&w->accounts);
    buf_free(&w->text);
    free(w);
    (void)sqlite3_exec(l->db, DROP_MADE, NULL, NULL, NULL);
    if (!l->grouped) {
        (void)sqlite3_exec(l->db, "COMMIT", NULL, NULL, NULL);
    }
    return rc;
}
