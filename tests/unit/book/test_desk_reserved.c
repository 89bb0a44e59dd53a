/*
 * A book's desk: reservations that were paid here, and what their chains say of the
 * money.
 */
#include "meter/reservation.h"
#include "tests/unit/book/desk_fixture.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

static const char *const reserved_id = "v0123456789ab";

/* Carry out an order on r; grant NULL where nothing is due. */
static void
order_done(struct desk *d, struct reservation *r, enum order_act act,
           const struct grant *g)
{
    static const char *const uuids[] = {"GPU-1"};
    struct reservation_deed deed = {.devices = uuids, .grant = g};
    struct order o;
    struct err e = {0};

    order_init(&o);
    (void)strcpy(o.reservation, reserved_id);
    o.act = act;
    o.host = d->f.host_public;
    o.prev = r->head;
    o.made_wall_ns = fixture_wall_ns;
    if (act == ORDER_BUY) {
        o.offer = d->f.offer->hash;
        (void)strcpy(o.class_name, "gpu");
        (void)strcpy(o.type, "4090");
        (void)strcpy(o.unit, "day");
        o.n_devices = 1;
        o.n = 1;
        deed.offer = d->f.offer;
        deed.n_devices = 1;
    }
    assert_ok(order_sign(&o, act == ORDER_BREAK ? d->f.host : d->f.renter, &e));
    deed.order = &o;
    deed.wall_ns = fixture_wall_ns;
    assert_ok(reservation_do(r, &deed, d->f.host, &e));
    order_clear(&o);
}

/* A day of the device, paid by a grant of the book. */
static struct reservation *
buy_a_day(struct desk *d)
{
    struct card_plan day = {.class_name = "gpu",
                            .type = "4090",
                            .unit = "day",
                            .price_fen = 3000,
                            .refund_fee_bps = 1000,
                            .from_s = CARD_ALWAYS,
                            .to_s = CARD_FOREVER};
    struct reservation *r = reservation_new();
    struct buf granted = BUF_INIT;
    struct grant g;
    struct err e = {0};

    assert_ok(card_set_plan(d->f.card, &day, &e));
    (void)strcpy(d->f.grant.job, reserved_id);
    d->f.grant.cap_fen = 3000;
    sign_offer(d);
    assert_ok(ask(d, &granted, &e));
    assert_ok(grant_parse(&g, granted.data, granted.len, &e));
    order_done(d, r, ORDER_BUY, &g);
    grant_clear(&g);
    buf_free(&granted);
    return r;
}

static struct reservation *
chain_copy(const struct reservation *r)
{
    struct reservation *copy = NULL;
    struct err e = {0};

    assert_ok(reservation_parse(&copy, r->bytes.data, r->bytes.len, NULL, NULL, &e));
    return copy;
}

static void
desk__takes_one_history_of_a_reservation(void **state)
{
    struct desk d;
    struct reservation *bought;
    struct reservation *one;
    struct reservation *other;
    char *fork;
    struct err e = {0};

    desk_open(&d, *state, 9000);
    bought = buy_a_day(&d);
    one = chain_copy(bought);
    other = chain_copy(bought);
    assert_ok(desk_reserved(d.b, bought->bytes.data, bought->bytes.len, &e));
    assert_funds(&d, 6000, 0);
    fixture_pass(6 * 3600 * NS_PER_S);
    order_done(&d, one, ORDER_BREAK, NULL); /* three quarters of it come back */
    fixture_pass(6 * 3600 * NS_PER_S);
    order_done(&d, other, ORDER_BREAK, NULL); /* or half of it */
    assert_ok(desk_reserved(d.b, one->bytes.data, one->bytes.len, &e));
    assert_funds(&d, 8250, 0);
    /* An older one brings nothing, and stays away. */
    assert_ok(desk_reserved(d.b, bought->bytes.data, bought->bytes.len, &e));
    assert_refused(desk_reserved(d.b, other->bytes.data, other->bytes.len, &e),
                   ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "both are kept as proof"));
    assert_funds(&d, 8250, 0);
    fork = xasprintf("%s/forks/%s.2", d.b->home, reserved_id);
    assert_true(file_exists(fork));
    assert_ok(desk_reserved(d.b, one->bytes.data, one->bytes.len, &e));
    assert_funds(&d, 8250, 0);
    assert_ok(ledger_check(d.b->ledger, &e));
    free(fork);
    reservation_free(bought);
    reservation_free(one);
    reservation_free(other);
    desk_close(&d);
}

static int
last_posted(void *ctx, const struct ledger_entry *en, struct err *e)
{
    int64_t *wall_ns = ctx;

    (void)e;
    *wall_ns = en->wall_ns;
    return 0;
}

/* What the host did on one day and the book hears of on another is of the other: a month
 * that is over does not change. */
static void
desk__posts_a_reservation_when_it_hears_of_it(void **state)
{
    struct desk d;
    struct reservation *r;
    int64_t posted_ns = 0;
    struct err e = {0};

    desk_open(&d, *state, 9000);
    r = buy_a_day(&d);
    fixture_pass(6 * 3600 * NS_PER_S);
    order_done(&d, r, ORDER_BREAK, NULL);
    fixture_pass(40 * DAY_NS);
    assert_ok(desk_reserved(d.b, r->bytes.data, r->bytes.len, &e));
    assert_funds(&d, 8250, 0);
    assert_ok(ledger_each(d.b->ledger, WALL_START_NS + DAY_NS, INT64_MAX, last_posted,
                          &posted_ns, &e));
    assert_int_equal(posted_ns, fixture_wall_ns);
    posted_ns = 0;
    assert_ok(ledger_each(d.b->ledger, WALL_START_NS + 2 * 3600 * NS_PER_S,
                          WALL_START_NS + 39 * DAY_NS, last_posted, &posted_ns, &e));
    assert_int_equal(posted_ns, 0);
    reservation_free(r);
    desk_close(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(desk__takes_one_history_of_a_reservation),
        fixture_test(desk__posts_a_reservation_when_it_hears_of_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
