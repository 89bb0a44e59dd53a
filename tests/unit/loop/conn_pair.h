#ifndef TESTS_UNIT_LOOP_CONN_PAIR_H
#define TESTS_UNIT_LOOP_CONN_PAIR_H

/* Two connections joined on one loop, and what happened to each. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
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

static inline void
on_hello(void *ctx, struct mux *m, const struct hello *peer)
{
    struct side *s = ctx;

    (void)m;
    assert_int_equal(peer->proto_max, HELLO_PROTO_MAX);
    s->hellos++;
}

static inline void
on_missing(void *ctx, struct mux *m, const struct rec *facts)
{
    struct side *s = ctx;

    (void)m;
    assert_string_equal(rec_get(facts, "uname_s"), "Linux");
    s->missing++;
}

static inline void
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

static inline void
on_event(void *ctx, struct mux *m, const struct rec *event)
{
    struct side *s = ctx;

    (void)m;
    assert_string_equal(rec_type(event), "gpurun.event.test.v1");
    s->events++;
}

static inline size_t
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

static inline void
on_eof(void *ctx, struct channel *c)
{
    struct side *s = ctx;

    (void)c;
    s->eofs++;
}

static const struct channel_events channel_events = {.on_data = on_data,
                                                     .on_eof = on_eof};

static inline void
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
                                    .replay_max_bytes = (size_t)32 << 20,
                                    .events = &channel_events,
                                    .ctx = s};

        s->offered = channel_new(&o);
    }
    assert_int_equal(mux_accept(m, offer->stream, s->offered, NULL, &e), 0);
}

static inline void
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

static inline void
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

static inline struct conn_options
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

static inline void
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

static inline void
free_pair(struct pair *p)
{
    conn_free(p->a.c);
    conn_free(p->b.c);
    channel_free(p->a.offered);
    channel_free(p->b.offered);
    loop_free(p->l);
}

static inline bool
both_closed(void *ctx)
{
    const struct pair *p = ctx;

    return p->a.closed > 0 && p->b.closed > 0;
}

#endif
