#include "base/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/utf8.h"

/* Apart from json_read.c, so that a program that only writes needs no jansson. */

struct json_writer
json_to(struct buf *out)
{
    return (struct json_writer){.out = out};
}

/* What stands between the value before and the one that comes now. */
static void
before_value(struct json_writer *w)
{
    if (w->need_comma && !w->after_key) {
        assert(w->depth > 0); /* one value at the top */
        buf_add_u8(w->out, ',');
    }
    w->after_key = false;
    w->need_comma = true;
}

static void
open_with(struct json_writer *w, char c)
{
    before_value(w);
    buf_add_u8(w->out, (uint8_t)c);
    w->depth++;
    w->need_comma = false;
}

static void
close_with(struct json_writer *w, char c)
{
    assert(w->depth > 0 && !w->after_key);
    buf_add_u8(w->out, (uint8_t)c);
    w->depth--;
    w->need_comma = true;
}

void
json_obj(struct json_writer *w)
{
    open_with(w, '{');
}

void
json_obj_end(struct json_writer *w)
{
    close_with(w, '}');
}

void
json_arr(struct json_writer *w)
{
    open_with(w, '[');
}

void
json_arr_end(struct json_writer *w)
{
    close_with(w, ']');
}

static void
add_escaped_byte(struct buf *out, uint8_t c)
{
    static const char letter[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};

    if (c == '"' || c == '\\') {
        buf_printf(out, "\\%c", c);
    } else if (c < sizeof letter && letter[c] != 0) {
        buf_printf(out, "\\%c", letter[c]);
    } else {
        buf_printf(out, "\\u%04x", c);
    }
}

static void
add_string(struct buf *out, const void *data, size_t len)
{
    const uint8_t *p = data;
    size_t from = 0; /* start of the stretch that is copied as it is */

    buf_add_u8(out, '"');
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        size_t n = utf8_decode(p + i, len - i, &cp);

        if (n > 0 && cp >= 0x20 && cp != '"' && cp != '\\' && cp != 0x7f) {
            i += n;
            continue;
        }
        buf_add(out, p + from, i - from);
        if (n == 0) {
            buf_add_str(out, "\xef\xbf\xbd"); /* U+FFFD */
        } else {
            add_escaped_byte(out, p[i]);
        }
        from = ++i;
    }
    if (from < len) {
        buf_add(out, p + from, len - from);
    }
    buf_add_u8(out, '"');
}

void
json_key(struct json_writer *w, const char *key)
{
    assert(w->depth > 0 && !w->after_key);
    before_value(w);
    add_string(w->out, key, strlen(key));
    buf_add_u8(w->out, ':');
    w->after_key = true;
}

void
json_str(struct json_writer *w, const char *s)
{
    if (s == NULL) {
        json_nil(w);
        return;
    }
    before_value(w);
    add_string(w->out, s, strlen(s));
}

void
json_int(struct json_writer *w, int64_t v)
{
    before_value(w);
    buf_printf(w->out, "%" PRId64, v);
}

void
json_bool(struct json_writer *w, bool v)
{
    before_value(w);
    buf_add_str(w->out, v ? "true" : "false");
}

void
json_nil(struct json_writer *w)
{
    before_value(w);
    buf_add_str(w->out, "null");
}

void
json_kstr(struct json_writer *w, const char *key, const char *s)
{
    json_key(w, key);
    json_str(w, s);
}

void
json_kint(struct json_writer *w, const char *key, int64_t v)
{
    json_key(w, key);
    json_int(w, v);
}

void
json_kbool(struct json_writer *w, const char *key, bool v)
{
    json_key(w, key);
    json_bool(w, v);
}

void
json_kname(struct json_writer *w, const char *key, const void *name, size_t len)
{
    struct buf b64_key = BUF_INIT;

    json_key(w, key);
    before_value(w);
    add_string(w->out, name, len);
    if (!text_is_utf8(name, len)) {
        buf_printf(&b64_key, "%s_b64", key);
        json_key(w, buf_str(&b64_key));
        before_value(w);
        buf_add_u8(w->out, '"');
        text_base64(w->out, name, len);
        buf_add_u8(w->out, '"');
        buf_free(&b64_key);
    }
}

void
json_kint_or_nil(struct json_writer *w, const char *key, int64_t v, int64_t none)
{
    json_key(w, key);
    if (v == none) {
        json_nil(w);
    } else {
        json_int(w, v);
    }
}

void
json_ktime(struct json_writer *w, const char *key, int64_t wall_ns)
{
    char text[CLOCK_TEXT_MAX];
    char *key_ns = xasprintf("%s_ns", key);

    if (wall_ns > 0) {
        clock_format_utc(wall_ns, 9, text);
    }
    json_kstr(w, key, wall_ns > 0 ? text : NULL);
    json_kint_or_nil(w, key_ns, wall_ns > 0 ? wall_ns : 0, 0);
    free(key_ns);
}
