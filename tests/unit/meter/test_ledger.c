/*
 * The ledger: double entry that balances, ids that are used once, money that is never
 * below zero, and a proof that sees any change; killed at every write, it stands.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "base/db.h"
#include "base/file.h"
#include "meter/ledger.h"
#include "meter/refuse.h"
#include "tests/unit/unit.h"

static char *
ledger_path(const char *dir, const char *name)
{
    return path_join(dir, name);
}

static struct ledger *
open_new(const char *dir, const char *name)
{
    char *path = ledger_path(dir, name);
    struct ledger *l = NULL;
    struct err e = {0};

    (void)unlink(path);
    assert_ok(ledger_open(&l, path, &e));
    free(path);
    return l;
}

static void
assert_funds(struct ledger *l, int64_t balance, int64_t held)
{
    struct ledger_funds f;
    struct err e = {0};

    assert_ok(ledger_funds(l, &f, &e));
    assert_int_equal(f.balance_fen, balance);
    assert_int_equal(f.held_fen, held);
    assert_int_equal(f.free_fen, balance - held);
}

static int
settle(struct ledger *l, const char *lease, int64_t charge, int64_t keep, int64_t fee,
       bool *repeated, struct err *e)
{
    const struct ledger_close c = {.lease = lease,
                                   .host = "h1",
                                   .charge_fen = charge,
                                   .keep_fen = keep,
                                   .fee_bps = fee};

    return ledger_settle(l, &c, 7, repeated, e);
}

struct found {
    const char *name;
    int64_t fen; /* credit less debit */
};

static int
find_account(void *ctx, const struct ledger_account *a, struct err *e)
{
    struct found *f = ctx;

    (void)e;
    if (strcmp(a->name, f->name) == 0) {
        f->fen = a->credit_fen - a->debit_fen;
    }
    return 0;
}

static int64_t
account(struct ledger *l, const char *name)
{
    struct found f = {name, 0};
    struct err e = {0};

    assert_ok(ledger_each_account(l, find_account, &f, &e));
    return f.fen;
}

static void
ledger__follows_a_session_from_hold_to_keeping(void **state)
{
    struct ledger *l = open_new(*state, "life");
    struct ledger_lease h;
    struct err e = {0};
    bool repeated = true;

    assert_funds(l, 0, 0);
    assert_ok(ledger_topup(l, "t1", 1000, 1, &repeated, &e));
    assert_false(repeated);
    assert_ok(ledger_hold(l, "l1", 1, 500, 2, &e));
    assert_funds(l, 1000, 500);
    assert_ok(ledger_hold(l, "l1", 2, 700, 3, &e));
    assert_funds(l, 1000, 700);
    assert_ok(settle(l, "l1", 333, 50, 1000, NULL, &e));
    assert_funds(l, 667, 50);
    assert_int_equal(account(l, "platform:fee"), 33);
    assert_int_equal(account(l, "owner:payable:h1"), 300);
    assert_int_equal(account(l, "clearing:l1"), 0);
    assert_ok(ledger_lease(l, "l1", &h, &e));
    assert_int_equal(h.state, LEDGER_HOLD_KEEPING);
    assert_ok(ledger_keeping(l, "l1", 20, 9, &e));
    assert_funds(l, 647, 0);
    assert_int_equal(account(l, "owner:payable:h1"), 318);
    assert_ok(ledger_correct(l, "c1", "l1", 53, 10, &e));
    assert_funds(l, 700, 0);
    assert_ok(ledger_lease(l, "l1", &h, &e));
    assert_int_equal(h.charge_fen, 300);
    assert_int_equal(h.state, LEDGER_HOLD_DONE);
    /* In all: what came in is where it went. */
    assert_int_equal(account(l, "renter:cash") + account(l, "platform:fee") +
                         account(l, "owner:payable:h1"),
                     -account(l, "funding"));
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

static int
add_sum(void *ctx, const struct ledger_sum *sum, struct err *e)
{
    int64_t *total = ctx;

    (void)e;
    total[0] += sum->n_entries;
    total[1] += sum->cash_fen;
    total[2] += sum->held_fen;
    return 0;
}

/* Days are those of Shanghai: eight hours ahead. */
static void
ledger__statement_is_that_of_its_days(void **state)
{
    static const int64_t midnight_ns = (1795435200 + 4 * 3600) * INT64_C(1000000000);
    struct ledger *l = open_new(*state, "days");
    struct err e = {0};
    int64_t before[3] = {0};
    int64_t after[3] = {0};

    assert_ok(ledger_topup(l, "a", 100, midnight_ns - 1, NULL, &e));
    assert_ok(ledger_topup(l, "b", 20, midnight_ns, NULL, &e));
    assert_ok(ledger_hold(l, "l1", 1, 7, midnight_ns, &e));
    assert_ok(ledger_statement(l, midnight_ns - 86400 * INT64_C(1000000000), midnight_ns,
                               add_sum, before, &e));
    assert_ok(ledger_statement(l, midnight_ns, midnight_ns + 86400 * INT64_C(1000000000),
                               add_sum, after, &e));
    assert_int_equal(before[0], 1);
    assert_int_equal(before[1], 100);
    assert_int_equal(before[2], 0);
    assert_int_equal(after[0], 2);
    assert_int_equal(after[1], 20);
    assert_int_equal(after[2], 7);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

static void
ledger__takes_an_id_once(void **state)
{
    struct ledger *l = open_new(*state, "once");
    struct ledger_funds before;
    struct ledger_funds after;
    struct err e = {0};
    bool repeated = false;

    assert_ok(ledger_topup(l, "t1", 1000, 1, NULL, &e));
    assert_ok(ledger_hold(l, "l1", 1, 500, 2, &e));
    assert_ok(settle(l, "l1", 100, 5, 0, NULL, &e));
    assert_ok(ledger_keeping(l, "l1", 5, 9, &e));
    assert_ok(ledger_correct(l, "c1", "l1", 5, 10, &e));
    assert_ok(ledger_funds(l, &before, &e));

    assert_ok(ledger_topup(l, "t1", 1000, 99, &repeated, &e));
    assert_true(repeated);
    assert_ok(ledger_hold(l, "l1", 1, 500, 99, &e));
    assert_ok(settle(l, "l1", 100, 5, 0, &repeated, &e));
    assert_true(repeated);
    assert_ok(ledger_keeping(l, "l1", 5, 99, &e));
    assert_ok(ledger_correct(l, "c1", "l1", 5, 99, &e));

    assert_int_equal(ledger_topup(l, "t1", 1001, 1, NULL, &e), -1);
    assert_int_equal(refuse_of(&e), REFUSE_KEY_MISMATCH);
    assert_int_equal(ledger_hold(l, "l1", 1, 501, 2, &e), -1);
    assert_int_equal(refuse_of(&e), REFUSE_KEY_MISMATCH);
    assert_int_equal(settle(l, "l1", 101, 5, 0, NULL, &e), -1);
    assert_int_equal(refuse_of(&e), REFUSE_KEY_MISMATCH);
    assert_int_equal(ledger_keeping(l, "l1", 4, 9, &e), -1);
    assert_int_equal(refuse_of(&e), REFUSE_KEY_MISMATCH);
    assert_int_equal(ledger_correct(l, "c1", "l1", 6, 10, &e), -1);
    assert_int_equal(refuse_of(&e), REFUSE_KEY_MISMATCH);

    assert_ok(ledger_funds(l, &after, &e));
    assert_memory_equal(&before, &after, sizeof before);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

static void
ledger__refuses_what_is_not_covered_and_changes_nothing(void **state)
{
    struct ledger *l = open_new(*state, "covered");
    struct ledger_funds f;
    struct err e = {0};

    assert_int_equal(ledger_topup(l, "t", 0, 1, NULL, &e), -1);
    assert_int_equal(refuse_of(&e), REFUSE_RANGE);
    assert_int_equal(ledger_topup(l, "t", -5, 1, NULL, &e), -1);
    assert_int_equal(ledger_topup(l, "t", INT64_MAX, 1, NULL, &e), -1);
    assert_int_equal(ledger_topup(l, "", 5, 1, NULL, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(ledger_topup(l, "a b", 5, 1, NULL, &e), -1);
    assert_int_equal(ledger_hold(l, "l1", 1, 1, 1, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    assert_ok(ledger_topup(l, "t", 100, 1, NULL, &e));
    assert_int_equal(ledger_hold(l, "l1", 1, 101, 1, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    assert_ok(ledger_hold(l, "l1", 1, 60, 1, &e));
    assert_int_equal(ledger_hold(l, "l2", 1, 41, 1, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    assert_ok(ledger_hold(l, "l2", 1, 40, 1, &e));
    assert_int_equal(ledger_hold(l, "l1", 2, 59, 1, &e), -1);
    assert_int_equal(settle(l, "l1", 61, 0, 0, NULL, &e), -1);
    assert_int_equal(refuse_of(&e), REFUSE_EXCEEDS);
    assert_int_equal(settle(l, "l1", 60, 1, 0, NULL, &e), -1);
    assert_int_equal(settle(l, "l3", 1, 0, 0, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    assert_int_equal(ledger_keeping(l, "l1", 1, 1, &e), -1);
    assert_int_equal(ledger_correct(l, "c", "l1", 1, 1, &e), -1);
    assert_ok(ledger_funds(l, &f, &e));
    assert_int_equal(f.n_entries, 3);
    assert_funds(l, 100, 100);
    assert_ok(ledger_release(l, "l2", 1, &e));
    assert_funds(l, 100, 60);
    assert_int_equal(ledger_hold(l, "l2", 2, 10, 1, &e), -1);
    assert_int_equal(e.code, ERR_EXISTS);
    assert_ok(ledger_release(l, "never", 1, &e));
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

/* A group is all or nothing, and a failure in it takes back only its own part. */
static void
ledger__commits_a_group_at_once(void **state)
{
    char *path = ledger_path(*state, "group");
    struct ledger *l = open_new(*state, "group");
    struct err e = {0};

    assert_ok(ledger_begin(l, &e));
    assert_ok(ledger_topup(l, "a", 100, 1, NULL, &e));
    assert_int_equal(ledger_hold(l, "l1", 1, 200, 1, &e), -1);
    assert_ok(ledger_hold(l, "l1", 1, 70, 1, &e));
    assert_ok(ledger_commit(l, &e));
    assert_funds(l, 100, 70);
    assert_ok(ledger_begin(l, &e));
    assert_ok(ledger_topup(l, "b", 100, 1, NULL, &e));
    ledger_close(l);
    assert_ok(ledger_open(&l, path, &e));
    assert_funds(l, 100, 70);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
    free(path);
}

/* What somebody with the file can do to it is seen, and the entry named. */
static void
ledger__proof_sees_every_change(void **state)
{
    static const char *const changes[] = {
        "UPDATE entry SET held = 6 WHERE n = 2",
        "UPDATE entry SET cash = 1 WHERE n = 2",
        "UPDATE entry SET wall_ns = 9 WHERE n = 1",
        "UPDATE entry SET kind = 'settle' WHERE n = 1",
        "UPDATE entry SET id = 'topup:t2' WHERE n = 1",
        "UPDATE entry SET body = CAST('fen=1001' || char(10) AS BLOB) WHERE n = 1",
        "DELETE FROM posting WHERE entry = 3; DELETE FROM entry WHERE n = 3",
        "DELETE FROM entry WHERE n = 4",
        "UPDATE posting SET fen = fen + 1 WHERE entry = 1",
        "UPDATE posting SET cr = dr WHERE entry = 1",
        "DELETE FROM posting WHERE entry = 3",
        "INSERT INTO posting VALUES(99, 3, 1, 2, 5)",
        "INSERT INTO posting VALUES(99, 77, 1, 2, 5)",
        "UPDATE account SET credit = credit + 1 WHERE n = 1",
        "UPDATE account SET debit = debit + 1 WHERE name = 'funding'",
        "UPDATE account SET name = 'clearing:x' WHERE name = 'funding'",
        "UPDATE wallet SET held = held + 1 WHERE id = ''",
        "UPDATE wallet SET held = held + 1 WHERE id = 'bob'",
        "DELETE FROM wallet WHERE id = 'bob'",
        "INSERT INTO wallet VALUES('eve', 1, 0)",
        "UPDATE entry SET wallet = 'bob' WHERE n = 4",
        "UPDATE entry SET wallet = '' WHERE n = 5",
        "UPDATE lease SET wallet = 'bob' WHERE lease = 'l2'",
        "UPDATE lease SET held = held + 1 WHERE lease = 'l1'",
        "UPDATE day SET cash = cash + 1 WHERE kind = 'topup'",
        "DELETE FROM day WHERE kind = 'hold'",
        "INSERT INTO day VALUES('', 9, 'topup', 1, 1, 0)",
        "INSERT INTO day VALUES('eve', 0, 'topup', 1, 1, 0)",
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
        assert_int_not_equal(sqlite3_exec(db, "DELETE FROM posting", NULL, NULL, NULL),
                             SQLITE_OK);
        assert_int_equal(sqlite3_exec(db,
                                      "DROP TRIGGER entry_stays;"
                                      "DROP TRIGGER entry_remains;"
                                      "DROP TRIGGER posting_stays;"
                                      "DROP TRIGGER posting_remains",
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
        if (strstr(changes[i], "entry = 3; DELETE FROM entry WHERE n = 3") != NULL) {
            assert_non_null(strstr(e.msg, "entry 3 is missing"));
        }
        ledger_close(l);
    }
    free(path);
}

/* Words of the longest allowed and one beyond; amounts from the least to the most. */
static void
ledger__takes_words_and_amounts_to_their_limits(void **state)
{
    static const char *const bad[] = {"", "a b", "a\tb", "a\x7f", "\x1f"};
    struct ledger *l = open_new(*state, "words");
    char word[LEDGER_TEXT_MAX + 2];
    struct err e = {0};

    memset(word, 'x', sizeof word);
    word[LEDGER_TEXT_MAX + 1] = '\0';
    assert_refused(ledger_topup(l, word, 1, 1, NULL, &e), ERR_INVALID);
    assert_non_null(strstr(e.msg, "1 to 128 characters"));
    word[LEDGER_TEXT_MAX] = '\0';
    assert_ok(ledger_topup(l, word, 1, 1, NULL, &e));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_refused(ledger_topup(l, bad[i], 1, 1, NULL, &e), ERR_INVALID);
    }
    assert_ok(ledger_topup(l, "!~", 1, 1, NULL, &e));
    assert_refused(ledger_topup(l, "none", 0, 1, NULL, &e), ERR_RANGE);
    assert_refused(ledger_topup(l, "more", LEDGER_FEN_MAX + 1, 1, NULL, &e), ERR_RANGE);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
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
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 4", NULL, NULL, NULL),
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

static void
ledger__keeps_the_wallets_of_many_apart(void **state)
{
    struct ledger *l = open_new(*state, "many");
    const struct ledger_promise p = {
        .lease = "l1", .seq = 1, .total_fen = 60, .host = "h1", .note = "terms=aa\n"};
    struct ledger_lease h;
    struct buf body = BUF_INIT;
    struct err e = {0};
    bool repeated = true;

    ledger_use(l, "ann");
    assert_funds(l, 0, 0);
    assert_int_equal(ledger_promise(l, &p, 1, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    assert_ok(ledger_topup(l, "t1", 100, 1, NULL, &e));
    ledger_use(l, "bob");
    assert_ok(ledger_topup(l, "t2", 50, 1, NULL, &e));
    assert_int_equal(ledger_promise(l, &p, 1, NULL, &e), -1); /* not with ann's money */
    assert_int_equal(e.code, ERR_LIMIT);
    /* Another's reference is not ours to repeat. */
    assert_int_equal(ledger_topup(l, "t1", 100, 1, NULL, &e), -1);
    assert_int_equal(refuse_of(&e), REFUSE_KEY_MISMATCH);
    ledger_use(l, "ann");
    assert_ok(ledger_promise(l, &p, 2, &repeated, &e));
    assert_false(repeated);
    assert_ok(ledger_promise(l, &p, 3, &repeated, &e));
    assert_true(repeated);
    assert_funds(l, 100, 60);
    assert_ok(ledger_hold(l, "l1", 2, 60, 3, &e)); /* as much as before: nothing moves */
    assert_int_equal(ledger_hold(l, "l1", 3, 59, 3, &e), -1);
    assert_int_equal(refuse_of(&e), REFUSE_RANGE);
    assert_funds(l, 100, 60);
    assert_ok(ledger_body(l, "hold:l1:1", &body, &e));
    assert_string_equal(buf_str(&body), "fen=60\nhost=h1\nterms=aa\n");
    ledger_use(l, "bob");
    assert_funds(l, 50, 0);
    assert_int_equal(ledger_hold(l, "l1", 4, 70, 4, &e), -1);
    assert_int_equal(e.code, ERR_DENIED);
    /* The lease says whose money it is, whoever brings the receipt. */
    assert_ok(settle(l, "l1", 40, 5, 2500, NULL, &e));
    assert_funds(l, 50, 0);
    ledger_use(l, "ann");
    assert_funds(l, 60, 5);
    assert_ok(ledger_lease(l, "l1", &h, &e));
    assert_string_equal(h.wallet, "ann");
    assert_int_equal(account(l, "renter:cash:ann"), 60);
    assert_int_equal(account(l, "owner:payable:h1"), 30);
    assert_ok(ledger_check(l, &e));
    buf_free(&body);
    ledger_close(l);
}

static void
ledger__gives_back_and_pays_out_what_there_is(void **state)
{
    struct ledger *l = open_new(*state, "out");
    struct err e = {0};
    bool repeated = true;

    ledger_use(l, "ann");
    assert_ok(ledger_topup(l, "t1", 100, 1, NULL, &e));
    assert_ok(ledger_hold(l, "l1", 1, 60, 2, &e));
    assert_int_equal(ledger_refund(l, "r1", 41, 3, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    assert_ok(ledger_refund(l, "r1", 40, 3, &repeated, &e));
    assert_false(repeated);
    assert_ok(ledger_refund(l, "r1", 40, 3, &repeated, &e));
    assert_true(repeated);
    assert_funds(l, 60, 60);
    assert_ok(settle(l, "l1", 60, 0, 1000, NULL, &e));
    ledger_use(l, "");
    assert_int_equal(ledger_payout(l, "p1", "h1", 55, 4, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    assert_int_equal(ledger_payout(l, "p1", "h2", 1, 4, NULL, &e), -1);
    assert_ok(ledger_payout(l, "p1", "h1", 54, 4, &repeated, &e));
    assert_ok(ledger_payout(l, "p1", "h1", 54, 4, &repeated, &e));
    assert_true(repeated);
    assert_int_equal(ledger_payout(l, "p2", "h1", 1, 4, NULL, &e), -1);
    assert_int_equal(account(l, "owner:payable:h1"), 0);
    assert_int_equal(account(l, "platform:fee"), 6);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

/* A ledger as the first version made it, with what it held. */
static void
ledger__of_version_1_is_taken_over(void **state)
{
    static const char back[] =
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
        "DROP TABLE day2; PRAGMA user_version = 1";
    char *path = ledger_path(*state, "old");
    struct ledger *l = open_new(*state, "old");
    sqlite3 *db = NULL;
    struct err e = {0};

    assert_ok(ledger_topup(l, "t1", 1000, 1, NULL, &e));
    assert_ok(ledger_hold(l, "l1", 1, 5, 1, &e));
    assert_ok(settle(l, "l1", 3, 2, 0, NULL, &e));
    ledger_close(l);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, back, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_ok(ledger_open(&l, path, &e));
    assert_funds(l, 997, 2);
    assert_ok(ledger_check(l, &e));
    assert_ok(ledger_keeping(l, "l1", 1, 9, &e));
    assert_funds(l, 996, 0);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
    free(path);
}

/* ---- random orders against a model; and death at every write ---- */

static uint64_t seed = 20261128;

static uint64_t
next_random(void)
{
    uint64_t z = (seed += 0x9e3779b97f4a7c15U);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    return z ^ (z >> 31);
}

#define LEASES 12

struct model {
    int64_t balance;
    int64_t held[LEASES];
    int stage[LEASES]; /* 0 none, 1 held, 2 keeping, 3 done */
};

static int64_t
model_free(const struct model *m)
{
    int64_t fen = m->balance;

    for (size_t i = 0; i < LEASES; i++) {
        fen -= m->held[i];
    }
    return fen;
}

static void
random_order(struct ledger *l, struct model *m, int i)
{
    size_t k = next_random() % LEASES;
    int64_t fen = (int64_t)(next_random() % 300);
    int64_t keep = (int64_t)(next_random() % 50);
    char lease[16];
    char id[24];
    struct err e = {0};
    int rc;

    (void)snprintf(lease, sizeof lease, "l%zu", k);
    (void)snprintf(id, sizeof id, "i%d", i);
    switch (next_random() % 5) {
    case 0:
        assert_ok(ledger_topup(l, id, fen + 1, i, NULL, &e));
        m->balance += fen + 1;
        break;
    case 1:
        rc = ledger_hold(l, lease, i, fen, i, &e);
        if (m->stage[k] < 2 && fen >= m->held[k] && fen - m->held[k] <= model_free(m)) {
            assert_int_equal(rc, 0);
            m->held[k] = fen;
            m->stage[k] = 1;
        } else {
            assert_int_equal(rc, -1);
        }
        break;
    case 2:
        if (m->stage[k] == 1) {
            rc = settle(l, lease, fen, keep, 1234, NULL, &e);
            assert_int_equal(rc, fen + keep <= m->held[k] ? 0 : -1);
            if (rc == 0) {
                m->balance -= fen;
                m->held[k] = keep;
                m->stage[k] = keep > 0 ? 2 : 3;
            }
        }
        break;
    case 3:
        if (m->stage[k] == 2) {
            rc = ledger_keeping(l, lease, keep, i, &e);
            assert_int_equal(rc, keep <= m->held[k] ? 0 : -1);
            if (rc == 0) {
                m->balance -= keep;
                m->held[k] = 0;
                m->stage[k] = 3;
            }
        }
        break;
    default:
        if (m->stage[k] == 1 && next_random() % 3 == 0) {
            assert_ok(ledger_release(l, lease, i, &e));
            m->held[k] = 0;
            m->stage[k] = 3;
        }
    }
}

/* hold + free = balance, whatever is asked in whatever order. */
static void
ledger__stands_where_a_model_stands(void **state)
{
    struct err e = {0};

    for (int round = 0; round < 20; round++) {
        struct ledger *l = open_new(*state, "model");
        struct model m = {0};

        assert_ok(ledger_begin(l, &e));
        for (int i = 0; i < 500; i++) {
            random_order(l, &m, i);
            assert_funds(l, m.balance, m.balance - model_free(&m));
            assert_true(model_free(&m) >= 0);
        }
        assert_ok(ledger_commit(l, &e));
        assert_ok(ledger_check(l, &e));
        ledger_close(l);
    }
}

/* A whole little life; asked again, each step is answered as the first time. */
static int
live(struct ledger *l, struct err *e)
{
    return ledger_topup(l, "t", 1000, 1, NULL, e) == 0 &&
                   ledger_hold(l, "l1", 1, 500, 2, e) == 0 &&
                   settle(l, "l1", 300, 20, 500, NULL, e) == 0 &&
                   ledger_keeping(l, "l1", 7, 3, e) == 0 &&
                   ledger_correct(l, "c", "l1", 100, 4, e) == 0
               ? 0
               : -1;
}

/*
 * SQLite's file system with a fuse: the process is gone at the n-th write, sync or
 * truncation; what was written stays, as after a kill. 0: it never burns.
 */
static int fuse;

static int
burn(void)
{
    if (fuse > 0 && --fuse == 0) {
        _exit(99);
    }
    return SQLITE_OK;
}

/* Files that are locked and files that are not have methods of their own. */
static struct {
    sqlite3_io_methods fused;
    const sqlite3_io_methods *real;
} kinds[2];
static int (*real_open)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *);

static const sqlite3_io_methods *
real_of(const sqlite3_file *f)
{
    return kinds[f->pMethods == &kinds[1].fused].real;
}

static int
fused_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    (void)burn();
    return real_of(f)->xWrite(f, data, n, at);
}

static int
fused_sync(sqlite3_file *f, int flags)
{
    (void)f;
    (void)flags;
    return burn(); /* a killed process loses nothing that it wrote: no need to wait */
}

static int
fused_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    (void)burn();
    return real_of(f)->xTruncate(f, size);
}

static int
fused_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    int rc = real_open(v, name, f, flags, out);

    if (rc == SQLITE_OK && f->pMethods != NULL) {
        size_t kind = (flags & SQLITE_OPEN_MAIN_DB) != 0;

        kinds[kind].real = f->pMethods;
        kinds[kind].fused = *f->pMethods;
        kinds[kind].fused.xWrite = fused_write;
        kinds[kind].fused.xSync = fused_sync;
        kinds[kind].fused.xTruncate = fused_truncate;
        f->pMethods = &kinds[kind].fused;
    }
    return rc;
}

/* In a child: live with a fuse of that length. Its exit status: 99 burnt, 0 lived. */
static int
live_in_child(const char *path, int length)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        struct ledger *l = NULL;
        struct err e;

        fuse = length;
        _exit(ledger_open(&l, path, &e) == 0 && live(l, &e) == 0 ? 0 : 1);
    }
    assert_int_not_equal(pid, -1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
ledger__stands_wherever_its_writer_is_killed(void **state)
{
    char *path = ledger_path(*state, "killed");
    char *journal = ledger_path(*state, "killed-journal");
    int n = 0;
    int status = 99;

    while (status == 99) {
        struct ledger *l = NULL;
        struct err e = {0};

        n++;
        (void)unlink(path);
        (void)unlink(journal);
        status = live_in_child(path, n);
        assert_true(status == 99 || status == 0);
        assert_ok(ledger_open(&l, path, &e));
        assert_ok(ledger_check(l, &e));
        assert_ok(live(l, &e)); /* who asked asks again */
        assert_funds(l, 793, 0);
        assert_ok(ledger_check(l, &e));
        ledger_close(l);
    }
    assert_true(n > 30); /* so many writes there are at least */
    free(path);
    free(journal);
}

static int
light_fuse(void **state)
{
    sqlite3_vfs *v = sqlite3_vfs_find(NULL);

    (void)state;
    real_open = v->xOpen;
    v->xOpen = fused_open;
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(ledger__follows_a_session_from_hold_to_keeping),
        unit_test_in_dir(ledger__statement_is_that_of_its_days),
        unit_test_in_dir(ledger__takes_an_id_once),
        unit_test_in_dir(ledger__refuses_what_is_not_covered_and_changes_nothing),
        unit_test_in_dir(ledger__commits_a_group_at_once),
        unit_test_in_dir(ledger__proof_sees_every_change),
        unit_test_in_dir(ledger__takes_words_and_amounts_to_their_limits),
        unit_test_in_dir(ledger__refuses_files_that_are_none_or_newer),
        unit_test_in_dir(ledger__keeps_the_wallets_of_many_apart),
        unit_test_in_dir(ledger__gives_back_and_pays_out_what_there_is),
        unit_test_in_dir(ledger__of_version_1_is_taken_over),
        unit_test_in_dir(ledger__stands_where_a_model_stands),
        unit_test_in_dir(ledger__stands_wherever_its_writer_is_killed),
    };

    return cmocka_run_group_tests(tests, light_fuse, NULL);
}
