#include "runner/cli/setupwords.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define RUN_LETTERS                                                                      \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+@~"

struct splitter {
    struct setup_words *out;
    struct buf word;
    bool inside; /* of a word, be it an empty one */
    bool first;
};

static void
add(struct setup_words *w, char *text, bool first)
{
    w->v = xrealloc(w->v, (w->n + 1) * sizeof *w->v);
    w->v[w->n++] = (struct setup_word){.text = text, .first = first};
}

static void
end_word(struct splitter *s)
{
    if (s->inside) {
        add(s->out, s->word.len > 0 ? buf_steal(&s->word) : xstrdup(""), s->first);
        s->first = false;
    }
    s->inside = false;
}

static void
add_byte(struct splitter *s, char c)
{
    if (c != '\0') { /* no name holds one */
        buf_add(&s->word, &c, 1);
    }
    s->inside = true;
}

/* What stands between quotes, from behind the first; where it goes on behind the last. */
static size_t
quoted(struct splitter *s, const char *p, size_t i, size_t len, char quote)
{
    s->inside = true;
    for (; i < len && p[i] != quote; i++) {
        if (quote == '"' && p[i] == '\\' && i + 1 < len &&
            memchr("\"\\$`", p[i + 1], 4) != NULL) {
            i++;
        }
        add_byte(s, p[i]);
    }
    return i < len ? i + 1 : len;
}

static bool
is_one_of(char c, const char *letters)
{
    return c != '\0' && strchr(letters, c) != NULL;
}

void
setupwords_split(struct setup_words *out, const void *text, size_t len)
{
    struct splitter s = {.out = out, .word = BUF_INIT, .first = true};
    const char *p = text;
    size_t i = 0;

    while (i < len) {
        char c = p[i++];

        if (c == '\'' || c == '"') {
            i = quoted(&s, p, i, len, c);
        } else if (c == '\\' && i < len) {
            if (p[i] != '\n') { /* else the line goes on */
                add_byte(&s, p[i]);
            }
            i++;
        } else if (c == '#' && !s.inside) {
            while (i < len && p[i] != '\n') {
                i++;
            }
        } else if (is_one_of(c, " \t\r\f\v")) {
            end_word(&s);
        } else if (c == '\0' || is_one_of(c, "\n;&|()<>`")) {
            end_word(&s);
            s.first = true;
        } else {
            add_byte(&s, c);
        }
    }
    end_word(&s);
    buf_free(&s.word);
}

static size_t
run_length(const char *p, size_t len)
{
    size_t n = 0;

    while (n < len && ((uint8_t)p[n] >= 0x80 || is_one_of(p[n], RUN_LETTERS))) {
        n++;
    }
    return n;
}

void
setupwords_runs(struct setup_words *out, const void *text, size_t len)
{
    const char *p = text;

    for (size_t i = 0; i < len;) {
        size_t n = run_length(p + i, len - i);

        if (n > 0) {
            add(out, xasprintf("%.*s", (int)n, p + i), false);
        }
        i += n + 1;
    }
}

void
setupwords_free(struct setup_words *w)
{
    for (size_t i = 0; i < w->n; i++) {
        free(w->v[i].text);
    }
    free(w->v);
    *w = (struct setup_words){NULL, 0};
}
