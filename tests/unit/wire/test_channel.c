/* Bytes, notes and ends, over connections that are cut. */
#include "pair.h"

static void
channel__carries_bytes_notes_and_ends_both_ways(void **state)
{
    static const uint64_t sizes[] = {0, 1, 2, 4095, 65515, 65516, 65517, 300000, 3000000};
    static const size_t pieces[] = {0, 1, 19, 20, 21, 4096};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t j = 0; j < sizeof pieces / sizeof pieces[0]; j++) {
            struct pair p = {.sim = {.piece = pieces[j]}};

            if (pieces[j] == 1 && sizes[i] > 70000) {
                continue;
            }
            p.opener.to_send = sizes[i];
            p.acceptor.to_send = sizes[sizeof sizes / sizeof sizes[0] - 1 - i] / 7;
            p.opener.at_a_time = 4096;
            p.acceptor.at_a_time = 1000;
            p.opener.ordered = 5;
            p.acceptor.ordered = 10;
            make_pair(&p, (struct channel_options){0}, (struct channel_options){0});
            connect_pair(&p);
            open_channel(&p);
            run_pair(&p);
            assert_complete(&p);
            assert_int_equal(p.opener.accepts, 1);
            assert_int_equal(p.opener.dones, 1);
            assert_int_equal(p.acceptor.dones, 1);
            assert_int_equal(p.opener.detaches, 0);
            assert_int_equal(mux_n_streams(p.sim.a.m), 0);
            assert_int_equal(mux_n_streams(p.sim.b.m), 0);
            assert_memory_equal(p.token_seen, channel_token(p.opener.c), 16);
            disconnect_pair(&p);
            free_pair(&p);
        }
    }
}

/* Cut the connection after cut bytes of one direction, go on over a new one. */
static bool
cut_once(size_t cut, bool cut_a, size_t piece, size_t take_max)
{
    struct pair p = {.sim = {.piece = piece}};
    bool was_cut;

    p.opener = (struct end){.to_send = 300, .at_a_time = 37, .ordered = 3};
    p.acceptor = (struct end){.to_send = 500, .at_a_time = 90, .ordered = 6};
    p.opener.take_max = p.acceptor.take_max = take_max;
    make_pair(&p, (struct channel_options){0}, (struct channel_options){0});
    connect_pair(&p);
    open_channel(&p);
    (cut_a ? &p.sim.a : &p.sim.b)->may_send = cut;
    run_pair(&p);
    was_cut = (cut_a ? p.sim.a.may_send : p.sim.b.may_send) == 0;
    disconnect_pair(&p);

    if (p.opener.dones == 0) {
        connect_pair(&p);
        open_channel(&p);
        run_pair(&p);
        assert_int_equal(p.opener.dones, 1);
        disconnect_pair(&p);
    }
    assert_complete(&p);
    free_pair(&p);
    return was_cut;
}

static void
channel__resumes_exactly_wherever_it_is_cut(void **state)
{
    (void)state;
    for (int cut_a = 0; cut_a < 2; cut_a++) {
        for (size_t cut = 0; cut_once(cut, cut_a == 1, 0, 0); cut++) {
        }
        for (size_t cut = 0; cut_once(cut, cut_a == 1, 7, 50); cut++) {
        }
    }
}

/* Many cuts at random places, random pieces, small windows. */
static void
channel__survives_cut_after_cut(void **state)
{
    uint32_t seed = 12345;

    (void)state;
    for (int round = 0; round < 60; round++) {
        struct channel_options o = {.window_bytes = 4096 + sim_random(&seed) % 20000,
                                    .replay_max_bytes = 5000 + sim_random(&seed) % 90000};
        struct pair p = {.sim = {.piece = 9000, .seed = sim_random(&seed) | 1}};
        int connections = 0;

        p.opener = (struct end){.to_send = sim_random(&seed) % 100000,
                                .at_a_time = 1 + sim_random(&seed) % 4000,
                                .ordered = (int)(sim_random(&seed) % 16)};
        p.acceptor = (struct end){.to_send = sim_random(&seed) % 400000,
                                  .at_a_time = 1 + sim_random(&seed) % 4000,
                                  .ordered = (int)(sim_random(&seed) % 16),
                                  .take_max = sim_random(&seed) % 3000};
        make_pair(&p, o, o);
        while (p.opener.dones == 0) {
            assert_true(++connections < 1000);
            connect_pair(&p);
            p.sim.a.may_send = 400 + sim_random(&seed) % 30000;
            p.sim.b.may_send = 400 + sim_random(&seed) % 60000;
            open_channel(&p);
            run_pair(&p);
            disconnect_pair(&p);
        }
        assert_complete(&p);
        free_pair(&p);
    }
}

static void
channel__never_holds_more_than_its_window_or_replay_buffer(void **state)
{
    struct channel_options o = {.window_bytes = 10000, .replay_max_bytes = 20000};
    struct pair p = {0};
    size_t kept;

    (void)state;
    p.opener = (struct end){.to_send = 100000, .at_a_time = 4000, .notes_given = NOTES};
    p.acceptor = (struct end){.take_max = 1, .notes_given = NOTES};
    make_pair(&p, o, o);
    connect_pair(&p);
    open_channel(&p);
    push(&p.opener);
    assert_int_equal(p.opener.given, 20000);
    assert_int_equal(channel_send_free(p.opener.c), 0);
    sim_run(&p.sim);
    (void)channel_rx(p.acceptor.c, &kept);
    assert_int_equal(kept + p.acceptor.got, 10000);
    sim_pass(&p.sim, MUX_ACK_DELAY_NS);
    (void)channel_rx(p.acceptor.c, &kept);
    assert_true(kept <= 10000);
    assert_int_equal(p.sim.b.rc, 0);
    disconnect_pair(&p);
    free_pair(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(channel__carries_bytes_notes_and_ends_both_ways),
        cmocka_unit_test(channel__resumes_exactly_wherever_it_is_cut),
        cmocka_unit_test(channel__survives_cut_after_cut),
        cmocka_unit_test(channel__never_holds_more_than_its_window_or_replay_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
