/* Reading a ledger: statements, and the proof that it adds up. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "meter/ledger_internal.h"

int
ledger_funds(struct ledger *l, struct ledger_funds *out, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_LAST];
    bool row = false;
    struct ledger_funds f;

    if (ledger_totals(l, l->wallet, &f.balance_fen, &f.held_fen, e) != 0 ||
        db_step(l->db, s, &row, e) != 0) {
        return -1;
    }
    f.n_entries = row ? sqlite3_column_int64(s, 0) : 0;
    (void)sqlite3_reset(s);
    f.free_fen = f.balance_fen - f.held_fen;
    *out = f;
    return 0;
}

int
ledger_lease(struct ledger *l, const char *lease, struct ledger_lease *out, struct err *e)
{
    int64_t fee_bps = 0;
    int rc = ledger_get_lease(l, lease, out, &fee_bps, e);

    out->fee_bps = fee_bps;
    return rc;
}

/* fn for each row of sql, whose parameters are two integers, and the wallet (NULL: all).
 */
static int
each_row(struct ledger *l, const char *sql, int64_t a, int64_t b,
         int (*fn)(void *ctx, sqlite3_stmt *s, struct err *e), void *ctx, struct err *e)
{
    sqlite3_stmt *s = NULL;
    bool row = true;
    int rc = -1;

    if (db_prepare(l->db, sql, &s, e) != 0) {
        return -1;
    }
    (void)sqlite3_bind_int64(s, 1, a);
    (void)sqlite3_bind_int64(s, 2, b);
    (void)sqlite3_bind_text(s, 3, l->all ? NULL : l->wallet, -1, SQLITE_STATIC);
    while (row) {
        if (db_step(l->db, s, &row, e) != 0 || (row && fn(ctx, s, e) != 0)) {
            goto out;
        }
    }
    rc = 0;

out:
    (void)sqlite3_finalize(s);
    return rc;
}

static const char *
text_at(sqlite3_stmt *s, int column)
{
    const char *t = (const char *)sqlite3_column_text(s, column);

    return t != NULL ? t : "";
}

struct hold_ctx {
    int (*fn)(void *ctx, const char *lease, const struct ledger_lease *h, struct err *e);
    void *ctx;
};

static int
hold_row(void *ctx, sqlite3_stmt *s, struct err *e)
{
    struct hold_ctx *c = ctx;
    struct ledger_lease h = {.state = (enum ledger_hold_state)sqlite3_column_int64(s, 1),
                             .held_fen = sqlite3_column_int64(s, 2),
                             .charge_fen = sqlite3_column_int64(s, 3),
                             .total_fen = sqlite3_column_int64(s, 6)};

    (void)snprintf(h.host, sizeof h.host, "%s", text_at(s, 4));
    (void)snprintf(h.wallet, sizeof h.wallet, "%s", text_at(s, 5));
    return c->fn(c->ctx, text_at(s, 0), &h, e);
}

int
ledger_each_hold(struct ledger *l,
                 int (*fn)(void *ctx, const char *lease, const struct ledger_lease *h,
                           struct err *e),
                 void *ctx, struct err *e)
{
    struct hold_ctx c = {fn, ctx};

    return each_row(l,
                    "SELECT lease, state, held, charge, host, wallet, total FROM lease"
                    " WHERE total > 0 OR state = 1 ORDER BY lease",
                    0, 0, hold_row, &c, e);
}

struct entry_ctx {
    int (*fn)(void *ctx, const struct ledger_entry *en, struct err *e);
    void *ctx;
};

static int
entry_row(void *ctx, sqlite3_stmt *s, struct err *e)
{
    struct entry_ctx *c = ctx;
    const struct ledger_entry en = {.n = sqlite3_column_int64(s, 0),
                                    .id = text_at(s, 1),
                                    .kind = text_at(s, 2),
                                    .lease = text_at(s, 3),
                                    .wall_ns = sqlite3_column_int64(s, 4),
                                    .held_fen = sqlite3_column_int64(s, 5),
                                    .cash_fen = sqlite3_column_int64(s, 6),
                                    .wallet = text_at(s, 7),
                                    .voucher_fen = sqlite3_column_int64(s, 8)};

    return c->fn(c->ctx, &en, e);
}

int
ledger_each(struct ledger *l, int64_t from_wall_ns, int64_t to_wall_ns,
            int (*fn)(void *ctx, const struct ledger_entry *en, struct err *e), void *ctx,
            struct err *e)
{
    struct entry_ctx c = {fn, ctx};

    return each_row(l,
                    "SELECT n, id, kind, lease, wall_ns, held, cash, wallet, voucher"
                    " FROM entry"
                    " WHERE wall_ns >= ?1 AND wall_ns < ?2"
                    " AND (?3 IS NULL OR wallet = ?3) ORDER BY n",
                    from_wall_ns, to_wall_ns, entry_row, &c, e);
}

struct sum_ctx {
    int (*fn)(void *ctx, const struct ledger_sum *sum, struct err *e);
    void *ctx;
};

static int
sum_row(void *ctx, sqlite3_stmt *s, struct err *e)
{
    struct sum_ctx *c = ctx;
    const struct ledger_sum sum = {.kind = text_at(s, 0),
                                   .n_entries = sqlite3_column_int64(s, 1),
                                   .cash_fen = sqlite3_column_int64(s, 2),
                                   .held_fen = sqlite3_column_int64(s, 3)};

    return c->fn(c->ctx, &sum, e);
}

int
ledger_statement(struct ledger *l, int64_t from_wall_ns, int64_t to_wall_ns,
                 int (*fn)(void *ctx, const struct ledger_sum *sum, struct err *e),
                 void *ctx, struct err *e)
{
    struct sum_ctx c = {fn, ctx};

    return each_row(l,
                    "SELECT kind, sum(n), sum(cash), sum(held) FROM day"
                    " WHERE day >= ?1 AND day < ?2 AND (?3 IS NULL OR wallet = ?3)"
                    " GROUP BY kind ORDER BY kind",
                    ledger_day(from_wall_ns), ledger_day(to_wall_ns), sum_row, &c, e);
}

struct account_ctx {
    int (*fn)(void *ctx, const struct ledger_account *a, struct err *e);
    void *ctx;
};

static int
account_row(void *ctx, sqlite3_stmt *s, struct err *e)
{
    struct account_ctx *c = ctx;
    const struct ledger_account a = {.name = text_at(s, 0),
                                     .debit_fen = sqlite3_column_int64(s, 1),
                                     .credit_fen = sqlite3_column_int64(s, 2)};

    return c->fn(c->ctx, &a, e);
}

int
ledger_each_account(struct ledger *l,
                    int (*fn)(void *ctx, const struct ledger_account *a, struct err *e),
                    void *ctx, struct err *e)
{
    struct account_ctx c = {fn, ctx};

    return each_row(l, "SELECT name, debit, credit FROM account ORDER BY name", 0, 0,
                    account_row, &c, e);
}

/* ---- the proof ---- */

/* What one wallet stands at. */
struct standing {
    char id[LEDGER_TEXT_MAX + 1];
    int64_t balance_fen;
    int64_t held_fen;
};

/* The postings of one entry after the other: a second statement that keeps pace. */
struct walk {
    struct ledger *l;
    sqlite3_stmt *posts;
    bool have; /* posts stands on a row */
    int64_t n; /* entries so far */
    struct sha256 chain;
    int64_t voucher_fen;      /* of the entry: what it did to its wallet's vouchers */
    struct standing *wallets; /* by id */
    size_t n_wallets;
    struct buf text;
};

/* The wallet of that id, made with nothing in it. */
static struct standing *
wallet_of(struct walk *w, const char *id)
{
    size_t from = 0;
    size_t to = w->n_wallets;

    while (from < to) {
        size_t mid = from + (to - from) / 2;

        if (strcmp(w->wallets[mid].id, id) < 0) {
            from = mid + 1;
        } else {
            to = mid;
        }
    }
    if (from == w->n_wallets || strcmp(w->wallets[from].id, id) != 0) {
        w->wallets = xrealloc(w->wallets, (w->n_wallets + 1) * sizeof *w->wallets);
        memmove(&w->wallets[from + 1], &w->wallets[from],
                (w->n_wallets - from) * sizeof *w->wallets);
        memset(&w->wallets[from], 0, sizeof *w->wallets);
        (void)snprintf(w->wallets[from].id, sizeof w->wallets[from].id, "%s", id);
        w->n_wallets++;
    }
    return &w->wallets[from];
}

/* A posting moves the money of the entry's own wallet, or of none. */
static int
move_cash(struct standing *of, const char *account, int64_t fen, int64_t entry,
          struct err *e)
{
    char cash[LEDGER_ACCOUNT_MAX];

    if (strncmp(account, LEDGER_CASH, sizeof LEDGER_CASH - 1) != 0) {
        return 0;
    }
    ledger_cash_name(cash, of->id);
    if (strcmp(cash, account) != 0) {
        return err_set(e, ERR_CORRUPT, "entry %" PRId64 " moves another wallet's money",
                       entry);
    }
    of->balance_fen += fen;
    return 0;
}

static bool
of_vouchers(const char *account)
{
    return strncmp(account, LEDGER_VOUCHER ":", sizeof LEDGER_VOUCHER) == 0 ||
           strncmp(account, LEDGER_PROMISED ":", sizeof LEDGER_PROMISED) == 0;
}

/* The same of vouchers. */
static int
move_voucher(struct walk *w, const struct standing *of, const char *account, int64_t fen,
             int64_t entry, struct err *e)
{
    if (!of_vouchers(account)) {
        return 0;
    }
    if (!ledger_is_voucher(account, of->id)) {
        return err_set(e, ERR_CORRUPT, "entry %" PRId64 " moves another wallet's voucher",
                       entry);
    }
    w->voucher_fen += fen;
    return 0;
}

static int
next_post(struct walk *w, struct err *e)
{
    return db_step(w->l->db, w->posts, &w->have, e);
}

static int
take_posts(struct walk *w, int64_t entry, struct standing *of, struct err *e)
{
    w->voucher_fen = 0;
    buf_reset(&w->text);
    while (w->have && sqlite3_column_int64(w->posts, 0) == entry) {
        int64_t fen = sqlite3_column_int64(w->posts, 3);
        const char *dr = text_at(w->posts, 1);
        const char *cr = text_at(w->posts, 2);

        ledger_chain_post(&w->text, dr, cr, fen);
        if (move_cash(of, dr, -fen, entry, e) != 0 ||
            move_cash(of, cr, fen, entry, e) != 0 ||
            move_voucher(w, of, dr, -fen, entry, e) != 0 ||
            move_voucher(w, of, cr, fen, entry, e) != 0 || next_post(w, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static int
check_entry(void *ctx, sqlite3_stmt *s, struct err *e)
{
    struct walk *w = ctx;
    int64_t n = sqlite3_column_int64(s, 0);
    struct standing *of = wallet_of(w, text_at(s, 9));
    int64_t cash_fen;

    if (n != w->n + 1) {
        return err_set(e, ERR_CORRUPT, "entry %" PRId64 " is missing", w->n + 1);
    }
    w->n = n;
    cash_fen = -of->balance_fen;
    if (take_posts(w, n, of, e) != 0) {
        return -1;
    }
    cash_fen += of->balance_fen;
    of->held_fen += sqlite3_column_int64(s, 5);
    ledger_chain(&w->chain, n, text_at(s, 1), text_at(s, 2), of->id, text_at(s, 3),
                 sqlite3_column_int64(s, 4), sqlite3_column_int64(s, 5),
                 sqlite3_column_blob(s, 6), (size_t)sqlite3_column_bytes(s, 6), &w->text);
    if (sqlite3_column_bytes(s, 7) != (int)sizeof w->chain.b ||
        memcmp(sqlite3_column_blob(s, 7), w->chain.b, sizeof w->chain.b) != 0) {
        return err_set(e, ERR_CORRUPT,
                       "entry %" PRId64 " is not what was entered: its hash differs", n);
    }
    if (cash_fen != sqlite3_column_int64(s, 8) ||
        w->voucher_fen != sqlite3_column_int64(s, 10)) {
        return err_set(e, ERR_CORRUPT, "entry %" PRId64 " is not the sum of its postings",
                       n);
    }
    if (of->held_fen < 0 || of->balance_fen < of->held_fen) {
        return err_set(e, ERR_CORRUPT, "entry %" PRId64 " takes more than there is", n);
    }
    return 0;
}

static int
check_chain(struct walk *w, struct err *e)
{
    if (db_prepare(w->l->db,
                   "SELECT p.entry, d.name, c.name, p.fen FROM posting p"
                   " JOIN account d ON d.n = p.dr JOIN account c ON c.n = p.cr"
                   " ORDER BY p.n",
                   &w->posts, e) != 0 ||
        next_post(w, e) != 0 ||
        each_row(w->l,
                 "SELECT n, id, kind, lease, wall_ns, held, body, chain, cash, wallet,"
                 " voucher FROM entry ORDER BY n",
                 0, 0, check_entry, w, e) != 0) {
        return -1;
    }
    if (w->have) {
        return err_set(e, ERR_CORRUPT,
                       "a posting of an entry that is not there: %" PRId64,
                       (int64_t)sqlite3_column_int64(w->posts, 0));
    }
    return 0;
}

static int
wrong_row(void *ctx, sqlite3_stmt *s, struct err *e)
{
    const char *what = ctx;

    return err_set(e, ERR_CORRUPT, "%s %s", what, text_at(s, 0));
}

static int
note_wallet(void *ctx, sqlite3_stmt *s, struct err *e)
{
    (void)e;
    (void)wallet_of(ctx, text_at(s, 0));
    return 0;
}

/* Totals that are kept beside the entries are those of the entries. */
static int
check_wallets(struct walk *w, struct err *e)
{
    if (each_row(w->l, "SELECT id FROM wallet", 0, 0, note_wallet, w, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < w->n_wallets; i++) {
        const struct standing *is = &w->wallets[i];
        int64_t balance = 0;
        int64_t held = 0;

        if (ledger_totals(w->l, is->id, &balance, &held, e) != 0) {
            return -1;
        }
        if (balance != is->balance_fen || held != is->held_fen) {
            return err_set(e, ERR_CORRUPT,
                           "the totals%s%s (%" PRId64 ", %" PRId64
                           " held) are not those of the entries (%" PRId64 ", %" PRId64
                           ")",
                           is->id[0] != '\0' ? " of " : "", is->id, balance, held,
                           is->balance_fen, is->held_fen);
        }
    }
    return 0;
}

static int
check_sums(struct walk *w, struct err *e)
{
    static const struct {
        const char *what;
        const char *sql;
    } checks[] = {
        {"not the sum of its postings: account",
         "SELECT name FROM account LEFT JOIN"
         " (SELECT dr, sum(fen) AS d FROM posting GROUP BY dr) ON dr = account.n"
         " LEFT JOIN (SELECT cr, sum(fen) AS c FROM posting GROUP BY cr)"
         " ON cr = account.n"
         " WHERE debit <> coalesce(d, 0) OR credit <> coalesce(c, 0) LIMIT 1"},
        {"not at zero: account",
         "SELECT name FROM account WHERE name GLOB 'clearing:*' AND debit <> credit"
         " LIMIT 1"},
        {"less than nothing: account",
         "SELECT name FROM account WHERE (name GLOB 'owner:payable:*'"
         " OR name GLOB 'renter:voucher:*' OR name GLOB 'renter:promised:*')"
         " AND debit > credit LIMIT 1"},
        {"not what its entries promise: voucher",
         "SELECT voucher FROM (SELECT lease, voucher, promised AS fen FROM cover"
         " UNION ALL SELECT e.lease, replace(a.name, 'renter:promised:' || e.wallet ||"
         " ':', ''), CASE a.n WHEN p.dr THEN p.fen ELSE -p.fen END"
         " FROM posting p CROSS JOIN account a CROSS JOIN entry e"
         " WHERE EXISTS (SELECT 1 FROM account WHERE name GLOB 'renter:promised:*')"
         " AND a.n IN (p.dr, p.cr) AND e.n = p.entry"
         " AND a.name GLOB 'renter:promised:*')"
         " GROUP BY lease, voucher HAVING sum(fen) <> 0 LIMIT 1"},
        {"not what its entries took: voucher",
         "SELECT voucher FROM (SELECT lease, voucher, spent AS fen FROM cover"
         " UNION ALL SELECT e.lease, replace(a.name, 'renter:voucher:' || e.wallet ||"
         " ':', ''), CASE a.n WHEN p.cr THEN p.fen ELSE -p.fen END"
         " FROM posting p CROSS JOIN account a CROSS JOIN account c CROSS JOIN entry e"
         " WHERE EXISTS (SELECT 1 FROM account WHERE name GLOB 'renter:voucher:*')"
         " AND a.n IN (p.dr, p.cr) AND c.n = p.dr + p.cr - a.n AND e.n = p.entry"
         " AND a.name GLOB 'renter:voucher:*' AND c.name GLOB 'clearing:*')"
         " GROUP BY lease, voucher HAVING sum(fen) <> 0 LIMIT 1"},
        {"not the sum of its entries: day",
         "SELECT a.d FROM (SELECT (wall_ns / 1000000000 + 28800) / 86400 AS d, kind AS k,"
         " wallet AS w, count(*) AS c, sum(cash) AS x, sum(held) AS h FROM entry"
         " WHERE wall_ns >= 0 GROUP BY 1, 2, 3) a"
         " FULL JOIN (SELECT * FROM day WHERE day >= 0) b"
         " ON b.day = a.d AND b.kind = a.k AND b.wallet = a.w"
         " WHERE c IS NOT n OR x IS NOT cash OR h IS NOT held LIMIT 1"},
        {"not what its entries hold: lease",
         "SELECT lease.lease FROM lease LEFT JOIN"
         " (SELECT lease AS x, sum(held) AS h FROM entry GROUP BY lease)"
         " ON x = lease.lease WHERE held <> coalesce(h, 0) LIMIT 1"},
        {"not of the wallet that its entries are of: lease",
         "SELECT lease.lease FROM lease JOIN entry ON entry.lease = lease.lease"
         " WHERE lease.wallet <> entry.wallet LIMIT 1"},
    };

    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        if (each_row(w->l, checks[i].sql, 0, 0, wrong_row,
                     (void *)(uintptr_t)checks[i].what, e) != 0) {
            return -1;
        }
    }
    return check_wallets(w, e);
}

int
ledger_check(struct ledger *l, struct err *e)
{
    struct walk w = {.l = l};
    int rc = -1;

    /* One view of it all, whoever writes meanwhile. */
    if (!l->grouped && db_exec(l->db, "BEGIN", e) != 0) {
        return -1;
    }
    if (check_chain(&w, e) == 0 && check_sums(&w, e) == 0) {
        rc = 0;
    }
    (void)sqlite3_finalize(w.posts);
    free(w.wallets);
    buf_free(&w.text);
    if (!l->grouped) {
        (void)sqlite3_exec(l->db, "COMMIT", NULL, NULL, NULL);
    }
    return rc;
}
