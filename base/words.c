#include "base/words.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* What a backslash takes the meaning of between double quotes. */
static bool
is_special(char c)
{
    return c == '"' || c == '\\' || c == '$' || c == '`';
}

static int
take_quoted(const char **at, struct buf *word, struct err *e)
{
    const char quote = *(*at)++;

    for (; **at != quote; (*at)++) {
        if (**at == '\\' && quote == '"' && is_special((*at)[1])) {
            (*at)++;
        }
        if (**at == '\0') {
            return err_set(e, ERR_INVALID, "a quote (%c) is not closed", quote);
        }
        buf_add(word, *at, 1);
    }
    (*at)++;
    return 0;
}

static int
take_word(const char **at, struct buf *word, struct err *e)
{
    while (**at != '\0' && !is_blank(**at)) {
        if (**at == '\'' || **at == '"') {
            if (take_quoted(at, word, e) != 0) {
                return -1;
            }
            continue;
        }
        if (**at == '\\' && *++*at == '\0') {
            return err_set(e, ERR_INVALID, "it ends in a backslash");
        }
        buf_add(word, (*at)++, 1);
    }
    return 0;
}

int
words_split(struct text_words *out, const char *line, struct err *e)
{
    struct text_words w = {NULL, 0};

    w.v = xcalloc(1, sizeof *w.v);
    for (;;) {
        struct buf word = BUF_INIT;

        while (is_blank(*line)) {
            line++;
        }
        if (*line == '\0' || *line == '#') {
            break;
        }
        if (take_word(&line, &word, e) != 0) {
            buf_free(&word);
            words_free(&w);
            return -1;
        }
        if (w.n == WORDS_MAX) {
            buf_free(&word);
            words_free(&w);
            return err_set(e, ERR_RANGE, "more than %d words", WORDS_MAX);
        }
        w.v = xrealloc(w.v, (w.n + 2) * sizeof *w.v);
        w.v[w.n++] = word.len > 0 ? buf_steal(&word) : xstrdup("");
        w.v[w.n] = NULL;
        buf_free(&word);
    }
    *out = w;
    return 0;
}

void
words_free(struct text_words *w)
{
    for (size_t i = 0; i < w->n; i++) {
        free(w->v[i]);
    }
    free(w->v);
    *w = (struct text_words){NULL, 0};
}
