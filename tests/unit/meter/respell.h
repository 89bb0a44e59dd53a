#ifndef TESTS_UNIT_METER_RESPELL_H
#define TESTS_UNIT_METER_RESPELL_H

#include "base/rec.h"
#include "base/sign.h"
#include "tests/unit/unit.h"

/*
 * The signed record `in` as one with a key would forge it: the first field called key has
 * another value (NULL: is left out; no such field: comes last), and the signature is
 * right for what is there. key NULL changes nothing but the signer.
 */
static inline void
respell(struct buf *out, const struct buf *in, const char *key, const char *value,
        const struct sign_key *k)
{
    struct rec *was = NULL;
    struct rec *r;
    struct err e = {0};
    bool done = key == NULL;

    assert_ok(rec_parse(&was, in->data, in->len, NULL, &e));
    r = rec_new(rec_type(was));
    for (size_t i = 0; i + 2 < rec_n_fields(was); i++) {
        size_t len;
        const char *v;
        const char *name = rec_field(was, i, &v, &len);

        if (done || strcmp(name, key) != 0) {
            rec_add_bytes(r, name, v, len);
        } else {
            done = true;
            if (value != NULL) {
                rec_add(r, name, value);
            }
        }
    }
    if (!done) {
        rec_add(r, key, value);
    }
    sign_rec(r, k);
    buf_reset(out);
    rec_encode(r, out);
    rec_free(r);
    rec_free(was);
}

/* A record that is only too long. */
static inline void
respell_padded(struct buf *out, const char *type, size_t len)
{
    buf_reset(out);
    buf_printf(out, "%s\npad=", type);
    while (out->len + 1 < len) {
        buf_add_u8(out, 'x');
    }
    buf_add_u8(out, '\n');
}

#endif
