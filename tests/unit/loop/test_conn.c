#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "runner/loop/conn.h"
#include "runner/loop/fdio.h"
#include "runner/loop/unix.h"
#include "runner/wire/msg.h"
#include "runner/wire/preamble.h"
#include "runner/wire/relay.h"

#define SECOND ((int64_t)1000000000)

/* One side of a connection and what happened to it. */
struct side {
    struct conn *c;
    struct hello hello;
    int hellos;
    int closed;
    bool had_why;
    struct err why;
    bool free_on_request;
    bool silent; /* does not answer */
    struct channel *offered;
    uint64_t got;
    int eofs;
    int events;
    int missing;
    char goaway[1024];
    struct mux *relay_to;
};

static void
on_hello(void *ctx, struct mux *m, const struct hello *peer)
{
    struct side *s = ctx;

    (void)m;
    assert_int_equal(peer->proto_max, HELLO_PROTO_MAX);
    s->hellos++;
}

static void
on_missing(void *ctx, struct mux *m, const struct rec *facts)
{
    struct side *s = ctx;

    (void)m;
    assert_string_equal(rec_get(facts, "uname_s"), "Linux");
    s->missing++;
}

static void
on_request(void *ctx, struct mux *m, uint64_t id, const struct rec *req)
{
    struct side *s = ctx;
    struct rec *answer;
    struct err why;

    if (s->free_on_request) {
        conn_free(s->c);
        s->c = NULL;
        return;
    }
    if (s->silent) {
        return;
    }
    if (strcmp(rec_type(req), "gpurun.req.echo.v1") != 0) {
        err_set(&why, ERR_VERSION, "unknown verb");
        mux_respond_error(m, id, &why, "update the agent");
        return;
    }
    answer = msg_answer_new("echo");
    {
        size_t len;
        const char *v = rec_get_bytes(req, "text", &len);

        rec_add_bytes(answer, "text", v, len);
    }
    mux_respond(m, id, answer);
    rec_free(answer);
}

static void
on_event(void *ctx, struct mux *m, const struct rec *event)
{
    struct side *s = ctx;

    (void)m;
    assert_string_equal(rec_type(event), "gpurun.event.test.v1");
    s->events++;
}

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct side *s = ctx;

    (void)c;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(data[i], (uint8_t)((s->got + i) * 7));
    }
    s->got += n;
    return n;
}

static void
on_eof(void *ctx, struct channel *c)
{
    struct side *s = ctx;

    (void)c;
    s->eofs++;
}

static const struct channel_events channel_events = {.on_data = on_data,
                                                     .on_eof = on_eof};

static void
on_open(void *ctx, struct mux *m, const struct mux_offer *offer)
{
    struct side *s = ctx;
    struct err e;

    if (s->relay_to != NULL) {
        assert_int_equal(relay_join(m, offer->stream, s->relay_to, NULL, &e), 0);
        return;
    }
    if (s->offered == NULL) {
        struct channel_options o = {.cls = offer->cls,
                                    .token = offer->token,
                                    .events = &channel_events,
                                    .ctx = s};

        s->offered = channel_new(&o);
    }
    assert_int_equal(mux_accept(m, offer->stream, s->offered, NULL, &e), 0);
}

static void
on_goaway(void *ctx, struct mux *m, const struct err *why, const char *hint)
{
    struct side *s = ctx;

    (void)m;
    (void)snprintf(s->goaway, sizeof s->goaway, "%s|%s", why == NULL ? "" : why->msg,
                   hint);
}

static const struct mux_events mux_events = {
    .on_hello = on_hello,
    .on_missing = on_missing,
    .on_request = on_request,
    .on_event = on_event,
    .on_open = on_open,
    .on_goaway = on_goaway,
};

static void
on_closed(void *ctx, struct conn *c, const struct err *why)
{
    struct side *s = ctx;

    assert_ptr_equal(c, s->c);
    assert_false(conn_is_open(c));
    assert_null(conn_mux(c));
    s->closed++;
    s->had_why = why != NULL;
    if (why != NULL) {
        s->why = *why;
    }
}

static struct conn_options
options(struct side *s, enum hello_role role)
{
    struct conn_options o = {.on_closed = on_closed, .ctx = s};

    hello_init(&s->hello, role, "1.0");
    o.mux.hello = &s->hello;
    o.mux.events = &mux_events;
    o.mux.ctx = s;
    o.mux.initiator = role == HELLO_ROLE_CLIENT;
    o.mux.noisy = o.mux.initiator;
    return o;
}

enum kind { OVER_SOCKET, OVER_PIPES, OVER_QUEUES, N_KINDS };

/* A client and a serve on one loop. */
struct pair {
    struct loop *l;
    struct side a;
    struct side b;
};

static void
connect_pair(struct pair *p, enum kind kind)
{
    struct conn_options oa = options(&p->a, HELLO_ROLE_CLIENT);
    struct conn_options ob = options(&p->b, HELLO_ROLE_SERVE);
    int there[2];
    int back[2];
    struct err e;

    if (p->l == NULL) {
        assert_int_equal(loop_new(&p->l, &e), 0);
    }
    if (kind == OVER_SOCKET) {
        assert_int_equal(unix_pair(there, &e), 0);
        assert_int_equal(conn_new(&p->a.c, p->l, there[0], there[0], &oa, &e), 0);
        assert_int_equal(conn_new(&p->b.c, p->l, there[1], there[1], &ob, &e), 0);
    } else if (kind == OVER_PIPES) {
        assert_int_equal(fdio_pipe(there, true, &e), 0);
        assert_int_equal(fdio_pipe(back, true, &e), 0);
        assert_int_equal(conn_new(&p->a.c, p->l, back[0], there[1], &oa, &e), 0);
        assert_int_equal(conn_new(&p->b.c, p->l, there[0], back[1], &ob, &e), 0);
    } else {
        struct queue *up = queue_new(4096);
        struct queue *down = queue_new(4096);

        assert_int_equal(conn_new_queues(&p->a.c, p->l, down, up, &oa, &e), 0);
        assert_int_equal(conn_new_queues(&p->b.c, p->l, up, down, &ob, &e), 0);
    }
    assert_int_equal(conn_wait_ready(p->a.c, 10 * SECOND, &e), 0);
}

static void
free_pair(struct pair *p)
{
    conn_free(p->a.c);
    conn_free(p->b.c);
    channel_free(p->a.offered);
    channel_free(p->b.offered);
    loop_free(p->l);
}

static bool
both_closed(void *ctx)
{
    const struct pair *p = ctx;

    return p->a.closed > 0 && p->b.closed > 0;
}

static void
conn__answers_calls(void **state)
{
    static const size_t sizes[] = {0, 1, 60000, 70000, 3000000};

    (void)state;
    for (enum kind kind = 0; kind < N_KINDS; kind++) {
        struct pair p = {0};
        struct rec *resp = NULL;
        char hint[MUX_HINT_MAX + 1];
        struct err e;

        connect_pair(&p, kind);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct rec *req = msg_request_new("echo");
            char *text = xcalloc(1, sizes[i] + 1);
            size_t len;
            const char *got;

            memset(text, 'x', sizes[i]);
            rec_add_bytes(req, "text", text, sizes[i]);
            assert_int_equal(call_wait(p.a.c, req, 10 * SECOND, &resp, hint, &e), 0);
            got = rec_get_bytes(resp, "text", &len);
            assert_int_equal(len, sizes[i]);
            assert_memory_equal(got, text, len);
            free(text);
            rec_free(req);
            rec_free(resp);
        }
        {
            struct rec *req = msg_request_new("nonsense");

            assert_int_equal(call_wait(p.a.c, req, 10 * SECOND, &resp, hint, &e), -1);
            assert_int_equal(e.code, ERR_VERSION);
            assert_string_equal(e.msg, "unknown verb");
            assert_string_equal(hint, "update the agent");
            rec_free(req);
        }
        assert_int_equal(p.a.hellos, 1);
        assert_true(conn_bytes_in(p.a.c) > 3000000);
        assert_true(conn_bytes_out(p.a.c) > 3000000);
        free_pair(&p);
    }
}

static void
call__ends_on_time_and_with_its_connection(void **state)
{
    struct pair p = {.b = {.silent = true}};
    struct rec *req = msg_request_new("echo");
    struct rec *resp = NULL;
    struct err e;

    (void)state;
    connect_pair(&p, OVER_SOCKET);
    assert_int_equal(call_wait(p.a.c, req, SECOND / 100, &resp, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LINK);
    assert_string_equal(e.msg, "no answer within 10 ms");
    /* The peer drops the connection instead of answering, from its own callback. */
    p.b.free_on_request = true;
    assert_int_equal(call_wait(p.a.c, req, -1, &resp, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LINK);
    assert_string_equal(e.msg, "the connection was cut");
    assert_int_equal(p.a.closed, 1);
    assert_int_equal(p.b.closed, 0); /* conn_free does not tell */
    assert_int_equal(call_wait(p.a.c, req, -1, &resp, NULL, &e), -1);
    assert_int_equal(e.code, ERR_LINK);
    rec_free(req);
    free_pair(&p);
}

static void
conn_finish__sends_what_is_queued_and_says_goodbye(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < N_KINDS; kind++) {
        for (int with_why = 0; with_why < 2; with_why++) {
            struct pair p = {0};
            struct rec *event = rec_new("gpurun.event.test.v1");
            char *text = xcalloc(1, 300001);
            struct err why;

            connect_pair(&p, kind);
            memset(text, 'y', 300000);
            rec_add(event, "text", text);
            mux_event(conn_mux(p.b.c), event);
            err_set(&why, ERR_DENIED, "revoked");
            conn_finish(p.b.c, with_why == 1 ? &why : NULL, "ask the owner", 5 * SECOND);
            assert_true(loop_run_until(p.l, both_closed, &p, 5 * SECOND));
            assert_int_equal(p.a.events, 1);
            assert_int_equal(p.a.had_why, with_why == 1);
            assert_int_equal(p.b.had_why, with_why == 1);
            if (with_why == 1) {
                assert_int_equal(p.a.why.code, ERR_DENIED);
                assert_string_equal(p.a.goaway, "revoked|ask the owner");
            } else {
                assert_string_equal(p.a.goaway, "|");
            }
            free(text);
            rec_free(event);
            free_pair(&p);
        }
    }
}

/* ---- bytes ---- */

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
        /* The relay lives for a few milliseconds at a time. */
        (void)loop_run_until(outer.l, sender_done, &s, SECOND / 200);
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

/* ---- strangers at the other end ---- */

struct stranger {
    const char *says;
    size_t len;
    enum err_code code;
    const char *msg; /* contained in the message */
    int missing;
};

static void
conn__explains_what_came_instead_of_an_agent(void **state)
{
    static const char facts[] = "hi\n" PREAMBLE_MISSING "uname_s=Linux\nhome=/h\nend\n";
    static const struct stranger cases[] = {
        {"", 0, ERR_LINK, "before a word was said", 0},
        {"This account is currently not available.\n", 41, ERR_LINK,
         "the host said: 'This account is currently not available.'", 0},
        {"\033[2Jboo", 7, ERR_LINK, "'\\x1b[2Jboo'", 0},
        {facts, sizeof facts - 1, ERR_NOT_FOUND, "no agent is installed", 1},
        {PREAMBLE_READY "garbage that is no frame", 60, ERR_CORRUPT, "frame", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pair p = {0};
        struct conn_options o = options(&p.a, HELLO_ROLE_CLIENT);
        int fds[2];
        struct err e;

        assert_int_equal(loop_new(&p.l, &e), 0);
        assert_int_equal(unix_pair(fds, &e), 0);
        assert_int_equal(conn_new(&p.a.c, p.l, fds[0], fds[0], &o, &e), 0);
        if (cases[i].len > 0) {
            assert_int_equal(write(fds[1], cases[i].says, cases[i].len), cases[i].len);
        }
        close(fds[1]);
        assert_int_equal(conn_wait_ready(p.a.c, 5 * SECOND, &e), -1);
        assert_int_equal(e.code, cases[i].code);
        if (strstr(e.msg, cases[i].msg) == NULL) {
            fail_msg("case %zu: '%s'", i, e.msg);
        }
        assert_int_equal(p.a.missing, cases[i].missing);
        assert_int_equal(p.a.closed, 1);
        free_pair(&p);
    }
}

static void
conn__gives_up_on_a_peer_that_falls_silent(void **state)
{
    struct pair p = {0};
    struct conn_options o = options(&p.a, HELLO_ROLE_CLIENT);
    int fds[2];
    struct err e;

    (void)state;
    o.mux.hello_ns = SECOND / 50;
    assert_int_equal(loop_new(&p.l, &e), 0);
    assert_int_equal(unix_pair(fds, &e), 0);
    assert_int_equal(conn_new(&p.a.c, p.l, fds[0], fds[0], &o, &e), 0);
    assert_int_equal(conn_wait_ready(p.a.c, 5 * SECOND, &e), -1);
    assert_int_equal(e.code, ERR_LINK);
    assert_string_equal(e.msg, "the connection ended before a word was said");
    close(fds[1]);
    free_pair(&p);
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
    assert_true(loop_run_until(p.l, both_closed, &p, 5 * SECOND));
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
        cmocka_unit_test(conn__answers_calls),
        cmocka_unit_test(call__ends_on_time_and_with_its_connection),
        cmocka_unit_test(conn_finish__sends_what_is_queued_and_says_goodbye),
        cmocka_unit_test(conn__carries_bulk_over_everything),
        cmocka_unit_test(conn__relays_and_ends_survive_the_relay),
        cmocka_unit_test(conn__explains_what_came_instead_of_an_agent),
        cmocka_unit_test(conn__gives_up_on_a_peer_that_falls_silent),
        cmocka_unit_test(conn__works_across_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
