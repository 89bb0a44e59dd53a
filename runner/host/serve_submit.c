#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/host/serve_internal.h"
#include "runner/host/supervise.h"
#include "runner/job/spec.h"
#include "runner/job/verbs.h"
#include "runner/loop/unix.h"
#include "runner/wire/msg.h"

/* A submit that waits for its supervisor's word. */
struct submit {
    struct serve *serve;
    struct serve_link *link;
    uint64_t id;
};

static void
answer(struct serve *s, uint64_t id, const struct job_state *st)
{
    struct rec *r = msg_answer_new(VERB_JOB_SUBMIT);

    state_put(r, st);
    mux_respond(s->mux, id, r);
    rec_free(r);
}

/* ---- repeated submits ---- */

/* The same body: the same answer. Another one: refused. *done: it was answered. */
static int
answer_known(struct serve *s, uint64_t id, const struct job_spec *spec,
             const struct rec *req, bool *done, struct err *e)
{
    struct serve_link *l;
    struct buf kept = BUF_INIT;
    struct jobdir d;
    struct err why;
    size_t len;
    const char *text = rec_get_bytes(req, "spec", &len);
    int rc = -1;

    *done = false;
    if (jobdir_open(&d, s->renter, spec->job, &why) != 0) {
        if (why.code == ERR_NOT_FOUND) {
            return 0;
        }
        *e = why;
        return -1;
    }
    if (jobdir_read(&d, "spec", SPEC_MAX_BYTES, &kept, e) != 0) {
        goto out;
    }
    if (kept.len != len || memcmp(kept.data, text, len) != 0) {
        err_set(e, ERR_EXISTS, "there is another job %s already", spec->job);
        goto out;
    }
    if (serve_link_get(s, spec->job, &l, e) == 0) {
        answer(s, id, &l->state);
        *done = true;
        rc = 0;
    }

out:
    buf_free(&kept);
    jobdir_close(&d);
    return rc;
}

/* ---- the supervisor ---- */

/* The request and all that counted on it fail; the link goes. */
static void
give_up(struct serve_link *l, uint64_t id, const struct err *why)
{
    struct err e;

    serve_fail(l->serve, id, why);
    e = *why;
    e.code = ERR_NOT_FOUND;
    err_wrap(&e, "not submitted");
    serve_wait_go(l->serve, &l->waits, &e);
    serve_link_free(l);
}

bool
serve_submit_fail(struct serve *s, uint64_t id, const struct err *why)
{
    for (struct serve_link *l = s->links; l != NULL; l = l->next) {
        if (l->submitting && l->submit_id == id) {
            give_up(l, id, why);
            return true;
        }
    }
    return false;
}

static int
submit_done(struct submit *u, const struct rec *resp, struct err *e)
{
    struct serve_link *l = u->link;
    struct rec *sub = NULL;
    struct job_state st;
    struct jobdir d;
    size_t len;
    const char *text = rec_get_bytes(resp, "state", &len);

    if (text == NULL) {
        return err_set(e, ERR_CORRUPT, "the supervisor answered without a state");
    }
    if (rec_parse(&sub, text, len, STATE_TYPE, e) != 0) {
        return -1;
    }
    state_init(&st);
    if (state_parse(&st, sub, e) != 0 ||
        jobdir_open(&d, u->serve->renter, l->job, e) != 0) {
        rec_free(sub);
        return -1;
    }
    rec_free(sub);
    serve_link_begin(l, &d, l->conn, &st);
    state_free(&st);
    answer(u->serve, u->id, &l->state);
    serve_wait_go(u->serve, &l->waits, NULL);
    return 0;
}

static void
on_started(void *ctx, const struct rec *resp, const struct err *why, const char *hint)
{
    struct submit *u = ctx;
    struct err e;

    (void)hint;
    if (u->serve->mux == NULL) { /* nobody to tell; the job goes on */
        free(u);
        return;
    }
    if (why != NULL) {
        give_up(u->link, u->id, why);
    } else if (submit_done(u, resp, &e) != 0) {
        give_up(u->link, u->id, &e);
    }
    free(u);
}

static void
starter_ended(void *ctx, const struct child_end *end)
{
    struct serve_link *l = ctx;

    (void)end; /* what matters is what the supervisor says */
    child_free(l->starter);
    l->starter = NULL;
}

static int
start_supervisor(struct serve_link *l, int fd, struct err *e)
{
    struct serve *s = l->serve;
    char *argv[] = {(char *)(uintptr_t) "gpurun-agent", (char *)(uintptr_t) "supervise",
                    s->renter->id, l->job, NULL};
    int fds[4] = {-1, -1, -1, fd};
    struct child_options o = {
        .file = "/proc/self/exe", .argv = argv, .fds = fds, .n_fds = 4};

    return child_start(&l->starter, s->loop, &o, starter_ended, l, e);
}

static int
connect_new(struct serve_link *l, int fd, struct err *e)
{
    struct hello h;
    struct conn_options o = {.mux = {.initiator = true,
                                     .hello = &h,
                                     .events = &serve_link_events,
                                     .ctx = l,
                                     .ping_ns = -1},
                             .on_closed = serve_link_closed,
                             .ctx = l};
    int rc;

    hello_init(&h, HELLO_ROLE_SERVE, GPURUN_VERSION);
    rc = conn_new(&l->conn, l->serve->loop, fd, fd, &o, e);
    hello_clear(&h);
    return rc;
}

static struct rec *
start_request(const struct rec *req)
{
    struct rec *r = msg_request_new(SUP_START);
    size_t len;

    for (size_t i = 0; i < rec_n_fields(req); i++) {
        const char *value;
        const char *key = rec_field(req, i, &value, &len);

        if (strcmp(key, "spec") == 0 || strcmp(key, "grant") == 0 ||
            strcmp(key, "secret") == 0) {
            rec_add_bytes(r, key, value, len);
        }
    }
    return r;
}

/* A supervisor that has no job yet; it ends should its connection end first. */
static int
call_supervisor(struct serve_link *l, struct err *e)
{
    int fds[2] = {-1, -1};
    int rc = -1;

    child_free(l->starter); /* of one that was called early, and is gone */
    l->starter = NULL;
    if (unix_pair(fds, e) == 0 && start_supervisor(l, fds[1], e) == 0) {
        rc = connect_new(l, fds[0], e);
        fds[0] = -1;
    }
    (void)fd_close(&fds[0]);
    (void)fd_close(&fds[1]);
    return rc;
}

static int
start(struct serve_link *l, uint64_t id, const struct rec *req, struct err *e)
{
    struct submit *u;
    struct rec *r;
    int rc;

    if (l->conn == NULL && call_supervisor(l, e) != 0) {
        return -1;
    }
    u = xcalloc(1, sizeof *u);
    *u = (struct submit){l->serve, l, id};
    r = start_request(req);
    rc = mux_request(conn_mux(l->conn), r, on_started, u, NULL, e);
    rec_free(r);
    if (rc != 0) {
        free(u);
    }
    return rc;
}

/*
 * The files are on their way: a supervisor gets itself ready meanwhile. One of all that
 * wait on this connection, for many may wait for long.
 */
static void
start_early(struct serve_link *l)
{
    struct err none; /* when it is needed it is tried again, and told */

    for (const struct serve_link *o = l->serve->links; o != NULL; o = o->next) {
        if (o->submitting && (o->conn != NULL || o->starter != NULL)) {
            return;
        }
    }
    (void)!call_supervisor(l, &none);
}

/* ---- the request ---- */

static int
parse_spec(const struct rec *req, struct job_spec *spec, struct err *e)
{
    size_t len;
    const char *text = rec_get_bytes(req, "spec", &len);
    struct rec *r = NULL;
    int rc;

    if (text == NULL || len > SPEC_MAX_BYTES) {
        return err_set(e, ERR_INVALID, "the job's specification is missing or too long");
    }
    if (rec_parse(&r, text, len, SPEC_TYPE, e) != 0) {
        return -1;
    }
    rc = spec_parse(spec, r, e);
    rec_free(r);
    return rc;
}

/* *waits: its files are still on their way; it comes again when they are here. */
static int
check_shipped(struct serve *s, uint64_t id, const struct job_spec *spec,
              const struct rec *req, bool *waits, struct err *e)
{
    struct serve_wait **list = NULL;

    *waits = false;
    if (!spec->has_tree || serve_ship_has(s, &spec->tree, &list)) {
        return 0;
    }
    if (list == NULL) {
        return err_set(e, ERR_NOT_FOUND, "the job's files were not shipped to this host");
    }
    *waits = true;
    (void)serve_wait_request(s, list, id, req);
    return 0;
}

void
serve_submit(struct serve *s, uint64_t id, const struct rec *req)
{
    struct job_spec spec;
    struct serve_link *l;
    struct err e;
    bool done = false;

    if (parse_spec(req, &spec, &e) != 0) {
        serve_fail(s, id, &e);
        return;
    }
    l = serve_link_find(s, spec.job);
    if (l != NULL && l->submitting && l->submit_id != id) {
        (void)serve_wait_request(s, &l->waits, id, req);
        goto out;
    }
    if (l == NULL || !l->submitting) {
        if (answer_known(s, id, &spec, req, &done, &e) != 0) {
            serve_fail(s, id, &e);
            goto out;
        }
        if (done) {
            goto out;
        }
        /* From now on, what names this job waits for its submit. */
        l = serve_link_new(s, spec.job);
        l->submitting = true;
        l->submit_id = id;
    }
    if (serve_hold(s, &e) != 0 || check_shipped(s, id, &spec, req, &done, &e) != 0 ||
        (!done && start(l, id, req, &e) != 0)) {
        give_up(l, id, &e);
    } else if (done) {
        start_early(l);
    }

out:
    spec_free(&spec);
}
