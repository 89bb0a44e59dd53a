/* Ledgers of older versions are taken over, whole; what is newer, or none, is refused. */
#include "tests/unit/meter/ledger_old.h"

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
        ("SELECT p.entry, group_concat(d.name || ' ' || c.name || ' ' || p.fen || "
         "char(10),"
         " '') FROM (SELECT * FROM posting ORDER BY n) p JOIN account d ON d.n = p.dr"
         " JOIN account c ON c.n = p.cr GROUP BY p.entry ORDER BY p.entry"),
        ("SELECT a.name, debit, credit, coalesce(held, 0) FROM account a"
         " LEFT JOIN wallet w ON w.cash = a.n ORDER BY a.name"),
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

    make_old(path, 3);
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

    make_old(path, 3);
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

static void
assert_taken_over(const char *dir, int version)
{
    char *path = ledger_path(dir, "old");
    struct ledger *l = NULL;
    struct err e = {0};

    make_old(path, version);
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
ledger__of_version_4_is_taken_over(void **state)
{
    assert_taken_over(*state, 4);
}

static void
ledger__of_version_2_is_taken_over(void **state)
{
    assert_taken_over(*state, 2);
}

static void
ledger__of_version_1_is_taken_over(void **state)
{
    assert_taken_over(*state, 1);
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
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL),
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
        unit_test_in_dir(ledger__of_version_4_is_taken_over),
        unit_test_in_dir(ledger__of_version_2_is_taken_over),
        unit_test_in_dir(ledger__of_version_1_is_taken_over),
        unit_test_in_dir(ledger__refuses_files_that_are_none_or_newer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
