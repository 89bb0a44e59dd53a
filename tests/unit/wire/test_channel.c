#include "base/hash.h"
#include "runner/wire/channel.h"

#include "sim.h"

/*
 * Two end points that outlive their connections. One opens, the other accepts by token;
 * both send N bytes, notes among them, and an end.
 */

#define NOTES 4

struct end {
    struct channel *c;
    unsigned salt;    /* of the bytes it sends */
    uint64_t to_send; /* bytes in all */
    uint64_t given;   /* of them, handed to the channel */
    size_t at_a_time; /* bytes handed over at once */
    uint64_t got;     /* bytes received, each checked */
    size_t take_max;  /* bytes taken at once; 0: all */
    int notes_given;
    int notes_got;
    int eofs;
    int dones;
    int detaches;
    int resets;
    int accepts;
    uint64_t gap_from;
    uint64_t gap_to;
    int gaps;
    uint64_t note_at[64];
    int ordered; /* which notes are: bit mask */
    struct err why;
};

struct pair {
    struct sim sim;
    struct end opener;
    struct end acceptor;
    struct rec *what;
    uint8_t token_seen[CHANNEL_TOKEN_LEN];
};

static size_t
end_on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct end *x = ctx;
    size_t take = x->take_max != 0 && n > x->take_max ? x->take_max : n;

    assert_int_equal(channel_recv_next(c), x->got);
    for (size_t i = 0; i < take; i++) {
        assert_int_equal(data[i], sim_byte(x->got + i, x->salt ^ 1u));
    }
    x->got += take;
    return take;
}

static void
end_on_eof(void *ctx, struct channel *c)
{
    struct end *x = ctx;

    (void)c;
    x->eofs++;
}

static void
end_on_note(void *ctx, struct channel *c, int kind, uint64_t at, const uint8_t *data,
            size_t n)
{
    struct end *x = ctx;

    (void)c;
    assert_int_equal(kind, CHANNEL_NOTE_USER);
    assert_int_equal(n, 2);
    assert_int_equal(data[0], x->notes_got); /* each once, in order */
    if (data[1] == 1) {
        assert_int_equal(at, x->got); /* an ordered one: exactly there */
    }
    x->notes_got++;
}

static void
end_on_gap(void *ctx, struct channel *c, uint64_t from, uint64_t to)
{
    struct end *x = ctx;

    (void)c;
    assert_int_equal(from, x->got);
    x->gap_from = from;
    x->gap_to = to;
    x->got = to;
    x->gaps++;
}

static void
end_on_done(void *ctx, struct channel *c)
{
    struct end *x = ctx;

    (void)c;
    x->dones++;
}

static void
end_on_detached(void *ctx, struct channel *c, const struct err *why)
{
    struct end *x = ctx;

    assert_false(channel_attached(c));
    if (why != NULL) {
        x->why = *why;
    }
    x->detaches++;
}

static void
end_on_reset(void *ctx, struct channel *c, const struct err *why)
{
    struct end *x = ctx;

    assert_true(channel_is_reset(c));
    x->why = *why;
    x->resets++;
}

static void
end_on_accepted(void *ctx, struct channel *c, const struct rec *rec)
{
    struct end *x = ctx;

    assert_true(channel_attached(c));
    if (rec != NULL) {
        assert_string_equal(rec_type(rec), "gpurun.ok.test.v1");
    }
    x->accepts++;
}

static const struct channel_events end_events = {
    .on_accepted = end_on_accepted,
    .on_data = end_on_data,
    .on_eof = end_on_eof,
    .on_note = end_on_note,
    .on_gap = end_on_gap,
    .on_done = end_on_done,
    .on_detached = end_on_detached,
    .on_reset = end_on_reset,
};

static void
pair_on_open(void *ctx, struct mux *m, const struct mux_offer *offer)
{
    struct pair *p = ctx;
    struct rec *answer = rec_new("gpurun.ok.test.v1");
    struct err e;

    assert_string_equal(rec_type(offer->rec), "gpurun.open.test.v1");
    memcpy(p->token_seen, offer->token, CHANNEL_TOKEN_LEN);
    if (mux_accept(m, offer->stream, p->acceptor.c, answer, &e) == -1) {
        assert_int_not_equal(e.code, ERR_NONE); /* the opener was told */
    }
    rec_free(answer);
}

static const struct mux_events acceptor_events = {.on_open = pair_on_open};
static const struct mux_events no_events = {0};

static void
connect_pair(struct pair *p)
{
    struct mux_options a = {.events = &no_events, .ctx = p};
    struct mux_options b = {.events = &acceptor_events, .ctx = p};

    sim_start(&p->sim, &a, &b);
}

static void
disconnect_pair(struct pair *p)
{
    sim_stop(&p->sim);
}

static void
make_pair(struct pair *p, struct channel_options a, struct channel_options b)
{
    a.events = b.events = &end_events;
    a.ctx = &p->opener;
    b.ctx = &p->acceptor;
    if (a.cls == CHANNEL_CLASS_NONE) {
        a.cls = b.cls = CHANNEL_INTERACTIVE;
    }
    p->opener.salt = 2;
    p->acceptor.salt = 3;
    p->opener.c = channel_new(&a);
    p->acceptor.c = channel_new(&b);
    p->what = rec_new("gpurun.open.test.v1");
}

static void
free_pair(struct pair *p)
{
    channel_free(p->opener.c);
    channel_free(p->acceptor.c);
    rec_free(p->what);
}

/* Hand over bytes, and notes spread among them, as far as there is room. */
static void
push(struct end *x)
{
    struct err e;

    while (x->given < x->to_send) {
        uint8_t bytes[4096];
        size_t n = x->at_a_time;
        size_t took;

        if (n > x->to_send - x->given) {
            n = (size_t)(x->to_send - x->given);
        }
        for (size_t i = 0; i < n; i++) {
            bytes[i] = sim_byte(x->given + i, x->salt);
        }
        took = channel_send(x->c, bytes, n);
        x->given += took;
        if (x->notes_given < NOTES &&
            x->given >= x->to_send * (uint64_t)(x->notes_given + 1) / (NOTES + 1)) {
            bool ordered = ((x->ordered >> x->notes_given) & 1) != 0;
            uint8_t note[2] = {(uint8_t)x->notes_given, ordered ? 1 : 0};

            assert_int_equal(
                channel_send_note(x->c, CHANNEL_NOTE_USER, ordered, note, 2, &e), 0);
            x->notes_given++;
        }
        if (took < n) {
            return;
        }
    }
    channel_send_eof(x->c);
}

/* Take what was kept. */
static void
drain(struct end *x)
{
    size_t n;
    const uint8_t *data;

    while ((data = channel_rx(x->c, &n)) != NULL) {
        size_t take = x->take_max != 0 && n > x->take_max ? x->take_max : n;

        for (size_t i = 0; i < take; i++) {
            assert_int_equal(data[i], sim_byte(x->got + i, x->salt ^ 1u));
        }
        x->got += take;
        channel_rx_take(x->c, take);
    }
}

/* One connection's life: until all is through, or nothing moves any more. */
static void
run_pair(struct pair *p)
{
    size_t before;

    do {
        before = p->sim.a.sent + p->sim.b.sent;
        push(&p->opener);
        push(&p->acceptor);
        sim_run(&p->sim);
        drain(&p->opener);
        drain(&p->acceptor);
        sim_pass(&p->sim, MUX_ACK_DELAY_NS);
    } while (p->sim.a.sent + p->sim.b.sent > before);
    assert_int_equal(p->sim.a.rc, 0);
    assert_int_equal(p->sim.b.rc, 0);
}

static void
assert_complete(const struct pair *p)
{
    assert_int_equal(p->opener.got, p->acceptor.to_send);
    assert_int_equal(p->acceptor.got, p->opener.to_send);
    assert_int_equal(p->opener.eofs, 1);
    assert_int_equal(p->acceptor.eofs, 1);
    assert_int_equal(p->opener.notes_got, p->acceptor.notes_given);
    assert_int_equal(p->acceptor.notes_got, p->opener.notes_given);
    assert_int_equal(p->opener.resets, 0);
    assert_int_equal(p->acceptor.resets, 0);
}

static void
open_channel(struct pair *p)
{
    struct err e;

    assert_int_equal(mux_open(p->sim.a.m, p->opener.c, p->what, &e), 0);
}

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
        cmocka_unit_test(channel__carries_bytes_notes_and_ends_both_ways),
        cmocka_unit_test(channel__resumes_exactly_wherever_it_is_cut),
        cmocka_unit_test(channel__survives_cut_after_cut),
        cmocka_unit_test(channel__never_holds_more_than_its_window_or_replay_buffer),
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
