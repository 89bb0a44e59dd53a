#include "runner/cli/watched.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/lang.h"
#include "runner/cli/progress.h"
#include "runner/job/pace.h"

struct watched {
    struct session *session;
    struct progress *progress;
    int64_t number;  /* of the request */
    struct pace now; /* CARE_NONE: nothing was told */
    int64_t told_ns; /* when the last word came */
    int64_t step_ns; /* since when it is this step */
};

static const char *
step_words(enum care_step step)
{
    switch (step) {
    case CARE_SNAPSHOTS:
        return _("looking at what snapshots need");
    case CARE_PACKS:
        return _("reading what is kept");
    case CARE_INDEX:
        return _("reading the index");
    case CARE_SWEEP:
        return _("taking away what nothing needs");
    case CARE_CONTENTS:
        return _("reading files");
    case CARE_NONE:
        break;
    }
    return NULL;
}

static void
line(void *ctx, struct buf *out)
{
    const struct watched *w = ctx;
    const char *words = step_words(w->now.step);
    int64_t elapsed_ns = clock_boot_ns() - w->step_ns;

    if (words == NULL) {
        return;
    }
    buf_printf(out, "%s: %s", session_host(w->session)->name, words);
    if (w->now.step == CARE_SNAPSHOTS) {
        buf_add_str(out, ": ");
        progress_count(out, w->now.done, w->now.all, elapsed_ns);
    } else if (w->now.all > 0) {
        buf_add_str(out, ": ");
        progress_amount(out, w->now.done, w->now.all, elapsed_ns);
    }
}

/* Rates are a step's own: it began when the one before was told of last. */
static void
on_event(void *ctx, struct session *s, const struct rec *event)
{
    struct watched *w = ctx;
    struct pace p;
    struct err e;

    (void)s;
    if (pace_parse(&p, event, &e) != 0 || p.number != w->number) {
        return;
    }
    if (p.step != w->now.step || p.done < w->now.done) {
        w->step_ns = w->told_ns;
    }
    w->now = p;
    w->told_ns = clock_boot_ns();
}

static const struct session_events events = {.event = on_event};

int
watched_call(const struct cli *c, struct client *cl, struct session *s, struct rec *req,
             struct rec **resp, struct err *e)
{
    struct watched w = {.session = s, .told_ns = clock_boot_ns()};
    struct session_guest guest = {.events = &events, .ctx = &w};
    uint32_t number;
    int rc;

    w.progress = progress_start(c, cl->loop, line, &w);
    if (w.progress != NULL) {
        random_bytes(&number, sizeof number);
        w.number = (int64_t)number + 1;
        rec_add_int(req, "progress", w.number);
    }
    session_add_guest(s, &guest);
    rc = session_call(s, req, -1, resp, e);
    session_remove_guest(s, &guest);
    progress_end(w.progress);
    return rc;
}
