#ifndef TESTS_UNIT_BOOK_DESK_FIXTURE_H
#define TESTS_UNIT_BOOK_DESK_FIXTURE_H

#include "runner/book/desk.h"
#include "tests/unit/meter/fixture.h"

/* A book with one renter and one host that names it. */
#define DAY_NS (86400 * NS_PER_S)

struct desk {
    struct fixture f;
    struct book *b;
    struct account ann;
    char host[SIGN_ID_LEN + 1];
};

static inline void
deposit(struct desk *d, int64_t fen)
{
    struct err e = {0};

    ledger_use(d->b->ledger, d->ann.id);
    assert_ok(ledger_topup(d->b->ledger, "t1", fen, 1, NULL, &e));
}

/* The host's, by its card as it is now: it names the book. */
static inline void
sign_offer(struct desk *d)
{
    const struct offer_device gpu = {"gpu", "4090", "GPU-1", 25769803776, 1};
    struct err e = {0};

    offer_free(d->f.offer);
    d->f.offer = offer_new();
    offer_add_device(d->f.offer, &gpu);
    offer_add_book(d->f.offer, &d->b->pub);
    d->f.offer->own_book = false;
    d->f.offer->made_wall_ns = fixture_wall_ns;
    d->f.offer->until_wall_ns = fixture_wall_ns + DAY_NS;
    assert_ok(
        offer_set_card(d->f.offer, d->f.card, NULL, fixture_wall_ns / NS_PER_S, &e));
    assert_ok(offer_sign(d->f.offer, d->f.host, &e));
    d->f.grant.n_rows = 0;
    assert_ok(grant_set_offer(&d->f.grant, d->f.offer, "gpu", "4090", 1, &e));
    d->f.grant.seq = 1;
    assert_ok(grant_sign(&d->f.grant, d->f.renter, &e));
}

/* An account with that much, a host that is known and names the book in its offer. */
static inline void
desk_open(struct desk *d, const char *dir, int64_t fen)
{
    struct book_host h = {.name = "h1"};
    char *home = path_join(dir, "book");
    struct err e = {0};

    memset(d, 0, sizeof *d);
    fixture_open(&d->f, dir);
    assert_int_equal(setenv("GPURUN_BOOK_HOME", home, 1), 0);
    assert_ok(book_open(&d->b, &e));
    assert_ok(book_set_fee(d->b, 1000, &e));
    assert_ok(card_set(d->f.card, "disk=0.01", 0, &e));
    fixture_terms(&d->f, 500, 86400, 60);
    sign_offer(d);
    h.key = d->f.host_public;
    sign_public_id(&h.key, h.id);
    memcpy(d->host, h.id, sizeof d->host);
    assert_ok(book_host_save(d->b, &h, &e));
    (void)strcpy(d->ann.id, "00000000000000aa");
    assert_ok(account_save(d->b, &d->ann, &e));
    assert_ok(account_pin(d->b, &d->ann, &d->f.renter_public, &e));
    deposit(d, fen);
    free(home);
}

static inline void
desk_close(struct desk *d)
{
    account_free(&d->ann);
    book_close(d->b);
    fixture_close(&d->f);
}

static inline int
ask(struct desk *d, struct buf *granted, struct err *e)
{
    const struct grant *g = &d->f.grant;
    const struct offer *o = d->f.offer;

    return desk_grant(d->b, &d->ann, g->bytes.data, g->bytes.len, o->bytes.data,
                      o->bytes.len, granted, e);
}

static inline void
assert_funds(struct desk *d, int64_t balance, int64_t held)
{
    struct ledger_funds funds;
    struct err e = {0};

    ledger_use(d->b->ledger, d->ann.id);
    assert_ok(ledger_funds(d->b->ledger, &funds, &e));
    assert_int_equal(funds.balance_fen, balance);
    assert_int_equal(funds.held_fen, held);
}

#endif
