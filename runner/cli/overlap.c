#include "runner/cli/overlap.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/num.h"

/* A session had a device from then to then. */
struct holding {
    const struct sign_public *host;
    const char *uuid;
    int64_t from_ns;
    int64_t to_ns;
    size_t at; /* of the session */
};

/* All of them, in an array that grows by doubling. */
struct holdings {
    struct holding *v;
    size_t n;
};

/* From and to when a session held its devices. */
static bool
held_span(const struct receipt *r, int64_t *from_ns, int64_t *to_ns)
{
    bool any = false;

    for (size_t i = 0; i < r->n_intervals; i++) {
        const struct receipt_interval *v = &r->intervals[i];

        if (v->spent.ns[USAGE_RUNNING] + v->spent.ns[USAGE_RESERVED] +
                v->spent.ns[USAGE_WINDOW] >
            0) {
            *from_ns = any ? *from_ns : v->from_wall_ns;
            *to_ns = v->to_wall_ns;
            any = true;
        }
    }
    return any;
}

static void
take(struct holdings *h, const struct receipt *r, size_t at)
{
    struct holding x = {.host = &r->host, .at = at};

    if (!held_span(r, &x.from_ns, &x.to_ns)) {
        return;
    }
    for (size_t i = 0; i < r->n_devices; i++) {
        if (strcmp(r->devices[i].class_name, "cpu") != 0) {
            x.uuid = r->devices[i].uuid;
            h->v = xgrow(h->v, h->n, sizeof *h->v);
            h->v[h->n++] = x;
        }
    }
}

static int
by_device(const struct holding *x, const struct holding *y)
{
    int c = memcmp(x->host->b, y->host->b, sizeof x->host->b);

    return c != 0 ? c : strcmp(x->uuid, y->uuid);
}

static int
by_device_and_time(const void *a, const void *b)
{
    const struct holding *x = a;
    const struct holding *y = b;
    int c = by_device(x, y);

    return c != 0 ? c : i64_cmp(x->from_ns, y->from_ns);
}

static int
by_pair(const void *a, const void *b)
{
    const struct overlap *x = a;
    const struct overlap *y = b;
    int c = i64_cmp((int64_t)x->second, (int64_t)y->second);

    c = c != 0 ? c : i64_cmp((int64_t)x->first, (int64_t)y->first);
    return c != 0 ? c : strcmp(x->uuid, y->uuid);
}

static void
add_pair(struct overlaps *o, const struct holding *x, const struct holding *y)
{
    o->v = xgrow(o->v, o->n, sizeof *o->v);
    o->v[o->n++] = (struct overlap){.first = x->at < y->at ? x->at : y->at,
                                    .second = x->at < y->at ? y->at : x->at,
                                    .uuid = x->uuid};
}

/* Those that begin while x lasts come right behind it. */
static void
pair_with_next(struct overlaps *o, const struct holding *x, const struct holding *end)
{
    for (const struct holding *y = x + 1;
         y < end && y->from_ns < x->to_ns && by_device(x, y) == 0; y++) {
        if (x->from_ns < y->to_ns && x->at != y->at) {
            add_pair(o, x, y);
        }
    }
}

/* Sessions that share several devices are a pair for each of them. */
static void
drop_repeats(struct overlaps *o)
{
    size_t n = 0;

    for (size_t i = 0; i < o->n; i++) {
        if (n == 0 || o->v[i].first != o->v[n - 1].first ||
            o->v[i].second != o->v[n - 1].second) {
            o->v[n++] = o->v[i];
        }
    }
    o->n = n;
}

void
overlaps_find(const struct receipt *const *r, size_t n, struct overlaps *out)
{
    struct holdings h = {.n = 0};

    *out = (struct overlaps){.n = 0};
    for (size_t i = 0; i < n; i++) {
        take(&h, r[i], i);
    }
    if (h.n > 0) {
        qsort(h.v, h.n, sizeof *h.v, by_device_and_time);
    }
    for (size_t i = 0; i < h.n; i++) {
        pair_with_next(out, &h.v[i], h.v + h.n);
    }
    free(h.v);
    if (out->n > 0) {
        qsort(out->v, out->n, sizeof *out->v, by_pair);
        drop_repeats(out);
    }
}

void
overlaps_free(struct overlaps *o)
{
    free(o->v);
    *o = (struct overlaps){.n = 0};
}
