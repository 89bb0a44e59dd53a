#include "base/lang.h"
#include "runner/client/follow_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "runner/client/pump.h"
#include "runner/client/terminal.h"
#include "runner/client/told.h"
#include "runner/client/wishes.h"
#include "runner/job/verbs.h"
#include "runner/wire/channel.h"
#include "runner/wire/msg.h"
#include "runner/wire/mux.h"

#define SECOND_INT_NS ((int64_t)1000000000)

void
follow_end_with(struct follow *f, enum follow_end end, const struct err *why)
{
    if (!f->over) {
        f->result.e = *why;
        follow_end(f, end);
    }
}

void
follow_end(struct follow *f, enum follow_end end)
{
    if (!f->over) {
        f->over = true;
        f->result.end = end;
    }
}

/* Over when the job is final and both outputs are written to their last byte. */
void
follow_look_for_end(struct follow *f)
{
    if (!follow_all_written(f)) {
        return;
    }
    if (f->o.only_present) {
        follow_end(f, FOLLOW_PRESENT);
    } else if (f->result.has_state && job_phase_is_final(f->result.state.phase)) {
        follow_end(f, FOLLOW_FINAL);
    }
}

/* ---- the job's record ---- */

static void
take_state(struct follow *f, const struct rec *holder)
{
    struct job_state st;
    struct err e;

    state_init(&st);
    if (told_state(f->session, holder, f->job, &st, &e) != 0) {
        state_free(&st);
        follow_end_with(f, FOLLOW_FAILED, &e);
        return;
    }
    /* Events and answers may cross: only what is newer counts. */
    if (f->result.has_state && st.seq < f->result.state.seq) {
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
    follow_look_for_end(f);
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
        follow_end_with(f, FOLLOW_FAILED, &e);
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
    follow_open_pipes(f, c);
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
    follow_end_with(ctx, FOLLOW_LINK, &why->err);
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
        follow_end(f, FOLLOW_SIGNAL);
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

    if (f->over) {
        return; /* what is done with the end is not the job's to be interrupted */
    }
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
        follow_end(f, FOLLOW_SIGNAL);
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

int
follow_new(struct follow **out, struct client *cl, struct session *s,
           const struct follow_options *o, struct err *e)
{
    struct follow *f = xcalloc(1, sizeof *f);

    f->client = cl;
    f->session = s;
    f->o = *o;
    f->wishes = wishes_new();
    memcpy(f->job, o->job, sizeof f->job);
    state_init(&f->result.state);
    if (follow_make_pipes(f, e) != 0 || watch_signals(f, e) != 0) {
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
        follow_end(f, FOLLOW_LINK);
    }
    return &f->result;
}

void
follow_cancel(struct follow *f, const struct err *why)
{
    follow_end_with(f, FOLLOW_CANCELLED, why);
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
    follow_free_pipes(f);
    if (f->o.tty) {
        terminal_restore();
    }
    state_free(&f->result.state);
    free(f);
}
