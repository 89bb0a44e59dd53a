#ifndef RUNNER_CLI_PROJECT_H
#define RUNNER_CLI_PROJECT_H

#include "base/attr.h"
#include "base/err.h"
#include "base/words.h"
#include "runner/cli/request.h"
#include "runner/client/config.h"

/*
 * Default options of a project: the file `.gpurun` in the nearest directory at or above
 * the current one, up to the git root above it (without one: only here). Lines of options
 * as a shell splits them, `#` for remarks.
 *
 * Such a file comes with other people's code: it may say where and how to run, but not
 * raise a cap or a time limit, name secrets or files to ship, or run commands elsewhere
 * than in the job. An option that it may not have is an error, never passed over. Its
 * --max-cost only lowers what would be the cap without it; and where it has chosen what
 * is paid for and nobody has named a cap, more than `ask-above` is somebody's own word
 * (request.h, cost_unasked).
 */
struct project {
    char *path; /* NULL: there is none */
    char *text; /* its options on one line, to be shown */
    struct text_words words;
    struct run_options options; /* of the file alone; point into words */
};

int project_load(struct project *out, const struct config *cfg, struct err *e) MUST_USE;
void project_free(struct project *p);

/*
 * Fill in what *own leaves open out of defaults; lists begin with those of defaults.
 * Where *own has one of several words that exclude each other (--gpu, --cpu), the others
 * of defaults do not count. Lists of *own are its own (opt_free with run_option_rows).
 */
void options_merge(struct run_options *own, const struct run_options *defaults);

#endif
