#include "runner/cli/alerts.h"

#include <inttypes.h>
#include <string.h>

#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/notifycmd.h"
#include "runner/cli/out.h"

static void
say_cost(const struct cli *c, const struct job_state *st)
{
    char cost[OUT_MONEY_MAX];
    char cap[OUT_MONEY_MAX];

    say(c, _("%s of at most %s are spent: %" PRId64 " %% of the cap"),
        out_fen(st->cost_fen, cost), out_fen(st->cap_fen, cap), st->alert_pct);
}

static void
say_limit(const struct cli *c, const struct job_state *st)
{
    char left[TEXT_DURATION_MAX];

    text_format_duration(st->can_run_s, left);
    say(c,
        _("it can run for %s more; `gpurun extend %s --max-time` (or "
          "`--max-cost`) gives it longer"),
        left, st->job);
}

/* Two steps of the cap that are passed at once are one line. */
static void
say_new(struct notify_seen *said, const struct cli *c, const struct job_state *st)
{
    bool cost = false;
    const char *event;

    while ((event = notify_next(said, st)) != NULL) {
        cost = cost || strncmp(event, "cost-", 5) == 0;
        if (strcmp(event, "limit") == 0) {
            say_limit(c, st);
        }
    }
    if (cost && !job_phase_is_final(st->phase)) {
        say_cost(c, st);
    }
}

void
alerts_state(struct alerts *a, const struct cli *c, const struct job_state *st,
             const char *host)
{
    if (!a->silent) {
        say_new(&a->said, c, st);
    }
    if (a->told != NULL) {
        notifycmd_state(c, a->notify, a->told, st, host);
    }
}
