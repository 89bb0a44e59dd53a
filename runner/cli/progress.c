#include "runner/cli/progress.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runner/cli/out.h"
#include "runner/client/i18n.h"

#define NS_PER_S  ((int64_t)1000000000)
#define FIRST_NS  NS_PER_S
#define REPEAT_NS (NS_PER_S / 5)

struct progress {
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

int64_t
progress_elapsed_ns(const struct progress *p)
{
    return p != NULL ? clock_boot_ns() - p->start_ns : 0;
}

void
progress_amount(struct buf *out, uint64_t done_bytes, uint64_t total_bytes,
                int64_t elapsed_ns)
{
    char done[TEXT_SIZE_MAX];
    char total[TEXT_SIZE_MAX];
    char rate[TEXT_SIZE_MAX];
    char eta[TEXT_DURATION_MAX];
    int64_t elapsed_ms = elapsed_ns / 1000000;
    uint64_t per_s = elapsed_ms > 0 ? done_bytes / (uint64_t)elapsed_ms * 1000 +
                                          done_bytes % (uint64_t)elapsed_ms * 1000 /
                                              (uint64_t)elapsed_ms
                                    : 0;

    text_format_size(done_bytes, done);
    text_format_size(total_bytes, total);
    text_format_size(per_s, rate);
    if (total_bytes == 0 || per_s == 0) {
        buf_printf(out, _("%s, %s/s"), done, rate);
        return;
    }
    text_format_duration(
        total_bytes > done_bytes ? (int64_t)((total_bytes - done_bytes) / per_s) : 0,
        eta);
    buf_printf(out, _("%s of %s, %s/s, ETA %s"), done, total, rate, eta);
}
