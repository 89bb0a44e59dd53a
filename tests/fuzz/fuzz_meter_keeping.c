/*
 * A line of keeping from a stranger. The signature would end every input at the door, so
 * what is behind it is reached by signing the fields anew, as their own host.
 */
#include <string.h>

#include "base/rec.h"
#include "meter/keeping.h"
#include "tests/fuzz/fuzz.h"

#define KEEPING_TYPE "gpurun.keeping.v1"

static struct sign_key *
key(void)
{
    static struct sign_key *k;
    struct err e;

    must(k != NULL || sign_key_new(&k, &e) == 0);
    return k;
}

static void
read_one(const void *data, size_t len)
{
    struct keeping k;
    struct err e;

    keeping_init(&k);
    if (keeping_parse(&k, data, len, NULL, &e) != 0) {
        must(e.msg[0] != '\0');
        return;
    }
    must(k.bytes.len == len && memcmp(k.bytes.data, data, len) == 0);
    must(k.charge_fen >= 0 && k.charge_fen <= k.hold_fen && k.kept_s >= 0);
    keeping_clear(&k);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rec *r = NULL;
    struct rec *bare;
    struct sign_public me;
    struct buf text = BUF_INIT;
    struct err e;

    read_one(data, size);
    if (rec_parse(&r, data, size, KEEPING_TYPE, &e) != 0) {
        return 0;
    }
    bare = rec_new(KEEPING_TYPE);
    sign_key_public(key(), &me);
    for (size_t i = 0; i < rec_n_fields(r); i++) {
        const char *value;
        size_t len;
        const char *name = rec_field(r, i, &value, &len);

        if (strcmp(name, "host") == 0) {
            rec_add_hex(bare, name, me.b, sizeof me.b);
        } else if (strcmp(name, "signer") != 0 && strcmp(name, "sig") != 0) {
            rec_add_bytes(bare, name, value, len);
        }
    }
    sign_rec(bare, key());
    rec_encode(bare, &text);
    read_one(text.data, text.len);
    buf_free(&text);
    rec_free(bare);
    rec_free(r);
    return 0;
}
