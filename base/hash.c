/*
 * The plain SHA256_* functions, not EVP: a record of a journal or an entry of a ledger is
 * four blocks, and EVP's contexts cost as much again. Both end in the same code, which
 * uses what the processor has. OpenSSL 3 calls them deprecated for want of a provider.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "base/hash.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "base/buf.h"

struct sha256_ctx {
    SHA256_CTX sha;
};

static pthread_once_t start_once = PTHREAD_ONCE_INIT;

/* libcrypto fails at hashing memory only when it has none for itself. */
static void
must(int ok, const char *what)
{
    if (ok != 1) {
        (void)fprintf(stderr, "libcrypto: %s failed\n", what);
        abort();
    }
}

/*
 * The machine's openssl.cnf may name modules to load, which a static program cannot;
 * nothing we use is configured there.
 */
void
hash_alone(void)
{
    (void)OPENSSL_init_crypto(
        OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS |
            OPENSSL_INIT_NO_ADD_ALL_CIPHERS | OPENSSL_INIT_NO_ADD_ALL_DIGESTS,
        NULL);
}

/* Before any other use of libcrypto would have it read its configuration. */
static void
start(void)
{
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
}

static void
begin(struct sha256_ctx *c)
{
    must(SHA256_Init(&c->sha), "SHA-256 init");
}

void
sha256_of(const void *data, size_t len, struct sha256 *out)
{
    struct sha256_ctx c;

    (void)pthread_once(&start_once, start);
    begin(&c);
    sha256_update(&c, data, len);
    must(SHA256_Final(out->b, &c.sha), "SHA-256 final");
}

struct sha256_ctx *
sha256_new(void)
{
    struct sha256_ctx *c = xmalloc(sizeof *c);

    (void)pthread_once(&start_once, start);
    begin(c);
    return c;
}

void
sha256_update(struct sha256_ctx *c, const void *data, size_t len)
{
    must(SHA256_Update(&c->sha, data, len), "SHA-256 update");
}

void
sha256_final(struct sha256_ctx *c, struct sha256 *out)
{
    must(SHA256_Final(out->b, &c->sha), "SHA-256 final");
    begin(c);
}

void
sha256_free(struct sha256_ctx *c)
{
    free(c);
}

bool
sha256_equal(const struct sha256 *a, const struct sha256 *b)
{
    return memcmp(a->b, b->b, SHA256_LEN) == 0;
}

int
sha256_cmp(const struct sha256 *a, const struct sha256 *b)
{
    return memcmp(a->b, b->b, SHA256_LEN);
}

void
sha256_format(const struct sha256 *h, char out[SHA256_HEX_LEN + 1])
{
    hex_format(h->b, SHA256_LEN, out);
}

bool
bytes_equal_ct(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}
