#include "runner/cli/snapnotify.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "runner/cli/out.h"
#include "runner/client/jobs.h"

/* The job as it ended, by what is known of it here and in its snapshot. */
static void
fill_state(struct job_state *st, const struct job_record *r, const struct snap_info *s,
           int64_t goes_wall_ns)
{
    memcpy(st->job, r->id, sizeof st->job);
    state_set_text(&st->name, r->name);
    state_set_text(&st->command, r->command);
    st->reason = s->reason != NULL ? job_reason_from_name(s->reason) : JOB_REASON_NONE;
    st->phase = st->reason == JOB_REASON_NONE ? JOB_LOST : JOB_ENDED;
    st->exit_code = s->exit_code >= 0 ? s->exit_code : JOB_NOT_SET;
    st->signal = s->signal > 0 ? s->signal : JOB_NOT_SET;
    st->ended_wall_ns = s->ended_wall_ns;
    st->charge_fen = r->charge_fen >= 0 ? r->charge_fen : JOB_NOT_SET;
    st->cap_fen = r->cap_fen;
    st->expires_wall_ns = goes_wall_ns;
    memcpy(st->snapshot, r->snapshot, sizeof st->snapshot);
}

static void
tell(const struct cli *c, const struct job_record *r, const struct snap_info *s,
     const char *event, int64_t goes_wall_ns)
{
    struct strings env = {NULL, 0};
    struct job_state st;
    struct err e;
    pid_t pid;

    state_init(&st);
    fill_state(&st, r, s, goes_wall_ns);
    for (char **v = environ; *v != NULL; v++) {
        strings_add(&env, *v);
    }
    notify_facts(&env, event, &st, s->host);
    if (notify_start(r->notify, &env, &pid, &e) != 0) {
        say(c, "%s", e.msg);
    }
    strings_free(&env);
    state_free(&st);
}

void
snapnotify(const struct cli *c, const struct client *cl, const struct snap_info *v,
           int64_t goes_wall_ns)
{
    struct job_record r;
    const char *event;
    struct err none;

    job_record_init(&r);
    if (v->job != NULL && jobs_load(cl->home, v->job, &r, &none) == 0 &&
        r.notify != NULL && strcmp(r.snapshot, v->id) == 0) {
        event = notify_expiry(&r.told, goes_wall_ns, clock_wall_ns());
        /* What cannot be written down would be told at every look. */
        if (event != NULL && jobs_save(cl->home, &r, &none) == 0) {
            tell(c, &r, v, event, goes_wall_ns);
        }
    }
    job_record_free(&r);
}
