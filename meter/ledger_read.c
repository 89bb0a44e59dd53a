/* Reading a ledger: what there is of a wallet, of leases, of entries and accounts. */
#include <inttypes.h>
#include <stdio.h>
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

int
ledger_each_row(struct ledger *l, const char *sql, int64_t a, int64_t b,
                int (*fn)(void *ctx, sqlite3_stmt *s, struct err *e), void *ctx,
                struct err *e)
{
    sqlite3_stmt *s = NULL;
    bool row = true;
    int rc = -1;

    if (ledger_settle_accounts(l, e) != 0 || db_prepare(l->db, sql, &s, e) != 0) {
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

const char *
ledger_text_at(sqlite3_stmt *s, int column)
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

    (void)snprintf(h.host, sizeof h.host, "%s", ledger_text_at(s, 4));
    (void)snprintf(h.wallet, sizeof h.wallet, "%s", ledger_text_at(s, 5));
    return c->fn(c->ctx, ledger_text_at(s, 0), &h, e);
}

int
ledger_each_hold(struct ledger *l,
                 int (*fn)(void *ctx, const char *lease, const struct ledger_lease *h,
                           struct err *e),
                 void *ctx, struct err *e)
{
    struct hold_ctx c = {fn, ctx};

    return ledger_each_row(
        l,
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
                                    .id = ledger_text_at(s, 1),
                                    .kind = ledger_text_at(s, 2),
                                    .lease = ledger_text_at(s, 3),
                                    .wall_ns = sqlite3_column_int64(s, 4),
                                    .held_fen = sqlite3_column_int64(s, 5),
                                    .cash_fen = sqlite3_column_int64(s, 6),
                                    .wallet = ledger_text_at(s, 7),
                                    .voucher_fen = sqlite3_column_int64(s, 8)};

    return c->fn(c->ctx, &en, e);
}

/* One walk over the entries of a time, in ranges of their numbers. */
struct ranges {
    struct ledger *l;
    sqlite3_stmt *entries;
    struct entry_ctx c;
    int64_t n_spans; /* when it began */
    int64_t first;   /* of the range so far; 0: none */
    int64_t last;
};

static int
walk_range(struct ranges *r, struct err *e)
{
    bool row = r->first > 0;

    if (row) {
        (void)sqlite3_bind_int64(r->entries, 4, r->first);
        (void)sqlite3_bind_int64(r->entries, 5, r->last);
    }
    while (row) {
        if (db_step(r->l->db, r->entries, &row, e) != 0 ||
            (row && entry_row(&r->c, r->entries, e) != 0)) {
            return -1;
        }
    }
    return 0;
}

/* Ranges that follow each other are one. */
static int
add_range(struct ranges *r, int64_t first, int64_t last, struct err *e)
{
    if (r->first > 0 && first == r->last + 1) {
        r->last = last;
        return 0;
    }
    if (walk_range(r, e) != 0) {
        return -1;
    }
    r->first = first;
    r->last = last;
    return 0;
}

/* One that came meanwhile is of entries behind those counted, which are looked at then.
 */
static int
add_span(void *ctx, sqlite3_stmt *s, struct err *e)
{
    struct ranges *r = ctx;
    int64_t block = sqlite3_column_int64(s, 0);

    return block < r->n_spans
               ? add_range(r, block * LEDGER_SPAN + 1, (block + 1) * LEDGER_SPAN, e)
               : 0;
}

static int
take_count(void *ctx, sqlite3_stmt *s, struct err *e)
{
    int64_t *n = ctx;

    (void)e;
    *n = sqlite3_column_int64(s, 0);
    return 0;
}

/* The spans that may have some, and what has no span yet, which is looked at always. */
static int
walk(struct ranges *r, int64_t from_wall_ns, int64_t to_wall_ns, struct err *e)
{
    return ledger_each_row(r->l, "SELECT count(*) FROM span", 0, 0, take_count,
                           &r->n_spans, e) == 0 &&
                   ledger_each_row(r->l,
                                   "SELECT block FROM span WHERE hi >= ?1 AND lo < ?2"
                                   " ORDER BY block",
                                   from_wall_ns, to_wall_ns, add_span, r, e) == 0 &&
                   add_range(r, r->n_spans * LEDGER_SPAN + 1, INT64_MAX, e) == 0
               ? walk_range(r, e)
               : -1;
}

int
ledger_each(struct ledger *l, int64_t from_wall_ns, int64_t to_wall_ns,
            int (*fn)(void *ctx, const struct ledger_entry *en, struct err *e), void *ctx,
            struct err *e)
{
    struct ranges r = {.l = l, .c = {fn, ctx}};
    int rc = db_prepare(l->db,
                        "SELECT n, id, kind, lease, wall_ns, held, cash, wallet, voucher"
                        " FROM entry"
                        " WHERE n >= ?4 AND n <= ?5 AND wall_ns >= ?1 AND wall_ns < ?2"
                        " AND (?3 IS NULL OR wallet = ?3) ORDER BY n",
                        &r.entries, e);

    if (rc == 0) {
        (void)sqlite3_bind_int64(r.entries, 1, from_wall_ns);
        (void)sqlite3_bind_int64(r.entries, 2, to_wall_ns);
        (void)sqlite3_bind_text(r.entries, 3, l->all ? NULL : l->wallet, -1,
                                SQLITE_STATIC);
        rc = walk(&r, from_wall_ns, to_wall_ns, e);
    }
    (void)sqlite3_finalize(r.entries);
    return rc;
}

struct account_ctx {
    int (*fn)(void *ctx, const struct ledger_account *a, struct err *e);
    void *ctx;
};

static int
account_row(void *ctx, sqlite3_stmt *s, struct err *e)
{
    struct account_ctx *c = ctx;
    const struct ledger_account a = {.name = ledger_text_at(s, 0),
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

    return ledger_each_row(l, "SELECT name, debit, credit FROM account ORDER BY name", 0,
                           0, account_row, &c, e);
}
