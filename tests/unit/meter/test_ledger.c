/*
 * The ledger: double entry that balances, ids that are used once, money that is never
 * below zero.
 */
#include "meter/refuse.h"
#include "tests/unit/meter/ledger_util.h"

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

/* What comes again in the middle of a group, or is refused there, leaves no mark on what
 * follows; and what was answered once is answered again though it could not be now. */
static void
ledger__goes_on_after_what_comes_again(void **state)
{
    struct ledger *l = open_new(*state, "again");
    struct ledger_funds f;
    struct err e = {0};
    struct err untouched = {.code = ERR_LINK, .msg = "of something else"};
    bool repeated = false;

    assert_ok(ledger_topup(l, "t1", 100, 1, NULL, &e));
    assert_ok(ledger_refund(l, "r1", 80, 2, NULL, &e));
    assert_ok(ledger_begin(l, &e));
    assert_ok(ledger_topup(l, "t1", 100, 3, &repeated, &untouched));
    assert_true(repeated);
    assert_ok(ledger_topup(l, "t2", 5, 3, &repeated, &e));
    assert_false(repeated);
    assert_ok(ledger_topup(l, "t2", 5, 4, &repeated, &e));
    assert_true(repeated);
    assert_int_equal(ledger_topup(l, "t2", 6, 4, NULL, &e), -1);
    assert_int_equal(refuse_of(&e), REFUSE_KEY_MISMATCH);
    /* 25 are there: not again, but answered again, or told that it was something else. */
    assert_ok(ledger_refund(l, "r1", 80, 5, &repeated, &untouched));
    assert_true(repeated);
    assert_int_equal(untouched.code, ERR_LINK);
    assert_string_equal(untouched.msg, "of something else");
    assert_int_equal(ledger_refund(l, "r1", 81, 5, NULL, &e), -1);
    assert_int_equal(refuse_of(&e), REFUSE_KEY_MISMATCH);
    assert_int_equal(ledger_refund(l, "r2", 80, 5, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LIMIT);
    assert_ok(ledger_topup(l, "t3", 7, 6, NULL, &e));
    assert_ok(ledger_commit(l, &e));
    assert_ok(ledger_topup(l, "t3", 7, 7, &repeated, &e));
    assert_true(repeated);
    assert_ok(ledger_topup(l, "t4", 8, 8, NULL, &e));
    assert_funds(l, 100 - 80 + 5 + 7 + 8, 0);
    assert_ok(ledger_funds(l, &f, &e));
    assert_int_equal(f.n_entries, 5);
    assert_ok(ledger_check(l, &e));
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

/* What was paid out and then corrected the owner owes: the book is right. */
static void
ledger__lets_an_owner_owe_what_was_paid_out_and_corrected(void **state)
{
    struct ledger *l = open_new(*state, "owes");
    struct err e = {0};

    assert_ok(ledger_topup(l, "t1", 2000, 1, NULL, &e));
    assert_ok(settle(l, "l1", 500, 0, 1000, NULL, &e));
    assert_ok(ledger_payout(l, "p1", "h1", 450, 2, NULL, &e));
    assert_ok(ledger_correct(l, "c1", "l1", 200, 3, &e));
    assert_int_equal(account(l, "owner:payable:h1"), -180);
    assert_int_equal(account(l, "platform:fee"), 30);
    assert_funds(l, 1700, 0);
    assert_ok(ledger_check(l, &e));
    assert_refused(ledger_payout(l, "p2", "h1", 1, 4, NULL, &e), ERR_LIMIT);
    assert_ok(settle(l, "l2", 300, 0, 1000, NULL, &e));
    assert_refused(ledger_payout(l, "p2", "h1", 91, 5, NULL, &e), ERR_LIMIT);
    assert_ok(ledger_payout(l, "p2", "h1", 90, 5, NULL, &e));
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

/* What an account can count ends: the entry beyond it is refused, and leaves no trace. */
static void
ledger__refuses_what_an_account_cannot_count(void **state)
{
    struct ledger *l = open_new(*state, "many");
    struct ledger_funds f;
    struct err e = {0};
    char id[16];

    assert_ok(ledger_begin(l, &e));
    for (int i = 0; i < 2048; i++) {
        int rc;

        (void)snprintf(id, sizeof id, "t%d", i);
        rc = ledger_topup(l, id, LEDGER_FEN_MAX, 1, NULL, &e);
        if (i < 1024) {
            assert_ok(rc);
        } else {
            assert_int_equal(rc, -1);
            assert_int_equal(refuse_of(&e), REFUSE_RANGE);
        }
    }
    assert_int_equal(ledger_topup(l, "one", 1, 1, NULL, &e), -1);
    assert_int_equal(refuse_of(&e), REFUSE_RANGE);
    assert_ok(ledger_refund(l, "r", 5, 1, NULL, &e)); /* the other side has room */
    assert_int_equal(ledger_topup(l, "one", 1, 1, NULL, &e), -1);
    assert_ok(ledger_commit(l, &e));
    assert_funds(l, LEDGER_ACCOUNT_FEN_MAX - 5, 0);
    assert_ok(ledger_funds(l, &f, &e));
    assert_int_equal(f.n_entries, 1025);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

/* ---- random orders against a model ---- */

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(ledger__follows_a_session_from_hold_to_keeping),
        unit_test_in_dir(ledger__takes_an_id_once),
        unit_test_in_dir(ledger__refuses_what_is_not_covered_and_changes_nothing),
        unit_test_in_dir(ledger__commits_a_group_at_once),
        unit_test_in_dir(ledger__takes_words_and_amounts_to_their_limits),
        unit_test_in_dir(ledger__keeps_the_wallets_of_many_apart),
        unit_test_in_dir(ledger__goes_on_after_what_comes_again),
        unit_test_in_dir(ledger__gives_back_and_pays_out_what_there_is),
        unit_test_in_dir(ledger__refuses_what_an_account_cannot_count),
        unit_test_in_dir(ledger__lets_an_owner_owe_what_was_paid_out_and_corrected),
        unit_test_in_dir(ledger__stands_where_a_model_stands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
