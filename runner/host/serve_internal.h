#ifndef RUNNER_HOST_SERVE_INTERNAL_H
#define RUNNER_HOST_SERVE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/rec.h"
#include "runner/host/agent.h"
#include "runner/host/jobdir.h"
#include "runner/host/serve.h"
#include "runner/job/logseg.h"
#include "runner/job/state.h"
#include "runner/loop/child.h"
#include "runner/loop/conn.h"
#include "runner/loop/loop.h"

#define SERVE_LINKS_MAX 256 /* jobs one connection is busy with */
#define SERVE_SHIPS_MAX 16
#define SERVE_LOGS_MAX  512
#define SERVE_GETS_MAX  32
#define SERVE_WAITS_MAX 1024

/*
 * Something of the client that waits for something else of it: a request or an offer,
 * kept whole until serve_wait_go hands it in again.
 */
struct serve_wait {
    struct serve_wait *next;
    bool is_open;
    uint64_t id;     /* of the request */
    uint32_t stream; /* of the offer, and what it said */
    enum channel_class cls;
    uint8_t token[CHANNEL_TOKEN_LEN];
    uint64_t recv_start, send_start;
    bool recv_gaps;
    struct rec *rec;
};

struct store;

struct serve_link;  /* a job this connection is busy with (serve_link.c) */
struct serve_ship;  /* a tree on its way in (serve_ship.c) */
struct serve_log;   /* a log on its way out (serve_log.c) */
struct serve_get;   /* a tree on its way out (serve_get.c) */
struct serve_early; /* a directory that is made early (serve_early.h) */
struct serve_files; /* a listing on its way out (serve_files.c) */

struct serve {
    struct loop *loop;
    struct agent *agent;
    struct conn *conn;
    struct mux *mux; /* of conn; NULL once it is over */
    const char *forced;
    struct renter *renter; /* NULL before the client's HELLO */
    struct serve_link *links;
    struct serve_ship *ships;
    struct serve_log *logs;
    struct serve_get *gets;
    struct serve_files *files;
    struct child *upkeep; /* goes on when this connection does not */
    int hold_fd;          /* this connection holds parking off; -1: it does not */
    struct serve_early *early_in_memory; /* NULL, or which one keeps what it was told */
    size_t n_works; /* threads at work for this connection; it ends after them */
    size_t n_waits;
    struct err why; /* the connection's end */
    bool failed;
};

/* ---- serve.c ---- */

void serve_request(struct serve *s, uint64_t id, const struct rec *req);
void serve_open(struct serve *s, const struct mux_offer *offer);
void serve_fail(struct serve *s, uint64_t id, const struct err *why);
/*
 * From now on until the connection ends this host is not parked: it carries data, or a
 * job. ERR_BUSY: too late.
 */
int serve_hold(struct serve *s, struct err *e) MUST_USE;
/* A whole-number field that may be missing. */
int serve_flag(const struct rec *req, const char *key, bool *out, struct err *e) MUST_USE;
/* The job a request names; checked. */
int serve_job(const struct rec *req, const char **job, struct err *e) MUST_USE;

/* Keep a request or an offer in *list. false: too many wait; it was answered so. */
bool serve_wait_request(struct serve *s, struct serve_wait **list, uint64_t id,
                        const struct rec *req);
bool serve_wait_open(struct serve *s, struct serve_wait **list,
                     const struct mux_offer *offer);
/* Hand all of a list in again (why NULL), or fail them. The list is empty then. */
void serve_wait_go(struct serve *s, struct serve_wait **list, const struct err *why);

/* ---- serve_link.c: jobs ---- */

struct serve_link {
    struct serve *serve;
    struct serve_link *next;
    struct jobdir dir; /* fd -1 while it is being submitted */
    char job[JOB_ID_LEN + 1];
    struct conn *conn; /* to the supervisor; NULL: none */
    bool followed;     /* SUP_FOLLOW was answered */
    struct job_state state;
    uint64_t end[LOGSEG_STREAMS]; /* how far the log goes */
    bool events;                  /* the client wants state events */
    bool submitting;
    uint64_t submit_id;       /* the request that does */
    struct child *starter;    /* ends as soon as the supervisor is on its own */
    struct serve_wait *waits; /* for the submit, or for the job to be final */
    struct serve_wait *usage_waits;
    struct serve_wait *follow_waits; /* for how far the log goes */
    struct timer *retry;
    struct child *recover;
    uint64_t acked[LOGSEG_STREAMS];
    struct timer *ack_timer;
    int tries;
};

/*
 * The link to a job of this renter, made when there is none: its record is read, and
 * its supervisor connected to if it is not final. ERR_NOT_FOUND: no such job.
 */
int serve_link_get(struct serve *s, const char *job, struct serve_link **out,
                   struct err *e) MUST_USE;
struct serve_link *serve_link_find(const struct serve *s, const char *job);
/* A link without a record yet: its submit is under way. */
struct serve_link *serve_link_new(struct serve *s, const char *job);
/* It has a record now, and a supervisor at conn (may be NULL). */
void serve_link_begin(struct serve_link *l, struct jobdir *dir, struct conn *conn,
                      const struct job_state *state);
void serve_link_free(struct serve_link *l);
bool serve_link_is_final(const struct serve_link *l);
/* Pass a request on as it came, and its answer back. */
void serve_link_forward(struct serve_link *l, uint64_t id, const struct rec *req);
void serve_link_acked(struct serve_link *l, enum logseg_stream stream, uint64_t offset);
void serve_links_free(struct serve *s);
extern const struct mux_events serve_link_events;
void serve_link_closed(void *ctx, struct conn *c, const struct err *why);
void serve_link_follow(struct serve_link *l);

/* ---- serve_submit.c ---- */

void serve_submit(struct serve *s, uint64_t id, const struct rec *req);
/* What request id waited for does not come: is it a submit? Then it is over, answered,
 * and with it all that waits for that; the same job may be submitted once more. */
bool serve_submit_fail(struct serve *s, uint64_t id, const struct err *why);

/* ---- serve_log.c ---- */

void serve_log_open(struct serve *s, const struct mux_offer *offer,
                    enum logseg_stream stream);
void serve_log_grown(struct serve_link *l); /* new ends, or final */
void serve_logs_free(struct serve *s);

/* ---- serve_ship.c ---- */

void serve_ship_open(struct serve *s, const struct mux_offer *offer);
/*
 * Is that tree here? *wait: no, but it is on its way in; keep the request there.
 */
bool serve_ship_has(struct serve *s, const struct sha256 *tree,
                    struct serve_wait ***wait);
void serve_ships_stop(struct serve *s); /* what is at work for them is to end */
void serve_ships_free(struct serve *s);

/* ---- serve_get.c ---- */

void serve_get_open(struct serve *s, const struct mux_offer *offer);
void serve_gets_free(struct serve *s);

/* ---- serve_files.c ---- */

void serve_files_open(struct serve *s, const struct mux_offer *offer);
void serve_files_free(struct serve *s);

/* ---- verbs_*.c: requests answered from files ---- */

struct serve_verb {
    const char *name;
    void (*run)(struct serve *s, uint64_t id, const struct rec *req);
};
extern const struct serve_verb serve_verbs_job[];
extern const struct serve_verb serve_verbs_snap[];
extern const struct serve_verb serve_verbs_host[];
extern const struct serve_verb serve_verbs_reserve[];
extern const struct serve_verb serve_verbs_data[];
extern const struct serve_verb serve_verbs_datasets[];
extern const struct serve_verb serve_verbs_top[];
extern const struct serve_verb serve_verbs_store[];

/* The connection is over: wait for what is still at work for it. */
void serve_data_finish(struct serve *s);

/* true: the tree was shipped on this connection; else the request waits, or is refused.
 */
bool serve_tree_is_here(struct serve *s, uint64_t id, const struct rec *req,
                        const struct sha256 *tree);

struct manifest;
struct snap_claim;
/* A field `snap` of an answer: one snapshot or data set. */
void serve_add_snap(struct rec *to, const struct manifest *m, const struct snap_claim *c);
/* The answer of a snapshot verb; with_manifest: its signed bytes too. */
int serve_answer_snap(struct serve *s, uint64_t id, const char *verb, struct store *st,
                      const char *snapshot, bool with_manifest, struct err *e) MUST_USE;

#endif
