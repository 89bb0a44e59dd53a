#include "runner/client/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/lang.h"
#include "runner/loop/fdio.h"

/* The descriptor to use for fd: itself if it is a regular file, else a private one. */
static int
own_descriptor(struct fdio *io, int fd, int flags, bool *is_private, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st) == -1) {
        return err_set_sys(e, errno, "cannot use descriptor %d", fd);
    }
    *is_private = !S_ISREG(st.st_mode);
    if (!*is_private) {
        *io = (struct fdio){.fd = fd, .restore_flags = -1};
        return 0;
    }
    return fdio_private(io, fd, flags, e);
}

/* ---- channel → descriptor ---- */

struct sink {
    struct fdio io;
    bool is_private;
    struct watch *watch;
    struct channel *channel; /* that waits for room */
    uint64_t *seen;
    struct sink_events ev;
    bool broken;
    struct lines *lines; /* NULL: bytes as they are */
    struct buf text;     /* of lines, still to be written */
    bool ending, ended;
};

static size_t
write_some(struct sink *s, const uint8_t *data, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t w = write(s->io.fd, data + done, n - done);

        if (w == -1 && errno == EINTR) {
            continue;
        }
        if (w == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return done;
        }
        if (w == -1) {
            struct err why;

            s->broken = true;
            err_set_sys(&why, errno, "%s", _("cannot write the job's output"));
            s->ev.broken(s->ev.ctx, s, &why);
            return n;
        }
        done += (size_t)w;
        if (s->seen != NULL) {
            *s->seen += (uint64_t)w;
        }
    }
    return done;
}

/* Write what lines have made; true: nothing is left of it. */
static bool
flush_text(struct sink *s)
{
    size_t n = s->broken ? s->text.len : write_some(s, s->text.data, s->text.len);

    buf_drop_front(&s->text, n);
    return s->text.len == 0;
}

static size_t
take_lines(struct sink *s, uint64_t offset, const uint8_t *data, size_t n)
{
    size_t done = 0;
    size_t k = 1;

    while (flush_text(s) && k > 0 && done < n) {
        k = lines_take(s->lines, offset + done, data + done, n - done, &s->text);
        done += k;
    }
    return done;
}

/* As much as goes. Less than n: the descriptor is full, or a line has to wait. */
static size_t
take_some(struct sink *s, uint64_t offset, const uint8_t *data, size_t n)
{
    if (s->broken) {
        return n;
    }
    return s->lines != NULL ? take_lines(s, offset, data, n) : write_some(s, data, n);
}

/* Told when there is room, if it is room that is missing. */
static void
wait_for_room(struct sink *s, bool full)
{
    if (s->watch != NULL) {
        watch_arm(s->watch, full ? WATCH_WRITE : WATCH_NONE);
    }
}

static void
try_end(struct sink *s)
{
    if (!s->ending || s->ended) {
        return;
    }
    if (s->lines != NULL && !s->broken) {
        if (!lines_end(s->lines, &s->text)) {
            return; /* sink_go_on comes */
        }
        if (!flush_text(s)) {
            wait_for_room(s, true);
            return;
        }
    }
    s->ended = true;
    s->ev.ended(s->ev.ctx, s);
}

static void
sink_ready(void *ctx, int events)
{
    struct sink *s = ctx;
    size_t len;
    const uint8_t *data;

    (void)events;
    if (!flush_text(s)) {
        return;
    }
    while ((data = channel_rx(s->channel, &len)) != NULL && len > 0) {
        size_t n = take_some(s, channel_recv_next(s->channel), data, len);

        channel_rx_take(s->channel, n);
        if (n < len) {
            wait_for_room(s, s->lines == NULL || s->text.len > 0);
            return;
        }
    }
    wait_for_room(s, s->text.len > 0);
    try_end(s);
}

int
sink_new(struct sink **out, struct loop *l, int fd, uint64_t *seen,
         const struct sink_events *ev, struct err *e)
{
    struct sink *s = xcalloc(1, sizeof *s);

    s->seen = seen;
    s->ev = *ev;
    if (own_descriptor(&s->io, fd, O_WRONLY, &s->is_private, e) != 0) {
        free(s);
        return -1;
    }
    if (s->is_private && watch_new(&s->watch, l, s->io.fd, sink_ready, s, e) != 0) {
        fdio_restore(&s->io);
        free(s);
        return -1;
    }
    *out = s;
    return 0;
}

void
sink_free(struct sink *s)
{
    if (s == NULL) {
        return;
    }
    watch_free(s->watch);
    if (s->is_private) {
        fdio_restore(&s->io);
    }
    buf_free(&s->text);
    free(s);
}

void
sink_set_lines(struct sink *s, struct lines *lines)
{
    s->lines = lines;
}

size_t
sink_take(struct sink *s, struct channel *c, const uint8_t *data, size_t n)
{
    size_t done = take_some(s, channel_recv_next(c), data, n);

    s->channel = c;
    if (s->text.len > 0 || (done < n && s->lines == NULL)) {
        wait_for_room(s, true);
    }
    return done;
}

void
sink_go_on(struct sink *s)
{
    if (s->channel != NULL) {
        sink_ready(s, 0);
    } else {
        try_end(s);
    }
}

void
sink_end(struct sink *s)
{
    s->ending = true;
    try_end(s);
}

void
sink_skip(struct sink *s, uint64_t offset)
{
    if (s->seen != NULL) {
        *s->seen = offset;
    }
}

bool
sink_is_broken(const struct sink *s)
{
    return s->broken;
}

/* ---- descriptor → channel ---- */

struct source {
    struct fdio io;
    bool is_private;
    bool is_terminal;
    bool ended;
    struct watch *watch;
    struct channel *channel;
};

static bool
in_background(const struct source *s)
{
    pid_t front = s->is_terminal ? tcgetpgrp(s->io.fd) : -1;

    return front != -1 && front != getpgrp();
}

static void
source_ready(void *ctx, int events)
{
    struct source *s = ctx;
    uint8_t *to;
    size_t room;
    ssize_t n;

    (void)events;
    to = channel_send_room(s->channel, &room);
    /* Reading a terminal from the background would stop us. */
    if (room == 0 || in_background(s)) {
        watch_arm(s->watch, WATCH_NONE);
        return;
    }
    n = read(s->io.fd, to, room);
    if (n > 0) {
        channel_send_filled(s->channel, (size_t)n);
        return;
    }
    if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return;
    }
    watch_arm(s->watch, WATCH_NONE);
    if (n == 0) {
        s->ended = true;
        channel_send_eof(s->channel);
    }
}

int
source_new(struct source **out, struct loop *l, int fd, struct err *e)
{
    struct source *s = xcalloc(1, sizeof *s);

    if (own_descriptor(&s->io, fd, O_RDONLY, &s->is_private, e) != 0) {
        free(s);
        return -1;
    }
    s->is_terminal = isatty(fd) == 1;
    if (watch_new(&s->watch, l, s->io.fd, source_ready, s, e) != 0) {
        if (s->is_private) {
            fdio_restore(&s->io);
        }
        free(s);
        return -1;
    }
    *out = s;
    return 0;
}

void
source_free(struct source *s)
{
    if (s == NULL) {
        return;
    }
    watch_free(s->watch);
    if (s->is_private) {
        fdio_restore(&s->io);
    }
    free(s);
}

void
source_start(struct source *s, struct channel *c)
{
    s->channel = c;
    source_go_on(s);
}

void
source_go_on(struct source *s)
{
    if (s->channel != NULL && !s->ended) {
        watch_arm(s->watch, WATCH_READ);
    }
}

void
source_stop(struct source *s)
{
    s->channel = NULL;
    watch_arm(s->watch, WATCH_NONE);
}

bool
source_ended(const struct source *s)
{
    return s->ended;
}
