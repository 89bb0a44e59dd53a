#include "runner/cli/progress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/out.h"

#define NS_PER_S   ((int64_t)1000000000)
#define FIRST_NS   NS_PER_S
#define REPEAT_NS  (NS_PER_S / 5)
#define BREATHE_NS (NS_PER_S / 10)

struct progress {
    struct loop *loop;
    int64_t breathed_ns;
    struct timer *timer;
    void (*line)(void *ctx, struct buf *out);
    void *ctx;
    int64_t start_ns;
    bool shown;
};

static void
wipe(struct progress *p)
{
    if (p->shown) {
        (void)!fd_write_all(STDERR_FILENO, "\r\033[K", 4);
        p->shown = false;
    }
}

/* Cut to the terminal's width: a line that wraps could not be taken back. */
static void
cut(struct buf *text, int columns)
{
    if (text->len > 0) {
        text->len = text_prefix(buf_str(text), columns - 1);
        text->data[text->len] = '\0';
    }
}

static void
show(void *ctx)
{
    struct progress *p = ctx;
    struct buf text = BUF_INIT;
    struct buf out = BUF_INIT;

    p->line(p->ctx, &text);
    wipe(p);
    if (text.len > 0) {
        buf_add_str(&out, "\r\033[K");
        cut(&text, out_columns());
        text_escape(&out, text.data, text.len);
        (void)!fd_write_all(STDERR_FILENO, out.data, out.len);
        p->shown = true;
    }
    buf_free(&text);
    buf_free(&out);
    timer_after(p->timer, REPEAT_NS);
}

struct progress *
progress_start(const struct cli *c, struct loop *l,
               void (*line)(void *ctx, struct buf *out), void *ctx)
{
    struct progress *p;

    if (c->g.quiet || !out_is_terminal(STDERR_FILENO)) {
        return NULL;
    }
    p = xcalloc(1, sizeof *p);
    p->line = line;
    p->ctx = ctx;
    p->loop = l;
    p->start_ns = clock_boot_ns();
    p->timer = timer_new(l, show, p);
    timer_set_idle(p->timer, true);
    timer_after(p->timer, FIRST_NS);
    return p;
}

void
progress_end(struct progress *p)
{
    if (p == NULL) {
        return;
    }
    wipe(p);
    timer_free(p->timer);
    free(p);
}

static bool
never(void *ctx)
{
    (void)ctx;
    return false;
}

void
progress_breathe(struct progress *p)
{
    int64_t now_ns = clock_boot_ns();

    if (p != NULL && now_ns - p->breathed_ns >= BREATHE_NS) {
        p->breathed_ns = now_ns;
        (void)loop_run_until(p->loop, never, NULL, 0);
    }
}

void
progress_restart(struct progress *p)
{
    p->start_ns = clock_boot_ns();
}

int64_t
progress_elapsed_ns(const struct progress *p)
{
    return p != NULL ? clock_boot_ns() - p->start_ns : 0;
}

/* How many of them in a second; 0: not one, or there is no telling. */
static uint64_t
rate_of(uint64_t done, int64_t elapsed_ns)
{
    uint64_t ms = elapsed_ns > 0 ? (uint64_t)elapsed_ns / 1000000 : 0;

    return ms > 0 ? done / ms * 1000 + done % ms * 1000 / ms : 0;
}

void
progress_count(struct buf *out, uint64_t done, uint64_t total, int64_t elapsed_ns)
{
    char eta[TEXT_DURATION_MAX];
    uint64_t elapsed_ms = (uint64_t)elapsed_ns / 1000000;

    buf_printf(out, _("%" PRIu64 " of %" PRIu64), done, total);
    if (done > 0 && done <= total && total <= UINT64_MAX / (elapsed_ms + 1)) {
        text_format_duration((int64_t)((total - done) * elapsed_ms / done / 1000), eta);
        buf_printf(out, _(", ETA %s"), eta);
    }
}

static void
amount(struct buf *out, bool most, uint64_t done_bytes, uint64_t total_bytes,
       int64_t elapsed_ns)
{
    uint64_t per_s = rate_of(done_bytes, elapsed_ns);
    char done[TEXT_SIZE_MAX];
    char total[TEXT_SIZE_MAX];
    char rate[TEXT_SIZE_MAX];
    char eta[TEXT_DURATION_MAX];

    text_format_size(done_bytes, done);
    text_format_size(total_bytes, total);
    text_format_size(per_s, rate);
    if (total_bytes < done_bytes || total_bytes == 0 || per_s == 0) {
        buf_printf(out, _("%s, %s/s"), done, rate);
        return;
    }
    text_format_duration((int64_t)((total_bytes - done_bytes) / per_s), eta);
    if (most) {
        buf_printf(out, _("%s of at most %s, %s/s, ETA at most %s"), done, total, rate,
                   eta);
    } else {
        buf_printf(out, _("%s of %s, %s/s, ETA %s"), done, total, rate, eta);
    }
}

void
progress_amount(struct buf *out, uint64_t done_bytes, uint64_t total_bytes,
                int64_t elapsed_ns)
{
    amount(out, false, done_bytes, total_bytes, elapsed_ns);
}

void
progress_at_most(struct buf *out, uint64_t done_bytes, int64_t total_bytes,
                 int64_t elapsed_ns)
{
    amount(out, true, done_bytes, total_bytes > 0 ? (uint64_t)total_bytes : 0,
           elapsed_ns);
}

void
progress_fetched(struct buf *out, const struct sync_stats *st, int64_t stored_bytes,
                 int64_t elapsed_ns)
{
    if (stored_bytes > 0) {
        progress_amount(out,
                        st->wire_bytes < (uint64_t)stored_bytes ? st->wire_bytes
                                                                : (uint64_t)stored_bytes,
                        (uint64_t)stored_bytes, elapsed_ns);
    } else { /* chunks are of about one size */
        progress_amount(out, st->sent_bytes,
                        st->n_sent > 0 ? st->sent_bytes / st->n_sent * st->n_wanted : 0,
                        elapsed_ns);
    }
}
