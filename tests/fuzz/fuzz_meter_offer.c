/* Offers and grants of strangers: refused, or whole and within their limits. */
#include <string.h>

#include "meter/grant.h"
#include "tests/fuzz/fuzz.h"

static void
try_grant(const uint8_t *data, size_t size)
{
    struct grant g;
    struct err e;
    int64_t cap;

    grant_init(&g);
    if (grant_parse(&g, data, size, &e) != 0) {
        must(e.msg[0] != '\0' && g.bytes.data == NULL);
        return;
    }
    must(g.bytes.len == size && memcmp(g.bytes.data, data, size) == 0);
    must(g.n_rows >= 1 && g.n_rows <= GRANT_ROWS_MAX);
    must(grant_charge(&g, 1000000, 1000000) <= g.cap_fen);
    must(grant_max_device_s(&g, 0, 0) >= 0);
    (void)!grant_default_cap(&g, INT64_MAX, &cap, &e);
    grant_clear(&g);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct offer *o = NULL;
    struct err e;

    try_grant(data, size);
    if (offer_parse(&o, data, size, NULL, &e) != 0) {
        must(o == NULL && e.msg[0] != '\0');
        return 0;
    }
    must(o->bytes.len == size && memcmp(o->bytes.data, data, size) == 0);
    for (size_t i = 0; i < o->n_prices; i++) {
        must(offer_find_price(o, o->prices[i].class_name, o->prices[i].type) ==
             &o->prices[i]);
    }
    offer_free(o);
    return 0;
}
