#include "base/lang.h"
#include "runner/cli/commands.h"
#include "runner/cli/watch.h"

static int
run_wait(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct watch_want want = {.no_signals = true, .as_json = true, .receipt = true};

    (void)options;
    return watch_job(c, w->v[0], &want, e);
}

const struct command cmd_wait = {
    .name = "wait",
    .usage = N_("JOB"),
    .help = N_("wait until a job has ended, and exit with its code"),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB,
    .run = run_wait,
};
