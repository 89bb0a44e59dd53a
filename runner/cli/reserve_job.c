#include "runner/cli/reserve_job.h"

#include <stdio.h>
#include <string.h>

#include "base/lang.h"
#include "base/rec.h"
#include "runner/cli/context.h"
#include "runner/client/booked.h"
#include "runner/client/told.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define NS_PER_S ((int64_t)1000000000)

int
reserve_job_devices(struct session *s, const char *job, struct job_state *st,
                    struct err *e)
{
    struct rec *resp = NULL;
    int rc = context_show_job(s, job, &resp, e);

    if (rc == 0) {
        rc = told_state(s, resp, job, st, e);
    }
    rec_free(resp);
    if (rc == 0 && (st->phase != JOB_RUNNING || st->n_devices == 0 ||
                    strcmp(st->devices[0].device_class, "cpu") == 0)) {
        rc = err_set(e, ERR_NOT_FOUND,
                     _("job %s runs on no device that could be reserved"), job);
    }
    return rc;
}

static bool
covers(const struct reservation *r, const struct job_state *st)
{
    for (size_t i = 0; i < st->n_devices; i++) {
        if (!reservation_has_device(r, st->devices[i].uuid)) {
            return false;
        }
    }
    return true;
}

bool
reserve_job_covered(const struct home *home, const struct session *s,
                    const struct job_state *st, char id[GRANT_ID_MAX + 1])
{
    const struct host_info *info = session_info(s);
    struct booked_list l = {.v = NULL};
    struct err none;
    bool found = false;

    if (booked_list(home, &l, &none) != 0) {
        return false;
    }
    for (size_t i = 0; i < l.n && !found; i++) {
        const struct reservation *r = l.v[i];

        if (memcmp(r->host.b, info->key.b, sizeof r->host.b) == 0 &&
            reservation_holds(r, info->wall_ns / NS_PER_S) && covers(r, st)) {
            memcpy(id, r->id, sizeof r->id);
            found = true;
        }
    }
    booked_free(&l);
    return found;
}

int
reserve_job_put(struct session *s, const char *job, const char *reservation,
                struct err *e)
{
    struct rec *req = msg_request_new(VERB_JOB_RESERVE);
    struct rec *resp = NULL;
    int rc;

    msg_add_key(req, NULL);
    rec_add(req, "job", job);
    rec_add(req, "reservation", reservation);
    rc = session_call(s, req, CONTEXT_ANSWER_NS, &resp, e);
    rec_free(req);
    rec_free(resp);
    return rc;
}
