#ifndef TESTS_UNIT_METER_LEDGER_UTIL_H
#define TESTS_UNIT_METER_LEDGER_UTIL_H

#include <unistd.h>

#include "base/db.h"
#include "base/file.h"
#include "meter/ledger.h"
#include "tests/unit/unit.h"

/* What the tests of a ledger without vouchers share. */

static inline char *
ledger_path(const char *dir, const char *name)
{
    return path_join(dir, name);
}

static inline struct ledger *
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

static inline void
assert_funds(struct ledger *l, int64_t balance, int64_t held)
{
    struct ledger_funds f;
    struct err e = {0};

    assert_ok(ledger_funds(l, &f, &e));
    assert_int_equal(f.balance_fen, balance);
    assert_int_equal(f.held_fen, held);
    assert_int_equal(f.free_fen, balance - held);
}

static inline int
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

static inline int
find_account(void *ctx, const struct ledger_account *a, struct err *e)
{
    struct found *f = ctx;

    (void)e;
    if (strcmp(a->name, f->name) == 0) {
        f->fen = a->credit_fen - a->debit_fen;
    }
    return 0;
}

static inline int64_t
account(struct ledger *l, const char *name)
{
    struct found f = {name, 0};
    struct err e = {0};

    assert_ok(ledger_each_account(l, find_account, &f, &e));
    return f.fen;
}

#endif
