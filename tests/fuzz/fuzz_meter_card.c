/* A rate card or member list that is accepted is written again byte for byte. */
#include <string.h>

#include "meter/card.h"
#include "meter/offer.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct card *c = NULL;
    struct offer *o;
    struct buf b = BUF_INIT;
    struct err e;
    size_t n;

    if (card_parse(&c, data, size, &e) != 0) {
        must(c == NULL && e.msg[0] != '\0');
        return 0;
    }
    card_encode(c, &b);
    must(b.len == size && memcmp(b.data, data, size) == 0);
    /* A card that was accepted can be offered. */
    o = offer_new();
    must(offer_set_card(o, c, NULL, 0, &e) == 0);
    (void)card_prices(c, &n);
    (void)!card_set(c, "4090=1.88", 1700000000, &e);
    offer_free(o);
    card_free(c);
    buf_free(&b);
    return 0;
}
