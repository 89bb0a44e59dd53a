/*
 * A reservation's chain, and an order, from a stranger: refused, or reckoned again to the
 * fen. Signatures and hashes would end every input at the door, so what is behind them is
 * reached by signing order, offer, grant and event anew, all as one and the same party,
 * with the hashes that then hold.
 */
#include <string.h>

#include "base/rec.h"
#include "meter/reservation.h"
#include "tests/fuzz/fuzz.h"

static struct sign_key *
key(void)
{
    static struct sign_key *k;
    struct err e;

    must(k != NULL || sign_key_new(&k, &e) == 0);
    return k;
}

/* A field that gets another value; NULL ends a list of them. */
struct other {
    const char *key;
    const void *data;
    size_t len;
    bool hex;
};

/* The record signed anew; false where it is no record of that type. */
static bool
sign_again(const char *type, const void *data, size_t len, const struct other *others,
           struct buf *out)
{
    struct rec *r = NULL;
    struct rec *bare;
    struct err e;

    if (data == NULL || rec_parse(&r, data, len, type, &e) != 0) {
        return false;
    }
    bare = rec_new(type);
    for (size_t i = 0; i < rec_n_fields(r); i++) {
        size_t n;
        const char *v;
        const char *name = rec_field(r, i, &v, &n);
        const struct other *o = others;

        while (o->key != NULL && strcmp(o->key, name) != 0) {
            o++;
        }
        if (o->key != NULL && o->hex) {
            rec_add_hex(bare, name, o->data, o->len);
        } else if (o->key != NULL) {
            rec_add_bytes(bare, name, o->data, o->len);
        } else if (strcmp(name, "signer") != 0 && strcmp(name, "sig") != 0) {
            rec_add_bytes(bare, name, v, n);
        }
    }
    sign_rec(bare, key());
    rec_encode(bare, out);
    rec_free(bare);
    rec_free(r);
    return true;
}

static void
read_chain(const void *data, size_t len)
{
    struct reservation *r = NULL;
    struct err e;
    int64_t paid = 0;

    if (reservation_parse(&r, data, len, NULL, NULL, &e) != 0) {
        must(e.msg[0] != '\0' && r == NULL);
        return;
    }
    must(r->n_events > 0 && r->n_devices > 0 && r->n_devices <= RESERVATION_DEVICES_MAX);
    for (size_t i = 0; i < r->n_payments; i++) {
        must(r->payments[i].left_fen >= 0);
        must(r->payments[i].left_fen <= r->payments[i].paid_fen);
    }
    for (size_t i = 0; i < r->n_events; i++) {
        paid += r->events[i].charge_fen - r->events[i].refund_fen;
        must(r->events[i].charge_fen >= 0 && r->events[i].refund_fen >= 0 && paid >= 0);
    }
    must(paid == reservation_paid_fen(r));
    for (size_t i = 1; i < r->n_stretches; i++) {
        must(r->stretches[i - 1].to_s <= r->stretches[i].from_s);
    }
    reservation_free(r);
}

static void
read_order(const void *data, size_t len)
{
    struct order o;
    struct err e;

    order_init(&o);
    if (order_parse(&o, data, len, &e) != 0) {
        must(e.msg[0] != '\0' && o.bytes.data == NULL);
        return;
    }
    must(o.bytes.len == len && memcmp(o.bytes.data, data, len) == 0);
    must(o.act > ORDER_NONE && o.act < ORDER_ACT_COUNT);
    order_clear(&o);
}

static void
hash_of(const struct buf *b, struct sha256 *out)
{
    sha256_of(b->data, b->len, out);
}

/* One event and all in it, in our name, behind head. */
static bool
event_again(const void *data, size_t len, struct sha256 *head, struct buf *out)
{
    struct buf order = BUF_INIT;
    struct buf offer = BUF_INIT;
    struct buf grant = BUF_INIT;
    struct sha256 offer_hash = {{0}};
    struct sign_public me;
    struct rec *r = NULL;
    struct err e;
    size_t n;
    const char *v;
    bool ok;

    sign_key_public(key(), &me);
    if (rec_parse(&r, data, len, "gpurun.reserved.v1", &e) != 0) {
        return false;
    }
    {
        const struct other host[] = {{"host", me.b, sizeof me.b, true},
                                     {NULL, NULL, 0, false}};

        v = rec_get_bytes(r, "offer", &n);
        if (sign_again("gpurun.offer.v1", v, n, host, &offer)) {
            hash_of(&offer, &offer_hash);
        }
    }
    {
        const struct other us[] = {{"host", me.b, sizeof me.b, true},
                                   {"renter", me.b, sizeof me.b, true},
                                   {"offer", offer_hash.b, sizeof offer_hash.b, true},
                                   {"prev", head->b, sizeof head->b, true},
                                   {NULL, NULL, 0, false}};

        v = rec_get_bytes(r, "order", &n);
        (void)sign_again("gpurun.order.v1", v, n, us, &order);
        v = rec_get_bytes(r, "grant", &n);
        (void)sign_again("gpurun.grant.v1", v, n, us, &grant);
    }
    {
        const struct other all[] = {{"order", order.data, order.len, false},
                                    {"offer", offer.data, offer.len, false},
                                    {"grant", grant.data, grant.len, false},
                                    {"prev", head->b, sizeof head->b, true},
                                    {NULL, NULL, 0, false}};

        ok = sign_again("gpurun.reserved.v1", data, len, all, out);
    }
    hash_of(out, head);
    read_order(order.data, order.len);
    buf_free(&order);
    buf_free(&offer);
    buf_free(&grant);
    rec_free(r);
    return ok;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sha256 head = {{0}};
    struct rec *chain = NULL;
    struct rec *again;
    struct buf text = BUF_INIT;
    struct err e;

    read_order(data, size);
    read_chain(data, size);
    if (rec_parse(&chain, data, size, RESERVATION_TYPE, &e) != 0) {
        return 0;
    }
    again = rec_new(RESERVATION_TYPE);
    for (size_t i = 0; i < rec_count(chain, "event"); i++) {
        struct buf event = BUF_INIT;
        size_t n;
        const char *v = rec_get_nth(chain, "event", i, &n);

        if (event_again(v, n, &head, &event)) {
            rec_add_bytes(again, "event", event.data, event.len);
        }
        buf_free(&event);
    }
    rec_encode(again, &text);
    read_chain(text.data, text.len);
    buf_free(&text);
    rec_free(again);
    rec_free(chain);
    return 0;
}
