/* Channels over sockets, pipes, queues, relays and a transport's thread. */
#include <pthread.h>

#include "conn_pair.h"

static void
pump(struct channel *c, uint64_t *given, uint64_t total)
{
    while (*given < total) {
        size_t room;
        uint8_t *to = channel_send_room(c, &room);

        if (to == NULL) {
            return;
        }
        if (room > total - *given) {
            room = (size_t)(total - *given);
        }
        for (size_t i = 0; i < room; i++) {
            to[i] = (uint8_t)((*given + i) * 7);
        }
        channel_send_filled(c, room);
        *given += room;
    }
    channel_send_eof(c);
}

struct sender {
    struct channel *c;
    uint64_t given;
    uint64_t total;
    int done;
};

static void
on_writable(void *ctx, struct channel *c)
{
    struct sender *s = ctx;

    pump(c, &s->given, s->total);
}

static void
on_done(void *ctx, struct channel *c)
{
    struct sender *s = ctx;

    (void)c;
    s->done++;
}

static const struct channel_events sender_events = {.on_writable = on_writable,
                                                    .on_done = on_done};

static bool
sender_done(void *ctx)
{
    return ((const struct sender *)ctx)->done > 0;
}

static void
conn__carries_bulk_over_everything(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < N_KINDS; kind++) {
        struct pair p = {0};
        struct sender s = {.total = 20000000};
        struct channel_options o = {
            .cls = CHANNEL_BULK, .events = &sender_events, .ctx = &s};
        struct rec *what = rec_new("gpurun.open.test.v1");
        struct err e;

        connect_pair(&p, kind);
        s.c = channel_new(&o);
        assert_int_equal(mux_open(conn_mux(p.a.c), s.c, what, &e), 0);
        pump(s.c, &s.given, s.total);
        while (!loop_run_until(p.l, sender_done, &s, SECOND / 10)) {
            if (p.b.eofs > 0) {
                channel_send_eof(p.b.offered);
            }
            assert_int_equal(p.a.closed, 0);
        }
        assert_int_equal(p.b.got, s.total);
        channel_free(s.c);
        rec_free(what);
        free_pair(&p);
    }
}

static bool
both_ended(void *ctx)
{
    const struct pair *p = ctx;

    return p->a.eofs > 0 && p->b.eofs > 0;
}

/* Both full at once: neither side may stop reading because it cannot write. */
static void
conn__carries_bulk_both_ways_at_once(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < N_KINDS; kind++) {
        struct pair p = {0};
        struct channel_options o = {.cls = CHANNEL_BULK,
                                    .replay_max_bytes = (size_t)32 << 20,
                                    .events = &channel_events,
                                    .ctx = &p.a};
        struct rec *what = rec_new("gpurun.open.test.v1");
        uint64_t given[2] = {0, 0};
        uint64_t total = 20000000;
        struct err e;

        connect_pair(&p, kind);
        p.a.offered = channel_new(&o);
        p.b.offered =
            channel_new(&(struct channel_options){.cls = CHANNEL_BULK,
                                                  .replay_max_bytes = (size_t)32 << 20,
                                                  .events = &channel_events,
                                                  .ctx = &p.b});
        pump(p.a.offered, &given[0], total);
        pump(p.b.offered, &given[1], total);
        assert_int_equal(mux_open(conn_mux(p.a.c), p.a.offered, what, &e), 0);
        assert_true(loop_run_until(p.l, both_ended, &p, 120 * SECOND));
        assert_int_equal(p.a.got, total);
        assert_int_equal(p.b.got, total);
        rec_free(what);
        free_pair(&p);
    }
}

/* client - serve - supervisor: the middle one is killed, the ends go on. */
static void
conn__relays_and_ends_survive_the_relay(void **state)
{
    struct pair outer = {0};
    struct pair inner = {0};
    struct sender s = {.total = 3000000};
    struct channel_options o = {
        .cls = CHANNEL_INTERACTIVE, .events = &sender_events, .ctx = &s};
    struct rec *what = rec_new("gpurun.open.test.v1");
    struct err e;
    int rounds = 0;

    (void)state;
    s.c = channel_new(&o);
    while (s.done == 0) {
        struct channel *end = inner.b.offered;
        uint64_t got = inner.b.got;
        int eofs = inner.b.eofs;

        assert_true(++rounds < 30);
        memset(&outer, 0, sizeof outer);
        inner = (struct pair){.b = {.offered = end, .got = got, .eofs = eofs}};
        if (end != NULL) {
            channel_set_ctx(end, &inner.b);
        }
        connect_pair(&outer, OVER_SOCKET);
        inner.l = outer.l;
        connect_pair(&inner, OVER_SOCKET);
        outer.b.relay_to = conn_mux(inner.a.c);
        assert_int_equal(mux_open(conn_mux(outer.a.c), s.c, what, &e), 0);
        pump(s.c, &s.given, s.total);
        /* The relay lives for a few milliseconds at a time, longer on a slow machine. */
        (void)loop_run_until(outer.l, sender_done, &s, rounds * SECOND / 200);
        if (inner.b.eofs > 0) {
            channel_send_eof(inner.b.offered);
            (void)loop_run_until(outer.l, sender_done, &s, SECOND / 2);
        }
        conn_free(outer.b.c);
        conn_free(inner.a.c);
        conn_free(outer.a.c);
        conn_free(inner.b.c);
        loop_free(outer.l);
    }
    assert_int_equal(inner.b.got, s.total);
    assert_int_equal(inner.b.eofs, 1);
    channel_free(s.c);
    channel_free(inner.b.offered);
    rec_free(what);
}

/* ---- a transport's thread in between ---- */

struct shuttle {
    struct queue *in;  /* to be read by the thread */
    struct queue *out; /* written by it */
    int efd;
};

/* Copies from one queue to the other, as a transport's thread would through a socket. */
static void *
shuttle_run(void *arg)
{
    struct shuttle *s = arg;
    struct err why;
    bool failed = false;

    for (;;) {
        struct iovec iov[2];
        int n = queue_data(s->in, iov);
        uint64_t rung;

        if (n > 0) {
            size_t took = queue_write(s->out, iov[0].iov_base, iov[0].iov_len);

            queue_used(s->in, took);
            if (took > 0) {
                continue;
            }
        } else if (queue_ended(s->in, &failed, &why)) {
            break;
        }
        if (queue_reader_gone(s->out)) {
            break;
        }
        (void)!read(s->efd, &rung, sizeof rung); /* blocks until rung */
    }
    queue_abandon(s->in);
    queue_close(s->out, NULL);
    return NULL;
}

static void
conn__works_across_threads(void **state)
{
    struct pair p = {0};
    struct conn_options oa = options(&p.a, HELLO_ROLE_CLIENT);
    struct conn_options ob = options(&p.b, HELLO_ROLE_SERVE);
    struct sender s = {.total = 10000000};
    struct channel_options o = {.cls = CHANNEL_BULK, .events = &sender_events, .ctx = &s};
    struct rec *what = rec_new("gpurun.open.test.v1");
    struct queue *q[4];
    struct shuttle shuttles[2];
    pthread_t threads[2];
    struct err e;

    (void)state;
    assert_int_equal(loop_new(&p.l, &e), 0);
    for (int i = 0; i < 4; i++) {
        q[i] = queue_new(32768);
    }
    for (int i = 0; i < 2; i++) {
        shuttles[i] = (struct shuttle){.in = q[2 * i], .out = q[2 * i + 1]};
        assert_int_equal(queue_eventfd_new(&shuttles[i].efd, &e), 0);
        assert_int_equal(fdio_set_nonblock(shuttles[i].efd, false, &e), 0);
        queue_on_data(q[2 * i], queue_eventfd_wake, &shuttles[i].efd);
        queue_on_room(q[2 * i + 1], queue_eventfd_wake, &shuttles[i].efd);
    }
    /* a -> q0 -> thread -> q1 -> b, and b -> q2 -> thread -> q3 -> a */
    assert_int_equal(conn_new_queues(&p.a.c, p.l, q[3], q[0], &oa, &e), 0);
    assert_int_equal(conn_new_queues(&p.b.c, p.l, q[1], q[2], &ob, &e), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, shuttle_run, &shuttles[i]), 0);
    }
    assert_int_equal(conn_wait_ready(p.a.c, 10 * SECOND, &e), 0);
    s.c = channel_new(&o);
    assert_int_equal(mux_open(conn_mux(p.a.c), s.c, what, &e), 0);
    pump(s.c, &s.given, s.total);
    while (!loop_run_until(p.l, sender_done, &s, SECOND / 10)) {
        if (p.b.eofs > 0) {
            channel_send_eof(p.b.offered);
        }
        assert_int_equal(p.a.closed, 0);
    }
    assert_int_equal(p.b.got, s.total);
    conn_finish(p.a.c, NULL, NULL, 5 * SECOND);
    assert_true(loop_run_until(p.l, both_closed, &p, 60 * SECOND));
    assert_false(p.b.had_why);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        close(shuttles[i].efd);
    }
    channel_free(s.c);
    rec_free(what);
    free_pair(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conn__carries_bulk_over_everything),
        cmocka_unit_test(conn__carries_bulk_both_ways_at_once),
        cmocka_unit_test(conn__relays_and_ends_survive_the_relay),
        cmocka_unit_test(conn__works_across_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
