#include "tests/tools/vectors_ops/call.h"

#include <stdio.h>
#include <stdlib.h>

static void
set_bad(struct call *c, const char *key)
{
    if (!c->bad) {
        c->bad = true;
        (void)snprintf(c->bad_key, sizeof c->bad_key, "%s", key);
    }
}

static const struct json *
member(struct call *c, const struct json *obj, const char *key, enum json_kind kind)
{
    const struct json *v = json_kind(obj) == JSON_OBJ ? json_get(obj, key) : NULL;

    if (json_kind(v) != kind) {
        set_bad(c, key);
        return NULL;
    }
    return v;
}

int64_t
call_int_of(struct call *c, const struct json *obj, const char *key)
{
    const struct json *v = member(c, obj, key, JSON_INT);

    return v == NULL ? 0 : json_as_int(v);
}

int64_t
call_int_or_of(struct call *c, const struct json *obj, const char *key, int64_t dflt)
{
    const struct json *v = json_kind(obj) == JSON_OBJ ? json_get(obj, key) : NULL;

    return json_kind(v) == JSON_NONE || json_kind(v) == JSON_NIL
               ? dflt
               : call_int_of(c, obj, key);
}

const char *
call_str_of(struct call *c, const struct json *obj, const char *key)
{
    const struct json *v = member(c, obj, key, JSON_STR);

    return v == NULL ? "" : json_as_str(v);
}

int64_t
call_int(struct call *c, const char *key)
{
    return call_int_of(c, c->in, key);
}

int64_t
call_int_or(struct call *c, const char *key, int64_t dflt)
{
    return call_int_or_of(c, c->in, key, dflt);
}

const char *
call_str(struct call *c, const char *key)
{
    return call_str_of(c, c->in, key);
}

const char *
call_bytes(struct call *c, const char *key, size_t *len)
{
    const struct json *v = member(c, c->in, key, JSON_STR);

    *len = v == NULL ? 0 : json_str_len(v);
    return v == NULL ? "" : json_as_str(v);
}

bool
call_has(const struct call *c, const char *key)
{
    enum json_kind k = json_kind(json_get(c->in, key));

    return k != JSON_NONE && k != JSON_NIL;
}

const struct json *
call_arr(struct call *c, const char *key, size_t *n)
{
    const struct json *v = member(c, c->in, key, JSON_ARR);

    *n = v == NULL ? 0 : json_len(v);
    return v;
}

int64_t *
call_ints(struct call *c, const char *key, size_t *n)
{
    const struct json *a = call_arr(c, key, n);
    int64_t *v = call_alloc(c, *n, sizeof *v);

    for (size_t i = 0; i < *n; i++) {
        if (json_kind(json_at(a, i)) != JSON_INT) {
            set_bad(c, key);
            break;
        }
        v[i] = json_as_int(json_at(a, i));
    }
    return v;
}

struct tariff_segment
call_segment(struct call *c, const struct json *obj)
{
    return (struct tariff_segment){
        .price_uyuan_per_h = call_int_of(c, obj, "price_uyh"),
        .n_units = call_int_or_of(c, obj, "gpus", 1),
        .used_s = call_int_of(c, obj, "seconds"),
        .discount_bps = call_int_or_of(c, obj, "discount_bps", TARIFF_BPS_ONE),
    };
}

struct tariff_segment *
call_segments(struct call *c, const char *key, size_t *n)
{
    const struct json *a = call_arr(c, key, n);
    struct tariff_segment *s = call_alloc(c, *n, sizeof *s);

    for (size_t i = 0; i < *n; i++) {
        s[i] = call_segment(c, json_at(a, i));
    }
    return s;
}

void *
call_alloc(struct call *c, size_t n, size_t size)
{
    return call_keep(c, xcalloc(n > 0 ? n : 1, size));
}

void *
call_keep(struct call *c, void *p)
{
    c->scratch = xrealloc(c->scratch, (c->n_scratch + 1) * sizeof *c->scratch);
    c->scratch[c->n_scratch++] = p;
    return p;
}

void
call_clear(struct call *c)
{
    for (size_t i = 0; i < c->n_scratch; i++) {
        free(c->scratch[i]);
    }
    free((void *)c->scratch);
}

void
call_put_ints(struct call *c, const char *key, const int64_t *v, size_t n)
{
    json_key(&c->out, key);
    json_arr(&c->out);
    for (size_t i = 0; i < n; i++) {
        json_int(&c->out, v[i]);
    }
    json_arr_end(&c->out);
}
