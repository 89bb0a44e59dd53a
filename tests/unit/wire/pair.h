#ifndef TESTS_UNIT_WIRE_PAIR_H
#define TESTS_UNIT_WIRE_PAIR_H

/*
 * Two end points that outlive their connections. One opens, the other accepts by token;
 * both send N bytes, notes among them, and an end.
 */

#include "runner/wire/channel.h"

#include "sim.h"

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

static inline size_t
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

static inline void
end_on_eof(void *ctx, struct channel *c)
{
    struct end *x = ctx;

    (void)c;
    x->eofs++;
}

static inline void
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

static inline void
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

static inline void
end_on_done(void *ctx, struct channel *c)
{
    struct end *x = ctx;

    (void)c;
    x->dones++;
}

static inline void
end_on_detached(void *ctx, struct channel *c, const struct err *why)
{
    struct end *x = ctx;

    assert_false(channel_attached(c));
    if (why != NULL) {
        x->why = *why;
    }
    x->detaches++;
}

static inline void
end_on_reset(void *ctx, struct channel *c, const struct err *why)
{
    struct end *x = ctx;

    assert_true(channel_is_reset(c));
    x->why = *why;
    x->resets++;
}

static inline void
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

static inline void
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

static inline void
connect_pair(struct pair *p)
{
    struct mux_options a = {.events = &no_events, .ctx = p};
    struct mux_options b = {.events = &acceptor_events, .ctx = p};

    sim_start(&p->sim, &a, &b);
}

static inline void
disconnect_pair(struct pair *p)
{
    sim_stop(&p->sim);
}

static inline void
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

static inline void
free_pair(struct pair *p)
{
    channel_free(p->opener.c);
    channel_free(p->acceptor.c);
    rec_free(p->what);
}

/* Hand over bytes, and notes spread among them, as far as there is room. */
static inline void
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
static inline void
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
static inline void
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

static inline void
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

static inline void
open_channel(struct pair *p)
{
    struct err e;

    assert_int_equal(mux_open(p->sim.a.m, p->opener.c, p->what, &e), 0);
}

#endif
