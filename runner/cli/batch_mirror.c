#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/lang.h"
#include "runner/cli/batch_internal.h"
#include "runner/cli/due_internal.h"
#include "runner/cli/out.h"
#include "runner/client/copies.h"
#include "runner/client/hosts.h"
#include "runner/client/mirror.h"

/*
 * Copies of what ended (runner/client/mirror.h), to each host one after another, while
 * the rest runs and starts: no device waits for a copy.
 */

#define NS_PER_S ((int64_t)1000000000)
/* At the end: so long a job's host may take to come back, and so long ago has an attempt
 * to reach the other one to be for another to be worth while. */
#define SOURCE_WAIT_NS (60 * NS_PER_S)
#define STALE_NS       (5 * NS_PER_S)
#define CUTS_MAX       3
#define RETRY_SLOWER   4  /* than a session would: nothing waits for a copy */
#define NAMES_MAX      20 /* told of those that are left */

void
batch_mirror_live(struct batch_job *j)
{
    struct batch_host *h = j->host;

    if (j->r.spec.snap_every_s == 0) {
        return;
    }
    if (h->live == NULL) {
        h->live = due_live_new(j->b->c, j->b->cl, h->session);
    }
    due_live_add(h->live, j->record.id, j->r.spec.snap_every_s);
}

void
batch_mirror_end_live(struct batch_job *j)
{
    if (j->host != NULL && j->host->live != NULL) {
        due_live_remove(j->host->live, j->record.id);
    }
}

void
batch_mirror_want(struct batch_job *j)
{
    batch_mirror_end_live(j);
    j->copy_to = mirror_of_job(session_host(j->host->session), &j->record, &j->state);
    j->b->n_to_copy += j->copy_to != NULL ? 1 : 0;
    if (j->copy_to == NULL && !job_data_waits(&j->state)) {
        copies_forget(j->b->cl->home, j->record.id);
    }
}

static void
settled(struct batch_job *j)
{
    j->copy_to = NULL;
    j->b->n_to_copy--;
}

/* It stays due, and whoever tells of it knows why. */
static void
note_failed(const struct batch_job *j, const struct err *why)
{
    const struct home *home = j->b->cl->home;
    struct copy_due d;
    struct err none;

    copy_due_init(&d);
    if (copies_load(home, j->record.id, &d, &none) == 0) {
        memcpy(d.snapshot, j->state.snapshot, sizeof d.snapshot);
        d.stored_bytes = j->state.kept_bytes;
        d.expires_wall_ns = j->state.expires_wall_ns;
        copies_failed(&d, why);
        (void)!copies_save(home, &d, false, &none);
    }
    copy_due_free(&d);
}

static void
failed(struct batch_job *j, const struct err *why)
{
    say(j->b->c, _("%s: no copy of the data on %s: %s; `gpurun snap mirror` tries again"),
        j->r.spec.name, j->copy_to, why->msg);
    note_failed(j, why);
    settled(j);
}

static void
done(struct batch_job *j)
{
    struct err e;

    free(j->record.mirror);
    j->record.mirror = xstrdup(j->copy_to);
    if (jobs_save(j->b->cl->home, &j->record, &e) != 0) {
        say(j->b->c, "%s", e.msg);
    }
    copies_forget(j->b->cl->home, j->record.id);
    settled(j);
}

/* ---- the hosts that copies go to ---- */

static struct batch_target *
target_of(struct batch *b, const char *to)
{
    struct batch_target *t;

    for (size_t i = 0; i < b->n_targets; i++) {
        if (strcmp(b->targets[i]->to, to) == 0) {
            return b->targets[i];
        }
    }
    t = xcalloc(1, sizeof *t);
    t->to = xstrdup(to);
    b->targets = xrealloc(b->targets, (b->n_targets + 1) * sizeof *b->targets);
    b->targets[b->n_targets++] = t;
    return t;
}

/* Its session, if any, is of no more use. */
static bool
is_gone(const struct batch_target *t)
{
    enum session_state st = session_state(t->session);

    return st == SESSION_FAILED || st == SESSION_DOWN;
}

/* It cannot be reached: what goes there waits, for longer each time. */
static void
target_failed(struct batch *b, struct batch_target *t, const struct err *why)
{
    session_close(t->session);
    t->session = NULL;
    if (t->n_failed == 0) {
        say(b->c, _("copies to %s wait until it can be reached (%s)"), t->to, why->msg);
    }
    t->why = *why;
    t->failed_boot_ns = clock_boot_ns();
    t->retry_boot_ns =
        t->failed_boot_ns + RETRY_SLOWER * session_backoff_ns(t->n_failed++);
}

/* May it be tried now? Once more when nothing runs any more, and that was it then. */
static bool
may_try(const struct batch *b, const struct batch_target *t, bool *given_up)
{
    int64_t now = clock_boot_ns();

    *given_up = false;
    if (t->n_failed == 0) {
        return true;
    }
    if (b->over_since_ns == 0) {
        return now >= t->retry_boot_ns;
    }
    *given_up =
        t->failed_boot_ns >= b->over_since_ns || now - t->failed_boot_ns < STALE_NS;
    return !*given_up;
}

/* ---- one copy ---- */

/* Of what the job kept on the way the copy goes, now that the end's is there. */
static void
drop_older(struct batch_job *j, struct batch_target *t)
{
    struct copy_due d;
    struct err e;

    copy_due_init(&d);
    if (copies_load(j->b->cl->home, j->record.id, &d, &e) == 0 &&
        copies_has_older(&d, t->to) &&
        copies_drop_start(&t->drop, j->host->session, t->session, d.copied, &e) != 0) {
        due_say_older(j->b->c, t->to, &e);
    }
    copy_due_free(&d);
}

static void
end_drop(struct batch_target *t)
{
    struct batch_job *j = t->copying;
    struct err e;

    if (copies_drop_finish(t->drop, &e) != 0) {
        due_say_older(j->b->c, t->to, &e);
    }
    t->drop = NULL;
}

static void
end_copy(struct batch *b, struct batch_target *t)
{
    struct batch_job *j = t->copying;
    struct err e;
    int rc = 0;

    if (t->copy != NULL) {
        rc = forward_finish(t->copy, &e);
        t->copy = NULL;
        if (rc == 0) {
            drop_older(j, t);
        }
    } else {
        end_drop(t);
    }
    if (t->drop != NULL) {
        return;
    }
    t->copying = NULL;
    j->copying = false;
    if (rc == 0) {
        t->n_failed = 0;
        done(j);
    } else if (is_gone(t)) {
        target_failed(b, t, &e);
    } else if (e.code != ERR_LINK || ++j->n_copy_cuts == CUTS_MAX) {
        failed(j, &e);
    } /* else its own host went: begun anew when that is back */
}

static bool
is_over(const struct batch_target *t)
{
    if (t->copying == NULL) {
        return false;
    }
    return t->copy != NULL ? forward_is_over(t->copy) : copies_drop_is_over(t->drop);
}

/* Its own host is there; or nobody waits for it any longer. */
static bool
has_source(struct batch_job *j)
{
    const struct batch *b = j->b;
    struct session *from = j->host->session;

    if (session_conn(from) != NULL) {
        return true;
    }
    if (session_state(from) == SESSION_FAILED ||
        (b->over_since_ns != 0 && clock_boot_ns() - b->over_since_ns > SOURCE_WAIT_NS)) {
        failed(j, &session_why(from)->err);
    }
    return false;
}

static void
begin_copy(struct batch_job *j, struct batch_target *t)
{
    struct batch *b = j->b;
    bool given_up;
    struct err e;

    if (!has_source(j)) {
        return;
    }
    if (!may_try(b, t, &given_up)) {
        if (given_up) {
            failed(j, &t->why);
        }
        return;
    }
    if (t->session != NULL && is_gone(t)) {
        session_close(t->session); /* cut while there was nothing to copy */
        t->session = NULL;
    }
    memset(&t->copied, 0, sizeof t->copied);
    if (t->session == NULL &&
        mirror_begin(&t->session, b->cl, t->to, MIRROR_CONNECT_MS, &e) != 0) {
        target_failed(b, t, &e);
    } else if (forward_start(&t->copy, j->host->session, t->session, j->state.snapshot,
                             false, &t->copied, &e) != 0) {
        failed(j, &e);
    } else {
        t->copying = j;
        j->copying = true;
    }
}

void
batch_mirror_step(struct batch *b)
{
    for (size_t i = 0; i < b->n_targets; i++) {
        struct batch_target *t = b->targets[i];

        if (is_over(t)) {
            end_copy(b, t);
        }
    }
    for (size_t i = 0; i < b->n && b->n_to_copy > 0; i++) {
        struct batch_job *j = &b->jobs[i];
        struct batch_target *t;

        if (j->copy_to == NULL || j->copying) {
            continue;
        }
        t = target_of(b, j->copy_to);
        if (t->copying == NULL) {
            begin_copy(j, t);
        }
    }
}

/* ---- looking ---- */

bool
batch_mirror_news(const struct batch *b)
{
    for (size_t i = 0; i < b->n_targets; i++) {
        if (is_over(b->targets[i])) {
            return true;
        }
    }
    return false;
}

void
batch_mirror_line(const struct batch *b, struct buf *out)
{
    for (size_t i = 0; i < b->n_targets; i++) {
        const struct batch_target *t = b->targets[i];

        if (t->copying != NULL) {
            buf_printf(out, _("; copying %s to %s"), t->copying->r.spec.name, t->to);
        }
    }
}

static void
say_left(const struct batch *b)
{
    struct buf names = BUF_INIT;
    size_t n = 0;

    for (size_t i = 0; i < b->n; i++) {
        if (b->jobs[i].copy_to != NULL && n++ < NAMES_MAX) {
            buf_printf(&names, "%s%s", n > 1 ? ", " : "", b->jobs[i].r.spec.name);
        }
    }
    if (n > NAMES_MAX) {
        buf_printf(&names, _(" and %zu more"), n - NAMES_MAX);
    }
    if (n > 0) {
        say(b->c, _("the data of %s was not copied; `gpurun snap mirror` does it"),
            buf_str(&names));
    }
    buf_free(&names);
}

void
batch_mirror_close(struct batch *b)
{
    struct err e;

    say_left(b);
    for (size_t i = 0; i < b->n_hosts; i++) {
        due_live_end(b->hosts[i].live);
        b->hosts[i].live = NULL;
    }
    for (size_t i = 0; i < b->n_targets; i++) {
        struct batch_target *t = b->targets[i];

        if (t->drop != NULL) {
            (void)!copies_drop_finish(t->drop, &e);
        } else if (t->copying != NULL) {
            (void)!forward_finish(t->copy, &e);
        }
        session_close(t->session);
        free(t->to);
        free(t);
    }
    free(b->targets);
    b->targets = NULL;
    b->n_targets = 0;
}
