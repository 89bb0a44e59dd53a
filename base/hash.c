#include "base/hash.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/buf.h"

struct sha256_ctx {
    EVP_MD_CTX *md;
};

/* Looked up once: by name for every hash it costs as much as hashing 1 KiB. */
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256_md;

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

static void
sha256_look_up(void)
{
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    sha256_md = EVP_MD_fetch(NULL, "SHA256", NULL);
    must(sha256_md != NULL, "finding SHA-256");
}

void
sha256_of(const void *data, size_t len, struct sha256 *out)
{
    (void)pthread_once(&sha256_once, sha256_look_up);
    must(EVP_Digest(data, len, out->b, NULL, sha256_md, NULL), "SHA-256");
}

struct sha256_ctx *
sha256_new(void)
{
    struct sha256_ctx *c = xmalloc(sizeof *c);

    (void)pthread_once(&sha256_once, sha256_look_up);
    c->md = EVP_MD_CTX_new();
    must(c->md != NULL, "SHA-256 context");
    must(EVP_DigestInit_ex(c->md, sha256_md, NULL), "SHA-256 init");
    return c;
}

void
sha256_update(struct sha256_ctx *c, const void *data, size_t len)
{
    must(EVP_DigestUpdate(c->md, data, len), "SHA-256 update");
}

void
sha256_final(struct sha256_ctx *c, struct sha256 *out)
{
    must(EVP_DigestFinal_ex(c->md, out->b, NULL), "SHA-256 final");
    must(EVP_DigestInit_ex(c->md, NULL, NULL), "SHA-256 init");
}

void
sha256_free(struct sha256_ctx *c)
{
    if (c != NULL) {
        EVP_MD_CTX_free(c->md);
        free(c);
    }
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
