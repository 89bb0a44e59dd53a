/* What is accepted is exactly what would be written, and can be asked anything. */
#include <string.h>

#include "base/rec.h"
#include "base/sign.h"
#include "tests/fuzz/fuzz.h"

static void
ask(const struct rec *r)
{
    struct sign_public by;
    uint8_t four[4];
    const char *s;
    int64_t v;
    struct err e;

    for (size_t i = 0; i < rec_n_fields(r) && i < 100; i++) {
        const char *value;
        size_t len;
        const char *key = rec_field(r, i, &value, &len);

        must(strlen(key) >= 1 && strlen(key) <= 64);
        must(value[len] == '\0');
        must(rec_has(r, key) && rec_count(r, key) >= 1);
        must(rec_get_nth(r, key, rec_count(r, key), NULL) == NULL);
        (void)!rec_need_int(r, key, INT64_MIN, INT64_MAX, &v, &e);
        (void)!rec_need_hex(r, key, four, sizeof four, &e);
        (void)!rec_need_str(r, key, &s, &e);
    }
    (void)!sign_rec_check(r, &by, &e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rec *r = NULL;
    struct buf b = BUF_INIT;
    struct err e;

    if (rec_parse(&r, data, size, NULL, &e) != 0) {
        must(r == NULL && e.code == ERR_CORRUPT);
        return 0;
    }
    rec_encode(r, &b);
    must(b.len == size && memcmp(b.data, data, size) == 0);
    ask(r);
    buf_free(&b);
    rec_free(r);
    return 0;
}
