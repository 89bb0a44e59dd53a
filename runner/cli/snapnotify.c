#include "runner/cli/snapnotify.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "runner/cli/notifycmd.h"
#include "runner/cli/snapview.h"
#include "runner/client/jobs.h"
#include "runner/job/line.h"

#define NS_PER_DAY ((int64_t)86400 * 1000000000)

/* The job as it ended, or runs, by what is known of it here and in its snapshot. */
static void
fill_state(struct job_state *st, const struct job_record *r, const struct snap_info *s,
           int64_t goes_wall_ns)
{
    bool on_the_way = s->reason == NULL;

    memcpy(st->job, r->id, sizeof st->job);
    state_set_text(&st->name, r->name);
    state_set_text(&st->command, r->command);
    st->reason = on_the_way ? JOB_REASON_NONE : job_reason_from_name(s->reason);
    st->phase = on_the_way                      ? (r->final ? JOB_ENDED : JOB_RUNNING)
                : st->reason == JOB_REASON_NONE ? JOB_LOST
                                                : JOB_ENDED;
    st->exit_code = s->exit_code >= 0 ? s->exit_code : JOB_NOT_SET;
    st->signal = s->signal > 0 ? s->signal : JOB_NOT_SET;
    st->ended_wall_ns = s->ended_wall_ns;
    st->charge_fen = r->charge_fen >= 0 ? r->charge_fen : JOB_NOT_SET;
    st->cap_fen = r->cap_fen;
    st->expires_wall_ns = goes_wall_ns;
    memcpy(st->snapshot, s->id, sizeof st->snapshot);
}

static void
tell(const struct cli *c, const struct job_record *r, const struct snap_info *s,
     const char *event, int64_t goes_wall_ns)
{
    struct job_state st;

    state_init(&st);
    fill_state(&st, r, s, goes_wall_ns);
    notifycmd_run(c, r->notify, event, &st, s->host);
    state_free(&st);
}

/* Of each snapshot all copies together; *n is how many. */
static struct line_snap *
take_snaps(const struct snap_infos *l, size_t *n)
{
    struct line_snap *v = xcalloc(l->n + 1, sizeof *v);

    *n = 0;
    for (size_t at = 0, end; at < l->n; at = end) {
        const struct snap_info *s = &l->v[at];
        bool kept = false;

        end = snapview_copies(l, at);
        for (size_t i = at; i < end; i++) {
            kept = kept || l->v[i].kept;
        }
        v[(*n)++] = (struct line_snap){.id = s->id,
                                       .job = s->job,
                                       .parent = s->parent,
                                       .made_wall_ns = s->made_wall_ns,
                                       .expires_wall_ns = snapview_goes_at(l, at, end),
                                       .kept = kept,
                                       .whole = !s->partial};
    }
    line_sort(v, *n);
    return v;
}

static void
look_at(const struct cli *c, const struct client *cl, const struct line_snap *v, size_t n,
        const struct snap_info *s)
{
    const struct line_snap *last = s->job != NULL ? line_last(v, n, s->job) : NULL;
    struct job_record r;
    const char *event;
    struct err none;

    if (last == NULL || strcmp(last->id, s->id) != 0) {
        return;
    }
    job_record_init(&r);
    if (jobs_load(cl->home, s->job, &r, &none) == 0 && r.notify != NULL) {
        event = notify_expiry(&r.told, last->expires_wall_ns, clock_wall_ns());
        /* What cannot be written down would be told at every look. */
        if (event != NULL && !line_is_carried_on(v, n, last) &&
            jobs_save(cl->home, &r, &none) == 0) {
            tell(c, &r, s, event, last->expires_wall_ns);
        }
    }
    job_record_free(&r);
}

void
snapnotify(const struct cli *c, const struct client *cl, const struct snap_infos *l)
{
    size_t n;
    struct line_snap *v = take_snaps(l, &n);
    int64_t now_ns = clock_wall_ns();

    for (size_t at = 0, end; at < l->n; at = end) {
        int64_t goes_ns;

        end = snapview_copies(l, at);
        goes_ns = snapview_goes_at(l, at, end);
        if (goes_ns > 0 && goes_ns - now_ns < NOTIFY_EXPIRY_DAYS * NS_PER_DAY) {
            look_at(c, cl, v, n, &l->v[at]);
        }
    }
    free(v);
}
