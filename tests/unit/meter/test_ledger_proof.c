/* The proof of a ledger sees any change that somebody with the file can make. */
#include "base/hash.h"
#include "meter/ledger_internal.h"
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

static void
change_and_mend(const char *path, const char *sql, int64_t n)
{
    sqlite3 *db = NULL;
    struct err e = {0};

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_ok(db_exec(db, "DROP TRIGGER entry_stays", &e));
    if (db_exec(db, sql, &e) != 0) {
        fail_msg("%s: %s", sql, e.msg);
    }
    rehash(db, n);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Refused, and it says why. */
static void
assert_named(struct ledger *l, const char *change, const char *why)
{
    struct err e = {0};

    if (ledger_check(l, &e) == 0) {
        fail_msg("not seen: %s", change);
    }
    assert_int_equal(e.code, ERR_CORRUPT);
    if (strstr(e.msg, why) == NULL) {
        fail_msg("%s: %s", change, e.msg);
    }
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
        {"UPDATE entry SET posts = replace(hex(zeroblob(1024)), '00',"
         " 'funding b 4503599627370496' || char(10)) WHERE n = 3",
         "moves more than account funding can count"},
        {"UPDATE entry SET wallet = '', posts = replace(hex(zeroblob(1024)), '00',"
         " 'a renter:cash 4503599627370496' || char(10)) WHERE n = 3",
         "moves more than account renter:cash can count"},
        {"UPDATE entry SET held = -9223372036854775808 WHERE n = 3",
         "takes more than there is"},
        {"UPDATE entry SET held = 11 WHERE n = 3", "takes more than there is"},
        {"UPDATE entry SET held = -1 WHERE n = 3", "takes more than there is"},
        {"UPDATE entry SET held = 1 WHERE n = 3", "account renter:cash:bob"},
        {"UPDATE entry SET lease = 'l1', held = 1 WHERE n = 3",
         "of a lease as none can be"},
        {"UPDATE entry SET posts = posts || 'a clearing:l1 1' || char(10) ||"
         " 'clearing:l1 a 1' || char(10) WHERE n = 3",
         "another lease's money"},
        {"UPDATE entry SET wall_ns = 5 WHERE n = 3", NULL},
    };
    char *path = ledger_path(*state, "mended");
    struct err e = {0};

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct ledger *l = open_new(*state, "mended");

        assert_ok(ledger_topup(l, "t1", 1000, 1, NULL, &e));
        assert_ok(ledger_hold(l, "l1", 1, 5, 1, &e));
        ledger_use(l, "bob");
        assert_ok(ledger_topup(l, "t3", 10, 1, NULL, &e));
        assert_ok(ledger_check(l, &e));
        change_and_mend(path, changes[i].sql, 3);
        if (changes[i].why == NULL) { /* what no sum is about: so far the chain helps */
            assert_ok(ledger_check(l, &e));
        } else {
            assert_named(l, changes[i].sql, changes[i].why);
        }
        ledger_close(l);
    }
    free(path);
}

/* ---- leases ---- */

/* One lease of each fate: kept, held, released, and one that is over and was corrected.
 */
static struct ledger *
open_with_leases(const char *dir)
{
    struct ledger *l = open_new(dir, "leases");
    const struct ledger_promise p = {
        .lease = "held", .seq = 1, .total_fen = 5, .host = "h2", .note = "terms=x\n"};
    struct err e = {0};

    assert_ok(ledger_topup(l, "t1", 1000, 1, NULL, &e));
    assert_ok(ledger_hold(l, "kept", 1, 5, 1, &e));
    assert_ok(settle(l, "kept", 3, 2, 1000, NULL, &e));
    assert_ok(ledger_promise(l, &p, 1, NULL, &e));
    assert_ok(ledger_hold(l, "held", 2, 9, 1, &e));
    assert_ok(ledger_hold(l, "left", 1, 5, 1, &e));
    assert_ok(ledger_release(l, "left", 1, &e));
    assert_ok(ledger_hold(l, "over", 1, 300, 1, &e));
    assert_ok(settle(l, "over", 200, 50, 500, NULL, &e));
    assert_ok(ledger_keeping(l, "over", 20, 1, &e));
    assert_ok(ledger_correct(l, "c", "over", 10, 1, &e));
    assert_ok(settle(l, "free", 0, 0, 0, NULL, &e));
    assert_ok(ledger_check(l, &e));
    return l;
}

/* Nothing of a lease's row can be changed, nor a row taken away or put in, unseen. */
static void
ledger__proof_names_the_row_of_a_lease_that_is_wrong(void **state)
{
    static const char *const leases[] = {"kept", "held", "left", "over", "free"};
    static const struct {
        const char *change;
        const char *why;
    } changes[] = {
        {"UPDATE lease SET state = (state + 1) % 4", "its state"},
        {"UPDATE lease SET state = 7", "its state"},
        {"UPDATE lease SET held = held + 1", "what is held"},
        {"UPDATE lease SET total = total + 1", "its total"},
        {"UPDATE lease SET charge = charge - 1", "its charge"},
        {"UPDATE lease SET host = host || 'x'", "its host"},
        {"UPDATE lease SET fee_bps = fee_bps + 1", "its fee"},
        {"UPDATE lease SET wallet = 'bob'", "its wallet"},
        {"DELETE FROM lease", "it is missing"},
        {"UPDATE lease SET lease = 'else'", NULL},
    };
    char *path = ledger_path(*state, "leases");
    struct ledger *l = open_with_leases(*state);
    char sql[256];
    char why[256];
    struct err e = {0};

    for (size_t i = 0; i < sizeof leases / sizeof *leases; i++) {
        for (size_t k = 0; k < sizeof changes / sizeof *changes; k++) {
            (void)snprintf(sql, sizeof sql, "%s WHERE lease = '%s'", changes[k].change,
                           leases[i]);
            (void)snprintf(why, sizeof why,
                           "lease %s is not what its entries make it: %s",
                           changes[k].why != NULL ? leases[i] : "else",
                           changes[k].why != NULL ? changes[k].why : "no entry is of it");
            assert_ok(db_exec(l->db, "SAVEPOINT as_it_was", &e));
            assert_ok(db_exec(l->db, sql, &e));
            l->grouped = true; /* within this transaction */
            assert_named(l, sql, why);
            l->grouped = false;
            assert_ok(db_exec(l->db, "ROLLBACK TO as_it_was; RELEASE as_it_was", &e));
        }
    }
    assert_ok(ledger_check(l, &e));
    assert_ok(
        db_exec(l->db, "INSERT INTO lease VALUES('new', 3, 0, 0, '', 0, '', 0)", &e));
    assert_named(l, "a row too many",
                 "lease new is not what its entries make it: no entry is of it");
    ledger_close(l);
    free(path);
}

#define BODY(x) "UPDATE entry SET body = CAST(" x " AS BLOB)"

/* What was asked, what was posted and what the row says: all of one kind, or it is seen.
 */
static void
ledger__proof_sees_a_lease_whose_entry_was_changed_and_mended(void **state)
{
    static const struct {
        const char *sql;
        const char *why;
    } changes[] = {
        {BODY("replace(body, 'charge=200', 'charge=201')"), "posts not what was asked"},
        {"UPDATE entry SET posts = replace(posts, ' 200', ' 199')", "not the sum of"},
        {BODY("replace(body, 'keep=50', 'keep=51')"),
         "lease over is not what its entries make it: its total"},
        {BODY("replace(body, 'keep=50', 'keep=0')"),
         "lease over is not what its entries make it: its state"},
        {BODY("replace(body, 'fee=500', 'fee=501')"),
         "lease over is not what its entries make it: its fee"},
        {BODY("replace(body, 'host=h1', 'host=h9')"),
         "lease over is not what its entries make it: its host"},
        {BODY("replace(body, 'host=h1', 'hos=h1')"), "does not say what was asked"},
        {BODY("replace(body, 'keep=50', 'keep=-5')"), "does not say what was asked"},
        {BODY("replace(body, 'charge=', 'charge=0')"), "does not say what was asked"},
        {BODY("substr(body, 1, 3)"), "does not say what was asked"},
        {BODY("''"), "does not say what was asked"},
        {"UPDATE entry SET kind = 'topup'", "of a lease as none can be"},
        {"UPDATE entry SET kind = 'what'", "of a lease as none can be"},
        {"UPDATE entry SET lease = ''", "another lease's money"},
        {"UPDATE entry SET lease = 'else'", "another lease's money"},
        {"UPDATE entry SET kind = 'release'", "posts not what was asked"},
        {"UPDATE entry SET held = held - 1",
         "not the sum of its postings: account renter:cash"},
    };
    char *path = ledger_path(*state, "settled");
    char sql[512];
    struct err e = {0};

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct ledger *l = open_new(*state, "settled");

        assert_ok(ledger_topup(l, "t1", 1000, 1, NULL, &e));
        assert_ok(ledger_hold(l, "over", 1, 300, 1, &e));
        assert_ok(settle(l, "over", 200, 50, 500, NULL, &e));
        assert_ok(ledger_check(l, &e));
        (void)snprintf(sql, sizeof sql, "%s WHERE n = 3", changes[i].sql);
        change_and_mend(path, sql, 3);
        assert_named(l, changes[i].sql, changes[i].why);
        ledger_close(l);
    }
    free(path);
}

/* Entries of which each can be, and no account goes beyond its range: one lease does. */
static void
ledger__proof_sees_a_lease_beyond_its_range(void **state)
{
#define ALL "4611686018427387904" /* 2^62: as much as an account counts */
    static const char hostile[] =
        "PRAGMA ignore_check_constraints = 1;"
        "DROP TRIGGER entry_stays;"
        "UPDATE entry SET cash = " ALL ", posts = replace(hex(zeroblob(1024)), '00',"
        " 'a renter:cash 4503599627370496' || char(10)) WHERE n = 2;"
        "UPDATE entry SET held = iif(n = 4, -" ALL ", " ALL ") WHERE n > 2;"
        "INSERT INTO account VALUES('a', " ALL ", 0, 0);"
        "UPDATE account SET debit = 10 WHERE name = 'funding';"
        "UPDATE account SET credit = " ALL ", held = " ALL " WHERE name = 'renter:cash';"
        "UPDATE lease SET held = iif(lease = 'b', -" ALL ", -" ALL " - " ALL ")";
    static const char *const twice[] = {"",
                                        ";UPDATE entry SET held = " ALL " WHERE n = 4"};
    static const char *const why[] = {"lease a is not what its entries make it: what is",
                                      "entry 4 takes more than there is"};
    char *path = ledger_path(*state, "beyond");
    struct err e = {0};

    for (size_t i = 0; i < sizeof why / sizeof *why; i++) {
        struct ledger *l = open_new(*state, "beyond");
        char *sql = xasprintf("%s%s", hostile, twice[i]);
        sqlite3 *db = NULL;

        ledger_use(l, "bob");
        assert_ok(ledger_topup(l, "t1", 10, 1, NULL, &e));
        ledger_use(l, "");
        assert_ok(ledger_topup(l, "t2", 1000, 1, NULL, &e));
        assert_ok(ledger_hold(l, "a", 1, 5, 1, &e));
        assert_ok(ledger_hold(l, "b", 1, 5, 1, &e));
        assert_ok(ledger_hold(l, "a", 2, 9, 1, &e));
        assert_ok(ledger_check(l, &e));
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        if (db_exec(db, sql, &e) != 0) {
            fail_msg("%s: %s", sql, e.msg);
        }
        for (int64_t n = 2; n <= 5; n++) {
            rehash(db, n);
        }
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        assert_named(l, sql, why[i]);
        ledger_close(l);
        free(sql);
    }
    free(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(ledger__proof_sees_every_change),
        unit_test_in_dir(ledger__proof_sees_a_change_whose_chain_was_mended),
        unit_test_in_dir(ledger__proof_names_the_row_of_a_lease_that_is_wrong),
        unit_test_in_dir(ledger__proof_sees_a_lease_whose_entry_was_changed_and_mended),
        unit_test_in_dir(ledger__proof_sees_a_lease_beyond_its_range),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
