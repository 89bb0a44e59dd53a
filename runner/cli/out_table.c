#include <assert.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/out.h"

#define GAP_COLUMNS 2
#define CELL_MIN    8    /* columns that a cut cell keeps */
#define HIDDEN      (-1) /* the width of a column that is left out */

struct table {
    char **cells; /* the headers are the first row */
    size_t n_cells;
    size_t n_columns;
    bool *right;
    const char *drop; /* table_narrow's */
    const char *cut;
};

static void
add_cell(struct table *t, char *text)
{
    t->cells = xrealloc(t->cells, (t->n_cells + 1) * sizeof *t->cells);
    t->cells[t->n_cells++] = text;
}

struct table *
table_new(const char *const *headers)
{
    struct table *t = xcalloc(1, sizeof *t);

    while (headers[t->n_columns] != NULL) {
        t->n_columns++;
    }
    t->right = xcalloc(t->n_columns, sizeof *t->right);
    for (size_t i = 0; i < t->n_columns; i++) {
        t->right[i] = headers[i][0] == '>';
        add_cell(t, xstrdup(headers[i] + (t->right[i] ? 1 : 0)));
    }
    return t;
}

void
table_cell(struct table *t, const char *text)
{
    struct buf b = BUF_INIT;

    if (text == NULL || text[0] == '\0') {
        text = "-";
    }
    text_escape(&b, text, strlen(text));
    add_cell(t, buf_steal(&b));
}

void
table_cellf(struct table *t, const char *fmt, ...)
{
    struct buf b = BUF_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    table_cell(t, buf_str(&b));
    buf_free(&b);
}

size_t
table_rows(const struct table *t)
{
    return t->n_cells / t->n_columns - 1;
}

static int
column_width(const struct table *t, size_t column)
{
    int width = 0;

    for (size_t i = column; i < t->n_cells; i += t->n_columns) {
        int w = text_width(t->cells[i]);

        width = w > width ? w : width;
    }
    return width;
}

void
table_narrow(struct table *t, const char *drop, const char *cut)
{
    t->drop = drop;
    t->cut = cut;
}

/* ---- narrow terminals ---- */

static size_t
column_of(const struct table *t, char c)
{
    size_t column = (size_t)(c <= '9' ? c - '0' : c - 'a' + 10);

    assert(column < t->n_columns);
    return column;
}

/* By default all that is text, the last column first. malloc'ed. */
static char *
cut_order(const struct table *t)
{
    char *order = xcalloc(t->n_columns + 1, 1);
    size_t n = 0;

    if (t->cut != NULL) {
        free(order);
        return xstrdup(t->cut);
    }
    for (size_t i = t->n_columns; i-- > 0;) {
        if (!t->right[i]) {
            order[n++] = (char)(i < 10 ? '0' + (int)i : 'a' + (int)i - 10);
        }
    }
    return order;
}

static int
total_width(const struct table *t, const int *widths)
{
    int total = -GAP_COLUMNS;

    for (size_t i = 0; i < t->n_columns; i++) {
        total += widths[i] != HIDDEN ? widths[i] + GAP_COLUMNS : 0;
    }
    return total;
}

/* What cells of that width can give away. */
static int
spare(int width)
{
    return width > CELL_MIN ? width - CELL_MIN : 0;
}

static void
fit(const struct table *t, int columns, int *widths)
{
    char *order = cut_order(t);
    const char *drop = t->drop != NULL ? t->drop : "";
    int over;

    for (;; drop++) {
        int all = 0;

        for (const char *c = order; *c != '\0'; c++) {
            all += spare(widths[column_of(t, *c)]);
        }
        over = total_width(t, widths) - columns;
        if (over <= all || *drop == '\0') {
            break;
        }
        widths[column_of(t, *drop)] = HIDDEN;
    }
    for (const char *c = order; *c != '\0' && over > 0; c++) {
        int *width = &widths[column_of(t, *c)];
        int less = spare(*width) < over ? spare(*width) : over;

        *width -= less;
        over -= less;
    }
    free(order);
}

/* ---- printing ---- */

/* The cell in so many columns, the first the more to the right if it is a number. */
static void
print_cell(struct buf *out, const char *text, int width, bool right, bool last)
{
    const char *dots = lang_utf8() ? "…" : "~";
    int gap = width - text_width(text);
    struct buf b = BUF_INIT;

    if (gap < 0) {
        buf_add(&b, text, text_prefix(text, width - 1));
        buf_add_str(&b, dots);
        text = buf_str(&b);
        gap = width - text_width(text);
    }
    buf_printf(out, "%*s%s%*s", right ? gap : 0, "", text, right || last ? 0 : gap, "");
    buf_free(&b);
}

static void
print_row(const struct table *t, size_t row, const int *widths, struct buf *out)
{
    size_t last = 0;

    for (size_t i = 0; i < t->n_columns; i++) {
        last = widths[i] != HIDDEN ? i : last;
    }
    for (size_t i = 0; i <= last; i++) {
        if (widths[i] != HIDDEN) {
            print_cell(out, t->cells[row * t->n_columns + i], widths[i], t->right[i],
                       i == last);
            buf_add_str(out, i == last ? "\n" : "  ");
        }
    }
}

void
table_print_within(const struct table *t, int columns, struct buf *out)
{
    int *widths = xcalloc(t->n_columns, sizeof *widths);

    assert(t->n_columns > 0);
    for (size_t i = 0; i < t->n_columns; i++) {
        widths[i] = column_width(t, i);
    }
    fit(t, columns, widths);
    for (size_t row = 0; row <= table_rows(t); row++) {
        print_row(t, row, widths, out);
    }
    free(widths);
}

void
table_print(const struct table *t, struct buf *out)
{
    table_print_within(
        t, out_is_terminal(STDOUT_FILENO) ? out_columns_of(STDOUT_FILENO) : INT_MAX, out);
}

void
table_free(struct table *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->n_cells; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    free(t->right);
    free(t);
}
