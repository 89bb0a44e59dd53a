/* Reservations: every fen by the rules, and a chain that takes nothing else. */
#include "meter/reservation.h"
#include "tests/unit/meter/fixture.h"

int64_t fixture_mono_ns;
int64_t fixture_boot_ns;
int64_t fixture_wall_ns;

#define DAY_S 86400

struct scene {
    struct fixture f;
    struct reservation *r;
    int lease;
};

static void
set_plan(struct scene *s, const char *class_name, const char *type, const char *unit,
         int64_t fen)
{
    struct card_plan p = {.price_fen = fen,
                          .refund_fee_bps = 1000,
                          .from_s = CARD_ALWAYS,
                          .to_s = CARD_FOREVER};
    struct err e = {0};

    (void)strcpy(p.class_name, class_name);
    (void)strcpy(p.type, type);
    (void)strcpy(p.unit, unit);
    assert_ok(card_set_plan(s->f.card, &p, &e));
}

static void
scene_open(struct scene *s, const char *dir)
{
    struct err e = {0};

    memset(s, 0, sizeof *s);
    fixture_open(&s->f, dir);
    assert_ok(card_set(s->f.card, "a100=8", 0, &e));
    set_plan(s, "gpu", "4090", "day", 3000);
    set_plan(s, "gpu", "a100", "day", 12000);
    set_plan(s, "gpu", "4090", "week", 18000);
    fixture_terms(&s->f, 500, 3600, 60);
    s->r = reservation_new();
}

static void
scene_close(struct scene *s)
{
    reservation_free(s->r);
    fixture_close(&s->f);
}

static struct order
order_of(const struct scene *s, enum order_act act)
{
    bool names = act == ORDER_BUY || act == ORDER_CHANGE;
    struct order o;

    order_init(&o);
    (void)strcpy(o.reservation, "v0123456789ab");
    o.act = act;
    o.host = s->f.host_public;
    o.prev = s->r->head;
    if (act < ORDER_REFUND) {
        o.offer = s->f.offer->hash;
    }
    if (names) {
        (void)strcpy(o.class_name, "gpu");
        (void)strcpy(o.type, act == ORDER_BUY ? "4090" : "a100");
        o.n_devices = 1;
    }
    o.n = act == ORDER_BUY || act == ORDER_RENEW ? 1 : 0;
    (void)strcpy(o.unit, act == ORDER_BUY ? "day" : "");
    o.made_wall_ns = fixture_wall_ns;
    return o;
}

/* Carry it out, paid by a grant of that cap (0: none). */
static int
order_paid(struct scene *s, struct order *o, int64_t fen, struct err *e)
{
    static const char *const uuids[] = {"GPU-1", "GPU-2", "GPU-3"};
    struct reservation_deed d = {.order = o,
                                 .offer = o->act < ORDER_REFUND ? s->f.offer : NULL,
                                 .devices = uuids,
                                 .n_devices = (size_t)o->n_devices,
                                 .wall_ns = fixture_wall_ns};
    struct grant g;
    int rc;

    assert_int_equal(order_sign(o, o->act == ORDER_BREAK ? s->f.host : s->f.renter, e),
                     0);
    grant_copy(&g, &s->f.grant);
    (void)snprintf(g.lease, sizeof g.lease, "l%012d", ++s->lease);
    (void)strcpy(g.job, "v0123456789ab");
    g.cap_fen = fen;
    assert_int_equal(grant_sign(&g, s->f.renter, e), 0);
    d.grant = fen > 0 ? &g : NULL;
    rc = reservation_do(s->r, &d, s->f.host, e);
    grant_clear(&g);
    order_clear(o);
    return rc;
}

static void
done(struct scene *s, enum order_act act, int64_t fen)
{
    struct order o = order_of(s, act);
    struct err e = {0};

    assert_ok(order_paid(s, &o, fen, &e));
}

static const struct reservation_event *
last_event(const struct scene *s)
{
    return &s->r->events[s->r->n_events - 1];
}

/* Read back, it is the same. */
static void
check_chain(const struct scene *s)
{
    struct reservation *r = NULL;
    struct err e = {0};

    assert_ok(reservation_parse(&r, s->r->bytes.data, s->r->bytes.len, &s->f.host_public,
                                &s->f.renter_public, &e));
    assert_int_equal(r->n_events, s->r->n_events);
    assert_int_equal(r->to_s, s->r->to_s);
    assert_int_equal(reservation_paid_fen(r), reservation_paid_fen(s->r));
    assert_int_equal(r->n_devices, s->r->n_devices);
    assert_string_equal(r->devices[0], s->r->devices[0]);
    assert_true(sha256_equal(&r->head, &s->r->head));
    reservation_free(r);
}

static void
reservation__is_bought_renewed_and_changed_by_the_rules(void **state)
{
    int64_t start_s = WALL_START_NS / NS_PER_S;
    struct scene s;

    scene_open(&s, *state);
    done(&s, ORDER_BUY, 3000);
    assert_int_equal(s.r->from_s, start_s);
    assert_int_equal(s.r->to_s, start_s + DAY_S);
    assert_true(reservation_holds(s.r, start_s + DAY_S - 1));
    assert_false(reservation_holds(s.r, start_s + DAY_S));
    assert_true(reservation_has_device(s.r, "GPU-1"));
    check_chain(&s);
    /* Half a day is gone, a renewed one is left whole: 9000 more a day, for 1.5 days. */
    fixture_pass(DAY_S / 2 * NS_PER_S);
    done(&s, ORDER_RENEW, 3000);
    assert_int_equal(s.r->to_s, start_s + 2 * DAY_S);
    done(&s, ORDER_CHANGE, 13500);
    assert_string_equal(s.r->type, "a100");
    check_chain(&s);
    for (size_t i = 0; i < s.r->n_events; i++) {
        assert_ptr_equal(reservation_find(s.r, &s.r->events[i].order), &s.r->events[i]);
    }
    assert_null(reservation_find(s.r, &s.r->head)); /* no order's hash */
    /* Back again at once: what going up cost. */
    {
        struct order o = order_of(&s, ORDER_CHANGE);
        struct err e = {0};

        (void)strcpy(o.type, "4090");
        assert_ok(order_paid(&s, &o, 0, &e));
    }
    assert_int_equal(last_event(&s)->refund_fen, 13500);
    assert_int_equal(last_event(&s)->n_back, 1); /* the last payment, all of it */
    assert_int_equal(reservation_paid_fen(s.r), 6000);
    check_chain(&s);
    /* Over; then renewed: from now on, and the gap is nobody's. */
    fixture_pass(3LL * DAY_S * NS_PER_S);
    done(&s, ORDER_RENEW, 3000);
    assert_int_equal(s.r->to_s, fixture_wall_ns / NS_PER_S + DAY_S);
    check_chain(&s);
    scene_close(&s);
}

static void
reservation__is_given_back_by_the_rules(void **state)
{
    struct scene s;
    struct err e = {0};
    struct order o;

    scene_open(&s, *state);
    done(&s, ORDER_BUY, 3000);
    done(&s, ORDER_RENEW, 3000);
    /* 10 h of 1.88 on demand are 1880 fen, the fee is 600: 3520 of 6000 go back. */
    fixture_pass(10LL * 3600 * NS_PER_S);
    done(&s, ORDER_REFUND, 0);
    assert_int_equal(last_event(&s)->refund_fen, 3520);
    assert_int_equal(last_event(&s)->n_back, 2);
    assert_string_equal(last_event(&s)->back[0].lease, "l000000000002");
    assert_int_equal(last_event(&s)->back[0].fen, 3000);
    assert_int_equal(last_event(&s)->back[1].fen, 520);
    assert_false(reservation_holds(s.r, fixture_wall_ns / NS_PER_S));
    check_chain(&s);
    o = order_of(&s, ORDER_RENEW);
    assert_refused(order_paid(&s, &o, 3000, &e), ERR_DENIED);
    scene_close(&s);

    scene_open(&s, *state); /* unused: no fee */
    done(&s, ORDER_BUY, 3000);
    done(&s, ORDER_REFUND, 0);
    assert_int_equal(last_event(&s)->refund_fen, 3000);
    check_chain(&s);
    scene_close(&s);

    scene_open(&s, *state); /* the owner breaks it: by time, no fee */
    done(&s, ORDER_BUY, 3000);
    fixture_pass(DAY_S / 4 * NS_PER_S);
    done(&s, ORDER_BREAK, 0);
    assert_int_equal(last_event(&s)->refund_fen, 2250);
    check_chain(&s);
    scene_close(&s);
}

static void
reservation__refuses_what_does_not_follow(void **state)
{
    struct scene s;
    struct err e = {0};
    struct order o;
    int bought;

    scene_open(&s, *state);
    o = order_of(&s, ORDER_RENEW);
    assert_refused(order_paid(&s, &o, 3000, &e), ERR_NOT_FOUND);
    o = order_of(&s, ORDER_BUY);
    assert_refused(order_paid(&s, &o, 2999, &e), ERR_DENIED);
    o = order_of(&s, ORDER_BUY);
    assert_refused(order_paid(&s, &o, 0, &e), ERR_DENIED);
    o = order_of(&s, ORDER_BUY);
    (void)strcpy(o.unit, "month30");
    assert_refused(order_paid(&s, &o, 3000, &e), ERR_NOT_FOUND);
    assert_int_equal(s.r->n_events, 0);
    done(&s, ORDER_BUY, 3000);
    bought = s.lease;
    o = order_of(&s, ORDER_BUY);
    assert_refused(order_paid(&s, &o, 3000, &e), ERR_EXISTS);
    o = order_of(&s, ORDER_RENEW);
    memset(&o.prev, 0, sizeof o.prev);
    assert_refused(order_paid(&s, &o, 3000, &e), ERR_DENIED);
    o = order_of(&s, ORDER_RENEW);
    o.offer.b[0] ^= 1;
    assert_refused(order_paid(&s, &o, 3000, &e), ERR_DENIED);
    o = order_of(&s, ORDER_RENEW);
    s.lease = bought - 1; /* the grant that has paid for it already */
    assert_refused(order_paid(&s, &o, 3000, &e), ERR_DENIED);
    o = order_of(&s, ORDER_RENEW);
    (void)strcpy(o.reservation, "v00000000000x");
    assert_refused(order_paid(&s, &o, 3000, &e), ERR_DENIED);
    fixture_wall_ns -= NS_PER_S; /* the clock goes back */
    o = order_of(&s, ORDER_RENEW);
    assert_refused(order_paid(&s, &o, 3000, &e), ERR_INVALID);
    fixture_pass((DAY_S + 1) * NS_PER_S);
    o = order_of(&s, ORDER_REFUND);
    assert_refused(order_paid(&s, &o, 0, &e), ERR_DENIED);
    assert_int_equal(s.r->n_events, 1);
    check_chain(&s);
    scene_close(&s);
}

/* Two histories with one beginning: neither goes on with the other. */
static void
reservation__goes_on_only_with_its_own_history(void **state)
{
    struct reservation *bought = NULL;
    struct reservation *renewed = NULL;
    struct scene s;
    struct err e = {0};

    scene_open(&s, *state);
    assert_true(reservation_continues(s.r, s.r));
    done(&s, ORDER_BUY, 3000);
    assert_ok(
        reservation_parse(&bought, s.r->bytes.data, s.r->bytes.len, NULL, NULL, &e));
    done(&s, ORDER_RENEW, 3000);
    assert_true(reservation_continues(s.r, bought));
    assert_false(reservation_continues(bought, s.r));
    assert_true(reservation_continues(s.r, s.r));
    renewed = s.r;
    s.r = bought;
    fixture_pass(NS_PER_S);
    done(&s, ORDER_REFUND, 0);
    assert_false(reservation_continues(s.r, renewed));
    assert_false(reservation_continues(renewed, s.r));
    reservation_free(renewed);
    scene_close(&s);
}

/* Each event says what it held: also of another class than it holds now. */
static void
reservation__keeps_what_each_event_held(void **state)
{
    struct scene s;
    struct order o;
    struct err e = {0};

    scene_open(&s, *state);
    assert_ok(card_set(s.f.card, "asic:x1=3", 0, &e));
    set_plan(&s, "asic", "x1", "day", 6000);
    fixture_terms(&s.f, 500, 3600, 60);
    done(&s, ORDER_BUY, 3000);
    o = order_of(&s, ORDER_CHANGE);
    (void)strcpy(o.class_name, "asic");
    (void)strcpy(o.type, "x1");
    assert_ok(order_paid(&s, &o, 3000, &e));
    assert_string_equal(s.r->events[0].class_name, "gpu");
    assert_string_equal(s.r->events[0].type, "4090");
    assert_string_equal(s.r->events[1].class_name, "asic");
    assert_string_equal(s.r->class_name, "asic");
    check_chain(&s);
    scene_close(&s);
}

static void
reservation__is_taken_only_as_its_host_wrote_it(void **state)
{
    struct reservation *r = NULL;
    struct scene s;
    struct err e = {0};

    scene_open(&s, *state);
    done(&s, ORDER_BUY, 3000);
    fixture_pass(3600 * NS_PER_S);
    done(&s, ORDER_REFUND, 0);
    for (size_t i = 0; i < s.r->bytes.len; i++) {
        s.r->bytes.data[i] ^= 1;
        if (reservation_parse(&r, s.r->bytes.data, s.r->bytes.len, NULL, NULL, &e) !=
            -1) {
            fail_msg("byte %zu may be another", i);
        }
        s.r->bytes.data[i] ^= 1;
    }
    assert_refused(reservation_parse(&r, s.r->bytes.data, s.r->bytes.len,
                                     &s.f.renter_public, NULL, &e),
                   ERR_DENIED);
    assert_refused(reservation_parse(&r, s.r->bytes.data, s.r->bytes.len, NULL,
                                     &s.f.host_public, &e),
                   ERR_DENIED);
    scene_close(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(reservation__is_bought_renewed_and_changed_by_the_rules),
        fixture_test(reservation__is_given_back_by_the_rules),
        fixture_test(reservation__refuses_what_does_not_follow),
        fixture_test(reservation__goes_on_only_with_its_own_history),
        fixture_test(reservation__keeps_what_each_event_held),
        fixture_test(reservation__is_taken_only_as_its_host_wrote_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
