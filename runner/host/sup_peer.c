#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/reservations.h"
#include "runner/host/supervise_internal.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

#define NS_PER_S ((int64_t)1000000000)

#define FINISH_NS   ((int64_t)2000000000)
#define RETELL_NS   ((int64_t)2000000) /* to a peer that is still reading */
#define MESSAGE_MAX ((size_t)8 << 20)  /* a specification, a grant and secrets fit */

/* One connection of a serve. */
struct sup_peer {
    struct sup *sup;
    struct sup_peer *next;
    struct conn *conn;
    bool follows;
    uint64_t out_told;
    uint64_t err_told;
    struct timer *retell;
};

static void
answer_state(struct sup *s, struct mux *m, uint64_t id, const char *verb)
{
    struct rec *r = msg_answer_new(verb);

    state_put(r, &s->state);
    mux_respond(m, id, r);
    rec_free(r);
}

/* ---- telling ---- */

void
sup_peer_tell_state(struct sup *s)
{
    struct rec *r = NULL;

    for (struct sup_peer *p = s->peers; p != NULL; p = p->next) {
        struct mux *m = p->follows ? conn_mux(p->conn) : NULL;

        if (m == NULL) {
            continue;
        }
        if (r == NULL) {
            r = rec_new(EVENT_STATE);
            rec_add(r, "job", s->state.job);
            state_put(r, &s->state);
        }
        mux_event(m, r);
    }
    rec_free(r);
}

static void
tell_log_to(void *ctx)
{
    struct sup_peer *p = ctx;
    struct sup *s = p->sup;
    struct mux *m = conn_mux(p->conn);
    uint64_t out_end;
    uint64_t err_end;
    struct rec *r;

    if (!p->follows || m == NULL || s->log == NULL) {
        return;
    }
    out_end = logw_end(s->log, LOGSEG_OUT);
    err_end = logw_end(s->log, LOGSEG_ERR);
    if (out_end == p->out_told && err_end == p->err_told) {
        return;
    }
    /* A peer behind with reading wants the newest figure only, not all of them. */
    if (mux_has_output(m)) {
        if (!timer_is_set(p->retell)) {
            timer_after(p->retell, RETELL_NS);
        }
        return;
    }
    p->out_told = out_end;
    p->err_told = err_end;
    r = rec_new(SUP_EVENT_LOG);
    rec_add_int(r, "out", (int64_t)out_end);
    rec_add_int(r, "err", (int64_t)err_end);
    mux_event(m, r);
    rec_free(r);
}

static void
tell_log(void *ctx)
{
    struct sup *s = ctx;

    s->log_told = false;
    for (struct sup_peer *p = s->peers; p != NULL; p = p->next) {
        tell_log_to(p);
    }
}

void
sup_peer_tell_log(struct sup *s)
{
    if (!s->log_told && s->peers != NULL) {
        s->log_told = true;
        loop_defer(s->loop, tell_log, s); /* once for both streams */
    }
}

/* ---- requests ---- */

static void
begin(void *ctx)
{
    sup_prepare(ctx);
}

static void
do_start(struct sup_peer *p, struct mux *m, uint64_t id, const struct rec *req)
{
    struct sup *s = p->sup;
    struct err e;

    if (s->dir.fd != -1) {
        err_set(&e, ERR_EXISTS, "this supervisor has its job already");
        mux_respond_error(m, id, &e, NULL);
    } else if (sup_accept(s, req, &e) != 0) {
        mux_respond_error(m, id, &e, NULL);
        unix_listener_free(s->listener); /* nothing keeps us then */
        s->listener = NULL;
        jobdir_drop(&s->dir);
    } else {
        answer_state(s, m, id, SUP_START);
        loop_defer(s->loop, begin, s); /* the answer goes out first */
    }
}

static void
do_follow(struct sup_peer *p, struct mux *m, uint64_t id)
{
    struct sup *s = p->sup;
    struct rec *r = msg_answer_new(SUP_FOLLOW);

    p->follows = true;
    p->out_told = logw_end(s->log, LOGSEG_OUT);
    p->err_told = logw_end(s->log, LOGSEG_ERR);
    state_put(r, &s->state);
    rec_add_int(r, "out", (int64_t)p->out_told);
    rec_add_int(r, "err", (int64_t)p->err_told);
    mux_respond(m, id, r);
    rec_free(r);
}

static int
flag(const struct rec *req, const char *key, bool *out, struct err *e)
{
    int64_t v;

    if (rec_opt_int(req, key, 0, 1, 0, &v, e) != 0) {
        return -1;
    }
    *out = v == 1;
    return 0;
}

static int
do_stop(struct sup *s, const struct rec *req, struct err *e)
{
    bool now;
    bool no_snapshot;

    if (flag(req, "now", &now, e) != 0 ||
        flag(req, "no_snapshot", &no_snapshot, e) != 0) {
        return -1;
    }
    s->no_snapshot = s->no_snapshot || no_snapshot;
    sup_stop(s, JOB_STOPPED, now, NULL);
    return 0;
}

/*
 * Was this very request carried out before? A client whose link went before the answer
 * came asks again. All others are harmless when repeated; a signal is not.
 */
static bool
was_sent(const struct sup *s, const uint8_t key[MSG_KEY_LEN])
{
    for (size_t i = 0; i < SUP_SIGNALS_KEPT; i++) {
        if (i < s->n_signals && memcmp(s->signal_keys[i], key, MSG_KEY_LEN) == 0) {
            return true;
        }
    }
    return false;
}

static int
do_signal(struct sup *s, const struct rec *req, struct err *e)
{
    uint8_t key[MSG_KEY_LEN];
    int64_t signo;

    if (rec_need_int(req, "signal", 1, 64, &signo, e) != 0 ||
        msg_need_key(req, key, e) != 0) {
        return -1;
    }
    if (was_sent(s, key)) {
        return 0;
    }
    if (!s->started || s->main_exited || s->guard == NULL) {
        return err_set(e, ERR_NOT_FOUND, "the job's command is not running");
    }
    if (guard_signal(s->guard, SUP_COMMAND_MAIN, (int)signo, e) != 0) {
        return -1;
    }
    memcpy(s->signal_keys[s->n_signals++ % SUP_SIGNALS_KEPT], key, MSG_KEY_LEN);
    return 0;
}

/* A job on a reservation may go on as long as that holds: it may have been renewed. */
static int
check_reserved(const struct sup *s, const struct grant *next, struct err *e)
{
    struct reservation *r = NULL;
    struct meter_status m;
    int64_t ran_s;
    int rc;

    if (next->reservation[0] == '\0') {
        return 0;
    }
    meter_session_status(s->meter, &m);
    ran_s = m.since_device_ns > 0 ? m.since_device_ns / NS_PER_S : 0;
    rc = reservations_load(&r, s->agent, next->reservation, e) == 0
             ? reservations_check(r, next, ran_s, e)
             : -1;
    reservation_free(r);
    return rc;
}

static int
do_extend(struct sup *s, const struct rec *req, struct err *e)
{
    struct grant next;
    char name[32];
    size_t len;
    const char *text = rec_get_bytes(req, "grant", &len);
    int rc = -1;

    grant_init(&next);
    if (text == NULL || len > GRANT_MAX_BYTES) {
        return err_set(e, ERR_INVALID, "the new grant is missing or too long");
    }
    if (s->ending || s->main_exited) {
        return err_set(e, ERR_NOT_FOUND, "the job has ended");
    }
    if (s->stop_reason != JOB_REASON_NONE) {
        const char *why = job_reason_name(s->stop_reason);

        err_told(e, ERR_INVALID, why, why); /* a word that readers have of their own */
        return err_wrap(e, "the job is being stopped already");
    }
    if (grant_parse(&next, text, len, e) != 0 || check_reserved(s, &next, e) != 0 ||
        meter_session_extend(s->meter, &next, e) != 0) {
        goto out;
    }
    (void)snprintf(name, sizeof name, "grant.%lld", (long long)next.seq);
    if (file_replace_at(s->dir.fd, name, text, len, e) != 0) {
        goto out; /* it is in the journal: asking again is right */
    }
    grant_clear(&s->grant);
    s->grant = next;
    grant_init(&next);
    sup_refresh(s);
    sup_run_schedule(s);
    rc = 0;

out:
    grant_clear(&next);
    return rc;
}

static int
do_reserve(struct sup *s, const struct rec *req, struct err *e)
{
    const char *id;

    return rec_need_str(req, "reservation", &id, e) == 0 ? sup_reserved_begin(s, id, e)
                                                         : -1;
}

static int
do_cosign(struct sup *s, const struct rec *req, struct err *e)
{
    size_t len;
    const char *text = rec_get_bytes(req, "cosign", &len);

    if (text == NULL || len > JOURNAL_COSIGN_MAX) {
        return err_set(e, ERR_INVALID, "the countersignature is missing or too long");
    }
    return meter_session_cosign(s->meter, text, len, e);
}

static int
do_acked(struct sup *s, const struct rec *req, struct err *e)
{
    int64_t out_end;
    int64_t err_end;

    if (rec_need_int(req, "out", 0, INT64_MAX, &out_end, e) != 0 ||
        rec_need_int(req, "err", 0, INT64_MAX, &err_end, e) != 0) {
        return -1;
    }
    logw_acked(s->log, LOGSEG_OUT, (uint64_t)out_end);
    logw_acked(s->log, LOGSEG_ERR, (uint64_t)err_end);
    return 0;
}

static const struct {
    const char *verb;
    int (*run)(struct sup *s, const struct rec *req, struct err *e);
} verbs[] = {
    {VERB_JOB_STOP, do_stop},     {VERB_JOB_SIGNAL, do_signal},
    {VERB_JOB_EXTEND, do_extend}, {VERB_JOB_RESERVE, do_reserve},
    {SUP_COSIGN, do_cosign},      {SUP_ACKED, do_acked},
};

static void
dispatch(struct sup_peer *p, struct mux *m, uint64_t id, const char *verb,
         const struct rec *req)
{
    struct sup *s = p->sup;
    struct err e;

    if (strcmp(verb, SUP_START) == 0) {
        do_start(p, m, id, req);
        return;
    }
    if (s->dir.fd == -1) {
        err_set(&e, ERR_NOT_FOUND, "this supervisor has no job yet");
        mux_respond_error(m, id, &e, NULL);
        return;
    }
    if (strcmp(verb, SUP_FOLLOW) == 0) {
        do_follow(p, m, id);
        return;
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verb, verbs[i].verb) != 0) {
            continue;
        }
        if (verbs[i].run(s, req, &e) != 0) {
            mux_respond_error(m, id, &e, NULL);
        } else {
            answer_state(s, m, id, verb);
        }
        return;
    }
    err_set(&e, ERR_VERSION, "the supervisor of job %s is older and does not know '%s'",
            s->state.job, verb);
    mux_respond_error(m, id, &e, NULL);
}

static void
on_request(void *ctx, struct mux *m, uint64_t id, const struct rec *req)
{
    char verb[MSG_VERB_MAX + 1];
    int version;
    struct err e;

    if (msg_verb(req, verb, &version, &e) != 0) {
        mux_respond_error(m, id, &e, NULL);
        return;
    }
    dispatch(ctx, m, id, verb, req);
}

static void
on_open(void *ctx, struct mux *m, const struct mux_offer *offer)
{
    struct sup_peer *p = ctx;
    struct sup *s = p->sup;
    const char *type = rec_type(offer->rec);
    struct err e;

    if (s->dir.fd == -1 || s->ending) {
        err_set(&e, ERR_NOT_FOUND, "the job is not running");
        mux_refuse(m, offer->stream, &e, NULL);
    } else if (strcmp(type, OPEN_STDIN) == 0) {
        sup_stdin_open(s, m, offer);
    } else if (strcmp(type, OPEN_EXEC) == 0 || strcmp(type, OPEN_EXEC_ERR) == 0) {
        sup_exec_open(s, m, offer);
    } else if (strcmp(type, OPEN_PORT) == 0) {
        sup_port_open(s, m, offer);
    } else {
        err_set(&e, ERR_VERSION, "the supervisor of job %s does not know '%s'",
                s->state.job, type);
        mux_refuse(m, offer->stream, &e, NULL);
    }
}

/* ---- connections ---- */

/* Of one that is in no list any more. */
static void
release(struct sup_peer *p)
{
    p->sup->n_peers--;
    timer_free(p->retell);
    conn_free(p->conn);
    free(p);
}

static void
drop(struct sup_peer *p)
{
    struct sup_peer **at = &p->sup->peers;

    while (*at != p) {
        at = &(*at)->next;
    }
    *at = p->next;
    release(p);
}

static void
on_closed(void *ctx, struct conn *c, const struct err *why)
{
    struct sup_peer *p = ctx;
    struct sup *s = p->sup;

    (void)c;
    (void)why;
    drop(p);
    if (s->ending && s->listener == NULL && s->peers == NULL) {
        loop_stop(s->loop);
    }
}

int
sup_peer_add(struct sup *s, int fd, struct err *e)
{
    static const struct mux_events events = {.on_request = on_request,
                                             .on_open = on_open};
    struct sup_peer *p;
    struct hello h;
    struct conn_options o = {.mux = {.hello = &h,
                                     .events = &events,
                                     .ping_ns = -1,
                                     .message_max = MESSAGE_MAX},
                             .on_closed = on_closed};
    int rc;

    if (s->n_peers == SUP_PEERS_MAX) {
        (void)close(fd);
        return err_set(e, ERR_BUSY, "too many connections to one job");
    }
    p = xcalloc(1, sizeof *p);
    p->sup = s;
    p->retell = timer_new(s->loop, tell_log_to, p);
    timer_set_idle(p->retell, true);
    hello_init(&h, HELLO_ROLE_SUPERVISE, GPURUN_VERSION);
    o.ctx = p;
    o.mux.ctx = p;
    rc = conn_new(&p->conn, s->loop, fd, fd, &o, e);
    hello_clear(&h);
    if (rc != 0) {
        timer_free(p->retell);
        free(p);
        return -1;
    }
    p->next = s->peers;
    s->peers = p;
    s->n_peers++;
    return 0;
}

static void
accepted(void *ctx, int fd, const struct unix_peer *peer)
{
    struct sup *s = ctx;
    struct err e;

    (void)peer;
    if (sup_peer_add(s, fd, &e) != 0) {
        sup_say(s, "%s", e.msg);
    }
}

int
sup_peer_listen(struct sup *s, struct err *e)
{
    return unix_listen(&s->listener, s->loop, s->dir.fd, "sock", accepted, s, e);
}

void
sup_peer_finish(struct sup *s)
{
    struct sup_peer *next;

    unix_listener_free(s->listener);
    s->listener = NULL;
    (void)unlinkat(s->dir.fd, "sock", 0);
    if (s->peers == NULL) {
        loop_stop(s->loop);
    }
    for (struct sup_peer *p = s->peers; p != NULL; p = next) {
        next = p->next;
        conn_finish(p->conn, NULL, NULL, FINISH_NS);
    }
}

void
sup_peer_free_all(struct sup *s)
{
    while (s->peers != NULL) {
        struct sup_peer *p = s->peers;

        s->peers = p->next;
        release(p);
    }
    loop_undefer(s->loop, tell_log, s);
    loop_undefer(s->loop, begin, s);
}
