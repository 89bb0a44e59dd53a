/* The proof of a ledger sees any change that somebody with the file can make. */
#include "base/hash.h"
#include "tests/unit/meter/ledger_util.h"

/* What somebody with the file can do to it is seen, and the entry named. */
static void
ledger__proof_sees_every_change(void **state)
{
    static const char *const changes[] = {
        "UPDATE entry SET held = 6 WHERE n = 2",
        "UPDATE entry SET cash = 1 WHERE n = 2",
        "UPDATE entry SET voucher = 1 WHERE n = 2",
        "UPDATE entry SET wall_ns = 9 WHERE n = 1",
        "UPDATE entry SET kind = 'settle' WHERE n = 1",
        "UPDATE entry SET id = 'topup:t2' WHERE n = 1",
        "UPDATE entry SET lease = 'l2' WHERE n = 2",
        "UPDATE entry SET chain = zeroblob(32) WHERE n = 5",
        "UPDATE entry SET chain = x'00' WHERE n = 5",
        "UPDATE entry SET body = CAST('fen=1001' || char(10) AS BLOB) WHERE n = 1",
        "DELETE FROM entry WHERE n = 3",
        "DELETE FROM entry WHERE n = 4",
        "DELETE FROM entry WHERE n = 5",
        "UPDATE entry SET posts = replace(posts, '1000', '1001') WHERE n = 1",
        "UPDATE entry SET posts = replace(posts, 'funding', 'renter:cash') WHERE n = 1",
        "UPDATE entry SET posts = '' WHERE n = 3",
        "UPDATE entry SET posts = posts || posts WHERE n = 3",
        "UPDATE entry SET posts = 'renter:cash funding 5' || char(10) WHERE n = 4",
        "UPDATE account SET credit = credit + 1 WHERE name = 'renter:cash'",
        "UPDATE account SET debit = debit + 1 WHERE name = 'funding'",
        "UPDATE account SET name = 'clearing:x' WHERE name = 'funding'",
        "UPDATE account SET held = held + 1 WHERE name = 'renter:cash'",
        "UPDATE account SET held = 1 WHERE name = 'renter:cash:bob'",
        "DELETE FROM account WHERE name = 'renter:cash:bob'",
        "INSERT INTO account VALUES('renter:cash:eve', 5, 6, 0)",
        "UPDATE entry SET wallet = 'bob' WHERE n = 4",
        "UPDATE entry SET wallet = '' WHERE n = 5",
        "UPDATE lease SET wallet = 'bob' WHERE lease = 'l2'",
        "UPDATE lease SET held = held + 1 WHERE lease = 'l1'",
    };
    char *path = ledger_path(*state, "proof");
    struct err e = {0};

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct ledger *l = open_new(*state, "proof");
        sqlite3 *db = NULL;

        assert_ok(ledger_topup(l, "t1", 1000, 1, NULL, &e));
        assert_ok(ledger_hold(l, "l1", 1, 5, 1, &e));
        assert_ok(settle(l, "l1", 3, 2, 0, NULL, &e));
        assert_ok(ledger_hold(l, "l2", 1, 5, 1, &e));
        ledger_use(l, "bob");
        assert_ok(ledger_topup(l, "t3", 10, 1, NULL, &e));
        assert_ok(ledger_check(l, &e));
        ledger_close(l);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        /* The triggers hold against an honest program. */
        assert_int_not_equal(
            sqlite3_exec(db, "UPDATE entry SET held = 6", NULL, NULL, NULL), SQLITE_OK);
        assert_int_not_equal(
            sqlite3_exec(db, "UPDATE entry SET posts = ''", NULL, NULL, NULL), SQLITE_OK);
        assert_int_not_equal(sqlite3_exec(db, "DELETE FROM entry", NULL, NULL, NULL),
                             SQLITE_OK);
        assert_int_equal(sqlite3_exec(db,
                                      "DROP TRIGGER entry_stays;"
                                      "DROP TRIGGER entry_remains",
                                      NULL, NULL, NULL),
                         SQLITE_OK);
        if (sqlite3_exec(db, changes[i], NULL, NULL, NULL) != SQLITE_OK) {
            fail_msg("%s: %s", changes[i], sqlite3_errmsg(db));
        }
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        assert_ok(ledger_open(&l, path, &e));
        if (ledger_check(l, &e) == 0) {
            fail_msg("not seen: %s", changes[i]);
        }
        assert_int_equal(e.code, ERR_CORRUPT);
        if (strstr(changes[i], "DELETE FROM entry WHERE n = 3") != NULL) {
            assert_non_null(strstr(e.msg, "entry 3 is missing"));
        }
        ledger_close(l);
    }
    free(path);
}

/* The hash of an entry as it stands, for one that also mends the chain. */
static void
rehash(sqlite3 *db, int64_t n)
{
    struct buf b = BUF_INIT;
    sqlite3_stmt *s = NULL;
    struct sha256 chain;
    struct err e = {0};
    bool row = false;

    assert_ok(db_prepare(db,
                         "SELECT b.chain, a.n || char(10) || a.id || char(10) || a.kind"
                         " || iif(a.wallet = '', '', ' ' || a.wallet) || char(10)"
                         " || a.lease || char(10) || a.wall_ns || ' ' || a.held || ' '"
                         " || length(a.body) || char(10), a.body, a.posts"
                         " FROM entry a JOIN entry b ON b.n = a.n - 1 WHERE a.n = ?1",
                         &s, &e));
    (void)sqlite3_bind_int64(s, 1, n);
    assert_ok(db_step(db, s, &row, &e));
    assert_true(row);
    for (int i = 0; i < 4; i++) {
        buf_add(&b, sqlite3_column_blob(s, i), (size_t)sqlite3_column_bytes(s, i));
    }
    sha256_of(b.data, b.len, &chain);
    (void)sqlite3_finalize(s);
    assert_ok(db_prepare(db, "UPDATE entry SET chain = ?1 WHERE n = ?2", &s, &e));
    (void)sqlite3_bind_blob(s, 1, chain.b, sizeof chain.b, SQLITE_STATIC);
    (void)sqlite3_bind_int64(s, 2, n);
    assert_ok(db_step(db, s, &row, &e));
    (void)sqlite3_finalize(s);
    buf_free(&b);
}

/* Who mends the chain behind a change of the last entry cannot make it add up. */
static void
ledger__proof_sees_a_change_whose_chain_was_mended(void **state)
{
    static const struct {
        const char *sql;
        const char *why;
    } changes[] = {
        {"UPDATE entry SET posts = replace(posts, ' 10', ' 11') WHERE n = 3",
         "not the sum of its postings"},
        {"UPDATE entry SET posts = posts || 'a b' WHERE n = 3", "a posting that is none"},
        {"UPDATE entry SET posts = posts || 'a b 0' || char(10) WHERE n = 3",
         "a posting that is none"},
        {"UPDATE entry SET posts = posts || 'a b -1' || char(10) WHERE n = 3",
         "a posting that is none"},
        {"UPDATE entry SET posts = posts || 'a b 01' || char(10) WHERE n = 3",
         "a posting that is none"},
        {"UPDATE entry SET posts = posts || 'a b 4503599627370497' || char(10)"
         " WHERE n = 3",
         "a posting that is none"},
        {"UPDATE entry SET posts = posts || ' b 1' || char(10) WHERE n = 3",
         "a posting that is none"},
        {"UPDATE entry SET posts = posts || 'funding renter:cash 1' || char(10)"
         " WHERE n = 3",
         "another wallet's money"},
        {"UPDATE entry SET posts = posts || 'platform:voucher renter:voucher:ann:v 1'"
         " || char(10) WHERE n = 3",
         "another wallet's voucher"},
        {"UPDATE entry SET posts = posts || 'a b 1' || char(10) WHERE n = 3",
         "not the sum of its postings: account a"},
        {"UPDATE entry SET posts = replace(hex(zeroblob(1025)), '00',"
         " 'a b 4503599627370496' || char(10)) WHERE n = 3",
         "moves more than any can"},
        {"UPDATE entry SET held = -9223372036854775808 WHERE n = 3",
         "takes more than there is"},
        {"UPDATE entry SET held = 11 WHERE n = 3", "takes more than there is"},
        {"UPDATE entry SET held = -1 WHERE n = 3", "takes more than there is"},
        {"UPDATE entry SET lease = 'l1', held = 1 WHERE n = 3",
         "account renter:cash:bob"},
        {"UPDATE entry SET wall_ns = 5 WHERE n = 3", NULL},
    };
    char *path = ledger_path(*state, "mended");
    struct err e = {0};

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct ledger *l = open_new(*state, "mended");
        sqlite3 *db = NULL;

        assert_ok(ledger_topup(l, "t1", 1000, 1, NULL, &e));
        assert_ok(ledger_hold(l, "l1", 1, 5, 1, &e));
        ledger_use(l, "bob");
        assert_ok(ledger_topup(l, "t3", 10, 1, NULL, &e));
        assert_ok(ledger_check(l, &e));
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_ok(db_exec(db, "DROP TRIGGER entry_stays", &e));
        assert_ok(db_exec(db, changes[i].sql, &e));
        rehash(db, 3);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        if (changes[i].why == NULL) { /* what no sum is about: so far the chain helps */
            assert_ok(ledger_check(l, &e));
        } else {
            assert_refused(ledger_check(l, &e), ERR_CORRUPT);
            if (strstr(e.msg, changes[i].why) == NULL) {
                fail_msg("%s: %s", changes[i].sql, e.msg);
            }
        }
        ledger_close(l);
    }
    free(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(ledger__proof_sees_every_change),
        unit_test_in_dir(ledger__proof_sees_a_change_whose_chain_was_mended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
