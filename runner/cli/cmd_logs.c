#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/watch.h"
#include "runner/client/i18n.h"

#define LINES_MAX 1000000000

struct logs_options {
    bool follow;
    bool only_out;
    bool only_err;
    const char *lines;
};

static const struct opt options_logs[] = {
    {"follow", 'f', OPT_FLAG, offsetof(struct logs_options, follow), NULL,
     N_("go on until the job has ended, and exit with its code")},
    {"lines", 'n', OPT_STR, offsetof(struct logs_options, lines), "N",
     N_("only the last N lines of each stream")},
    {"stdout", 0, OPT_FLAG, offsetof(struct logs_options, only_out), NULL,
     N_("only its stdout")},
    {"stderr", 0, OPT_FLAG, offsetof(struct logs_options, only_err), NULL,
     N_("only its stderr")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

static int
run_logs(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct logs_options *o = options;
    struct watch_want want = {
        .out = !o->only_err || o->only_out,
        .err = !o->only_out || o->only_err,
        .only_present = !o->follow,
        .no_signals = true,
        .receipt = o->follow,
    };

    if (o->lines != NULL &&
        text_parse_int(o->lines, 1, LINES_MAX, "-n", &want.lines, e) != 0) {
        return -1;
    }
    return watch_job(c, w->v[0], &want, e);
}

const struct command cmd_logs = {
    .name = "logs",
    .usage = N_("[-f] [-n N] [--stdout|--stderr] JOB"),
    .help = N_("a job's output, from its first byte"),
    .options = options_logs,
    .options_size = sizeof(struct logs_options),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB,
    .run = run_logs,
};
