/* Words of users and bytes of peers: parsed or refused, and escaped harmlessly. */
#include <string.h>

#include "base/text.h"
#include "base/utf8.h"
#include "tests/fuzz/fuzz.h"

static void
parse(const char *s)
{
    int64_t v = 0;
    struct err e;

    if (text_parse_duration(s, &v, &e) == 0) {
        must(v >= 0);
    } else {
        must(e.code == ERR_INVALID || e.code == ERR_RANGE);
        must(text_is_utf8(e.msg, strlen(e.msg)));
    }
    if (text_parse_size(s, &v, &e) == 0) {
        char text[TEXT_SIZE_MAX];

        must(v >= 0);
        text_format_size((uint64_t)v, text);
        must(strlen(text) < sizeof text);
    }
    if (text_parse_int(s, -1000, 1000, "--n", &v, &e) == 0) {
        char text[TEXT_DURATION_MAX];

        must(v >= -1000 && v <= 1000);
        text_format_duration(v, text);
    }
}

static void
escape(const char *s, const uint8_t *data, size_t size)
{
    struct buf b = BUF_INIT;
    char cut[16];
    uint32_t cp;

    text_escape(&b, data, size);
    must(size == 0 || text_is_utf8(b.data, b.len));
    for (size_t i = 0; i < b.len;) {
        i += utf8_decode(b.data + i, b.len - i, &cp);
        must(cp >= 0x20 && (cp < 0x7f || cp > 0x9f));
        must(cp != 0x202e && cp != 0x2066);
    }
    must(text_width(buf_str(&b)) >= 0);
    (void)text_escape_to(cut, sizeof cut, s);
    must(strlen(cut) < sizeof cut && text_is_utf8(cut, strlen(cut)));
    buf_reset(&b);
    text_base64(&b, data, size);
    must(b.len == (size + 2) / 3 * 4);
    buf_reset(&b);
    text_shell_quote(&b, s);
    must(b.len >= strlen(s) + 2);
    buf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf b = BUF_INIT;

    buf_add(&b, data, size);
    parse(buf_str(&b));
    escape(buf_str(&b), data, size);
    buf_free(&b);
    return 0;
}
