#include <stdio.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/lang.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/ending.h"
#include "runner/cli/out.h"
#include "runner/cli/request.h"
#include "runner/cli/watch.h"
#include "runner/client/follow.h"
#include "runner/client/ports.h"

struct forwarding {
    struct cli *c;
    struct session *session;
    bool said_down;
};

static void
on_down(void *ctx, const struct failure *why, int64_t retry_ns)
{
    struct forwarding *x = ctx;

    (void)retry_ns;
    if (!x->said_down) {
        ending_say_down(x->c, session_host(x->session)->name, why);
        x->said_down = true;
    }
}

static void
on_back(void *ctx)
{
    struct forwarding *x = ctx;

    x->said_down = false;
    ending_say_back(x->c, session_host(x->session)->name);
}

static const struct follow_events follow_events = {.down = on_down, .back = on_back};

static void
on_refused(void *ctx, const struct err *why)
{
    struct forwarding *x = ctx;

    say(x->c, "%s", why->msg);
}

static int
print_url(const struct cli *c, const struct port_want *want, uint16_t local,
          struct err *e)
{
    struct buf out = BUF_INIT;
    char url[40];
    int rc;

    if (c->g.json) {
        struct json_writer j = json_to(&out);

        json_obj(&j);
        json_kint(&j, "remote", want->remote);
        json_kint(&j, "local", local);
        (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", local);
        json_kstr(&j, "url", url);
        json_obj_end(&j);
        buf_add_str(&out, "\n");
    } else {
        buf_printf(&out, "http://127.0.0.1:%u\n", local);
    }
    rc = out_write(&out, e);
    buf_free(&out);
    return rc;
}

/* Until the job ends, or we are told to go: either is the orderly end of this command. */
static int
forward(struct forwarding *x, struct client *cl, const struct job_record *job,
        const struct port_want *want, struct err *e)
{
    struct follow_options o = {
        .job = job->id, .no_signals = true, .events = &follow_events, .ctx = x};
    struct port_forward *p = NULL;
    struct follow *f = NULL;
    const struct follow_result *r;
    int rc = -1;

    if (port_forward_new(&p, cl, x->session, job->id, want->remote, want->local, e) !=
            0 ||
        print_url(x->c, want, port_forward_local(p), e) != 0 ||
        follow_new(&f, cl, x->session, &o, e) != 0) {
        goto out;
    }
    port_forward_on_refused(p, on_refused, x);
    follow_start(f);
    r = follow_run(f);
    if (r->end == FOLLOW_FINAL || r->end == FOLLOW_SIGNAL) {
        rc = 0;
    } else {
        *e = r->e;
    }

out:
    follow_free(f);
    port_forward_free(p);
    return rc;
}

static int
run_port(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct forwarding x = {.c = c};
    struct job_record job;
    struct port_want want;
    struct rec *live = NULL;
    int rc = -1;

    (void)options;
    if (request_parse_port(w->v[1], &want, e) != 0) {
        return -1;
    }
    job_record_init(&job);
    if (context_open(&cl, c, e) == 0 &&
        context_job(c, &cl, w->v[0], WATCH_PATIENCE_NS, &job, &x.session, e) == 0 &&
        context_show_live(x.session, job.id, &live, e) == 0) {
        rc = forward(&x, &cl, &job, &want, e);
    }
    rec_free(live);
    session_close(x.session);
    job_record_free(&job);
    context_close(&cl);
    return rc;
}

const struct command cmd_port = {
    .name = "port",
    .usage = N_("JOB REMOTE[:LOCAL]"),
    .help = N_("reach a port of a job here, over the same connection, until ^C"),
    .min_words = 2,
    .max_words = 2,
    .word = WORD_JOB,
    .run = run_port,
};
