#ifndef BASE_SIGN_H
#define BASE_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"

/*
 * Ed25519 (RFC 8032) through libcrypto. A key is named by its public half, 32
 * bytes, 64 hex digits. The type line of a record keeps signatures of one kind
 * of record from passing for another.
 */
#define SIGN_PUBLIC_LEN 32
#define SIGN_SIG_LEN    64

struct sign_key; /* a private key; wiped when freed */

struct sign_public {
    uint8_t b[SIGN_PUBLIC_LEN];
};

int sign_key_new(struct sign_key **out, struct err *e) MUST_USE;
void sign_key_free(struct sign_key *k);
void sign_key_public(const struct sign_key *k, struct sign_public *out);

/*
 * Load the key at path ("gpurun.key.v1" record, mode 0600, refused with ERR_DENIED if
 * group or others can read it); make one there first if the file is missing. Two
 * processes that start at once end with the same key.
 */
int sign_key_open(struct sign_key **out, const char *path, struct err *e) MUST_USE;

void sign_bytes(const struct sign_key *k, const void *data, size_t len,
                uint8_t sig[SIGN_SIG_LEN]);
int sign_check(const struct sign_public *by, const void *data, size_t len,
               const uint8_t sig[SIGN_SIG_LEN], struct err *e) MUST_USE; /* ERR_CORRUPT */

/* Append signer=, then sig= over the record's encoding up to and with signer=. */
void sign_rec(struct rec *r, const struct sign_key *k);
/*
 * Check the final signer= and sig= of r; *by is the signer, for the caller to
 * compare with the key expected. ERR_CORRUPT: no such fields at the end, or
 * the signature does not hold.
 */
int sign_rec_check(const struct rec *r, struct sign_public *by, struct err *e) MUST_USE;
/*
 * The same without computing the signature: for bytes whose hash is that of bytes whose
 * signature was found right before, or will be compared with it.
 */
int sign_rec_signer(const struct rec *r, struct sign_public *by, struct err *e) MUST_USE;
/*
 * Whether the signed record r holds the fields of `said`, in their order, and its signer=
 * and sig=, and nothing else. A reader that writes down again what it understood, and
 * asks this, takes one spelling only: order, repeats and unknown fields are all refused.
 */
bool sign_rec_says(const struct rec *r, const struct rec *said);

void sign_public_format(const struct sign_public *p, char out[2 * SIGN_PUBLIC_LEN + 1]);
/* The short id of a key: first 16 hex digits of the SHA-256 of its public half. */
#define SIGN_ID_LEN 16
void sign_public_id(const struct sign_public *p, char out[SIGN_ID_LEN + 1]);

#endif
