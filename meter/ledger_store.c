#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "meter/calendar.h"
#include "meter/ledger_internal.h"
#include "meter/refuse.h"

#define NS_PER_S       ((int64_t)1000000000)
#define DAY_S          86400
#define APPLICATION_ID 0x67704c31 /* "gpL1" */

/* What vouchers have to do with a lease. */
#define COVERS                                                                           \
    "CREATE TABLE cover(lease TEXT NOT NULL, voucher TEXT NOT NULL,"                     \
    " seq INTEGER NOT NULL, promised INTEGER NOT NULL CHECK(promised >= 0),"             \
    " spent INTEGER NOT NULL CHECK(spent >= 0), PRIMARY KEY(lease, voucher))"            \
    " STRICT, WITHOUT ROWID;"

static const char schema[] =
    "CREATE TABLE entry(n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " kind TEXT NOT NULL, lease TEXT NOT NULL, wall_ns INTEGER NOT NULL,"
    " held INTEGER NOT NULL, cash INTEGER NOT NULL, body BLOB NOT NULL,"
    " chain BLOB NOT NULL, wallet TEXT NOT NULL DEFAULT '',"
    " voucher INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE account(n INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    " debit INTEGER NOT NULL DEFAULT 0, credit INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE posting(n INTEGER PRIMARY KEY,"
    " entry INTEGER NOT NULL REFERENCES entry(n),"
    " dr INTEGER NOT NULL REFERENCES account(n),"
    " cr INTEGER NOT NULL REFERENCES account(n),"
    " fen INTEGER NOT NULL CHECK(fen > 0)) STRICT;"
    "CREATE TABLE lease(lease TEXT PRIMARY KEY, state INTEGER NOT NULL,"
    " held INTEGER NOT NULL CHECK(held >= 0), charge INTEGER NOT NULL,"
    " host TEXT NOT NULL, fee_bps INTEGER NOT NULL, wallet TEXT NOT NULL DEFAULT '',"
    " total INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;" COVERS
    "CREATE TABLE day(wallet TEXT NOT NULL, day INTEGER NOT NULL, kind TEXT NOT NULL,"
    " n INTEGER NOT NULL, cash INTEGER NOT NULL, held INTEGER NOT NULL,"
    " PRIMARY KEY(wallet, day, kind)) STRICT, WITHOUT ROWID;"
    "INSERT INTO account(n, name) VALUES(1, 'renter:cash');"
    "CREATE TABLE wallet(id TEXT PRIMARY KEY, cash INTEGER NOT NULL REFERENCES "
    "account(n),"
    " held INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO wallet VALUES('', 1, 0);"
    "CREATE TRIGGER entry_stays BEFORE UPDATE ON entry"
    " BEGIN SELECT raise(ABORT, 'entries are never changed'); END;"
    "CREATE TRIGGER entry_remains BEFORE DELETE ON entry"
    " BEGIN SELECT raise(ABORT, 'entries are never removed'); END;"
    "CREATE TRIGGER posting_stays BEFORE UPDATE ON posting"
    " BEGIN SELECT raise(ABORT, 'postings are never changed'); END;"
    "CREATE TRIGGER posting_remains BEFORE DELETE ON posting"
    " BEGIN SELECT raise(ABORT, 'postings are never removed'); END;";

/* Version 1 knew one wallet only. */
static const char upgrade_1[] =
    "ALTER TABLE entry ADD COLUMN wallet TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE lease ADD COLUMN wallet TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE day RENAME TO day1;"
    "CREATE TABLE day(wallet TEXT NOT NULL, day INTEGER NOT NULL, kind TEXT NOT NULL,"
    " n INTEGER NOT NULL, cash INTEGER NOT NULL, held INTEGER NOT NULL,"
    " PRIMARY KEY(wallet, day, kind)) STRICT, WITHOUT ROWID;"
    "INSERT INTO day SELECT '', day, kind, n, cash, held FROM day1;"
    "DROP TABLE day1;"
    "CREATE TABLE wallet(id TEXT PRIMARY KEY, cash INTEGER NOT NULL REFERENCES "
    "account(n),"
    " held INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO wallet SELECT '', 1, held FROM total;"
    "DROP TABLE total;";

/* Version 2 knew no vouchers. */
static const char upgrade_2[] =
    "ALTER TABLE entry ADD COLUMN voucher INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE lease ADD COLUMN total INTEGER NOT NULL DEFAULT 0;"
    "UPDATE lease SET total = held;" COVERS;

static const char *const upgrades[LEDGER_VERSION - 1] = {upgrade_1, upgrade_2};

static const char *const statements[LEDGER_STATEMENT_COUNT] = {
    [LEDGER_FIND] = "SELECT kind, lease, body, wallet FROM entry WHERE id = ?1",
    [LEDGER_LAST] = "SELECT n, chain FROM entry ORDER BY n DESC LIMIT 1",
    [LEDGER_ADD] = "INSERT INTO entry VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
                   " ?10, ?11)",
    [LEDGER_POST] = "INSERT INTO posting(entry, dr, cr, fen) VALUES(?1, ?2, ?3, ?4)",
    [LEDGER_ACCOUNT] = "SELECT n FROM account WHERE name = ?1",
    [LEDGER_NEW_ACCOUNT] = "INSERT INTO account(name) VALUES(?1)",
    [LEDGER_MOVE] =
        "UPDATE account SET debit = debit + ?2, credit = credit + ?3 WHERE n = ?1",
    [LEDGER_TOTALS] = "SELECT a.credit - a.debit, w.held FROM wallet w"
                      " JOIN account a ON a.n = w.cash WHERE w.id = ?1",
    [LEDGER_DAY] = "INSERT INTO day VALUES(?5, ?1, ?2, 1, ?3, ?4) ON CONFLICT DO UPDATE"
                   " SET n = n + 1, cash = cash + ?3, held = held + ?4",
    [LEDGER_HELD] = "UPDATE wallet SET held = held + ?1 WHERE id = ?2",
    [LEDGER_NEW_WALLET] = "INSERT OR IGNORE INTO wallet VALUES(?1, ?2, 0)",
    [LEDGER_DUE] = "SELECT credit - debit FROM account WHERE name = ?1",
    [LEDGER_BODY] = "SELECT body FROM entry WHERE id = ?1",
    [LEDGER_LEASE] = "SELECT state, held, charge, host, fee_bps, wallet, total FROM lease"
                     " WHERE lease = ?1",
    [LEDGER_SAVE] = "SAVEPOINT one",
    [LEDGER_KEEP] = "RELEASE one",
    [LEDGER_SET_LEASE] =
        "INSERT OR REPLACE INTO lease VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [LEDGER_OPEN_VOUCHERS] =
        "SELECT substr(name, length(?1) + 1), credit - debit FROM account"
        " WHERE name > ?1 AND name < ?2 AND credit > debit ORDER BY name",
    [LEDGER_COVERS] = "SELECT voucher, promised, spent, seq FROM cover WHERE lease = ?1"
                      " AND (promised > 0 OR spent > 0) ORDER BY seq, voucher",
    [LEDGER_SET_COVER] = "INSERT OR REPLACE INTO cover VALUES(?1, ?2, ?3, ?4, ?5)",
};

int
ledger_open(struct ledger **out, const char *path, struct err *e)
{
    const struct db_options o = {.application_id = APPLICATION_ID,
                                 .version = LEDGER_VERSION,
                                 .schema = schema,
                                 .upgrades = upgrades};
    struct ledger *l = xcalloc(1, sizeof *l);

    if (db_open(&l->db, path, &o, e) != 0) {
        free(l);
        return err_wrap(e, "the ledger %s", path);
    }
    for (int i = 0; i < LEDGER_STATEMENT_COUNT; i++) {
        if (db_prepare(l->db, statements[i], &l->s[i], e) != 0) {
            ledger_close(l);
            return err_wrap(e, "the ledger %s", path);
        }
    }
    *out = l;
    return 0;
}

void
ledger_close(struct ledger *l)
{
    if (l == NULL) {
        return;
    }
    for (int i = 0; i < LEDGER_STATEMENT_COUNT; i++) {
        (void)sqlite3_finalize(l->s[i]);
    }
    db_close(l->db);
    free(l);
}

/* ---- rows ---- */

static void
bind_text(sqlite3_stmt *s, int at, const char *text)
{
    (void)sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

/* Step a statement that gives no row, ready for the next use. */
static int
run(struct ledger *l, enum ledger_statement which, struct err *e)
{
    bool row = false;
    int rc = db_step(l->db, l->s[which], &row, e);

    (void)sqlite3_reset(l->s[which]);
    (void)sqlite3_clear_bindings(l->s[which]);
    return rc;
}

/* ---- transactions ---- */

static void
forget_recent(struct ledger *l)
{
    l->has_last = false;
    memset(l->recent, 0, sizeof l->recent);
}

int
ledger_begin(struct ledger *l, struct err *e)
{
    forget_recent(l);
    if (db_exec(l->db, "BEGIN IMMEDIATE", e) != 0) {
        return -1;
    }
    l->grouped = true;
    return 0;
}

int
ledger_commit(struct ledger *l, struct err *e)
{
    l->grouped = false;
    forget_recent(l);
    if (db_exec(l->db, "COMMIT", e) != 0) {
        (void)sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    return 0;
}

int
ledger_enter(struct ledger *l, struct err *e)
{
    if (l->grouped) {
        return run(l, LEDGER_SAVE, e);
    }
    forget_recent(l);
    return db_exec(l->db, "BEGIN IMMEDIATE", e);
}

int
ledger_leave(struct ledger *l, struct err *e)
{
    return l->grouped ? run(l, LEDGER_KEEP, e) : db_exec(l->db, "COMMIT", e);
}

void
ledger_undo(struct ledger *l)
{
    forget_recent(l);
    (void)sqlite3_exec(l->db, l->grouped ? "ROLLBACK TO one; RELEASE one" : "ROLLBACK",
                       NULL, NULL, NULL);
}

int
ledger_find(struct ledger *l, const struct ledger_draft *d, bool *found, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_FIND];
    bool row = false;
    bool same = false;

    bind_text(s, 1, d->id);
    if (db_step(l->db, s, &row, e) != 0) {
        return -1;
    }
    if (row) {
        size_t len = (size_t)sqlite3_column_bytes(s, 2);

        same = strcmp((const char *)sqlite3_column_text(s, 0), d->kind) == 0 &&
               strcmp((const char *)sqlite3_column_text(s, 1), d->lease) == 0 &&
               len == d->body.len &&
               (len == 0 || memcmp(sqlite3_column_blob(s, 2), d->body.data, len) == 0) &&
               (!d->of_wallet ||
                strcmp((const char *)sqlite3_column_text(s, 3), d->wallet) == 0);
    }
    (void)sqlite3_reset(s);
    if (row && !same) {
        return refuse(e, REFUSE_KEY_MISMATCH, "'%s' was used for something else", d->id);
    }
    *found = row;
    return 0;
}

static int
last_entry(struct ledger *l, int64_t *n, struct sha256 *chain, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_LAST];
    bool row = false;
    int rc = 0;

    if (l->has_last) {
        *n = l->last_n;
        *chain = l->last_chain;
        return 0;
    }
    memset(chain, 0, sizeof *chain);
    *n = 0;
    if (db_step(l->db, s, &row, e) != 0) {
        return -1;
    }
    if (row) {
        *n = sqlite3_column_int64(s, 0);
        if ((size_t)sqlite3_column_bytes(s, 1) == sizeof chain->b) {
            memcpy(chain->b, sqlite3_column_blob(s, 1), sizeof chain->b);
        } else {
            rc = err_set(e, ERR_CORRUPT, "entry %" PRId64 ": no hash", *n);
        }
    }
    (void)sqlite3_reset(s);
    return rc;
}

static int
account_of(struct ledger *l, const char *name, int64_t *n, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_ACCOUNT];
    bool row = false;

    for (size_t i = 0; i < LEDGER_RECENT; i++) {
        if (l->recent[i].n != 0 && strcmp(l->recent[i].name, name) == 0) {
            *n = l->recent[i].n;
            return 0;
        }
    }
    bind_text(s, 1, name);
    if (db_step(l->db, s, &row, e) != 0) {
        return -1;
    }
    *n = row ? sqlite3_column_int64(s, 0) : 0;
    (void)sqlite3_reset(s);
    if (!row) {
        bind_text(l->s[LEDGER_NEW_ACCOUNT], 1, name);
        if (run(l, LEDGER_NEW_ACCOUNT, e) != 0) {
            return -1;
        }
        *n = sqlite3_last_insert_rowid(l->db);
    }
    l->next_recent = (l->next_recent + 1) % LEDGER_RECENT;
    (void)snprintf(l->recent[l->next_recent].name, LEDGER_ACCOUNT_MAX, "%s", name);
    l->recent[l->next_recent].n = *n;
    return 0;
}

static int
move(struct ledger *l, int64_t account, int64_t debit_fen, int64_t credit_fen,
     struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_MOVE];

    (void)sqlite3_bind_int64(s, 1, account);
    (void)sqlite3_bind_int64(s, 2, debit_fen);
    (void)sqlite3_bind_int64(s, 3, credit_fen);
    return run(l, LEDGER_MOVE, e);
}

static int
add_post(struct ledger *l, int64_t entry, const struct ledger_post *p, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_POST];
    int64_t dr = 0;
    int64_t cr = 0;

    if (account_of(l, p->dr, &dr, e) != 0 || account_of(l, p->cr, &cr, e) != 0) {
        return -1;
    }
    (void)sqlite3_bind_int64(s, 1, entry);
    (void)sqlite3_bind_int64(s, 2, dr);
    (void)sqlite3_bind_int64(s, 3, cr);
    (void)sqlite3_bind_int64(s, 4, p->fen);
    return run(l, LEDGER_POST, e) == 0 && move(l, dr, p->fen, 0, e) == 0
               ? move(l, cr, 0, p->fen, e)
               : -1;
}

int64_t
ledger_day(int64_t wall_ns)
{
    int64_t local_s = wall_ns / NS_PER_S + CALENDAR_OFFSET_S;

    return local_s >= 0 ? local_s / DAY_S : (local_s - DAY_S + 1) / DAY_S;
}

void
ledger_chain_post(struct buf *out, const char *dr, const char *cr, int64_t fen)
{
    buf_printf(out, "%s %s %" PRId64 "\n", dr, cr, fen);
}

void
ledger_cash_name(char out[LEDGER_ACCOUNT_MAX], const char *wallet)
{
    (void)snprintf(out, LEDGER_ACCOUNT_MAX, "%s%s%s", LEDGER_CASH,
                   wallet[0] != '\0' ? ":" : "", wallet);
}

void
ledger_chain(struct sha256 *chain, int64_t n, const char *id, const char *kind,
             const char *wallet, const char *lease, int64_t wall_ns, int64_t held_fen,
             const void *body, size_t body_len, const struct buf *posts)
{
    struct buf b = BUF_INIT;

    buf_add(&b, chain->b, sizeof chain->b);
    buf_printf(&b, "%" PRId64 "\n%s\n%s%s%s\n%s\n%" PRId64 " %" PRId64 " %zu\n", n, id,
               kind, wallet[0] != '\0' ? " " : "", wallet, lease, wall_ns, held_fen,
               body_len);
    buf_add(&b, body, body_len);
    buf_add(&b, posts->data, posts->len);
    sha256_of(b.data, b.len, chain);
    buf_free(&b);
}

static int64_t
cash_of(const struct ledger_draft *d)
{
    char cash[LEDGER_ACCOUNT_MAX];
    int64_t fen = 0;

    ledger_cash_name(cash, d->wallet);
    for (size_t i = 0; i < d->n_posts; i++) {
        fen += strcmp(d->posts[i].cr, cash) == 0 ? d->posts[i].fen : 0;
        fen -= strcmp(d->posts[i].dr, cash) == 0 ? d->posts[i].fen : 0;
    }
    return fen;
}

static int64_t
vouchers_of(const struct ledger_draft *d)
{
    int64_t fen = 0;

    for (size_t i = 0; i < d->n_posts; i++) {
        fen += ledger_is_voucher(d->posts[i].cr, d->wallet) ? d->posts[i].fen : 0;
        fen -= ledger_is_voucher(d->posts[i].dr, d->wallet) ? d->posts[i].fen : 0;
    }
    return fen;
}

static int
add_entry(struct ledger *l, const struct ledger_draft *d, int64_t n,
          const struct sha256 *chain, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_ADD];

    (void)sqlite3_bind_int64(s, 1, n);
    bind_text(s, 2, d->id);
    bind_text(s, 3, d->kind);
    bind_text(s, 4, d->lease);
    (void)sqlite3_bind_int64(s, 5, d->wall_ns);
    (void)sqlite3_bind_int64(s, 6, d->held_fen);
    (void)sqlite3_bind_int64(s, 7, cash_of(d));
    (void)sqlite3_bind_blob64(s, 8, d->body.len > 0 ? d->body.data : (const void *)"",
                              d->body.len, SQLITE_STATIC);
    (void)sqlite3_bind_blob(s, 9, chain->b, (int)sizeof chain->b, SQLITE_STATIC);
    bind_text(s, 10, d->wallet);
    (void)sqlite3_bind_int64(s, 11, vouchers_of(d));
    return run(l, LEDGER_ADD, e);
}

static int
change_held(struct ledger *l, const char *wallet, int64_t fen, struct err *e)
{
    char cash[LEDGER_ACCOUNT_MAX];
    int64_t account = 0;

    if (wallet[0] != '\0') {
        ledger_cash_name(cash, wallet);
        if (account_of(l, cash, &account, e) != 0) {
            return -1;
        }
        bind_text(l->s[LEDGER_NEW_WALLET], 1, wallet);
        (void)sqlite3_bind_int64(l->s[LEDGER_NEW_WALLET], 2, account);
        if (run(l, LEDGER_NEW_WALLET, e) != 0) {
            return -1;
        }
    }
    if (fen == 0) {
        return 0;
    }
    (void)sqlite3_bind_int64(l->s[LEDGER_HELD], 1, fen);
    bind_text(l->s[LEDGER_HELD], 2, wallet);
    return run(l, LEDGER_HELD, e);
}

/* The sums of its day, so that a statement need not read every entry. */
static int
add_to_day(struct ledger *l, const struct ledger_draft *d, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_DAY];

    (void)sqlite3_bind_int64(s, 1, ledger_day(d->wall_ns));
    bind_text(s, 2, d->kind);
    (void)sqlite3_bind_int64(s, 3, cash_of(d));
    (void)sqlite3_bind_int64(s, 4, d->held_fen);
    bind_text(s, 5, d->wallet);
    return run(l, LEDGER_DAY, e);
}

int
ledger_append(struct ledger *l, const struct ledger_draft *d, struct err *e)
{
    struct buf posts = BUF_INIT;
    struct sha256 chain;
    int64_t balance = 0;
    int64_t held = 0;
    int64_t n = 0;
    int rc = -1;

    for (size_t i = 0; i < d->n_posts; i++) {
        ledger_chain_post(&posts, d->posts[i].dr, d->posts[i].cr, d->posts[i].fen);
    }
    if (last_entry(l, &n, &chain, e) != 0) {
        goto out;
    }
    n++;
    ledger_chain(&chain, n, d->id, d->kind, d->wallet, d->lease, d->wall_ns, d->held_fen,
                 d->body.data, d->body.len, &posts);
    if (add_entry(l, d, n, &chain, e) != 0 || add_to_day(l, d, e) != 0 ||
        change_held(l, d->wallet, d->held_fen, e) != 0) {
        goto out;
    }
    for (size_t i = 0; i < d->n_posts; i++) {
        if (add_post(l, n, &d->posts[i], e) != 0) {
            goto out;
        }
    }
    if (ledger_totals(l, d->wallet, &balance, &held, e) != 0) {
        goto out;
    }
    l->has_last = l->grouped;
    l->last_n = n;
    l->last_chain = chain;
    rc = held < 0 || balance < held
             ? err_set(e, ERR_LIMIT,
                       "the balance does not cover it: %" PRId64 " fen are missing",
                       held < 0 ? -held : held - balance)
             : 0;

out:
    buf_free(&posts);
    return rc;
}

int
ledger_totals(struct ledger *l, const char *wallet, int64_t *balance_fen,
              int64_t *held_fen, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_TOTALS];
    bool row = false;

    bind_text(s, 1, wallet);
    if (db_step(l->db, s, &row, e) != 0) {
        return -1;
    }
    if (!row && wallet[0] == '\0') {
        return err_set(e, ERR_CORRUPT, "the ledger has no totals");
    }
    *balance_fen = row ? sqlite3_column_int64(s, 0) : 0;
    *held_fen = row ? sqlite3_column_int64(s, 1) : 0;
    (void)sqlite3_reset(s);
    return 0;
}

int
ledger_due(struct ledger *l, const char *host, int64_t *fen, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_DUE];
    char name[LEDGER_ACCOUNT_MAX];
    bool row = false;

    (void)snprintf(name, sizeof name, "%s:%s", share_account_name(SHARE_OWNER_PAYABLE),
                   host);
    bind_text(s, 1, name);
    if (db_step(l->db, s, &row, e) != 0) {
        return -1;
    }
    *fen = row ? sqlite3_column_int64(s, 0) : 0;
    (void)sqlite3_reset(s);
    return 0;
}

int
ledger_body(struct ledger *l, const char *id, struct buf *out, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_BODY];
    bool row = false;

    bind_text(s, 1, id);
    if (db_step(l->db, s, &row, e) != 0) {
        return -1;
    }
    if (row) {
        buf_add(out, sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0));
    }
    (void)sqlite3_reset(s);
    return row ? 0 : err_set(e, ERR_NOT_FOUND, "no entry '%s'", id);
}

void
ledger_use(struct ledger *l, const char *wallet)
{
    l->all = wallet == NULL;
    (void)snprintf(l->wallet, sizeof l->wallet, "%s", wallet != NULL ? wallet : "");
}

int
ledger_get_lease(struct ledger *l, const char *lease, struct ledger_lease *out,
                 int64_t *fee_bps, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_LEASE];
    bool row = false;

    memset(out, 0, sizeof *out);
    *fee_bps = 0;
    if (lease[0] == '\0') {
        return 0;
    }
    bind_text(s, 1, lease);
    if (db_step(l->db, s, &row, e) != 0) {
        return -1;
    }
    if (row) {
        out->state = (enum ledger_hold_state)sqlite3_column_int64(s, 0);
        out->held_fen = sqlite3_column_int64(s, 1);
        out->charge_fen = sqlite3_column_int64(s, 2);
        (void)snprintf(out->host, sizeof out->host, "%s",
                       (const char *)sqlite3_column_text(s, 3));
        *fee_bps = sqlite3_column_int64(s, 4);
        (void)snprintf(out->wallet, sizeof out->wallet, "%s",
                       (const char *)sqlite3_column_text(s, 5));
        out->total_fen = sqlite3_column_int64(s, 6);
    }
    (void)sqlite3_reset(s);
    return 0;
}

int
ledger_set_lease(struct ledger *l, const char *lease, const struct ledger_lease *h,
                 int64_t fee_bps, struct err *e)
{
    sqlite3_stmt *s = l->s[LEDGER_SET_LEASE];

    bind_text(s, 1, lease);
    (void)sqlite3_bind_int64(s, 2, (int64_t)h->state);
    (void)sqlite3_bind_int64(s, 3, h->held_fen);
    (void)sqlite3_bind_int64(s, 4, h->charge_fen);
    bind_text(s, 5, h->host);
    (void)sqlite3_bind_int64(s, 6, fee_bps);
    bind_text(s, 7, h->wallet);
    (void)sqlite3_bind_int64(s, 8, h->total_fen);
    return run(l, LEDGER_SET_LEASE, e);
}
