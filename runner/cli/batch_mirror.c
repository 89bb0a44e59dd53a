#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "runner/cli/batch_internal.h"
#include "runner/cli/out.h"
#include "runner/client/hosts.h"
#include "runner/client/i18n.h"
#include "runner/client/mirror.h"

/*
 * Copies of what ended (runner/client/mirror.h), one after another, while the rest runs
 * and starts: no device waits for a copy.
 */

void
batch_mirror_want(struct batch_job *j)
{
    j->copy_to = mirror_of_job(session_host(j->host->session), &j->record, &j->state);
    j->b->n_to_copy += j->copy_to != NULL ? 1 : 0;
}

static void
settled(struct batch_job *j)
{
    j->copy_to = NULL;
    j->b->n_to_copy--;
}

static void
failed(struct batch_job *j, const struct err *why)
{
    say(j->b->c,
        _("%s: no copy of the data on %s: %s; `gpurun snap mirror %s` makes one"),
        j->r.spec.name, j->copy_to, why->msg, j->state.snapshot);
    settled(j);
}

/* The session to that host, opened when it is first needed; NULL: it does not answer. */
static struct session *
target(struct batch *b, const char *to, const struct err **why)
{
    struct batch_target *t = NULL;

    for (size_t i = 0; i < b->n_targets && t == NULL; i++) {
        t = strcmp(b->targets[i].to, to) == 0 ? &b->targets[i] : NULL;
    }
    if (t == NULL) {
        b->targets =
            xrealloc(b->targets, (b->n_targets + 1) * sizeof(struct batch_target));
        t = &b->targets[b->n_targets++];
        memset(t, 0, sizeof *t);
        t->to = xstrdup(to);
        (void)!mirror_open(&t->session, b->cl, to, &t->why);
    } else if (t->session != NULL && session_conn(t->session) == NULL) {
        t->why = session_why(t->session)->err;
        session_close(t->session);
        t->session = NULL;
    }
    *why = &t->why;
    return t->session;
}

static void
end_copy(struct batch *b)
{
    struct batch_job *j = b->copying;
    struct err e;

    b->copying = NULL;
    if (forward_finish(b->copy, &e) != 0) {
        failed(j, &e);
        return;
    }
    free(j->record.mirror);
    j->record.mirror = xstrdup(j->copy_to);
    if (jobs_save(b->cl->home, &j->record, &e) != 0) {
        say(b->c, "%s", e.msg);
    }
    settled(j);
}

/* Begin with j's; false: it has to wait for its host. */
static bool
begin_copy(struct batch_job *j)
{
    struct batch *b = j->b;
    struct session *from = j->host->session;
    const struct err *why;
    struct session *to;
    struct err e;

    if (session_state(from) == SESSION_FAILED) {
        failed(j, &session_why(from)->err);
        return true;
    }
    if (session_conn(from) == NULL) {
        return false;
    }
    to = target(b, j->copy_to, &why);
    memset(&b->copied, 0, sizeof b->copied);
    if (to == NULL) {
        failed(j, why);
    } else if (forward_start(&b->copy, from, to, j->state.snapshot, false, &b->copied,
                             &e) != 0) {
        failed(j, &e);
    } else {
        b->copying = j;
    }
    return true;
}

void
batch_mirror_step(struct batch *b)
{
    if (b->copying != NULL && forward_is_over(b->copy)) {
        end_copy(b);
    }
    for (size_t i = 0; i < b->n && b->n_to_copy > 0 && b->copying == NULL; i++) {
        if (b->jobs[i].copy_to != NULL) {
            (void)begin_copy(&b->jobs[i]);
        }
    }
}

bool
batch_mirror_news(const struct batch *b)
{
    return b->copying != NULL && forward_is_over(b->copy);
}

void
batch_mirror_close(struct batch *b)
{
    struct err e;

    if (b->copying != NULL) {
        (void)!forward_finish(b->copy, &e);
        b->copying = NULL;
    }
    if (b->n_to_copy > 0) {
        say(b->c, _("%zu snapshots were not copied (`gpurun snap mirror`)"),
            b->n_to_copy);
    }
    for (size_t i = 0; i < b->n_targets; i++) {
        session_close(b->targets[i].session);
        free(b->targets[i].to);
    }
    free(b->targets);
    b->targets = NULL;
    b->n_targets = 0;
}
