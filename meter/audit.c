#include "meter/audit.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "meter/wide.h"

/* Two clocks read one after the other differ: less is neither gap nor overlap. */
#define NOISE_NS USAGE_SUSPEND_MIN_NS
#define SHOWN_NS USAGE_NS_PER_S

/* What is known of a device for a stretch of one boot. A holding goes before the others.
 */
enum span_kind {
    SPAN_NONE = 0,
    SPAN_HELD, /* by a session */
    SPAN_LOST, /* after the last record of a session that nobody ended */
    SPAN_SEEN, /* free */
};

struct span {
    size_t device;
    enum span_kind kind;
    int64_t units; /* cores; 1 for others */
    char boot[BOOT_ID_LEN + 1];
    int64_t from_ns; /* CLOCK_BOOTTIME */
    int64_t to_ns;
    int64_t wall_ns; /* label of from_ns */
    char job[GRANT_ID_MAX + 1];
    struct usage_totals spent;
};

/* Time of the calendar that a device was sold for in front. */
struct reserved {
    size_t device;
    int64_t from_wall_ns;
    int64_t to_wall_ns;
};

struct audit {
    int64_t from_wall_ns;
    int64_t to_wall_ns;
    struct audit_device *devices;
    size_t n_devices;
    struct span *spans;
    size_t n_spans;
    void *leases; /* those that are in it (tsearch) */
    struct reserved *reserved;
    size_t n_reserved;
};

static const char *const what_names[] = {
    [AUDIT_NONE] = "",
    [AUDIT_IDLE] = "idle",
    [AUDIT_UNOBSERVED] = "unobserved",
    [AUDIT_RESERVED] = "reserved",
    [AUDIT_FAULT] = "fault",
    [AUDIT_OVERLAP] = "overlap",
};

const char *
audit_what_name(enum audit_what w)
{
    return what_names[w];
}

struct audit *
audit_new(int64_t from_wall_ns, int64_t to_wall_ns)
{
    struct audit *a = xcalloc(1, sizeof *a);

    a->from_wall_ns = from_wall_ns;
    a->to_wall_ns = to_wall_ns;
    return a;
}

void
audit_free(struct audit *a)
{
    if (a != NULL) {
        for (size_t i = 0; i < a->n_devices; i++) {
            free(a->devices[i].gaps);
        }
        free(a->devices);
        free(a->spans);
        tdestroy(a->leases, free);
        free(a->reserved);
        free(a);
    }
}

const struct audit_device *
audit_devices(const struct audit *a, size_t *n)
{
    *n = a->n_devices;
    return a->devices;
}

/* ---- what is put in ---- */

static size_t
device_of(struct audit *a, const struct journal_device *d)
{
    size_t i = 0;

    while (i < a->n_devices &&
           (strcmp(a->devices[i].device.uuid, d->uuid) != 0 ||
            strcmp(a->devices[i].device.class_name, d->class_name) != 0)) {
        i++;
    }
    if (i == a->n_devices) {
        a->devices = xgrow(a->devices, a->n_devices, sizeof *a->devices);
        memset(&a->devices[i], 0, sizeof a->devices[i]);
        a->devices[i].device = *d;
        a->devices[i].shared = strcmp(d->class_name, "cpu") == 0;
        a->n_devices++;
    }
    return i;
}

static void
add_span(struct audit *a, const struct span *s)
{
    a->spans = xgrow(a->spans, a->n_spans, sizeof *a->spans);
    a->spans[a->n_spans++] = *s;
}

void
audit_see(struct audit *a, const struct audit_sight *s)
{
    struct span x = {.device = device_of(a, &s->device),
                     .kind = SPAN_SEEN,
                     .units = 1,
                     .from_ns = s->from_boot_ns,
                     .to_ns = s->to_boot_ns,
                     .wall_ns = s->from_wall_ns};

    memcpy(x.boot, s->boot, sizeof x.boot);
    add_span(a, &x);
}

void
audit_reserve(struct audit *a, const struct journal_device *device, int64_t from_wall_ns,
              int64_t to_wall_ns)
{
    const struct reserved x = {.device = device_of(a, device),
                               .from_wall_ns = from_wall_ns,
                               .to_wall_ns = to_wall_ns};

    if (from_wall_ns < to_wall_ns) {
        a->reserved = xgrow(a->reserved, a->n_reserved, sizeof *a->reserved);
        a->reserved[a->n_reserved++] = x;
    }
}

/* In these a session has its devices; set-up, preparing and the snapshot do without. */
static bool
holds_device(enum usage_state s)
{
    return s == USAGE_RUNNING || s == USAGE_RESERVED || s == USAGE_STOPPING ||
           s == USAGE_HOST_SNAPSHOT;
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool
known_lease(struct audit *a, const char *lease)
{
    char *own = xstrdup(lease);
    char *const *there = tsearch(own, &a->leases, by_text);

    if (there == NULL) {
        abort(); /* out of memory, as xstrdup */
    }
    if (*there == own) {
        return false;
    }
    free(own);
    return true;
}

static int64_t
sum_of(const struct usage_totals *t)
{
    int64_t ns = 0;

    for (int s = 0; s < USAGE_STATE_COUNT; s++) {
        ns += t->ns[s];
    }
    return ns;
}

static void
add_interval(struct audit *a, const struct receipt *r, const struct receipt_interval *v,
             size_t device, int64_t units)
{
    int64_t lost_ns = v->spent.ns[USAGE_LOST];
    struct span x = {.device = device,
                     .kind = SPAN_HELD,
                     .units = units,
                     .from_ns = v->from_boot_ns,
                     .to_ns = v->from_boot_ns + sum_of(&v->spent) - lost_ns,
                     .wall_ns = v->from_wall_ns,
                     .spent = v->spent};

    if (!holds_device(v->state)) {
        return;
    }
    memcpy(x.boot, v->boot, sizeof x.boot);
    (void)strcpy(x.job, r->job);
    x.spent.ns[USAGE_LOST] = 0;
    if (x.to_ns > x.from_ns) {
        add_span(a, &x);
    }
    /* Until the loss was found; the device was free for others before. */
    if (lost_ns > 0) {
        x.kind = SPAN_LOST;
        x.wall_ns += x.to_ns - x.from_ns;
        x.from_ns = x.to_ns;
        x.to_ns += lost_ns;
        memset(&x.spent, 0, sizeof x.spent);
        x.spent.ns[USAGE_LOST] = lost_ns;
        add_span(a, &x);
    }
}

void
audit_add(struct audit *a, const struct receipt *r)
{
    if (known_lease(a, r->lease)) {
        return;
    }
    for (size_t i = 0; i < r->n_devices; i++) {
        size_t device = device_of(a, &r->devices[i]);
        bool cores = a->devices[device].shared && r->grant.n_rows > 0;

        for (size_t k = 0; k < r->n_intervals; k++) {
            add_interval(a, r, &r->intervals[k], device,
                         cores ? r->grant.rows[0].n_units : 1);
        }
    }
}

/* ---- what comes out ---- */

/* One device in one boot: spans [first, end), all that is known of it there. */
struct boot_view {
    size_t first;
    size_t end;
    int64_t from_ns;
    int64_t to_ns;
    int64_t wall_ns; /* label of from_ns */
};

static int
by_device_and_boot(const void *a, const void *b)
{
    const struct span *x = a;
    const struct span *y = b;
    int c = i64_cmp((int64_t)x->device, (int64_t)y->device);

    c = c != 0 ? c : strcmp(x->boot, y->boot);
    c = c != 0 ? c : i64_cmp(x->from_ns, y->from_ns);
    return c != 0 ? c : i64_cmp(x->to_ns, y->to_ns);
}

static int
by_wall(const void *a, const void *b)
{
    const struct boot_view *x = a;
    const struct boot_view *y = b;

    return i64_cmp(x->wall_ns, y->wall_ns);
}

static void
note_gap(struct audit_device *d, enum audit_what what, int64_t wall_ns, int64_t ns,
         const char *before, const char *after)
{
    struct audit_gap *g;

    if (ns < SHOWN_NS && what != AUDIT_OVERLAP) {
        return;
    }
    d->gaps = xgrow(d->gaps, d->n_gaps, sizeof *d->gaps);
    g = &d->gaps[d->n_gaps++];
    memset(g, 0, sizeof *g);
    g->what = what;
    g->from_wall_ns = wall_ns;
    g->ns = ns;
    (void)strcpy(g->before, before);
    (void)strcpy(g->after, after);
    d->n_overlaps += what == AUDIT_OVERLAP ? 1 : 0;
}

static int
by_device_and_time(const void *a, const void *b)
{
    const struct reserved *x = a;
    const struct reserved *y = b;

    if (x->device != y->device) {
        return x->device < y->device ? -1 : 1;
    }
    return (x->from_wall_ns > y->from_wall_ns) - (x->from_wall_ns < y->from_wall_ns);
}

/* In order, and what touches as one: so that they can be searched. */
static void
order_reserved(struct audit *a)
{
    size_t n = 0;

    if (a->n_reserved > 0) {
        qsort(a->reserved, a->n_reserved, sizeof *a->reserved, by_device_and_time);
    }
    for (size_t i = 0; i < a->n_reserved; i++) {
        const struct reserved *r = &a->reserved[i];
        struct reserved *last = n > 0 ? &a->reserved[n - 1] : NULL;

        if (last != NULL && last->device == r->device &&
            r->from_wall_ns <= last->to_wall_ns) {
            last->to_wall_ns = i64_max(last->to_wall_ns, r->to_wall_ns);
        } else {
            a->reserved[n++] = *r;
        }
    }
    a->n_reserved = n;
}

/* The first of the device's that is not over by then; NULL: none. */
static const struct reserved *
next_reserved(const struct audit *a, const struct audit_device *d, int64_t wall_ns)
{
    size_t device = (size_t)(d - a->devices);
    size_t first = 0;
    size_t end = a->n_reserved;

    while (first < end) {
        size_t i = first + (end - first) / 2;
        const struct reserved *r = &a->reserved[i];

        if (r->device < device || (r->device == device && r->to_wall_ns <= wall_ns)) {
            first = i + 1;
        } else {
            end = i;
        }
    }
    return first < a->n_reserved && a->reserved[first].device == device
               ? &a->reserved[first]
               : NULL;
}

/* How much of [wall, wall + ns) from its begin on is all reserved, or all not. */
static int64_t
alike(const struct audit *a, const struct audit_device *d, int64_t wall_ns, int64_t ns,
      bool *reserved)
{
    const struct reserved *r = next_reserved(a, d, wall_ns);
    int64_t until_ns = wall_ns + ns;

    *reserved = r != NULL && r->from_wall_ns <= wall_ns;
    if (r != NULL) {
        until_ns = i64_min(*reserved ? r->to_wall_ns : r->from_wall_ns, until_ns);
    }
    return until_ns - wall_ns;
}

/* Time that nobody's session has: sold where it was paid in front, else what it is. */
static void
book_gap(const struct audit *a, struct audit_device *d, enum audit_what what,
         int64_t wall_ns, int64_t ns, const char *before, const char *after)
{
    while (ns > 0) {
        bool reserved = false;
        int64_t part_ns = alike(a, d, wall_ns, ns, &reserved);

        if (reserved) {
            d->sold_ns += part_ns;
        } else {
            d->idle_ns += what == AUDIT_IDLE ? part_ns : 0;
            d->fault_ns += what == AUDIT_FAULT ? part_ns : 0;
            d->unobserved_ns += what == AUDIT_UNOBSERVED ? part_ns : 0;
        }
        note_gap(d, reserved ? AUDIT_RESERVED : what, wall_ns, part_ns, before, after);
        wall_ns += part_ns;
        ns -= part_ns;
    }
}

/* The part of [from, to) of what was spent in all of s: running floors, so that the parts
 * of a whole sum to it. */
static void
add_part(struct audit_device *d, const struct span *s, int64_t from_ns, int64_t to_ns)
{
    __int128 all = s->to_ns - s->from_ns;

    for (int i = 0; all > 0 && i < USAGE_STATE_COUNT; i++) {
        int64_t ns = (int64_t)((__int128)s->spent.ns[i] * (to_ns - s->from_ns) / all -
                               (__int128)s->spent.ns[i] * (from_ns - s->from_ns) / all) *
                     s->units;

        if (i == USAGE_RUNNING || i == USAGE_RESERVED || i == USAGE_WINDOW) {
            d->sold_ns += ns;
        } else if (i == USAGE_FAULT || i == USAGE_LOST) {
            d->fault_ns += ns;
        } else {
            d->free_ns[i] += ns;
        }
    }
}

/* Where the device stands in the walk through one boot. */
struct walk {
    const struct audit *a;
    struct audit_device *d;
    const struct boot_view *v;
    int64_t from_ns; /* what is looked at of this boot */
    int64_t to_ns;
    int64_t at_ns; /* accounted for so far */
    size_t next;   /* the first span that may say something of what comes then */
    const char *job;
};

static int64_t
wall_at(const struct walk *w, int64_t boot_ns)
{
    return w->v->wall_ns + (boot_ns - w->v->from_ns);
}

/* What is known by somebody else than a session of the time from at_ns on. */
static void
walk_known(struct walk *w, const struct span *s, int64_t to_ns, const char *job)
{
    int64_t ns;

    if (s->from_ns > w->at_ns) {
        book_gap(w->a, w->d, AUDIT_UNOBSERVED, wall_at(w, w->at_ns),
                 s->from_ns - w->at_ns, w->job, job);
        w->at_ns = s->from_ns;
    }
    ns = i64_min(s->to_ns, to_ns) - w->at_ns;
    book_gap(w->a, w->d, s->kind == SPAN_SEEN ? AUDIT_IDLE : AUDIT_FAULT,
             wall_at(w, w->at_ns), ns, w->job, job);
    w->at_ns += ns;
}

/*
 * Held by nobody until to: idle as far as it was seen, else unobserved. Spans are in the
 * order of their begins, so one that is over is looked at once, not at every gap.
 */
static void
walk_gap(struct walk *w, int64_t to_ns, const char *job)
{
    to_ns = i64_min(to_ns, w->to_ns);
    for (; w->next < w->v->end && w->at_ns < to_ns; w->next++) {
        const struct span *s = &w->a->spans[w->next];

        if (s->kind == SPAN_HELD || s->to_ns <= w->at_ns) {
            continue;
        }
        if (s->from_ns >= to_ns) {
            break;
        }
        walk_known(w, s, to_ns, job);
        if (s->to_ns > to_ns) {
            break; /* it goes on behind the gap */
        }
    }
    if (w->at_ns < to_ns) {
        book_gap(w->a, w->d, AUDIT_UNOBSERVED, wall_at(w, w->at_ns), to_ns - w->at_ns,
                 w->job, job);
        w->at_ns = to_ns;
    }
}

static void
walk_held(struct walk *w, const struct span *s)
{
    int64_t from_ns = i64_max(s->from_ns, w->from_ns);
    int64_t to_ns = i64_min(s->to_ns, w->to_ns);
    int64_t both_ns = i64_min(w->at_ns, to_ns) - from_ns;

    if (from_ns >= to_ns) {
        return;
    }
    walk_gap(w, from_ns, s->job);
    if (both_ns > 0 && (both_ns > NOISE_NS || strcmp(w->job, s->job) != 0)) {
        note_gap(w->d, AUDIT_OVERLAP, wall_at(w, from_ns), both_ns, w->job, s->job);
    }
    from_ns = i64_max(from_ns, w->at_ns); /* no second is in two states */
    if (from_ns < to_ns) {
        int64_t fault_ns = w->d->fault_ns;

        add_part(w->d, s, from_ns, to_ns);
        note_gap(w->d, AUDIT_FAULT, wall_at(w, from_ns), w->d->fault_ns - fault_ns,
                 s->job, s->job);
        w->at_ns = to_ns;
    }
    w->job = s->job;
}

/* The part of a boot that lies in what is looked at; false: none of it. */
static bool
walk_boot(const struct audit *a, struct audit_device *d, const struct boot_view *v,
          const char **job)
{
    struct walk w = {.a = a, .d = d, .v = v, .next = v->first, .job = *job};
    __int128 skip = (__int128)a->from_wall_ns - v->wall_ns;
    __int128 room = (__int128)a->to_wall_ns - v->wall_ns;

    if (skip >= v->to_ns - v->from_ns || room <= 0) {
        return false;
    }
    w.from_ns = v->from_ns + (skip > 0 ? (int64_t)skip : 0);
    w.to_ns = room < v->to_ns - v->from_ns ? v->from_ns + (int64_t)room : v->to_ns;
    w.at_ns = w.from_ns;
    for (size_t i = v->first; i < v->end; i++) {
        if (a->spans[i].kind == SPAN_HELD) {
            walk_held(&w, &a->spans[i]);
        }
    }
    walk_gap(&w, w.to_ns, "");
    if (d->to_wall_ns == 0) {
        d->from_wall_ns = wall_at(&w, w.from_ns);
    }
    d->to_wall_ns = i64_max(d->to_wall_ns, wall_at(&w, w.to_ns));
    *job = w.job;
    return true;
}

/* From one wall label to another nobody knows anything. */
static void
between(const struct audit *a, struct audit_device *d, int64_t from_ns, int64_t to_ns,
        const char *job)
{
    from_ns = i64_max(from_ns, a->from_wall_ns);
    to_ns = i64_min(to_ns, a->to_wall_ns);
    if (from_ns < to_ns) {
        book_gap(a, d, AUDIT_UNOBSERVED, from_ns, to_ns - from_ns, job, "");
        d->from_wall_ns = d->to_wall_ns == 0 ? from_ns : d->from_wall_ns;
        d->to_wall_ns = i64_max(d->to_wall_ns, to_ns);
    }
}

/* The boots that spans [first, end) of one device lie in, in order of time. */
static struct boot_view *
boots_of(const struct audit *a, size_t first, size_t end, const struct usage_moment *now,
         size_t *n)
{
    struct boot_view *v = xcalloc(end - first, sizeof *v);

    *n = 0;
    for (size_t i = first; i < end; i++) {
        const struct span *s = &a->spans[i];

        if (i == first || strcmp(s->boot, a->spans[i - 1].boot) != 0) {
            v[(*n)++] = (struct boot_view){.first = i,
                                           .from_ns = s->from_ns,
                                           .to_ns = s->to_ns,
                                           .wall_ns = s->wall_ns};
            if (strcmp(s->boot, now->boot) == 0) {
                v[*n - 1].to_ns = i64_max(s->to_ns, now->boot_ns);
            }
        }
        v[*n - 1].to_ns = i64_max(v[*n - 1].to_ns, s->to_ns);
        v[*n - 1].end = i + 1;
    }
    qsort(v, *n, sizeof *v, by_wall);
    return v;
}

static void
close_device(struct audit *a, struct audit_device *d, size_t first, size_t end,
             const struct usage_moment *now)
{
    size_t n = 0;
    struct boot_view *v = boots_of(a, first, end, now, &n);
    const char *job = "";
    const struct reserved *sold = next_reserved(a, d, INT64_MIN);
    int64_t known_ns = v[0].wall_ns; /* up to there something is known */

    if (sold != NULL) {
        known_ns = i64_min(known_ns, sold->from_wall_ns);
    }
    for (size_t i = 0; i < n; i++) {
        between(a, d, known_ns, v[i].wall_ns, job);
        (void)walk_boot(a, d, &v[i], &job);
        known_ns = i64_max(known_ns, v[i].wall_ns + (v[i].to_ns - v[i].from_ns));
    }
    if (strcmp(a->spans[v[n - 1].first].boot, now->boot) != 0) {
        between(a, d, known_ns, now->wall_ns, job);
    }
    free(v);
}

static void
close_shared(const struct audit *a, struct audit_device *d, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        const struct span *s = &a->spans[i];
        __int128 skip = (__int128)a->from_wall_ns - s->wall_ns;
        __int128 room = (__int128)a->to_wall_ns - s->wall_ns;
        int64_t ns = s->to_ns - s->from_ns;
        int64_t from_ns = (int64_t)wide_max(wide_min(skip, ns), 0);
        int64_t to_ns = (int64_t)wide_max(wide_min(room, ns), 0);

        add_part(d, s, s->from_ns + from_ns, s->from_ns + to_ns);
    }
}

static int
by_uuid(const void *a, const void *b)
{
    const struct audit_device *x = a;
    const struct audit_device *y = b;
    int c = strcmp(x->device.class_name, y->device.class_name);

    return c != 0 ? c : strcmp(x->device.uuid, y->device.uuid);
}

/* Nothing is known of the device, but that it was sold in front. */
static void
close_unseen(const struct audit *a, struct audit_device *d,
             const struct usage_moment *now)
{
    const struct reserved *sold = next_reserved(a, d, INT64_MIN);

    if (sold != NULL) {
        between(a, d, sold->from_wall_ns, now->wall_ns, "");
    }
}

static void
sum_up(struct audit_device *d)
{
    d->ns = d->sold_ns + d->fault_ns + d->idle_ns + d->unobserved_ns;
    for (int s = 0; s < USAGE_STATE_COUNT; s++) {
        d->ns += d->free_ns[s];
    }
}

void
audit_close(struct audit *a, const struct usage_moment *now)
{
    bool *seen = xcalloc(a->n_devices + 1, sizeof *seen);

    order_reserved(a);
    if (a->n_spans > 0) {
        qsort(a->spans, a->n_spans, sizeof *a->spans, by_device_and_boot);
    }
    for (size_t first = 0, end; first < a->n_spans; first = end) {
        struct audit_device *d = &a->devices[a->spans[first].device];

        for (end = first;
             end < a->n_spans && a->spans[end].device == a->spans[first].device; end++) {
        }
        if (d->shared) {
            close_shared(a, d, first, end);
        } else {
            close_device(a, d, first, end, now);
        }
        seen[a->spans[first].device] = true;
    }
    for (size_t i = 0; i < a->n_devices; i++) {
        if (!seen[i]) {
            close_unseen(a, &a->devices[i], now);
        }
        sum_up(&a->devices[i]);
    }
    free(seen);
    if (a->n_devices > 0) {
        qsort(a->devices, a->n_devices, sizeof *a->devices, by_uuid);
    }
}
