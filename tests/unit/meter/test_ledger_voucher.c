/*
 * Vouchers in a ledger: the law's order, holds that do whatever the charge will be,
 * money that goes back to where it came from, and a proof that sees any change.
 */
#include <unistd.h>

#include "base/db.h"
#include "base/file.h"
#include "meter/ledger.h"
#include "tests/unit/unit.h"

#define NS INT64_C(1000000000)
/* 2026-11-29 in Shanghai, at noon; a day on; */
#define NOON_NS (INT64_C(1795924800) * NS)
#define DAY_NS  (86400 * NS)

static struct ledger *
open_new(const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    struct ledger *l = NULL;
    struct err e = {0};

    (void)unlink(path);
    assert_ok(ledger_open(&l, path, &e));
    ledger_use(l, "ann");
    free(path);
    return l;
}

static int
give(struct ledger *l, const char *id, int64_t fen, int64_t least, const char *expires,
     struct err *e)
{
    struct ledger_voucher v = {.min_spend_fen = least, .given_fen = fen};

    (void)snprintf(v.id, sizeof v.id, "%s", id);
    (void)snprintf(v.expires, sizeof v.expires, "%s", expires);
    return ledger_voucher(l, &v, NOON_NS, NULL, e);
}

static int
settle(struct ledger *l, const char *lease, int64_t charge, int64_t keep, int64_t at_ns,
       struct err *e)
{
    const struct ledger_close c = {.lease = lease,
                                   .host = "h1",
                                   .charge_fen = charge,
                                   .keep_fen = keep,
                                   .fee_bps = 1000};

    return ledger_settle(l, &c, at_ns, NULL, e);
}

struct found {
    const char *name;
    int64_t fen;
    int64_t promised;
};

static int
find_voucher(void *ctx, const struct ledger_voucher *v, struct err *e)
{
    struct found *f = ctx;

    (void)e;
    if (strcmp(v->id, f->name) == 0) {
        f->fen = v->free_fen;
        f->promised = v->promised_fen;
    }
    return 0;
}

static void
assert_voucher(struct ledger *l, const char *id, int64_t fen, int64_t promised)
{
    struct found f = {id, -1, -1};
    struct err e = {0};

    assert_ok(ledger_each_voucher(l, NOON_NS, find_voucher, &f, &e));
    assert_int_equal(f.fen, fen);
    assert_int_equal(f.promised, promised);
}

static void
assert_funds(struct ledger *l, int64_t balance, int64_t held)
{
    struct ledger_funds f;
    struct err e = {0};

    assert_ok(ledger_funds(l, &f, &e));
    assert_int_equal(f.balance_fen, balance);
    assert_int_equal(f.held_fen, held);
}

static void
assert_reach(struct ledger *l, int64_t at_ns, int64_t fen)
{
    int64_t reach = -1;
    struct err e = {0};

    assert_ok(ledger_reach(l, at_ns, &reach, &e));
    assert_int_equal(reach, fen);
}

static int
find_account(void *ctx, const struct ledger_account *a, struct err *e)
{
    struct found *f = ctx;

    (void)e;
    f->fen = strcmp(a->name, f->name) == 0 ? a->credit_fen - a->debit_fen : f->fen;
    return 0;
}

static int64_t
account(struct ledger *l, const char *name)
{
    struct found f = {name, 0, 0};
    struct err e = {0};

    assert_ok(ledger_each_account(l, find_account, &f, &e));
    return f.fen;
}

static void
voucher__pays_before_cash_and_its_giver_bears_it(void **state)
{
    struct ledger *l = open_new(*state, "pays");
    struct err e = {0};

    assert_ok(ledger_topup(l, "t", 100, NOON_NS, NULL, &e));
    assert_ok(give(l, "v1", 300, 0, "", &e));
    assert_reach(l, NOON_NS, 400);
    assert_ok(ledger_hold(l, "l1", 1, 350, NOON_NS, &e));
    assert_funds(l, 100, 50);
    assert_voucher(l, "v1", 0, 300);
    assert_reach(l, NOON_NS, 50);
    /* Nobody else gets what is promised. */
    assert_refused(ledger_hold(l, "l2", 1, 51, NOON_NS, &e), ERR_LIMIT);
    assert_ok(settle(l, "l1", 120, 200, NOON_NS, &e));
    assert_funds(l, 100, 20);
    assert_voucher(l, "v1", 0, 180);
    assert_ok(ledger_keeping(l, "l1", 190, NOON_NS, &e));
    assert_funds(l, 90, 0);
    assert_voucher(l, "v1", 0, 0);
    /* The owner's share is of the whole charge. */
    assert_int_equal(account(l, "owner:payable:h1"), 108 + 171);
    assert_int_equal(account(l, "platform:fee"), 12 + 19);
    assert_int_equal(account(l, "platform:voucher"), -300);
    assert_int_equal(account(l, "clearing:l1"), 0);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

static void
voucher__order_is_the_laws(void **state)
{
    struct ledger *l = open_new(*state, "order");
    struct err e = {0};

    /* Earliest expiry, larger min(balance, charge), smaller balance, id. */
    assert_ok(give(l, "never", 500, 0, "", &e));
    assert_ok(give(l, "late-b", 60, 0, "2026-12-31", &e));
    assert_ok(give(l, "late-a", 60, 0, "2026-12-31", &e));
    assert_ok(give(l, "late-big", 90, 0, "2026-12-31", &e));
    assert_ok(give(l, "soon", 10, 0, "2026-12-01", &e));
    assert_ok(give(l, "least", 500, 101, "2026-11-30", &e));
    assert_ok(ledger_hold(l, "l1", 1, 100, NOON_NS, &e));
    assert_ok(settle(l, "l1", 100, 0, NOON_NS, &e));
    assert_voucher(l, "soon", 0, 0);
    assert_voucher(l, "late-big", 0, 0);
    assert_voucher(l, "late-a", 60, 0);
    assert_voucher(l, "never", 500, 0);
    assert_ok(ledger_hold(l, "l2", 1, 50, NOON_NS, &e));
    assert_ok(settle(l, "l2", 50, 0, NOON_NS, &e));
    assert_voucher(l, "late-a", 10, 0);
    assert_voucher(l, "late-b", 60, 0);
    assert_voucher(l, "least", 500, 0);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

/* The cash that is held does for any charge, also one just below the least spending. */
static void
voucher__hold_covers_any_charge(void **state)
{
    for (int64_t charge = 0; charge <= 200;
         charge += charge < 98 || charge > 101 ? 49 : 1) {
        struct ledger *l = open_new(*state, "any");
        struct err e = {0};

        assert_ok(ledger_topup(l, "t", 99, NOON_NS, NULL, &e));
        assert_ok(give(l, "v", 150, 100, "", &e));
        assert_reach(l, NOON_NS, 249);
        assert_ok(ledger_hold(l, "l1", 1, 200, NOON_NS, &e));
        assert_funds(l, 99, 99);
        assert_voucher(l, "v", 0, 150);
        assert_ok(settle(l, "l1", charge, 0, NOON_NS, &e));
        assert_funds(l,
                     charge < 100    ? 99 - charge
                     : charge <= 150 ? 99
                                     : 249 - charge,
                     0);
        assert_ok(ledger_check(l, &e));
        ledger_close(l);
    }
}

static void
voucher__that_expires_pays_for_what_it_was_promised_to(void **state)
{
    struct ledger *l = open_new(*state, "expires");
    struct err e = {0};
    size_t n = 0;

    assert_ok(give(l, "v", 100, 0, "2026-11-29", &e));
    assert_refused(give(l, "w", 100, 0, "2026-11-28", &e), ERR_INVALID);
    assert_ok(ledger_hold(l, "l1", 1, 60, NOON_NS, &e));
    assert_reach(l, NOON_NS, 40);
    assert_reach(l, NOON_NS + DAY_NS / 2 - 1, 40);
    assert_reach(l, NOON_NS + DAY_NS / 2, 0);
    assert_ok(ledger_lapse(l, NOON_NS, &n, &e));
    assert_voucher(l, "v", 40, 60);
    assert_refused(ledger_hold(l, "l2", 1, 1, NOON_NS + DAY_NS, &e), ERR_LIMIT);
    assert_ok(ledger_lapse(l, NOON_NS + DAY_NS, &n, &e));
    assert_ok(ledger_lapse(l, NOON_NS + DAY_NS, &n, &e));
    assert_int_equal(n, 1);
    assert_voucher(l, "v", 0, 60);
    assert_ok(settle(l, "l1", 50, 5, NOON_NS + 2 * DAY_NS, &e));
    assert_voucher(l, "v", 0, 5);
    assert_int_equal(account(l, "platform:voucher"), -55);
    assert_ok(ledger_keeping(l, "l1", 2, NOON_NS + 3 * DAY_NS, &e));
    assert_voucher(l, "v", 0, 0);
    assert_int_equal(account(l, "platform:voucher"), -52);
    assert_int_equal(account(l, "owner:payable:h1") + account(l, "platform:fee"), 52);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

/* A receipt of before that comes after: what it frees lapses, too. */
static void
voucher__lapses_again_when_something_comes_back_late(void **state)
{
    struct ledger *l = open_new(*state, "late");
    struct err e = {0};
    size_t n = 0;

    assert_ok(give(l, "v", 100, 0, "2026-11-29", &e));
    assert_ok(ledger_hold(l, "l1", 1, 60, NOON_NS, &e));
    assert_ok(ledger_lapse(l, NOON_NS + DAY_NS, &n, &e));
    assert_voucher(l, "v", 0, 60);
    assert_ok(settle(l, "l1", 10, 0, NOON_NS, &e));
    assert_voucher(l, "v", 50, 0);
    assert_ok(ledger_lapse(l, NOON_NS + 2 * DAY_NS, &n, &e));
    assert_int_equal(n, 2);
    assert_voucher(l, "v", 0, 0);
    assert_int_equal(account(l, "platform:voucher"), -10);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

static void
voucher__gets_back_what_it_gave(void **state)
{
    struct ledger *l = open_new(*state, "back");
    struct err e = {0};

    assert_ok(ledger_topup(l, "t", 100, NOON_NS, NULL, &e));
    assert_ok(give(l, "soon", 30, 0, "2026-11-29", &e));
    assert_ok(give(l, "late", 40, 0, "2026-12-31", &e));
    assert_ok(ledger_hold(l, "l1", 1, 100, NOON_NS, &e));
    assert_ok(settle(l, "l1", 100, 0, NOON_NS, &e));
    assert_funds(l, 70, 0);
    /* Cash first, then the vouchers from the last to the first. */
    assert_ok(ledger_correct(l, "c1", "l1", 10, NOON_NS, &e));
    assert_funds(l, 80, 0);
    assert_ok(ledger_correct(l, "c2", "l1", 35, NOON_NS, &e));
    assert_funds(l, 100, 0);
    assert_voucher(l, "late", 15, 0);
    assert_voucher(l, "soon", 0, 0);
    assert_ok(ledger_correct(l, "c2", "l1", 35, NOON_NS, &e));
    assert_ok(ledger_check(l, &e));
    /* What one gave that has expired is forfeited, never paid elsewhere. */
    assert_ok(ledger_correct(l, "c3", "l1", 45, NOON_NS + DAY_NS, &e));
    assert_funds(l, 100, 0);
    assert_voucher(l, "late", 40, 0);
    assert_voucher(l, "soon", 0, 0);
    assert_int_equal(account(l, "platform:voucher"), -50);
    assert_int_equal(account(l, "owner:payable:h1") + account(l, "platform:fee"), 10);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

static void
voucher__is_given_once_and_within_limits(void **state)
{
    struct ledger *l = open_new(*state, "once");
    struct err e = {0};
    char id[16];

    assert_ok(give(l, "v0", 5, 0, "", &e));
    assert_ok(give(l, "v0", 5, 0, "", &e));
    assert_voucher(l, "v0", 5, 0);
    assert_refused(give(l, "v0", 6, 0, "", &e), ERR_INVALID);
    assert_refused(give(l, "v0", 5, 1, "", &e), ERR_INVALID);
    assert_refused(give(l, "v0", 5, 0, "2026-12-31", &e), ERR_INVALID);
    ledger_use(l, "bob");
    assert_refused(give(l, "v0", 5, 0, "", &e), ERR_INVALID);
    ledger_use(l, "");
    assert_refused(give(l, "w", 5, 0, "", &e), ERR_INVALID);
    ledger_use(l, "ann");
    assert_refused(give(l, "a:b", 5, 0, "", &e), ERR_INVALID);
    assert_refused(give(l, "w", 0, 0, "", &e), ERR_RANGE);
    assert_refused(give(l, "w", -5, 0, "", &e), ERR_RANGE);
    assert_refused(give(l, "w", 5, -1, "", &e), ERR_RANGE);
    assert_refused(give(l, "w", 5, 0, "2026-02-30", &e), ERR_INVALID);
    assert_refused(give(l, "w", 5, 0, "tomorrow", &e), ERR_INVALID);
    for (int i = 1; i < LEDGER_VOUCHERS_MAX; i++) {
        (void)snprintf(id, sizeof id, "v%d", i);
        assert_ok(give(l, id, 1, 0, "", &e));
    }
    assert_refused(give(l, "w", 5, 0, "", &e), ERR_LIMIT);
    assert_reach(l, NOON_NS, 5 + LEDGER_VOUCHERS_MAX - 1);
    /* One used up makes room. */
    assert_ok(ledger_hold(l, "l1", 1, 5, NOON_NS, &e));
    assert_ok(settle(l, "l1", 5, 0, NOON_NS, &e));
    assert_ok(give(l, "w", 5, 0, "", &e));
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

/*
 * A correction opens used-up vouchers again after as many others were given: every one of
 * them pays, and every one lapses.
 */
static void
voucher__beyond_the_most_that_are_given_pays_and_lapses_all_the_same(void **state)
{
    struct ledger *l = open_new(*state, "more");
    struct err e = {0};
    size_t n = 0;
    char id[16];

    for (int i = 0; i < 2 * LEDGER_VOUCHERS_MAX; i++) {
        if (i == LEDGER_VOUCHERS_MAX) { /* the first half is used up */
            assert_ok(ledger_hold(l, "l1", 1, 10 * LEDGER_VOUCHERS_MAX, NOON_NS, &e));
            assert_ok(settle(l, "l1", 10 * LEDGER_VOUCHERS_MAX, 0, NOON_NS, &e));
            assert_reach(l, NOON_NS, 0);
        }
        (void)snprintf(id, sizeof id, "v%02d", i);
        assert_ok(give(l, id, 10, 0, "2026-12-31", &e));
    }
    assert_ok(ledger_correct(l, "c", "l1", 10 * LEDGER_VOUCHERS_MAX, NOON_NS, &e));
    assert_ok(ledger_check(l, &e));
    assert_reach(l, NOON_NS, 20 * LEDGER_VOUCHERS_MAX);
    assert_refused(give(l, "w", 1, 0, "", &e), ERR_LIMIT);
    /* One lease that has to do with all of them, used up and open. */
    assert_ok(ledger_hold(l, "l2", 1, 20 * LEDGER_VOUCHERS_MAX, NOON_NS, &e));
    assert_ok(settle(l, "l2", 20 * LEDGER_VOUCHERS_MAX - 45, 40, NOON_NS, &e));
    assert_reach(l, NOON_NS, 5);
    assert_ok(ledger_keeping(l, "l2", 40, NOON_NS, &e));
    assert_ok(ledger_correct(l, "d", "l2", 20 * LEDGER_VOUCHERS_MAX - 5, NOON_NS, &e));
    assert_reach(l, NOON_NS, 20 * LEDGER_VOUCHERS_MAX);
    assert_ok(ledger_check(l, &e));
    assert_ok(ledger_lapse(l, NOON_NS + 60 * DAY_NS, &n, &e));
    assert_int_equal(n, 2 * LEDGER_VOUCHERS_MAX);
    assert_int_equal(account(l, "platform:voucher"), 0);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

static void
voucher__of_a_lease_that_came_to_nothing_is_free_again(void **state)
{
    struct ledger *l = open_new(*state, "nothing");
    struct err e = {0};

    assert_ok(give(l, "v", 100, 0, "", &e));
    assert_ok(ledger_hold(l, "l1", 1, 30, NOON_NS, &e));
    assert_ok(ledger_hold(l, "l1", 2, 80, NOON_NS, &e));
    assert_voucher(l, "v", 20, 80);
    assert_refused(ledger_hold(l, "l1", 3, 70, NOON_NS, &e), ERR_RANGE);
    assert_refused(settle(l, "l1", 70, 11, NOON_NS, &e), ERR_INVALID);
    assert_voucher(l, "v", 20, 80);
    assert_ok(ledger_release(l, "l1", NOON_NS, &e));
    assert_voucher(l, "v", 100, 0);
    assert_ok(ledger_check(l, &e));
    ledger_close(l);
}

static void
voucher__check_sees_a_cover_that_was_changed(void **state)
{
    static const char *const bad[] = {
        "UPDATE cover SET promised = promised + 1",
        "UPDATE cover SET spent = spent - 1 WHERE spent > 0",
        "DELETE FROM cover",
        "UPDATE account SET credit = credit + 1 WHERE name GLOB 'renter:voucher:*'",
        "DROP TRIGGER entry_stays; UPDATE entry SET voucher = 1 WHERE n = 1",
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct ledger *l = open_new(*state, "bad");
        char *path = path_join(*state, "bad");
        sqlite3 *db = NULL;
        struct err e = {0};

        assert_ok(give(l, "v", 100, 0, "", &e));
        assert_ok(ledger_hold(l, "l1", 1, 50, NOON_NS, &e));
        assert_ok(settle(l, "l1", 30, 10, NOON_NS, &e));
        assert_ok(ledger_check(l, &e));
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, bad[i], NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        assert_refused(ledger_check(l, &e), ERR_CORRUPT);
        ledger_close(l);
        free(path);
    }
}

/* ---- random orders: what is held always does, and nothing is lost ---- */

static uint64_t seed = 20261129;

static int64_t
below(int64_t n)
{
    return (int64_t)(unit_random(&seed) % (uint64_t)n);
}

/* A lease on its way. */
struct open_lease {
    char id[24];
    int64_t total; /* 0: none */
    int64_t keep;
    int64_t charge;
    bool settled;
};

static void
begin_lease(struct ledger *l, struct open_lease *o, int i, int64_t at_ns)
{
    int64_t reach = 0;
    struct err e = {0};

    memset(o, 0, sizeof *o);
    o->total = 1 + below(400);
    o->charge = below(o->total + 1);
    o->keep = below(o->total - o->charge + 1);
    (void)snprintf(o->id, sizeof o->id, "l%d", i);
    assert_ok(ledger_reach(l, at_ns, &reach, &e));
    if (o->total > reach) {
        assert_refused(ledger_hold(l, o->id, 1, o->total, at_ns, &e), ERR_LIMIT);
        o->total = 0;
    } else {
        assert_ok(ledger_hold(l, o->id, 1, o->total, at_ns, &e));
    }
}

/* It is covered, whatever the charge, and whatever other leases did meanwhile. */
static void
go_on(struct ledger *l, struct open_lease *o, int64_t at_ns)
{
    struct err e = {0};
    int64_t used;

    if (!o->settled && below(8) == 0) {
        assert_ok(ledger_release(l, o->id, at_ns, &e));
        o->total = 0;
    } else if (!o->settled) {
        assert_ok(settle(l, o->id, o->charge, o->keep, at_ns, &e));
        o->settled = true;
        o->total = o->keep > 0 ? o->total : 0;
    } else {
        used = below(o->keep + 1);
        assert_ok(ledger_keeping(l, o->id, used, at_ns, &e));
        if (o->charge + used > 0 && below(2) == 0) {
            assert_ok(
                ledger_correct(l, o->id, o->id, 1 + below(o->charge + used), at_ns, &e));
        }
        o->total = 0;
    }
}

static void
voucher__random_leases_are_always_covered(void **state)
{
    static const char *const until[] = {"", "2026-12-05", "2026-12-20", "2027-01-31"};
    struct ledger *l = open_new(*state, "random");
    struct open_lease open[4] = {{.total = 0}};
    int64_t at_ns = NOON_NS;
    struct err e = {0};
    char id[24];
    size_t n = 0;

    assert_ok(ledger_begin(l, &e));
    for (int i = 0; i < 4000; i++) {
        struct open_lease *o = &open[below(4)];

        (void)snprintf(id, sizeof id, "x%d", i);
        at_ns += below(40) == 0 ? DAY_NS : 0;
        if (below(6) == 0) {
            assert_ok(ledger_topup(l, id, 1 + below(200), at_ns, NULL, &e));
        }
        if (below(4) == 0) { /* may be one too many, or too late: no matter */
            (void)!give(l, id, 1 + below(300), below(2) * below(200), until[below(4)],
                        &e);
        }
        if (o->total == 0) {
            begin_lease(l, o, i, at_ns);
        } else {
            go_on(l, o, at_ns);
        }
        if (below(20) == 0) {
            assert_ok(ledger_lapse(l, at_ns, &n, &e));
        }
    }
    assert_true(n > 0);
    assert_ok(ledger_check(l, &e));
    assert_ok(ledger_commit(l, &e));
    ledger_close(l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(voucher__pays_before_cash_and_its_giver_bears_it),
        unit_test_in_dir(voucher__order_is_the_laws),
        unit_test_in_dir(voucher__hold_covers_any_charge),
        unit_test_in_dir(voucher__that_expires_pays_for_what_it_was_promised_to),
        unit_test_in_dir(voucher__lapses_again_when_something_comes_back_late),
        unit_test_in_dir(voucher__gets_back_what_it_gave),
        unit_test_in_dir(voucher__is_given_once_and_within_limits),
        unit_test_in_dir(
            voucher__beyond_the_most_that_are_given_pays_and_lapses_all_the_same),
        unit_test_in_dir(voucher__of_a_lease_that_came_to_nothing_is_free_again),
        unit_test_in_dir(voucher__check_sees_a_cover_that_was_changed),
        unit_test_in_dir(voucher__random_leases_are_always_covered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
