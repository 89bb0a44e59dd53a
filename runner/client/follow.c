#include "runner/client/follow.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "runner/client/i18n.h"
#include "runner/client/lines.h"
#include "runner/client/pump.h"
#include "runner/client/terminal.h"
#include "runner/client/wishes.h"
#include "runner/job/verbs.h"
#include "runner/wire/channel.h"
#include "runner/wire/msg.h"
#include "runner/wire/mux.h"

#define NS_PER_MS     ((int64_t)1000000)
#define SECOND_INT_NS (1000 * NS_PER_MS)
#define REOPEN_NS     (100 * NS_PER_MS)
#define REOPEN_MAX_NS (5000 * NS_PER_MS)
#define LOG_WINDOW    ((size_t)1 << 20)

enum stream { OUT = 0, ERR, IN, TIMES, STREAMS };

struct pipe_end {
    struct follow *f;
    struct channel *channel; /* NULL: not wanted */
    struct sink *sink;       /* OUT, ERR */
    struct lines *lines;     /* of the sink; NULL: bytes as they are */
    bool heard;              /* to its end; what is left is only to be written */
    bool done;               /* ended, or of no more use */
};

struct follow {
    struct client *client;
    struct session *session;
    struct follow_options o;
    char job[JOB_ID_LEN + 1];
    struct pipe_end pipes[STREAMS];
    struct source *source;
    struct line_times *times; /* of TIMES; NULL: not wanted */
    struct timer *lines_go_on;
    struct timer *reopen;
    int64_t reopen_ns;
    struct signal_watch *watches[5];
    size_t n_watches;
    int64_t last_int_ns; /* boot clock; 0: none */
    int n_int;
    bool stop_wanted;
    int signals_waiting; /* SIGINTs for a job that is not there yet */
    struct wishes *wishes;
    struct call *follow_call;
    bool job_exists;
    bool over;
    struct follow_result result;
};

static void end_now(struct follow *f, enum follow_end end);

static void
end_with(struct follow *f, enum follow_end end, const struct err *why)
{
    if (!f->over) {
        f->result.e = *why;
        end_now(f, end);
    }
}

static void
end_now(struct follow *f, enum follow_end end)
{
    if (!f->over) {
        f->over = true;
        f->result.end = end;
    }
}

/* Over when the job is final and both outputs are written to their last byte. */
static void
look_for_end(struct follow *f)
{
    bool written = true;

    for (int i = OUT; i <= ERR; i++) {
        written = written && (f->pipes[i].channel == NULL || f->pipes[i].done);
    }
    if (!written) {
        return;
    }
    if (f->o.only_present) {
        end_now(f, FOLLOW_PRESENT);
    } else if (f->result.has_state && job_phase_is_final(f->result.state.phase)) {
        end_now(f, FOLLOW_FINAL);
    }
}

/* ---- the job's record ---- */

static void
take_state(struct follow *f, const struct rec *holder)
{
    struct job_state st;
    struct err e;

    state_init(&st);
    if (state_get(holder, 0, &st, &e) != 0) {
        err_set(&e, ERR_CORRUPT,
                _("host '%s' told the state of job %s in a way that "
                  "cannot be read"),
                session_host(f->session)->name, f->job);
        end_with(f, FOLLOW_FAILED, &e);
        return;
    }
    /* Events and answers may cross: only what is newer counts. */
    if (strcmp(st.job, f->job) != 0 ||
        (f->result.has_state && st.seq < f->result.state.seq)) {
        state_free(&st);
        return;
    }
    state_free(&f->result.state);
    f->result.state = st;
    f->result.has_state = true;
    f->job_exists = true;
    if (f->o.events->state != NULL) {
        f->o.events->state(f->o.ctx, &f->result.state);
    }
    look_for_end(f);
}

static void
on_follow_answer(void *ctx, const struct rec *resp, const struct err *why,
                 const char *hint)
{
    struct follow *f = ctx;
    struct err e;

    f->follow_call = NULL;
    if (resp != NULL) {
        take_state(f, resp);
    } else if (why->code != ERR_LINK) {
        session_peer_error(why, hint, &e);
        end_with(f, FOLLOW_FAILED, &e);
    }
}

/* ---- channels ---- */

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
    look_for_end(p->f);
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
    end_with(f, FOLLOW_FAILED, &e);
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
    if ((which == OUT || which == ERR) && f->o.lines > 0) {
        rec_add_int(r, "lines", f->o.lines);
    }
    if ((which == OUT || which == ERR) && f->o.since_wall_ns != 0) {
        rec_add_int(r, "since_wall_ns", f->o.since_wall_ns);
    }
    if (mux_open(conn_mux(c), p->channel, r, &e) != 0 && e.code != ERR_LINK) {
        end_with(f, FOLLOW_FAILED, &e);
    }
    rec_free(r);
}

static void
open_all(struct follow *f, struct conn *c)
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
        open_all(f, c);
    }
}

/* ---- requests about the job ---- */

static struct rec *
about_job(const struct follow *f, const char *verb)
{
    struct rec *req = msg_request_new(verb);

    rec_add(req, "job", f->job);
    return req;
}

static void
ask_follow(struct follow *f, struct conn *c)
{
    struct rec *req = about_job(f, VERB_JOB_FOLLOW);
    struct err e;

    call_cancel(f->follow_call);
    f->follow_call = NULL;
    (void)!call_start(&f->follow_call, c, req, -1, on_follow_answer, f, &e);
    rec_free(req);
}

static void
send_wishes(struct follow *f)
{
    struct conn *c = session_conn(f->session);

    if (!f->job_exists) {
        return;
    }
    for (; f->signals_waiting > 0; f->signals_waiting--) {
        struct rec *req = about_job(f, VERB_JOB_SIGNAL);

        rec_add_int(req, "signal", SIGINT);
        wishes_add(f->wishes, req);
    }
    if (f->stop_wanted) {
        f->stop_wanted = false;
        wishes_add(f->wishes, about_job(f, VERB_JOB_STOP));
    }
    if (c != NULL) {
        wishes_send(f->wishes, c);
    }
}

static void
tell_size(struct follow *f)
{
    uint16_t cols;
    uint16_t rows;
    struct err e;

    if (f->o.tty && f->pipes[IN].channel != NULL &&
        terminal_size(STDIN_FILENO, &cols, &rows)) {
        (void)!channel_send_resize(f->pipes[IN].channel, cols, rows, &e);
    }
}

/* ---- the session's events ---- */

static void
ask_for_all(struct follow *f, struct conn *c, bool first)
{
    if (f->o.events->before != NULL) {
        f->o.events->before(f->o.ctx, c, first);
    }
    if (f->over) {
        return;
    }
    ask_follow(f, c);
    open_all(f, c);
    send_wishes(f);
    tell_size(f);
}

static void
on_up(void *ctx, struct session *s, struct conn *c, bool first)
{
    struct follow *f = ctx;

    (void)s;
    ask_for_all(f, c, first);
    if (!first && f->o.events->back != NULL) {
        f->o.events->back(f->o.ctx);
    }
}

static void
on_event(void *ctx, struct session *s, const struct rec *event)
{
    struct follow *f = ctx;
    const char *job = rec_get(event, "job");

    (void)s;
    if (strcmp(rec_type(event), EVENT_STATE) == 0 && job != NULL &&
        strcmp(job, f->job) == 0) {
        take_state(f, event);
    }
}

static void
on_down(void *ctx, struct session *s, const struct failure *why, int64_t retry_ns)
{
    struct follow *f = ctx;

    (void)s;
    timer_cancel(f->reopen);
    if (f->o.events->down != NULL) {
        f->o.events->down(f->o.ctx, why, retry_ns);
    }
}

static void
on_failed(void *ctx, struct session *s, const struct failure *why)
{
    (void)s;
    end_with(ctx, FOLLOW_LINK, &why->err);
}

static const struct session_events session_events = {
    .up = on_up, .event = on_event, .down = on_down, .failed = on_failed};

/* ---- signals ---- */

static void
on_interrupt(struct follow *f)
{
    int64_t now = clock_boot_ns();
    bool second = f->last_int_ns != 0 && now - f->last_int_ns <= SECOND_INT_NS;

    f->last_int_ns = now;
    if (f->o.no_signals || !f->job_exists ||
        (second && session_conn(f->session) == NULL)) {
        f->result.signal = SIGINT;
        end_now(f, FOLLOW_SIGNAL);
        return;
    }
    f->n_int = second ? f->n_int + 1 : 1;
    if (f->n_int == 1) {
        f->signals_waiting++;
    } else if (f->n_int == 2) {
        f->stop_wanted = true;
    }
    send_wishes(f);
    if (f->o.events->interrupt != NULL) {
        f->o.events->interrupt(f->o.ctx, f->n_int);
    }
}

static void
on_signal(void *ctx, int signo)
{
    struct follow *f = ctx;

    switch (signo) {
    case SIGINT:
        on_interrupt(f);
        break;
    case SIGWINCH:
        tell_size(f);
        break;
    case SIGCONT:
        if (f->source != NULL) {
            source_go_on(f->source);
        }
        break;
    default:
        f->result.signal = signo;
        end_now(f, FOLLOW_SIGNAL);
        break;
    }
}

static int
watch_signals(struct follow *f, struct err *e)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT};

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct sigaction old;

        /* nohup gpurun … stays deaf to the end of its terminal. */
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN) {
            continue;
        }
        if (signal_watch_new(&f->watches[f->n_watches], f->client->loop, signals[i],
                             on_signal, f, e) != 0) {
            return -1;
        }
        f->n_watches++;
    }
    return 0;
}

/* ---- life ---- */

static void
on_broken(void *ctx, struct sink *s, const struct err *why)
{
    struct pipe_end *p = ctx;
    struct follow *f = p->f;

    (void)s;
    if (p == &f->pipes[ERR]) {
        return; /* nobody reads our stderr: go on without */
    }
    end_with(f, why->sys_errno == EPIPE ? FOLLOW_STDOUT : FOLLOW_FAILED, why);
}

/* Line by line, where that was asked for. */
static void
make_lines(struct follow *f, struct pipe_end *p, enum logseg_stream stream)
{
    struct lines_options o = {.stream = stream, .grep = f->o.grep, .times = f->times};

    if (f->o.grep != NULL || f->o.timestamps) {
        p->lines = lines_new(&o);
        sink_set_lines(p->sink, p->lines);
    }
}

static int
make_outputs(struct follow *f, struct err *e)
{
    bool from_where = f->o.lines > 0 || f->o.since_wall_ns != 0; /* the host knows */

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
follow_new(struct follow **out, struct client *cl, struct session *s,
           const struct follow_options *o, struct err *e)
{
    struct follow *f = xcalloc(1, sizeof *f);

    f->client = cl;
    f->session = s;
    f->o = *o;
    f->reopen_ns = REOPEN_NS;
    f->wishes = wishes_new();
    memcpy(f->job, o->job, sizeof f->job);
    state_init(&f->result.state);
    f->reopen = timer_new(cl->loop, reopen, f);
    f->lines_go_on = timer_new(cl->loop, go_on_with_lines, f);
    if (make_outputs(f, e) != 0 || make_input(f, e) != 0 || watch_signals(f, e) != 0) {
        follow_free(f);
        return -1;
    }
    session_set_events(s, &session_events, f);
    *out = f;
    return 0;
}

void
follow_start(struct follow *f)
{
    struct conn *c = session_conn(f->session);

    if (c != NULL) {
        ask_for_all(f, c, true);
    }
}

static bool
is_over(void *ctx)
{
    const struct follow *f = ctx;

    return f->over;
}

const struct follow_result *
follow_run(struct follow *f)
{
    if (!loop_run_until(f->client->loop, is_over, f, -1) && !f->over) {
        err_set(&f->result.e, ERR_LINK, "%s", _("nothing is left to wait for"));
        end_now(f, FOLLOW_LINK);
    }
    return &f->result;
}

void
follow_cancel(struct follow *f, const struct err *why)
{
    end_with(f, FOLLOW_CANCELLED, why);
}

void
follow_job_exists(struct follow *f)
{
    f->job_exists = true;
    send_wishes(f);
}

bool
follow_job_is_known(const struct follow *f)
{
    return f->result.has_state;
}

void
follow_free(struct follow *f)
{
    if (f == NULL) {
        return;
    }
    session_set_events(f->session, NULL, NULL);
    call_cancel(f->follow_call);
    wishes_free(f->wishes);
    for (size_t i = 0; i < f->n_watches; i++) {
        signal_watch_free(f->watches[i]);
    }
    source_free(f->source);
    for (int i = OUT; i < STREAMS; i++) {
        sink_free(f->pipes[i].sink);
        lines_free(f->pipes[i].lines);
        channel_free(f->pipes[i].channel);
    }
    line_times_free(f->times);
    timer_free(f->lines_go_on);
    timer_free(f->reopen);
    if (f->o.tty) {
        terminal_restore();
    }
    state_free(&f->result.state);
    free(f);
}
