#include <string.h>

#include "base/clock.h"
#include "runner/client/copies.h"
#include "runner/client/snaps.h"
#include "runner/client/told.h"
#include "runner/job/state.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

/* What a host does not know after so long never came to be there. */
#define COMING_NS ((int64_t)600 * 1000000000)

static void
answer_unknown(const struct copy_due *d, enum copy_answer *answer)
{
    int64_t age_ns = clock_wall_ns() - d->made_wall_ns;

    *answer = age_ns >= 0 && age_ns < COMING_NS ? COPY_WAITS : COPY_OVER;
}

static int
ask_state(struct session *s, const struct copy_due *d, struct job_state *st,
          struct err *e)
{
    struct rec *req = msg_request_new(VERB_JOB_SHOW);
    struct rec *resp = NULL;
    int rc;

    rec_add(req, "job", d->id);
    rc = session_call(s, req, SNAP_ANSWER_NS, &resp, e);
    if (rc == 0) {
        rc = told_state(s, resp, d->id, st, e);
    }
    rec_free(resp);
    rec_free(req);
    return rc;
}

/* That snapshot is what there is, if its data is kept still. */
static int
ask_snapshot(struct session *s, const char *id, struct copy_due *d,
             enum copy_answer *answer, struct copy_source *src, struct err *e)
{
    struct snap_info info;

    snap_info_init(&info);
    if (snaps_show(s, id, &info, NULL, e) != 0) {
        if (e->code != ERR_NOT_FOUND) {
            return -1;
        }
        answer_unknown(d, answer);
        return 0;
    }
    *answer = info.kept ? COPY_THERE : COPY_OVER;
    memcpy(src->snapshot, info.id, sizeof src->snapshot);
    memcpy(d->snapshot, info.id, sizeof d->snapshot);
    src->stored_bytes = info.stored_bytes;
    d->stored_bytes = info.stored_bytes;
    d->expires_wall_ns = info.expires_wall_ns;
    snap_info_free(&info);
    return 0;
}

/* The newest of a job that goes on, unless that one is copied. */
static int
ask_live(struct session *s, const struct copy_due *d, enum copy_answer *answer,
         struct copy_source *src, struct err *e)
{
    struct snap_infos l = {NULL, 0};
    const struct snap_info *newest;
    int rc = snaps_list(s, false, &l, NULL, e);

    snaps_sort(&l);
    newest = rc == 0 ? snaps_newest_of_job(&l, d->id) : NULL;
    *answer = COPY_WAITS;
    if (newest != NULL) {
        *answer = strcmp(newest->id, d->copied) != 0 ? COPY_THERE : COPY_WAITS;
        memcpy(src->snapshot, newest->id, sizeof src->snapshot);
        src->stored_bytes = newest->stored_bytes;
        src->live = true;
    }
    snap_infos_free(&l);
    return rc;
}

static int
ask_job(struct session *s, struct copy_due *d, enum copy_answer *answer,
        struct copy_source *src, struct err *e)
{
    struct job_state st;
    int rc = 0;

    state_init(&st);
    if (ask_state(s, d, &st, e) != 0) {
        rc = e->code == ERR_NOT_FOUND ? 0 : -1;
        answer_unknown(d, answer);
    } else if (!job_phase_is_final(st.phase)) {
        *answer = COPY_WAITS;
        rc = d->live ? ask_live(s, d, answer, src, e) : 0;
    } else if (st.snapshot[0] == '\0') {
        *answer = job_data_waits(&st) ? COPY_WAITS : COPY_OVER;
    } else if (st.kept_as_shipped == 1) {
        *answer = COPY_OVER;
    } else {
        rc = ask_snapshot(s, st.snapshot, d, answer, src, e);
    }
    state_free(&st);
    return rc;
}

int
copies_ask(struct session *s, struct copy_due *d, enum copy_answer *answer,
           struct copy_source *src, struct err *e)
{
    memset(src, 0, sizeof *src);
    *answer = COPY_NONE;
    return id_is(ID_JOB, d->id) ? ask_job(s, d, answer, src, e)
                                : ask_snapshot(s, d->id, d, answer, src, e);
}
