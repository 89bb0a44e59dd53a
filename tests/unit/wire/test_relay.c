#include "base/bytes.h"
#include "runner/wire/mux_internal.h"
#include "runner/wire/relay.h"

#include "sim.h"

/*
 * client (outer.a) - serve (outer.b, inner.a) - supervisor (inner.b): the end points
 * are at the two outsides, serve only hands frames across.
 */
struct point {
    struct channel *c;
    uint64_t got;
    unsigned salt;
    int eofs;
    int dones;
    int detaches;
    int resets;
    int notes;
    struct err why;
    bool lazy; /* takes nothing */
};

struct chain {
    struct sim outer;
    struct sim inner;
    struct point near;
    struct point far;
    bool refuse;
    struct rec *other_rec;
};

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct point *p = ctx;

    (void)c;
    if (p->lazy) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(data[i], sim_byte(p->got + i, p->salt));
    }
    p->got += n;
    return n;
}

static void
on_eof(void *ctx, struct channel *c)
{
    (void)c;
    ((struct point *)ctx)->eofs++;
}

static void
on_done(void *ctx, struct channel *c)
{
    (void)c;
    ((struct point *)ctx)->dones++;
}

static void
on_detached(void *ctx, struct channel *c, const struct err *why)
{
    struct point *p = ctx;

    (void)c;
    p->detaches++;
    if (why != NULL) {
        p->why = *why;
    }
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    struct point *p = ctx;

    (void)c;
    p->resets++;
    p->why = *why;
}

static void
on_note(void *ctx, struct channel *c, int kind, uint64_t at, const uint8_t *data,
        size_t n)
{
    struct point *p = ctx;

    (void)c;
    (void)at;
    assert_int_equal(kind, CHANNEL_NOTE_USER);
    assert_int_equal(n, 1);
    assert_int_equal(data[0], p->notes);
    p->notes++;
}

static const struct channel_events point_events = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_done = on_done,
    .on_detached = on_detached,
    .on_reset = on_reset,
    .on_note = on_note,
};

static void
serve_on_open(void *ctx, struct mux *m, const struct mux_offer *offer)
{
    struct chain *ch = ctx;
    struct err e;

    assert_int_equal(relay_join(m, offer->stream, ch->inner.a.m, ch->other_rec, &e), 0);
}

static void
supervisor_on_open(void *ctx, struct mux *m, const struct mux_offer *offer)
{
    struct chain *ch = ctx;
    struct err e;

    assert_string_equal(rec_type(offer->rec), ch->other_rec == NULL
                                                  ? "gpurun.open.test.v1"
                                                  : "gpurun.open.other.v1");
    if (ch->refuse) {
        err_set(&e, ERR_DENIED, "not for you");
        mux_refuse(m, offer->stream, &e, NULL);
        return;
    }
    assert_int_equal(mux_accept(m, offer->stream, ch->far.c, NULL, &e), 0);
}

static const struct mux_events nothing = {0};
static const struct mux_events serve_events = {.on_open = serve_on_open};
static const struct mux_events supervisor_events = {.on_open = supervisor_on_open};

static void
connect_chain(struct chain *ch)
{
    struct mux_options a = {.events = &nothing};
    struct mux_options b = {.events = &serve_events, .ctx = ch};
    struct mux_options c = {.events = &nothing, .ping_ns = -1};
    struct mux_options d = {.events = &supervisor_events, .ctx = ch, .ping_ns = -1};

    sim_start(&ch->outer, &a, &b);
    sim_start(&ch->inner, &c, &d);
}

static void
run_chain(struct chain *ch)
{
    size_t before;

    do {
        before =
            ch->outer.a.sent + ch->outer.b.sent + ch->inner.a.sent + ch->inner.b.sent;
        sim_run(&ch->outer);
        sim_run(&ch->inner);
        sim_pass(&ch->outer, MUX_ACK_DELAY_NS);
        sim_pass(&ch->inner, MUX_ACK_DELAY_NS);
    } while (ch->outer.a.sent + ch->outer.b.sent + ch->inner.a.sent + ch->inner.b.sent >
             before);
    assert_int_equal(ch->outer.a.rc + ch->outer.b.rc + ch->inner.a.rc + ch->inner.b.rc,
                     0);
}

static void
make_chain(struct chain *ch, size_t window)
{
    struct channel_options o = {.cls = CHANNEL_INTERACTIVE,
                                .events = &point_events,
                                .window_bytes = window,
                                .replay_max_bytes = (size_t)16 << 20};

    o.ctx = &ch->near;
    ch->near.c = channel_new(&o);
    ch->near.salt = 1;
    o.ctx = &ch->far;
    ch->far.c = channel_new(&o);
    ch->far.salt = 1;
    connect_chain(ch);
}

static void
open_chain(struct chain *ch)
{
    struct rec *what = rec_new("gpurun.open.test.v1");
    struct err e;

    assert_int_equal(mux_open(ch->outer.a.m, ch->near.c, what, &e), 0);
    rec_free(what);
}

static void
free_chain(struct chain *ch)
{
    sim_stop(&ch->outer);
    sim_stop(&ch->inner);
    channel_free(ch->near.c);
    channel_free(ch->far.c);
}

static void
give(struct channel *c, uint64_t from, size_t n)
{
    uint8_t *data = xmalloc(n);

    for (size_t i = 0; i < n; i++) {
        data[i] = sim_byte(from + i, 1);
    }
    assert_int_equal(channel_send(c, data, n), n);
    free(data);
}

static void
relay__hands_everything_across_and_forgets_what_is_through(void **state)
{
    (void)state;
    for (int other = 0; other < 2; other++) {
        struct chain ch = {.outer = {.piece = 3000}, .inner = {.piece = 7000}};
        uint8_t note = 0;
        struct err e;

        ch.other_rec = other == 1 ? rec_new("gpurun.open.other.v1") : NULL;
        make_chain(&ch, 0);
        open_chain(&ch);
        give(ch.near.c, 0, 500000);
        give(ch.far.c, 0, 300000);
        assert_int_equal(
            channel_send_note(ch.near.c, CHANNEL_NOTE_USER, true, &note, 1, &e), 0);
        note++;
        assert_int_equal(
            channel_send_note(ch.near.c, CHANNEL_NOTE_USER, false, &note, 1, &e), 0);
        run_chain(&ch);
        assert_int_equal(ch.far.got, 500000);
        assert_int_equal(ch.far.notes, 2);
        assert_int_equal(ch.near.got, 300000);
        assert_int_equal(channel_send_acked(ch.near.c), 500000);
        assert_int_equal(mux_n_streams(ch.outer.b.m), 1);
        channel_send_eof(ch.near.c);
        run_chain(&ch);
        assert_int_equal(mux_n_streams(ch.outer.b.m), 1);
        channel_send_eof(ch.far.c);
        run_chain(&ch);
        assert_int_equal(ch.near.dones, 1);
        assert_int_equal(ch.far.dones, 1);
        assert_int_equal(mux_n_streams(ch.outer.b.m), 0);
        assert_int_equal(mux_n_streams(ch.inner.a.m), 0);
        rec_free(ch.other_rec);
        free_chain(&ch);
    }
}

static void
relay__passes_refusals_and_resets_on(void **state)
{
    struct chain ch = {.refuse = true};
    struct err why;

    (void)state;
    make_chain(&ch, 0);
    open_chain(&ch);
    run_chain(&ch);
    assert_int_equal(ch.near.resets, 1);
    assert_int_equal(ch.near.why.code, ERR_DENIED);
    assert_string_equal(ch.near.why.msg, "not for you");
    assert_int_equal(mux_n_streams(ch.outer.b.m), 0);
    assert_int_equal(mux_n_streams(ch.inner.a.m), 0);
    free_chain(&ch);

    ch = (struct chain){0};
    make_chain(&ch, 0);
    open_chain(&ch);
    run_chain(&ch);
    err_set(&why, ERR_INVALID, "enough");
    channel_reset(ch.near.c, &why);
    run_chain(&ch);
    assert_int_equal(ch.far.resets, 1);
    assert_string_equal(ch.far.why.msg, "enough");
    assert_int_equal(mux_n_streams(ch.inner.b.m), 0);
    free_chain(&ch);
}

/* When the supervisor's socket goes, the client's end is detached, not broken. */
static void
relay__detaches_one_end_when_the_other_link_goes(void **state)
{
    struct chain ch = {0};
    struct err lost;

    (void)state;
    make_chain(&ch, 0);
    open_chain(&ch);
    give(ch.near.c, 0, 100);
    run_chain(&ch);
    err_set(&lost, ERR_LINK, "the supervisor is gone");
    mux_close(ch.inner.a.m, &lost);
    sim_run(&ch.outer);
    assert_int_equal(ch.near.detaches, 1);
    assert_int_equal(ch.near.resets, 0);
    assert_int_equal(ch.near.why.code, ERR_LINK);
    assert_string_equal(ch.near.why.msg, "the supervisor is gone");
    assert_int_equal(mux_n_streams(ch.outer.b.m), 0);
    /* A new socket, and on it goes, over the same outer connection. */
    sim_stop(&ch.inner);
    {
        struct mux_options c = {.events = &nothing, .ping_ns = -1};
        struct mux_options d = {.events = &supervisor_events, .ctx = &ch, .ping_ns = -1};

        sim_start(&ch.inner, &c, &d);
    }
    give(ch.near.c, 100, 100);
    open_chain(&ch);
    run_chain(&ch);
    assert_int_equal(ch.far.got, 200);
    free_chain(&ch);
}

/* The client's link is cut after every number of bytes: nothing doubled, nothing lost. */
static void
relay__is_exact_wherever_the_outer_link_is_cut(void **state)
{
    bool was_cut = true;

    (void)state;
    for (size_t cut = 0; was_cut; cut += 3) {
        struct chain ch = {0};

        make_chain(&ch, 0);
        open_chain(&ch);
        give(ch.near.c, 0, 400);
        give(ch.far.c, 0, 300);
        channel_send_eof(ch.near.c);
        channel_send_eof(ch.far.c);
        ch.outer.b.may_send = cut;
        run_chain(&ch);
        was_cut = ch.outer.b.may_send == 0;
        /* serve dies with its connection. */
        sim_stop(&ch.outer);
        sim_stop(&ch.inner);
        connect_chain(&ch);
        if (ch.near.dones == 0) {
            open_chain(&ch);
            run_chain(&ch);
        }
        assert_int_equal(ch.near.got, 300);
        assert_int_equal(ch.far.got, 400);
        assert_int_equal(ch.near.eofs, 1);
        assert_int_equal(ch.far.eofs, 1);
        assert_int_equal(ch.near.dones, 1);
        free_chain(&ch);
    }
}

static void
relay__that_is_full_stops_the_reading_side(void **state)
{
    struct chain ch = {0};

    (void)state;
    make_chain(&ch, (size_t)8 << 20);
    open_chain(&ch);
    run_chain(&ch);
    give(ch.near.c, 0, (size_t)7 << 20);
    ch.inner.a.may_send = 0; /* the supervisor does not read */
    sim_run(&ch.outer);
    assert_true(mux_congested(ch.outer.b.m));
    assert_false(mux_congested(ch.inner.a.m));
    {
        /* Just so much may wait, and not a byte more. */
        size_t relayed = ch.inner.a.m->out.relayed;

        ch.inner.a.m->out.relayed = MUX_QUEUE_HIGH;
        assert_false(mux_congested(ch.outer.b.m));
        ch.inner.a.m->out.relayed = MUX_QUEUE_HIGH + 1;
        assert_true(mux_congested(ch.outer.b.m));
        ch.inner.a.m->out.relayed = relayed;
    }
    /* Told to stop reading, serve does not take the client for dead. */
    for (int i = 0; i < 100; i++) {
        struct err e;

        ch.outer.now_ns += 1000000000;
        assert_int_equal(mux_tick(ch.outer.b.m, ch.outer.now_ns, &e), 0);
    }
    ch.inner.a.may_send = SIM_UNLIMITED;
    run_chain(&ch);
    assert_false(mux_congested(ch.outer.b.m));
    assert_int_equal(ch.far.got, (size_t)7 << 20);
    free_chain(&ch);
}

static void
relay_join__fails_without_an_offer_or_a_way(void **state)
{
    struct chain ch = {0};
    struct err e = {0};

    (void)state;
    make_chain(&ch, 0);
    assert_int_equal(relay_join(ch.outer.b.m, 1, ch.inner.a.m, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LINK);
    free_chain(&ch);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relay__hands_everything_across_and_forgets_what_is_through),
        cmocka_unit_test(relay__passes_refusals_and_resets_on),
        cmocka_unit_test(relay__detaches_one_end_when_the_other_link_goes),
        cmocka_unit_test(relay__is_exact_wherever_the_outer_link_is_cut),
        cmocka_unit_test(relay__that_is_full_stops_the_reading_side),
        cmocka_unit_test(relay_join__fails_without_an_offer_or_a_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
