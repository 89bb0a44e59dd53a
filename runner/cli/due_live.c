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
 * Of a job that is watched, what it has kept on the way (--snap-every): its host is asked
 * for the newest now and then, and that is copied while the job's output goes on. Nothing
 * here waits, or says anything unasked: what fails is tried again, later each time, and
 * the end has a copy of its own.
 */

#define NS_PER_S     ((int64_t)1000000000)
#define LOOK_MAX_NS  (60 * NS_PER_S)
#define RETRY_MAX_NS (900 * NS_PER_S)
#define RETRY_SHIFT  10
#define POLL_NS      (NS_PER_S / 4) /* how far is a copy? */

struct due_live {
    struct cli *c;
    struct client *cl;
    struct client unasked; /* the same with nobody to ask: the terminal is the job's */
    struct session *from;
    char job[JOB_ID_LEN + 1];
    int64_t look_ns;
    unsigned n_failed; /* in a row */
    struct timer *timer;
    struct call *ask;
    /* One copy, with the right to it (copies_take): */
    bool taken;
    int lock;
    struct copy_due due;
    char snapshot[JOB_ID_LEN + 1];
    struct session *to;
    struct forward *copy;
    struct forward_progress moved;
    bool replaced; /* the host has given up due.copied */
};

static void
look_later(struct due_live *v)
{
    int64_t wait_ns = v->look_ns;

    if (v->n_failed > 0) {
        wait_ns <<= v->n_failed < RETRY_SHIFT ? v->n_failed : RETRY_SHIFT;
        wait_ns = wait_ns < RETRY_MAX_NS ? wait_ns : RETRY_MAX_NS;
    }
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

/* Of what was replaced no second copy is kept, either. Nobody waits for the answer. */
static void
drop_replaced(struct due_live *v, const char *to)
{
    struct conn *at = session_conn(v->to);
    struct rec *req;
    struct err none;

    if (!v->replaced || at == NULL || v->due.copied_to == NULL ||
        strcmp(v->due.copied_to, to) != 0) {
        return;
    }
    req = msg_request_new(VERB_SNAP_RM);
    msg_add_key(req, NULL);
    rec_add(req, "snapshot", v->due.copied);
    (void)!mux_request(conn_mux(at), req, NULL, NULL, NULL, &none);
    rec_free(req);
}

static void
end_copy(struct due_live *v)
{
    const char *to = session_host(v->to)->name;
    struct err e;
    int rc = forward_finish(v->copy, &e);

    v->copy = NULL;
    if (rc != 0 && e.code == ERR_NOT_FOUND) {
        let_go(v); /* replaced meanwhile: a later one is there */
        look_later(v);
        return;
    }
    if (rc != 0) {
        if (session_conn(v->to) == NULL) {
            session_close(v->to);
            v->to = NULL;
        }
        failed(v, &e);
        return;
    }
    say_more(v->c, _("the data of %s (%s) is on %s + %s now"), due_word(&v->due),
             v->snapshot, v->due.host, due_place(to));
    drop_replaced(v, to);
    due_copied_live(v->c, v->cl, &v->due, v->snapshot, to);
    v->n_failed = 0;
    let_go(v);
    look_later(v);
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

static bool
keeps(const struct snap_infos *l, const char *id)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].kept && strcmp(l->v[i].id, id) == 0) {
            return true;
        }
    }
    return false;
}

/* l: what the host keeps, newest first. */
static void
take_list(struct due_live *v, const struct snap_infos *l)
{
    const struct snap_info *newest = snaps_newest_of_job(l, v->job);
    const char *to;
    struct err e;

    v->taken = newest != NULL && copies_take(v->cl->home, v->job, &v->lock);
    if (!v->taken || copies_load(v->cl->home, v->job, &v->due, &e) != 0 ||
        strcmp(newest->id, v->due.copied) == 0) {
        let_go(v);
        look_later(v);
        return;
    }
    to = mirror_target(session_host(v->from), newest->stored_bytes, v->due.outs);
    memcpy(v->snapshot, newest->id, sizeof v->snapshot);
    v->replaced = v->due.copied[0] != '\0' && !keeps(l, v->due.copied);
    if (to == NULL) {
        let_go(v);
        look_later(v);
    } else if (begin_copy(v, to, &e) != 0) {
        failed(v, &e);
    } else {
        timer_after(v->timer, POLL_NS);
    }
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
        snaps_sort(&l);
        take_list(v, &l);
    }
    snap_infos_free(&l);
}

static void
on_timer(void *ctx)
{
    struct due_live *v = ctx;
    struct conn *from = session_conn(v->from);
    struct rec *req;
    struct err e;

    if (v->copy != NULL) {
        if (forward_is_over(v->copy)) {
            end_copy(v);
        } else {
            timer_after(v->timer, POLL_NS);
        }
        return;
    }
    if (from == NULL) {
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

struct due_live *
due_live_start(struct cli *c, struct client *cl, struct session *from, const char *job,
               int64_t every_s)
{
    struct copy_due d;
    struct due_live *v;
    struct err none;
    bool wanted = copies_load(cl->home, job, &d, &none) == 0;

    if (wanted) {
        wanted = d.live;
        copy_due_free(&d);
    }
    if (!wanted) {
        return NULL;
    }
    v = xcalloc(1, sizeof *v);
    v->c = c;
    v->cl = cl;
    v->unasked = *cl;
    v->unasked.ask = NULL;
    v->from = from;
    v->lock = -1;
    v->look_ns = every_s * NS_PER_S < LOOK_MAX_NS ? every_s * NS_PER_S : LOOK_MAX_NS;
    memcpy(v->job, job, sizeof v->job);
    copy_due_init(&v->due);
    v->timer = timer_new(cl->loop, on_timer, v);
    timer_set_idle(v->timer, true);
    look_later(v);
    return v;
}

void
due_live_end(struct due_live *v)
{
    struct err none;

    if (v == NULL) {
        return;
    }
    call_cancel(v->ask);
    if (v->copy != NULL) {
        (void)!forward_finish(v->copy, &none);
    }
    timer_free(v->timer);
    session_close(v->to);
    let_go(v);
    free(v);
}
