#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/lang.h"
#include "base/num.h"
#include "base/text.h"
#include "meter/money.h"
#include "runner/client/place_internal.h"
#include "runner/client/yuan.h"

/* Devices of one type among those that match. */
struct kind {
    const char *type;
    const struct device *first;
    int64_t n_all;
    int64_t n_free;
    int64_t n_shared; /* of the free ones */
    int64_t uyuan;
    bool offered;
};

#define KINDS_MAX 64

bool
place_wants_cpu(const struct place_want *w)
{
    return strcmp(w->device.device_class, "cpu") == 0;
}

/* No more than there are: what is busy or reserved is wanting, too. */
int64_t
place_need_shared(const struct place_want *w, int64_t n_free, int64_t n_shared)
{
    return i64_min(n_shared, i64_max(w->device.count - (n_free - n_shared), 0));
}

static void
count_device(struct kind *k, const struct device *d)
{
    if (d->cores > 0) { /* cores are shared: what counts is how many there are */
        k->n_all += d->cores;
        k->n_free += d->cores;
        return;
    }
    k->n_all++;
    k->n_free += d->usable && d->state == DEVICE_FREE ? 1 : 0;
    k->n_shared += d->usable && d->state == DEVICE_FREE && device_is_shared(d) ? 1 : 0;
}

static size_t
group_devices(const struct place_want *w, const struct host_info *info,
              const struct offer *offer, struct kind kinds[KINDS_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < info->devices.n; i++) {
        const struct device *d = &info->devices.v[i];
        const char *type = place_wants_cpu(w) ? "" : d->type;
        const struct offer_price *price;
        size_t k = 0;

        if (!device_matches(d, w->device.device_class, w->device.type)) {
            continue;
        }
        while (k < n && strcmp(kinds[k].type, type) != 0) {
            k++;
        }
        if (k == KINDS_MAX) {
            continue;
        }
        if (k == n) {
            kinds[n++] = (struct kind){.type = type, .first = d};
            price = offer != NULL ? offer_find_price(offer, d->device_class, type) : NULL;
            kinds[k].offered = price != NULL;
            kinds[k].uyuan = price != NULL ? price->uyuan_per_h : 0;
        }
        count_device(&kinds[k], d);
    }
    return n;
}

/* What the renter typed at `host add`, for a host that asks nothing. */
static bool
find_estimate(const struct host *h, const struct kind *k, int64_t *uyuan)
{
    for (size_t i = 0; i < h->n_prices; i++) {
        const struct host_price *p = &h->prices[i];
        bool same = k->type[0] == '\0'
                        ? strcmp(p->type, k->first->device_class) == 0
                        : device_type_matches(p->type, k->first->name, k->first->type,
                                              k->first->memory_bytes);

        if (same) {
            *uyuan = p->uyuan;
            return true;
        }
    }
    return false;
}

static void
describe_missing(struct candidate *c, const struct host_info *info)
{
    struct buf b = BUF_INIT;
    char type[DEVICE_TEXT_MAX + 1];

    for (size_t i = 0; i < info->devices.n && b.len < 200; i++) {
        const struct device *d = &info->devices.v[i];

        if (strcmp(d->device_class, "cpu") == 0) {
            continue;
        }
        buf_printf(&b, "%s%s", b.len > 0 ? ", " : "",
                   text_escape_to(type, sizeof type, d->type));
    }
    if (b.len > 0) {
        (void)snprintf(c->why, sizeof c->why, _("has none (it has: %s)"), buf_str(&b));
    } else {
        (void)snprintf(c->why, sizeof c->why,
                       _("has none (no devices but %" PRId64 " cores)"), info->cores);
    }
    buf_free(&b);
}

static void
judge_kind(struct candidate *c, const struct place_want *w, const struct host *h,
           const struct kind *k)
{
    int64_t price = k->uyuan;
    char money[MONEY_TEXT_MAX];
    struct candidate next = *c;

    next.own_estimate = k->uyuan == 0 && find_estimate(h, k, &next.estimate_uyuan);
    price = next.own_estimate ? next.estimate_uyuan : price;
    next.uyuan_per_h = k->uyuan;
    next.n_free = k->n_free;
    next.n_shared = place_need_shared(w, k->n_free, k->n_shared);
    (void)snprintf(next.type, sizeof next.type, "%s", k->type);
    (void)snprintf(next.device_name, sizeof next.device_name, "%s", k->first->name);
    next.why[0] = '\0';
    if (!k->offered) {
        next.fit = PLACE_UNFIT;
        (void)snprintf(next.why, sizeof next.why, "%s", _("its owner does not offer it"));
    } else if (k->n_all < w->device.count) {
        next.fit = PLACE_UNFIT;
        (void)snprintf(next.why, sizeof next.why, _("has only %" PRId64), k->n_all);
    } else if (w->max_price_uyuan >= 0 && price > w->max_price_uyuan) {
        next.fit = PLACE_UNFIT;
        money_format_uyuan(price, money);
        (void)snprintf(next.why, sizeof next.why, _("asks %s%s/h"), yuan_sign(), money);
    } else if (k->n_free < w->device.count) {
        next.fit = PLACE_BUSY;
        (void)snprintf(next.why, sizeof next.why, _("%" PRId64 " of %" PRId64 " free"),
                       k->n_free, k->n_all);
    } else {
        next.fit = PLACE_FITS;
    }
    /* The best of its kinds: what fits before what is busy, then what nobody computes on,
     * then the cheapest. */
    if (c->fit == PLACE_NONE || next.fit < c->fit ||
        (next.fit == c->fit && next.n_shared < c->n_shared) ||
        (next.fit == c->fit && next.n_shared == c->n_shared &&
         next.uyuan_per_h < c->uyuan_per_h)) {
        *c = next;
    }
}

void
place_judge(struct candidate *c, const struct place_want *w, const struct host *h,
            const struct host_info *info, const struct offer *offer)
{
    struct kind kinds[KINDS_MAX];
    char shown[64];
    size_t n;

    c->fit = PLACE_NONE;
    c->n_shared = 0;
    c->reservation[0] = '\0';
    c->reserved_s = 0;
    if (w->arch[0] != '\0' && strcmp(info->arch, w->arch) != 0) {
        c->fit = PLACE_UNFIT;
        (void)snprintf(c->why, sizeof c->why, _("is %s"),
                       text_escape_to(shown, sizeof shown, info->arch));
        return;
    }
    n = group_devices(w, info, offer, kinds);
    for (size_t i = 0; i < n; i++) {
        judge_kind(c, w, h, &kinds[i]);
    }
    if (n == 0) {
        c->fit = PLACE_UNFIT;
        describe_missing(c, info);
    }
}
