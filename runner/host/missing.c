#include "runner/host/missing.h"

#include <string.h>

#define RAISED "ModuleNotFoundError: No module named '"
#define ASKED  ": No module named "
#define ESC    '\033'

/* Python 3.13 and later colour a traceback: ESC [ 1;35 m, and the like. */
static size_t
drop_colours(char *text, size_t len)
{
    size_t to = 0;

    for (size_t i = 0; i < len; i++) {
        size_t end = i + 2;

        if (text[i] == ESC && i + 1 < len && text[i + 1] == '[') {
            while (end < len &&
                   ((text[end] >= '0' && text[end] <= '9') || text[end] == ';')) {
                end++;
            }
            if (end < len && text[end] == 'm') {
                i = end;
                continue;
            }
        }
        text[to++] = text[i];
    }
    return to;
}

/* The name at `at`, before `end`; how long it is. */
static size_t
take_name(const char *at, const char *end, char name[MISSING_NAME_MAX + 1])
{
    size_t n = 0;

    while (at + n < end && n < MISSING_NAME_MAX &&
           (at[n] == '_' || at[n] == '.' || (at[n] >= '0' && at[n] <= '9') ||
            (at[n] >= 'a' && at[n] <= 'z') || (at[n] >= 'A' && at[n] <= 'Z'))) {
        name[n] = at[n];
        n++;
    }
    name[n] = '\0';
    return n;
}

/* A line of a traceback, or of what -m says of an import that failed. */
static bool
is_raised(const char *line, const char *end, char name[MISSING_NAME_MAX + 1])
{
    const char *at = memmem(line, (size_t)(end - line), RAISED, strlen(RAISED));
    size_t n;

    if (at == NULL) {
        return false;
    }
    at += strlen(RAISED);
    n = take_name(at, end, name);
    at += n;
    /* "'a.b'; 'a' is not a package": it is another a that was found. */
    return n > 0 && at < end && *at == '\'' && (at + 1 == end || at[1] != ';');
}

/* "/usr/bin/python3: No module named NAME", and nothing behind it. */
static bool
is_asked(const char *line, const char *end, char name[MISSING_NAME_MAX + 1])
{
    const char *at = memmem(line, (size_t)(end - line), ASKED, strlen(ASKED));
    const char *base;
    size_t n;

    if (at == NULL) {
        return false;
    }
    base = memrchr(line, '/', (size_t)(at - line));
    base = base == NULL ? line : base + 1;
    if (at - base < 4 ||
        (strncmp(base, "python", 6) != 0 && strncmp(base, "pypy", 4) != 0)) {
        return false;
    }
    at += strlen(ASKED);
    n = take_name(at, end, name);
    return n > 0 && at + n == end;
}

bool
missing_module(char *text, size_t len, char name[MISSING_NAME_MAX + 1])
{
    const char *end = text + drop_colours(text, len);
    const char *line = text;
    bool found = false;

    while (line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        const char *next = stop == NULL ? end : stop + 1;
        char one[MISSING_NAME_MAX + 1];

        stop = stop == NULL ? end : stop;
        if (stop > line && stop[-1] == '\r') { /* of a terminal */
            stop--;
        }
        if (is_raised(line, stop, one) || is_asked(line, stop, one)) {
            memcpy(name, one, sizeof one);
            found = true;
        }
        line = next;
    }
    return found;
}
