#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lang.h"
#include "runner/cli/batch.h"
#include "runner/cli/commands.h"
#include "runner/cli/compare.h"
#include "runner/cli/context.h"
#include "runner/cli/launch.h"
#include "runner/cli/out.h"
#include "runner/cli/project.h"
#include "runner/cli/request.h"

static bool
needs_no_script(const void *options)
{
    return ((const struct run_options *)options)->batch != NULL;
}

static int
one(struct cli *c, struct client *cl, const struct config *cfg,
    const struct run_options *o, const struct project *p, const struct words *w,
    bool only_plan, struct err *e)
{
    struct run_request r;
    int rc;

    if (request_make(&r, c, cfg, o, w, e) != 0) {
        return -1;
    }
    r.project = p->path != NULL ? xasprintf("%s: %s", p->path, p->text) : NULL;
    rc = o->compare ? compare_run(c, cl, &r, e) : launch(c, cl, cfg, &r, only_plan, e);
    request_free(&r);
    return rc;
}

static int
run_with(struct cli *c, const struct config *cfg, const struct run_options *o,
         const struct project *p, const struct words *w, bool only_plan, struct err *e)
{
    struct client cl = {.loop = NULL};
    int rc = -1;

    if (batch_wanted(o) && o->compare) {
        return err_set(e, ERR_INVALID, "%s", _("--compare is for one job"));
    }
    if (p->path != NULL && !only_plan) {
        say(c, _("options of %s: %s"), p->path, p->text);
    }
    if (context_open(&cl, c, e) == 0) {
        rc = batch_wanted(o) ? batch_run(c, &cl, cfg, o, w, only_plan, e)
                             : one(c, &cl, cfg, o, p, w, only_plan, e);
    }
    context_close(&cl);
    return rc;
}

static int
run_or_plan(struct cli *c, const struct run_options *typed, const struct words *w,
            bool only_plan, struct err *e)
{
    struct config *cfg = NULL;
    struct project p;
    struct run_options o;
    int rc;

    memset(&o, 0, sizeof o);
    if (config_open(&cfg, c->home, e) != 0 || project_load(&p, cfg, e) != 0) {
        config_free(cfg);
        return -1;
    }
    options_merge(&o, typed);
    options_merge(&o, &p.options);
    o.project = p.path != NULL ? &p.options : NULL;
    o.compare = typed->compare;
    rc = run_with(c, cfg, &o, &p, w, only_plan, e);
    opt_free(run_option_rows, &o);
    project_free(&p);
    config_free(cfg);
    return rc;
}

static int
run_run(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    return run_or_plan(c, options, w, false, e);
}

static int
run_plan(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    return run_or_plan(c, options, w, true, e);
}

const struct command cmd_run = {
    .name = "run",
    .usage =
        N_("[OPTIONS] SCRIPT [ARG...] | [OPTIONS] -- COMMAND [ARG...] | --batch FILE"),
    .help = N_("run a script or a command on a leased host"),
    .about = N_(
        "Right after SCRIPT, --gpu, --cpu, --host and --max-cost are still gpurun's, up "
        "to the first word that is none of them or --; the rest is the script's own. "
        "gpurun exits with the job's exit code (128+n for signal n); 100 to 105 are its "
        "own failures, see gpurun(1)."),
    .options = run_option_rows,
    .options_size = sizeof(struct run_options),
    .grammar = GRAMMAR_SCRIPT,
    .needs_no_script = needs_no_script,
    .word = WORD_FILE,
    .run = run_run,
};

const struct command cmd_plan = {
    .name = "plan",
    .usage =
        N_("[OPTIONS] SCRIPT [ARG...] | [OPTIONS] -- COMMAND [ARG...] | --batch FILE"),
    .help = N_("say where a run would go, what it would cost and send; start nothing"),
    .options = plan_option_rows,
    .options_size = sizeof(struct run_options),
    .grammar = GRAMMAR_SCRIPT,
    .needs_no_script = needs_no_script,
    .word = WORD_FILE,
    .run = run_plan,
};
