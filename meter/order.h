#ifndef METER_ORDER_H
#define METER_ORDER_H

#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/sign.h"
#include "meter/card.h"
#include "meter/grant.h"

/*
 * What a renter wants done about a reservation, signed by it: a record "gpurun.order.v1".
 * It names the head of the reservation's chain as the renter knows it, so an order is
 * carried out once, and never on a reservation that has changed meanwhile.
 */
#define ORDER_MAX_BYTES 4096
#define ORDER_UNITS_MAX 1000 /* days, weeks, months at once */

enum order_act {
    ORDER_NONE = 0,
    ORDER_BUY,
    ORDER_RENEW,  /* n more of its own unit of time */
    ORDER_CHANGE, /* other devices for the rest of the time */
    ORDER_REFUND, /* give the rest of the time back */
    ORDER_BREAK,  /* the owner takes the devices back; signed by the host */
    ORDER_ACT_COUNT
};
const char *order_act_name(enum order_act a);

struct order {
    char reservation[GRANT_ID_MAX + 1];
    enum order_act act;
    struct sign_public host;
    struct sha256 prev;  /* head of the reservation's chain; zeros to buy */
    struct sha256 offer; /* whose prices hold; zeros to give back */
    char class_name[CARD_WORD_MAX + 1];
    char type[CARD_WORD_MAX + 1]; /* to buy and to change; "" else */
    int64_t n_devices;            /* the same; 0 else */
    char unit[CARD_WORD_MAX + 1]; /* to buy: "day", … (reserve.h) */
    int64_t n;                    /* units of time, to buy and to renew; 0 else */
    int64_t made_wall_ns;

    struct sign_public by; /* the signer */
    struct buf bytes;
    struct sha256 hash;
};

void order_init(struct order *o);
void order_clear(struct order *o);
/* Fills by, bytes and hash. ERR_INVALID: a field is missing, or too much. */
int order_sign(struct order *o, const struct sign_key *by, struct err *e) MUST_USE;
/* Form and signature. */
int order_parse(struct order *out, const void *data, size_t len, struct err *e) MUST_USE;

#endif
