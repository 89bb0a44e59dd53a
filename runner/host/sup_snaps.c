/*
 * --snap-every: now and then a snapshot of the running job's directory, on a thread of
 * its own. A new one takes the place of the one before, and the one at the end that of
 * the last: so at most one more than without is kept. One that is not whole takes no
 * whole one's place: then there are two. What `snap keep` was said of stays besides.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "runner/host/notices.h"
#include "runner/host/supervise_internal.h"
#include "runner/host/work.h"
#include "runner/host/workdirs.h"
#include "storage/snap.h"
#include "storage/store.h"

#define NS_PER_S ((int64_t)1000000000)

struct sup_snaps {
    struct sup *sup;
    struct timer *timer;
    bool stopped;
    bool taking; /* the thread has what follows */
    struct job_state state;
    char id[JOB_ID_LEN + 1];
    char whole[JOB_ID_LEN + 1];   /* the last whole one; "" none yet */
    char partial[JOB_ID_LEN + 1]; /* a later one that is not; "" none */
};

/* The data of one that a later one holds, too; "" none. */
static int
drop(const struct renter *r, const char *id, struct err *e)
{
    struct store *st = NULL;
    int rc = 0;

    if (id[0] != '\0') {
        rc = workdirs_open_store(r, &st, e) == 0 ? snap_drop_replaced(st, id, e) : -1;
        store_close(st);
    }
    return rc;
}

/* Its last one is n->id now. */
static int
take_place(struct sup_snaps *n, bool whole, struct err *e)
{
    const struct renter *r = n->sup->renter;
    char was[JOB_ID_LEN + 1] = "";
    char later[JOB_ID_LEN + 1];

    memcpy(later, n->partial, sizeof later);
    if (whole) {
        memcpy(was, n->whole, sizeof was);
        memcpy(n->whole, n->id, sizeof n->whole);
        n->partial[0] = '\0';
    } else {
        memcpy(n->partial, n->id, sizeof n->partial);
    }
    return drop(r, was, e) == 0 && drop(r, later, e) == 0 ? 0 : -1;
}

static int
take_run(void *ctx, struct err *e)
{
    struct sup_snaps *n = ctx;
    struct sup *s = n->sup;
    struct workdirs_snapshot taken;
    struct workdirs_end end = {
        .spec = &s->spec, .state = &n->state, .live = true, .id = n->id};

    if (workdirs_snapshot(s->agent, s->renter, &end, &taken, e) != 0) {
        return -1;
    }
    notices_expect(s->renter, &s->spec);
    return take_place(n, !taken.partial, e);
}

static void
take_done(void *ctx, int rc, const struct err *why)
{
    struct sup_snaps *n = ctx;

    n->taking = false;
    state_free(&n->state);
    if (rc != 0) {
        sup_say(n->sup, "snapshot on the way: %s", why->msg);
    } else {
        sup_say(n->sup, "snapshot on the way: %s", n->id);
    }
    if (!n->stopped) {
        timer_after(n->timer, n->sup->spec.snap_every_s * NS_PER_S);
    }
}

static void
take_due(void *ctx)
{
    struct sup_snaps *n = ctx;
    struct err e;

    if (n->stopped || n->taking || n->sup->main_exited) {
        return;
    }
    state_init(&n->state);
    state_copy(&n->state, &n->sup->state);
    random_id("s", n->id);
    n->taking = true;
    if (work_start(n->sup->loop, take_run, take_done, n, &e) != 0) {
        take_done(n, -1, &e);
    }
}

void
sup_snaps_start(struct sup *s)
{
    if (s->spec.snap_every_s == 0 || s->snaps != NULL) {
        return;
    }
    s->snaps = xcalloc(1, sizeof *s->snaps);
    s->snaps->sup = s;
    s->snaps->timer = timer_new(s->loop, take_due, s->snaps);
    timer_after(s->snaps->timer, s->spec.snap_every_s * NS_PER_S);
}

bool
sup_snaps_stop(struct sup *s)
{
    if (s->snaps == NULL) {
        return true;
    }
    s->snaps->stopped = true;
    timer_cancel(s->snaps->timer);
    return !s->snaps->taking;
}

void
sup_snaps_end(struct sup *s)
{
    struct err e;

    if (s->snaps != NULL && s->state.kept == JOB_KEPT_WHOLE &&
        (drop(s->renter, s->snaps->whole, &e) != 0 ||
         drop(s->renter, s->snaps->partial, &e) != 0)) {
        sup_say(s, "snapshot on the way: %s", e.msg);
    }
}

void
sup_snaps_free(struct sup *s)
{
    if (s->snaps != NULL) {
        timer_free(s->snaps->timer);
        free(s->snaps);
        s->snaps = NULL;
    }
}
