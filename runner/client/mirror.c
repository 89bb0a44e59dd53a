#include "runner/client/mirror.h"

#include <string.h>

#include "base/clock.h"
#include "base/lang.h"
#include "runner/client/jobs.h"
#include "runner/job/state.h"

const char *
mirror_target(const struct host *h, int64_t stored_bytes, bool outs)
{
    if (h->local) {
        return NULL;
    }
    if (h->mirror != NULL) {
        return strcmp(h->mirror, MIRROR_NONE) == 0 ? NULL : h->mirror;
    }
    return outs || stored_bytes < MIRROR_MAX_BYTES ? HOST_LOCAL : NULL;
}

const char *
mirror_of_job(const struct host *h, const struct job_record *r,
              const struct job_state *st)
{
    if (st->snapshot[0] == '\0' || st->kept_as_shipped == 1) {
        return NULL;
    }
    return mirror_target(h, st->kept_bytes, r->outs.n > 0);
}

int
mirror_begin(struct session **out, struct client *cl, const char *to, int64_t timeout_ms,
             struct err *e)
{
    struct session_options o = {.connect_timeout_ms = timeout_ms};
    struct host h;
    int rc;

    if (hosts_load(cl->home, to, &h, e) != 0) {
        return -1;
    }
    rc = session_open(out, cl, &h, &o, e);
    host_free(&h);
    return rc;
}

int
mirror_open(struct session **out, struct client *cl, const char *to, int64_t timeout_ms,
            struct err *e)
{
    struct session *s = NULL;

    if (mirror_begin(&s, cl, to, timeout_ms, e) != 0 || session_wait_up(s, e) != 0) {
        session_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

static bool
is_over(void *ctx)
{
    return forward_is_over(ctx);
}

int
mirror_copy(struct client *cl, struct session *from, struct session *to, const char *id,
            struct forward_progress *progress, int64_t timeout_ns, struct err *e)
{
    int64_t began_ns = clock_boot_ns();
    struct forward *f;
    bool over;
    int rc;

    if (session_conn(from) == NULL) {
        return err_set(e, ERR_LINK, _("the link to host '%s' is gone"),
                       session_host(from)->name);
    }
    if (forward_start(&f, from, to, id, false, progress, e) != 0) {
        return -1;
    }
    over = loop_run_until(cl->loop, is_over, f, timeout_ns);
    rc = forward_finish(f, e);
    if (rc != 0 && !over && timeout_ns >= 0 && clock_boot_ns() - began_ns >= timeout_ns) {
        err_set(e, ERR_LIMIT, "%s", _("it takes longer than there was time for"));
    }
    return rc;
}
