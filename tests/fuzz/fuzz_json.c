/* What was read and written again reads the same. */
#include <string.h>

#include "base/json.h"
#include "tests/fuzz/fuzz.h"

static void
write_value(struct json_writer *w, const struct json *v)
{
    switch (json_kind(v)) {
    case JSON_OBJ:
        json_obj(w);
        for (size_t i = 0; i < json_len(v); i++) {
            json_key(w, json_key_at(v, i));
            must(json_get(v, json_key_at(v, i)) == json_value_at(v, i));
            write_value(w, json_value_at(v, i));
        }
        json_obj_end(w);
        break;
    case JSON_ARR:
        json_arr(w);
        for (size_t i = 0; i < json_len(v); i++) {
            write_value(w, json_at(v, i));
        }
        json_arr_end(w);
        break;
    case JSON_STR:
        must(strlen(json_as_str(v)) == json_str_len(v));
        json_str(w, json_as_str(v));
        break;
    case JSON_INT:
        json_int(w, json_as_int(v));
        break;
    case JSON_BOOL:
        json_bool(w, json_as_bool(v));
        break;
    case JSON_NIL:
        json_nil(w);
        break;
    case JSON_NONE:
        must(false);
    }
}

static void
write_root(const struct json *v, struct buf *out)
{
    struct json_writer w = json_to(out);

    write_value(&w, v);
    must(w.depth == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json *j = NULL;
    struct json *again = NULL;
    struct buf once = BUF_INIT;
    struct buf twice = BUF_INIT;
    struct err e;

    if (json_parse(&j, data, size, &e) != 0) {
        must(j == NULL && e.code == ERR_INVALID);
        return 0;
    }
    write_root(j, &once);
    must(json_parse(&again, once.data, once.len, &e) == 0);
    write_root(again, &twice);
    must(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
    json_free(j);
    json_free(again);
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
