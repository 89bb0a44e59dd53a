#include "runner/host/reservations.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "runner/host/allowance.h"
#include "runner/host/declines.h"
#include "runner/host/devices.h"
#include "runner/host/jobdir.h"
#include "runner/host/offers.h"
#include "runner/host/seen.h"
#include "runner/job/ids.h"

#define DIR_NAME "reservations"
#define NS_PER_S ((int64_t)1000000000)
#define SLACK_S  60 /* a renter's clock may differ from ours by so much */
#define WAY_S    60 /* what an order for other devices may take to get here */

/* ---- files ---- */

int
reservations_lock(const struct agent *a, bool exclusive, int *fd, struct err *e)
{
    char *path = agent_path(a, DIR_NAME ".lock");
    int rc = file_lock(path, exclusive, true, fd, e);

    free(path);
    return rc;
}

static int
load(int dir, struct reservation **out, const struct agent *a, const char *id,
     struct err *e)
{
    struct buf b = BUF_INIT;
    int rc = file_read_at(dir, id, RESERVATION_MAX_BYTES, &b, e);

    if (rc == 0) {
        rc = reservation_parse(out, b.data, b.len, &a->pub, NULL, e);
        if (rc != 0) {
            err_wrap(e, "reservation %s", id);
        }
    }
    buf_free(&b);
    return rc;
}

int
reservations_load(struct reservation **out, const struct agent *a, const char *id,
                  struct err *e)
{
    int dir = -1;
    int rc = -1;

    if (id_check(ID_RESERVATION, id, e) != 0 || agent_dir(a, DIR_NAME, &dir, e) != 0) {
        return -1;
    }
    rc = load(dir, out, a, id, e);
    if (rc != 0 && e->code == ERR_NOT_FOUND) {
        err_set(e, ERR_NOT_FOUND, "this host has no reservation %s", id);
    }
    (void)fd_close(&dir);
    return rc;
}

static int
by_id(const void *a, const void *b)
{
    const struct reservation *const *x = a;
    const struct reservation *const *y = b;

    return strcmp((*x)->id, (*y)->id);
}

struct listing {
    const struct agent *a;
    const struct sign_public *renter; /* NULL: all */
    struct reservation_list l;
};

static int
add_one(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct listing *x = ctx;
    struct reservation_list *l = &x->l;
    struct reservation *r = NULL;

    if (!id_is(ID_RESERVATION, name)) {
        return 0;
    }
    if (load(dir_fd, &r, x->a, name, e) != 0) {
        return -1;
    }
    if (x->renter != NULL &&
        memcmp(r->renter.b, x->renter->b, sizeof x->renter->b) != 0) {
        reservation_free(r);
        return 0;
    }
    l->v = xrealloc(l->v, (l->n + 1) * sizeof(struct reservation *));
    l->v[l->n++] = r;
    return 0;
}

int
reservations_list(struct reservation_list *out, const struct agent *a,
                  const struct sign_public *renter, struct err *e)
{
    struct listing x = {.a = a, .renter = renter};
    struct reservation_list l;
    int dir = -1;
    int rc;

    if (agent_dir(a, DIR_NAME, &dir, e) != 0) {
        return -1;
    }
    rc = file_each_name(dir, add_one, &x, e);
    (void)fd_close(&dir);
    l = x.l;
    if (rc != 0) {
        reservations_free(&l);
        return -1;
    }
    if (l.n > 1) {
        qsort(l.v, l.n, sizeof(struct reservation *), by_id);
    }
    *out = l;
    return 0;
}

void
reservations_free(struct reservation_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        reservation_free(l->v[i]);
    }
    free(l->v);
    *l = (struct reservation_list){NULL, 0};
}

const struct reservation *
reservations_holder(const struct reservation_list *l, const char *uuid, int64_t at_s)
{
    for (size_t i = 0; i < l->n; i++) {
        if (reservation_holds(l->v[i], at_s) && reservation_has_device(l->v[i], uuid)) {
            return l->v[i];
        }
    }
    return NULL;
}

int
reservations_mark(const struct agent *a, struct device_list *l, struct err *e)
{
    struct reservation_list all = {NULL, 0};
    int64_t now_s = clock_wall_ns() / NS_PER_S;
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++) {
        n += l->v[i].state == DEVICE_FREE && strcmp(l->v[i].device_class, "cpu") != 0;
    }
    if (n == 0) {
        return 0; /* nothing here can be held, so nothing need be read */
    }
    if (reservations_list(&all, a, NULL, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].state == DEVICE_FREE &&
            reservations_holder(&all, l->v[i].uuid, now_s) != NULL) {
            l->v[i].state = DEVICE_RESERVED;
        }
    }
    reservations_free(&all);
    return 0;
}

int
reservations_check(const struct reservation *r, const struct grant *g, int64_t ran_s,
                   struct err *e)
{
    const struct grant_row *row = &g->rows[0];
    int64_t left_s = r->to_s - clock_wall_ns() / NS_PER_S;

    if (memcmp(r->renter.b, g->renter.b, sizeof g->renter.b) != 0) {
        return err_set(e, ERR_DENIED, "reservation %s is another renter's", r->id);
    }
    if (r->given_back || left_s <= 0) {
        return err_set(e, ERR_DENIED, "the time of reservation %s is over", r->id);
    }
    if (strcmp(row->class_name, r->class_name) != 0 || strcmp(row->type, r->type) != 0 ||
        row->n_units > (int64_t)r->n_devices) {
        return err_set(e, ERR_DENIED, "reservation %s is of %zu %s %s", r->id,
                       r->n_devices, r->class_name, r->type);
    }
    if (g->max_s - ran_s > left_s + SLACK_S) {
        return err_set(e, ERR_DENIED,
                       "reservation %s has %" PRId64
                       " s left, less than the job may take",
                       r->id, left_s);
    }
    return 0;
}

/* ---- orders ---- */

/* An order under way. */
struct deal {
    const struct agent *agent;
    const struct renter *renter;
    const char *job; /* whose devices are bought, or NULL */
    struct order order;
    struct grant grant;
    bool has_grant;
    struct offer *offer;
    struct reservation *was; /* as it stands; one without events to buy */
    struct reservation_list all;
    struct device_list devices;
    size_t picked[RESERVATION_DEVICES_MAX];
    int locks[RESERVATION_DEVICES_MAX]; /* so that no job takes them meanwhile */
    size_t n_picked;
    int64_t now_ns;
};

static void
deal_clear(struct deal *d)
{
    for (size_t i = 0; i < d->n_picked; i++) {
        (void)fd_close(&d->locks[i]);
    }
    order_clear(&d->order);
    grant_clear(&d->grant);
    offer_free(d->offer);
    reservation_free(d->was);
    reservations_free(&d->all);
    device_list_free(&d->devices);
}

static int
read_order(struct deal *d, const void *order, size_t order_len, const void *grant,
           size_t grant_len, struct err *e)
{
    static const struct sha256 none;

    if (order_parse(&d->order, order, order_len, e) != 0 ||
        id_check(ID_RESERVATION, d->order.reservation, e) != 0) {
        return -1;
    }
    if (!d->renter->has_key ||
        memcmp(d->order.by.b, d->renter->key.b, sizeof d->order.by.b) != 0) {
        return err_set(e, ERR_DENIED, "the order is not signed by this renter's key");
    }
    d->has_grant = grant != NULL;
    if (grant != NULL && grant_parse(&d->grant, grant, grant_len, e) != 0) {
        return -1;
    }
    return sha256_equal(&d->order.offer, &none)
               ? 0
               : offers_load(&d->offer, d->agent, &d->order.offer, e);
}

static int
find_was(struct deal *d, struct err *e)
{
    struct err why;

    if (reservations_load(&d->was, d->agent, d->order.reservation, &why) == 0) {
        return 0;
    }
    if (why.code != ERR_NOT_FOUND) {
        *e = why;
        return -1;
    }
    d->was = reservation_new();
    return 0;
}

static int
check_money(struct deal *d, struct err *e)
{
    if (d->offer != NULL && d->now_ns > d->offer->until_wall_ns) {
        return err_set(e, ERR_DENIED, "the offer has expired");
    }
    if (!d->has_grant) {
        return 0;
    }
    if (d->offer == NULL) {
        return err_set(e, ERR_DENIED, "a grant for what costs nothing");
    }
    if (grant_check(&d->grant, d->offer, &d->renter->key, d->now_ns, e) != 0 ||
        declines_check(d->renter, d->grant.lease, e) != 0) {
        return -1;
    }
    return allowance_check(d->agent, d->renter, d->grant.cap_fen, e);
}

static bool
may_hold(void *ctx, const struct device *dev)
{
    const struct deal *d = ctx;
    const struct reservation *r =
        reservations_holder(&d->all, dev->uuid, d->now_ns / NS_PER_S);

    return r == NULL || strcmp(r->id, d->order.reservation) == 0;
}

/* While a job has one of its devices, they cannot be given away. */
static int
check_unused(const struct deal *d, struct err *e)
{
    for (size_t i = 0; i < d->devices.n; i++) {
        const struct device *dev = &d->devices.v[i];

        if (reservation_has_device(d->was, dev->uuid) && dev->state == DEVICE_BUSY) {
            return err_set(e, ERR_BUSY,
                           "a job has a device of reservation %s: stop it first",
                           d->was->id);
        }
    }
    return 0;
}

/* One whose time was over is renewed only while nobody else has got its devices. */
static int
check_still_there(const struct deal *d, struct err *e)
{
    int64_t now_s = d->now_ns / NS_PER_S;

    if (d->was->given_back || now_s < d->was->to_s) {
        return 0;
    }
    for (size_t i = 0; i < d->was->n_devices; i++) {
        if (reservations_holder(&d->all, d->was->devices[i], now_s) != NULL) {
            return err_set(e, ERR_BUSY,
                           "the time of reservation %s is over, and others have reserved "
                           "its devices",
                           d->was->id);
        }
    }
    return check_unused(d, e);
}

static int
pick_of_job(struct deal *d, const struct state_device *v, struct err *e)
{
    const struct order *o = &d->order;

    if (strcmp(v->device_class, o->class_name) != 0 || strcmp(v->type, o->type) != 0) {
        return err_set(e, ERR_INVALID, "job %s has a %s %s", d->job, v->device_class,
                       v->type);
    }
    if (reservations_holder(&d->all, v->uuid, d->now_ns / NS_PER_S) != NULL) {
        return err_set(e, ERR_BUSY, "a device of job %s is reserved already", d->job);
    }
    for (size_t i = 0; i < d->devices.n; i++) {
        if (strcmp(d->devices.v[i].uuid, v->uuid) == 0) {
            d->picked[d->n_picked] = i;
            d->locks[d->n_picked++] = -1; /* its supervisor has it */
            return 0;
        }
    }
    return err_set(e, ERR_NOT_FOUND, "a device of job %s is not there any more", d->job);
}

/* Those that a job runs on, at a price per hour so far; no other can have them. */
static int
take_from_job(struct deal *d, struct err *e)
{
    struct job_state st;
    struct jobdir dir;
    bool owned = false;
    int rc = -1;

    if (id_check(ID_JOB, d->job, e) != 0 ||
        jobdir_open(&dir, d->renter, d->job, e) != 0) {
        return -1;
    }
    state_init(&st);
    if (jobdir_state(&dir, &st, e) != 0 || jobdir_is_owned(&dir, &owned, e) != 0) {
        goto out;
    }
    if (!owned || st.phase != JOB_RUNNING || st.n_devices != (size_t)d->order.n_devices) {
        err_set(e, ERR_NOT_FOUND, "job %s does not run on %" PRId64 " devices now",
                d->job, d->order.n_devices);
        goto out;
    }
    rc = 0;
    for (size_t i = 0; rc == 0 && i < st.n_devices; i++) {
        rc = pick_of_job(d, &st.devices[i], e);
    }

out:
    state_free(&st);
    jobdir_close(&dir);
    return rc;
}

static int
take_devices(struct deal *d, struct err *e)
{
    const struct order *o = &d->order;
    const struct devices_filter f = {.may = may_hold, .ctx = d};

    if (o->act != ORDER_BUY && o->act != ORDER_CHANGE) {
        return 0;
    }
    if (strcmp(o->class_name, "cpu") == 0) {
        return err_set(e, ERR_INVALID, "cores are shared: they cannot be reserved");
    }
    if (o->n_devices > RESERVATION_DEVICES_MAX) {
        return err_set(e, ERR_RANGE, "a reservation of too many devices");
    }
    if (d->job != NULL && o->act == ORDER_BUY) {
        return take_from_job(d, e);
    }
    return devices_take(d->agent, &d->devices, o->class_name, o->type, "any",
                        o->n_devices, &f, d->picked, d->locks, &d->n_picked, e);
}

static int
find_devices(struct deal *d, struct err *e)
{
    if (devices_list(d->agent, false, &d->devices, NULL, e) != 0 ||
        reservations_list(&d->all, d->agent, NULL, e) != 0) {
        return -1;
    }
    devices_look(d->agent, &d->devices);
    if (d->order.act == ORDER_RENEW && check_still_there(d, e) != 0) {
        return -1;
    }
    if ((d->order.act == ORDER_CHANGE || d->order.act == ORDER_REFUND) &&
        check_unused(d, e) != 0) {
        return -1;
    }
    return take_devices(d, e);
}

/* One more event, signed, and durable on return. */
static int
enter(const struct agent *a, struct reservation *r, struct reservation_deed *deed,
      struct err *e)
{
    struct err none;
    int dir = -1;
    int rc = -1;

    /* A clock that was set back does not undo what was agreed. */
    if (r->n_events > 0 && r->events[r->n_events - 1].wall_ns > deed->wall_ns) {
        deed->wall_ns = r->events[r->n_events - 1].wall_ns;
    }
    if (reservation_do(r, deed, a->key, e) == 0 && agent_dir(a, DIR_NAME, &dir, e) == 0) {
        rc = file_replace_at(dir, r->id, r->bytes.data, r->bytes.len, e);
    }
    if (rc == 0) {
        (void)!seen_note(a, &none); /* an audit begins where it was sold */
    }
    (void)fd_close(&dir);
    return rc;
}

/*
 * Other devices cost less the less time is left, so a renter pays for them from the
 * second that the order is of: the sum that was agreed to, and the grant holds, however
 * long the order was under way. It never makes the price less. What comes back is
 * reckoned by when it is here.
 */
static int64_t
moment_of(const struct deal *d)
{
    bool pays = d->order.act == ORDER_CHANGE && d->has_grant;
    int64_t age_ns = d->now_ns - d->order.made_wall_ns;

    return pays && age_ns > 0 && age_ns <= WAY_S * NS_PER_S ? d->order.made_wall_ns
                                                            : d->now_ns;
}

static int
carry_out(struct deal *d, struct err *e)
{
    const char *uuids[RESERVATION_DEVICES_MAX];
    struct reservation_deed deed = {.order = &d->order,
                                    .offer = d->offer,
                                    .grant = d->has_grant ? &d->grant : NULL,
                                    .devices = uuids,
                                    .n_devices = d->n_picked,
                                    .wall_ns = moment_of(d)};

    for (size_t i = 0; i < d->n_picked; i++) {
        uuids[i] = d->devices.v[d->picked[i]].uuid;
    }
    return enter(d->agent, d->was, &deed, e);
}

static int
deal_do(struct deal *d, struct buf *out, struct err *e)
{
    if (find_was(d, e) != 0) {
        return -1;
    }
    if (reservation_find(d->was, &d->order.hash) == NULL &&
        (check_money(d, e) != 0 || find_devices(d, e) != 0 || carry_out(d, e) != 0)) {
        return -1;
    }
    buf_add(out, d->was->bytes.data, d->was->bytes.len);
    return 0;
}

int
reservations_order(const struct agent *a, const struct renter *r, const void *order,
                   size_t order_len, const void *grant, size_t grant_len, const char *job,
                   struct buf *out, struct err *e)
{
    struct deal d = {.agent = a, .renter = r, .job = job, .now_ns = clock_wall_ns()};
    int admit = -1;
    int lock = -1;
    int rc = -1;

    order_init(&d.order);
    grant_init(&d.grant);
    if (renter_check_admitted(r, e) == 0 &&
        read_order(&d, order, order_len, grant, grant_len, e) == 0 &&
        renter_lock_admission(r, true, &admit, e) == 0 &&
        reservations_lock(a, true, &lock, e) == 0) {
        rc = deal_do(&d, out, e);
    }
    (void)fd_close(&lock);
    (void)fd_close(&admit);
    deal_clear(&d);
    return rc;
}

/* ---- taken back ---- */

int
reservations_break(const struct agent *a, const char *id, bool dry_run,
                   struct reservation **out, int64_t *refund_fen, struct err *e)
{
    struct order o;
    struct reservation_deed deed = {.order = &o, .wall_ns = clock_wall_ns()};
    struct reservation *r = NULL;
    int64_t fen = 0;
    int lock = -1;
    int rc = -1;

    order_init(&o);
    if (reservations_lock(a, true, &lock, e) != 0 ||
        reservations_load(&r, a, id, e) != 0) {
        goto out;
    }
    memcpy(o.reservation, r->id, sizeof o.reservation);
    o.act = ORDER_BREAK;
    o.host = a->pub;
    o.prev = r->head;
    o.made_wall_ns = deed.wall_ns;
    if (reservation_quote(r, &o, NULL, deed.wall_ns / NS_PER_S, &fen, e) != 0) {
        goto out;
    }
    if (!dry_run && (order_sign(&o, a->key, e) != 0 || enter(a, r, &deed, e) != 0)) {
        goto out;
    }
    *refund_fen = dry_run ? -fen : r->events[r->n_events - 1].refund_fen;
    *out = r;
    r = NULL;
    rc = 0;

out:
    (void)fd_close(&lock);
    reservation_free(r);
    order_clear(&o);
    return rc;
}
