/* Ledgers of older versions are taken over, whole; what is newer, or none, is refused. */
#include "tests/unit/meter/ledger_util.h"

#define FIXTURE "tests/fixtures/ledger-v3.sql"

/* A ledger of version 3 as its own program wrote it. */
static void
make_old(const char *path)
{
    struct buf sql = BUF_INIT;
    sqlite3 *db = NULL;
    struct err e = {0};

    assert_ok(file_read(FIXTURE, 1 << 20, &sql, &e));
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_ok(db_exec(db, buf_str(&sql), &e));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    buf_free(&sql);
}

/* All rows of all queries, as text. */
static void
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

#define ENTRIES                                                                          \
    "SELECT n, id, kind, lease, wall_ns, held, cash, hex(body), hex(chain), wallet,"     \
    " voucher FROM entry ORDER BY n"
#define LEASES                                                                           \
    "SELECT lease, state, held, charge, host, fee_bps, wallet, total FROM lease"         \
    " ORDER BY lease"
#define COVERS                                                                           \
    "SELECT lease, voucher, seq, promised, spent FROM cover ORDER BY lease, voucher"

/* Nothing of it is lost, and it goes on. */
static void
ledger__of_version_3_is_taken_over(void **state)
{
    static const char *const before[] = {
        ENTRIES,
        LEASES,
        COVERS,
        "SELECT p.entry, group_concat(d.name || ' ' || c.name || ' ' || p.fen || "
        "char(10),"
        " '') FROM (SELECT * FROM posting ORDER BY n) p JOIN account d ON d.n = p.dr"
        " JOIN account c ON c.n = p.cr GROUP BY p.entry ORDER BY p.entry",
        "SELECT a.name, debit, credit, coalesce(held, 0) FROM account a"
        " LEFT JOIN wallet w ON w.cash = a.n ORDER BY a.name",
    };
    static const char *const after[] = {
        ENTRIES,
        LEASES,
        COVERS,
        "SELECT n, posts FROM entry WHERE posts <> '' ORDER BY n",
        "SELECT name, debit, credit, held FROM account ORDER BY name",
    };
    static const size_t n = sizeof before / sizeof *before;
    char *path = ledger_path(*state, "v3");
    struct buf was = BUF_INIT;
    struct buf is = BUF_INIT;
    struct ledger *l = NULL;
    struct err e = {0};

    make_old(path);
    dump(path, before, n, &was);
    assert_ok(ledger_open(&l, path, &e));
    ledger_close(l);
    dump(path, after, n, &is);
    assert_string_equal(buf_str(&was), buf_str(&is));
    assert_non_null(strstr(buf_str(&is), "renter:promised:ann:"));
    assert_ok(ledger_open(&l, path, &e));
    assert_ok(ledger_check(l, &e));
    /* As it stood, each id is answered as the first time, and leases end as ever. */
    assert_funds(l, 4877, 40);
    assert_ok(ledger_topup(l, "own", 5000, 1, NULL, &e));
    assert_refused(ledger_topup(l, "own", 5001, 1, NULL, &e), ERR_INVALID);
    assert_ok(ledger_keeping(l, "mine", 30, 9, &e));
    assert_funds(l, 4847, 0);
    ledger_use(l, "ann");
    assert_ok(settle(l, "l2", 250, 10, 1000, NULL, &e));
    assert_ok(ledger_keeping(l, "l2", 10, 9, &e));
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
    buf_free(&was);
    buf_free(&is);
    free(path);
}

/* One that was meddled with is not made right by it. */
static void
ledger__of_version_3_that_is_wrong_stays_wrong(void **state)
{
    char *path = ledger_path(*state, "wrong");
    struct ledger *l = NULL;
    sqlite3 *db = NULL;
    struct err e = {0};

    make_old(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_ok(
        db_exec(db,
                "DROP TRIGGER posting_stays; UPDATE posting SET fen = fen + 1"
                " WHERE n = 3; CREATE TRIGGER posting_stays BEFORE UPDATE ON posting"
                " BEGIN SELECT raise(ABORT, 'no'); END",
                &e));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_ok(ledger_open(&l, path, &e));
    assert_refused(ledger_check(l, &e), ERR_CORRUPT);
    ledger_close(l);
    free(path);
}

/* Back to what the first version had, from one that had its money in one wallet. */
static void
ledger__of_version_1_is_taken_over(void **state)
{
    static const char back[] =
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
        "ALTER TABLE entry DROP COLUMN wallet; ALTER TABLE lease DROP COLUMN wallet;"
        "CREATE TABLE total(n INTEGER PRIMARY KEY CHECK(n = 1), held INTEGER NOT NULL)"
        " STRICT; INSERT INTO total SELECT 1, held FROM wallet; DROP TABLE wallet;"
        "ALTER TABLE day RENAME TO day2;"
        "CREATE TABLE day(day INTEGER NOT NULL, kind TEXT NOT NULL, n INTEGER NOT NULL,"
        " cash INTEGER NOT NULL, held INTEGER NOT NULL, PRIMARY KEY(day, kind))"
        " STRICT, WITHOUT ROWID; INSERT INTO day SELECT day, kind, n, cash, held FROM "
        "day2;"
        "DROP TABLE day2;"
        "CREATE TRIGGER entry_remains BEFORE DELETE ON entry"
        " BEGIN SELECT raise(ABORT, 'entries are never removed'); END;"
        "CREATE TRIGGER posting_remains BEFORE DELETE ON posting"
        " BEGIN SELECT raise(ABORT, 'postings are never removed'); END;"
        "PRAGMA user_version = 1";
    char *path = ledger_path(*state, "v1");
    struct ledger *l = NULL;
    sqlite3 *db = NULL;
    struct err e = {0};

    make_old(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_ok(db_exec(db, back, &e));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_ok(ledger_open(&l, path, &e));
    assert_funds(l, 4877, 40);
    assert_ok(ledger_check(l, &e));
    assert_ok(ledger_keeping(l, "mine", 30, 9, &e));
    assert_funds(l, 4847, 0);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
    free(path);
}

static void
ledger__refuses_files_that_are_none_or_newer(void **state)
{
    char *path = ledger_path(*state, "other");
    struct ledger *l = open_new(*state, "other");
    struct buf before = BUF_INIT;
    struct buf after = BUF_INIT;
    sqlite3 *db = NULL;
    struct err e = {0};

    ledger_close(l);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 5", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_ok(file_read(path, 1 << 20, &before, &e));
    assert_int_equal(ledger_open(&l, path, &e), -1);
    assert_int_equal(e.code, ERR_VERSION);
    assert_ok(file_read(path, 1 << 20, &after, &e));
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
    assert_ok(file_replace(path, "not a database, but long enough to be taken for one\n",
                           52, &e));
    assert_int_equal(ledger_open(&l, path, &e), -1);
    assert_int_equal(e.code, ERR_CORRUPT);
    buf_free(&before);
    buf_free(&after);
    free(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(ledger__of_version_3_is_taken_over),
        unit_test_in_dir(ledger__of_version_3_that_is_wrong_stays_wrong),
        unit_test_in_dir(ledger__of_version_1_is_taken_over),
        unit_test_in_dir(ledger__refuses_files_that_are_none_or_newer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
