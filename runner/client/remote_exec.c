#include "runner/client/remote_exec.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/lang.h"
#include "runner/client/pump.h"
#include "runner/client/terminal.h"
#include "runner/job/ids.h"
#include "runner/job/verbs.h"
#include "runner/wire/channel.h"
#include "runner/wire/msg.h"
#include "runner/wire/mux.h"

#define SIGNAL_BASE 128
#define N_SIGNALS   5

struct remote {
    struct client *client;
    struct session *session;
    const struct exec_want *want;
    char id[JOB_ID_LEN + 1];
    struct channel *main; /* stdin there, stdout back */
    struct channel *err;  /* NULL with a terminal */
    struct sink *out_sink;
    struct sink *err_sink;
    struct source *source;
    struct signal_watch *watches[N_SIGNALS];
    size_t n_watches;
    bool has_status;
    bool out_ended;
    bool err_ended;
    bool over;
    struct exec_result result;
    struct err why;
    bool failed;
};

static void
fail(struct remote *r, const struct err *why)
{
    if (!r->over) {
        r->over = true;
        r->failed = true;
        r->why = *why;
    }
}

static void
look_for_end(struct remote *r)
{
    if (r->out_ended && r->err_ended && !r->over) {
        r->over = true;
        if (!r->has_status) {
            r->failed = true;
            err_set(&r->why, ERR_CORRUPT, "%s",
                    _("the host does not say how the command ended"));
        }
    }
}

/* ---- channels ---- */

static size_t
on_data(void *ctx, struct channel *c, const uint8_t *data, size_t n)
{
    struct remote *r = ctx;

    return sink_take(c == r->main ? r->out_sink : r->err_sink, c, data, n);
}

static void
on_eof(void *ctx, struct channel *c)
{
    struct remote *r = ctx;

    if (c == r->main) {
        r->out_ended = true;
    } else {
        r->err_ended = true;
    }
    look_for_end(r);
}

/* A host's word that cannot be read leaves the exit code that follows it. */
static void
take_why(struct remote *r, const uint8_t *data, size_t n)
{
    struct rec *rec = NULL;
    struct err why;
    struct err e;

    if (rec_parse(&rec, data, n, MSG_ERROR_TYPE, &e) == 0 &&
        msg_error_parse(rec, &why, NULL, &e) == 0) {
        session_peer_error(&why, NULL, &r->result.why);
        r->result.not_started = true;
    }
    rec_free(rec);
}

static void
on_note(void *ctx, struct channel *c, int kind, uint64_t at, const uint8_t *data,
        size_t n)
{
    struct remote *r = ctx;

    (void)c;
    (void)at;
    if (kind == NOTE_EXEC_EXIT && n == 2) {
        r->has_status = true;
        r->result.exit_code =
            data[0] == NOTE_EXEC_SIGNALLED ? SIGNAL_BASE + data[1] : data[1];
    } else if (kind == NOTE_EXEC_NOT_STARTED) {
        take_why(r, data, n);
    }
}

static void
on_writable(void *ctx, struct channel *c)
{
    struct remote *r = ctx;

    (void)c;
    source_go_on(r->source);
}

static void
on_reset(void *ctx, struct channel *c, const struct err *why)
{
    struct err e;

    (void)c;
    session_peer_error(why, NULL, &e);
    fail(ctx, &e);
}

static const struct channel_events channel_events = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_note = on_note,
    .on_writable = on_writable,
    .on_reset = on_reset,
};

static struct rec *
main_record(const struct remote *r)
{
    struct rec *rec = rec_new(OPEN_EXEC);
    uint16_t cols = 80;
    uint16_t rows = 24;
    const char *term = getenv("TERM");

    rec_add(rec, "job", r->want->job);
    rec_add(rec, "exec", r->id);
    for (size_t i = 0; i < r->want->args->n; i++) {
        rec_add(rec, "arg", r->want->args->v[i]);
    }
    if (r->want->tty) {
        (void)terminal_size(STDIN_FILENO, &cols, &rows);
        rec_add_int(rec, "tty", 1);
        rec_add_int(rec, "cols", cols);
        rec_add_int(rec, "rows", rows);
        rec_add(rec, "term", term != NULL ? term : "dumb");
    }
    return rec;
}

static void
open_channels(struct remote *r, struct conn *c)
{
    struct rec *rec = main_record(r);
    struct err e;
    int rc = 0;

    if (!r->out_ended && !channel_attached(r->main)) {
        rc = mux_open(conn_mux(c), r->main, rec, &e);
    }
    rec_free(rec);
    if (rc == 0 && r->err != NULL && !r->err_ended && !channel_attached(r->err)) {
        rec = rec_new(OPEN_EXEC_ERR);
        rec_add(rec, "job", r->want->job);
        rec_add(rec, "exec", r->id);
        rc = mux_open(conn_mux(c), r->err, rec, &e);
        rec_free(rec);
    }
    if (rc != 0 && e.code != ERR_LINK) {
        fail(r, &e);
    }
}

/* ---- the session's events, signals ---- */

static void
on_up(void *ctx, struct session *s, struct conn *c, bool first)
{
    (void)s;
    (void)first;
    open_channels(ctx, c);
}

static void
on_failed(void *ctx, struct session *s, const struct failure *why)
{
    (void)s;
    fail(ctx, &why->err);
}

static const struct session_events session_events = {.up = on_up, .failed = on_failed};

static void
on_signal(void *ctx, int signo)
{
    struct remote *r = ctx;
    uint16_t cols;
    uint16_t rows;
    struct err e;

    switch (signo) {
    case SIGINT:
    case SIGQUIT:
        (void)!channel_send_signal(r->main, signo, &e);
        break;
    case SIGWINCH:
        if (r->want->tty && terminal_size(STDIN_FILENO, &cols, &rows)) {
            (void)!channel_send_resize(r->main, cols, rows, &e);
        }
        break;
    default:
        r->result.by_signal = signo;
        r->over = true;
        break;
    }
}

static int
watch_signals(struct remote *r, struct err *e)
{
    static const int signals[N_SIGNALS] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGWINCH};

    for (size_t i = 0; i < N_SIGNALS; i++) {
        if (signal_watch_new(&r->watches[i], r->client->loop, signals[i], on_signal, r,
                             e) != 0) {
            return -1;
        }
        r->n_watches++;
    }
    return 0;
}

/* ---- life ---- */

static void
on_broken(void *ctx, struct sink *s, const struct err *why)
{
    struct remote *r = ctx;

    if (s == r->out_sink && why->sys_errno == EPIPE) {
        r->result.stdout_closed = true;
        r->over = true;
    } else if (s == r->out_sink) {
        fail(r, why);
    }
}

static int
set_up(struct remote *r, struct err *e)
{
    struct channel_options o = {
        .cls = CHANNEL_INTERACTIVE, .events = &channel_events, .ctx = r};
    struct sink_events ev = {.broken = on_broken, .ctx = r};

    random_id("x", r->id);
    r->main = channel_new(&o);
    if (sink_new(&r->out_sink, r->client->loop, STDOUT_FILENO, NULL, &ev, e) != 0 ||
        source_new(&r->source, r->client->loop, STDIN_FILENO, e) != 0) {
        return -1;
    }
    r->err_ended = r->want->tty;
    if (!r->want->tty) {
        r->err = channel_new(&o);
        channel_send_eof(r->err);
        if (sink_new(&r->err_sink, r->client->loop, STDERR_FILENO, NULL, &ev, e) != 0) {
            return -1;
        }
    } else if (terminal_raw(STDIN_FILENO, e) != 0) {
        return -1;
    }
    source_start(r->source, r->main);
    return watch_signals(r, e);
}

static void
tear_down(struct remote *r)
{
    session_set_events(r->session, NULL, NULL);
    for (size_t i = 0; i < r->n_watches; i++) {
        signal_watch_free(r->watches[i]);
    }
    source_free(r->source);
    sink_free(r->out_sink);
    sink_free(r->err_sink);
    channel_free(r->main);
    channel_free(r->err);
    terminal_restore();
}

static bool
is_over(void *ctx)
{
    const struct remote *r = ctx;

    return r->over;
}

int
remote_exec(struct client *cl, struct session *s, const struct exec_want *w,
            struct exec_result *out, struct err *e)
{
    struct remote r = {.client = cl, .session = s, .want = w};
    int rc = -1;

    session_set_events(s, &session_events, &r);
    if (set_up(&r, e) != 0) {
        goto out;
    }
    if (session_conn(s) != NULL) {
        open_channels(&r, session_conn(s));
    }
    (void)loop_run_until(cl->loop, is_over, &r, -1);
    if (r.failed || !r.over) {
        *e = r.why;
        goto out;
    }
    *out = r.result;
    rc = 0;

out:
    tear_down(&r);
    return rc;
}
