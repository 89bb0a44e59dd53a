#include <string.h>

#include "runner/loop/conn_internal.h"

/* A connection over two queues to the thread of a transport. */

static ssize_t
queue_in(struct conn *c, void *to, size_t n, struct err *e)
{
    struct iovec iov[2];
    int n_iov = queue_data(c->in_queue, iov);
    size_t got = 0;
    bool failed = false;

    if (n_iov == 0) {
        if (!queue_ended(c->in_queue, &failed, e)) {
            return CONN_AGAIN;
        }
        return failed ? CONN_ERROR : 0;
    }
    for (int i = 0; i < n_iov && got < n; i++) {
        size_t take = iov[i].iov_len < n - got ? iov[i].iov_len : n - got;

        memcpy((uint8_t *)to + got, iov[i].iov_base, take);
        got += take;
    }
    queue_used(c->in_queue, got);
    return (ssize_t)got;
}

static ssize_t
queue_out(struct conn *c, const struct iovec *iov, int n, struct err *e)
{
    size_t put = 0;

    if (queue_reader_gone(c->out_queue)) {
        err_set(e, ERR_LINK, "the connection was cut");
        return CONN_ERROR;
    }
    for (int i = 0; i < n; i++) {
        size_t took = queue_write(c->out_queue, iov[i].iov_base, iov[i].iov_len);

        put += took;
        if (took < iov[i].iov_len) {
            break;
        }
    }
    return put == 0 ? CONN_AGAIN : (ssize_t)put;
}

static void
queue_want(struct conn *c, bool readable, bool writable)
{
    (void)writable; /* the queues wake us by themselves when they were full */
    if (readable) {
        /* Told to stop before all was read, we would not be woken for the rest. */
        struct iovec iov[2];
        struct err e;
        bool failed;

        if (queue_data(c->in_queue, iov) > 0 || queue_ended(c->in_queue, &failed, &e)) {
            waker_wake(c->waker);
        }
    }
}

static void
queue_shut(struct conn *c)
{
    if (c->in_queue != NULL) {
        queue_abandon(c->in_queue);
        queue_close(c->out_queue, NULL);
        c->in_queue = c->out_queue = NULL;
    }
    waker_free(c->waker);
    c->waker = NULL;
}

const struct conn_io conn_queue_io = {
    .read = queue_in, .write = queue_out, .want = queue_want, .close = queue_shut};

static void
wake(void *ctx)
{
    waker_wake(ctx);
}

static void
on_woken(void *ctx)
{
    struct conn *c = ctx;

    /* Room or bytes: the round after reading looks at both. */
    if (mux_congested(c->mux)) {
        conn_writable(c);
    } else {
        conn_readable(c);
    }
}

int
conn_new_queues(struct conn **out, struct loop *l, struct queue *in, struct queue *out_q,
                const struct conn_options *o, struct err *e)
{
    struct conn *c = conn_make(l, &conn_queue_io, o);

    c->in_queue = in;
    c->out_queue = out_q;
    if (waker_new(&c->waker, l, on_woken, c, e) == -1) {
        conn_free(c);
        return -1;
    }
    queue_on_data(in, wake, c->waker);
    queue_on_room(out_q, wake, c->waker);
    waker_wake(c->waker); /* bytes may be there already */
    *out = c;
    return 0;
}
