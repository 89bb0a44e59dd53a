#include "base/json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/text.h"

/*
 * Jansson's tree is copied into one of ours: members by number in constant
 * time, the types under our names, and its reals never get out. Ours are called NIL and
 * json_nil because jansson has taken the usual words.
 */
struct json {
    enum json_kind kind;
    int64_t integer; /* JSON_BOOL, JSON_INT */
    char *str;       /* JSON_STR: NUL-terminated, len bytes */
    size_t len;      /* bytes of str, elements or members */
    struct json *items;
    char **keys; /* JSON_OBJ: names of items */
};

static void
json_clear(struct json *v)
{
    for (size_t i = 0; v->items != NULL && i < v->len; i++) {
        json_clear(&v->items[i]);
    }
    for (size_t i = 0; v->keys != NULL && i < v->len; i++) {
        free(v->keys[i]);
    }
    free(v->items);
    free(v->keys);
    free(v->str);
}

static bool value_copy(struct json *to, json_t *from);

static bool
copy_members(struct json *to, json_t *from)
{
    const char *key;
    json_t *member;
    size_t i = 0;
    bool ok = true;

    to->kind = JSON_OBJ;
    to->len = json_object_size(from);
    to->items = xcalloc(to->len, sizeof *to->items);
    to->keys = xcalloc(to->len, sizeof *to->keys);
    json_object_foreach(from, key, member)
    {
        to->keys[i] = xstrdup(key);
        ok = value_copy(&to->items[i], member) && ok;
        i++;
    }
    return ok;
}

static bool
copy_elements(struct json *to, json_t *from)
{
    bool ok = true;

    to->kind = JSON_ARR;
    to->len = json_array_size(from);
    to->items = xcalloc(to->len, sizeof *to->items);
    for (size_t i = 0; i < to->len; i++) {
        ok = value_copy(&to->items[i], json_array_get(from, i)) && ok;
    }
    return ok;
}

/* False if there is a real in it. Depth is bounded by jansson's parser. */
static bool
value_copy(struct json *to, json_t *from)
{
    switch (json_typeof(from)) {
    case JSON_OBJECT:
        return copy_members(to, from);
    case JSON_ARRAY:
        return copy_elements(to, from);
    case JSON_STRING:
        to->kind = JSON_STR;
        to->len = json_string_length(from);
        to->str = xmalloc(to->len + 1);
        memcpy(to->str, json_string_value(from), to->len + 1);
        return true;
    case JSON_INTEGER:
        to->kind = JSON_INT;
        to->integer = json_integer_value(from);
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        to->kind = JSON_BOOL;
        to->integer = json_is_true(from);
        return true;
    case JSON_REAL:
        to->kind = JSON_NIL;
        return false;
    case JSON_NULL:
    default:
        to->kind = JSON_NIL;
        return true;
    }
}

static int
parse(struct json **out, const void *data, size_t len, size_t flags, struct err *e)
{
    json_error_t why;
    json_t *tree;
    struct json *root;
    char shown[200];
    bool ok;

    if (len > 0 && memchr(data, '\0', len) != NULL) {
        return err_set(e, ERR_INVALID,
                       "no JSON: it holds a zero byte"); /* jansson stops there */
    }
    tree = json_loadb(data != NULL ? data : "", len,
                      flags | JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    if (tree == NULL) {
        return err_set(e, ERR_INVALID, "no JSON: line %d, column %d: %s", why.line,
                       why.column, text_escape_to(shown, sizeof shown, why.text));
    }
    root = xcalloc(1, sizeof *root);
    ok = value_copy(root, tree);
    json_decref(tree);
    if (!ok) {
        json_free(root);
        return err_set(e, ERR_INVALID,
                       "JSON with a fraction or exponent: only whole numbers are taken");
    }
    *out = root;
    return 0;
}

int
json_parse(struct json **out, const void *data, size_t len, struct err *e)
{
    return parse(out, data, len, 0, e);
}

int
json_parse_nul(struct json **out, const void *data, size_t len, struct err *e)
{
    return parse(out, data, len, JSON_ALLOW_NUL, e);
}

void
json_free(struct json *root)
{
    if (root != NULL) {
        json_clear(root);
        free(root);
    }
}

enum json_kind
json_kind(const struct json *v)
{
    return v != NULL ? v->kind : JSON_NONE;
}

const struct json *
json_get(const struct json *obj, const char *key)
{
    if (json_kind(obj) != JSON_OBJ) {
        return NULL;
    }
    for (size_t i = 0; i < obj->len; i++) {
        if (strcmp(obj->keys[i], key) == 0) {
            return &obj->items[i];
        }
    }
    return NULL;
}

size_t
json_len(const struct json *v)
{
    enum json_kind k = json_kind(v);

    return k == JSON_OBJ || k == JSON_ARR ? v->len : 0;
}

const struct json *
json_at(const struct json *arr, size_t i)
{
    return json_kind(arr) == JSON_ARR && i < arr->len ? &arr->items[i] : NULL;
}

const char *
json_key_at(const struct json *obj, size_t i)
{
    return json_kind(obj) == JSON_OBJ && i < obj->len ? obj->keys[i] : NULL;
}

const struct json *
json_value_at(const struct json *obj, size_t i)
{
    return json_kind(obj) == JSON_OBJ && i < obj->len ? &obj->items[i] : NULL;
}

int64_t
json_as_int(const struct json *v)
{
    assert(json_kind(v) == JSON_INT);
    return v->integer;
}

bool
json_as_bool(const struct json *v)
{
    assert(json_kind(v) == JSON_BOOL);
    return v->integer != 0;
}

const char *
json_as_str(const struct json *v)
{
    assert(json_kind(v) == JSON_STR);
    return v->str;
}

size_t
json_str_len(const struct json *v)
{
    assert(json_kind(v) == JSON_STR);
    return v->len;
}
