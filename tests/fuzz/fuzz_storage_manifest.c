/*
 * A manifest of any bytes. The signature would end every input at the door, so what is
 * behind it is reached by signing the fields anew.
 */
#include <string.h>

#include "base/rec.h"
#include "storage/manifest.h"
#include "tests/fuzz/fuzz.h"

static struct sign_key *
key(void)
{
    static struct sign_key *k;
    struct err e;

    must(k != NULL || sign_key_new(&k, &e) == 0);
    return k;
}

/* What is accepted is written again as something that is accepted, with the same content.
 */
static void
read_one(const void *data, size_t len)
{
    struct manifest *m = NULL;
    struct manifest *again = NULL;
    struct buf a = BUF_INIT;
    struct buf b = BUF_INIT;
    struct err e;

    if (manifest_parse(&m, data, len, &e) != 0) {
        must(m == NULL);
        return;
    }
    must(manifest_id_valid(m->id) && m->n_damage <= MANIFEST_NAMED_MAX);
    must(manifest_encode(m, key(), &a, &e) == 0);
    must(manifest_parse(&again, a.data, a.len, &e) == 0);
    must(manifest_encode(again, key(), &b, &e) == 0);
    must(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
    buf_free(&a);
    buf_free(&b);
    manifest_free(m);
    manifest_free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rec *r = NULL;
    struct rec *bare;
    struct buf signed_text = BUF_INIT;
    struct err e;

    read_one(data, size);
    if (rec_parse(&r, data, size, MANIFEST_TYPE, &e) != 0) {
        return 0;
    }
    bare = rec_new(MANIFEST_TYPE);
    for (size_t i = 0; i < rec_n_fields(r); i++) {
        const char *value;
        size_t len;
        const char *k = rec_field(r, i, &value, &len);

        if (strcmp(k, "signer") != 0 && strcmp(k, "sig") != 0) {
            rec_add_bytes(bare, k, value, len);
        }
    }
    sign_rec(bare, key());
    rec_encode(bare, &signed_text);
    read_one(signed_text.data, signed_text.len);
    buf_free(&signed_text);
    rec_free(bare);
    rec_free(r);
    return 0;
}
