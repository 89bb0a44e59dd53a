#ifndef RUNNER_HOST_SERVE_WORK_H
#define RUNNER_HOST_SERVE_WORK_H

#include "runner/host/serve_internal.h"
#include "runner/host/serve_pace.h"

/*
 * Requests that read or write whole directories or stores: each has a thread of its own,
 * while the connection goes on. A client that is gone is answered nothing, but what was
 * begun is finished: it may come back and ask for the same again.
 */
struct serve_work {
    struct serve *serve;
    uint64_t id; /* of the request */
    /* On the thread, with the work as ctx. */
    int (*run)(void *ctx, struct err *e);
    /* On the loop, after run went well and while the client is there. */
    void (*answer)(struct serve_work *w);
    /* what it is about; not all of it in each */
    char snapshot[JOB_ID_LEN + 1];
    char other[JOB_ID_LEN + 1]; /* snapshot */
    char job[JOB_ID_LEN + 1];
    bool has_job;
    bool dry_run;
    int64_t named;   /* damaged files that the client knows already */
    bool only_looks; /* a machine that is about to park itself is not held up by it */
    struct sha256 tree;
    char *name;
    char *path;
    char *only;
    struct strings env;      /* K=V */
    struct rec *reply;       /* run may begin the answer */
    struct serve_pace *pace; /* NULL: how it goes is nobody's interest */
};

struct serve_work *serve_work_new(struct serve *s, uint64_t id);
/* Takes over w, also when it cannot be started: then the request was answered so. */
void serve_work_start(struct serve_work *w);
void serve_work_free(struct serve_work *w); /* not started */

/* A field that is an id; checked. */
int serve_need_id(const struct rec *req, const char *key, enum id_kind kind,
                  char to[JOB_ID_LEN + 1], struct err *e) MUST_USE;

#endif
