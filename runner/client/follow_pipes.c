#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lang.h"
#include "runner/client/follow_internal.h"
#include "runner/client/lines.h"
#include "runner/client/pump.h"
#include "runner/client/terminal.h"
#include "runner/job/verbs.h"
#include "runner/wire/channel.h"
#include "runner/wire/msg.h"
#include "runner/wire/mux.h"

/* A job's streams: channels on the host's side, descriptors on ours. */

#define NS_PER_MS     ((int64_t)1000000)
#define REOPEN_NS     (100 * NS_PER_MS)
#define REOPEN_MAX_NS (5000 * NS_PER_MS)
#define LOG_WINDOW    ((size_t)1 << 20)

static void
on_accepted(void *ctx, struct channel *c, const struct rec *rec)
{
    struct pipe_end *p = ctx;

    (void)c;
    (void)rec;
    p->f->reopen_ns = REOPEN_NS;
}

/* Times that had to wait until lines had used others. */
static void
take_times(struct follow *f)
{
    struct channel *c = f->pipes[TIMES].channel;
    size_t len = 0;
    const uint8_t *data = c == NULL ? NULL : channel_rx(c, &len);

    if (data != NULL && len > 0) {
        channel_rx_take(c, line_times_feed(f->times, data, len));
    }
}

/* New times: lines that waited for them. */
static void
go_on_with_lines(void *ctx)
{
    struct follow *f = ctx;

    for (int i = OUT; i <= ERR; i++) {
        if (f->pipes[i].sink != NULL) {
            sink_go_on(f->pipes[i].sink);
        }
    }
    take_times(f);
}

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct pipe_end *p = ctx;
    size_t taken;

    if (p->sink != NULL) {
        /* Lines that are shown make room for more times. */
        taken = sink_take(p->sink, c, data, n);
        take_times(p->f);
        return taken;
    }
    taken = p->f->times != NULL ? line_times_feed(p->f->times, data, n) : n;
    timer_after(p->f->lines_go_on, 0);
    return taken;
}

static void
finish_pipe(struct pipe_end *p)
{
    p->done = true;
    follow_look_for_end(p->f);
}

static void
on_eof(void *ctx, struct channel *c)
{
    struct pipe_end *p = ctx;

    (void)c;
    if (p == &p->f->pipes[IN]) {
        return; /* nothing ever comes back this way: it says nothing about the way there
                 */
    }
    p->heard = true;
    if (p->sink != NULL) {
        sink_end(p->sink);
        return;
    }
    if (p->f->times != NULL) {
        line_times_complete(p->f->times);
        timer_after(p->f->lines_go_on, 0);
    }
    finish_pipe(p);
}

static void
on_written(void *ctx, struct sink *s)
{
    (void)s;
    finish_pipe(ctx);
}

/* Said and heard to the end, both ways: of no more use. What came is written by itself.
 */
static void
on_done(void *ctx, struct channel *c)
{
    struct pipe_end *p = ctx;

    (void)c;
    if (p == &p->f->pipes[IN]) {
        finish_pipe(p);
    }
}

static void
on_gap(void *ctx, struct channel *c, uint64_t from, uint64_t to)
{
    struct pipe_end *p = ctx;
    struct follow *f = p->f;

    (void)c;
    if (p->sink != NULL) {
        sink_skip(p->sink, to);
    }
    if (f->o.events->gap != NULL) {
        f->o.events->gap(f->o.ctx, p == &f->pipes[ERR], from, to);
    }
}

static void
on_writable(void *ctx, struct channel *c)
{
    struct pipe_end *p = ctx;

    (void)c;
    if (p->f->source != NULL) {
        source_go_on(p->f->source);
    }
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    struct pipe_end *p = ctx;
    struct follow *f = p->f;
    struct err e;

    (void)c;
    if (p == &f->pipes[IN]) { /* the job has no use for it, or another client has it */
        source_stop(f->source);
        finish_pipe(p);
        return;
    }
    session_peer_error(why, NULL, &e);
    err_wrap(&e, _("the output of job %s"), f->job);
    follow_end_with(f, FOLLOW_FAILED, &e);
}

/* The stream's way on the host is cut, ours is not: the supervisor may be gone. */
static void
on_detached(void *ctx, struct channel *c, const struct err *why)
{
    struct pipe_end *p = ctx;
    struct follow *f = p->f;

    (void)c;
    (void)why;
    if (session_conn(f->session) != NULL && !timer_is_set(f->reopen)) {
        timer_after(f->reopen, f->reopen_ns);
        f->reopen_ns = f->reopen_ns < REOPEN_MAX_NS ? 2 * f->reopen_ns : REOPEN_MAX_NS;
    }
}

static const struct channel_events channel_events = {
    .on_accepted = on_accepted,
    .on_data = on_data,
    .on_eof = on_eof,
    .on_done = on_done,
    .on_gap = on_gap,
    .on_writable = on_writable,
    .on_detached = on_detached,
    .on_reset = on_reset,
};

static void
make_channel(struct follow *f, enum stream which, uint64_t from)
{
    struct channel_options o = {
        .cls = CHANNEL_INTERACTIVE,
        .window_bytes = which == IN ? 0 : LOG_WINDOW,
        .send_start = which == IN ? CHANNEL_ANY : 0,
        .recv_start = from,
        .recv_gaps = which != IN,
        .events = &channel_events,
        .ctx = &f->pipes[which],
    };

    f->pipes[which].f = f;
    f->pipes[which].channel = channel_new(&o);
    if (which != IN) {
        channel_send_eof(f->pipes[which].channel);
    }
}

static void
open_channel(struct follow *f, struct conn *c, enum stream which)
{
    static const char *const types[STREAMS] = {OPEN_OUT, OPEN_ERR, OPEN_STDIN,
                                               OPEN_TIMES};
    struct pipe_end *p = &f->pipes[which];
    struct rec *r;
    struct err e;

    if (p->channel == NULL || p->heard || p->done || channel_attached(p->channel) ||
        channel_is_reset(p->channel)) {
        return;
    }
    r = rec_new(types[which]);
    rec_add(r, "job", f->job);
    if (which != IN) {
        rec_add_int(r, "follow", f->o.only_present ? 0 : 1);
    }
    if ((which == OUT || which == ERR) && (f->o.lines > 0 || f->o.only_later)) {
        rec_add_int(r, "lines", f->o.lines);
    }
    if ((which == OUT || which == ERR) && f->o.since_wall_ns != 0) {
        rec_add_int(r, "since_wall_ns", f->o.since_wall_ns);
    }
    if (mux_open(conn_mux(c), p->channel, r, &e) != 0 && e.code != ERR_LINK) {
        follow_end_with(f, FOLLOW_FAILED, &e);
    }
    rec_free(r);
}

void
follow_open_pipes(struct follow *f, struct conn *c)
{
    for (int i = OUT; i < STREAMS; i++) {
        open_channel(f, c, (enum stream)i);
    }
}

static void
reopen(void *ctx)
{
    struct follow *f = ctx;
    struct conn *c = session_conn(f->session);

    if (c != NULL) {
        follow_open_pipes(f, c);
    }
}

/* ---- making them ---- */

static void
on_broken(void *ctx, struct sink *s, const struct err *why)
{
    struct pipe_end *p = ctx;
    struct follow *f = p->f;

    (void)s;
    if (p == &f->pipes[ERR]) {
        return; /* nobody reads our stderr: go on without */
    }
    follow_end_with(f, why->sys_errno == EPIPE ? FOLLOW_STDOUT : FOLLOW_FAILED, why);
}

/* Whoever reads a log as one, on a terminal or from one file, sees whole lines. */
static bool
is_read_as_one(const struct follow *f)
{
    struct stat out;
    struct stat err;

    return f->o.only_present && f->o.want_out && f->o.want_err &&
           fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &err) == 0 &&
           out.st_dev == err.st_dev && out.st_ino == err.st_ino;
}

/* Line by line, where that was asked for. */
static void
make_lines(struct follow *f, struct pipe_end *p, enum logseg_stream stream)
{
    bool one = is_read_as_one(f);
    struct lines_options o = {.stream = stream,
                              .grep = f->o.grep,
                              .times = f->times,
                              .open = one ? &f->open : NULL};

    if (f->o.grep != NULL || f->o.timestamps || one) {
        p->lines = lines_new(&o);
        sink_set_lines(p->sink, p->lines);
    }
}

static int
make_outputs(struct follow *f, struct err *e)
{
    /* The host knows. */
    bool from_where = f->o.lines > 0 || f->o.only_later || f->o.since_wall_ns != 0;

    if (f->o.timestamps) {
        f->times = line_times_new(f->o.want_out, f->o.want_err);
        make_channel(f, TIMES, 0);
    }
    for (int i = OUT; i <= ERR; i++) {
        struct pipe_end *p = &f->pipes[i];
        struct sink_events ev = {.broken = on_broken, .ended = on_written, .ctx = p};
        bool wanted = i == OUT ? f->o.want_out : f->o.want_err;
        uint64_t from = i == OUT ? f->o.out_from : f->o.err_from;
        uint64_t *seen = NULL;

        if (!wanted) {
            continue;
        }
        if (f->o.seen != NULL) {
            seen = i == OUT ? &f->o.seen->out : &f->o.seen->err;
        }
        make_channel(f, (enum stream)i, from_where ? CHANNEL_ANY : from);
        if (sink_new(&p->sink, f->client->loop, i == OUT ? STDOUT_FILENO : STDERR_FILENO,
                     seen, &ev, e) != 0) {
            return -1;
        }
        make_lines(f, p, i == OUT ? LOGSEG_OUT : LOGSEG_ERR);
    }
    return 0;
}

static int
make_input(struct follow *f, struct err *e)
{
    if (!f->o.want_stdin) {
        return 0;
    }
    make_channel(f, IN, 0);
    if (f->o.tty && terminal_raw(STDIN_FILENO, e) != 0) {
        return -1;
    }
    if (source_new(&f->source, f->client->loop, STDIN_FILENO, e) != 0) {
        return -1;
    }
    source_start(f->source, f->pipes[IN].channel);
    return 0;
}

int
follow_make_pipes(struct follow *f, struct err *e)
{
    f->reopen_ns = REOPEN_NS;
    f->reopen = timer_new(f->client->loop, reopen, f);
    f->lines_go_on = timer_new(f->client->loop, go_on_with_lines, f);
    return make_outputs(f, e) == 0 ? make_input(f, e) : -1;
}

bool
follow_all_written(const struct follow *f)
{
    bool written = true;

    for (int i = OUT; i <= ERR; i++) {
        written = written && (f->pipes[i].channel == NULL || f->pipes[i].done);
    }
    return written;
}

void
follow_free_pipes(struct follow *f)
{
    source_free(f->source);
    for (int i = OUT; i < STREAMS; i++) {
        sink_free(f->pipes[i].sink);
        lines_free(f->pipes[i].lines);
        channel_free(f->pipes[i].channel);
    }
    line_times_free(f->times);
    timer_free(f->lines_go_on);
    timer_free(f->reopen);
}
