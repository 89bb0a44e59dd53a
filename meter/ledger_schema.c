/* What a ledger's file is made of, and how older ones are taken over. */
#include "meter/ledger_internal.h"

/* What vouchers have to do with a lease. */
#define COVERS                                                                           \
    "CREATE TABLE cover(lease TEXT NOT NULL, voucher TEXT NOT NULL,"                     \
    " seq INTEGER NOT NULL, promised INTEGER NOT NULL CHECK(promised >= 0),"             \
    " spent INTEGER NOT NULL CHECK(spent >= 0), PRIMARY KEY(lease, voucher))"            \
    " STRICT, WITHOUT ROWID;"

/* The postings stand in their entry's row, "DR CR FEN" a line, as they are hashed. */
#define ENTRY_COLUMNS                                                                    \
    "(n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,"               \
    " lease TEXT NOT NULL, wallet TEXT NOT NULL, wall_ns INTEGER NOT NULL,"              \
    " held INTEGER NOT NULL, cash INTEGER NOT NULL, voucher INTEGER NOT NULL,"           \
    " posts TEXT NOT NULL, body BLOB NOT NULL, chain BLOB NOT NULL) STRICT;"

/* held: of a wallet's cash, so much is held of it. */
#define ACCOUNT_COLUMNS                                                                  \
    "(name TEXT PRIMARY KEY, debit INTEGER NOT NULL CHECK(debit >= 0),"                  \
    " credit INTEGER NOT NULL CHECK(credit >= 0),"                                       \
    " held INTEGER NOT NULL CHECK(held >= 0 AND (held = 0 OR credit - debit >= held)))"  \
    " STRICT, WITHOUT ROWID;"

/* Of each LEDGER_SPAN entries, once they are all there: the earliest and the latest. */
#define SPANS                                                                            \
    "CREATE TABLE span(block INTEGER PRIMARY KEY, lo INTEGER NOT NULL,"                  \
    " hi INTEGER NOT NULL) STRICT;"

#define TRIGGERS                                                                         \
    "CREATE TRIGGER entry_stays BEFORE UPDATE ON entry"                                  \
    " BEGIN SELECT raise(ABORT, 'entries are never changed'); END;"                      \
    "CREATE TRIGGER entry_remains BEFORE DELETE ON entry"                                \
    " BEGIN SELECT raise(ABORT, 'entries are never removed'); END;"

const char ledger_schema[] =
    "CREATE TABLE entry" ENTRY_COLUMNS "CREATE TABLE account" ACCOUNT_COLUMNS
    "CREATE TABLE lease(lease TEXT PRIMARY KEY, state INTEGER NOT NULL,"
    " held INTEGER NOT NULL CHECK(held >= 0), charge INTEGER NOT NULL,"
    " host TEXT NOT NULL, fee_bps INTEGER NOT NULL, wallet TEXT NOT NULL DEFAULT '',"
    " total INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;" COVERS SPANS TRIGGERS;

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

/*
 * Version 3 had postings, wallets and sums of days in tables of their own. Postings are
 * read by an index in the order in which they were hashed: were one amiss, the chain
 * would show it.
 */
static const char upgrade_3[] =
    "DROP TRIGGER entry_stays; DROP TRIGGER entry_remains;"
    "DROP TRIGGER posting_stays; DROP TRIGGER posting_remains;"
    "CREATE INDEX posting_of ON posting(entry);"
    "CREATE TABLE entry4" ENTRY_COLUMNS
    "INSERT INTO entry4 SELECT n, id, kind, lease, wallet, wall_ns, held, cash, voucher,"
    " coalesce((SELECT group_concat(line, '') FROM (SELECT"
    " (SELECT name FROM account WHERE n = dr) || ' ' ||"
    " (SELECT name FROM account WHERE n = cr) || ' ' || fen || char(10) AS line"
    " FROM posting WHERE entry = entry.n ORDER BY posting.n)), ''),"
    " body, chain FROM entry ORDER BY n;"
    "CREATE TABLE account4" ACCOUNT_COLUMNS
    "INSERT INTO account4 SELECT a.name, a.debit, a.credit, coalesce(w.held, 0)"
    " FROM account a LEFT JOIN wallet w ON w.cash = a.n;"
    "DROP TABLE posting; DROP TABLE wallet; DROP TABLE day; DROP TABLE account;"
    "DROP TABLE entry;"
    "ALTER TABLE entry4 RENAME TO entry; ALTER TABLE account4 RENAME TO "
    "account;" TRIGGERS;

/* Version 4 did not know where in time its entries lie. */
static const char upgrade_4[] =
    SPANS "INSERT INTO span SELECT (n - 1) / " LEDGER_SPAN_TEXT " AS b, min(wall_ns),"
          " max(wall_ns) FROM entry GROUP BY b HAVING count(*) = " LEDGER_SPAN_TEXT ";";

const char *const ledger_upgrades[LEDGER_VERSION - 1] = {upgrade_1, upgrade_2, upgrade_3,
                                                         upgrade_4};

const char *const ledger_statements[LEDGER_STATEMENT_COUNT] = {
    [LEDGER_BEGIN] = "BEGIN IMMEDIATE",
    [LEDGER_COMMIT] = "COMMIT",
    [LEDGER_FIND] = "SELECT kind, lease, body, wallet FROM entry WHERE id = ?1",
    [LEDGER_LAST] = "SELECT n, chain FROM entry ORDER BY n DESC LIMIT 1",
    /* Its number is the next by itself: SQLite then goes to the end without a search. */
    [LEDGER_ADD] = "INSERT INTO entry(id, kind, lease, wallet, wall_ns, held, cash,"
                   " voucher, posts, body, chain)"
                   " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [LEDGER_CLOSE_SPAN] =
        "INSERT INTO span SELECT ?1 / " LEDGER_SPAN_TEXT " - 1, min(wall_ns),"
        " max(wall_ns) FROM entry WHERE n > ?1 - " LEDGER_SPAN_TEXT " AND n <= ?1",
    [LEDGER_SPAN_OF] = "SELECT lo, hi FROM span WHERE block = ?1",
    [LEDGER_BODY] = "SELECT body FROM entry WHERE id = ?1",
    [LEDGER_LEASE] = "SELECT state, held, charge, host, fee_bps, wallet, total FROM lease"
                     " WHERE lease = ?1",
    [LEDGER_SET_LEASE] =
        "INSERT OR REPLACE INTO lease VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [LEDGER_OPEN_VOUCHERS] =
        "SELECT substr(name, length(?1) + 1), credit - debit FROM account"
        " WHERE name > ?1 AND name < ?2 AND credit > debit ORDER BY name",
    [LEDGER_COVERS] = "SELECT voucher, promised, spent, seq FROM cover WHERE lease = ?1"
                      " AND (promised > 0 OR spent > 0) ORDER BY seq, voucher",
    [LEDGER_SET_COVER] = "INSERT OR REPLACE INTO cover VALUES(?1, ?2, ?3, ?4, ?5)",
};
