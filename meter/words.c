#include "meter/words.h"

#include <inttypes.h>
#include <string.h>

#include "meter/journal.h"

_Static_assert(CARD_WORD_MAX == WORDS_NAME_MAX, "the room that cards have for a name");
_Static_assert(OFFER_WORD_MAX == WORDS_TEXT_MAX, "the room that offers have for a text");
_Static_assert(GRANT_ID_MAX == WORDS_TEXT_MAX, "the room that grants have for an id");
_Static_assert(JOURNAL_WORD_MAX == WORDS_TEXT_MAX, "the room that journals have");

struct words
words_of(const char *value, size_t len)
{
    return (struct words){.at = value, .end = value + len, .first = true};
}

static bool
is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

static bool
is_text_byte(char c)
{
    return c > 0x20 && c < 0x7f && c != '\\'; /* no byte that a record escapes */
}

/* The next word and its length; NULL and bad if there is none. */
static const char *
next(struct words *w, size_t *len)
{
    const char *from = w->at;
    const char *space;

    if (w->bad || (!w->first && (from == w->end || *from++ != ' '))) {
        w->bad = true;
        return NULL;
    }
    w->first = false;
    space = from == w->end ? NULL : memchr(from, ' ', (size_t)(w->end - from));
    w->at = space != NULL ? space : w->end;
    *len = (size_t)(w->at - from);
    w->bad = *len == 0;
    return w->bad ? NULL : from;
}

static void
copy_word(struct words *w, char *out, size_t size, bool (*ok)(char))
{
    size_t len = 0;
    const char *s = next(w, &len);

    out[0] = '\0';
    if (s == NULL || (len == 1 && s[0] == '-')) {
        return;
    }
    w->bad = len >= size;
    for (size_t i = 0; i < len && !w->bad; i++) {
        w->bad = !ok(s[i]);
    }
    if (w->bad) {
        return;
    }
    memcpy(out, s, len);
    out[len] = '\0';
}

void
words_name(struct words *w, char *out, size_t size)
{
    copy_word(w, out, size, is_name_byte);
}

void
words_text(struct words *w, char *out, size_t size)
{
    copy_word(w, out, size, is_text_byte);
}

/* Nine tenths of a journal's numbers: none of so few digits overflows. */
#define DIGITS_SAFE 18

static bool
parse_safe(const char *s, size_t len, int64_t *out)
{
    uint64_t v = 0;
    unsigned bad = 0;

    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned char)s[i] - (unsigned)'0';

        bad |= digit > 9 ? 1 : 0;
        v = v * 10 + digit;
    }
    *out = (int64_t)v;
    return bad == 0;
}

bool
words_parse_int(const char *s, size_t len, int64_t *out)
{
    bool negative = len > 0 && s[0] == '-';
    size_t i = negative ? 1 : 0;
    int64_t v = 0;

    if (i == len || (s[i] == '0' && len > 1)) {
        return false;
    }
    if (!negative && len <= DIGITS_SAFE) {
        if (!parse_safe(s, len, &v)) {
            return false;
        }
        *out = v;
        return true;
    }
    for (; i < len; i++) {
        int digit = s[i] - '0';

        /* Downwards, so that INT64_MIN is reached. */
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(v, (int64_t)10, &v) ||
            __builtin_sub_overflow(v, (int64_t)digit, &v)) {
            return false;
        }
    }
    if (!negative && v == INT64_MIN) {
        return false;
    }
    *out = negative ? v : -v;
    return true;
}

int64_t
words_int(struct words *w, int64_t min, int64_t max)
{
    size_t len = 0;
    const char *s = next(w, &len);
    int64_t v = 0;

    if (s == NULL || !words_parse_int(s, len, &v) || v < min || v > max) {
        w->bad = true;
        return 0;
    }
    return v;
}

int64_t
words_count(struct words *w)
{
    return words_int(w, 0, INT64_MAX);
}

int64_t
words_int_or(struct words *w, int64_t nothing)
{
    size_t len = 0;
    const char *s = next(w, &len);
    int64_t v = 0;

    if (s != NULL && len == 1 && s[0] == '-') {
        return nothing;
    }
    if (s == NULL || !words_parse_int(s, len, &v) || v == nothing) {
        w->bad = true;
        return 0;
    }
    return v;
}

bool
words_done(const struct words *w)
{
    return !w->bad && w->at == w->end;
}

static bool
is_word(const char *s, size_t max, bool (*ok)(char))
{
    size_t len = strlen(s);

    if (len == 0 || len > max || strcmp(s, "-") == 0) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!ok(s[i])) {
            return false;
        }
    }
    return true;
}

bool
words_is_name(const char *s)
{
    return is_word(s, WORDS_NAME_MAX, is_name_byte);
}

bool
words_is_text(const char *s)
{
    return is_word(s, WORDS_TEXT_MAX, is_text_byte);
}

bool
words_is_name_or_none(const char *s)
{
    return s[0] == '\0' || words_is_name(s);
}

bool
words_is_text_or_none(const char *s)
{
    return s[0] == '\0' || words_is_text(s);
}

static void
space(struct buf *out)
{
    if (out->len > 0) {
        buf_add_u8(out, ' ');
    }
}

void
words_add(struct buf *out, const char *s)
{
    space(out);
    buf_add_str(out, s[0] != '\0' ? s : "-");
}

void
words_add_int(struct buf *out, int64_t v)
{
    space(out);
    buf_printf(out, "%" PRId64, v);
}

void
words_add_int_or(struct buf *out, int64_t v, int64_t nothing)
{
    if (v == nothing) {
        words_add(out, "");
    } else {
        words_add_int(out, v);
    }
}
