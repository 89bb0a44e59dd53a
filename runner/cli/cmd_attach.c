#include "base/lang.h"
#include "runner/cli/commands.h"
#include "runner/cli/watch.h"

static int
run_attach(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    struct watch_want want = {
        .out = true, .err = true, .input = true, .go_on = true, .receipt = true};

    (void)options;
    return watch_job(c, w->v[0], &want, e);
}

const struct command cmd_attach = {
    .name = "attach",
    .usage = N_("JOB"),
    .help =
        N_("go on with a job's output where this client left off, and with its stdin"),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB,
    .run = run_attach,
};
