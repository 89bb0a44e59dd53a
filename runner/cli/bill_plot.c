#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/lang.h"
#include "base/text.h"
#include "meter/money.h"
#include "runner/cli/bill.h"
#include "runner/cli/out.h"

#define NAME_COLUMNS  24
#define MONEY_COLUMNS 12
#define BAR_MIN       10
#define EIGHTHS       8

/* One bar. */
struct bar {
    char name[64];
    int64_t fen;
};

struct bars {
    const char *title;
    struct bar *v;
    size_t n;
    int64_t most_fen;
};

static void
add_bar(struct bars *b, const char *name, int64_t fen)
{
    struct bar *bar;

    b->v = xrealloc(b->v, (b->n + 1) * sizeof *b->v);
    bar = &b->v[b->n++];
    (void)text_escape_to(bar->name, sizeof bar->name, name);
    bar->fen = fen;
    b->most_fen = fen > b->most_fen ? fen : b->most_fen;
}

static void
collect(struct bars both[2], const struct bill_entries *l, const char *month)
{
    struct bill_periods days;

    both[0] = (struct bars){.title = _("per day")};
    both[1] = (struct bars){.title = _("per job")};
    bill_periods_of(&days, l, month, true);
    for (size_t i = 0; i < days.n; i++) {
        add_bar(&both[0], days.v[i].name, days.v[i].fen);
    }
    bill_periods_free(&days);
    for (size_t i = 0; i < l->n; i++) {
        const struct bill_entry *en = &l->v[i];

        if (bill_touches_month(en, month)) {
            add_bar(&both[1],
                    en->record.name != NULL ? en->record.name : en->receipt->job,
                    bill_month_fen(en, month));
        }
    }
}

/* fen as units of a scale `whole` long, rounded to the nearest, never to nothing. */
static int64_t
scaled(const struct bars *b, int64_t fen, int64_t whole)
{
    int64_t n = b->most_fen == 0 ? 0
                                 : (int64_t)(((__int128)fen * whole * 2 + b->most_fen) /
                                             ((__int128)b->most_fen * 2));

    return fen > 0 && n == 0 ? 1 : n;
}

static void
text_bar(struct buf *out, int64_t eighths)
{
    static const char *const parts[EIGHTHS] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};

    for (; eighths >= EIGHTHS; eighths -= EIGHTHS) {
        buf_add_str(out, lang_utf8() ? "█" : "#");
    }
    buf_add_str(out, lang_utf8() ? parts[eighths] : eighths > 0 ? "#" : "");
}

static void
text_chart(const struct bars *b, struct buf *out)
{
    int columns = out_columns() - NAME_COLUMNS - MONEY_COLUMNS - 2;
    int64_t room = columns > BAR_MIN ? columns : BAR_MIN;
    char money[OUT_MONEY_MAX];

    buf_printf(out, "%s\n", b->title);
    if (b->n == 0) {
        buf_printf(out, "%s\n", _("nothing yet"));
    }
    for (size_t i = 0; i < b->n; i++) {
        int name = text_width(b->v[i].name);
        const char *amount = out_fen(b->v[i].fen, money);
        int pad = MONEY_COLUMNS - text_width(amount);

        buf_printf(out, "%s%*s %*s%s%s", b->v[i].name,
                   name < NAME_COLUMNS ? NAME_COLUMNS - name : 0, "", pad > 0 ? pad : 0,
                   "", amount, b->v[i].fen > 0 ? " " : "");
        text_bar(out, scaled(b, b->v[i].fen, room * EIGHTHS));
        buf_add_str(out, "\n");
    }
}

void
bill_plot_text(const struct bill_entries *l, const char *month, struct buf *out)
{
    struct bars both[2];

    collect(both, l, month);
    for (size_t i = 0; i < 2; i++) {
        text_chart(&both[i], out);
        free(both[i].v);
    }
}

/* ---- SVG ---- */

#define SVG_WIDTH  800
#define SVG_ROW    22
#define SVG_NAME   200
#define SVG_MONEY  90
#define SVG_BAR    (SVG_WIDTH - SVG_NAME - SVG_MONEY - 20)
#define SVG_HEADER 34

static void
xml_text(struct buf *out, const char *s)
{
    for (; *s != '\0'; s++) {
        switch (*s) {
        case '&':
            buf_add_str(out, "&amp;");
            break;
        case '<':
            buf_add_str(out, "&lt;");
            break;
        case '>':
            buf_add_str(out, "&gt;");
            break;
        default:
            buf_add_u8(out, (uint8_t)*s);
        }
    }
}

static int64_t
svg_chart(const struct bars *b, int64_t y, struct buf *out)
{
    char money[MONEY_TEXT_MAX];

    buf_printf(out, "<text x=\"10\" y=\"%" PRId64 "\" font-weight=\"bold\">", y + 22);
    xml_text(out, b->title);
    buf_add_str(out, "</text>\n");
    y += SVG_HEADER;
    for (size_t i = 0; i < b->n; i++, y += SVG_ROW) {
        money_format_fen(b->v[i].fen, money);
        buf_printf(out, "<text x=\"10\" y=\"%" PRId64 "\">", y + 15);
        xml_text(out, b->v[i].name);
        buf_printf(out,
                   "</text><text x=\"%d\" y=\"%" PRId64
                   "\" text-anchor=\"end\">¥%s</text><rect x=\"%d\" y=\"%" PRId64
                   "\" width=\"%" PRId64 "\" height=\"%d\" fill=\"#4477aa\"/>\n",
                   SVG_NAME + SVG_MONEY, y + 15, money, SVG_NAME + SVG_MONEY + 10, y + 3,
                   scaled(b, b->v[i].fen, SVG_BAR), SVG_ROW - 6);
    }
    return y;
}

/* That the bars lack some, below them. */
static int64_t
svg_lacks(const struct bill_entries *l, int64_t y, struct buf *out)
{
    struct buf words = BUF_INIT;

    bill_lacks_text(l, &words);
    if (words.len > 0) {
        buf_printf(out, "<text x=\"10\" y=\"%" PRId64 "\" fill=\"#aa0000\">", y + 22);
        xml_text(out, buf_str(&words));
        buf_add_str(out, "</text>\n");
        y += SVG_HEADER;
    }
    buf_free(&words);
    return y;
}

void
bill_plot_svg(const struct bill_entries *l, const char *month, struct buf *out)
{
    struct buf body = BUF_INIT;
    struct bars both[2];
    int64_t y = 0;

    collect(both, l, month);
    for (size_t i = 0; i < 2; i++) {
        y = svg_chart(&both[i], y, &body);
        free(both[i].v);
    }
    y = svg_lacks(l, y, &body);
    buf_printf(out,
               "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%" PRId64
               "\" font-family=\"sans-serif\" font-size=\"13\">\n"
               "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
               SVG_WIDTH, y + 10);
    buf_add(out, body.data, body.len);
    buf_add_str(out, "</svg>\n");
    buf_free(&body);
}
