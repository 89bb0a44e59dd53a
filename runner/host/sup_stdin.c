#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/file.h"
#include "runner/host/supervise_internal.h"

#define PTY_EOF "\x04" /* what Ctrl-D sends: the terminal's own end of input */

/*
 * The job's standard input: bytes of one client at a time, at offsets that go on from one
 * client and connection to the next. Only a real end closes it.
 */
struct sup_stdin {
    struct sup *sup;
    int fd; /* -1: not there yet, closed, or the job reads no more */
    bool attached;
    struct watch *watch;
    struct channel *channel; /* of the client that has it, or NULL */
    uint64_t taken;          /* bytes handed to the job */
    bool ended;
};

static void
drop_channel(struct sup_stdin *in, const struct err *why)
{
    struct channel *c = in->channel;

    in->channel = NULL;
    if (c == NULL) {
        return;
    }
    if (why != NULL && !channel_is_reset(c)) {
        channel_reset(c, why);
    }
    channel_free(c);
}

static void
free_channel_later(void *ctx)
{
    channel_free(ctx);
}

static void
close_input(struct sup_stdin *in)
{
    watch_free(in->watch);
    in->watch = NULL;
    (void)fd_close(&in->fd);
}

/* How much of it the job took; what is left waits for the descriptor. */
static size_t
give(struct sup_stdin *in, const uint8_t *data, size_t n)
{
    size_t done = 0;

    if (!in->attached) {
        return 0; /* the command has not started: what is sent waits */
    }
    while (done < n && in->fd != -1) {
        ssize_t k = write(in->fd, data + done, n - done);

        if (k > 0) {
            done += (size_t)k;
        } else if (errno == EAGAIN) {
            watch_arm(in->watch, WATCH_WRITE);
            break;
        } else if (errno != EINTR) {
            close_input(in); /* the job closed its input: the rest is nobody's */
        }
    }
    if (in->fd == -1) {
        done = n;
    }
    in->taken += done;
    return done;
}

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    (void)c;
    return give(ctx, data, n);
}

static void
on_eof(void *ctx, struct channel *c)
{
    struct sup_stdin *in = ctx;

    (void)c;
    in->ended = true;
    if (!in->attached) {
        return;
    }
    if (in->sup->pty_fd == -1) {
        close_input(in);
    } else if (in->fd != -1) {
        (void)!write(in->fd, PTY_EOF, 1);
    }
}

/* Hand over what waits in the channel. */
static void
give_waiting(struct sup_stdin *in)
{
    size_t len;
    const uint8_t *data;

    while (in->channel != NULL && (data = channel_rx(in->channel, &len)) != NULL) {
        size_t n = give(in, data, len);

        channel_rx_take(in->channel, n);
        if (n < len) {
            return;
        }
    }
}

static void
writable(void *ctx, int events)
{
    struct sup_stdin *in = ctx;

    (void)events;
    watch_arm(in->watch, WATCH_NONE);
    give_waiting(in);
}

static void
on_note(void *ctx, struct channel *c, int kind, uint64_t at, const uint8_t *data,
        size_t n)
{
    struct sup_stdin *in = ctx;
    struct sup *s = in->sup;
    struct err e;

    (void)c;
    (void)at;
    if (kind == CHANNEL_NOTE_RESIZE && n == 4 && s->pty_fd != -1) {
        struct winsize size = {.ws_col = get_u16(data), .ws_row = get_u16(data + 2)};

        (void)ioctl(s->pty_fd, TIOCSWINSZ, &size);
    } else if (kind == CHANNEL_NOTE_SIGNAL && n == 1 && data[0] >= 1 && data[0] <= 64 &&
               s->guard != NULL && !s->main_exited &&
               guard_signal(s->guard, SUP_COMMAND_MAIN, data[0], &e) != 0) {
        sup_say(s, "%s", e.msg);
    }
}

static void
on_over(struct sup_stdin *in, struct channel *c)
{
    if (in->channel == c) {
        in->channel = NULL;
    }
    loop_defer(in->sup->loop, free_channel_later, c); /* not from its own callback */
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    (void)why;
    on_over(ctx, c);
}

static void
on_done(void *ctx, struct channel *c)
{
    on_over(ctx, c);
}

void
sup_stdin_new(struct sup *s)
{
    struct sup_stdin *in = xcalloc(1, sizeof *in);

    in->sup = s;
    in->fd = -1;
    s->in = in;
}

int
sup_stdin_attach(struct sup *s, int fd, struct err *e)
{
    struct sup_stdin *in = s->in;

    if (watch_new(&in->watch, s->loop, fd, writable, in, e) != 0) {
        (void)close(fd);
        return -1;
    }
    in->fd = fd;
    in->attached = true;
    give_waiting(in);
    if (in->ended) {
        on_eof(in, NULL);
    }
    return 0;
}

void
sup_stdin_open(struct sup *s, struct mux *m, const struct mux_offer *offer)
{
    static const struct channel_events events = {.on_data = on_data,
                                                 .on_eof = on_eof,
                                                 .on_note = on_note,
                                                 .on_reset = on_reset,
                                                 .on_done = on_done};
    struct sup_stdin *in = s->in;
    struct channel_options o = {
        .cls = offer->cls, .token = offer->token, .events = &events, .ctx = in};
    struct err e;

    if (in == NULL || in->ended) {
        err_set(&e, ERR_NOT_FOUND, "the job has no standard input (yet)");
        if (in != NULL) {
            err_set(&e, ERR_NOT_FOUND, "the job's standard input was ended");
        }
        mux_refuse(m, offer->stream, &e, NULL);
        return;
    }
    if (in->channel != NULL &&
        memcmp(channel_token(in->channel), offer->token, CHANNEL_TOKEN_LEN) != 0) {
        err_set(&e, ERR_BUSY, "another client has taken over the job's standard input");
        drop_channel(in, &e);
    }
    if (in->channel == NULL) {
        o.recv_start = in->taken;
        o.send_start = 0;
        in->channel = channel_new(&o);
        channel_send_eof(in->channel); /* nothing comes back this way */
    }
    if (mux_accept(m, offer->stream, in->channel, NULL, &e) != 0) {
        sup_say(s, "stdin: %s", e.msg);
    }
}

void
sup_stdin_free(struct sup *s)
{
    struct sup_stdin *in = s->in;
    struct err e;

    if (in == NULL) {
        return;
    }
    err_set(&e, ERR_NOT_FOUND, "the job has ended");
    drop_channel(in, &e);
    close_input(in);
    free(in);
    s->in = NULL;
}
