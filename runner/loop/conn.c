#include "runner/loop/conn.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "runner/loop/conn_internal.h"

#define READS_PER_ROUND 4
#define WRITE_PER_ROUND ((size_t)1 << 20)     /* then let others have the loop */
#define DEAF_NS         ((int64_t)5000000000) /* for the peer's last words */

/* ---- the end ---- */

static void
release(struct conn *c)
{
    mux_free(c->mux);
    free(c);
}

/* Let go of everything outside; the memory stays. */
static void
shut(struct conn *c)
{
    if (!c->ended) {
        c->ended = true;
        loop_task_cancel(c->loop, &c->round);
        timer_free(c->tick);
        c->tick = NULL;
        c->io->close(c);
    }
}

static bool
leave(struct conn *c)
{
    c->busy--;
    if (!c->freed) {
        return !c->ended;
    }
    if (c->busy == 0) {
        release(c);
    }
    return false;
}

static void
end(struct conn *c, const struct err *why)
{
    c->has_why = why != NULL;
    if (why != NULL) {
        c->why = *why;
    }
    shut(c);
    c->busy++;
    mux_close(c->mux, why);
    if (!c->freed && c->on_closed != NULL) {
        c->on_closed(c->ctx, c, conn_why(c));
    }
    (void)leave(c);
}

void
conn_free(struct conn *c)
{
    if (c == NULL || c->freed) {
        return;
    }
    shut(c);
    mux_close(c->mux, NULL);
    c->freed = true;
    if (c->busy == 0) {
        release(c);
    }
}

/* ---- writing ---- */

/* One batch; false when there is no more to do now. */
static bool
write_some(struct conn *c, size_t *total, struct err *e)
{
    struct iovec iov[MUX_IOV_MAX];
    int n_iov = mux_output(c->mux, iov, MUX_IOV_MAX, clock_boot_ns());
    ssize_t n;

    if (n_iov == 0 || c->ended) {
        c->blocked = false;
        return false;
    }
    n = c->io->write(c, iov, n_iov, e);
    if (n == CONN_AGAIN) {
        c->blocked = true;
        return false;
    }
    if (n == CONN_ERROR) {
        /* The peer may have said why before it went: read on for a while. */
        c->deaf = true;
        c->give_up_ns = clock_boot_ns() + DEAF_NS;
        c->why = *e;
        return false;
    }
    mux_written(c->mux, (size_t)n);
    c->bytes_out += (uint64_t)n;
    *total += (size_t)n;
    c->blocked = false;
    return true;
}

static void
write_all(struct conn *c)
{
    struct err e;
    size_t total = 0;

    while (!c->deaf && total < WRITE_PER_ROUND && write_some(c, &total, &e)) {
    }
}

/* The connection failed: a last try to tell the peer, then the end. */
static void
fail(struct conn *c, const struct err *why)
{
    struct err copy = *why;

    c->busy++;
    write_all(c);
    if (leave(c)) {
        end(c, &copy);
    }
}

/* ---- time ---- */

static void
set_timer(struct conn *c)
{
    int64_t at = mux_next_tick_ns(c->mux);

    if ((c->finishing || c->deaf) && c->give_up_ns < at) {
        at = c->give_up_ns;
    }
    /* Set to an earlier time it fires for nothing once, and is then set right. */
    if (at != INT64_MAX && (at < c->tick_at_ns || !timer_is_set(c->tick))) {
        c->tick_at_ns = at;
        timer_at(c->tick, at);
    }
}

static void
on_tick(void *ctx)
{
    struct conn *c = ctx;
    int64_t now = clock_boot_ns();
    struct err e;
    int rc;

    c->tick_at_ns = INT64_MAX;
    if (c->finishing && now >= c->give_up_ns) {
        end(c, c->has_finish_why ? &c->finish_why : NULL);
        return;
    }
    if (c->deaf && now >= c->give_up_ns) {
        e = c->why;
        end(c, &e);
        return;
    }
    c->busy++;
    rc = mux_tick(c->mux, now, &e);
    if (!leave(c)) {
        return;
    }
    if (rc == -1) {
        fail(c, &e);
        return;
    }
    set_timer(c);
}

/* ---- rounds ---- */

static void
on_round(void *ctx)
{
    struct conn *c = ctx;
    struct err why;

    c->busy++;
    write_all(c);
    if (!leave(c)) {
        return;
    }
    if (!c->finishing && mux_is_over(c->mux, &why)) {
        end(c, why.code == ERR_NONE ? NULL : &why);
        return;
    }
    if (c->finishing && (c->deaf || !mux_has_output(c->mux))) {
        end(c, c->has_finish_why ? &c->finish_why : NULL);
        return;
    }
    if (!c->deaf && !c->blocked && mux_has_output(c->mux)) {
        loop_task_queue(c->loop, &c->round); /* the rest after others had their turn */
    }
    c->io->want(c, !mux_congested(c->mux), c->blocked && !c->deaf);
    set_timer(c);
}

static void
on_output(void *ctx)
{
    struct conn *c = ctx;

    loop_task_queue(c->loop, &c->round);
}

void
conn_writable(struct conn *c)
{
    on_round(c);
}

static void
on_end_of_input(struct conn *c)
{
    struct err e;

    if (mux_ended(c->mux, &e) == -1) {
        end(c, &e);
    } else {
        end(c, NULL);
    }
}

/* What the mux says after it was fed; false: the connection is over. */
static bool
go_on(struct conn *c, int rc, const struct err *e)
{
    struct err why;

    if (rc == -1) {
        fail(c, e);
        return false;
    }
    if (mux_is_over(c->mux, &why)) {
        end(c, why.code == ERR_NONE ? NULL : &why);
        return false;
    }
    return true;
}

/* Read once. false: no more now, or c is no more. */
static bool
read_some(struct conn *c)
{
    struct err e;
    size_t room;
    uint8_t *to = mux_room(c->mux, &room);
    ssize_t n = c->io->read(c, to, room, &e);
    int rc;

    if (n == CONN_AGAIN) {
        return false;
    }
    if (n == 0) {
        on_end_of_input(c);
        return false;
    }
    if (n == CONN_ERROR) {
        end(c, &e);
        return false;
    }
    c->bytes_in += (uint64_t)n;
    c->busy++;
    rc = mux_filled(c->mux, (size_t)n, clock_boot_ns(), &e);
    if (!leave(c)) {
        return false;
    }
    /* Less than asked for: that was all, no need to be told so by another call. */
    return go_on(c, rc, &e) && (size_t)n == room && !mux_congested(c->mux);
}

void
conn_readable(struct conn *c)
{
    /* There is always more to set up than to read: acks, timers, reading on. */
    loop_task_queue(c->loop, &c->round);
    for (int i = 0; i < READS_PER_ROUND && read_some(c); i++) {
    }
}

/* ---- life ---- */

struct conn *
conn_make(struct loop *l, const struct conn_io *io, const struct conn_options *o)
{
    struct conn *c = xcalloc(1, sizeof *c);

    c->loop = l;
    c->io = io;
    c->on_closed = o->on_closed;
    c->ctx = o->ctx;
    c->in_fd = c->out_fd = -1;
    c->tick_at_ns = INT64_MAX;
    c->round = (struct loop_task){.fn = on_round, .ctx = c};
    c->tick = timer_new(l, on_tick, c);
    timer_set_idle(c->tick, true);
    c->mux = mux_new(&o->mux, clock_boot_ns());
    mux_on_output(c->mux, on_output, c);
    loop_task_queue(l, &c->round);
    return c;
}

void
conn_finish(struct conn *c, const struct err *why, const char *hint, int64_t timeout_ns)
{
    if (c->ended || c->finishing) {
        return;
    }
    c->finishing = true;
    c->give_up_ns = clock_boot_ns() + timeout_ns;
    c->has_finish_why = why != NULL;
    if (why != NULL) {
        c->finish_why = *why;
    }
    mux_goaway(c->mux, why, hint);
    loop_task_queue(c->loop, &c->round);
}

/* ---- looking ---- */

struct mux *
conn_mux(struct conn *c)
{
    return c->ended ? NULL : c->mux;
}

struct loop *
conn_loop(struct conn *c)
{
    return c->loop;
}

bool
conn_is_open(const struct conn *c)
{
    return !c->ended;
}

bool
conn_is_ready(const struct conn *c)
{
    return mux_peer(c->mux) != NULL && mux_proto(c->mux) != 0;
}

const struct err *
conn_why(const struct conn *c)
{
    return c->has_why ? &c->why : NULL;
}

uint64_t
conn_bytes_in(const struct conn *c)
{
    return c->bytes_in;
}

uint64_t
conn_bytes_out(const struct conn *c)
{
    return c->bytes_out;
}

static bool
ready_or_over(void *ctx)
{
    const struct conn *c = ctx;

    return c->ended || conn_is_ready(c);
}

int
conn_wait_ready(struct conn *c, int64_t timeout_ns, struct err *e)
{
    if (!loop_run_until(c->loop, ready_or_over, c, timeout_ns)) {
        return err_set(e, ERR_LINK, "the peer did not introduce itself in time");
    }
    if (!c->ended) {
        return 0;
    }
    if (c->has_why) {
        *e = c->why;
        return -1;
    }
    return err_set(e, ERR_LINK, "the peer hung up");
}
