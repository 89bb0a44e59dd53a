#include "runner/loop/queue.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/buf.h"

/*
 * A ring with two positions that only grow, each written by one side. A side that
 * finds nothing to do says so (waits), looks once more, and leaves; the other side,
 * after it moved its position, finds the note and wakes it. Both use sequentially
 * consistent operations there, so one of them always sees the other's.
 */

/* One side's wake function; the lock keeps it from being called once its owner is gone.
 */
struct bell {
    pthread_mutex_t lock;
    void (*wake)(void *ctx);
    void *ctx;
    atomic_bool waits;
};

struct queue {
    uint8_t *data;
    size_t cap;            /* a power of two */
    _Atomic size_t in;     /* bytes ever written */
    _Atomic size_t out;    /* bytes ever read */
    atomic_bool closed;    /* by the writer; why and failed are set before */
    atomic_bool abandoned; /* by the reader */
    bool failed;
    struct err why;
    struct bell writer;
    struct bell reader;
    atomic_int sides;
};

struct queue *
queue_new(size_t cap_bytes)
{
    struct queue *q = xcalloc(1, sizeof *q);

    q->cap = 4096;
    while (q->cap < cap_bytes) {
        q->cap *= 2;
    }
    q->data = xmalloc(q->cap);
    (void)pthread_mutex_init(&q->writer.lock, NULL);
    (void)pthread_mutex_init(&q->reader.lock, NULL);
    atomic_store(&q->sides, 2);
    return q;
}

static void
let_go(struct queue *q)
{
    if (atomic_fetch_sub(&q->sides, 1) == 1) {
        (void)pthread_mutex_destroy(&q->writer.lock);
        (void)pthread_mutex_destroy(&q->reader.lock);
        free(q->data);
        free(q);
    }
}

void
queue_on_room(struct queue *q, void (*wake)(void *ctx), void *ctx)
{
    q->writer.wake = wake;
    q->writer.ctx = ctx;
}

void
queue_on_data(struct queue *q, void (*wake)(void *ctx), void *ctx)
{
    q->reader.wake = wake;
    q->reader.ctx = ctx;
}

static void
ring_bell(struct bell *b)
{
    (void)pthread_mutex_lock(&b->lock);
    if (b->wake != NULL) {
        b->wake(b->ctx);
    }
    (void)pthread_mutex_unlock(&b->lock);
}

static void
ring_if_waiting(struct bell *b)
{
    if (atomic_load(&b->waits) && atomic_exchange(&b->waits, false)) {
        ring_bell(b);
    }
}

static void
unhook(struct bell *b)
{
    (void)pthread_mutex_lock(&b->lock);
    b->wake = NULL;
    (void)pthread_mutex_unlock(&b->lock);
}

/* n bytes of the ring from position at, in up to two pieces. */
static int
slices(struct queue *q, size_t at, size_t n, struct iovec iov[2])
{
    size_t from = at & (q->cap - 1);
    size_t first = q->cap - from < n ? q->cap - from : n;

    if (n == 0) {
        return 0;
    }
    iov[0] = (struct iovec){q->data + from, first};
    if (first == n) {
        return 1;
    }
    iov[1] = (struct iovec){q->data, n - first};
    return 2;
}

/* ---- the writer ---- */

static size_t
room_bytes(struct queue *q)
{
    return q->cap - (atomic_load(&q->in) - atomic_load(&q->out));
}

int
queue_room(struct queue *q, struct iovec iov[2])
{
    size_t n = room_bytes(q);

    if (atomic_load(&q->abandoned)) {
        return 0;
    }
    if (n == 0) {
        atomic_store(&q->writer.waits, true);
        n = room_bytes(q);
        if (n == 0) {
            return 0;
        }
        atomic_store(&q->writer.waits, false);
    }
    return slices(q, atomic_load(&q->in), n, iov);
}

void
queue_filled(struct queue *q, size_t n)
{
    if (n > 0) {
        assert(n <= room_bytes(q));
        atomic_fetch_add(&q->in, n);
        ring_if_waiting(&q->reader);
    }
}

size_t
queue_write(struct queue *q, const void *data, size_t n)
{
    size_t done = 0;

    while (done < n) {
        struct iovec iov[2];
        int n_iov = queue_room(q, iov);
        size_t put = 0;

        if (n_iov == 0) {
            break;
        }
        for (int i = 0; i < n_iov && done + put < n; i++) {
            size_t left = n - done - put;
            size_t m = iov[i].iov_len < left ? iov[i].iov_len : left;

            memcpy(iov[i].iov_base, (const uint8_t *)data + done + put, m);
            put += m;
        }
        queue_filled(q, put);
        done += put;
    }
    return done;
}

void
queue_close(struct queue *q, const struct err *why)
{
    if (why != NULL) {
        q->failed = true;
        q->why = *why;
    }
    unhook(&q->writer);
    atomic_store(&q->closed, true);
    ring_bell(&q->reader);
    let_go(q);
}

bool
queue_reader_gone(const struct queue *q)
{
    return atomic_load(&q->abandoned);
}

/* ---- the reader ---- */

static size_t
data_bytes(struct queue *q)
{
    return atomic_load(&q->in) - atomic_load(&q->out);
}

int
queue_data(struct queue *q, struct iovec iov[2])
{
    size_t n = data_bytes(q);

    if (n == 0) {
        atomic_store(&q->reader.waits, true);
        n = data_bytes(q);
        if (n == 0) {
            return 0;
        }
        atomic_store(&q->reader.waits, false);
    }
    return slices(q, atomic_load(&q->out), n, iov);
}

void
queue_used(struct queue *q, size_t n)
{
    if (n > 0) {
        assert(n <= data_bytes(q));
        atomic_fetch_add(&q->out, n);
        ring_if_waiting(&q->writer);
    }
}

bool
queue_ended(struct queue *q, bool *failed, struct err *why)
{
    /* closed first: bytes written before it are then seen. */
    if (!atomic_load(&q->closed) || data_bytes(q) > 0) {
        return false;
    }
    *failed = q->failed;
    if (q->failed) {
        *why = q->why;
    }
    return true;
}

void
queue_abandon(struct queue *q)
{
    unhook(&q->reader);
    atomic_store(&q->abandoned, true);
    ring_bell(&q->writer);
    let_go(q);
}

/* ---- threads without a loop ---- */

int
queue_eventfd_new(int *fd, struct err *e)
{
    int made = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (made == -1) {
        return err_set_sys(e, errno, "cannot make an eventfd");
    }
    *fd = made;
    return 0;
}

void
queue_eventfd_wake(void *fd_ptr)
{
    uint64_t one = 1;

    /* Fails only when it is so often rung already that it cannot be missed. */
    (void)!write(*(const int *)fd_ptr, &one, sizeof one);
}

void
queue_eventfd_clear(int fd)
{
    uint64_t n;

    (void)!read(fd, &n, sizeof n);
}
