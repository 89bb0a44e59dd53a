#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

/*
 * JSON (RFC 8259). Writing is a stream into a buf, so output is never held
 * twice; commas, quoting and nesting are kept right (misuse is asserted).
 * Reading goes through jansson; integers keep the whole int64 range and never
 * pass through double.
 */
struct json_writer {
    struct buf *out;
    int depth;
    bool need_comma;
    bool after_key;
};

struct json_writer json_to(struct buf *out);
void json_obj(struct json_writer *w);
void json_obj_end(struct json_writer *w);
void json_arr(struct json_writer *w);
void json_arr_end(struct json_writer *w);
void json_key(struct json_writer *w, const char *key);
/* Invalid UTF-8 is replaced by U+FFFD per byte. NULL writes null. */
void json_str(struct json_writer *w, const char *s);
void json_int(struct json_writer *w, int64_t v);
void json_bool(struct json_writer *w, bool v);
void json_nil(struct json_writer *w);
/* key and value in one. */
void json_kstr(struct json_writer *w, const char *key, const char *s);
void json_kint(struct json_writer *w, const char *key, int64_t v);
void json_kbool(struct json_writer *w, const char *key, bool v);
/* v, or null where it is `none`. */
void json_kint_or_nil(struct json_writer *w, const char *key, int64_t v, int64_t none);
/* A moment is two members: key (RFC 3339, UTC) and key_ns (since 1970); null: not > 0. */
void json_ktime(struct json_writer *w, const char *key, int64_t wall_ns);
/* A name that may not be UTF-8: "key": lossy, and "key_b64" only where it is not. */
void json_kname(struct json_writer *w, const char *key, const void *name, size_t len);

struct json; /* a parsed value; owned by its root */

enum json_kind {
    JSON_NONE = 0,
    JSON_NIL,
    JSON_BOOL,
    JSON_INT,
    JSON_STR,
    JSON_ARR,
    JSON_OBJ
};

/*
 * One value of any kind. ERR_INVALID with line and column: no JSON, a member twice,
 * nested deeper than 2048, U+0000 in a string, a number with fraction or exponent or
 * beyond int64.
 */
int json_parse(struct json **out, const void *data, size_t len, struct err *e) MUST_USE;
/* The same, with U+0000 allowed in strings: their length is json_str_len's. */
int json_parse_nul(struct json **out, const void *data, size_t len,
                   struct err *e) MUST_USE;
void json_free(struct json *root);              /* only the root */
enum json_kind json_kind(const struct json *v); /* JSON_NONE for NULL */
const struct json *json_get(const struct json *obj, const char *key); /* NULL if absent */
size_t json_len(const struct json *v); /* members or elements; 0 for others */
/* NULL beyond the end, or where v is of another kind. */
const struct json *json_at(const struct json *arr, size_t i);
const char *json_key_at(const struct json *obj, size_t i);
const struct json *json_value_at(const struct json *obj, size_t i);
int64_t json_as_int(const struct json *v); /* asserted kind */
bool json_as_bool(const struct json *v);
const char *json_as_str(const struct json *v); /* stays v's */
size_t json_str_len(const struct json *v);

#endif
