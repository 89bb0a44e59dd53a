#include "runner/cli/folder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lang.h"
#include "runner/cli/context.h"
#include "runner/cli/out.h"
#include "runner/cli/progress.h"
#include "runner/cli/shipline.h"
#include "runner/client/forward.h"
#include "runner/client/near.h"

struct sending {
    struct ship *ship;
    struct progress *progress;
};

static void
ship_line(void *ctx, struct buf *out)
{
    struct sending *x = ctx;

    shipline(x->ship, x->progress, _("sending: "), out);
}

static void
tell_lost(const struct cli *c, const struct build_report *r)
{
    if (r->n_lost_xattrs > 0) {
        say(c,
            NP_("of %" PRIu64 " file not all attributes could be kept",
                "of %" PRIu64 " files not all attributes could be kept",
                (int64_t)r->n_lost_xattrs),
            r->n_lost_xattrs);
    }
}

int
folder_send(struct cli *c, const char *dir, const char *host,
            int (*then)(struct cli *c, struct client *cl, struct session *s,
                        const struct folder *f, void *ctx, struct err *e),
            void *ctx, struct err *e)
{
    struct client cl = {.loop = NULL};
    struct ship_options so = {.everything = true, .allow_home = true};
    struct sending x = {.ship = NULL};
    struct session *s = NULL;
    struct store *near = NULL;
    struct folder f = {.report = NULL};
    char *full = realpath(dir, NULL);
    int rc = -1;

    if (full == NULL) {
        return err_set(e, ERR_NOT_FOUND, _("no directory '%s': %s"), dir,
                       strerror(errno));
    }
    so.dir = full;
    f.name = strrchr(full, '/') + 1;
    f.name = f.name[0] != '\0' ? f.name : "root";
    if (context_open(&cl, c, e) != 0 ||
        context_session(&cl, host, CONTEXT_PATIENCE_NS, &s, e) != 0) {
        c->stage = e->code == ERR_NOT_FOUND ? STAGE_INPUT : STAGE_TRYING;
        goto out;
    }
    c->stage = STAGE_TRYING;
    near_store(s, true, &near);
    so.into = near;
    if (ship_start(&x.ship, &cl, &so, e) != 0) {
        goto out;
    }
    x.progress = progress_start(c, cl.loop, ship_line, &x);
    if (forward_ship(&cl, x.ship, s, e) == 0 &&
        ship_wait_built(x.ship, &f.report, e) == 0) {
        progress_end(x.progress);
        x.progress = NULL;
        tell_lost(c, f.report);
        rc = then(c, &cl, s, &f, ctx, e);
    }

out:
    progress_end(x.progress);
    ship_free(x.ship);
    store_close(near);
    session_close(s);
    context_close(&cl);
    free(full);
    return rc;
}
