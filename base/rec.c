#include "base/rec.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"

#define REC_KEY_MAX     64
#define REC_FIRST_BLOCK ((size_t)1024)
#define REC_MAX_BLOCK   ((size_t)1 << 20)

/*
 * Text lives in blocks that never move, so a value once handed out stays where
 * it is while more fields are added.
 */
struct rec_block {
    struct rec_block *next;
    size_t used;
    size_t size;
    char text[];
};

struct rec_field {
    const char *key;   /* NUL-terminated */
    const char *value; /* NUL-terminated, and len bytes long */
    size_t len;
};

/*
 * Field numbers sorted by (key, number): made at the first look-up after a
 * change, so that a list of many thousand values is read in a straight line and
 * hostile keys cannot make it slow.
 */
struct rec_index {
    uint32_t *at;
    size_t n; /* fields covered; another count than the record's: stale */
    size_t cap;
};

struct rec {
    char *type;
    struct rec_field *fields;
    size_t n;
    size_t cap;
    struct rec_block *blocks; /* newest first */
    struct rec_index *index;
};

static bool
key_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

static bool
key_valid(const char *key, size_t len)
{
    if (len == 0 || len > REC_KEY_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!key_byte((uint8_t)key[i])) {
            return false;
        }
    }
    return true;
}

struct rec *
rec_new(const char *type)
{
    struct rec *r = xcalloc(1, sizeof *r);

    assert(key_valid(type, strlen(type)));
    r->type = xstrdup(type);
    r->index = xcalloc(1, sizeof *r->index);
    return r;
}

void
rec_free(struct rec *r)
{
    if (r == NULL) {
        return;
    }
    while (r->blocks != NULL) {
        struct rec_block *next = r->blocks->next;

        free(r->blocks);
        r->blocks = next;
    }
    free(r->index->at);
    free(r->index);
    free(r->fields);
    free(r->type);
    free(r);
}

void
rec_free_wiped(struct rec *r)
{
    if (r != NULL) {
        for (struct rec_block *b = r->blocks; b != NULL; b = b->next) {
            explicit_bzero(b->text, b->used);
        }
        rec_free(r);
    }
}

const char *
rec_type(const struct rec *r)
{
    return r->type;
}

/* Room for n bytes that stay where they are until rec_free. */
static char *
rec_room(struct rec *r, size_t n)
{
    struct rec_block *b = r->blocks;
    char *at;

    if (b == NULL || b->size - b->used < n) {
        size_t size = b != NULL ? b->size * 2 : REC_FIRST_BLOCK;

        size = size > REC_MAX_BLOCK ? REC_MAX_BLOCK : size;
        size = size < n ? n : size;
        b = xmalloc(sizeof *b + size);
        *b = (struct rec_block){.next = r->blocks, .used = 0, .size = size};
        r->blocks = b;
    }
    at = b->text + b->used;
    b->used += n;
    return at;
}

static void
rec_push(struct rec *r, const char *key, const char *value, size_t len)
{
    if (r->n == r->cap) {
        r->cap = r->cap > 0 ? r->cap * 2 : 16;
        r->fields = xrealloc(r->fields, r->cap * sizeof *r->fields);
    }
    r->fields[r->n++] = (struct rec_field){.key = key, .value = value, .len = len};
}

/* A new field whose value, len bytes and a NUL, the caller writes. */
static char *
rec_make(struct rec *r, const char *key, size_t len)
{
    size_t key_len = strlen(key);
    char *k;

    assert(key_valid(key, key_len));
    k = rec_room(r, key_len + 1 + len + 1);
    memcpy(k, key, key_len + 1);
    rec_push(r, k, k + key_len + 1, len);
    return k + key_len + 1;
}

void
rec_add_bytes(struct rec *r, const char *key, const void *data, size_t len)
{
    char *v = rec_make(r, key, len);

    if (len > 0) {
        memcpy(v, data, len);
    }
    v[len] = '\0';
}

void
rec_add(struct rec *r, const char *key, const char *value)
{
    rec_add_bytes(r, key, value, strlen(value));
}

void
rec_add_int(struct rec *r, const char *key, int64_t v)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRId64, v);
    rec_add(r, key, text);
}

void
rec_add_hex(struct rec *r, const char *key, const void *data, size_t len)
{
    hex_format(data, len, rec_make(r, key, 2 * len)); /* no copy: it may be a secret */
}

void
rec_addf(struct rec *r, const char *key, const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    rec_add_bytes(r, key, buf_str(&b), b.len);
    buf_free(&b);
}

static int
compare_fields(const void *a, const void *b, void *fields)
{
    const struct rec_field *f = fields;
    uint32_t i = *(const uint32_t *)a;
    uint32_t j = *(const uint32_t *)b;
    int by_key = strcmp(f[i].key, f[j].key);

    return by_key != 0 ? by_key : (i > j) - (i < j);
}

static void
rec_sort(const struct rec *r)
{
    struct rec_index *x = r->index;

    if (x->n == r->n) {
        return;
    }
    if (x->cap < r->n) {
        x->cap = r->cap;
        x->at = xrealloc(x->at, x->cap * sizeof *x->at);
    }
    for (size_t i = 0; i < r->n; i++) {
        x->at[i] = (uint32_t)i;
    }
    qsort_r(x->at, r->n, sizeof *x->at, compare_fields, r->fields);
    x->n = r->n;
}

/* The first place in the index whose key is not below (or, past, above) key. */
static size_t
rec_bound(const struct rec *r, const char *key, bool past)
{
    size_t low = 0;
    size_t high = r->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = strcmp(r->fields[r->index->at[mid]].key, key);

        if (c < 0 || (past && c == 0)) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static const struct rec_field *
rec_find(const struct rec *r, const char *key, size_t i)
{
    const struct rec_field *f;
    size_t first;

    rec_sort(r);
    first = rec_bound(r, key, false);
    if (i >= r->n - first) {
        return NULL;
    }
    f = &r->fields[r->index->at[first + i]];
    return strcmp(f->key, key) == 0 ? f : NULL;
}

const char *
rec_get_nth(const struct rec *r, const char *key, size_t i, size_t *len)
{
    const struct rec_field *f = rec_find(r, key, i);

    if (f == NULL) {
        return NULL;
    }
    if (len != NULL) {
        *len = f->len;
    }
    return f->value;
}

const char *
rec_get_bytes(const struct rec *r, const char *key, size_t *len)
{
    return rec_get_nth(r, key, 0, len);
}

const char *
rec_get(const struct rec *r, const char *key)
{
    return rec_get_nth(r, key, 0, NULL);
}

bool
rec_has(const struct rec *r, const char *key)
{
    return rec_find(r, key, 0) != NULL;
}

size_t
rec_count(const struct rec *r, const char *key)
{
    rec_sort(r);
    return rec_bound(r, key, true) - rec_bound(r, key, false);
}

size_t
rec_n_fields(const struct rec *r)
{
    return r->n;
}

const char *
rec_field(const struct rec *r, size_t i, const char **value, size_t *len)
{
    assert(i < r->n);
    if (value != NULL) {
        *value = r->fields[i].value;
    }
    if (len != NULL) {
        *len = r->fields[i].len;
    }
    return r->fields[i].key;
}

/* The one field of that key; two of them would leave open which one counts. */
static const struct rec_field *
rec_single(const struct rec *r, const char *key, struct err *e)
{
    const struct rec_field *f = rec_find(r, key, 0);

    if (f == NULL) {
        (void)err_set(e, ERR_INVALID, "%s lacks '%s'", r->type, key);
        return NULL;
    }
    if (rec_find(r, key, 1) != NULL) {
        (void)err_set(e, ERR_INVALID, "%s has more than one '%s'", r->type, key);
        return NULL;
    }
    return f;
}

/* -?[1-9][0-9]* or 0, within int64. */
static bool
parse_canonical_int(const char *s, size_t len, int64_t *out)
{
    bool negative = len > 0 && s[0] == '-';
    size_t i = negative ? 1 : 0;
    int64_t v = 0;

    if (i == len || (s[i] == '0' && len > 1)) {
        return false;
    }
    for (; i < len; i++) {
        int digit = s[i] - '0';

        if (digit < 0 || digit > 9 || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_sub_overflow(v, digit, &v)) { /* downwards: reaches INT64_MIN */
            return false;
        }
    }
    if (!negative && v == INT64_MIN) {
        return false;
    }
    *out = negative ? v : -v;
    return true;
}

int
rec_need_int(const struct rec *r, const char *key, int64_t min, int64_t max, int64_t *out,
             struct err *e)
{
    const struct rec_field *f = rec_single(r, key, e);
    int64_t v;

    if (f == NULL) {
        return -1;
    }
    if (!parse_canonical_int(f->value, f->len, &v) || v < min || v > max) {
        return err_set(e, ERR_INVALID,
                       "'%s' of %s is no integer from %" PRId64 " to %" PRId64, key,
                       r->type, min, max);
    }
    *out = v;
    return 0;
}

int
rec_need_count(const struct rec *r, const char *key, int64_t *out, struct err *e)
{
    return rec_need_int(r, key, 0, INT64_MAX, out, e);
}

int
rec_opt_int(const struct rec *r, const char *key, int64_t min, int64_t max, int64_t dflt,
            int64_t *out, struct err *e)
{
    if (!rec_has(r, key)) {
        *out = dflt;
        return 0;
    }
    return rec_need_int(r, key, min, max, out, e);
}

int
rec_need_hex(const struct rec *r, const char *key, void *out, size_t len, struct err *e)
{
    const struct rec_field *f = rec_single(r, key, e);

    if (f == NULL) {
        return -1;
    }
    if (!hex_parse(f->value, f->len, out, len)) {
        return err_set(e, ERR_INVALID, "'%s' of %s is not %zu bytes in lower-case hex",
                       key, r->type, len);
    }
    return 0;
}

int
rec_need_str(const struct rec *r, const char *key, const char **out, struct err *e)
{
    const struct rec_field *f = rec_single(r, key, e);

    if (f == NULL) {
        return -1;
    }
    if (f->len == 0 || memchr(f->value, '\0', f->len) != NULL) {
        return err_set(e, ERR_INVALID, "'%s' of %s is empty or holds a zero byte", key,
                       r->type);
    }
    *out = f->value;
    return 0;
}

static void
encode_value(struct buf *out, const char *value, size_t len)
{
    size_t from = 0; /* start of the stretch that is copied as it is */

    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)value[i];

        if (c >= 0x20 && c != 0x7f && c != '\\') {
            continue;
        }
        buf_add(out, value + from, i - from);
        from = i + 1;
        if (c == '\\') {
            buf_add_str(out, "\\\\");
        } else {
            buf_printf(out, "\\x%02x", c);
        }
    }
    buf_add(out, value + from, len - from);
}

void
rec_encode(const struct rec *r, struct buf *out)
{
    buf_add_str(out, r->type);
    buf_add_u8(out, '\n');
    for (size_t i = 0; i < r->n; i++) {
        buf_add_str(out, r->fields[i].key);
        buf_add_u8(out, '=');
        encode_value(out, r->fields[i].value, r->fields[i].len);
        buf_add_u8(out, '\n');
    }
}

/* One escape at s[0..left): its byte in *out; its length, 0 if not canonical. */
static size_t
decode_escape(const char *s, size_t left, char *out)
{
    uint8_t c;

    if (left >= 2 && s[1] == '\\') {
        *out = '\\';
        return 2;
    }
    if (left < 4 || s[1] != 'x' || !hex_parse(s + 2, 2, &c, 1) ||
        (c >= 0x20 && c != 0x7f)) {
        return 0; /* that byte has a shorter spelling */
    }
    *out = (char)c;
    return 4;
}

/* Decode s[0..len) to out (at least len bytes); false if not canonical. */
static bool
decode_value(const char *s, size_t len, char *out, size_t *out_len)
{
    size_t n = 0;

    for (size_t i = 0; i < len;) {
        uint8_t c = (uint8_t)s[i];
        size_t step = 1;

        if (c < 0x20 || c == 0x7f) {
            return false;
        }
        if (c == '\\') {
            step = decode_escape(s + i, len - i, &out[n]);
            if (step == 0) {
                return false;
            }
        } else {
            out[n] = (char)c;
        }
        n++;
        i += step;
    }
    *out_len = n;
    return true;
}

static bool
parse_field(struct rec *r, const char *line, size_t len)
{
    const char *eq = memchr(line, '=', len);
    size_t key_len;
    size_t value_len;
    char *k;

    if (eq == NULL || r->n == REC_MAX_FIELDS) {
        return false;
    }
    key_len = (size_t)(eq - line);
    if (!key_valid(line, key_len)) {
        return false;
    }
    k = rec_room(r, len + 1); /* '=' becomes the key's NUL; decoding never grows */
    memcpy(k, line, key_len);
    k[key_len] = '\0';
    if (!decode_value(eq + 1, len - key_len - 1, k + key_len + 1, &value_len)) {
        return false;
    }
    k[key_len + 1 + value_len] = '\0';
    rec_push(r, k, k + key_len + 1, value_len);
    return true;
}

static int
parse_type(struct rec **out, const char *line, size_t len, const char *want,
           struct err *e)
{
    char type[REC_KEY_MAX + 1];

    if (!key_valid(line, len)) {
        return err_set(e, ERR_CORRUPT, "not a record: no type line");
    }
    memcpy(type, line, len);
    type[len] = '\0';
    if (want != NULL && strcmp(type, want) != 0) {
        return err_set(e, ERR_VERSION, "a %s record where %s was expected", type, want);
    }
    *out = rec_new(type);
    return 0;
}

int
rec_parse(struct rec **out, const void *data, size_t len, const char *want_type,
          struct err *e)
{
    const char *at = data;
    size_t left = len;
    size_t line_no = 0;
    struct rec *r = NULL;
    int rc = -1;

    if (len > REC_MAX_BYTES) {
        err_set(e, ERR_CORRUPT, "a record of %zu bytes is above the limit", len);
        goto out;
    }
    while (left > 0 || line_no == 0) {
        const char *end = left > 0 ? memchr(at, '\n', left) : NULL;
        size_t line_len;

        line_no++;
        if (end == NULL) {
            err_set(e, ERR_CORRUPT, "record cut off in line %zu", line_no);
            goto out;
        }
        line_len = (size_t)(end - at);
        if (r == NULL) {
            if (parse_type(&r, at, line_len, want_type, e) != 0) {
                goto out;
            }
        } else if (!parse_field(r, at, line_len)) {
            err_set(e, ERR_CORRUPT, "line %zu of a %s record is malformed", line_no,
                    r->type);
            goto out;
        }
        at = end + 1;
        left -= line_len + 1;
    }
    *out = r;
    r = NULL;
    rc = 0;

out:
    rec_free(r);
    return rc;
}

int
rec_load(struct rec **out, const char *path, const char *want_type, struct err *e)
{
    struct buf b = BUF_INIT;
    int rc = file_read(path, REC_MAX_BYTES, &b, e);

    if (rc == 0 && rec_parse(out, b.data, b.len, want_type, e) != 0) {
        rc = err_wrap(e, "'%s'", path);
    }
    buf_free(&b);
    return rc;
}

int
rec_save(const struct rec *r, const char *path, struct err *e)
{
    struct buf b = BUF_INIT;
    int rc;

    rec_encode(r, &b);
    if (b.len > REC_MAX_BYTES || r->n > REC_MAX_FIELDS) {
        /* It could never be read again. */
        rc = err_set(e, ERR_RANGE, "cannot write '%s': the %s record is too large", path,
                     r->type);
    } else {
        rc = file_replace(path, b.data, b.len, e);
    }
    buf_free(&b);
    return rc;
}
