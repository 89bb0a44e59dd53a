#include <stdio.h>
#include <string.h>

#include "runner/client/place_internal.h"

#define NS_PER_S ((int64_t)1000000000)

/* Devices of the reservation that are free and mean what is wanted. */
static int64_t
count_reserved(const struct reservation *r, const struct place_want *w,
               const struct host_info *info, const struct device **first)
{
    int64_t n = 0;

    for (size_t i = 0; i < info->devices.n; i++) {
        const struct device *d = &info->devices.v[i];

        if (d->usable && d->state == DEVICE_RESERVED &&
            strcmp(d->device_class, r->class_name) == 0 &&
            strcmp(d->type, r->type) == 0 && reservation_has_device(r, d->uuid) &&
            device_matches(d, w->device.device_class, w->device.type)) {
            *first = *first != NULL ? *first : d;
            n++;
        }
    }
    return n;
}

void
place_judge_reserved(struct candidate *c, const struct place_want *w,
                     const struct reservation *r)
{
    const struct host_info *info = session_info(c->session);
    int64_t left_s = r->to_s - info->wall_ns / NS_PER_S;
    const struct device *first = NULL;
    struct candidate next = *c;

    if (memcmp(r->host.b, info->key.b, sizeof r->host.b) != 0 || r->given_back ||
        left_s <= 0 || left_s < w->time_s ||
        count_reserved(r, w, info, &first) < w->device.count || first == NULL) {
        return;
    }
    next.fit = PLACE_FITS;
    next.uyuan_per_h = 0;
    next.own_estimate = false;
    next.n_free = count_reserved(r, w, info, &first);
    next.reserved_s = left_s;
    next.why[0] = '\0';
    (void)snprintf(next.type, sizeof next.type, "%s", r->type);
    (void)snprintf(next.device_name, sizeof next.device_name, "%s", first->name);
    (void)snprintf(next.reservation, sizeof next.reservation, "%s", r->id);
    /* Of several the one that ends first, as long as it is long enough. */
    if (c->reservation[0] == '\0' || left_s < c->reserved_s) {
        *c = next;
    }
}
