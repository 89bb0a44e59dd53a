#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

/* SHA-256 (FIPS 180-4) through libcrypto; it picks SHA-NI where there is one. */
#define SHA256_LEN     32
#define SHA256_HEX_LEN 64

struct sha256 {
    uint8_t b[SHA256_LEN];
};

struct sha256_ctx; /* one thread at a time */

/*
 * For a program in which nobody but us uses libcrypto: it then reads no configuration
 * and makes no tables of names, which costs more than all a short process does with it.
 * First in main. Never where a library has it look up ciphers by name, as libssh does.
 */
void hash_alone(void);

void sha256_of(const void *data, size_t len, struct sha256 *out);
struct sha256_ctx *sha256_new(void);
void sha256_update(struct sha256_ctx *c, const void *data, size_t len);
void sha256_final(struct sha256_ctx *c, struct sha256 *out); /* c may be reused, empty */
void sha256_free(struct sha256_ctx *c);
bool sha256_equal(const struct sha256 *a, const struct sha256 *b);
int sha256_cmp(const struct sha256 *a, const struct sha256 *b);

/* Lower-case hex. hex_format writes 2n+1 bytes; hex_parse wants exactly 2n digits. */
void hex_format(const void *data, size_t n, char *out);
bool hex_parse(const char *text, size_t text_len, void *out, size_t n) MUST_USE;
void sha256_format(const struct sha256 *h, char out[SHA256_HEX_LEN + 1]);

/* Cryptographic random bytes (getrandom). */
void random_bytes(void *out, size_t n);
/*
 * A new id: prefix, then 12 characters of Crockford base32 in lower case, 60 random
 * bits; NUL-terminated. out holds strlen(prefix) + 13 bytes.
 */
#define ID_RANDOM_LEN 12
void random_id(const char *prefix, char *out);

/* Constant-time equality of secrets. */
bool bytes_equal_ct(const void *a, const void *b, size_t n);

#endif
