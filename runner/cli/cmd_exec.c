#include <unistd.h>

#include "base/lang.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/out.h"
#include "runner/cli/watch.h"
#include "runner/client/remote_exec.h"

#define SIGNAL_BASE 128

struct exec_options {
    bool tty;
};

static const struct opt options_exec[] = {
    {"tty", 't', OPT_FLAG, offsetof(struct exec_options, tty), NULL,
     N_("give it a terminal")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

static int
exit_code(const struct cli *c, const struct exec_result *r)
{
    if (r->not_started) {
        say_error(c, &r->why, r->exit_code);
    }
    if (r->stdout_closed) {
        return CLI_STDOUT_CLOSED;
    }
    return r->by_signal != 0 ? SIGNAL_BASE + r->by_signal : r->exit_code;
}

static int
run_exec(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct exec_options *o = options;
    struct client cl = {.loop = NULL};
    struct session *s = NULL;
    struct job_record job;
    struct strings args = {NULL, 0};
    struct exec_want want = {.args = &args, .tty = o->tty};
    struct exec_result result = {0};
    int rc = -1;

    if (!w->dashes || w->n_rest == 0) {
        return err_set(e, ERR_INVALID, "%s",
                       _("want gpurun exec [-t] JOB -- COMMAND [ARG...]"));
    }
    if (o->tty && isatty(STDIN_FILENO) != 1) {
        return err_set(e, ERR_INVALID, "%s", _("-t wants a terminal on stdin"));
    }
    for (int i = 0; i < w->n_rest; i++) {
        strings_add(&args, w->rest[i]);
    }
    job_record_init(&job);
    if (context_open(&cl, c, e) == 0 &&
        context_job(c, &cl, w->v[0], WATCH_PATIENCE_NS, &job, &s, e) == 0) {
        want.job = job.id;
        c->stage = STAGE_CHANGED;
        rc = remote_exec(&cl, s, &want, &result, e) == 0 ? exit_code(c, &result) : -1;
        if (rc == -1 && e->code != ERR_LINK) {
            c->stage = STAGE_TRYING; /* the host said no */
        }
    }
    session_close(s);
    job_record_free(&job);
    context_close(&cl);
    strings_free(&args);
    return rc;
}

const struct command cmd_exec = {
    .name = "exec",
    .usage = N_("[-t] JOB -- COMMAND [ARG...]"),
    .help = N_("run a command inside a job's own environment; exits with its code"),
    .options = options_exec,
    .options_size = sizeof(struct exec_options),
    .grammar = GRAMMAR_COMMAND,
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB,
    .run = run_exec,
};
