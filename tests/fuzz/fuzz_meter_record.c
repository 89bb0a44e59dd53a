/* One usage record: what the strict reader accepts is what the writer writes. */
#include <string.h>

#include "base/rec.h"
#include "meter/journal_internal.h"
#include "tests/fuzz/fuzz.h"

static void
write_again(struct journal_entry *x, const uint8_t *data, size_t size)
{
    struct sign_key *key = NULL;
    struct rec *r = NULL;
    struct buf b = BUF_INIT;
    struct err e;
    size_t n = size;

    must(rec_parse(&r, data, size, NULL, &e) == 0); /* it is a record to everybody */
    rec_free(r);
    if (journal_kind_is_signed(x->r.kind)) {
        must(sign_key_new(&key, &e) == 0);
        n = x->signed_len - sizeof "signer=\n" + 1 - (size_t)2 * SIGN_PUBLIC_LEN;
    }
    journal_entry_encode(x, key, &b);
    must(b.len == size && memcmp(b.data, data, n) == 0);
    sign_key_free(key);
    buf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sha256_ctx *hasher = sha256_new();
    struct journal_entry x;
    struct journal_cosign c;
    struct err e;

    if (journal_entry_parse(&x, data, size, hasher, &e) == 0) {
        write_again(&x, data, size);
        journal_entry_clear(&x);
    } else {
        must(e.code == ERR_CORRUPT || e.code == ERR_VERSION);
    }
    (void)!journal_cosign_read(&c, data, size, false, &e);
    sha256_free(hasher);
    return 0;
}
