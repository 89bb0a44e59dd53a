#include "meter/order.h"

#include <inttypes.h>
#include <string.h>

#include "base/rec.h"
#include "meter/refuse.h"
#include "meter/reserve.h"
#include "meter/words.h"

#define ORDER_TYPE  "gpurun.order.v1"
#define DEVICES_MAX 64

static const char *const act_names[ORDER_ACT_COUNT] = {
    [ORDER_NONE] = "none",     [ORDER_BUY] = "buy",       [ORDER_RENEW] = "renew",
    [ORDER_CHANGE] = "change", [ORDER_REFUND] = "refund", [ORDER_BREAK] = "break",
};

const char *
order_act_name(enum order_act a)
{
    return act_names[a];
}

void
order_init(struct order *o)
{
    memset(o, 0, sizeof *o);
}

void
order_clear(struct order *o)
{
    buf_free(&o->bytes);
    order_init(o);
}

/* Which fields an order of that kind has. */
static bool
names_devices(const struct order *o)
{
    return o->act == ORDER_BUY || o->act == ORDER_CHANGE;
}

static bool
names_time(const struct order *o)
{
    return o->act == ORDER_BUY || o->act == ORDER_RENEW;
}

static int
check_form(const struct order *o, struct err *e)
{
    enum reserve_unit unit;

    if (!words_is_text(o->reservation) || o->act <= ORDER_NONE ||
        o->act >= ORDER_ACT_COUNT) {
        return err_set(e, ERR_INVALID, "an order of nothing");
    }
    if (names_devices(o)
            ? !words_is_name(o->class_name) || !words_is_name_or_none(o->type)
            : o->class_name[0] != '\0' || o->type[0] != '\0' || o->n_devices != 0) {
        return err_set(e, ERR_INVALID, "an order of impossible devices");
    }
    if (names_devices(o) && (o->n_devices < 1 || o->n_devices > DEVICES_MAX)) {
        return refuse(e, REFUSE_RANGE, "%" PRId64 " devices in one reservation",
                      o->n_devices);
    }
    if (names_time(o) ? o->n < 1 || o->n > ORDER_UNITS_MAX : o->n != 0) {
        return refuse(e, REFUSE_RANGE, "a reservation of %" PRId64 " units of time",
                      o->n);
    }
    if (o->act == ORDER_BUY) {
        return reserve_unit_parse(o->unit, &unit, e);
    }
    return o->unit[0] == '\0' ? 0 : err_set(e, ERR_INVALID, "an order with a unit");
}

static void
encode(struct rec *r, const struct order *o)
{
    rec_add(r, "reservation", o->reservation);
    rec_add(r, "act", act_names[o->act]);
    rec_add_hex(r, "host", o->host.b, sizeof o->host.b);
    rec_add_hex(r, "prev", o->prev.b, sizeof o->prev.b);
    rec_add_hex(r, "offer", o->offer.b, sizeof o->offer.b);
    if (names_devices(o)) {
        struct buf b = BUF_INIT;

        words_add(&b, o->class_name);
        words_add(&b, o->type);
        words_add_int(&b, o->n_devices);
        rec_add_bytes(r, "devices", b.data, b.len);
        buf_free(&b);
    }
    if (names_time(o)) {
        struct buf b = BUF_INIT;

        words_add(&b, o->unit);
        words_add_int(&b, o->n);
        rec_add_bytes(r, "time", b.data, b.len);
        buf_free(&b);
    }
    rec_add_int(r, "made", o->made_wall_ns);
}

int
order_sign(struct order *o, const struct sign_key *by, struct err *e)
{
    struct rec *r;

    if (check_form(o, e) != 0) {
        return -1;
    }
    sign_key_public(by, &o->by);
    r = rec_new(ORDER_TYPE);
    encode(r, o);
    sign_rec(r, by);
    buf_reset(&o->bytes);
    rec_encode(r, &o->bytes);
    rec_free(r);
    sha256_of(o->bytes.data, o->bytes.len, &o->hash);
    return 0;
}

static int
parse_words(struct order *o, const struct rec *r, struct err *e)
{
    size_t len = 0;
    const char *v;
    struct words w;

    if (names_devices(o)) {
        v = rec_get_bytes(r, "devices", &len);
        w = words_of(v != NULL ? v : "", v != NULL ? len : 0);
        words_name(&w, o->class_name, sizeof o->class_name);
        words_name(&w, o->type, sizeof o->type);
        o->n_devices = words_count(&w);
        if (!words_done(&w)) {
            return err_set(e, ERR_CORRUPT, "an order of unreadable devices");
        }
    }
    if (names_time(o)) {
        v = rec_get_bytes(r, "time", &len);
        w = words_of(v != NULL ? v : "", v != NULL ? len : 0);
        words_name(&w, o->unit, sizeof o->unit);
        o->n = words_count(&w);
        if (!words_done(&w)) {
            return err_set(e, ERR_CORRUPT, "an order of an unreadable time");
        }
    }
    return 0;
}

static int
parse_fields(struct order *o, const struct rec *r, struct err *e)
{
    const char *id;
    const char *act;

    if (rec_need_str(r, "reservation", &id, e) != 0 ||
        rec_need_str(r, "act", &act, e) != 0) {
        return -1;
    }
    for (int a = ORDER_NONE + 1; a < ORDER_ACT_COUNT; a++) {
        if (strcmp(act, act_names[a]) == 0) {
            o->act = (enum order_act)a;
        }
    }
    if (strlen(id) > GRANT_ID_MAX || o->act == ORDER_NONE) {
        return err_set(e, ERR_CORRUPT, "an order of something unknown");
    }
    (void)strcpy(o->reservation, id);
    if (rec_need_hex(r, "host", o->host.b, sizeof o->host.b, e) != 0 ||
        rec_need_hex(r, "prev", o->prev.b, sizeof o->prev.b, e) != 0 ||
        rec_need_hex(r, "offer", o->offer.b, sizeof o->offer.b, e) != 0 ||
        rec_need_count(r, "made", &o->made_wall_ns, e) != 0) {
        return -1;
    }
    return parse_words(o, r, e);
}

int
order_parse(struct order *out, const void *data, size_t len, struct err *e)
{
    struct order o;
    struct rec *r = NULL;
    struct rec *again = NULL;
    int rc = -1;

    order_init(&o);
    if (len > ORDER_MAX_BYTES) {
        return err_set(e, ERR_CORRUPT, "an order of %zu bytes", len);
    }
    if (rec_parse(&r, data, len, ORDER_TYPE, e) != 0 ||
        sign_rec_check(r, &o.by, e) != 0 || parse_fields(&o, r, e) != 0 ||
        check_form(&o, e) != 0) {
        goto out;
    }
    again = rec_new(ORDER_TYPE);
    encode(again, &o);
    if (!sign_rec_says(r, again)) {
        err_set(e, ERR_CORRUPT, "an order that is not written as one");
        goto out;
    }
    buf_add(&o.bytes, data, len);
    sha256_of(data, len, &o.hash);
    *out = o;
    rc = 0;

out:
    rec_free(r);
    rec_free(again);
    return rc;
}
