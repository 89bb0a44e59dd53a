#include <stdio.h>
#include <string.h>

#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/batch_internal.h"
#include "runner/client/lease.h"

/* Jobs of ours that a host may be closing (their devices are free) while others start. */
#define CLOSING_MAX 8

static bool
is_cpu(const struct batch_job *j)
{
    return strcmp(j->r.want.device.device_class, "cpu") == 0;
}

/* May the job run there at all: is it the host that was named, and has it answered? */
static bool
in_reach(const struct batch *b, const struct batch_job *j, size_t at)
{
    const struct candidate *c = place_at(b->place, at);

    return (j->r.host == NULL || strcmp(c->host, j->r.host) == 0) &&
           session_conn(c->session) != NULL;
}

/* ---- what is in use by us ---- */

static struct batch_use *
use_of(struct batch_host *h, const char *device_class, const char *type)
{
    struct batch_use *u;

    for (size_t i = 0; i < h->n_uses; i++) {
        u = &h->uses[i];
        if (strcmp(u->device_class, device_class) == 0 && strcmp(u->type, type) == 0) {
            return u;
        }
    }
    if (h->n_uses == BATCH_USES_MAX) {
        return NULL;
    }
    u = &h->uses[h->n_uses++];
    (void)snprintf(u->device_class, sizeof u->device_class, "%s", device_class);
    (void)snprintf(u->type, sizeof u->type, "%s", type);
    u->n = 0;
    return u;
}

static int64_t
used(struct batch_host *h, const struct batch_job *j, const char *type)
{
    const struct batch_use *u = use_of(h, j->r.want.device.device_class, type);

    return u != NULL ? u->n : INT64_MIN / 2;
}

void
batch_count(struct batch_job *j, int64_t n)
{
    struct batch_use *u = use_of(j->host, j->r.want.device.device_class, j->type);

    if (u != NULL) {
        u->n += n;
    }
}

/* Cores are a quota, never a lock: as many as there are are given out at once. */
static int64_t
cores_free(const struct batch *b, const struct batch_host *h)
{
    int64_t n = session_info(place_at(b->place, h->at)->session)->cores;

    for (size_t i = 0; i < b->n; i++) {
        const struct batch_job *j = &b->jobs[i];

        if (j->host == h && !j->released && is_cpu(j) &&
            (j->stage == BATCH_SENT || j->stage == BATCH_ACCEPTED)) {
            n -= j->r.spec.count;
        }
    }
    return n;
}

static bool
closes_many(const struct batch *b, const struct batch_host *h)
{
    size_t n = 0;

    for (size_t i = 0; i < b->n; i++) {
        n += b->jobs[i].host == h && b->jobs[i].released && b->jobs[i].stage != BATCH_DONE
                 ? 1
                 : 0;
    }
    return n >= CLOSING_MAX;
}

static bool
has_room(struct batch *b, struct batch_job *j, size_t at)
{
    const struct candidate *c = place_at(b->place, at);
    struct batch_host *h = &b->hosts[at];

    if (!in_reach(b, j, at) || !batch_has_data(b, j, at) || closes_many(b, h)) {
        return false;
    }
    if (is_cpu(j)) {
        return c->fit == PLACE_FITS && cores_free(b, h) >= j->r.spec.count;
    }
    if (c->fit != PLACE_FITS && c->fit != PLACE_BUSY) {
        return false;
    }
    return c->n_free + used(h, j, c->type) >= j->r.spec.count;
}

static bool
is_cheaper(const struct candidate *a, const struct candidate *b)
{
    if (a->n_shared != b->n_shared) { /* others compute there */
        return a->n_shared < b->n_shared;
    }
    return a->uyuan_per_h != b->uyuan_per_h ? a->uyuan_per_h < b->uyuan_per_h
                                            : a->estimate_uyuan < b->estimate_uyuan;
}

/* Of hosts that ask the same, the one with the most left to give. */
static bool
is_emptier(struct batch *b, const struct batch_job *j, size_t x, size_t y)
{
    const struct candidate *a = place_at(b->place, x);
    const struct candidate *c = place_at(b->place, y);

    if (is_cpu(j)) {
        return cores_free(b, &b->hosts[x]) > cores_free(b, &b->hosts[y]);
    }
    return a->n_free + used(&b->hosts[x], j, a->type) >
           c->n_free + used(&b->hosts[y], j, c->type);
}

const struct candidate *
batch_find_room(struct batch *b, struct batch_job *j)
{
    const struct candidate *best = NULL;
    size_t best_at = 0;

    place_set_want(b->place, &j->r.want);
    for (size_t i = 0; i < b->n_hosts; i++) {
        const struct candidate *c = place_at(b->place, i);

        if (has_room(b, j, i) &&
            (best == NULL || is_cheaper(c, best) ||
             (!is_cheaper(best, c) && is_emptier(b, j, i, best_at)))) {
            best = c;
            best_at = i;
        }
    }
    return best;
}

/* ---- before anything starts ---- */

const struct candidate *
batch_cheapest(struct batch *b, struct batch_job *j, bool with_data)
{
    const struct candidate *best = NULL;

    place_set_want(b->place, &j->r.want);
    for (size_t i = 0; i < b->n_hosts; i++) {
        const struct candidate *c = place_at(b->place, i);

        if (in_reach(b, j, i) && (c->fit == PLACE_FITS || c->fit == PLACE_BUSY) &&
            (!with_data || batch_has_data(b, j, i)) &&
            (best == NULL || is_cheaper(c, best))) {
            best = c;
        }
    }
    return best;
}

int
batch_check_place(struct batch *b, struct batch_job *j, struct err *e)
{
    bool known = j->r.host == NULL;
    bool reached = false;

    place_set_want(b->place, &j->r.want);
    for (size_t i = 0; i < b->n_hosts; i++) {
        const struct candidate *c = place_at(b->place, i);

        known = known || strcmp(c->host, j->r.host) == 0;
        reached = reached || in_reach(b, j, i);
        if (in_reach(b, j, i) && (c->fit == PLACE_FITS || c->fit == PLACE_BUSY)) {
            return place_check_paid(b->place, c, e);
        }
    }
    if (!known) {
        return err_set(e, ERR_NOT_FOUND, _("there is no host '%s'"), j->r.host);
    }
    (void)place_explain(b->place, e);
    if (!reached && j->r.host != NULL) {
        err_set(e, ERR_LINK, _("host '%s' could not be asked"), j->r.host);
    }
    return -1;
}

int64_t
batch_cap(struct batch *b, struct batch_job *j, int64_t keep_bytes)
{
    struct lease_want want = {.max_cost_fen = j->r.max_cost_fen,
                              .ceiling = j->r.cost_ceiling,
                              .keep_bytes = keep_bytes,
                              .has_window = j->r.has_window};
    int64_t cap = 0;

    place_set_want(b->place, &j->r.want);
    for (size_t i = 0; i < b->n_hosts; i++) {
        const struct candidate *c = place_at(b->place, i);
        int64_t can_run_s;
        struct grant g;
        struct err e;

        if (!in_reach(b, j, i) || (c->fit != PLACE_FITS && c->fit != PLACE_BUSY) ||
            session_offer(c->session) == NULL) {
            continue;
        }
        if (lease_make(&g, b->cl, b->purse, session_offer(c->session), c, &j->r.spec,
                       &want, &e) == 0) {
            can_run_s = lease_can_run_s(&g, keep_bytes);
            b->can_run_s = can_run_s > b->can_run_s ? can_run_s : b->can_run_s;
            cap = g.cap_fen > cap ? g.cap_fen : cap;
        }
        grant_clear(&g);
        j->r.spec.max_time_s = j->asked_time_s;
        j->r.spec.window_s = j->asked_window_s;
    }
    return cap;
}

int
batch_ask_again(struct batch *b, struct err *e)
{
    for (size_t i = 0; i < b->n_hosts; i++) {
        struct session *s = place_at(b->place, i)->session;

        if (session_conn(s) == NULL) {
            continue;
        }
        if (session_refresh(s, e) == 0) {
            b->hosts[i].n_uses = 0;
        }
    }
    b->look = true;
    return 0;
}
