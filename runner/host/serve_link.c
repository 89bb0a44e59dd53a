#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/serve_internal.h"
#include "runner/host/supervise.h"
#include "runner/job/verbs.h"
#include "runner/loop/unix.h"
#include "runner/wire/msg.h"

#define RETRY_NS ((int64_t)50000000)
#define TRIES_MAX                                                                        \
    600 /* half a minute for whoever holds the job's lock to get somewhere */
#define ACK_NS ((int64_t)1000000000)

static void look(void *ctx);

/* ---- finding ---- */

struct serve_link *
serve_link_find(const struct serve *s, const char *job)
{
    struct serve_link *l = s->links;

    while (l != NULL && strcmp(l->job, job) != 0) {
        l = l->next;
    }
    return l;
}

bool
serve_link_is_final(const struct serve_link *l)
{
    return job_phase_is_final(l->state.phase);
}

static void
send_acked(void *ctx)
{
    struct serve_link *l = ctx;
    struct mux *m = l->conn == NULL ? NULL : conn_mux(l->conn);
    struct rec *r;
    struct err none;

    if (m == NULL) {
        return;
    }
    r = msg_request_new(SUP_ACKED);
    rec_add_int(r, "out", (int64_t)l->acked[LOGSEG_OUT]);
    rec_add_int(r, "err", (int64_t)l->acked[LOGSEG_ERR]);
    (void)!mux_request(m, r, NULL, NULL, NULL, &none);
    rec_free(r);
}

void
serve_link_acked(struct serve_link *l, enum logseg_stream stream, uint64_t offset)
{
    if (offset > l->acked[stream] && l->conn != NULL) {
        l->acked[stream] = offset;
        if (!timer_is_set(l->ack_timer)) {
            timer_after(l->ack_timer, ACK_NS);
        }
    }
}

struct serve_link *
serve_link_new(struct serve *s, const char *job)
{
    struct serve_link *l = xcalloc(1, sizeof *l);

    l->serve = s;
    l->dir.fd = l->dir.jobs_fd = l->dir.lock_fd = -1;
    memcpy(l->job, job, JOB_ID_LEN + 1);
    state_init(&l->state);
    l->retry = timer_new(s->loop, look, l);
    timer_set_idle(l->retry, true);
    l->ack_timer = timer_new(s->loop, send_acked, l);
    timer_set_idle(l->ack_timer, true);
    l->next = s->links;
    s->links = l;
    return l;
}

/* Of one that is in no list any more. */
static void
release(struct serve_link *l)
{
    struct err e;

    err_set(&e, ERR_LINK, "the connection is closing");
    serve_wait_go(l->serve, &l->waits, &e);
    serve_wait_go(l->serve, &l->usage_waits, &e);
    serve_wait_go(l->serve, &l->follow_waits, &e);
    timer_free(l->retry);
    timer_free(l->ack_timer);
    child_free(l->recover);
    child_free(l->starter);
    conn_free(l->conn);
    state_free(&l->state);
    jobdir_close(&l->dir);
    free(l);
}

void
serve_link_free(struct serve_link *l)
{
    struct serve_link **at = &l->serve->links;

    while (*at != l) {
        at = &(*at)->next;
    }
    *at = l->next;
    release(l);
}

void
serve_links_free(struct serve *s)
{
    while (s->links != NULL) {
        struct serve_link *l = s->links;

        s->links = l->next;
        release(l);
    }
}

/* ---- news ---- */

static void
tell_client(struct serve_link *l)
{
    struct serve *s = l->serve;
    struct rec *event;
    struct rec *state;
    struct buf b = BUF_INIT;

    if (!l->events || s->mux == NULL) {
        return;
    }
    event = rec_new(EVENT_STATE);
    state = state_encode(&l->state);
    rec_encode(state, &b);
    rec_add(event, "job", l->job);
    rec_add_bytes(event, "state", b.data, b.len);
    mux_event(s->mux, event);
    buf_free(&b);
    rec_free(state);
    rec_free(event);
}

/* A newer state: from the supervisor, or read from the file. */
static void
take_state(struct serve_link *l, struct job_state *st)
{
    state_free(&l->state);
    l->state = *st;
    state_init(st);
    if (serve_link_is_final(l)) {
        l->end[LOGSEG_OUT] = l->state.out_end < 0 ? 0 : (uint64_t)l->state.out_end;
        l->end[LOGSEG_ERR] = l->state.err_end < 0 ? 0 : (uint64_t)l->state.err_end;
    }
    /* Bytes before the word that there will be no more of them. */
    serve_log_grown(l);
    tell_client(l);
    if (serve_link_is_final(l)) {
        serve_wait_go(l->serve, &l->usage_waits, NULL);
        serve_wait_go(l->serve, &l->follow_waits, NULL);
    }
}

static void
take_ends(struct serve_link *l, const struct rec *r)
{
    int64_t out_end;
    int64_t err_end;
    struct err none;

    if (rec_need_int(r, "out", 0, INT64_MAX, &out_end, &none) == 0 &&
        rec_need_int(r, "err", 0, INT64_MAX, &err_end, &none) == 0) {
        l->end[LOGSEG_OUT] = (uint64_t)out_end;
        l->end[LOGSEG_ERR] = (uint64_t)err_end;
    }
}

static void
on_event(void *ctx, struct mux *m, const struct rec *event)
{
    struct serve_link *l = ctx;
    struct job_state st;
    struct err none;

    (void)m;
    if (strcmp(rec_type(event), SUP_EVENT_LOG) == 0) {
        take_ends(l, event);
        serve_log_grown(l);
    } else if (strcmp(rec_type(event), EVENT_STATE) == 0 &&
               state_get(event, 0, &st, &none) == 0) {
        take_state(l, &st);
    }
}

const struct mux_events serve_link_events = {.on_event = on_event};

static void
on_followed(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct serve_link *l = ctx;
    struct job_state st;
    struct err none;

    (void)hint;
    if (why != NULL || state_get(resp, 0, &st, &none) != 0) {
        return; /* the connection's end is told apart */
    }
    l->followed = true;
    take_ends(l, resp);
    take_state(l, &st);
    serve_wait_go(l->serve, &l->follow_waits, NULL);
}

void
serve_link_follow(struct serve_link *l)
{
    struct rec *r = msg_request_new(SUP_FOLLOW);
    struct err none;

    (void)!mux_request(conn_mux(l->conn), r, on_followed, l, NULL, &none);
    rec_free(r);
}

/* ---- a supervisor that is gone ---- */

static void
recovered(void *ctx, const struct child_end *end)
{
    struct serve_link *l = ctx;

    (void)end;
    child_free(l->recover);
    l->recover = NULL;
    look(l);
}

/* In a process of its own: it goes on when this connection does not. */
static void
recover(struct serve_link *l)
{
    char *argv[] = {(char *)(uintptr_t) "gpurun-agent", (char *)(uintptr_t) "recover",
                    l->serve->renter->id, l->job, NULL};
    struct child_options o = {
        .file = "/proc/self/exe", .argv = argv, .new_session = true};
    struct err e;

    if (l->recover == NULL &&
        child_start(&l->recover, l->serve->loop, &o, recovered, l, &e) != 0) {
        l->recover = NULL;
        timer_after(l->retry, RETRY_NS);
    }
}

static int
connect_supervisor(struct serve_link *l, struct err *e)
{
    struct hello h;
    struct conn_options o = {.mux = {.initiator = true,
                                     .hello = &h,
                                     .events = &serve_link_events,
                                     .ctx = l,
                                     .ping_ns = -1},
                             .on_closed = serve_link_closed,
                             .ctx = l};
    struct unix_peer peer;
    int fd;
    int rc;

    if (unix_connect(l->dir.fd, "sock", &fd, &peer, e) != 0) {
        return -1;
    }
    hello_init(&h, HELLO_ROLE_SERVE, GPURUN_VERSION);
    rc = conn_new(&l->conn, l->serve->loop, fd, fd, &o, e);
    hello_clear(&h);
    if (rc == 0) {
        serve_link_follow(l);
    }
    return rc;
}

/*
 * What is to be known from files, and what to do about it: a final job needs nothing, a
 * living supervisor is connected to, a dead one's job is lost and has to be seen to.
 */
static void
look(void *ctx)
{
    struct serve_link *l = ctx;
    struct job_state st;
    bool owned = false;
    struct err e;

    state_init(&st);
    if (l->conn != NULL || l->recover != NULL || serve_link_is_final(l)) {
        return;
    }
    if (jobdir_state(&l->dir, &st, &e) == 0 && job_phase_is_final(st.phase)) {
        take_state(l, &st);
        return;
    }
    state_free(&st);
    if (connect_supervisor(l, &e) == 0) {
        l->tries = 0;
        return;
    }
    if (jobdir_is_owned(&l->dir, &owned, &e) == 0 && !owned) {
        recover(l);
    } else if (l->tries++ < TRIES_MAX) {
        timer_after(l->retry, RETRY_NS);
    }
}

void
serve_link_closed(void *ctx, struct conn *c, const struct err *why)
{
    struct serve_link *l = ctx;

    (void)c;
    (void)why;
    conn_free(l->conn);
    l->conn = NULL;
    l->followed = false;
    if (!l->submitting) {
        look(l);
        serve_wait_go(l->serve, &l->follow_waits, NULL);
    }
}

/* ---- making ---- */

void
serve_link_begin(struct serve_link *l, struct jobdir *dir, struct conn *conn,
                 const struct job_state *state)
{
    l->dir = *dir;
    dir->fd = dir->jobs_fd = dir->lock_fd = -1;
    l->submitting = false;
    if (conn != NULL) {
        l->conn = conn;
    }
    state_copy(&l->state, state);
    if (l->conn != NULL) {
        serve_link_follow(l);
    } else {
        look(l);
    }
}

int
serve_link_get(struct serve *s, const char *job, struct serve_link **out, struct err *e)
{
    struct serve_link *l = serve_link_find(s, job);
    struct jobdir d;
    size_t n = 0;

    if (l != NULL) {
        *out = l;
        return 0;
    }
    for (l = s->links; l != NULL; l = l->next) {
        n++;
    }
    if (n >= SERVE_LINKS_MAX) {
        return err_set(e, ERR_BUSY, "one connection can follow %d jobs at most",
                       SERVE_LINKS_MAX);
    }
    if (jobdir_open(&d, s->renter, job, e) != 0) {
        return -1;
    }
    l = serve_link_new(s, job);
    l->dir = d;
    if (jobdir_state(&l->dir, &l->state, e) != 0) {
        /* A power cut may have taken it: who looks after the job writes it anew. */
        l->state.phase = JOB_PREPARING;
    }
    if (serve_link_is_final(l)) {
        l->end[LOGSEG_OUT] = l->state.out_end < 0 ? 0 : (uint64_t)l->state.out_end;
        l->end[LOGSEG_ERR] = l->state.err_end < 0 ? 0 : (uint64_t)l->state.err_end;
    } else {
        look(l);
    }
    *out = l;
    return 0;
}

/* ---- passing on ---- */

struct forwarded {
    struct serve *serve;
    uint64_t id;
};

static void
on_answer(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct forwarded *f = ctx;

    if (f->serve->mux != NULL && why != NULL) {
        mux_respond_error(f->serve->mux, f->id, why, hint);
    } else if (f->serve->mux != NULL) {
        mux_respond(f->serve->mux, f->id, resp);
    }
    free(f);
}

void
serve_link_forward(struct serve_link *l, uint64_t id, const struct rec *req)
{
    struct mux *m = l->conn == NULL ? NULL : conn_mux(l->conn);
    struct forwarded *f;
    struct err e;

    if (m == NULL) {
        err_set(
            &e, ERR_NOT_FOUND,
            "job %s is not running; `gpurun cp` and `gpurun logs` get at what it left",
            l->job);
        serve_fail(l->serve, id, &e);
        return;
    }
    f = xmalloc(sizeof *f);
    *f = (struct forwarded){l->serve, id};
    if (mux_request(m, req, on_answer, f, NULL, &e) != 0) {
        serve_fail(l->serve, id, &e);
        free(f);
    }
}
