#ifndef TESTS_UNIT_METER_LEDGER_OLD_H
#define TESTS_UNIT_METER_LEDGER_OLD_H

#include "tests/unit/meter/ledger_util.h"

/* Ledgers of older versions, and how any ledger's rows are looked at. */

#define LEDGER_V3_FIXTURE "tests/fixtures/ledger-v3.sql"

/* From version 3, of which the entries before the first voucher are kept, to 2. */
static const char ledger_back_to_2[] =
    "DROP TRIGGER entry_remains; DROP TRIGGER posting_remains;"
    "DELETE FROM posting WHERE entry > 3; DELETE FROM entry WHERE n > 3;"
    "DELETE FROM lease WHERE wallet <> ''; DELETE FROM wallet WHERE id <> '';"
    "DELETE FROM day WHERE wallet <> '' OR kind = 'payout';"
    "DELETE FROM account WHERE n NOT IN (SELECT dr FROM posting UNION"
    " SELECT cr FROM posting);"
    "UPDATE account SET debit = (SELECT coalesce(sum(fen), 0) FROM posting"
    " WHERE dr = account.n), credit = (SELECT coalesce(sum(fen), 0) FROM posting"
    " WHERE cr = account.n);"
    "DROP TABLE cover; ALTER TABLE entry DROP COLUMN voucher;"
    "ALTER TABLE lease DROP COLUMN total;"
    "CREATE TRIGGER entry_remains BEFORE DELETE ON entry"
    " BEGIN SELECT raise(ABORT, 'entries are never removed'); END;"
    "CREATE TRIGGER posting_remains BEFORE DELETE ON posting"
    " BEGIN SELECT raise(ABORT, 'postings are never removed'); END;"
    "PRAGMA user_version = 2";

/* From that to the first version, which knew one wallet only. */
static const char ledger_back_to_1[] =
    "ALTER TABLE entry DROP COLUMN wallet; ALTER TABLE lease DROP COLUMN wallet;"
    "CREATE TABLE total(n INTEGER PRIMARY KEY CHECK(n = 1), held INTEGER NOT NULL)"
    " STRICT; INSERT INTO total SELECT 1, held FROM wallet; DROP TABLE wallet;"
    "ALTER TABLE day RENAME TO day2;"
    "CREATE TABLE day(day INTEGER NOT NULL, kind TEXT NOT NULL, n INTEGER NOT NULL,"
    " cash INTEGER NOT NULL, held INTEGER NOT NULL, PRIMARY KEY(day, kind))"
    " STRICT, WITHOUT ROWID; INSERT INTO day SELECT day, kind, n, cash, held FROM day2;"
    "DROP TABLE day2;"
    "PRAGMA user_version = 1";

/* From version 5 to 4. */
static const char ledger_back_to_4[] = "DROP TABLE span; PRAGMA user_version = 4";

static inline void
make_back(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    struct err e = {0};

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_ok(db_exec(db, sql, &e));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Twice n entries that leave all as it was, by a wall clock that is set back now and
 * then.
 */
static inline void
add_many(struct ledger *l, int n)
{
    struct err e = {0};

    assert_ok(ledger_begin(l, &e));
    for (int i = 0; i < n; i++) {
        int64_t at = 1000 + i - (i % 100 == 99 ? 700 : 0);
        char id[16];

        (void)snprintf(id, sizeof id, "many-%d", i);
        assert_ok(ledger_topup(l, id, 1, at, NULL, &e));
        assert_ok(ledger_refund(l, id, 1, at, NULL, &e));
    }
    assert_ok(ledger_commit(l, &e));
}

/* A ledger of version 3 as its own program wrote it, or of one before, or of 4. */
static inline void
make_old(const char *path, int version)
{
    struct buf sql = BUF_INIT;
    sqlite3 *db = NULL;
    struct err e = {0};

    assert_ok(file_read(LEDGER_V3_FIXTURE, 1 << 20, &sql, &e));
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_ok(db_exec(db, buf_str(&sql), &e));
    assert_ok(version < 3 ? db_exec(db, ledger_back_to_2, &e) : 0);
    assert_ok(version < 2 ? db_exec(db, ledger_back_to_1, &e) : 0);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    buf_free(&sql);
    if (version == 4) {
        struct ledger *l = NULL;

        assert_ok(ledger_open(&l, path, &e));
        add_many(l, 1050);
        ledger_close(l);
        make_back(path, ledger_back_to_4);
    }
}

/* All rows of all queries, as text. */
static inline void
dump(const char *path, const char *const *queries, size_t n, struct buf *out)
{
    sqlite3 *db = NULL;
    struct err e = {0};

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    for (size_t i = 0; i < n; i++) {
        sqlite3_stmt *s = NULL;
        bool row = true;

        buf_printf(out, "-- %zu\n", i);
        assert_ok(db_prepare(db, queries[i], &s, &e));
        while (db_step(db, s, &row, &e) == 0 && row) {
            for (int k = 0; k < sqlite3_column_count(s); k++) {
                buf_printf(out, "%s|", (const char *)sqlite3_column_text(s, k));
            }
            buf_add_str(out, "\n");
        }
        assert_false(row);
        (void)sqlite3_finalize(s);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

#endif
