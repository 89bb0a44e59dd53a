#include "storage/ignore.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/*
 * git's wildmatch, as gitignore(5) and its tests tell it. Matching from a place in
 * the pattern against a place in the text depends on those two alone, so with many
 * stars the pairs that failed are remembered: otherwise "*a*a*a*a*b" takes for ever.
 */
#define MEMO_FROM_STARS 3

struct wild {
    const uint8_t *pattern; /* its very start: "**" looks at what is before it */
    const uint8_t *pattern_end;
    const uint8_t *text;
    const uint8_t *text_end;
    bool pathname;
    uint8_t *failed; /* a bit per pair, or NULL */
};

struct class_name {
    const char *name;
    bool (*has)(uint8_t c);
};

static bool
is_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}

static bool
is_upper(uint8_t c)
{
    return c >= 'A' && c <= 'Z';
}

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool
is_alpha(uint8_t c)
{
    return is_lower(c) || is_upper(c);
}

static bool
is_alnum(uint8_t c)
{
    return is_alpha(c) || is_digit(c);
}

static bool
is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* git's notion of space has neither vertical tab nor form feed. */
static bool
is_space(uint8_t c)
{
    return is_blank(c) || c == '\n' || c == '\r';
}

static bool
is_cntrl(uint8_t c)
{
    return c < 0x20 || c == 0x7f;
}

static bool
is_graph(uint8_t c)
{
    return c > 0x20 && c < 0x7f;
}

static bool
is_print(uint8_t c)
{
    return c >= 0x20 && c < 0x7f;
}

static bool
is_punct(uint8_t c)
{
    return is_graph(c) && !is_alnum(c);
}

static bool
is_xdigit(uint8_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static const struct class_name CLASSES[] = {
    {"alnum", is_alnum}, {"alpha", is_alpha}, {"blank", is_blank}, {"cntrl", is_cntrl},
    {"digit", is_digit}, {"graph", is_graph}, {"lower", is_lower}, {"print", is_print},
    {"punct", is_punct}, {"space", is_space}, {"upper", is_upper}, {"xdigit", is_xdigit},
};

/* Is c in the class name[0..len)? *known tells whether there is such a class. */
static bool
in_named_class(const uint8_t *name, size_t len, uint8_t c, bool *known)
{
    for (size_t i = 0; i < sizeof CLASSES / sizeof CLASSES[0]; i++) {
        if (strlen(CLASSES[i].name) == len && memcmp(CLASSES[i].name, name, len) == 0) {
            *known = true;
            return CLASSES[i].has(c);
        }
    }
    *known = false;
    return false;
}

/* One member of a bracket expression at *at: a byte, a range or a [:class:]. */
struct member {
    bool bad;     /* the whole pattern can match nothing */
    bool has;     /* c is in it */
    uint8_t last; /* byte a following '-' would start a range from; 0: none */
};

static struct member
named_class(const uint8_t **at, const uint8_t *end, uint8_t c)
{
    struct member m = {.bad = true};
    const uint8_t *name = *at + 2;
    const uint8_t *p = name;
    bool known;

    while (p < end && *p != ']') {
        p++;
    }
    if (p == end) {
        return m;
    }
    if (p == name || p[-1] != ':') { /* no ":]": just a '[' */
        (*at)++;
        return (struct member){.has = c == '[', .last = '['};
    }
    m.has = in_named_class(name, (size_t)(p - name - 1), c, &known);
    m.bad = !known;
    *at = p + 1;
    return m;
}

static struct member
bracket_member(const uint8_t **at, const uint8_t *end, uint8_t prev, uint8_t c)
{
    struct member m = {.bad = true};
    const uint8_t *p = *at;

    if (*p == '-' && prev != 0 && p + 1 < end && p[1] != ']') {
        p++;
        if (*p == '\\' && ++p == end) {
            return m;
        }
        *at = p + 1;
        return (struct member){.has = c >= prev && c <= *p};
    }
    if (*p == '[' && p + 1 < end && p[1] == ':') {
        return named_class(at, end, c);
    }
    if (*p == '\\' && ++p == end) {
        return m;
    }
    *at = p + 1;
    return (struct member){.has = *p == c, .last = *p};
}

/*
 * The bracket expression whose '[' is just before *at. 1: c is in it, *at is behind
 * its ']'; 0: c is not; -1: it never ends or names no class.
 */
static int
match_bracket(const uint8_t **at, const uint8_t *end, uint8_t c)
{
    const uint8_t *p = *at;
    bool negated = p < end && (*p == '!' || *p == '^');
    const uint8_t *first = p + (negated ? 1 : 0); /* a ']' there is a member */
    bool found = false;
    uint8_t prev = 0;

    for (p = first; p != end;) {
        struct member m;

        if (*p == ']' && p != first) {
            *at = p + 1;
            return found != negated ? 1 : 0;
        }
        m = bracket_member(&p, end, prev, c);
        if (m.bad) {
            return -1;
        }
        found = found || m.has;
        prev = m.last;
    }
    return -1;
}

static bool match_from(struct wild *w, const uint8_t *p, const uint8_t *t);

static bool
matched_before(struct wild *w, const uint8_t *p, const uint8_t *t, bool set)
{
    size_t bit;
    bool was;

    if (w->failed == NULL) {
        return false;
    }
    bit = (size_t)(p - w->pattern) * ((size_t)(w->text_end - w->text) + 1) +
          (size_t)(t - w->text);
    was = (w->failed[bit / 8] >> (bit % 8) & 1) != 0;
    if (set) {
        w->failed[bit / 8] = (uint8_t)(w->failed[bit / 8] | 1u << (bit % 8));
    }
    return was;
}

/* Does the star (or stars) before p, which may stand for any text, let the rest match? */
static bool
match_star(struct wild *w, const uint8_t *p, const uint8_t *t, bool cross_slash)
{
    if (p == w->pattern_end) {
        return cross_slash || memchr(t, '/', (size_t)(w->text_end - t)) == NULL;
    }
    for (; t < w->text_end; t++) {
        if (match_from(w, p, t)) {
            return true;
        }
        if (!cross_slash && *t == '/') {
            return false;
        }
    }
    return false;
}

/* p is behind the first star of one or more. */
static bool
match_stars(struct wild *w, const uint8_t *p, const uint8_t *t)
{
    const uint8_t *end = w->pattern_end;
    const uint8_t *first = p - 1;
    bool two = p < end && *p == '*';
    bool whole; /* is "**" a whole component of the path? */

    while (p < end && *p == '*') {
        p++;
    }
    if (!w->pathname) {
        return match_star(w, p, t, true);
    }
    whole = two && (first == w->pattern || first[-1] == '/') &&
            (p == end || *p == '/' || (*p == '\\' && p + 1 < end && p[1] == '/'));
    if (whole && p < end && *p == '/' && match_from(w, p + 1, t)) {
        return true; /* "**" + "/" stands for nothing at all */
    }
    return match_star(w, p, t, whole);
}

static bool
match_rest(struct wild *w, const uint8_t *p, const uint8_t *t)
{
    const uint8_t *end = w->pattern_end;

    while (p < end) {
        uint8_t c = *p++;

        if (c == '*') {
            return match_stars(w, p, t);
        }
        if (t == w->text_end) {
            return false;
        }
        if (c == '[') {
            if (match_bracket(&p, end, *t) != 1 || (w->pathname && *t == '/')) {
                return false;
            }
        } else if (c == '?') {
            if (w->pathname && *t == '/') {
                return false;
            }
        } else {
            if (c == '\\') {
                if (p == end) {
                    return false;
                }
                c = *p++;
            }
            if (*t != c) {
                return false;
            }
        }
        t++;
    }
    return t == w->text_end;
}

static bool
match_from(struct wild *w, const uint8_t *p, const uint8_t *t)
{
    bool yes;

    if (matched_before(w, p, t, false)) {
        return false;
    }
    yes = match_rest(w, p, t);
    if (!yes) {
        (void)matched_before(w, p, t, true);
    }
    return yes;
}

bool
ignore_wildmatch(const char *pattern, size_t pattern_len, const char *text,
                 size_t text_len, bool pathname)
{
    struct wild w = {.pattern = (const uint8_t *)pattern,
                     .pattern_end = (const uint8_t *)pattern + pattern_len,
                     .text = (const uint8_t *)text,
                     .text_end = (const uint8_t *)text + text_len,
                     .pathname = pathname};
    size_t n_stars = 0;
    bool yes;

    for (size_t i = 0; i < pattern_len; i++) {
        n_stars += pattern[i] == '*';
    }
    if (n_stars >= MEMO_FROM_STARS) {
        w.failed = xcalloc((pattern_len + 1) * (text_len + 1) / 8 + 1, 1);
    }
    yes = match_from(&w, w.pattern, w.text);
    free(w.failed);
    return yes;
}
