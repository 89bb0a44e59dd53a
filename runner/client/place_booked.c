#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lang.h"
#include "meter/money.h"
#include "runner/client/booked.h"
#include "runner/client/place_internal.h"

#define NS_PER_S ((int64_t)1000000000)

/* Devices of the reservation that are free and mean what is wanted. */
struct reserved {
    const struct device *first;
    int64_t n_free;
    int64_t n_shared; /* of those */
};

static struct reserved
count_reserved(const struct reservation *r, const struct place_want *w,
               const struct host_info *info)
{
    struct reserved k = {.first = NULL};

    for (size_t i = 0; i < info->devices.n; i++) {
        const struct device *d = &info->devices.v[i];

        if (d->usable && d->state == DEVICE_RESERVED &&
            strcmp(d->device_class, r->class_name) == 0 &&
            strcmp(d->type, r->type) == 0 && reservation_has_device(r, d->uuid) &&
            device_matches(d, w->device.device_class, w->device.type)) {
            k.first = k.first != NULL ? k.first : d;
            k.n_free++;
            k.n_shared += device_is_shared(d) ? 1 : 0;
        }
    }
    return k;
}

void
place_judge_reserved(struct candidate *c, const struct place_want *w,
                     const struct host_info *info, const struct reservation *r)
{
    struct reserved k = count_reserved(r, w, info);
    int64_t left_s = r->to_s - info->wall_ns / NS_PER_S;
    struct candidate next = *c;

    if (memcmp(r->host.b, info->key.b, sizeof r->host.b) != 0 || r->given_back ||
        left_s <= 0 || left_s < w->time_s || k.n_free < w->device.count ||
        k.first == NULL) {
        return;
    }
    next.fit = PLACE_FITS;
    next.uyuan_per_h = 0;
    next.own_estimate = false;
    next.n_free = k.n_free;
    next.n_shared = place_need_shared(w, k.n_free, k.n_shared);
    next.reserved_s = left_s;
    next.why[0] = '\0';
    (void)snprintf(next.type, sizeof next.type, "%s", r->type);
    (void)snprintf(next.device_name, sizeof next.device_name, "%s", k.first->name);
    (void)snprintf(next.reservation, sizeof next.reservation, "%s", r->id);
    /* Of several the one that ends first, as long as it is long enough. */
    if (c->reservation[0] == '\0' || left_s < c->reserved_s) {
        *c = next;
    }
}

/* ---- how they stand ---- */

static void
add_news(struct strings *news, char *text)
{
    strings_add(news, text);
    free(text);
}

/* What has become of it since it was last heard of. */
static void
tell_change(const struct reservation *r, const struct reservation *was, const char *host,
            struct strings *news)
{
    const struct reservation_event *ev = &r->events[r->n_events - 1];
    char money[MONEY_TEXT_MAX];

    if (r->n_events == was->n_events) {
        return;
    }
    if (ev->act == ORDER_BREAK) {
        money_format_fen(ev->refund_fen, money);
        add_news(news, xasprintf(_("the owner of host '%s' has broken reservation %s: %s "
                                   "yuan come back"),
                                 host, r->id, money));
    } else {
        add_news(news, xasprintf(_("reservation %s on host '%s' has changed: `gpurun "
                                   "reserve show %s`"),
                                 r->id, host, r->id));
    }
}

static void
ask_one(struct client *cl, const struct candidate *c, const struct reservation *was,
        struct strings *news)
{
    struct reservation *r = NULL;
    struct err why;

    if (booked_fetch(cl, c->session, was->id, &r, &why) == 0) {
        tell_change(r, was, c->host, news);
    } else if (why.code != ERR_LINK) {
        add_news(news, xasprintf(_("reservation %s: host '%s': %s"), was->id, c->host,
                                 why.msg));
    }
    reservation_free(r);
}

void
place_ask_booked(struct client *cl, const struct place *p, struct strings *news)
{
    struct booked_list l = {.v = NULL};
    struct err none;

    if (booked_list(cl->home, &l, &none) != 0) {
        return; /* place_check_paid tells */
    }
    for (size_t i = 0; i < place_n(p); i++) {
        const struct candidate *c = place_at(p, i);
        const struct host_info *info;

        for (size_t k = 0; k < l.n && session_state(c->session) == SESSION_UP; k++) {
            info = session_info(c->session);
            if (memcmp(l.v[k]->host.b, info->key.b, sizeof info->key.b) == 0 &&
                reservation_holds(l.v[k], info->wall_ns / NS_PER_S)) {
                ask_one(cl, c, l.v[k], news);
            }
        }
    }
    booked_free(&l);
}
