#include <string.h>

#include "base/lang.h"
#include "runner/cli/context.h"
#include "runner/cli/launch_internal.h"
#include "runner/cli/out.h"
#include "runner/client/told.h"

/* Does the job's host say that it goes on? One that cannot be asked is not in the way. */
static bool
goes_on(struct cli *c, struct client *cl, const struct job_record *j)
{
    struct session *s = NULL;
    struct rec *resp = NULL;
    struct job_state st;
    bool runs = false;
    struct err e;

    state_init(&st);
    if (context_session(cl, j->host, 0, &s, &e) != 0 ||
        context_show_job(s, j->id, &resp, &e) != 0 ||
        told_state(s, resp, j->id, &st, &e) != 0) {
        say_more(c, _("whether '%s' still runs is not known: %s"), j->name, e.msg);
    } else {
        runs = !job_phase_is_final(st.phase);
    }
    state_free(&st);
    rec_free(resp);
    session_close(s);
    return runs;
}

int
launch_check_name(struct cli *c, struct client *cl, const char *name, struct err *e)
{
    struct job_list jobs = {NULL, 0};
    int rc = 0;

    if (jobs_list(cl->home, &jobs, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < jobs.n; i++) {
        const struct job_record *j = &jobs.v[i];

        if (strcmp(j->name, name) != 0) {
            continue;
        }
        /* The newest: those before had ended when it got the name. */
        if (!j->final && goes_on(c, cl, j)) {
            rc = err_set(
                e, ERR_EXISTS,
                _("a job named '%s' runs on host '%s' (%s): take another name, or "
                  "`gpurun stop %s` first"),
                j->name, j->host, j->id, j->name);
        }
        break;
    }
    job_list_free(&jobs);
    return rc;
}
