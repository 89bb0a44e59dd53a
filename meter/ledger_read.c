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

int
ledger_each(struct ledger *l, int64_t from_wall_ns, int64_t to_wall_ns,
            int (*fn)(void *ctx, const struct ledger_entry *en, struct err *e), void *ctx,
            struct err *e)
{
    struct entry_ctx c = {fn, ctx};

    return ledger_each_row(
        l,
        "SELECT n, id, kind, lease, wall_ns, held, cash, wallet, voucher"
        " FROM entry"
        " WHERE wall_ns >= ?1 AND wall_ns < ?2"
        " AND (?3 IS NULL OR wallet = ?3) ORDER BY n",
        from_wall_ns, to_wall_ns, entry_row, &c, e);
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
