#ifndef BASE_WORDS_H
#define BASE_WORDS_H

#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * A line split into words as a POSIX shell does it: blanks between words, '…' verbatim,
 * "…" with \" \\ \$ \` inside, a backslash before one character; a '#' that begins a word
 * ends the line. Nothing is expanded: $, *, ~ and the like are themselves.
 */
#define WORDS_MAX 4096

struct text_words {
    char **v; /* NULL after the last */
    size_t n;
};

/* ERR_INVALID: a quote that is not closed, a backslash at the very end; ERR_RANGE: more
 * than WORDS_MAX. *out is written on success (words_free). */
int words_split(struct text_words *out, const char *line, struct err *e) MUST_USE;
void words_free(struct text_words *w);

#endif
