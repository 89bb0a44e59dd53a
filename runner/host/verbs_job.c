#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "meter/grant.h"
#include "runner/host/serve_internal.h"
#include "runner/host/supervise.h"
#include "runner/job/verbs.h"
#include "runner/wire/msg.h"

static void
answer_state(struct serve *s, uint64_t id, const char *verb, const struct job_state *st)
{
    struct rec *r = msg_answer_new(verb);

    state_put(r, st);
    mux_respond(s->mux, id, r);
    rec_free(r);
}

/*
 * The link of the job a request names. NULL: it waits for its submit, or was refused;
 * nothing more is to be done.
 */
static struct serve_link *
link_of(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_link *l;
    const char *job;
    struct err e;

    if (serve_job(req, &job, &e) != 0) {
        serve_fail(s, id, &e);
        return NULL;
    }
    l = serve_link_find(s, job);
    if (l != NULL && l->submitting) {
        (void)serve_wait_request(s, &l->waits, id, req);
        return NULL;
    }
    if (serve_link_get(s, job, &l, &e) != 0) {
        serve_fail(s, id, &e);
        return NULL;
    }
    return l;
}

/* ---- listing ---- */

static void
add_file(struct rec *r, const struct jobdir *d, const char *name, size_t max_bytes)
{
    struct buf b = BUF_INIT;
    struct err none;

    if (jobdir_read(d, name, max_bytes, &b, &none) == 0) {
        rec_add_bytes(r, name, b.data, b.len);
    }
    buf_free(&b);
}

static void
list_one(struct serve *s, struct rec *r, const char *job, bool all)
{
    struct serve_link *l = serve_link_find(s, job);
    struct job_state st;
    struct jobdir d;
    struct err none;

    state_init(&st);
    if (jobdir_open(&d, s->renter, job, &none) != 0) {
        return;
    }
    if (jobdir_state(&d, &st, &none) == 0) {
        bool final = job_phase_is_final(st.phase);

        if (!final && (l == NULL || l->conn == NULL)) {
            /* Nobody may have noticed yet that its supervisor is gone. */
            (void)!serve_link_get(s, job, &l, &none);
        }
        if (all || !final) {
            state_put(r, &st);
        }
    }
    state_free(&st);
    jobdir_close(&d);
}

static void
job_list(struct serve *s, uint64_t id, const struct rec *req)
{
    struct rec *r = NULL;
    struct job_ids ids;
    struct err e;
    bool all;

    if (serve_flag(req, "all", &all, &e) != 0 ||
        (all ? jobdir_list(s->renter, &ids, &e)
             : jobdir_list_active(s->renter, &ids, &e)) != 0) {
        serve_fail(s, id, &e);
        return;
    }
    r = msg_answer_new(VERB_JOB_LIST);
    for (size_t i = 0; i < ids.n; i++) {
        list_one(s, r, ids.v[i], all);
    }
    mux_respond(s->mux, id, r);
    rec_free(r);
    job_ids_free(&ids);
}

static void
job_show(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_link *l = link_of(s, id, req);
    struct rec *r;

    if (l == NULL) {
        return;
    }
    r = msg_answer_new(VERB_JOB_SHOW);
    add_file(r, &l->dir, "spec", SPEC_MAX_BYTES);
    add_file(r, &l->dir, "grant", GRANT_MAX_BYTES);
    add_file(r, &l->dir, "state", STATE_MAX_BYTES);
    mux_respond(s->mux, id, r);
    rec_free(r);
}

static void
job_follow(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_link *l = link_of(s, id, req);

    if (l != NULL) {
        l->events = true;
        answer_state(s, id, VERB_JOB_FOLLOW, &l->state);
    }
}

/* ---- for the supervisor ---- */

static void
forward(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_link *l = link_of(s, id, req);

    if (l != NULL) {
        serve_link_forward(l, id, req);
    }
}

/* Stopping what has ended is no error: the answer is how it ended. */
static void
job_stop(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_link *l = link_of(s, id, req);

    if (l == NULL) {
        return;
    }
    if (serve_link_is_final(l)) {
        answer_state(s, id, VERB_JOB_STOP, &l->state);
    } else {
        serve_link_forward(l, id, req);
    }
}

/* ---- the usage journal ---- */

static void
give_cosign(struct serve_link *l, const struct rec *req)
{
    size_t len;
    const char *text = rec_get_bytes(req, "cosign", &len);
    struct mux *m = l->conn == NULL ? NULL : conn_mux(l->conn);
    struct rec *r;
    struct err none;

    if (text == NULL || m == NULL) {
        return;
    }
    r = msg_request_new(SUP_COSIGN);
    rec_add_bytes(r, "cosign", text, len);
    (void)!mux_request(m, r, NULL, NULL, NULL, &none);
    rec_free(r);
}

static int
read_journal(struct serve_link *l, int64_t from, struct rec *r, bool *enough,
             struct err *e)
{
    int fd = -1;
    uint8_t *part = xmalloc(JOB_USAGE_CHUNK_MAX + 1);
    ssize_t n;
    int rc = -1;

    if (file_open_beneath(l->dir.fd, "usage", O_RDONLY, 0, &fd, e) != 0) {
        goto out;
    }
    n = fd_pread_full(fd, part, JOB_USAGE_CHUNK_MAX + 1, (off_t)from);
    if (n < 0) {
        err_set(e, ERR_SYSTEM, "cannot read the usage journal of job %s", l->job);
        goto out;
    }
    *enough = (size_t)n > JOB_USAGE_CHUNK_MAX;
    rec_add_bytes(r, "journal", part, *enough ? JOB_USAGE_CHUNK_MAX : (size_t)n);
    rec_add_int(r, "end", !*enough && serve_link_is_final(l) ? 1 : 0);
    rc = 0;

out:
    (void)fd_close(&fd);
    free(part);
    return rc;
}

static void
job_usage(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_link *l = link_of(s, id, req);
    struct rec *r;
    struct err e;
    int64_t from;
    bool wait;
    bool enough = false;

    if (l == NULL) {
        return;
    }
    if (rec_opt_int(req, "from", 0, INT64_MAX, 0, &from, &e) != 0 ||
        serve_flag(req, "wait", &wait, &e) != 0) {
        serve_fail(s, id, &e);
        return;
    }
    give_cosign(l, req);
    r = msg_answer_new(VERB_JOB_USAGE);
    if (read_journal(l, from, r, &enough, &e) != 0) {
        serve_fail(s, id, &e);
    } else if (wait && !enough && !serve_link_is_final(l)) {
        (void)serve_wait_request(s, &l->usage_waits, id, req);
    } else {
        mux_respond(s->mux, id, r);
    }
    rec_free(r);
}

const struct serve_verb serve_verbs_job[] = {
    {VERB_JOB_SUBMIT, serve_submit},
    {VERB_JOB_LIST, job_list},
    {VERB_JOB_SHOW, job_show},
    {VERB_JOB_FOLLOW, job_follow},
    {VERB_JOB_STOP, job_stop},
    {VERB_JOB_SIGNAL, forward},
    {VERB_JOB_EXTEND, forward},
    {VERB_JOB_USAGE, job_usage},
    {NULL, NULL},
};
