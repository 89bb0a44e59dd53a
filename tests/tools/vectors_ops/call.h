#ifndef TESTS_TOOLS_VECTORS_OPS_CALL_H
#define TESTS_TOOLS_VECTORS_OPS_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "meter/tariff.h"

/*
 * One vector's call of one operation. Reading a member that is missing or of another
 * kind sets bad and gives zero, so an operation reads everything, then looks once.
 */
struct call {
    const struct json *in;
    struct json_writer out; /* inside the object of the answer */
    struct err e;           /* of an operation that refuses */
    bool bad;
    char bad_key[64];
    void **scratch; /* freed after the call */
    size_t n_scratch;
};

struct op {
    const char *name; /* NULL ends a table */
    /* 0: the answer is in out; -1: refused (e), or bad is set. */
    int (*run)(struct call *c);
};

extern const struct op ops_price[];
extern const struct op ops_time[];
extern const struct op ops_wallet[];
extern const struct op ops_share[];

/* Members of obj; call_int and friends read c->in. */
int64_t call_int_of(struct call *c, const struct json *obj, const char *key);
int64_t call_int_or_of(struct call *c, const struct json *obj, const char *key,
                       int64_t dflt);
const char *call_str_of(struct call *c, const struct json *obj, const char *key);
int64_t call_int(struct call *c, const char *key);
int64_t call_int_or(struct call *c, const char *key, int64_t dflt);
const char *call_str(struct call *c, const char *key);
const char *call_bytes(struct call *c, const char *key, size_t *len);
bool call_has(const struct call *c, const char *key);

/* The array under key (empty and bad if it is none), and lists of one kind. */
const struct json *call_arr(struct call *c, const char *key, size_t *n);
int64_t *call_ints(struct call *c, const char *key, size_t *n);
struct tariff_segment *call_segments(struct call *c, const char *key, size_t *n);
struct tariff_segment call_segment(struct call *c, const struct json *obj);

/* Zeroed memory for the time of the call. */
void *call_alloc(struct call *c, size_t n, size_t size);
/* Take over memory that the code under test made. */
void *call_keep(struct call *c, void *p);
void call_clear(struct call *c);

/* "key": [ … ] */
void call_put_ints(struct call *c, const char *key, const int64_t *v, size_t n);

#endif
