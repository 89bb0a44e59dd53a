#include "runner/cli/arrive.h"

#include "base/lang.h"
#include "runner/cli/progress.h"

struct arrival {
    struct progress *progress;
    struct sync_stats st;
    int64_t stored_bytes; /* of all that comes; 0: it is a part, or of a running job */
    bool landing;         /* all is here, and is written to where it is to be: */
    uint64_t written_bytes;
    uint64_t all_bytes;
};

static void
line(void *ctx, struct buf *out)
{
    const struct arrival *a = ctx;
    int64_t elapsed_ns = progress_elapsed_ns(a->progress);

    if (a->landing) {
        buf_add_str(out, _("writing: "));
        progress_amount(out, a->written_bytes, a->all_bytes, elapsed_ns);
    } else {
        buf_add_str(out, _("fetching: "));
        progress_fetched(out, &a->st, a->stored_bytes, elapsed_ns);
    }
}

static void
on_fetched(void *ctx, const struct sync_stats *st)
{
    struct arrival *a = ctx;

    a->st = *st;
}

static void
on_written(void *ctx, uint64_t n_entries, uint64_t bytes)
{
    struct arrival *a = ctx;

    (void)n_entries;
    a->written_bytes = bytes;
    progress_breathe(a->progress);
}

static int
land(struct arrival *a, struct scratch *from, const struct brought *got,
     const char *target, struct land_options *lo, struct err *e)
{
    a->landing = true;
    if (a->progress != NULL) {
        progress_restart(a->progress);
        a->all_bytes = land_bytes(from, got);
    }
    return land_tree(from, got, target, lo, e);
}

/* Only of what is kept the host's own store has all. */
static int
from_one(struct arrival *a, struct client *cl, const struct data_ref *ref,
         const struct bring_want *want, const char *target, struct land_options *lo,
         struct err *e)
{
    struct scratch *scratch = NULL;
    struct brought got;
    int rc = -1;

    if ((want->snapshot != NULL ? scratch_for(&scratch, cl->home, ref->session, e)
                                : scratch_new(&scratch, cl->home, e)) == 0 &&
        bring_tree(cl, ref->session, scratch, want, &got, e) == 0) {
        rc = land(a, scratch, &got, target, lo, e);
    }
    scratch_free(scratch);
    return rc;
}

int
arrive(struct cli *c, struct client *cl, struct data_ref *ref, struct bring_want *want,
       const char *target, struct land_options *lo, struct err *e)
{
    bool whole = want->snapshot != NULL && want->path == NULL;
    struct arrival a;
    int rc;

    if (land_check(target, e) != 0) {
        return -1;
    }
    want->progress = on_fetched;
    want->ctx = &a;
    lo->progress = on_written;
    lo->progress_ctx = &a;
    do {
        a = (struct arrival){.stored_bytes = whole ? ref->info.stored_bytes : 0};
        a.progress = progress_start(c, cl->loop, line, &a);
        rc = from_one(&a, cl, ref, want, target, lo, e);
        progress_end(a.progress);
    } while (rc != 0 && want->snapshot != NULL && find_sound(c, cl, ref, NULL, e));
    return rc;
}
