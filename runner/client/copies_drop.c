#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lang.h"
#include "runner/client/copies.h"
#include "runner/client/snaps.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

struct copies_drop {
    struct session *s;
    struct session *at;
    char snapshot[JOB_ID_LEN + 1];
    struct call *call; /* to the one, then to the other */
    bool over;
    bool failed;
    struct err why;
};

bool
copies_has_older(const struct copy_due *d, const char *to)
{
    return d->copied[0] != '\0' && d->copied_to != NULL && strcmp(d->copied_to, to) == 0;
}

/* req is freed. */
static int
ask(struct copies_drop *d, struct session *of, struct rec *req, mux_answer_fn *cb,
    struct err *e)
{
    struct conn *c = session_conn(of);
    int rc = -1;

    rec_add(req, "snapshot", d->snapshot);
    if (c != NULL) {
        rc = call_start(&d->call, c, req, SNAP_ANSWER_NS, cb, d, e);
    } else {
        err_set(e, ERR_LINK, _("the link to host '%s' is gone"), session_host(of)->name);
    }
    rec_free(req);
    return rc;
}

/* One that is not known there is as good as gone. */
static void
end(struct copies_drop *d, const struct err *why)
{
    d->over = true;
    d->failed = why != NULL && why->code != ERR_NOT_FOUND;
    if (d->failed) {
        d->why = *why;
    }
}

static void
refused(struct copies_drop *d, const struct session *by, const struct err *why,
        const char *hint)
{
    struct err e;

    (void)session_peer_error(why, hint, &e);
    (void)err_wrap(&e, "%s", session_host(by)->name);
    end(d, &e);
}

static void
on_removed(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct copies_drop *d = ctx;

    d->call = NULL;
    if (resp == NULL) {
        refused(d, d->at, why, hint);
    } else {
        end(d, NULL);
    }
}

static int
remove_it(struct copies_drop *d, struct err *e)
{
    struct rec *req = msg_request_new(VERB_SNAP_RM);

    msg_add_key(req, NULL);
    return ask(d, d->at, req, on_removed, e);
}

static void
on_shown(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct copies_drop *d = ctx;
    struct snap_info info;
    struct err e;

    d->call = NULL;
    snap_info_init(&info);
    if (resp == NULL) {
        refused(d, d->s, why, hint);
    } else if (snaps_take_shown(resp, session_host(d->s)->name, d->snapshot, &info, NULL,
                                &e) != 0) {
        end(d, &e);
    } else if (info.kept) {
        end(d, NULL);
    } else if (remove_it(d, &e) != 0) {
        end(d, &e);
    }
    snap_info_free(&info);
}

int
copies_drop_start(struct copies_drop **out, struct session *s, struct session *at,
                  const char *snapshot, struct err *e)
{
    struct copies_drop *d = xcalloc(1, sizeof *d);

    d->s = s;
    d->at = at;
    (void)snprintf(d->snapshot, sizeof d->snapshot, "%s", snapshot);
    if (ask(d, s, msg_request_new(VERB_SNAP_SHOW), on_shown, e) != 0) {
        free(d);
        return -1;
    }
    *out = d;
    return 0;
}

bool
copies_drop_is_over(const struct copies_drop *d)
{
    return d->over;
}

int
copies_drop_finish(struct copies_drop *d, struct err *e)
{
    int rc = 0;

    if (!d->over) {
        rc = err_set(e, ERR_LINK, _("the link to host '%s' is gone"),
                     session_host(d->at)->name);
    } else if (d->failed) {
        *e = d->why;
        rc = -1;
    }
    call_cancel(d->call);
    free(d);
    return rc;
}
