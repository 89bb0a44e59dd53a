#include "runner/client/lines.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define TIMES_MAX ((size_t)1 << 16) /* of one stream, waiting for their lines */
#define NO_TIME   "-"

/* ---- when bytes were written ---- */

struct point {
    uint64_t end;
    int64_t wall_ns;
};

/* Points in order; those before `first` are used up. */
struct points {
    bool wanted;
    struct point *v;
    size_t first, n;
};

struct line_times {
    struct points of[LOGSEG_STREAMS];
    uint8_t piece[LOGSEG_ENTRY_BYTES]; /* of an entry that came in pieces */
    size_t n_piece;
    bool complete;
};

struct line_times *
line_times_new(bool want_out, bool want_err)
{
    struct line_times *t = xcalloc(1, sizeof *t);

    t->of[LOGSEG_OUT].wanted = want_out;
    t->of[LOGSEG_ERR].wanted = want_err;
    return t;
}

void
line_times_free(struct line_times *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t s = 0; s < LOGSEG_STREAMS; s++) {
        free(t->of[s].v);
    }
    free(t);
}

static bool
is_full(const struct line_times *t)
{
    for (size_t s = 0; s < LOGSEG_STREAMS; s++) {
        if (t->of[s].n - t->of[s].first >= TIMES_MAX) {
            return true;
        }
    }
    return false;
}

static void
add(struct points *p, const struct point *pt)
{
    if (p->first > 0 && p->first >= p->n / 2) {
        memmove(p->v, p->v + p->first, (p->n - p->first) * sizeof *p->v);
        p->n -= p->first;
        p->first = 0;
    }
    if ((p->n & (p->n + 1)) == 0) { /* grows at 0, 1, 3, 7, … */
        p->v = xrealloc(p->v, 2 * (p->n + 1) * sizeof *p->v);
    }
    p->v[p->n++] = *pt;
}

size_t
line_times_feed(struct line_times *t, const uint8_t *data, size_t n)
{
    size_t done = 0;

    while (done < n && !is_full(t)) {
        size_t k = LOGSEG_ENTRY_BYTES - t->n_piece;
        struct logseg_entry en;

        k = k < n - done ? k : n - done;
        memcpy(t->piece + t->n_piece, data + done, k);
        t->n_piece += k;
        done += k;
        if (t->n_piece < LOGSEG_ENTRY_BYTES) {
            break;
        }
        t->n_piece = 0;
        /* What is no entry says nothing; a hole has no lines. */
        if (logseg_entry_parse(t->piece, &en) && t->of[en.stream].wanted &&
            (en.flags & LOGSEG_F_GAP) == 0) {
            add(&t->of[en.stream], &(struct point){en.end, en.wall_ns});
        }
    }
    return done;
}

void
line_times_complete(struct line_times *t)
{
    t->complete = true;
}

/*
 * When the byte at offset was written. Asked for in rising order. false: not told yet.
 * *known: false where it never will be.
 */
static bool
time_of(struct line_times *t, enum logseg_stream s, uint64_t offset, bool *known,
        int64_t *wall_ns)
{
    struct points *p = &t->of[s];

    while (p->first < p->n && p->v[p->first].end <= offset) {
        p->first++;
    }
    *known = p->first < p->n;
    if (*known) {
        *wall_ns = p->v[p->first].wall_ns;
    }
    return *known || t->complete;
}

/* ---- lines ---- */

struct lines {
    struct lines_options o;
    struct buf line; /* what has come of it, without its newline */
    uint64_t next;   /* offset behind what was taken */
};

struct lines *
lines_new(const struct lines_options *o)
{
    struct lines *l = xcalloc(1, sizeof *l);

    l->o = *o;
    return l;
}

void
lines_free(struct lines *l)
{
    if (l != NULL) {
        buf_free(&l->line);
        free(l);
    }
}

static bool
is_wanted(const struct lines *l, const uint8_t *data, size_t n)
{
    regmatch_t all = {0, (regoff_t)n};

    /* A NUL in it ends nothing: REG_STARTEND says where the line does. */
    return l->o.grep == NULL ||
           regexec(l->o.grep, (const char *)data, 1, &all, REG_STARTEND) == 0;
}

static void
show_time(bool known, int64_t wall_ns, struct buf *out)
{
    char text[CLOCK_TEXT_MAX];

    if (known) {
        clock_format_local_ms(wall_ns, text);
    }
    buf_printf(out, "%s ", known ? text : NO_TIME);
}

/*
 * A line, its last byte at offset `last`, kept together in l->line and data. false: its
 * time is not known yet, nothing was shown.
 */
static bool
show(struct lines *l, uint64_t last, const uint8_t *data, size_t n, bool newline,
     struct buf *out)
{
    const uint8_t *whole = data;
    size_t len = l->line.len + n;
    size_t before = l->line.len;
    bool known = false;
    int64_t wall_ns = 0;

    if (l->o.times != NULL && !time_of(l->o.times, l->o.stream, last, &known, &wall_ns)) {
        return false;
    }
    if (before > 0) {
        buf_add(&l->line, data, n);
        whole = l->line.data;
    }
    if (is_wanted(l, whole != NULL ? whole : (const uint8_t *)"", len)) {
        if (l->o.open != NULL) {
            buf_add(out, "\n", *l->o.open != NULL && *l->o.open != l ? 1 : 0);
            *l->o.open = newline ? NULL : l;
        }
        if (l->o.times != NULL) {
            show_time(known, wall_ns, out);
        }
        buf_add(out, whole, len);
        if (newline) {
            buf_add(out, "\n", 1);
        }
    }
    buf_reset(&l->line);
    return true;
}

size_t
lines_take(struct lines *l, uint64_t offset, const uint8_t *data, size_t n,
           struct buf *out)
{
    bool piece_is_line = l->o.grep != NULL || l->o.times != NULL;
    size_t done = 0;

    while (done < n) {
        const uint8_t *nl = memchr(data + done, '\n', n - done);
        size_t len = nl != NULL ? (size_t)(nl - (data + done)) : n - done;

        if (l->line.len + len > LINES_LINE_MAX) { /* a piece of an endless line */
            len = LINES_LINE_MAX - l->line.len;
            if (!show(l, offset + done + len - 1, data + done, len, piece_is_line, out)) {
                break;
            }
            done += len;
        } else if (nl != NULL) {
            if (!show(l, offset + done + len, data + done, len, true, out)) {
                break;
            }
            done += len + 1;
        } else {
            buf_add(&l->line, data + done, len);
            done += len;
        }
    }
    l->next = offset + done;
    return done;
}

bool
lines_end(struct lines *l, struct buf *out)
{
    return l->line.len == 0 || show(l, l->next - 1, NULL, 0, false, out);
}
