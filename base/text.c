#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"

#define NS_PER_S        INT64_C(1000000000)
#define FRACTION_DIGITS 9
#define SHOWN_MAX       80             /* of what is refused */
#define CUT_MARK        "\xe2\x80\xa6" /* … */

/* What a terminal or the eye could be steered by. */
static bool
cp_is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) ||     /* C0, DEL, C1 */
           cp == 0x61c || cp == 0x200e || cp == 0x200f || /* bidi marks */
           (cp >= 0x202a && cp <= 0x202e) ||              /* bidi embeddings */
           (cp >= 0x2066 && cp <= 0x2069);                /* bidi isolates */
}

/* The escaped form of the character at s into out (at most 16 bytes); bytes eaten. */
static size_t
escape_one(const uint8_t *s, size_t left, char out[17])
{
    uint32_t cp = 0;
    size_t n = utf8_decode(s, left, &cp);

    if (n > 0 && !cp_is_control(cp)) {
        memcpy(out, s, n);
        out[n] = '\0';
        return n;
    }
    if (s[0] == '\n') {
        memcpy(out, "\\n", 3);
        return 1;
    }
    n = n > 0 ? n : 1;
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(out + 4 * i, 5, "\\x%02x", s[i]);
    }
    return n;
}

void
text_escape(struct buf *out, const void *data, size_t len)
{
    const uint8_t *p = data;
    char one[17];

    for (size_t i = 0; i < len;) {
        i += escape_one(p + i, len - i, one);
        buf_add_str(out, one);
    }
}

const char *
text_escape_to(char *out, size_t size, const char *s)
{
    const size_t mark = sizeof CUT_MARK - 1;
    size_t left = strlen(s);
    size_t used = 0;
    size_t cut = 0; /* up to here the mark still fits behind */
    char one[17];

    assert(size > mark);
    while (left > 0) {
        size_t eaten = escape_one((const uint8_t *)s, left, one);
        size_t n = strlen(one);

        if (used + n >= size) {
            memcpy(out + cut, CUT_MARK, mark);
            used = cut + mark;
            break;
        }
        memcpy(out + used, one, n);
        used += n;
        if (used + mark < size) {
            cut = used;
        }
        s += eaten;
        left -= eaten;
    }
    out[used] = '\0';
    return out;
}

bool
text_is_utf8(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t cp;

    for (size_t i = 0; i < len;) {
        size_t n = utf8_decode(p + i, len - i, &cp);

        if (n == 0) {
            return false;
        }
        i += n;
    }
    return true;
}

/* Of the character at s; at least one byte of n > 0. */
static int
next_width(const char *s, size_t n, size_t *len)
{
    uint32_t cp = 0;

    *len = utf8_decode(s, n, &cp);
    if (*len == 0) {
        *len = 1;
        return 1;
    }
    return utf8_columns(cp);
}

int
text_width(const char *s)
{
    size_t left = strlen(s);
    int width = 0;

    while (left > 0) {
        size_t n;

        width += next_width(s, left, &n);
        s += n;
        left -= n;
    }
    return width;
}

size_t
text_prefix(const char *s, int columns)
{
    size_t len = strlen(s);
    size_t at = 0;

    while (at < len) {
        size_t n;

        columns -= next_width(s + at, len - at, &n);
        if (columns < 0) {
            break;
        }
        at += n;
    }
    return at;
}

/*
 * A decimal number with an optional fraction of up to nine digits, as whole
 * and billionths. Moves *s behind it. False: no number there. *range: too large.
 */
static bool
take_number(const char **s, int64_t *whole, int64_t *billionths, bool *range)
{
    const char *at = *s;
    int64_t part = 0;
    int digits = 0;

    *whole = 0;
    if (*at < '0' || *at > '9') {
        return false;
    }
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(*whole, 10, whole) ||
            __builtin_add_overflow(*whole, *at - '0', whole)) {
            *range = true;
            *whole = 0;
        }
    }
    if (*at == '.') {
        for (at++; *at >= '0' && *at <= '9' && digits < FRACTION_DIGITS; at++, digits++) {
            part = part * 10 + (*at - '0');
        }
        if (digits == 0) {
            return false;
        }
        for (; digits < FRACTION_DIGITS; digits++) {
            part *= 10;
        }
    }
    *billionths = part;
    *s = at;
    return true;
}

/* whole.billionths × unit, rounded down; false if it does not fit. */
static bool
scale(int64_t whole, int64_t billionths, int64_t unit, int64_t *out)
{
    __int128 v = (__int128)whole * unit + (__int128)billionths * unit / NS_PER_S;

    if (v > INT64_MAX) {
        return false;
    }
    *out = (int64_t)v;
    return true;
}

struct unit {
    const char *name;
    int64_t is;
};

static const struct unit duration_units[] = {
    {"w", 604800 * NS_PER_S},
    {"d", 86400 * NS_PER_S},
    {"h", 3600 * NS_PER_S},
    {"min", 60 * NS_PER_S},
    {"m", 60 * NS_PER_S},
    {"s", NS_PER_S},
    {"ms", 1000000},
    {"us", 1000},
    {"ns", 1},
};

static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"K", INT64_C(1) << 10},
    {"KiB", INT64_C(1) << 10},
    {"KB", 1000},
    {"M", INT64_C(1) << 20},
    {"MiB", INT64_C(1) << 20},
    {"MB", 1000000},
    {"G", INT64_C(1) << 30},
    {"GiB", INT64_C(1) << 30},
    {"GB", 1000000000},
    {"T", INT64_C(1) << 40},
    {"TiB", INT64_C(1) << 40},
    {"TB", INT64_C(1000000000000)},
};

static const struct unit *
find_unit(const struct unit *units, size_t n, const char *name, size_t len, bool any_case)
{
    for (size_t i = 0; i < n; i++) {
        if (strlen(units[i].name) == len &&
            (any_case ? strncasecmp(units[i].name, name, len)
                      : strncmp(units[i].name, name, len)) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

/* One piece like "1h" of a duration, smaller in unit than the one before. */
static bool
take_duration_piece(const char **s, int64_t *unit, int64_t *piece, bool *range)
{
    int64_t whole = 0;
    int64_t part = 0;
    const struct unit *u;
    size_t len;

    if (!take_number(s, &whole, &part, range)) {
        return false;
    }
    len = strspn(*s, "abcdefghijklmnopqrstuvwxyz");
    if (len == 0) {
        /* Plain seconds stand alone: "1h30" is a riddle. */
        if (*unit != INT64_MAX || **s != '\0') {
            return false;
        }
        u = find_unit(duration_units, sizeof duration_units / sizeof *duration_units, "s",
                      1, false);
    } else {
        u = find_unit(duration_units, sizeof duration_units / sizeof *duration_units, *s,
                      len, false);
    }
    if (u == NULL || u->is >= *unit) {
        return false;
    }
    *unit = u->is;
    *s += len;
    if (!scale(whole, part, u->is, piece)) {
        *range = true;
        *piece = 0;
    }
    return true;
}

int
text_parse_duration(const char *s, int64_t *ns, struct err *e)
{
    const char *at = s;
    char shown[SHOWN_MAX];
    int64_t unit = INT64_MAX;
    int64_t sum = 0;
    bool range = false;

    do {
        int64_t piece = 0;

        if (!take_duration_piece(&at, &unit, &piece, &range)) {
            return err_set(e, ERR_INVALID,
                           "'%s' is no duration (for example 90s, 1h30m, 15d)",
                           text_escape_to(shown, sizeof shown, s));
        }
        if (__builtin_add_overflow(sum, piece, &sum)) {
            range = true;
            sum = 0;
        }
    } while (*at != '\0');
    if (range) {
        return err_set(e, ERR_RANGE,
                       "'%s' is too long a duration (the most is 292 years)",
                       text_escape_to(shown, sizeof shown, s));
    }
    *ns = sum;
    return 0;
}

int
text_parse_seconds(const char *s, int64_t min_s, int64_t max_s, int64_t *out,
                   struct err *e)
{
    char shown[SHOWN_MAX];
    int64_t seconds;
    int64_t ns;

    if (text_parse_duration(s, &ns, e) != 0) {
        return -1;
    }
    seconds = ns / NS_PER_S + (ns % NS_PER_S != 0);
    if (ns / NS_PER_S < min_s || seconds > max_s) {
        return err_set(e, ERR_RANGE, "'%s' is out of range (%lld s to %lld s)",
                       text_escape_to(shown, sizeof shown, s), (long long)min_s,
                       (long long)max_s);
    }
    *out = seconds;
    return 0;
}

void
text_format_duration(int64_t seconds, char out[TEXT_DURATION_MAX])
{
    uint64_t s = seconds < 0 ? -(uint64_t)seconds : (uint64_t)seconds;
    const char *sign = seconds < 0 ? "-" : "";
    uint64_t days = s / 86400;
    unsigned h = (unsigned)(s / 3600 % 24);
    unsigned m = (unsigned)(s / 60 % 60);
    unsigned sec = (unsigned)(s % 60);

    if (days > 0) {
        (void)snprintf(out, TEXT_DURATION_MAX, "%s%" PRIu64 "d %02u:%02u:%02u", sign,
                       days, h, m, sec);
    } else {
        (void)snprintf(out, TEXT_DURATION_MAX, "%s%02u:%02u:%02u", sign, h, m, sec);
    }
}

int
text_parse_size(const char *s, int64_t *bytes, struct err *e)
{
    const char *at = s;
    char shown[SHOWN_MAX];
    const struct unit *u = NULL;
    int64_t whole = 0;
    int64_t part = 0;
    int64_t v = 0;
    bool range = false;

    if (take_number(&at, &whole, &part, &range)) {
        u = find_unit(size_units, sizeof size_units / sizeof *size_units, at, strlen(at),
                      true);
    }
    if (u == NULL) {
        return err_set(e, ERR_INVALID,
                       "'%s' is no size (for example 512M, 20G, 1.5GiB, 20GB)",
                       text_escape_to(shown, sizeof shown, s));
    }
    if (range || !scale(whole, part, u->is, &v)) {
        return err_set(e, ERR_RANGE, "'%s' is too large a size (the most is 8 EiB)",
                       text_escape_to(shown, sizeof shown, s));
    }
    *bytes = v;
    return 0;
}

void
text_format_size(uint64_t bytes, char out[TEXT_SIZE_MAX])
{
    static const char *const names[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    uint64_t unit = 1;
    uint64_t tenths;
    size_t i = 0;

    if (bytes < 1000) {
        (void)snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 " B", bytes);
        return;
    }
    /* Up while it would print as 1000.0 or more. */
    do {
        unit *= 1000;
        i++;
        tenths =
            (bytes / (unit / 10) * 10 + bytes % (unit / 10) * 10 / (unit / 10) + 5) / 10;
    } while (tenths >= 10000 && i + 1 < sizeof names / sizeof *names);
    (void)snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 ".%u %s", tenths / 10,
                   (unsigned)(tenths % 10), names[i]);
}

int
text_parse_int(const char *s, int64_t min, int64_t max, const char *what, int64_t *out,
               struct err *e)
{
    const char *digits = s[0] == '-' ? s + 1 : s;
    char shown[80];
    char *end;
    int64_t v;

    errno = 0;
    v = strtoll(s, &end, 10);
    if (*digits < '0' || *digits > '9' || *end != '\0') {
        return err_set(e, ERR_INVALID, "%s: '%s' is no whole number", what,
                       text_escape_to(shown, sizeof shown, s));
    }
    if (errno == ERANGE || v < min || v > max) {
        return err_set(e, ERR_RANGE, "%s: '%s' is not between %" PRId64 " and %" PRId64,
                       what, text_escape_to(shown, sizeof shown, s), min, max);
    }
    *out = v;
    return 0;
}

void
text_base64(struct buf *out, const void *data, size_t len)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t v = (uint32_t)p[i] << 16;
        char four[4];

        v |= n > 1 ? (uint32_t)p[i + 1] << 8 : 0;
        v |= n > 2 ? p[i + 2] : 0U;
        four[0] = digits[v >> 18];
        four[1] = digits[v >> 12 & 63];
        four[2] = digits[v >> 6 & 63];
        four[3] = digits[v & 63];
        memset(four + 1 + n, '=', 3 - n);
        buf_add(out, four, sizeof four);
    }
}

void
text_shell_quote(struct buf *out, const char *s)
{
    buf_add_u8(out, '\'');
    for (; *s != '\0'; s++) {
        if (*s == '\'') {
            buf_add_str(out, "'\\''");
        } else {
            buf_add(out, s, 1);
        }
    }
    buf_add_u8(out, '\'');
}

int
text_of_file(struct buf *b, char **text, struct err *e)
{
    char *s;

    buf_add(b, "", 1);
    s = (char *)b->data;
    if (strlen(s) + 1 != b->len) {
        return err_set(e, ERR_INVALID, "it holds a zero byte");
    }
    *text = strncmp(s, "\xef\xbb\xbf", 3) == 0 ? s + 3 : s;
    return 0;
}

bool
text_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool
text_ends_with(const char *s, const char *end)
{
    size_t n = strlen(s);
    size_t k = strlen(end);

    return n > k && strcmp(s + n - k, end) == 0;
}

bool
text_glob(const char *pattern, const char *name)
{
    return fnmatch(pattern, name, 0) == 0;
}
