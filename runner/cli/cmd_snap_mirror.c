#include <stddef.h>
#include <string.h>

#include "base/buf.h"
#include "base/lang.h"
#include "runner/cli/commands.h"
#include "runner/cli/context.h"
#include "runner/cli/due.h"
#include "runner/cli/find.h"
#include "runner/cli/out.h"
#include "runner/cli/progress.h"
#include "runner/cli/snapview.h"
#include "runner/client/hosts.h"
#include "runner/client/mirror.h"

/* `snap mirror`: one more copy of a snapshot, now; or all copies that are due. */

struct mirror_options {
    const char *host;
};

static const struct opt options_mirror[] = {
    {"host", 0, OPT_STR, offsetof(struct mirror_options, host), "NAME",
     N_("where the copy goes (default: here, the host local)")},
    {NULL, 0, OPT_NONE, 0, NULL, NULL},
};

struct shown {
    struct forward_progress st;
    struct progress *progress;
    int64_t total_bytes;
};

static void
progress_line(void *ctx, struct buf *out)
{
    struct shown *s = ctx;

    buf_add_str(out, _("copying: "));
    progress_at_most(out, s->st.bytes, s->total_bytes, progress_elapsed_ns(s->progress));
}

/* It has a second copy now, wherever it is. */
static int
copy_one(struct cli *c, struct client *cl, struct data_ref *ref, const char *to,
         struct err *e)
{
    struct shown shown = {.total_bytes = ref->info.stored_bytes};
    struct session *there = NULL;
    int rc = -1;

    shown.progress = progress_start(c, cl->loop, progress_line, &shown);
    if (mirror_open(&there, cl, to, MIRROR_CONNECT_MS, e) == 0) {
        c->stage = STAGE_CHANGED;
        do {
            rc = mirror_copy(cl, ref->session, there, ref->snapshot, &shown.st, -1, e);
        } while (rc != 0 && find_sound(c, cl, ref, to, e));
    }
    progress_end(shown.progress);
    session_close(there);
    if (rc != 0 && e->code == ERR_SPACE) {
        c->stage = STAGE_TRYING; /* nothing is kept of what there is no room for */
    }
    if (rc == 0) {
        copies_settle(c->home, ref->snapshot);
    }
    return rc;
}

static int
run_due(struct cli *c, const char *host, struct err *e)
{
    struct client cl = {.loop = NULL};
    int rc = -1;

    if (host != NULL) {
        return err_set(e, ERR_INVALID, "%s", _("--host is for a snapshot that is named"));
    }
    if (context_open(&cl, c, e) == 0) {
        rc = due_pay_all(c, &cl, e);
    }
    context_close(&cl);
    return rc;
}

static int
run_mirror(struct cli *c, const void *options, const struct words *w, struct err *e)
{
    const struct mirror_options *o = options;
    const char *to = o->host != NULL ? o->host : HOST_LOCAL;
    struct client cl = {.loop = NULL};
    struct data_ref ref = {.session = NULL};
    struct host known;
    int rc = -1;

    if (w->n == 0) {
        return run_due(c, o->host, e);
    }
    if (hosts_load(c->home, to, &known, e) != 0) {
        return -1;
    }
    host_free(&known);
    if (context_open(&cl, c, e) != 0 || find_data(c, &cl, w->v[0], false, &ref, e) != 0) {
        goto out;
    }
    if (!ref.info.kept) {
        err_set(e, ERR_NOT_FOUND, _("the data of snapshot %s is gone"), ref.snapshot);
        goto out;
    }
    /* It is there already: from another copy comes what was lost of that one. */
    if (strcmp(session_host(ref.session)->name, to) == 0 &&
        !find_other(c, &cl, &ref, NULL)) {
        rc = snapview_made(c, &ref.info, e);
        goto out;
    }
    if (copy_one(c, &cl, &ref, to, e) == 0) {
        rc = snapview_made(c, &ref.info, e);
    }

out:
    data_ref_close(&ref);
    context_close(&cl);
    return rc;
}

const struct command sub_snap_mirror = {
    .name = "mirror",
    .usage = N_("[SNAPSHOT [--host NAME]]"),
    .help = N_("copy a snapshot to another host, so that one may vanish; without a name "
               "all whose copy is due"),
    .options = options_mirror,
    .options_size = sizeof(struct mirror_options),
    .max_words = 1,
    .word = WORD_JOB_OR_SNAPSHOT,
    .run = run_mirror,
};
