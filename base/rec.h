#ifndef BASE_REC_H
#define BASE_REC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

/*
 * Records: the one text format for all that is kept, hashed, signed or sent as
 * a message (job specs, offers, grants, journal records, receipts, manifests,
 * requests).
 *
 *     gpurun.offer.v1\n          type line
 *     key=value\n                fields, in order; a key may repeat (a list)
 *
 * A key is [a-z0-9_.]{1,64}. A value is any byte string: backslash is written
 * "\\", bytes below 0x20 and 0x7f as "\xHH" (lower-case hex), all others as they
 * are. That is the only spelling: a parser that accepts bytes has accepted exactly
 * what the encoder would write, so a hash or signature covers one meaning.
 *
 * A signed record ends in "signer=<64 hex>\nsig=<128 hex>\n" (see sign.h).
 */
#define REC_MAX_BYTES  ((size_t)16 << 20) /* encoded size, refused above */
#define REC_MAX_FIELDS 262144

struct rec; /* opaque; belongs to one thread at a time */

struct rec *rec_new(const char *type); /* e.g. "gpurun.offer.v1" */
void rec_free(struct rec *r);          /* NULL allowed */
void rec_free_wiped(struct rec *r);    /* overwriting its values: for secrets */
const char *rec_type(const struct rec *r);

/*
 * Append a field. The value may hold any bytes. key must be valid (asserted).
 * Values handed out before stay where they are.
 */
void rec_add(struct rec *r, const char *key, const char *value);
void rec_add_bytes(struct rec *r, const char *key, const void *data, size_t len);
void rec_add_int(struct rec *r, const char *key, int64_t v);
void rec_add_hex(struct rec *r, const char *key, const void *data, size_t len);
void rec_addf(struct rec *r, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* First value of key (NUL-terminated; *len too, if not NULL), or NULL. Stays r's. */
const char *rec_get(const struct rec *r, const char *key);
const char *rec_get_bytes(const struct rec *r, const char *key, size_t *len);
bool rec_has(const struct rec *r, const char *key);
/* Number of values of key, and the i-th of them (NULL when i is too large). */
size_t rec_count(const struct rec *r, const char *key);
const char *rec_get_nth(const struct rec *r, const char *key, size_t i, size_t *len);
/* All fields in order, for walking. */
size_t rec_n_fields(const struct rec *r);
const char *rec_field(const struct rec *r, size_t i, const char **value, size_t *len);

/*
 * Required fields of a given form. ERR_INVALID names type and key when the
 * field is missing, there more than once, not a canonical decimal integer in [min, max] /
 * not exactly len bytes of lower-case hex / holds a NUL or is empty.
 */
int rec_need_int(const struct rec *r, const char *key, int64_t min, int64_t max,
                 int64_t *out, struct err *e) MUST_USE;
int rec_need_hex(const struct rec *r, const char *key, void *out, size_t len,
                 struct err *e) MUST_USE;
int rec_need_str(const struct rec *r, const char *key, const char **out,
                 struct err *e) MUST_USE;
/* A number of something: any integer that is not negative. */
int rec_need_count(const struct rec *r, const char *key, int64_t *out,
                   struct err *e) MUST_USE;
/* Optional integer: absent gives dflt; present but malformed is ERR_INVALID. */
int rec_opt_int(const struct rec *r, const char *key, int64_t min, int64_t max,
                int64_t dflt, int64_t *out, struct err *e) MUST_USE;

/* Append the encoding to out. */
void rec_encode(const struct rec *r, struct buf *out);

/*
 * Parse exactly data[0..len). want_type NULL accepts any type. ERR_CORRUPT:
 * not a canonical record; ERR_VERSION: well-formed but of another type. *out is
 * the caller's (rec_free).
 */
int rec_parse(struct rec **out, const void *data, size_t len, const char *want_type,
              struct err *e) MUST_USE;

/*
 * Read a record from the file at path / replace it there with fsync (file.h).
 * rec_save: ERR_RANGE above the limits, as it could never be read again.
 */
int rec_load(struct rec **out, const char *path, const char *want_type,
             struct err *e) MUST_USE;
int rec_save(const struct rec *r, const char *path, struct err *e) MUST_USE;

#endif
