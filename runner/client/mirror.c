#include "runner/client/mirror.h"

#include <string.h>

#include "runner/client/i18n.h"
#include "runner/client/jobs.h"
#include "runner/job/state.h"

/* A copy is an extra: nobody waits long for a host that does not answer. */
#define MIRROR_CONNECT_MS 15000

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
    if (st->snapshot[0] == '\0' || r->final || st->kept_as_shipped == 1) {
        return NULL;
    }
    return mirror_target(h, st->kept_bytes, r->outs.n > 0);
}

int
mirror_begin(struct session **out, struct client *cl, const char *to, struct err *e)
{
    struct session_options o = {.connect_timeout_ms = MIRROR_CONNECT_MS};
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
mirror_open(struct session **out, struct client *cl, const char *to, struct err *e)
{
    struct session *s = NULL;

    if (mirror_begin(&s, cl, to, e) != 0 || session_wait_up(s, e) != 0) {
        session_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

int
mirror_copy(struct client *cl, struct session *from, const char *to, const char *id,
            struct forward_progress *progress, struct err *e)
{
    struct session *s = NULL;
    int rc = -1;

    if (session_conn(from) == NULL) {
        return err_set(e, ERR_LINK, _("the link to host '%s' is gone"),
                       session_host(from)->name);
    }
    if (mirror_open(&s, cl, to, e) == 0) {
        rc = forward_snapshot(cl, from, s, id, false, progress, e);
    }
    session_close(s);
    return rc;
}
