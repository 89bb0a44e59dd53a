#include "base/lang.h"
#include "base/rec.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/watch.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

struct stop_options {
    bool now;
    bool no_snapshot;
};

static const struct opt options_stop[] = {
    {"now", 0, OPT_FLAG, offsetof(struct stop_options, now), NULL,
     N_("do not wait for it to end by itself: SIGKILL")},
    {"no-snapshot", 0, OPT_FLAG, offsetof(struct stop_options, no_snapshot), NULL,
     N_("its data is of no use: keep none of it")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

static int
order_stop(struct session *s, const struct job_record *job, void *ctx, struct err *e)
{
    const struct stop_options *o = ctx;
    struct rec *req = msg_request_new(VERB_JOB_STOP);
    struct rec *resp = NULL;
    int rc;

    msg_add_key(req, NULL);
    rec_add(req, "job", job->id);
    rec_add_int(req, "now", o->now ? 1 : 0);
    rec_add_int(req, "no_snapshot", o->no_snapshot ? 1 : 0);
    rc = session_call(s, req, CONTEXT_ANSWER_NS, &resp, e);
    rec_free(resp);
    rec_free(req);
    return rc;
}

static int
run_stop(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct stop_options o = *(const struct stop_options *)options;
    struct watch_want want = {.no_signals = true,
                              .as_json = true,
                              .receipt = true,
                              .first = order_stop,
                              .ctx = &o};

    return watch_job(c, w->v[0], &want, e);
}

const struct command cmd_stop = {
    .name = "stop",
    .usage = N_("[--now] [--no-snapshot] JOB"),
    .help =
        N_("end a job in order: SIGTERM, its window, SIGKILL, snapshot; exit with its "
           "status"),
    .options = options_stop,
    .options_size = sizeof(struct stop_options),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB,
    .run = run_stop,
};
