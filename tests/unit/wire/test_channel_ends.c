/* End points without memory, sources, strangers, resets, notes, states. */
#include "pair.h"

/* ---- sources: bytes that can be read again ---- */

struct log {
    uint64_t first; /* bytes before are gone */
    int reads;
    bool broken;
};

static int
log_read(void *ctx, uint64_t offset, void *to, size_t n, size_t *got, uint64_t *skip_to,
         struct err *e)
{
    struct log *l = ctx;
    uint8_t *out = to;

    l->reads++;
    if (l->broken) {
        return err_set(e, ERR_SYSTEM, "cannot read the log");
    }
    if (offset < l->first) {
        *skip_to = l->first;
        *got = 0;
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = sim_byte(offset + i, 3);
    }
    *got = n;
    return 0;
}

static void
source__is_read_from_where_the_peer_wants_it(void **state)
{
    struct log log = {0};
    struct channel_source src = {log_read, &log};
    static const uint64_t starts[] = {0, 1, 65535, 199999, 200000, CHANNEL_ANY};

    (void)state;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        struct pair p = {0};
        uint64_t start = starts[i] == CHANNEL_ANY ? 0 : starts[i];

        make_pair(&p, (struct channel_options){.recv_start = starts[i]},
                  (struct channel_options){.source = &src, .send_start = CHANNEL_ANY});
        p.opener.got = start;
        channel_send_eof(p.opener.c);
        channel_source_grow(p.acceptor.c, 200000);
        connect_pair(&p);
        open_channel(&p);
        sim_run(&p.sim);
        assert_int_equal(p.opener.got, 200000);
        assert_int_equal(p.opener.eofs, 0);
        channel_source_grow(p.acceptor.c, 200001);
        channel_send_eof(p.acceptor.c);
        sim_run(&p.sim);
        assert_int_equal(p.opener.got, 200001);
        assert_int_equal(p.opener.eofs, 1);
        assert_int_equal(p.opener.dones, 1);
        disconnect_pair(&p);
        free_pair(&p);
    }
}

static void
source__tells_a_gap_only_to_who_can_bear_it(void **state)
{
    (void)state;
    for (int gaps = 0; gaps < 2; gaps++) {
        struct log log = {.first = 70000};
        struct channel_source src = {log_read, &log};
        struct pair p = {0};

        make_pair(&p, (struct channel_options){.recv_start = 10, .recv_gaps = gaps == 1},
                  (struct channel_options){.source = &src});
        p.opener.got = 10;
        channel_source_grow(p.acceptor.c, 90000);
        connect_pair(&p);
        open_channel(&p);
        sim_run(&p.sim);
        if (gaps == 1) {
            assert_int_equal(p.opener.gaps, 1);
            assert_int_equal(p.opener.gap_from, 10);
            assert_int_equal(p.opener.gap_to, 70000);
            assert_int_equal(p.opener.got, 90000);
            assert_int_equal(p.opener.resets, 0);
        } else {
            assert_int_equal(p.opener.resets, 1);
            assert_int_equal(p.opener.why.code, ERR_NOT_FOUND);
            assert_int_equal(p.acceptor.resets, 1);
            assert_int_equal(p.opener.got, 10);
        }
        disconnect_pair(&p);
        free_pair(&p);
    }
}

static void
source__that_fails_resets_both_ends(void **state)
{
    struct log log = {.broken = true};
    struct channel_source src = {log_read, &log};
    struct pair p = {0};

    (void)state;
    make_pair(&p, (struct channel_options){0}, (struct channel_options){.source = &src});
    channel_source_grow(p.acceptor.c, 10);
    connect_pair(&p);
    open_channel(&p);
    sim_run(&p.sim);
    assert_int_equal(p.opener.resets, 1);
    assert_int_equal(p.acceptor.resets, 1);
    assert_int_equal(p.opener.why.code, ERR_SYSTEM);
    assert_string_equal(p.opener.why.msg, "cannot read the log");
    assert_int_equal(mux_n_streams(p.sim.a.m), 0);
    assert_int_equal(mux_n_streams(p.sim.b.m), 0);
    disconnect_pair(&p);
    free_pair(&p);
}

/* ---- end points that meet strangers ---- */

static void
channel__opened_at_any_offset_goes_on_where_the_peer_is(void **state)
{
    struct pair p = {0};
    struct channel_state s = {.recv_next = 1000, .note_next = 7, .send_acked = 50};
    struct channel_options o = {
        .cls = CHANNEL_INTERACTIVE, .events = &end_events, .ctx = &p.acceptor};

    (void)state;
    make_pair(
        &p,
        (struct channel_options){.send_start = CHANNEL_ANY, .recv_start = CHANNEL_ANY},
        (struct channel_options){0});
    channel_free(p.acceptor.c);
    p.acceptor.c = channel_restore(&o, &s);
    p.acceptor.got = 1000;
    p.acceptor.notes_got = 0;
    p.opener.got = 50;
    /* Typed before anybody knew where it belongs. */
    for (size_t i = 0; i < 10; i++) {
        uint8_t b = sim_byte(1000 + i, 2);

        assert_int_equal(channel_send(p.opener.c, &b, 1), 1);
    }
    {
        uint8_t note[2] = {0, 1};
        uint8_t b = sim_byte(50, 3);
        struct err e;

        assert_int_equal(
            channel_send_note(p.opener.c, CHANNEL_NOTE_USER, true, note, 2, &e), 0);
        assert_int_equal(channel_send(p.acceptor.c, &b, 1), 1);
    }
    connect_pair(&p);
    open_channel(&p);
    sim_run(&p.sim);
    assert_int_equal(p.acceptor.got, 1010);
    assert_int_equal(p.acceptor.notes_got, 1);
    assert_int_equal(p.opener.got, 51);
    assert_int_equal(channel_send_end(p.opener.c), 1010);
    disconnect_pair(&p);
    free_pair(&p);
}

static void
channel__opened_to_a_peer_that_had_its_end_sends_nothing(void **state)
{
    struct pair p = {0};
    struct channel_state s = {.recv_next = 1000, .recv_eof = true};
    struct channel_options o = {
        .cls = CHANNEL_INTERACTIVE, .events = &end_events, .ctx = &p.acceptor};

    (void)state;
    make_pair(&p, (struct channel_options){.send_start = CHANNEL_ANY},
              (struct channel_options){0});
    channel_free(p.acceptor.c);
    p.acceptor.c = channel_restore(&o, &s);
    p.acceptor.got = 1000;
    assert_int_equal(channel_send(p.opener.c, "x", 1), 1);
    connect_pair(&p);
    open_channel(&p);
    sim_run(&p.sim);
    assert_int_equal(p.opener.accepts, 1);
    assert_int_equal(p.acceptor.got, 1000);
    assert_int_equal(channel_send(p.opener.c, "x", 1), 0);
    channel_send_eof(p.acceptor.c);
    sim_run(&p.sim);
    assert_int_equal(p.opener.dones, 1);
    assert_int_equal(p.acceptor.dones, 1);
    disconnect_pair(&p);
    free_pair(&p);
}

static void
channel__refuses_offsets_that_cannot_be(void **state)
{
    static const struct {
        uint64_t opener_recv;
        uint64_t acceptor_send;
        uint64_t opener_send;
        uint64_t acceptor_recv;
        bool gaps;
        enum err_code code; /* seen by the opener */
    } cases[] = {
        {11, 10, 0, 0, false, ERR_INVALID},  /* wants what was never sent */
        {10, 10, 0, 0, false, ERR_NONE},     /* exactly all */
        {9, 10, 0, 0, false, ERR_NOT_FOUND}, /* wants what is gone */
        {9, 10, 0, 0, true, ERR_NONE},       /* and can do without */
        {0, 0, 0, 1, false, ERR_INVALID},    /* acceptor has more than was sent */
        {0, 0, 5, 4, false, ERR_NOT_FOUND},  /* acceptor lacks what is gone */
        {0, 0, 5, 5, false, ERR_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pair p = {0};

        make_pair(&p,
                  (struct channel_options){.recv_start = cases[i].opener_recv,
                                           .send_start = cases[i].opener_send,
                                           .recv_gaps = cases[i].gaps},
                  (struct channel_options){.recv_start = cases[i].acceptor_recv,
                                           .send_start = cases[i].acceptor_send});
        p.opener.got = cases[i].opener_recv;
        connect_pair(&p);
        open_channel(&p);
        sim_run(&p.sim);
        assert_int_equal(p.sim.a.rc, 0); /* the connection does not suffer */
        assert_int_equal(p.sim.b.rc, 0);
        assert_int_equal(p.opener.resets, cases[i].code == ERR_NONE ? 0 : 1);
        assert_int_equal(p.opener.why.code, cases[i].code);
        assert_int_equal(p.opener.gaps, cases[i].gaps ? 1 : 0);
        disconnect_pair(&p);
        free_pair(&p);
    }
}

static void
channel__reset_while_detached_is_told_when_the_peer_comes_back(void **state)
{
    struct pair p = {0};
    struct err why;

    (void)state;
    make_pair(&p, (struct channel_options){0}, (struct channel_options){0});
    connect_pair(&p);
    open_channel(&p);
    sim_run(&p.sim);
    disconnect_pair(&p);
    assert_int_equal(p.opener.detaches, 1);
    err_set(&why, ERR_DENIED, "not yours");
    channel_reset(p.acceptor.c, &why);
    assert_int_equal(channel_send(p.acceptor.c, "x", 1), 0);
    connect_pair(&p);
    open_channel(&p);
    sim_run(&p.sim);
    assert_int_equal(p.opener.resets, 1);
    assert_int_equal(p.opener.why.code, ERR_DENIED);
    assert_string_equal(p.opener.why.msg, "not yours");
    assert_int_equal(p.acceptor.resets, 0); /* it knows */
    disconnect_pair(&p);
    free_pair(&p);
}

static void
channel__moves_from_a_dying_connection_to_a_new_one(void **state)
{
    struct pair p = {0};
    struct sim old;

    (void)state;
    make_pair(&p, (struct channel_options){0}, (struct channel_options){0});
    connect_pair(&p);
    open_channel(&p);
    sim_run(&p.sim);
    assert_int_equal(channel_send(p.acceptor.c, (uint8_t[]){sim_byte(0, 3)}, 1), 1);
    /* The opener's side dies; the acceptor has not noticed when the new one comes. */
    mux_free(p.sim.a.m);
    old = p.sim;
    connect_pair(&p);
    open_channel(&p);
    sim_run(&p.sim);
    assert_int_equal(p.opener.got, 1);
    assert_int_equal(p.acceptor.detaches, 0);
    mux_free(old.b.m);
    assert_int_equal(p.acceptor.detaches, 0);
    assert_true(channel_attached(p.acceptor.c));
    disconnect_pair(&p);
    free_pair(&p);
}

/* ---- notes ---- */

static void
note__urgent_overtakes_bytes_without_credit(void **state)
{
    struct pair p = {0};
    uint8_t first[2] = {0, 0};
    uint8_t second[2] = {1, 1};
    struct err e;

    (void)state;
    make_pair(&p, (struct channel_options){0},
              (struct channel_options){.window_bytes = 4096});
    p.opener = (struct end){.c = p.opener.c,
                            .salt = 2,
                            .to_send = 10000,
                            .at_a_time = 4000,
                            .notes_given = NOTES};
    p.acceptor.take_max = 1;
    connect_pair(&p);
    open_channel(&p);
    push(&p.opener);
    assert_int_equal(
        channel_send_note(p.opener.c, CHANNEL_NOTE_USER, false, first, 2, &e), 0);
    assert_int_equal(
        channel_send_note(p.opener.c, CHANNEL_NOTE_USER, true, second, 2, &e), 0);
    sim_run(&p.sim);
    assert_int_equal(p.acceptor.got, 1);
    assert_int_equal(p.acceptor.notes_got, 1); /* the ordered one waits */
    p.acceptor.take_max = 0;
    for (int i = 0; i < 10; i++) {
        drain(&p.acceptor);
        sim_pass(&p.sim, MUX_ACK_DELAY_NS);
    }
    assert_int_equal(p.acceptor.got, 10000);
    assert_int_equal(p.acceptor.notes_got, 2);
    assert_int_equal(p.acceptor.eofs, 1);
    disconnect_pair(&p);
    free_pair(&p);
}

static void
note__limits_hold(void **state)
{
    struct pair p = {0};
    uint8_t big[CHANNEL_NOTE_MAX + 1] = {0};
    struct err e;

    (void)state;
    make_pair(&p, (struct channel_options){0}, (struct channel_options){0});
    assert_int_equal(
        channel_send_note(p.opener.c, CHANNEL_NOTE_USER, false, big, sizeof big, &e), -1);
    assert_int_equal(e.code, ERR_RANGE);
    assert_string_equal(e.msg, "note of 4097 bytes, at most 4096 are allowed");
    for (int i = 0; i < CHANNEL_NOTES_MAX; i++) {
        assert_int_equal(channel_send_signal(p.opener.c, 2, &e), 0);
    }
    assert_int_equal(channel_send_signal(p.opener.c, 2, &e), -1);
    assert_int_equal(e.code, ERR_BUSY);
    free_pair(&p);
}

/* ---- what a state is ---- */

static void
channel_state__survives_a_record(void **state)
{
    struct channel_state s = {.send_acked = 1,
                              .recv_next = INT64_MAX,
                              .note_acked = 3,
                              .note_next = 4,
                              .recv_eof = true};
    struct channel_state got = {0};
    struct rec *r = rec_new("gpurun.test.v1");
    struct err e;

    (void)state;
    memset(s.token, 7, sizeof s.token);
    channel_state_add(r, "stdin.", &s);
    assert_int_equal(channel_state_get(r, "stdin.", &got, &e), 0);
    assert_memory_equal(got.token, s.token, sizeof s.token);
    assert_int_equal(got.send_acked, 1);
    assert_int_equal(got.recv_next, INT64_MAX);
    assert_int_equal(got.note_acked, 3);
    assert_int_equal(got.note_next, 4);
    assert_true(got.recv_eof);
    assert_int_equal(channel_state_get(r, "other.", &got, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    rec_free(r);
}

static void
channel__restored_in_another_process_goes_on(void **state)
{
    struct pair p = {0};
    struct channel_state s;
    struct channel_options o = {
        .cls = CHANNEL_INTERACTIVE, .events = &end_events, .ctx = &p.acceptor};

    (void)state;
    p.opener = (struct end){.to_send = 100000, .at_a_time = 3000};
    p.acceptor = (struct end){.take_max = 1000, .notes_given = NOTES};
    make_pair(&p, (struct channel_options){0}, (struct channel_options){0});
    connect_pair(&p);
    open_channel(&p);
    push(&p.opener);
    sim_run(&p.sim);
    /* It took some and kept the rest: what was kept dies with the process. */
    channel_get_state(p.acceptor.c, &s);
    assert_int_equal(s.recv_next, p.acceptor.got);
    disconnect_pair(&p);
    channel_free(p.acceptor.c);
    p.acceptor.c = channel_restore(&o, &s);
    p.acceptor.take_max = 0;
    connect_pair(&p);
    open_channel(&p);
    run_pair(&p);
    assert_int_equal(p.acceptor.got, 100000);
    assert_int_equal(p.acceptor.notes_got, NOTES);
    assert_int_equal(p.acceptor.eofs, 1);
    disconnect_pair(&p);
    free_pair(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(source__is_read_from_where_the_peer_wants_it),
        cmocka_unit_test(source__tells_a_gap_only_to_who_can_bear_it),
        cmocka_unit_test(source__that_fails_resets_both_ends),
        cmocka_unit_test(channel__opened_at_any_offset_goes_on_where_the_peer_is),
        cmocka_unit_test(channel__opened_to_a_peer_that_had_its_end_sends_nothing),
        cmocka_unit_test(channel__refuses_offsets_that_cannot_be),
        cmocka_unit_test(channel__reset_while_detached_is_told_when_the_peer_comes_back),
        cmocka_unit_test(channel__moves_from_a_dying_connection_to_a_new_one),
        cmocka_unit_test(note__urgent_overtakes_bytes_without_credit),
        cmocka_unit_test(note__limits_hold),
        cmocka_unit_test(channel_state__survives_a_record),
        cmocka_unit_test(channel__restored_in_another_process_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
