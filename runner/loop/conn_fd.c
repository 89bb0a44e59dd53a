#include <errno.h>
#include <unistd.h>

#include "base/file.h"
#include "runner/loop/conn_internal.h"

/* A connection over one or two descriptors. */

static bool
is_hang_up(int errnum)
{
    return errnum == EPIPE || errnum == ECONNRESET || errnum == EIO || errnum == ENOTCONN;
}

static ssize_t
fd_in(struct conn *c, void *to, size_t n, struct err *e)
{
    ssize_t got;

    do {
        got = read(c->in_fd, to, n);
    } while (got == -1 && errno == EINTR);
    if (got >= 0) {
        return got;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return CONN_AGAIN;
    }
    if (is_hang_up(errno)) {
        return 0;
    }
    err_set(e, ERR_LINK, "reading from the connection: error %d", errno);
    return CONN_ERROR;
}

static ssize_t
fd_out(struct conn *c, const struct iovec *iov, int n, struct err *e)
{
    ssize_t put;

    do {
        put = writev(c->out_fd, iov, n);
    } while (put == -1 && errno == EINTR);
    if (put >= 0) {
        return put;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return CONN_AGAIN;
    }
    if (is_hang_up(errno)) {
        err_set(e, ERR_LINK, "the connection was cut");
    } else {
        err_set(e, ERR_LINK, "writing to the connection: error %d", errno);
    }
    return CONN_ERROR;
}

static void
fd_want(struct conn *c, bool readable, bool writable)
{
    int in = readable ? WATCH_READ : WATCH_NONE;
    int out = writable ? WATCH_WRITE : WATCH_NONE;

    if (c->out_watch == NULL) {
        watch_arm(c->in_watch, in | out);
    } else {
        watch_arm(c->in_watch, in);
        watch_arm(c->out_watch, out);
    }
}

static void
fd_shut(struct conn *c)
{
    watch_free(c->in_watch);
    watch_free(c->out_watch);
    c->in_watch = c->out_watch = NULL;
    if (c->out_fd == c->in_fd) {
        c->out_fd = -1;
    }
    (void)fd_close(&c->in_fd);
    (void)fd_close(&c->out_fd);
}

const struct conn_io conn_fd_io = {
    .read = fd_in, .write = fd_out, .want = fd_want, .close = fd_shut};

static void
on_ready(void *ctx, int events)
{
    struct conn *c = ctx;

    /* After reading c may be gone, so the other event waits: it is reported again. */
    if ((events & WATCH_READ) != 0) {
        conn_readable(c);
    } else if ((events & WATCH_WRITE) != 0) {
        conn_writable(c);
    }
}

int
conn_new(struct conn **out, struct loop *l, int in_fd, int out_fd,
         const struct conn_options *o, struct err *e)
{
    struct conn *c = conn_make(l, &conn_fd_io, o);

    c->in_fd = in_fd;
    c->out_fd = out_fd;
    if (watch_new(&c->in_watch, l, in_fd, on_ready, c, e) == -1 ||
        (out_fd != in_fd && watch_new(&c->out_watch, l, out_fd, on_ready, c, e) == -1)) {
        conn_free(c);
        return -1;
    }
    watch_arm(c->in_watch, WATCH_READ);
    *out = c;
    return 0;
}
