#include <regex.h>

#include "base/clock.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/commands.h"
#include "runner/cli/out.h"
#include "runner/cli/watch.h"

#define LINES_MAX 1000000000

struct logs_options {
    bool follow;
    bool only_out;
    bool only_err;
    const char *lines;
    const char *since;
    const char *grep;
    bool timestamps;
};

static const struct opt options_logs[] = {
    {"follow", 'f', OPT_FLAG, offsetof(struct logs_options, follow), NULL,
     N_("go on until the job has ended, and exit with its code")},
    {"lines", 'n', OPT_STR, offsetof(struct logs_options, lines), "N",
     N_("only the last N lines of each stream (0 with -f: only what comes)")},
    {"since", 0, OPT_STR, offsetof(struct logs_options, since), "T",
     N_("only what was written since T: a time, or how long ago (10m)")},
    {"grep", 0, OPT_STR, offsetof(struct logs_options, grep), "RE",
     N_("only lines that match the extended regular expression RE")},
    {"timestamps", 0, OPT_FLAG, offsetof(struct logs_options, timestamps), NULL,
     N_("begin each line with the time the host wrote it down")},
    {"stdout", 0, OPT_FLAG, offsetof(struct logs_options, only_out), NULL,
     N_("only its stdout")},
    {"stderr", 0, OPT_FLAG, offsetof(struct logs_options, only_err), NULL,
     N_("only its stderr")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

static int
compile(regex_t *re, const char *text, struct err *e)
{
    char why[128];
    int failed = regcomp(re, text, REG_EXTENDED);

    if (failed != 0) {
        (void)regerror(failed, re, why, sizeof why);
        return err_set(e, ERR_INVALID, _("--grep: '%s' is no regular expression: %s"),
                       text, why);
    }
    return 0;
}

/* By the clock here: what the host's has written may be ahead of it. */
static void
say_future(const struct cli *c, int64_t since_wall_ns)
{
    char at[OUT_TIME_MAX];

    if (since_wall_ns > clock_wall_ns()) {
        say(c, _("--since: %s is still to come, and nothing was written since"),
            out_time(since_wall_ns, at));
    }
}

static int
run_logs(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct logs_options *o = options;
    struct watch_want want = {
        .out = !o->only_err || o->only_out,
        .err = !o->only_out || o->only_err,
        .only_present = !o->follow,
        .no_signals = true,
        .timestamps = o->timestamps,
        .receipt = o->follow,
    };

    regex_t re;
    int rc;

    if (o->lines != NULL &&
        text_parse_int(o->lines, 0, LINES_MAX, "-n", &want.lines, e) != 0) {
        return -1;
    }
    want.only_later = o->lines != NULL && want.lines == 0;
    if (o->since != NULL &&
        clock_parse_moment(o->since, false, &want.since_wall_ns, e) != 0) {
        return err_wrap(e, "--since");
    }
    if (o->since != NULL) {
        say_future(c, want.since_wall_ns);
    }
    if (o->grep != NULL) {
        if (compile(&re, o->grep, e) != 0) {
            return -1;
        }
        want.grep = &re;
    }
    rc = watch_job(c, w->v[0], &want, e);
    if (want.grep != NULL) {
        regfree(&re);
    }
    return rc;
}

const struct command cmd_logs = {
    .name = "logs",
    .usage = N_("[-f] [-n N] [--since T] [--grep RE] [--timestamps] "
                "[--stdout|--stderr] JOB"),
    .help = N_("a job's output, from its first byte"),
    .options = options_logs,
    .options_size = sizeof(struct logs_options),
    .min_words = 1,
    .max_words = 1,
    .word = WORD_JOB,
    .run = run_logs,
};
