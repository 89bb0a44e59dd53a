#include "meter/words.h"

#include <endian.h>
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

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static const uint64_t power_of_10[] = {1,      10,      100,      1000,     10000,
                                       100000, 1000000, 10000000, 100000000};

/*
 * How many of eight bytes are digits before one is not, and what they are worth. Pairs
 * of neighbours are summed up three times: tens and ones, hundreds, ten thousands.
 */
static unsigned
eight_digits(const char *s, uint64_t *value)
{
    uint64_t x;
    uint64_t none;
    unsigned n;

    memcpy(&x, s, sizeof x);
    x = le64toh(x) ^ EACH('0');
    /* A byte that is none may disturb those behind it, which do not count any more. */
    none = ((x + EACH(0x76)) | x) & EACH(0x80);
    n = none != 0 ? (unsigned)__builtin_ctzll(none) / 8 : 8;
    if (n == 0) {
        return 0;
    }
    x <<= 64 - 8 * n; /* zeros in front */
    x = (x * 10 + (x >> 8)) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x * 100 + (x >> 16)) & UINT64_C(0x0000ffff0000ffff);
    *value = (x * 10000 + (x >> 32)) & UINT64_C(0xffffffff);
    return n;
}

size_t
words_digits(const char *s, size_t len, int64_t *out)
{
    uint64_t v = 0;
    size_t n = 0;

    while (n <= WORDS_DIGITS_MAX && len - n >= 8) {
        uint64_t part = 0;
        unsigned k = eight_digits(s + n, &part);

        v = v * power_of_10[k] + part;
        n += k;
        if (k < 8) {
            goto out;
        }
    }
    for (; n <= WORDS_DIGITS_MAX && n < len; n++) {
        unsigned digit = (unsigned char)s[n] - (unsigned)'0';

        if (digit > 9) {
            break;
        }
        v = v * 10 + digit;
    }

out:
    if (n == 0 || n > WORDS_DIGITS_MAX || (s[0] == '0' && n > 1)) {
        return 0;
    }
    *out = (int64_t)v;
    return n;
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
    if (words_digits(s, len, &v) == len) {
        *out = v;
        return true;
    }
    v = 0;
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
