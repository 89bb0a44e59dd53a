#include "meter/reservation.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/rec.h"
#include "meter/refuse.h"
#include "meter/reservation_internal.h"
#include "meter/usage.h"
#include "meter/wide.h"
#include "meter/words.h"

#define EVENT_TYPE "gpurun.reserved.v1"

struct reservation *
reservation_new(void)
{
    return xcalloc(1, sizeof(struct reservation));
}

void
reservation_free(struct reservation *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < r->n_events; i++) {
        free(r->events[i].back);
        free(r->events[i].devices);
    }
    free(r->stretches);
    free(r->payments);
    free(r->events);
    buf_free(&r->bytes);
    free(r);
}

bool
reservation_holds(const struct reservation *r, int64_t at_s)
{
    return r->n_events > 0 && !r->given_back && at_s < r->to_s;
}

bool
reservation_has_device(const struct reservation *r, const char *uuid)
{
    for (size_t i = 0; i < r->n_devices; i++) {
        if (strcmp(r->devices[i], uuid) == 0) {
            return true;
        }
    }
    return false;
}

int64_t
reservation_paid_fen(const struct reservation *r)
{
    int64_t sum = 0;

    for (size_t i = 0; i < r->n_payments; i++) {
        sum += r->payments[i].left_fen;
    }
    return sum;
}

bool
reservation_continues(const struct reservation *now, const struct reservation *was)
{
    return was->n_events <= now->n_events &&
           (was->n_events == 0 ||
            sha256_equal(&was->head, &now->events[was->n_events - 1].hash));
}

const struct reservation_event *
reservation_find(const struct reservation *r, const struct sha256 *order)
{
    for (size_t i = 0; i < r->n_events; i++) {
        if (sha256_equal(&r->events[i].order, order)) {
            return &r->events[i];
        }
    }
    return NULL;
}

int
reservation_quote(const struct reservation *r, const struct order *o,
                  const struct offer *offer, int64_t at_s, int64_t *fen, struct err *e)
{
    struct reservation_sum s;

    if (reservation_sum_of(r, o, offer, at_s, &s, e) != 0) {
        return -1;
    }
    *fen = s.charge_fen - s.refund_fen;
    reservation_sum_clear(&s);
    return 0;
}

/* ---- what must hold for ever ---- */

static bool
same_key(const struct sign_public *a, const struct sign_public *b)
{
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

static int
check_grant(const struct reservation *r, const struct reservation_deed *d,
            int64_t charge_fen, struct err *e)
{
    const struct grant *g = d->grant;

    if ((g != NULL) != (charge_fen > 0)) {
        return g != NULL ? err_set(e, ERR_DENIED,
                                   "%" PRId64 " fen are due, and another grant pays them",
                                   charge_fen)
                         : err_set(e, ERR_DENIED,
                                   "%" PRId64 " fen are due, and no grant pays them",
                                   charge_fen);
    }
    if (g == NULL) {
        return 0;
    }
    if (g->cap_fen != charge_fen) {
        return err_set(e, ERR_DENIED, "%" PRId64 " fen are due, the grant is of %" PRId64,
                       charge_fen, g->cap_fen);
    }
    if (strcmp(g->job, d->order->reservation) != 0 || g->seq != 1 ||
        !same_key(&g->renter, &d->order->by) || g->reservation[0] != '\0') {
        return err_set(e, ERR_DENIED, "the grant is not for this reservation");
    }
    for (size_t i = 0; i < r->n_payments; i++) {
        if (strcmp(r->payments[i].lease, g->lease) == 0) {
            return err_set(e, ERR_DENIED, "that grant has paid already");
        }
    }
    return grant_check_terms(g, d->offer, e);
}

static int
check_devices(const struct reservation_deed *d, struct err *e)
{
    const struct order *o = d->order;
    bool names = o->act == ORDER_BUY || o->act == ORDER_CHANGE;

    if (d->n_devices != (size_t)(names ? o->n_devices : 0) ||
        d->n_devices > RESERVATION_DEVICES_MAX) {
        return err_set(e, ERR_INVALID, "a reservation of %zu devices", d->n_devices);
    }
    for (size_t i = 0; i < d->n_devices; i++) {
        if (!words_is_text(d->devices[i])) {
            return err_set(e, ERR_INVALID, "a reserved device without a readable name");
        }
        for (size_t k = 0; k < i; k++) {
            if (strcmp(d->devices[i], d->devices[k]) == 0) {
                return err_set(e, ERR_INVALID, "a device that is reserved twice");
            }
        }
    }
    return 0;
}

static int
check_deed(const struct reservation *r, const struct reservation_deed *d,
           const struct sign_public *host, struct err *e)
{
    const struct order *o = d->order;
    bool begun = r->n_events > 0;
    static const struct sha256 none;

    if (!same_key(&o->host, host) || (begun && !same_key(&r->host, host))) {
        return err_set(e, ERR_DENIED, "the order is for another host");
    }
    if (o->act == ORDER_BREAK ? !same_key(&o->by, host)
                              : begun && !same_key(&o->by, &r->renter)) {
        return err_set(e, ERR_DENIED, "the reservation is another renter's");
    }
    /* The host chooses the time it signs for: not one that suits it. */
    if ((__int128)d->wall_ns - o->made_wall_ns > RESERVATION_ORDER_AGE_MAX_NS ||
        (__int128)o->made_wall_ns - d->wall_ns > RESERVATION_ORDER_AGE_MAX_NS) {
        return err_set(e, ERR_DENIED,
                       "the host's clock and that of who ordered are more than an hour "
                       "apart: set the one that is wrong");
    }
    if (begun && strcmp(o->reservation, r->id) != 0) {
        return err_set(e, ERR_DENIED, "the order is about another reservation");
    }
    if (!sha256_equal(&o->prev, &r->head)) {
        return err_set(e, ERR_DENIED,
                       "the reservation has changed since that was ordered");
    }
    if (!sha256_equal(&o->offer, d->offer != NULL ? &d->offer->hash : &none) ||
        (d->offer != NULL && !same_key(&d->offer->host, host))) {
        return err_set(e, ERR_DENIED, "the order is for another offer");
    }
    if (r->n_events >= RESERVATION_EVENTS_MAX) {
        return err_set(e, ERR_LIMIT, "a reservation of too many events");
    }
    if (begun && d->wall_ns < r->events[r->n_events - 1].wall_ns) {
        return err_set(e, ERR_INVALID, "an event before the one before it");
    }
    return check_devices(d, e);
}

/* ---- an event ---- */

static void
encode(struct rec *r, const struct reservation *was, const struct reservation_deed *d,
       const struct reservation_sum *s)
{
    const struct order *o = d->order;

    rec_add(r, "reservation", o->reservation);
    rec_add_int(r, "seq", (int64_t)was->n_events + 1);
    rec_add(r, "act", order_act_name(o->act));
    rec_add_int(r, "at", d->wall_ns);
    rec_add_bytes(r, "order", o->bytes.data, o->bytes.len);
    if (d->offer != NULL) {
        rec_add_bytes(r, "offer", d->offer->bytes.data, d->offer->bytes.len);
    }
    if (d->grant != NULL) {
        rec_add_bytes(r, "grant", d->grant->bytes.data, d->grant->bytes.len);
    }
    for (size_t i = 0; i < d->n_devices; i++) {
        rec_add(r, "device", d->devices[i]);
    }
    rec_add_int(r, "from", s->from_s);
    rec_add_int(r, "to", s->to_s);
    rec_add_int(r, "charge", s->charge_fen);
    rec_add_int(r, "refund", s->refund_fen);
    for (size_t i = 0; i < s->n_back; i++) {
        rec_addf(r, "back", "%s %" PRId64, s->back[i].lease, s->back[i].fen);
    }
    rec_add_hex(r, "prev", was->head.b, sizeof was->head.b);
}

static void
note_event(struct reservation *r, const struct reservation_deed *d,
           struct reservation_sum *s, const struct sha256 *hash)
{
    struct reservation_event *ev;

    r->events = xrealloc(r->events, (r->n_events + 1) * sizeof *r->events);
    ev = &r->events[r->n_events++];
    memset(ev, 0, sizeof *ev);
    ev->act = d->order->act;
    ev->wall_ns = d->wall_ns;
    ev->charge_fen = s->charge_fen;
    ev->refund_fen = s->refund_fen;
    ev->order = d->order->hash;
    ev->hash = *hash;
    ev->back = s->back;
    ev->n_back = s->n_back;
    s->back = NULL;
    memcpy(ev->class_name, r->class_name, sizeof ev->class_name);
    memcpy(ev->type, r->type, sizeof ev->type);
    ev->devices = xmemdup(r->devices, r->n_devices * sizeof *r->devices);
    ev->n_devices = r->n_devices;
    if (d->grant != NULL) {
        struct reservation_payment *p;

        memcpy(ev->lease, d->grant->lease, sizeof ev->lease);
        r->payments = xrealloc(r->payments, (r->n_payments + 1) * sizeof *r->payments);
        p = &r->payments[r->n_payments++];
        memcpy(p->lease, d->grant->lease, sizeof p->lease);
        p->book = d->grant->book;
        p->paid_fen = s->charge_fen;
        p->left_fen = s->charge_fen;
    }
    for (size_t i = 0; i < ev->n_back; i++) {
        for (size_t k = 0; k < r->n_payments; k++) {
            if (strcmp(r->payments[k].lease, ev->back[i].lease) == 0) {
                r->payments[k].left_fen -= ev->back[i].fen;
            }
        }
    }
}

static void
become(struct reservation *r, const struct reservation_deed *d, struct reservation_sum *s,
       const struct sign_public *host, const struct sha256 *hash)
{
    if (d->order->act == ORDER_BUY) {
        memcpy(r->id, d->order->reservation, sizeof r->id);
        r->host = *host;
        r->renter = d->order->by;
    }
    if (d->n_devices > 0) {
        memcpy(r->class_name, d->order->class_name, sizeof r->class_name);
        memcpy(r->type, d->order->type, sizeof r->type);
        r->n_devices = d->n_devices;
        for (size_t i = 0; i < d->n_devices; i++) {
            (void)strcpy(r->devices[i], d->devices[i]);
        }
    }
    r->unit = s->unit;
    r->fee_bps = s->fee_bps;
    r->from_s = s->from_s;
    r->to_s = s->to_s;
    r->given_back = s->given_back;
    free(r->stretches);
    r->stretches = s->stretches;
    r->n_stretches = s->n_stretches;
    s->stretches = NULL;
    note_event(r, d, s, hash);
    r->head = *hash;
}

/* All that an event says follows from the deed: made here, and made again by readers. */
static int
derive(const struct reservation *r, const struct reservation_deed *d,
       const struct sign_public *host, struct rec **out, struct reservation_sum *s,
       struct err *e)
{
    int64_t at_s = d->wall_ns / USAGE_NS_PER_S;

    if (check_deed(r, d, host, e) != 0 ||
        reservation_sum_of(r, d->order, d->offer, at_s, s, e) != 0) {
        return -1;
    }
    if (check_grant(r, d, s->charge_fen, e) != 0) {
        reservation_sum_clear(s);
        return -1;
    }
    *out = rec_new(EVENT_TYPE);
    encode(*out, r, d, s);
    return 0;
}

/* One more event at the end of the file. */
static void
add_bytes(struct reservation *r, const struct buf *event, struct rec *chain)
{
    rec_add_bytes(chain, "event", event->data, event->len);
    buf_reset(&r->bytes);
    rec_encode(chain, &r->bytes);
}

int
reservation_do(struct reservation *r, const struct reservation_deed *d,
               const struct sign_key *host, struct err *e)
{
    struct reservation_sum s = {0};
    struct sign_public pub;
    struct rec *event = NULL;
    struct rec *chain = NULL;
    struct buf b = BUF_INIT;
    struct sha256 hash;
    int rc = -1;

    sign_key_public(host, &pub);
    if (r->n_events == 0) {
        chain = rec_new(RESERVATION_TYPE);
    } else if (rec_parse(&chain, r->bytes.data, r->bytes.len, RESERVATION_TYPE, e) != 0) {
        return -1;
    }
    if (derive(r, d, &pub, &event, &s, e) != 0) {
        goto out;
    }
    sign_rec(event, host);
    rec_encode(event, &b);
    if (r->bytes.len + 2 * b.len > RESERVATION_MAX_BYTES) {
        err_set(e, ERR_LIMIT, "a reservation of too many events");
        goto out;
    }
    sha256_of(b.data, b.len, &hash);
    become(r, d, &s, &pub, &hash);
    add_bytes(r, &b, chain);
    rc = 0;

out:
    reservation_sum_clear(&s);
    rec_free(event);
    rec_free(chain);
    buf_free(&b);
    return rc;
}

/* ---- reading ---- */

/* What an event was made from, out of its bytes. */
struct source {
    struct order order;
    struct offer *offer;
    struct grant grant;
    bool has_grant;
    const char *devices[RESERVATION_DEVICES_MAX];
    size_t n_devices;
    int64_t wall_ns;
};

static void
source_clear(struct source *s)
{
    order_clear(&s->order);
    offer_free(s->offer);
    grant_clear(&s->grant);
}

static int
read_source(struct source *s, const struct rec *r, struct err *e)
{
    size_t len;
    const char *v = rec_get_bytes(r, "order", &len);

    order_init(&s->order);
    s->offer = NULL;
    grant_init(&s->grant);
    if (v == NULL || order_parse(&s->order, v, len, e) != 0 ||
        rec_need_count(r, "at", &s->wall_ns, e) != 0) {
        return v != NULL ? -1 : err_set(e, ERR_CORRUPT, "no order");
    }
    v = rec_get_bytes(r, "offer", &len);
    if (v != NULL && offer_parse(&s->offer, v, len, NULL, e) != 0) {
        return -1;
    }
    v = rec_get_bytes(r, "grant", &len);
    s->has_grant = v != NULL;
    if (v != NULL && grant_parse(&s->grant, v, len, e) != 0) {
        return -1;
    }
    s->n_devices = rec_count(r, "device");
    if (s->n_devices > RESERVATION_DEVICES_MAX) {
        return err_set(e, ERR_CORRUPT, "%zu devices", s->n_devices);
    }
    for (size_t i = 0; i < s->n_devices; i++) {
        s->devices[i] = rec_get_nth(r, "device", i, NULL);
    }
    return 0;
}

static int
read_event(struct reservation *r, const char *v, size_t len, struct err *e)
{
    struct reservation_sum sum = {0};
    struct source s = {.n_devices = 0};
    struct rec *event = NULL;
    struct rec *again = NULL;
    struct sign_public by;
    struct sha256 hash;
    int rc = -1;

    if (rec_parse(&event, v, len, EVENT_TYPE, e) != 0 ||
        sign_rec_check(event, &by, e) != 0 || read_source(&s, event, e) != 0) {
        goto out;
    }
    {
        const struct reservation_deed d = {.order = &s.order,
                                           .offer = s.offer,
                                           .grant = s.has_grant ? &s.grant : NULL,
                                           .devices = s.devices,
                                           .n_devices = s.n_devices,
                                           .wall_ns = s.wall_ns};

        if (derive(r, &d, &by, &again, &sum, e) != 0) {
            goto out;
        }
        if (!sign_rec_says(event, again)) {
            err_set(e, ERR_CORRUPT, "it is not what its order comes to");
            goto out;
        }
        sha256_of(v, len, &hash);
        become(r, &d, &sum, &by, &hash);
    }
    rc = 0;

out:
    reservation_sum_clear(&sum);
    source_clear(&s);
    rec_free(event);
    rec_free(again);
    return rc;
}

int
reservation_parse(struct reservation **out, const void *data, size_t len,
                  const struct sign_public *host, const struct sign_public *renter,
                  struct err *e)
{
    struct reservation *r = reservation_new();
    struct rec *chain = NULL;
    size_t n;
    int rc = -1;

    if (len > RESERVATION_MAX_BYTES) {
        err_set(e, ERR_CORRUPT, "a reservation of %zu bytes", len);
        goto out;
    }
    if (rec_parse(&chain, data, len, RESERVATION_TYPE, e) != 0) {
        goto out;
    }
    n = rec_count(chain, "event");
    if (n == 0 || n != rec_n_fields(chain)) {
        err_set(e, ERR_CORRUPT, "a reservation that holds other things than events");
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        size_t event_len = 0;
        const char *v = rec_get_nth(chain, "event", i, &event_len);

        if (read_event(r, v, event_len, e) != 0) {
            e->code = ERR_CORRUPT;
            err_wrap(e, "event %zu of the reservation", i + 1);
            goto out;
        }
    }
    if (host != NULL && !same_key(host, &r->host)) {
        err_set(e, ERR_DENIED, "the reservation is another host's");
        goto out;
    }
    if (renter != NULL && !same_key(renter, &r->renter)) {
        err_set(e, ERR_DENIED, "the reservation is another renter's");
        goto out;
    }
    buf_add(&r->bytes, data, len);
    *out = r;
    r = NULL;
    rc = 0;

out:
    reservation_free(r);
    rec_free(chain);
    return rc;
}
