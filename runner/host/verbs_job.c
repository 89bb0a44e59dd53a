#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "meter/grant.h"
#include "runner/host/declines.h"
#include "runner/host/keepline.h"
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
add_file(struct rec *r, const char *key, const struct jobdir *d, const char *name,
         size_t max_bytes)
{
    struct buf b = BUF_INIT;
    struct err none;

    if (jobdir_read(d, name, max_bytes, &b, &none) == 0) {
        rec_add_bytes(r, key, b.data, b.len);
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

/* The one in force: an extension is numbered, and has to be followed by a higher one. */
static void
newest_grant(const struct jobdir *d, char name[32])
{
    int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd == -1 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    int64_t newest = 0;

    (void)snprintf(name, 32, "grant");
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        struct err none;
        int64_t seq;

        if (strncmp(entry->d_name, "grant.", 6) == 0 &&
            text_parse_int(entry->d_name + 6, 1, INT64_MAX, "seq", &seq, &none) == 0 &&
            seq > newest) {
            newest = seq;
            (void)snprintf(name, 32, "grant.%" PRId64, seq);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    } else {
        (void)fd_close(&fd);
    }
}

static void
job_show(struct serve *s, uint64_t id, const struct rec *req)
{
    struct serve_link *l = link_of(s, id, req);
    char grant[32];
    struct rec *r;

    if (l == NULL) {
        return;
    }
    r = msg_answer_new(VERB_JOB_SHOW);
    newest_grant(&l->dir, grant);
    add_file(r, "spec", &l->dir, "spec", SPEC_MAX_BYTES);
    add_file(r, "grant", &l->dir, grant, GRANT_MAX_BYTES);
    add_file(r, "state", &l->dir, "state", STATE_MAX_BYTES);
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

/* ---- leases that came to nothing ---- */

static void
lease_decline(struct serve *s, uint64_t id, const struct rec *req)
{
    struct buf out = BUF_INIT;
    struct rec *r;
    struct err e;
    size_t len;
    const char *grant = rec_get_bytes(req, "grant", &len);

    if (grant == NULL || len > GRANT_MAX_BYTES) {
        err_set(&e, ERR_INVALID, "the grant is missing or too long");
        serve_fail(s, id, &e);
        return;
    }
    if (declines_make(s->agent, s->renter, grant, len, &out, &e) != 0) {
        serve_fail(s, id, &e);
        return;
    }
    r = msg_answer_new(VERB_LEASE_DECLINE);
    rec_add_bytes(r, "declined", out.data, out.len);
    mux_respond(s->mux, id, r);
    rec_free(r);
    buf_free(&out);
}

/* ---- what keeping its data cost ---- */

static void
job_keeping(struct serve *s, uint64_t id, const struct rec *req)
{
    struct buf line = BUF_INIT;
    const char *job;
    struct rec *r;
    struct err e;

    if (serve_job(req, &job, &e) != 0 ||
        keepline_get(s->agent, s->renter, job, &line, &e) != 0) {
        serve_fail(s, id, &e);
        buf_free(&line);
        return;
    }
    r = msg_answer_new(VERB_JOB_KEEPING);
    rec_add_bytes(r, "keeping", line.data, line.len);
    mux_respond(s->mux, id, r);
    rec_free(r);
    buf_free(&line);
}

const struct serve_verb serve_verbs_job[] = {
    {VERB_JOB_KEEPING, job_keeping}, {VERB_LEASE_DECLINE, lease_decline},
    {VERB_JOB_SUBMIT, serve_submit}, {VERB_JOB_LIST, job_list},
    {VERB_JOB_SHOW, job_show},       {VERB_JOB_FOLLOW, job_follow},
    {VERB_JOB_STOP, job_stop},       {VERB_JOB_SIGNAL, forward},
    {VERB_JOB_EXTEND, forward},      {VERB_JOB_RESERVE, forward},
    {VERB_JOB_USAGE, job_usage},     {NULL, NULL},
};
