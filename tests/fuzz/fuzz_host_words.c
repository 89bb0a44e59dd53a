/*
 * What the agent reads of others: a public key, an authorized_keys file of any content,
 * what a login shell printed.
 */
#include <string.h>

#include "base/authkeys.h"
#include "runner/host/loginenv.h"
#include "tests/fuzz/fuzz.h"

#define RENTER "0123456789abcdef"

static size_t
count_lines(const struct buf *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->len; i++) {
        n += b->data[i] == '\n' ? 1 : 0;
    }
    return n + (b->len > 0 && b->data[b->len - 1] != '\n' ? 1 : 0);
}

/* Lines go only as counted, and a second time nothing is left to go. */
static void
edit(const struct buf *in)
{
    struct buf out = BUF_INIT;
    struct buf again = BUF_INIT;
    struct err e;
    int n = 0;
    int m = 0;

    if (authkeys_edit(in, "serve --renter", RENTER, NULL, NULL, &out, &n, &e) == 0) {
        must(count_lines(&out) + (size_t)n == count_lines(in));
        must(authkeys_edit(&out, "serve --renter", RENTER, NULL, NULL, &again, &m, &e) ==
                 0 &&
             m == 0);
        must(again.len == out.len &&
             (again.len == 0 || memcmp(again.data, out.data, out.len) == 0));
    }
    buf_reset(&out);
    if (authkeys_edit(in, "serve --renter", RENTER, "AAAA", "x", &out, &n, &e) != 0) {
        must(e.code == ERR_EXISTS);
    } else {
        must(out.len >= 2 && memcmp(out.data + out.len - 2, "x\n", 2) == 0);
    }
    buf_free(&out);
    buf_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct strings env = {NULL, 0};
    struct authkey k;
    struct buf b = BUF_INIT;
    struct err e;

    buf_add(&b, data, size);
    if (authkey_parse(&k, buf_str(&b), &e) == 0) {
        must(strlen(k.id) == SIGN_ID_LEN && strpbrk(k.blob, " \t\n\"") == NULL);
        authkey_free(&k);
    } else {
        must(e.code == ERR_INVALID);
    }
    edit(&b);
    if (loginenv_take(&b, &env)) {
        for (size_t i = 0; i < env.n; i++) {
            must(strncmp(env.v[i], "SSH_", 4) != 0);
        }
    }
    strings_free(&env);
    buf_free(&b);
    return 0;
}
