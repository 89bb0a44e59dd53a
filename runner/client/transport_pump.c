#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "runner/client/transport_libssh.h"

/*
 * Bytes between a libssh channel and the socket whose other end the loop's conn has.
 * Back-pressure both ways: from the host nothing is taken off the channel while the
 * socket is full, so its window closes; to the host nothing is taken off the socket while
 * the window is closed or libssh still holds bytes it could not send.
 */

#define STDERR_STEP 1024
#define ROUNDS_MAX  16
#define CLOSE_MS    1000 /* after a cancel, for EOF and close to get out */

struct side {
    uint8_t *data; /* TRANSPORT_IO_BYTES */
    size_t at;
    size_t len;
    bool ended; /* no more comes from its source */
    bool told;  /* and its destination knows */
};

struct pump {
    struct side in;  /* host to loop */
    struct side out; /* loop to host */
    bool reader_gone;
    bool more; /* host to loop: there is more to do at once */
};

int
lib_process(struct lib *l)
{
    /* Looks at the socket only while stderr has nothing buffered: so drain that first. */
    int rc = ssh_channel_poll(l->ch, 1);

    if (rc == SSH_EOF) {
        rc = ssh_channel_get_exit_status(l->ch) == SSH_ERROR && !l->exited &&
                     ssh_is_connected(l->s) == 0
                 ? SSH_ERROR
                 : 0;
    }
    return rc == SSH_ERROR ? -1 : 0;
}

void
lib_drain_stderr(struct transport *t, struct lib *l)
{
    char data[STDERR_STEP];
    int n;

    do {
        n = ssh_channel_read_nonblocking(l->ch, data, sizeof data, 1);
        if (n > 0) {
            transport_tail_add(t, data, (size_t)n);
        }
    } while (n == (int)sizeof data);
}

static bool
can_send(struct lib *l)
{
    return ssh_channel_window_size(l->ch) > 0 &&
           (ssh_get_status(l->s) & SSH_WRITE_PENDING) == 0;
}

/* Give what we hold to the loop. False: it takes no more now. */
static bool
give(struct lib *l, struct pump *p)
{
    struct side *s = &p->in;

    if (l->pump_fd == -1 || p->reader_gone) {
        s->len = 0; /* nobody wants it, but the window must stay open for the end */
    }
    while (s->len > 0) {
        ssize_t n =
            send(l->pump_fd, s->data + s->at, s->len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n == -1 && errno == EINTR) {
            continue;
        }
        if (n == -1 && errno == EAGAIN) {
            return false;
        }
        if (n == -1) {
            p->reader_gone = true;
            s->len = 0;
            return true;
        }
        s->at += (size_t)n;
        s->len -= (size_t)n;
    }
    return true;
}

/*
 * Until nothing is buffered here or in the channel, or the loop takes no more. To stop
 * earlier would mean to wait for a socket that may stay silent. Bounded, as the other
 * direction wants its turn: p->more then says so.
 */
static void
host_to_loop(struct lib *l, struct pump *p)
{
    struct side *s = &p->in;

    p->more = true;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        int n;

        if (!give(l, p) || s->ended) {
            p->more = false;
            break;
        }
        n = ssh_channel_read_nonblocking(l->ch, s->data, TRANSPORT_IO_BYTES, 0);
        s->at = 0;
        s->len = n > 0 ? (size_t)n : 0;
        s->ended = n <= 0 && (n == SSH_EOF || ssh_channel_is_eof(l->ch) != 0);
        if (n <= 0 && !s->ended) {
            p->more = false;
            break;
        }
    }
    if (s->ended && s->len == 0 && !s->told) {
        s->told = true;
        if (l->pump_fd != -1) {
            (void)shutdown(l->pump_fd, SHUT_WR);
        }
    }
}

/* -1: the channel takes no more. */
static int
loop_to_host(struct lib *l, struct pump *p)
{
    struct side *s = &p->out;

    if (s->len == 0 && !s->ended && l->pump_fd != -1 && can_send(l)) {
        ssize_t n = recv(l->pump_fd, s->data, TRANSPORT_IO_BYTES, MSG_DONTWAIT);

        s->at = 0;
        s->len = n > 0 ? (size_t)n : 0;
        s->ended = n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR);
    }
    while (s->len > 0 && can_send(l)) {
        uint32_t window = ssh_channel_window_size(l->ch);
        int n = ssh_channel_write(l->ch, s->data + s->at,
                                  s->len < window ? (uint32_t)s->len : window);

        if (n < 0) {
            return -1;
        }
        s->at += (size_t)n;
        s->len -= (size_t)n;
    }
    if (s->ended && s->len == 0 && !s->told) {
        s->told = true;
        (void)ssh_channel_send_eof(l->ch);
    }
    return 0;
}

static bool
session_gone(struct lib *l)
{
    return ssh_is_connected(l->s) == 0 ||
           (ssh_get_status(l->s) & (SSH_CLOSED | SSH_CLOSED_ERROR)) != 0;
}

/* Wait for something to do. False: cancelled, or nothing came in time. */
static bool
wait_work(struct transport *t, struct lib *l, const struct pump *p, int64_t end_ns)
{
    bool flush = (ssh_get_poll_flags(l->s) & SSH_WRITE_PENDING) != 0;
    bool take = p->out.len == 0 && !p->out.ended && can_send(l);
    bool hand = p->in.len > 0 && !p->reader_gone;
    struct pollfd v[3] = {
        {.fd = l->sock, .events = (short)(POLLIN | (flush ? POLLOUT : 0))},
        {.fd = take || hand ? l->pump_fd : -1,
         .events = (short)((take ? POLLIN : 0) | (hand ? POLLOUT : 0))},
        {.fd = t->cancel_fd, .events = POLLIN},
    };

    int n;

    do {
        n = poll(v, 3, p->more ? 0 : end_ns < 0 ? -1 : transport_poll_left(end_ns));
    } while (n == -1 && errno == EINTR);
    return (n > 0 || p->more) && v[2].revents == 0;
}

/* The command sees EOF and its channel close; what of that gets out, gets out. */
static void
close_early(struct lib *l)
{
    int64_t end_ns = transport_deadline(CLOSE_MS);

    (void)ssh_channel_send_eof(l->ch);
    (void)ssh_channel_close(l->ch);
    while ((ssh_get_status(l->s) & SSH_WRITE_PENDING) != 0 && !session_gone(l) &&
           clock_boot_ns() < end_ns) {
        struct pollfd v = {.fd = l->sock, .events = POLLOUT};

        (void)poll(&v, 1, transport_poll_left(end_ns));
        (void)ssh_blocking_flush(l->s, 0);
    }
}

static void
report(struct transport *t, struct lib *l, bool cancelled, struct transport_status *s)
{
    if (l->exited && l->exit_signal >= 0) {
        s->end = TRANSPORT_END_SIGNAL;
        s->code = l->exit_signal;
    } else if (l->exited) {
        s->end = TRANSPORT_END_EXIT;
        s->code = l->exit_code;
    } else {
        s->end = TRANSPORT_END_CUT;
        if (cancelled) {
            (void)failure_set(&s->cut, CAUSE_CANCELLED, _("cancelled"));
        } else {
            (void)lib_session_failed(t, l, _("running"), &s->cut);
            s->cut.cause = CAUSE_CUT;
        }
    }
}

void
lib_pump(struct transport *t, struct lib *l, struct transport_status *s)
{
    struct pump p = {.in.data = xmalloc(TRANSPORT_IO_BYTES),
                     .out.data = xmalloc(TRANSPORT_IO_BYTES)};
    /* Not handed out: we are here because its output has ended, so it must end too. */
    int64_t end_ns = l->pump_fd != -1 ? -1 : transport_deadline(TRANSPORT_END_MS);
    bool cancelled = false;

    p.out.ended = l->pump_fd == -1;
    p.out.told = p.out.ended;
    for (;;) {
        uint64_t seen = l->raw.in_bytes;

        lib_drain_stderr(t, l);
        host_to_loop(l, &p);
        if (loop_to_host(l, &p) != 0 || session_gone(l)) {
            host_to_loop(l, &p);
            break;
        }
        if (p.in.told && (l->exited || ssh_channel_is_closed(l->ch) != 0)) {
            break;
        }
        p.more = p.more || l->raw.in_bytes != seen;
        if (!wait_work(t, l, &p, end_ns)) {
            cancelled = true;
            close_early(l);
            break;
        }
        if (lib_process(l) != 0) {
            lib_drain_stderr(t, l);
            host_to_loop(l, &p);
            break;
        }
    }
    report(t, l, cancelled, s);
    (void)fd_close(&l->pump_fd);
    free(p.in.data);
    free(p.out.data);
}
