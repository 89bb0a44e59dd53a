#ifndef TESTS_UNIT_WIRE_SIM_H
#define TESTS_UNIT_WIRE_SIM_H

/*
 * Two muxes and the bytes between them, in one thread and with a clock of our own.
 * Each direction can be limited to a number of bytes, to cut the connection exactly
 * there, and moves them in pieces of any size.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "runner/wire/mux.h"

#define SIM_UNLIMITED SIZE_MAX

struct sim_side {
    struct mux *m;
    size_t may_send; /* bytes that still get through */
    size_t sent;
    int rc; /* of the last feed */
    struct err e;
};

struct sim {
    struct sim_side a; /* initiator */
    struct sim_side b;
    int64_t now_ns;
    size_t piece;  /* bytes moved at a time; 0: all there is */
    uint32_t seed; /* != 0: pieces of random size up to piece */
};

static inline uint32_t
sim_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Move what from wants to send, at most one piece; how many bytes went. */
static inline size_t
sim_move(struct sim *s, struct sim_side *from, struct sim_side *to)
{
    struct iovec iov[MUX_IOV_MAX];
    uint8_t piece[70000];
    size_t want = s->piece == 0 || s->piece > sizeof piece ? sizeof piece : s->piece;
    size_t n = 0;
    int n_iov = mux_output(from->m, iov, MUX_IOV_MAX, s->now_ns);

    if (s->seed != 0) {
        want = 1 + sim_random(&s->seed) % want;
    }
    if (want > from->may_send) {
        want = from->may_send;
    }
    for (int i = 0; i < n_iov && n < want; i++) {
        size_t take = iov[i].iov_len < want - n ? iov[i].iov_len : want - n;

        memcpy(piece + n, iov[i].iov_base, take);
        n += take;
    }
    mux_written(from->m, n);
    from->sent += n;
    if (from->may_send != SIM_UNLIMITED) {
        from->may_send -= n;
    }
    if (n > 0 && to->rc == 0) {
        to->rc = mux_feed(to->m, piece, n, s->now_ns, &to->e);
    }
    return n;
}

/* Until nothing moves any more. */
static inline void
sim_run(struct sim *s)
{
    size_t moved = 1;

    for (long rounds = 0; moved > 0; rounds++) {
        assert_true(rounds < 10000000);
        moved = sim_move(s, &s->a, &s->b);
        moved += sim_move(s, &s->b, &s->a);
    }
}

/* Let time pass on both sides, with what that causes. */
static inline void
sim_pass(struct sim *s, int64_t ns)
{
    s->now_ns += ns;
    if (s->a.rc == 0) {
        s->a.rc = mux_tick(s->a.m, s->now_ns, &s->a.e);
    }
    if (s->b.rc == 0) {
        s->b.rc = mux_tick(s->b.m, s->now_ns, &s->b.e);
    }
    sim_run(s);
}

static inline void
sim_start(struct sim *s, struct mux_options *a, struct mux_options *b)
{
    static struct hello ha;
    static struct hello hb;

    if (a->hello == NULL) {
        hello_init(&ha, HELLO_ROLE_CLIENT, "1.0");
        a->hello = &ha;
    }
    if (b->hello == NULL) {
        hello_init(&hb, HELLO_ROLE_SERVE, "1.0");
        b->hello = &hb;
    }
    a->initiator = true;
    b->initiator = false;
    if (s->now_ns == 0) {
        s->now_ns = 1000000000;
    }
    s->a = (struct sim_side){.m = mux_new(a, s->now_ns), .may_send = SIM_UNLIMITED};
    s->b = (struct sim_side){.m = mux_new(b, s->now_ns), .may_send = SIM_UNLIMITED};
}

static inline void
sim_stop(struct sim *s)
{
    mux_free(s->a.m);
    mux_free(s->b.m);
    s->a.m = s->b.m = NULL;
}

/* A byte for every offset, so that any byte out of place is seen. */
static inline uint8_t
sim_byte(uint64_t offset, unsigned salt)
{
    return (uint8_t)((offset * 2654435761u + salt * 97u + (offset >> 8)) >> 3);
}

#endif
