#include "runner/client/place.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/lang.h"
#include "runner/client/booked.h"
#include "runner/client/place_internal.h"

#define CONNECT_MS 10000 /* per phase, where there are several hosts to ask */

struct slot {
    struct candidate c;
    struct host host;
    struct place *place;
    bool excluded;
    bool preferred;
    bool taken;
};

struct place {
    struct client *client;
    struct place_want want;
    bool has_want;
    struct booked_list booked; /* reservations of this renter */
    struct slot *slots;
    size_t n;
    int64_t grace_end_ns; /* boot clock; 0: nothing fits yet */
};

/* ---- does it fit? ---- */

static void
judge(struct slot *s, const struct place_want *w)
{
    const struct host_info *info = session_info(s->c.session);

    place_judge(&s->c, w, &s->host, info, session_offer(s->c.session));
    for (size_t i = 0; i < s->place->booked.n; i++) {
        place_judge_reserved(&s->c, w, info, s->place->booked.v[i]);
    }
    if (s->c.fit == PLACE_FITS && s->place->grace_end_ns == 0) {
        s->place->grace_end_ns = clock_boot_ns() + PLACE_GRACE_NS;
    }
}

/* ---- asking ---- */

static void
on_up(void *ctx, struct session *ses, struct conn *c, bool first)
{
    struct slot *s = ctx;

    (void)ses;
    (void)c;
    (void)first;
    if (s->place->has_want) {
        judge(s, &s->place->want);
    }
}

static void
on_failed(void *ctx, struct session *ses, const struct failure *why)
{
    struct slot *s = ctx;

    (void)ses;
    s->c.fit = PLACE_UNREACHED;
    (void)snprintf(s->c.why, sizeof s->c.why, "%s", why->err.msg);
}

static const struct session_events events = {.up = on_up, .failed = on_failed};

int
place_open(struct place **out, struct client *cl, const struct host_list *hosts,
           struct err *e)
{
    struct place *p = xcalloc(1, sizeof *p);

    p->client = cl;
    p->slots = xcalloc(hosts->n + 1, sizeof *p->slots);
    for (size_t i = 0; i < hosts->n; i++) {
        struct slot *s = &p->slots[i];
        struct session_options o = {
            .host_key_ask = true,
            .connect_timeout_ms = hosts->n > 1 ? CONNECT_MS : 0,
            .events = &events,
            .ctx = s,
        };

        s->place = p;
        host_copy(&s->host, &hosts->v[i]);
        s->c.host = s->host.name;
        p->n++;
        if (session_open(&s->c.session, cl, &s->host, &o, e) != 0) {
            s->c.session = NULL;
            place_free(p);
            return -1;
        }
    }
    *out = p;
    return 0;
}

void
place_set_want(struct place *p, const struct place_want *w)
{
    struct err why;

    p->want = *w;
    p->has_want = true;
    booked_free(&p->booked);
    if (booked_list(p->client->home, &p->booked, &why) != 0) {
        strings_add(&p->booked.wrong, why.msg);
    }
    for (size_t i = 0; i < p->n; i++) {
        if (session_state(p->slots[i].c.session) == SESSION_UP) {
            judge(&p->slots[i], w);
        }
    }
}

void
place_free(struct place *p)
{
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < p->n; i++) {
        if (!p->slots[i].taken) {
            session_close(p->slots[i].c.session);
        }
        host_free(&p->slots[i].host);
    }
    booked_free(&p->booked);
    free(p->slots);
    free(p);
}

static bool
all_answered(const struct place *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->slots[i].c.fit == PLACE_NONE) {
            return false;
        }
    }
    return true;
}

static bool
in_grace(void *ctx)
{
    const struct place *p = ctx;

    return all_answered(p) || p->grace_end_ns != 0;
}

static bool
is_settled(void *ctx)
{
    return all_answered(ctx);
}

int
place_wait(struct place *p, struct err *e)
{
    int64_t left;

    if (!loop_run_until(p->client->loop, in_grace, p, -1)) {
        return err_set(e, ERR_LINK, "%s", _("interrupted while asking the hosts"));
    }
    left = p->grace_end_ns - clock_boot_ns();
    if (p->grace_end_ns != 0 && left > 0) {
        (void)loop_run_until(p->client->loop, is_settled, p, left);
    }
    for (size_t i = 0; i < p->n; i++) {
        if (p->slots[i].c.fit == PLACE_NONE) {
            (void)snprintf(p->slots[i].c.why, sizeof p->slots[i].c.why, "%s",
                           _("did not answer in time"));
        }
    }
    return 0;
}

static bool
is_asked(void *ctx)
{
    const struct place *p = ctx;

    for (size_t i = 0; i < p->n; i++) {
        enum session_state st = session_state(p->slots[i].c.session);

        if (st != SESSION_UP && st != SESSION_FAILED) {
            return false;
        }
    }
    return true;
}

int
place_ask_all(struct place *p, struct err *e)
{
    if (!loop_run_until(p->client->loop, is_asked, p, -1)) {
        return err_set(e, ERR_LINK, "%s", _("interrupted while asking the hosts"));
    }
    return 0;
}

static void
nothing(void *ctx)
{
    (void)ctx;
}

static bool
never(void *ctx)
{
    (void)ctx;
    return false;
}

int
place_nap(struct place *p, int64_t ns, struct err *e)
{
    struct timer *t = timer_new(p->client->loop, nothing, NULL);
    int64_t start_ns = clock_boot_ns();

    timer_after(t, ns); /* keeps the loop running where every host has failed */
    (void)loop_run_until(p->client->loop, never, NULL, ns);
    timer_free(t);
    if (clock_boot_ns() - start_ns < ns / 2) {
        return err_set(e, ERR_LINK, "%s", _("interrupted while waiting"));
    }
    return 0;
}

int
place_refresh(struct place *p, struct err *e)
{
    for (size_t i = 0; i < p->n; i++) {
        struct slot *s = &p->slots[i];

        if (!s->excluded && !s->taken && session_state(s->c.session) == SESSION_UP) {
            if (session_refresh(s->c.session, e) != 0) {
                s->c.fit = PLACE_UNREACHED;
                (void)snprintf(s->c.why, sizeof s->c.why, "%s", e->msg);
                continue;
            }
            judge(s, &p->want);
        }
    }
    return 0;
}

/* ---- choosing ---- */

size_t
place_n(const struct place *p)
{
    return p->n;
}

const struct candidate *
place_at(const struct place *p, size_t i)
{
    return &p->slots[i].c;
}

static bool
is_better(const struct slot *a, const struct slot *b)
{
    const struct host_info *x = session_info(a->c.session);
    const struct host_info *y = session_info(b->c.session);

    if ((a->c.reservation[0] != '\0') != (b->c.reservation[0] != '\0')) {
        return a->c.reservation[0] != '\0';
    }
    if (a->c.n_shared != b->c.n_shared) { /* no memory left there, most likely */
        return a->c.n_shared < b->c.n_shared;
    }
    if (a->preferred != b->preferred) {
        return a->preferred;
    }
    if (a->c.uyuan_per_h != b->c.uyuan_per_h) {
        return a->c.uyuan_per_h < b->c.uyuan_per_h;
    }
    if (a->c.estimate_uyuan != b->c.estimate_uyuan) {
        return a->c.estimate_uyuan < b->c.estimate_uyuan;
    }
    if (x->has_store != y->has_store) { /* what it has need not be sent */
        return x->has_store;
    }
    return x->cores_free > y->cores_free;
}

const struct candidate *
place_best(const struct place *p)
{
    const struct slot *best = NULL;

    for (size_t i = 0; i < p->n; i++) {
        const struct slot *s = &p->slots[i];

        if (s->c.fit == PLACE_FITS && !s->excluded &&
            (best == NULL || is_better(s, best))) {
            best = s;
        }
    }
    return best != NULL ? &best->c : NULL;
}

void
place_prefer(struct place *p, const char *host)
{
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->slots[i].c.host, host) == 0) {
            p->slots[i].preferred = true;
        }
    }
}

void
place_exclude(struct place *p, const char *host, const char *why)
{
    for (size_t i = 0; i < p->n; i++) {
        struct slot *s = &p->slots[i];

        if (strcmp(s->c.host, host) == 0) {
            s->excluded = true;
            s->c.fit = PLACE_BUSY;
            (void)snprintf(s->c.why, sizeof s->c.why, "%s", why);
        }
    }
}

struct session *
place_take(struct place *p, const struct candidate *c)
{
    for (size_t i = 0; i < p->n; i++) {
        if (&p->slots[i].c == c) {
            p->slots[i].taken = true;
            session_set_events(c->session, NULL, NULL);
            return c->session;
        }
    }
    return NULL;
}

int
place_check_paid(const struct place *p, const struct candidate *c, struct err *e)
{
    bool free = c->reservation[0] != '\0' || c->uyuan_per_h == 0;

    return free || place_wants_cpu(&p->want) ? 0 : booked_check(&p->booked, e);
}

#define TOLD_BYTES 360 /* of hosts and why not: an error has an end */

int
place_explain(const struct place *p, struct err *e)
{
    const struct device_want *d = &p->want.device;
    struct buf b = BUF_INIT;
    bool busy = false;
    bool reached = false;
    bool cpu = place_wants_cpu(&p->want);
    bool cut = false;

    for (size_t i = 0; i < p->n; i++) {
        const struct candidate *c = &p->slots[i].c;

        busy = busy || c->fit == PLACE_BUSY;
        reached = reached || c->fit == PLACE_BUSY || c->fit == PLACE_UNFIT;
        cut = b.len >= TOLD_BYTES;
        if (!cut) {
            buf_printf(&b, "%s%s: %s", b.len > 0 ? "; " : "", c->host, c->why);
        }
    }
    if (cut) {
        buf_add_str(&b, "; …");
    }
    if (!reached && p->n == 1) {
        err_set(e, ERR_LINK, "%s", p->slots[0].c.why);
    } else if (!reached) {
        err_set(e, ERR_LINK, _("no host could be asked: %s"), buf_str(&b));
    } else if (cpu && !busy) {
        err_set(e, ERR_NOT_FOUND,
                NP_("no host with %" PRId64 " core (`gpurun host add` adds one): %s",
                    "no host with %" PRId64 " cores (`gpurun host add` adds one): %s",
                    d->count),
                d->count, buf_str(&b));
    } else if (busy) {
        err_set(e, ERR_BUSY, _("no %s %s:%" PRId64 " is free now (--wait DUR waits): %s"),
                d->device_class, d->type, d->count, buf_str(&b));
    } else {
        err_set(e, ERR_NOT_FOUND,
                _("no host has %s %s:%" PRId64 " (`gpurun host add` adds one): %s"),
                d->device_class, d->type, d->count, buf_str(&b));
    }
    buf_free(&b);
    return -1;
}
