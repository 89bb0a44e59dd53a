#include "base/form.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define GS         '\x1d'
#define RS         '\x1e'
#define US         '\x1f'
#define ARGS_MAX   16
#define PLACES_MAX 256 /* bytes of a format's conversions */

/* A place of a format for arguments; at its end there is none. */
struct place {
    const char *at;   /* its '%', or the final NUL */
    const char *next; /* behind it */
    size_t arg;       /* which argument, from 0 */
};

struct said {
    char *out;
    size_t size;
    size_t len;
};

/*
 * The first place at or behind p. *n_args counts the arguments of places before it.
 * False: no conversion that we know.
 */
static bool
next_place(const char *p, size_t *n_args, struct place *place)
{
    size_t digits;
    size_t position = 0; /* of "%2$s", as translations have it */

    while (*p != '\0' && (*p != '%' || p[1] == '%')) {
        p += *p == '%' ? 2 : 1;
    }
    *place = (struct place){.at = p, .next = p};
    if (*p == '\0') {
        return true;
    }
    p++;
    digits = strspn(p, "0123456789");
    if (digits > 0 && p[digits] == '$') {
        position = strtoul(p, NULL, 10);
        p += digits + 1;
    }
    p += strspn(p, "#0- +'");
    for (; *p != '\0' && strchr("0123456789.*$", *p) != NULL; p++) {
        *n_args += *p == '*' ? 1 : 0;
    }
    p += strspn(p, "hlqjzt");
    if (*p == '\0' || strchr("diouxXcs", *p) == NULL) {
        return false;
    }
    place->next = p + 1;
    place->arg = position > 0 ? position - 1 : (*n_args)++;
    return place->arg < ARGS_MAX;
}

/* vsnprintf; the format is one that a caller wrote and the compiler saw, taken apart. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static int
fill(char *out, size_t size, const char *format, va_list ap)
{
    return vsnprintf(out, size, format, ap);
}
#pragma GCC diagnostic pop

/* The conversions of a format alone, each behind a US for every argument it takes. */
static bool
find_places(const char *format, char places[PLACES_MAX], size_t *n_args)
{
    struct place place;
    size_t used = 0;
    size_t before = 0;

    for (; next_place(format, n_args, &place); format = place.next) {
        size_t len = (size_t)(place.next - place.at);
        size_t n_new = *n_args - before;

        if (len == 0) {
            places[used] = '\0';
            return true;
        }
        if (used + n_new + len >= PLACES_MAX) {
            return false;
        }
        memset(places + used, US, n_new);
        memcpy(places + used + n_new, place.at, len);
        used += n_new + len;
        before = *n_args;
    }
    return false;
}

static size_t
count(const char *text, char c)
{
    size_t n = 0;

    for (; (text = strchr(text, c)) != NULL; text++) {
        n++;
    }
    return n;
}

void
form_make(char out[FORM_MAX], const char *format, va_list ap)
{
    char places[PLACES_MAX];
    size_t len = strlen(format);
    size_t n_args = 0;
    int got;

    out[0] = '\0';
    if (len >= FORM_MAX || !find_places(format, places, &n_args)) {
        return;
    }
    memcpy(out, format, len + 1);
    got = fill(out + len, FORM_MAX - len, places, ap);
    if (got < 0 || (size_t)got >= FORM_MAX - len || count(out, US) != n_args ||
        strpbrk(out, "\x1d\x1e") != NULL) {
        out[0] = '\0';
    }
}

void
form_wrap(char form[FORM_MAX], const char *outer)
{
    size_t len = strlen(form);
    size_t front = strlen(outer);

    if (len == 0 || front == 0 || front + 1 + len >= FORM_MAX) {
        form[0] = '\0';
        return;
    }
    memmove(form + front + 1, form, len + 1);
    memcpy(form, outer, front);
    form[front] = RS;
}

void
form_name(char form[FORM_MAX], const char *name)
{
    size_t len = strlen(form);
    size_t n = strlen(name);

    if (len == 0 || len + n + sizeof "x()" > FORM_MAX) {
        form[0] = '\0';
        return;
    }
    form[len] = GS;
    form[len + 1] = '(';
    memcpy(form + len + 2, name, n);
    memcpy(form + len + 2 + n, ")", 2);
}

static void
add(struct said *s, const char *text, size_t len)
{
    size_t room = s->size - 1 - s->len;

    len = len < room ? len : room;
    memcpy(s->out + s->len, text, len);
    s->len += len;
    s->out[s->len] = '\0';
}

/* What stands between two places; "%%" is a '%'. */
static void
add_literal(struct said *s, const char *from, const char *to)
{
    for (; from < to; from++) {
        add(s, from, 1);
        from += *from == '%' ? 1 : 0;
    }
}

/* part: writable; its US are taken out. */
static bool
tell_part(struct said *s, char *part, bool *known)
{
    const char *args[ARGS_MAX];
    size_t n = 0;
    size_t n_args = 0;
    struct place place;
    const char *format;

    for (char *at = strchr(part, US); at != NULL; at = strchr(at, US)) {
        if (n == ARGS_MAX) {
            return false;
        }
        *at++ = '\0';
        args[n++] = at;
    }
    format = err_words(part);
    *known = *known || format != part;
    for (; next_place(format, &n_args, &place); format = place.next) {
        add_literal(s, format, place.at);
        if (place.next == place.at) {
            return true;
        }
        if (place.arg >= n) {
            return false;
        }
        add(s, args[place.arg], strlen(args[place.arg]));
    }
    return false;
}

bool
form_tell(const char *form, char *out, size_t size)
{
    struct said s = {.out = out, .size = size};
    char copy[FORM_MAX];
    size_t len = strlen(form);
    bool known = false;
    char *part = copy;
    char joint;

    out[0] = '\0';
    if (len == 0 || len >= FORM_MAX) {
        return false;
    }
    memcpy(copy, form, len + 1);
    for (;;) {
        size_t n = strcspn(part, "\x1d\x1e");

        joint = part[n];
        part[n] = '\0';
        if (!tell_part(&s, part, &known)) {
            return false;
        }
        if (joint == '\0') {
            return known;
        }
        add(&s, ": ", joint == RS ? 2 : 0);
        add(&s, " ", joint == GS ? 1 : 0);
        part += n + 1;
    }
}
