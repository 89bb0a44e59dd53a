#include "runner/cli/watch.h"

#include <inttypes.h>
#include <string.h>

#include "base/lang.h"
#include "runner/cli/alerts.h"
#include "runner/cli/context.h"
#include "runner/cli/due.h"
#include "runner/cli/ending.h"
#include "runner/cli/out.h"
#include "runner/client/receipts.h"

#define LOOK_S 60 /* for what the job keeps on the way */

struct watcher {
    struct cli *c;
    const struct watch_want *w;
    struct session *session;
    struct fetch *fetch;
    struct alerts alerts;
    bool said_down;
    bool said_unbilled;
    bool said_dispute;
    bool known;
};

static void
on_before(void *ctx, struct conn *c, bool first)
{
    struct watcher *x = ctx;

    (void)first;
    if (x->fetch != NULL) {
        fetch_begin(x->fetch, c);
    }
}

static void
on_state(void *ctx, const struct job_state *st)
{
    struct watcher *x = ctx;

    x->known = true;
    alerts_state(&x->alerts, x->c, st, session_host(x->session)->name);
    ending_say_unbilled(x->c, st, &x->said_unbilled);
    if (x->fetch != NULL) {
        ending_say_dispute(x->c, fetch_dispute(x->fetch), st->job,
                           session_host(x->session)->name, &x->said_dispute);
    }
}

static void
on_down(void *ctx, const struct failure *why, int64_t retry_ns)
{
    struct watcher *x = ctx;

    (void)retry_ns;
    if (!x->said_down) {
        ending_say_down(x->c, session_host(x->session)->name, why);
        x->said_down = true;
    }
}

static void
on_back(void *ctx)
{
    struct watcher *x = ctx;

    x->said_down = false;
    ending_say_back(x->c, session_host(x->session)->name);
}

static void
on_interrupt(void *ctx, int times)
{
    struct watcher *x = ctx;

    if (times == 2) {
        say(x->c, "%s", _("stopping the job"));
    }
}

static void
on_gap(void *ctx, bool of_stderr, uint64_t from, uint64_t to)
{
    struct watcher *x = ctx;

    say(x->c, _("%s: bytes %" PRIu64 " to %" PRIu64 " are no longer kept"),
        of_stderr ? "stderr" : "stdout", from, to);
}

static const struct follow_events follow_events = {
    .before = on_before,
    .state = on_state,
    .down = on_down,
    .back = on_back,
    .interrupt = on_interrupt,
    .gap = on_gap,
};

static int
follow_it(struct watcher *x, struct client *cl, struct job_record *job,
          struct job_seen *seen, struct err *e)
{
    const struct watch_want *w = x->w;
    struct follow_options o = {
        .job = job->id,
        .want_out = w->out,
        .want_err = w->err,
        .want_stdin = w->input,
        .only_present = w->only_present,
        .no_signals = w->no_signals,
        .lines = w->lines,
        .only_later = w->only_later,
        .since_wall_ns = w->since_wall_ns,
        .grep = w->grep,
        .timestamps = w->timestamps,
        .out_from = w->go_on ? seen->out : 0,
        .err_from = w->go_on ? seen->err : 0,
        .seen = w->go_on ? seen : NULL,
        .events = &follow_events,
        .ctx = x,
    };
    const struct follow_result *r;
    struct due_live *live = NULL;
    struct follow *f = NULL;
    struct ending en = {.c = x->c,
                        .cl = cl,
                        .session = x->session,
                        .record = job,
                        .bring = !w->out || w->go_on,
                        .as_json = w->as_json,
                        .known = true};
    int rc = -1;

    if ((w->receipt && fetch_new(&x->fetch, cl, x->session, job->id, e) != 0) ||
        follow_new(&f, cl, x->session, &o, e) != 0) {
        goto out;
    }
    en.fetch = x->fetch;
    follow_start(f);
    live = due_live_new(x->c, cl, x->session);
    due_live_add(live, job->id, LOOK_S);
    r = follow_run(f);
    due_live_end(live);
    en.said_dispute = x->said_dispute;
    rc = ending_of(&en, r, e);

out:
    follow_free(f);
    fetch_free(x->fetch);
    x->fetch = NULL;
    return rc;
}

int
watch_job(struct cli *c, const char *what, const struct watch_want *w, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct watcher x = {.c = c, .w = w};
    struct job_record job;
    struct job_seen none = {.out = 0};
    struct job_seen *seen = NULL;
    bool tells = false;
    int lock = -1;
    int rc = -1;

    job_record_init(&job);
    if (context_open(&cl, c, e) != 0 ||
        context_job(c, &cl, what, WATCH_PATIENCE_NS, &job, &x.session, e) != 0) {
        goto out;
    }
    if (w->go_on && jobs_seen_open(cl.home, job.id, &seen, &lock, &tells, e) != 0) {
        say_more(c, "%s", e->msg);
    }
    x.alerts.notify = job.notify;
    x.alerts.told = tells ? &seen->told : NULL;
    /* Who looks once, or ends it, does not wait for its limits. */
    x.alerts.silent = w->only_present || w->first != NULL;
    if (w->first != NULL && w->first(x.session, &job, w->ctx, e) != 0) {
        goto out;
    }
    rc = follow_it(&x, &cl, &job, seen != NULL ? seen : &none, e);

out:
    jobs_seen_close(seen, &lock);
    session_close(x.session);
    job_record_free(&job);
    context_close(&cl);
    return rc;
}
