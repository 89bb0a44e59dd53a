#include <stdlib.h>
#include <string.h>

#include "base/lang.h"
#include "runner/cli/context.h"
#include "runner/cli/find.h"
#include "runner/cli/launch.h"
#include "runner/cli/launch_internal.h"
#include "runner/cli/out.h"
#include "runner/cli/setupview.h"

int
launch_find_from(struct launch *l, struct err *e)
{
    struct data_ref ref = {.session = NULL};
    int rc;

    if (l->r->from == NULL) {
        return 0;
    }
    if (find_data(l->c, l->cl, l->r->from, false, &ref, e) != 0) {
        return err_wrap(e, "--from");
    }
    memcpy(l->r->spec.from, ref.snapshot, sizeof l->r->spec.from);
    l->r->from_bytes = ref.info.stored_bytes;
    l->r->from_host = xstrdup(session_host(ref.session)->name);
    rc = l->r->setup_asked == NULL
             ? 0
             : launch_fill_setup(l->cl, l->r, l->r->setup_asked, ref.session, e);
    data_ref_close(&ref);
    return rc;
}

int
launch_fill_setup(struct client *cl, struct run_request *r, const char *command,
                  struct session *s, struct err *e)
{
    struct setupview *files = NULL;
    int rc = setupview_open(&files, cl, s, r->spec.from, e);

    if (rc == 0) {
        rc = request_fill_setup(r, command, files, e);
    }
    setupview_free(files);
    return rc;
}

int
launch_key_setup(struct launch *l, struct err *e)
{
    const char *from = l->r->from_host;
    bool there = strcmp(from, session_host(l->session)->name) == 0;
    struct session *source = NULL;
    char *command = l->r->spec.setup;
    int rc = -1;

    if (!there && context_session(l->cl, from, LAUNCH_EARLY_NS, &source, e) != 0) {
        return -1;
    }
    free(l->r->spec.setup_key);
    l->r->spec.setup_key = NULL;
    l->r->spec.setup = NULL;
    rc = launch_fill_setup(l->cl, l->r, command, there ? l->session : source, e);
    session_close(source);
    free(command);
    return rc;
}

static void
forward_line(void *ctx, struct buf *out)
{
    struct launch *l = ctx;

    buf_add_str(out, _("passing the snapshot on: "));
    progress_at_most(out, l->forwarding.bytes, l->r->from_bytes,
                     progress_elapsed_ns(l->progress));
}

int
launch_move_from(struct launch *l, struct err *e)
{
    const char *to = session_host(l->session)->name;
    struct data_ref ref = {.session = NULL};
    int rc = -1;

    if (l->r->spec.from[0] == '\0' || l->r->from_host == NULL ||
        strcmp(l->r->from_host, to) == 0) {
        return 0;
    }
    say(l->c, _("snapshot %s goes from %s to %s first"), l->r->spec.from, l->r->from_host,
        to);
    memcpy(ref.snapshot, l->r->spec.from, sizeof ref.snapshot);
    progress_end(l->progress);
    l->progress = progress_start(l->c, l->cl->loop, forward_line, l);
    if (context_session(l->cl, l->r->from_host, LAUNCH_EARLY_NS, &ref.session, e) == 0) {
        do {
            rc = forward_snapshot(l->cl, ref.session, l->session, l->r->spec.from, true,
                                  &l->forwarding, e);
        } while (rc != 0 && find_sound(l->c, l->cl, &ref, to, e));
    }
    progress_end(l->progress);
    l->progress = NULL;
    data_ref_close(&ref);
    return rc;
}
