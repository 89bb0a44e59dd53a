#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/lang.h"
#include "runner/cli/due_internal.h"
#include "runner/cli/out.h"
#include "runner/client/mirror.h"
#include "runner/client/snaps.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

/*
 * Of jobs that are watched, what they have kept on the way (--snap-every): their host is
 * asked for the newest now and then, and that is copied while the jobs' output goes on,
 * one after another. Nothing here waits, or says anything unasked: what fails is tried
 * again, later each time, and the end has a copy of its own.
 */

#define NS_PER_S     ((int64_t)1000000000)
#define LOOK_MAX_NS  (60 * NS_PER_S)
#define RETRY_MAX_NS (900 * NS_PER_S)
#define RETRY_SHIFT  10
#define POLL_NS      (NS_PER_S / 4) /* how far is a copy? */
#define DROP_WAIT_NS (5 * NS_PER_S) /* at the end, for an answer */

struct live_job {
    char id[JOB_ID_LEN + 1];
    int64_t look_ns;
};

struct due_live {
    struct cli *c;
    struct client *cl;
    struct client unasked; /* the same with nobody to ask: the terminal is the job's */
    struct session *from;
    struct live_job *jobs;
    size_t n;
    size_t at;         /* whose turn it is; n: all had theirs */
    unsigned n_failed; /* in a row */
    struct timer *timer;
    struct call *ask;
    struct copies_drop *drop; /* of what has just been copied anew */
    /* One copy, with the right to it (copies_take): */
    bool taken;
    int lock;
    char job[JOB_ID_LEN + 1]; /* whose */
    struct copy_due due;
    char snapshot[JOB_ID_LEN + 1];
    struct session *to;
    struct forward *copy;
    struct forward_progress moved;
};

/* So often as the one that wants it most. */
static int64_t
look_ns(const struct due_live *v)
{
    int64_t ns = LOOK_MAX_NS;

    for (size_t i = 0; i < v->n; i++) {
        ns = v->jobs[i].look_ns < ns ? v->jobs[i].look_ns : ns;
    }
    return ns;
}

static void
look_later(struct due_live *v)
{
    int64_t wait_ns = look_ns(v);

    if (v->n == 0) {
        return;
    }
    if (v->n_failed > 0) {
        wait_ns <<= v->n_failed < RETRY_SHIFT ? v->n_failed : RETRY_SHIFT;
        wait_ns = wait_ns < RETRY_MAX_NS ? wait_ns : RETRY_MAX_NS;
    } else if (v->at > 0 && v->at < v->n) {
        wait_ns = 0; /* the others' turn */
    }
    v->at = v->at < v->n ? v->at : 0;
    timer_after(v->timer, wait_ns);
}

static void
let_go(struct due_live *v)
{
    if (v->taken) {
        copies_let_go(v->cl->home, v->job, &v->lock);
        v->taken = false;
    }
    copy_due_free(&v->due);
    copy_due_init(&v->due);
}

static void
failed(struct due_live *v, const struct err *why)
{
    say_more(v->c, _("no copy of the data on the way: %s"), why->msg);
    v->n_failed++;
    let_go(v);
    look_later(v);
}

static void
say_older(const struct due_live *v, const struct err *why)
{
    if (v->c->g.verbose) {
        due_say_older(v->c, session_host(v->to)->name, why);
    }
}

/* Of what was replaced no second copy is kept, either. */
static void
drop_older(struct due_live *v, const char *older)
{
    struct err e;

    if (copies_drop_start(&v->drop, v->from, v->to, older, &e) != 0) {
        say_older(v, &e);
    }
}

static void
end_drop(struct due_live *v)
{
    struct err e;

    if (copies_drop_finish(v->drop, &e) != 0) {
        say_older(v, &e);
    }
    v->drop = NULL;
}

static void
copied(struct due_live *v)
{
    const char *to = session_host(v->to)->name;
    char older[JOB_ID_LEN + 1] = "";

    say_more(v->c, _("the data of %s (%s) is on %s + %s now"), due_word(&v->due),
             v->snapshot, v->due.host, due_place(to));
    if (copies_has_older(&v->due, to)) {
        memcpy(older, v->due.copied, sizeof older);
    }
    due_copied_live(v->c, v->cl, &v->due, v->snapshot, to);
    v->n_failed = 0;
    let_go(v);
    if (older[0] != '\0') {
        drop_older(v, older);
    }
    if (v->drop != NULL) {
        timer_after(v->timer, POLL_NS);
    } else {
        look_later(v);
    }
}

static void
end_copy(struct due_live *v)
{
    struct err e;
    int rc = forward_finish(v->copy, &e);

    v->copy = NULL;
    if (rc == 0) {
        copied(v);
    } else if (e.code == ERR_NOT_FOUND) {
        let_go(v); /* replaced meanwhile: a later one is there */
        look_later(v);
    } else {
        if (session_conn(v->to) == NULL) {
            session_close(v->to);
            v->to = NULL;
        }
        failed(v, &e);
    }
}

static int
begin_copy(struct due_live *v, const char *to, struct err *e)
{
    if (v->to != NULL && (session_state(v->to) == SESSION_FAILED ||
                          strcmp(session_host(v->to)->name, to) != 0)) {
        session_close(v->to);
        v->to = NULL;
    }
    if (v->to == NULL &&
        mirror_begin(&v->to, &v->unasked, to, MIRROR_CONNECT_MS, e) != 0) {
        return -1;
    }
    v->moved.bytes = 0;
    return forward_start(&v->copy, v->from, v->to, v->snapshot, false, &v->moved, e);
}

/* l: what the host keeps, newest first. false: nothing to copy of that job. */
static bool
take_job(struct due_live *v, const char *job, const struct snap_infos *l)
{
    const struct snap_info *newest = snaps_newest_of_job(l, job);
    const char *to = NULL;
    struct err e;

    memcpy(v->job, job, sizeof v->job);
    v->taken = newest != NULL && copies_take(v->cl->home, job, &v->lock);
    if (v->taken && copies_load(v->cl->home, job, &v->due, &e) == 0 &&
        strcmp(newest->id, v->due.copied) != 0) {
        to = mirror_target(session_host(v->from), newest->stored_bytes, v->due.outs);
    }
    if (to == NULL) {
        let_go(v);
        return false;
    }
    memcpy(v->snapshot, newest->id, sizeof v->snapshot);
    if (begin_copy(v, to, &e) != 0) {
        failed(v, &e);
    } else {
        timer_after(v->timer, POLL_NS);
    }
    return true;
}

static void
on_list(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct due_live *v = ctx;
    struct snap_infos l = {NULL, 0};
    struct err e;

    v->ask = NULL;
    if (resp == NULL) {
        session_peer_error(why, hint, &e);
        failed(v, &e);
    } else if (snaps_take_list(resp, session_host(v->from)->name, &l, &e) != 0) {
        failed(v, &e);
    } else {
        bool found = false;

        snaps_sort(&l);
        while (!found && v->at < v->n) {
            found = take_job(v, v->jobs[v->at++].id, &l);
        }
        if (!found) {
            look_later(v);
        }
    }
    snap_infos_free(&l);
}

static void
look(struct due_live *v)
{
    struct conn *from = session_conn(v->from);
    struct rec *req;
    struct err e;

    if (from == NULL) {
        v->at = v->n;
        look_later(v);
        return;
    }
    req = msg_request_new(VERB_SNAP_LIST);
    rec_add_int(req, "all", 0);
    if (call_start(&v->ask, from, req, SNAP_ANSWER_NS, on_list, v, &e) != 0) {
        failed(v, &e);
    }
    rec_free(req);
}

static void
on_timer(void *ctx)
{
    struct due_live *v = ctx;

    if ((v->copy != NULL && !forward_is_over(v->copy)) ||
        (v->drop != NULL && !copies_drop_is_over(v->drop))) {
        timer_after(v->timer, POLL_NS);
    } else if (v->copy != NULL) {
        end_copy(v);
    } else if (v->drop != NULL) {
        end_drop(v);
        look_later(v);
    } else if (v->n > 0) {
        look(v);
    }
}

/* ---- who is watched ---- */

static bool
is_wanted(const struct due_live *v, const char *job)
{
    struct copy_due d;
    struct err none;
    bool wanted = copies_load(v->cl->home, job, &d, &none) == 0;

    if (wanted) {
        wanted = d.live;
        copy_due_free(&d);
    }
    return wanted;
}

struct due_live *
due_live_new(struct cli *c, struct client *cl, struct session *from)
{
    struct due_live *v = xcalloc(1, sizeof *v);

    v->c = c;
    v->cl = cl;
    v->unasked = *cl;
    v->unasked.ask = NULL;
    v->from = from;
    v->lock = -1;
    copy_due_init(&v->due);
    v->timer = timer_new(cl->loop, on_timer, v);
    timer_set_idle(v->timer, true);
    return v;
}

static size_t
place_of(const struct due_live *v, const char *job)
{
    size_t i = 0;

    while (i < v->n && strcmp(v->jobs[i].id, job) != 0) {
        i++;
    }
    return i;
}

void
due_live_add(struct due_live *v, const char *job, int64_t every_s)
{
    int64_t before_ns = v->n > 0 ? look_ns(v) : INT64_MAX;
    struct live_job *j;

    if (place_of(v, job) < v->n || !is_wanted(v, job)) {
        return;
    }
    v->jobs = xrealloc(v->jobs, (v->n + 1) * sizeof *v->jobs);
    j = &v->jobs[v->n++];
    memcpy(j->id, job, sizeof j->id);
    j->look_ns = every_s * NS_PER_S < LOOK_MAX_NS ? every_s * NS_PER_S : LOOK_MAX_NS;
    if (look_ns(v) < before_ns && v->ask == NULL && v->copy == NULL && v->drop == NULL) {
        v->at = v->n; /* it has nothing yet */
        look_later(v);
    }
}

static void
give_up(struct due_live *v)
{
    struct err none;

    if (v->copy != NULL) {
        (void)!forward_finish(v->copy, &none);
        v->copy = NULL;
    }
    let_go(v);
}

void
due_live_remove(struct due_live *v, const char *job)
{
    size_t i = place_of(v, job);

    if (i == v->n) {
        return;
    }
    v->n--;
    memmove(&v->jobs[i], &v->jobs[i + 1], (v->n - i) * sizeof *v->jobs);
    v->at -= v->at > i ? 1 : 0;
    if (v->copy != NULL && strcmp(v->job, job) == 0) {
        give_up(v);
    }
}

static bool
is_dropped(void *ctx)
{
    const struct due_live *v = ctx;

    return copies_drop_is_over(v->drop);
}

void
due_live_end(struct due_live *v)
{
    if (v == NULL) {
        return;
    }
    timer_cancel(v->timer);
    call_cancel(v->ask);
    give_up(v);
    if (v->drop != NULL) {
        (void)loop_run_until(v->cl->loop, is_dropped, v, DROP_WAIT_NS);
        end_drop(v);
    }
    timer_free(v->timer);
    session_close(v->to);
    free(v->jobs);
    free(v);
}
