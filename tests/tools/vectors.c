/*
 * vectors FILE: run every vector of a file of schema gpurun.meter.vectors.v1 through the
 * code in meter/, print what differs, and end with "N passed, N failed". Exit status
 * 0 only if none failed. An operation that is not known has failed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "meter/ratio.h"
#include "meter/refuse.h"
#include "tests/tools/vectors_ops/call.h"

#define SCHEMA         "gpurun.meter.vectors.v1"
#define FILE_MAX_BYTES ((size_t)1 << 30)

static const struct op *
find_op(const char *name)
{
    static const struct op *const tables[] = {ops_price, ops_time, ops_wallet, ops_share};

    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        for (const struct op *op = tables[t]; op->name != NULL; op++) {
            if (strcmp(op->name, name) == 0) {
                return op;
            }
        }
    }
    return NULL;
}

static bool same(const struct json *want, const struct json *got);

static bool
same_arrays(const struct json *want, const struct json *got)
{
    for (size_t i = 0; i < json_len(want); i++) {
        if (!same(json_at(want, i), json_at(got, i))) {
            return false;
        }
    }
    return json_len(want) == json_len(got);
}

static bool
same_objects(const struct json *want, const struct json *got)
{
    for (size_t i = 0; i < json_len(want); i++) {
        if (!same(json_value_at(want, i), json_get(got, json_key_at(want, i)))) {
            return false;
        }
    }
    return json_len(want) == json_len(got);
}

static bool
same(const struct json *want, const struct json *got)
{
    if (json_kind(want) != json_kind(got)) {
        return false;
    }
    switch (json_kind(want)) {
    case JSON_INT:
        return json_as_int(want) == json_as_int(got);
    case JSON_BOOL:
        return json_as_bool(want) == json_as_bool(got);
    case JSON_STR:
        return json_str_len(want) == json_str_len(got) &&
               memcmp(json_as_str(want), json_as_str(got), json_str_len(got)) == 0;
    case JSON_ARR:
        return same_arrays(want, got);
    case JSON_OBJ:
        return same_objects(want, got);
    case JSON_NIL:
        return true;
    case JSON_NONE:
        break;
    }
    return false;
}

/* Exact amounts are compared as rationals, whatever their terms. */
static bool
same_rational(const struct json *want, const struct json *got)
{
    struct ratio a;
    struct ratio b;
    struct err e;

    return json_kind(want) == JSON_STR && json_kind(got) == JSON_STR &&
           ratio_parse(&a, json_as_str(want), json_str_len(want), &e) == 0 &&
           ratio_parse(&b, json_as_str(got), json_str_len(got), &e) == 0 &&
           a.num == b.num && a.den == b.den;
}

static bool
matches(const struct json *expect, const struct json *got, const char **bad_key)
{
    /* An error where an answer is expected is a failure, too. */
    *bad_key = "error";
    if (json_get(expect, "error") == NULL && json_get(got, "error") != NULL) {
        return false;
    }
    for (size_t i = 0; i < json_len(expect); i++) {
        const char *key = json_key_at(expect, i);
        const struct json *want = json_value_at(expect, i);

        *bad_key = key;
        if (strcmp(key, "exact_fen") == 0 ? !same_rational(want, json_get(got, key))
                                          : !same(want, json_get(got, key))) {
            return false;
        }
    }
    return true;
}

/* The answer of the operation as a JSON object; its error where it refused. */
static bool
run_op(const struct op *op, const struct json *input, struct buf *answer, char why[600])
{
    struct call c = {.in = input};
    bool ok = true;

    c.out = json_to(answer);
    json_obj(&c.out);
    if (op->run(&c) == 0) {
        json_obj_end(&c.out);
    } else if (c.bad || refuse_of(&c.e) == REFUSE_NONE) {
        (void)snprintf(why, 600, "%s%s", c.bad ? "bad input: " : "",
                       c.bad ? c.bad_key : c.e.msg);
        ok = false;
    } else {
        buf_reset(answer);
        c.out = json_to(answer);
        json_obj(&c.out);
        json_kstr(&c.out, "error", refuse_name(refuse_of(&c.e)));
        json_obj_end(&c.out);
    }
    call_clear(&c);
    return ok;
}

static bool
run_vector(const struct json *v, const char *id)
{
    const struct json *name = json_get(v, "op");
    const struct json *input = json_get(v, "input");
    const struct json *expect = json_get(v, "expect");
    const struct op *op = json_kind(name) == JSON_STR ? find_op(json_as_str(name)) : NULL;
    struct buf answer = BUF_INIT;
    struct json *got = NULL;
    const char *bad_key = "";
    char why[600] = "";
    struct err e;
    bool ok = false;

    if (op == NULL || json_kind(input) != JSON_OBJ || json_kind(expect) != JSON_OBJ) {
        printf("FAIL %s: no operation '%s', input or expect\n", id,
               json_kind(name) == JSON_STR ? json_as_str(name) : "");
        return false;
    }
    if (!run_op(op, input, &answer, why)) {
        printf("FAIL %s (%s): %s\n", id, op->name, why);
    } else if (json_parse(&got, answer.data, answer.len, &e) != 0) {
        printf("FAIL %s (%s): unreadable answer: %s\n", id, op->name, e.msg);
    } else if (!matches(expect, got, &bad_key)) {
        printf("FAIL %s (%s): '%s' differs, got %s\n", id, op->name, bad_key,
               buf_str(&answer));
    } else {
        ok = true;
    }
    json_free(got);
    buf_free(&answer);
    return ok;
}

static int
run_all(const struct json *root)
{
    const struct json *schema =
        json_kind(root) == JSON_OBJ ? json_get(root, "schema") : NULL;
    const struct json *list = schema != NULL ? json_get(root, "vectors") : NULL;
    size_t passed = 0;
    size_t failed = 0;

    if (json_kind(schema) != JSON_STR || strcmp(json_as_str(schema), SCHEMA) != 0 ||
        json_kind(list) != JSON_ARR) {
        fprintf(stderr, "vectors: not a file of schema " SCHEMA "\n");
        return 1;
    }
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *v = json_at(list, i);
        const struct json *id = json_kind(v) == JSON_OBJ ? json_get(v, "id") : NULL;
        char number[32];

        (void)snprintf(number, sizeof number, "vector %zu", i + 1);
        if (json_kind(v) == JSON_OBJ &&
            run_vector(v, json_kind(id) == JSON_STR ? json_as_str(id) : number)) {
            passed++;
        } else {
            failed++;
        }
    }
    printf("%zu passed, %zu failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}

int
main(int argc, char **argv)
{
    struct buf text = BUF_INIT;
    struct json *root = NULL;
    struct err e;
    int rc = 1;

    if (argc != 2) {
        fprintf(stderr, "usage: vectors FILE\n");
        return 2;
    }
    if (file_read(argv[1], FILE_MAX_BYTES, &text, &e) != 0 ||
        json_parse_nul(&root, text.data, text.len, &e) != 0) {
        fprintf(stderr, "vectors: %s: %s\n", argv[1], e.msg);
    } else {
        rc = run_all(root);
    }
    json_free(root);
    buf_free(&text);
    return rc;
}
