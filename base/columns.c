#include "base/columns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"

#define GAP 2

struct columns {
    size_t n;
    char **cells;
    size_t n_cells;
    int *widths;
};

struct columns *
columns_new(size_t n, const char *const *titles)
{
    struct columns *c = xcalloc(1, sizeof *c);

    c->n = n;
    c->widths = xcalloc(n, sizeof *c->widths);
    for (size_t i = 0; titles != NULL && i < n; i++) {
        columns_add(c, err_words(titles[i]));
    }
    return c;
}

void
columns_add(struct columns *c, const char *text)
{
    struct buf b = BUF_INIT;
    size_t at = c->n_cells % c->n;
    int width;

    text_escape(&b, text == NULL ? "" : text, text == NULL ? 0 : strlen(text));
    buf_add(&b, "", 0);
    width = text_width(buf_str(&b));
    c->widths[at] = width > c->widths[at] ? width : c->widths[at];
    c->cells = xrealloc(c->cells, (c->n_cells + 1) * sizeof *c->cells);
    c->cells[c->n_cells++] = xstrdup(buf_str(&b));
    buf_free(&b);
}

void
columns_print_free(struct columns *c)
{
    for (size_t i = 0; i < c->n_cells; i++) {
        size_t at = i % c->n;
        int pad = c->widths[at] - text_width(c->cells[i]) + GAP;

        (void)fputs(c->cells[i], stdout);
        if (at + 1 == c->n) {
            (void)putchar('\n');
        } else {
            (void)printf("%*s", pad, "");
        }
        free(c->cells[i]);
    }
    free(c->cells);
    free(c->widths);
    free(c);
}
