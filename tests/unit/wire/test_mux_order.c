/* Who is sent first, and how much of it. */
#include "runner/wire/frame.h"

#include "seen.h"

/* ---- priorities ---- */

struct flow {
    struct channel *c;
    uint64_t got;
    struct flow *all; /* to see who was served when */
};

static size_t
flow_on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct flow *f = ctx;

    (void)c;
    (void)data;
    f->got += n;
    return n;
}

static const struct channel_events flow_events = {.on_data = flow_on_data};

struct flows {
    struct flow in[4];
    int n;
};

static void
flows_on_open(void *ctx, struct mux *m, const struct mux_offer *offer)
{
    struct flows *fs = ctx;
    struct flow *f = &fs->in[fs->n++];
    struct channel_options o = {.cls = offer->cls,
                                .token = offer->token,
                                .window_bytes = (size_t)64 << 20,
                                .events = &flow_events,
                                .ctx = f};
    struct err e;

    f->c = channel_new(&o);
    assert_int_equal(mux_accept(m, offer->stream, f->c, NULL, &e), 0);
}

static const struct mux_events flows_events = {.on_open = flows_on_open};

struct load {
    struct sim s;
    struct seen a;
    struct flows b;
    struct channel *out[4];
};

/* Channels of these classes with n bytes to send each, open and about to send. */
static void
make_load(struct load *l, const enum channel_class *cls, int n, size_t bytes)
{
    struct mux_options oa = {.events = &seen_events, .ctx = &l->a, .ping_ns = -1};
    struct mux_options ob = {.events = &flows_events, .ctx = &l->b, .ping_ns = -1};
    struct rec *what = rec_new("gpurun.open.test.v1");
    uint8_t *data = xcalloc(1, bytes);
    struct err e;

    sim_start(&l->s, &oa, &ob);
    for (int i = 0; i < n; i++) {
        struct channel_options o = {.cls = cls[i], .replay_max_bytes = bytes};

        l->out[i] = channel_new(&o);
        assert_int_equal(mux_open(l->s.a.m, l->out[i], what, &e), 0);
    }
    sim_run(&l->s);
    for (int i = 0; i < n; i++) {
        assert_int_equal(channel_send(l->out[i], data, bytes), bytes);
    }
    free(data);
    rec_free(what);
}

static void
free_load(struct load *l)
{
    for (int i = 0; i < 4; i++) {
        channel_free(l->out[i]);
        channel_free(l->b.in[i].c);
    }
    sim_stop(&l->s);
}

static void
control__waits_for_at_most_one_quantum_of_anything(void **state)
{
    static const enum channel_class cls[] = {CHANNEL_BULK, CHANNEL_INTERACTIVE,
                                             CHANNEL_BULK};
    struct load l = {.s = {.piece = 1000}};

    (void)state;
    make_load(&l, cls, 3, 10000000);
    for (int round = 0; round < 50; round++) {
        uint64_t bytes = 0;

        /* Somewhere in the middle of something. */
        for (int i = 0; i < 1 + round * 7 % 130; i++) {
            (void)sim_move(&l.s, &l.s.a, &l.s.b);
        }
        {
            struct rec *req = msg_request_new("now");
            struct err e;

            assert_int_equal(mux_request(l.s.a.m, req, seen_on_answer, &l.a, NULL, &e),
                             0);
            rec_free(req);
        }
        while (mux_has_output(l.s.a.m)) {
            struct iovec iov[MUX_IOV_MAX];
            int n = mux_output(l.s.a.m, iov, MUX_IOV_MAX, l.s.now_ns);
            bool found = false;

            /* Is the request among what lies ready? */
            for (int i = 0; i < n && !found; i++) {
                const uint8_t *at = iov[i].iov_base;

                if (iov[i].iov_len >= 5 && at[4] == FRAME_REQ &&
                    iov[i].iov_len == FRAME_HEADER_BYTES) {
                    found = true;
                } else {
                    bytes += iov[i].iov_len;
                }
            }
            if (found) {
                break;
            }
            bytes = 0;
            (void)sim_move(&l.s, &l.s.a, &l.s.b);
        }
        assert_true(bytes <= FRAME_QUANTUM);
    }
    free_load(&l);
}

static void
interactive__goes_before_bulk_which_still_gets_its_share(void **state)
{
    static const enum channel_class cls[] = {CHANNEL_BULK, CHANNEL_INTERACTIVE};
    struct load l = {.s = {.piece = 0}};
    uint64_t bulk;

    (void)state;
    make_load(&l, cls, 2, 20000000);
    while (l.b.in[1].got < 15000000) {
        assert_true(sim_move(&l.s, &l.s.a, &l.s.b) > 0);
    }
    bulk = l.b.in[0].got;
    assert_in_range(bulk, 15000000 / 20, 15000000 / 15);
    sim_run(&l.s);
    assert_int_equal(l.b.in[0].got, 20000000);
    assert_int_equal(l.b.in[1].got, 20000000);
    free_load(&l);
}

static void
streams__of_a_class_take_turns(void **state)
{
    static const enum channel_class cls[] = {CHANNEL_BULK, CHANNEL_BULK, CHANNEL_BULK,
                                             CHANNEL_BULK};
    struct load l = {.s = {.piece = 0}};

    (void)state;
    make_load(&l, cls, 4, 10000000);
    for (int round = 0; round < 300; round++) {
        uint64_t least = UINT64_MAX;
        uint64_t most = 0;

        (void)sim_move(&l.s, &l.s.a, &l.s.b);
        for (int i = 0; i < 4; i++) {
            least = l.b.in[i].got < least ? l.b.in[i].got : least;
            most = l.b.in[i].got > most ? l.b.in[i].got : most;
        }
        assert_true(most - least <= 2 * FRAME_QUANTUM);
    }
    free_load(&l);
}

static void
acks__come_within_50_ms_when_nothing_forces_them(void **state)
{
    static const enum channel_class cls[] = {CHANNEL_INTERACTIVE};
    struct load l = {0};

    (void)state;
    make_load(&l, cls, 1, 100);
    sim_run(&l.s);
    assert_int_equal(l.b.in[0].got, 100);
    assert_int_equal(channel_send_acked(l.out[0]), 0);
    assert_int_equal(mux_next_tick_ns(l.s.b.m), l.s.now_ns + MUX_ACK_DELAY_NS);
    sim_pass(&l.s, MUX_ACK_DELAY_NS - 1);
    assert_int_equal(channel_send_acked(l.out[0]), 0);
    sim_pass(&l.s, 1);
    assert_int_equal(channel_send_acked(l.out[0]), 100);
    assert_int_equal(mux_next_tick_ns(l.s.b.m),
                     INT64_MAX); /* and then nothing wakes us */
    free_load(&l);
}

/* ---- pacing over a slow line ---- */

/*
 * A line with a buffer that takes all it is given at once and delivers bytes at a rate,
 * after a delay: what TCP and routers do to us.
 */
#define LINE_EVENTS 100000

struct line {
    int64_t bytes_per_s;
    int64_t delay_ns;
    struct buf bytes;      /* under way */
    size_t taken;          /* of bytes, delivered */
    int64_t busy_until_ns; /* when the last byte given leaves the line */
    struct {
        size_t end;
        int64_t at_ns;
    } * arrivals;
    size_t n_arrivals;
    size_t next_arrival;
};

static void
line_put(struct line *l, const void *data, size_t n, int64_t now_ns)
{
    if (l->busy_until_ns < now_ns) {
        l->busy_until_ns = now_ns;
    }
    l->busy_until_ns += (int64_t)n * SECOND / l->bytes_per_s;
    buf_add(&l->bytes, data, n);
    assert_true(l->n_arrivals < LINE_EVENTS);
    l->arrivals[l->n_arrivals].end = l->bytes.len;
    l->arrivals[l->n_arrivals++].at_ns = l->busy_until_ns + l->delay_ns;
}

static void
line_run(struct line *l, struct sim_side *from, struct sim_side *to, int64_t now_ns)
{
    struct iovec iov[MUX_IOV_MAX];
    int n;

    while ((n = mux_output(from->m, iov, MUX_IOV_MAX, now_ns)) > 0) {
        size_t total = 0;

        for (int i = 0; i < n; i++) {
            line_put(l, iov[i].iov_base, iov[i].iov_len, now_ns);
            total += iov[i].iov_len;
        }
        mux_written(from->m, total);
    }
    while (l->next_arrival < l->n_arrivals &&
           l->arrivals[l->next_arrival].at_ns <= now_ns) {
        size_t end = l->arrivals[l->next_arrival++].end;

        to->rc =
            mux_feed(to->m, l->bytes.data + l->taken, end - l->taken, now_ns, &to->e);
        assert_int_equal(to->rc, 0);
        l->taken = end;
    }
}

static void
pacing__keeps_a_slow_line_short_and_full(void **state)
{
    static const struct {
        int64_t bytes_per_s;
        int64_t delay_ns; /* one way */
    } lines[] = {
        {2500000, 5000000},    /* 20 Mbit/s, 10 ms */
        {2500000, 50000000},   /* 100 ms */
        {125000000, 20000000}, /* 1 Gbit/s, 40 ms */
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct load l = {0};
        struct mux_options oa = {.events = &seen_events, .ctx = &l.a};
        struct mux_options ob = {.events = &flows_events, .ctx = &l.b};
        struct line there = {.bytes_per_s = lines[i].bytes_per_s,
                             .delay_ns = lines[i].delay_ns};
        struct line back = there;
        struct channel_options o = {.cls = CHANNEL_BULK, .window_bytes = 64 << 20};
        struct rec *what = rec_new("gpurun.open.test.v1");
        static uint8_t block[1 << 20];
        int64_t step = 1000000;
        int64_t run_ns = 6 * SECOND;
        int64_t worst_ns = 0;
        uint64_t half = 0;
        int64_t start_ns;
        struct err e;

        there.arrivals = xcalloc(LINE_EVENTS, sizeof *there.arrivals);
        back.arrivals = xcalloc(LINE_EVENTS, sizeof *back.arrivals);
        sim_start(&l.s, &oa, &ob);
        l.out[0] = channel_new(&o);
        assert_int_equal(mux_open(l.s.a.m, l.out[0], what, &e), 0);
        start_ns = l.s.now_ns;
        while (l.s.now_ns - start_ns < run_ns) {
            int64_t queue_ns;

            (void)channel_send(l.out[0], block, sizeof block);
            line_run(&there, &l.s.a, &l.s.b, l.s.now_ns);
            line_run(&back, &l.s.b, &l.s.a, l.s.now_ns);
            queue_ns = there.busy_until_ns - l.s.now_ns;
            if (l.s.now_ns - start_ns > run_ns / 2) {
                half = half == 0 ? l.b.in[0].got : half;
                worst_ns = queue_ns > worst_ns ? queue_ns : worst_ns;
            }
            l.s.now_ns += step;
            assert_int_equal(mux_tick(l.s.a.m, l.s.now_ns, &e), 0);
            assert_int_equal(mux_tick(l.s.b.m, l.s.now_ns, &e), 0);
        }
        /* What is urgent now would wait 150 ms at the very most, and the line is used. */
        assert_true(worst_ns < 150000000);
        assert_true(l.b.in[0].got - half > (uint64_t)(lines[i].bytes_per_s * 3 * 8 / 10));
        free(there.arrivals);
        free(back.arrivals);
        buf_free(&there.bytes);
        buf_free(&back.bytes);
        rec_free(what);
        free_load(&l);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acks__come_within_50_ms_when_nothing_forces_them),
        cmocka_unit_test(control__waits_for_at_most_one_quantum_of_anything),
        cmocka_unit_test(interactive__goes_before_bulk_which_still_gets_its_share),
        cmocka_unit_test(streams__of_a_class_take_turns),
        cmocka_unit_test(pacing__keeps_a_slow_line_short_and_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
