#include "runner/cli/reserve_choose.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lang.h"
#include "runner/cli/out.h"
#include "runner/client/place.h"

static int
list_hosts(struct client *cl, const char *host, struct host_list *out, struct err *e)
{
    struct host one;

    if (host == NULL) {
        return hosts_list_used(cl->home, out, e);
    }
    if (hosts_load(cl->home, host, &one, e) != 0) {
        return -1;
    }
    out->v = xmemdup(&one, sizeof one);
    out->n = 1;
    return 0;
}

struct pick {
    const struct candidate *on;
    const struct card_plan *plan;
    bool sold; /* somewhere, if not free */
};

static void
look_at(struct pick *best, const struct candidate *c, const struct device_want *want,
        const char *unit)
{
    const struct offer *o = session_offer(c->session);
    const struct host_info *info = session_info(c->session);

    for (size_t i = 0; o != NULL && i < o->n_plans; i++) {
        const struct card_plan *p = &o->plans[i];
        int64_t n_free = 0;
        int64_t n_all = 0;

        for (size_t k = 0; k < info->devices.n; k++) {
            const struct device *v = &info->devices.v[k];
            bool meant = strcmp(v->device_class, p->class_name) == 0 &&
                         strcmp(v->type, p->type) == 0 && v->usable &&
                         device_matches(v, want->device_class, want->type);

            n_all += meant;
            n_free += meant && v->state == DEVICE_FREE;
        }
        if (strcmp(p->unit, unit) != 0 || n_all < want->count) {
            continue;
        }
        best->sold = true;
        if (n_free >= want->count &&
            (best->plan == NULL || p->price_fen < best->plan->price_fen)) {
            best->on = c;
            best->plan = p;
        }
    }
}

/* What one of these sells was not looked at: it may be what was meant, or cheaper. */
static void
tell_unreached(const struct cli *c, const struct place *p)
{
    for (size_t i = 0; place_n(p) > 1 && i < place_n(p); i++) {
        const struct candidate *v = place_at(p, i);

        if (session_state(v->session) != SESSION_UP) {
            say(c, _("host '%s' could not be asked: %s"), v->host, v->why);
        }
    }
}

static int
take(struct place *p, const struct pick *best, const struct device_want *want,
     struct reserve_choice *out, struct err *e)
{
    struct order *o = out->order;

    if (best->plan == NULL && !out->reached) {
        return err_set(e, ERR_LINK, "%s", place_at(p, 0)->why);
    }
    if (best->plan == NULL) {
        return err_set(e, best->sold ? ERR_BUSY : ERR_NOT_FOUND,
                       best->sold
                           ? _("no %s %s:%lld is free to be reserved now")
                           : _("no host that could be asked sells %s %s:%lld by the time "
                               "asked for"),
                       want->device_class, want->type, (long long)want->count);
    }
    o->act = ORDER_BUY;
    memcpy(o->class_name, best->plan->class_name, sizeof o->class_name);
    memcpy(o->type, best->plan->type, sizeof o->type);
    memcpy(o->unit, best->plan->unit, sizeof o->unit);
    o->n_devices = want->count;
    out->session = place_take(p, best->on);
    return 0;
}

int
reserve_choose(const struct cli *c, struct client *cl, const char *host,
               const struct device_want *want, enum reserve_unit unit,
               struct reserve_choice *out, struct err *e)
{
    struct host_list hosts = {NULL, 0};
    struct pick best = {.on = NULL};
    struct place *p = NULL;
    int rc = -1;

    out->reached = false;
    if (list_hosts(cl, host, &hosts, e) != 0 || place_open(&p, cl, &hosts, e) != 0 ||
        place_ask_all(p, e) != 0) {
        goto out;
    }
    for (size_t i = 0; i < place_n(p); i++) {
        const struct candidate *v = place_at(p, i);

        if (session_state(v->session) == SESSION_UP) {
            look_at(&best, v, want, reserve_unit_name(unit));
            out->reached = true;
        }
    }
    tell_unreached(c, p);
    rc = take(p, &best, want, out, e);

out:
    place_free(p);
    host_list_free(&hosts);
    return rc;
}
