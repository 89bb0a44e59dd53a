#include "runner/host/bridge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

struct bridge {
    struct loop *loop;
    int rd_fd;
    int wr_fd;
    struct watch *rd;
    struct watch *wr;
    struct channel *channel;
    struct bridge_events ev;
    void *ctx;
};

static void
close_read(struct bridge *b)
{
    watch_free(b->rd);
    b->rd = NULL;
    (void)fd_close(&b->rd_fd);
}

static void
close_write(struct bridge *b)
{
    watch_free(b->wr);
    b->wr = NULL;
    (void)fd_close(&b->wr_fd);
}

static void
read_ended(struct bridge *b)
{
    close_read(b);
    if (b->ev.ended != NULL) {
        b->ev.ended(b->ctx);
    }
}

/* Move what is there into the channel's buffer, as far as it has room. */
static void
readable(void *ctx, int events)
{
    struct bridge *b = ctx;

    (void)events;
    for (;;) {
        size_t room;
        uint8_t *to = channel_send_room(b->channel, &room);
        ssize_t n;

        if (room == 0) {
            watch_arm(b->rd, WATCH_NONE); /* on_writable goes on */
            return;
        }
        n = read(b->rd_fd, to, room);
        if (n > 0) {
            channel_send_filled(b->channel, (size_t)n);
        } else if (n == -1 && errno == EINTR) {
            continue;
        } else if (n == -1 && errno == EAGAIN) {
            watch_arm(b->rd, WATCH_READ);
            return;
        } else { /* end, or EIO of a terminal whose last user is gone */
            read_ended(b);
            return;
        }
    }
}

static size_t
give(struct bridge *b, const uint8_t *data, size_t n)
{
    size_t done = 0;

    while (done < n && b->wr_fd != -1) {
        ssize_t k = write(b->wr_fd, data + done, n - done);

        if (k > 0) {
            done += (size_t)k;
        } else if (errno == EAGAIN) {
            watch_arm(b->wr, WATCH_WRITE);
            return done;
        } else if (errno != EINTR) {
            close_write(b);
        }
    }
    return n; /* taken, or nobody is there to take it */
}

static void
writable(void *ctx, int events)
{
    struct bridge *b = ctx;
    const uint8_t *data;
    size_t len;

    (void)events;
    watch_arm(b->wr, WATCH_NONE);
    while (b->channel != NULL && (data = channel_rx(b->channel, &len)) != NULL) {
        size_t n = give(b, data, len);

        channel_rx_take(b->channel, n);
        if (n < len) {
            return;
        }
    }
}

/* ---- the channel's events ---- */

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    (void)c;
    return give(ctx, data, n);
}

static void
on_eof(void *ctx, struct channel *c)
{
    struct bridge *b = ctx;

    (void)c;
    if (b->ev.peer_eof != NULL) {
        b->ev.peer_eof(b->ctx);
    } else {
        close_write(b);
    }
}

static void
on_note(void *ctx, struct channel *c, int kind, uint64_t at, const uint8_t *data,
        size_t n)
{
    struct bridge *b = ctx;

    (void)c;
    (void)at;
    if (b->ev.note != NULL) {
        b->ev.note(b->ctx, kind, data, n);
    }
}

static void
on_writable(void *ctx, struct channel *c)
{
    struct bridge *b = ctx;

    (void)c;
    if (b->rd != NULL) {
        watch_arm(b->rd, WATCH_READ);
    }
}

static void
on_detached(void *ctx, struct channel *c, const struct err *why)
{
    struct bridge *b = ctx;

    (void)c;
    (void)why;
    if (b->ev.detached != NULL) {
        b->ev.detached(b->ctx);
    }
}

static void
on_over(struct bridge *b)
{
    if (b->ev.over != NULL) {
        b->ev.over(b->ctx);
    }
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    (void)c;
    (void)why;
    on_over(ctx);
}

static void
on_done(void *ctx, struct channel *c)
{
    (void)c;
    on_over(ctx);
}

/* ---- life ---- */

int
bridge_new(struct bridge **out, struct loop *l, int rd_fd, int wr_fd,
           const struct bridge_events *ev, void *ctx, struct err *e)
{
    struct bridge *b = xcalloc(1, sizeof *b);

    b->loop = l;
    b->rd_fd = rd_fd;
    b->wr_fd = wr_fd;
    b->ev = *ev;
    b->ctx = ctx;
    if ((rd_fd != -1 && watch_new(&b->rd, l, rd_fd, readable, b, e) != 0) ||
        (wr_fd != -1 && watch_new(&b->wr, l, wr_fd, writable, b, e) != 0)) {
        bridge_free(b, NULL);
        return -1;
    }
    *out = b;
    return 0;
}

void
bridge_free(struct bridge *b, const struct err *why)
{
    if (b == NULL) {
        return;
    }
    close_read(b);
    close_write(b);
    if (b->channel != NULL) {
        if (why != NULL && !channel_is_reset(b->channel)) {
            channel_reset(b->channel, why);
        }
        channel_free(b->channel);
    }
    free(b);
}

int
bridge_accept(struct bridge *b, struct mux *m, const struct mux_offer *offer,
              struct err *e)
{
    static const struct channel_events events = {.on_data = on_data,
                                                 .on_eof = on_eof,
                                                 .on_note = on_note,
                                                 .on_writable = on_writable,
                                                 .on_detached = on_detached,
                                                 .on_reset = on_reset,
                                                 .on_done = on_done};
    struct channel_options o = {
        .cls = offer->cls, .token = offer->token, .events = &events, .ctx = b};
    bool fresh = b->channel == NULL;

    if (fresh) {
        b->channel = channel_new(&o);
    } else if (memcmp(channel_token(b->channel), offer->token, CHANNEL_TOKEN_LEN) != 0) {
        err_set(e, ERR_EXISTS, "this channel belongs to another opener");
        mux_refuse(m, offer->stream, e, NULL);
        return -1;
    }
    if (mux_accept(m, offer->stream, b->channel, NULL, e) != 0) {
        if (fresh) {
            channel_free(b->channel);
            b->channel = NULL;
        }
        return -1;
    }
    if (b->ev.attached != NULL) {
        b->ev.attached(b->ctx);
    }
    if (b->rd != NULL) {
        watch_arm(b->rd, WATCH_READ);
    } else {
        channel_send_eof(b->channel);
    }
    return 0;
}

void
bridge_end_reading(struct bridge *b)
{
    if (b->rd == NULL) {
        return;
    }
    if (b->channel != NULL) {
        readable(b, WATCH_READ);
    }
    if (b->rd != NULL) {
        read_ended(b);
    }
}

int
bridge_send_note(struct bridge *b, int kind, const void *data, size_t n, struct err *e)
{
    if (b->channel == NULL) {
        return err_set(e, ERR_LINK, "nobody is there");
    }
    return channel_send_note(b->channel, kind, true, data, n, e);
}

void
bridge_send_eof(struct bridge *b)
{
    if (b->channel != NULL) {
        channel_send_eof(b->channel);
    }
}

int
bridge_write(struct bridge *b, const void *data, size_t n)
{
    return b->wr_fd != -1 && write(b->wr_fd, data, n) == (ssize_t)n ? 0 : -1;
}

void
bridge_shutdown_write(struct bridge *b)
{
    if (b->wr_fd != -1) {
        (void)shutdown(b->wr_fd, SHUT_WR);
        close_write(b);
    }
}
