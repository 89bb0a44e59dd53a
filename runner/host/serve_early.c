#include "runner/host/serve_early.h"

#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/work.h"
#include "runner/host/workdirs.h"
#include "storage/early.h"
#include "storage/workdir.h"

/* Less is made in no time by whoever needs it. */
#define LEAST_BYTES ((uint64_t)8 << 20)

struct serve_early {
    struct serve *serve;
    struct early *early;
    char name[JOB_ID_LEN + 1];
    int work_fd;
    uint64_t came_bytes;
    bool any_meta;
    bool started;
    bool runs;
    bool made;
    int64_t max_bytes; /* what a quota leaves; the thread's */
    void (*over)(void *ctx);
    void *ctx;
};

static bool
fits(void *ctx, uint64_t bytes, uint64_t more)
{
    const struct serve_early *y = ctx;
    struct statvfs v;

    return bytes <= (uint64_t)y->max_bytes && fstatvfs(y->work_fd, &v) == 0 &&
           more / v.f_frsize < v.f_bavail &&
           v.f_bavail - more / v.f_frsize >= v.f_blocks / 10;
}

struct serve_early *
serve_early_new(struct serve *s, struct store *st, void (*over)(void *ctx), void *ctx)
{
    struct serve_early *y = xcalloc(1, sizeof *y);
    struct early_options o = {.fits = fits, .fits_ctx = y};
    struct err none;

    y->serve = s;
    y->over = over;
    y->ctx = ctx;
    y->work_fd = -1;
    workdirs_early_name(y->name);
    if (renter_dir(s->renter, "work", &y->work_fd, &none) != 0) {
        free(y);
        return NULL;
    }
    y->early = early_new(y->work_fd, y->name, st, &o);
    return y;
}

static int
run(void *ctx, struct err *e)
{
    struct serve_early *y = ctx;

    return workdirs_early_room(y->serve->renter, y->work_fd, &y->max_bytes, e) == 0
               ? early_run(y->early, e)
               : -1;
}

static void
done(void *ctx, int rc, const struct err *why)
{
    struct serve_early *y = ctx;

    (void)why; /* the job's directory is made without it, and what matters told then */
    y->serve->n_works--;
    y->runs = false;
    y->made = rc == 0;
    y->over(y->ctx);
}

void
serve_early_came(void *early, enum store_kind kind, const struct sha256 *id,
                 uint32_t raw_len, struct buf *raw)
{
    struct serve_early *y = early;
    struct err none;

    if (y == NULL || (y->started && !y->runs)) {
        return;
    }
    /* Memory for one of them: a connection may ship sixteen trees at a time. */
    if (y->serve->early_in_memory == NULL) {
        y->serve->early_in_memory = y;
    }
    early_came(y->early, kind, id, y->serve->early_in_memory == y ? raw : NULL);
    y->came_bytes += raw_len;
    y->any_meta = y->any_meta || kind == STORE_KIND_META;
    if (!y->started && y->any_meta && y->came_bytes >= LEAST_BYTES) {
        y->started = true;
        y->runs = work_start(y->serve->loop, run, done, y, &none) == 0;
        y->serve->n_works += y->runs;
    }
}

void
serve_early_end(struct serve_early *y, const struct sha256 *tree)
{
    if (y != NULL) {
        early_end(y->early, tree);
        y->started = true; /* if it has not by now, it never will */
    }
}

bool
serve_early_runs(const struct serve_early *y)
{
    return y != NULL && y->runs;
}

void
serve_early_free(struct serve_early *y, bool wanted)
{
    struct err none;

    if (y == NULL) {
        return;
    }
    if (y->serve->early_in_memory == y) {
        y->serve->early_in_memory = NULL;
    }
    if (y->made && !wanted) {
        (void)!workdir_give_up(y->work_fd, y->name, &none);
    }
    early_free(y->early);
    (void)fd_close(&y->work_fd);
    free(y);
}
