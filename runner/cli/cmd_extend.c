#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/lang.h"
#include "base/text.h"
#include "meter/grant.h"
#include "meter/money.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/ending.h"
#include "runner/cli/out.h"
#include "runner/client/lease.h"
#include "runner/client/told.h"
#include "runner/job/state.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define NS_PER_S       ((int64_t)1000000000)
#define CLOCKS_APART_S 60 /* the host's and ours */

struct extend_options {
    const char *max_cost;
    const char *max_time;
};

static const struct opt options_extend[] = {
    {"max-cost", 0, OPT_STR, offsetof(struct extend_options, max_cost), "YUAN",
     N_("the new cap, of all of the job")},
    {"max-time", 0, OPT_STR, offsetof(struct extend_options, max_time), "DUR",
     N_("the new time limit, from its start on")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

static int
parse_limits(const struct extend_options *o, int64_t *cap_fen, int64_t *max_s,
             struct err *e)
{
    *cap_fen = -1;
    *max_s = -1;
    if (o->max_cost == NULL && o->max_time == NULL) {
        return err_set(e, ERR_INVALID, "%s",
                       _("extend wants --max-cost, --max-time or both"));
    }
    if (o->max_cost != NULL &&
        money_parse_fen(o->max_cost, strlen(o->max_cost), cap_fen, e) != 0) {
        return err_wrap(e, "--max-cost");
    }
    if (o->max_time != NULL &&
        text_parse_seconds(o->max_time, 1, SPEC_TIME_MAX_S, max_s, e) != 0) {
        return err_wrap(e, "--max-time");
    }
    return 0;
}

/* The grant in force, as the host tells it: only one that we signed is extended. */
static int
present_grant(struct session *s, const char *job, struct grant *g, struct err *e)
{
    struct rec *resp = NULL;
    const char *bytes;
    size_t len;
    int rc;

    if (context_show_live(s, job, &resp, e) != 0) {
        return -1;
    }
    bytes = rec_get_bytes(resp, "grant", &len);
    rc = bytes == NULL
             ? err_set(e, ERR_CORRUPT, _("the host tells of no grant of job %s"), job)
             : grant_parse(g, bytes, len, e);
    rec_free(resp);
    return rc;
}

static int
check_own(struct home *home, const struct purse *p, const struct grant *g,
          const char *job, struct err *e)
{
    const struct sign_key *key;
    struct sign_public own;

    if (home_key(home, &key, e) != 0) {
        return -1;
    }
    sign_key_public(key, &own);
    if (strcmp(g->job, job) != 0 || memcmp(own.b, g->renter.b, sizeof own.b) != 0) {
        return err_set(e, ERR_DENIED,
                       _("the grant of job %s was not given with the key of this home"),
                       job);
    }
    own = purse_book(p) != NULL ? *purse_book(p) : own;
    if (g->cap_fen > 0 && memcmp(own.b, g->book.b, sizeof own.b) != 0) {
        return err_set(e, ERR_DENIED,
                       _("job %s is paid by another book than the one in use (`gpurun "
                         "wallet use`)"),
                       job);
    }
    return 0;
}

static int
send_grant(struct session *s, const char *job, const struct grant *g, struct rec **resp,
           struct err *e)
{
    struct rec *req = msg_request_new(VERB_JOB_EXTEND);
    int rc;

    msg_add_key(req, NULL);
    rec_add(req, "job", job);
    rec_add_bytes(req, "grant", g->bytes.data, g->bytes.len);
    rc = session_call(s, req, CONTEXT_ANSWER_NS, resp, e);
    rec_free(req);
    return rc;
}

/* Whoever asked for more time hears that the cap leaves less. */
static void
say_cap_first(const struct cli *c, const struct job_state *st, const struct grant *g)
{
    int64_t ran_s = (clock_wall_ns() - st->started_wall_ns) / NS_PER_S;
    char time[TEXT_DURATION_MAX];

    if (g->cap_fen > 0 && st->started_wall_ns > 0 && st->can_run_s != JOB_NOT_SET &&
        ran_s + st->can_run_s + CLOCKS_APART_S < g->max_s) {
        text_format_duration(st->can_run_s, time);
        say(c,
            _("it can run for %s only, which is what the cap pays; --max-cost raises it"),
            time);
    }
}

static void
say_limits(const struct cli *c, const struct grant *g)
{
    char money[OUT_MONEY_MAX];
    char time[TEXT_DURATION_MAX];

    text_format_duration(g->max_s, time);
    if (g->cap_fen > 0) {
        say(c, _("cap now %s, time limit %s"), out_fen(g->cap_fen, money), time);
    } else {
        say(c, _("time limit now %s"), time);
    }
}

static int
show_result(const struct cli *c, const struct extend_options *o, const struct rec *resp,
            const struct grant *g, const struct session *s, const char *job,
            struct err *e)
{
    struct buf out = BUF_INIT;
    struct job_state st;
    int rc;

    say_limits(c, g);
    if (!rec_has(resp, "state")) {
        return 0;
    }
    state_init(&st);
    rc = told_state(s, resp, job, &st, e);
    if (rc == 0 && o->max_time != NULL) {
        say_cap_first(c, &st, g);
    }
    if (rc == 0 && c->g.json) {
        struct json_writer j = json_to(&out);

        ending_json_state(&j, c->home, &st, session_host(s)->name);
        buf_add_str(&out, "\n");
        rc = out_write(&out, e);
    }
    state_free(&st);
    buf_free(&out);
    return rc;
}

static int
run_extend(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct session *s = NULL;
    struct purse *purse = NULL;
    struct job_record job;
    struct grant g;
    struct grant next;
    struct rec *resp = NULL;
    int64_t cap_fen;
    int64_t max_s;
    int rc = -1;

    if (parse_limits(options, &cap_fen, &max_s, e) != 0) {
        return -1;
    }
    grant_init(&g);
    grant_init(&next);
    job_record_init(&job);
    if (context_open(&cl, c, e) == 0 && purse_open(&purse, &cl, e) == 0 &&
        context_job(c, &cl, w->v[0], CONTEXT_PATIENCE_NS, &job, &s, e) == 0 &&
        present_grant(s, job.id, &g, e) == 0 &&
        check_own(c->home, purse, &g, job.id, e) == 0 &&
        lease_extend(&next, c->home, &g, cap_fen, max_s, e) == 0 &&
        purse_hold(purse, &next, session_offer(s), e) == 0 &&
        send_grant(s, job.id, &next, &resp, e) == 0) {
        rc = show_result(c, options, resp, &next, s, job.id, e);
    }
    rec_free(resp);
    grant_clear(&next);
    grant_clear(&g);
    session_close(s);
    purse_close(purse);
    job_record_free(&job);
    context_close(&cl);
    return rc;
}

const struct command cmd_extend = {
    .name = "extend",
    .usage = N_("JOB [--max-cost YUAN] [--max-time DUR]"),
    .help = N_("raise the cap or the time limit of a job that runs"),
    .options = options_extend,
    .options_size = sizeof(struct extend_options),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB,
    .run = run_extend,
};
