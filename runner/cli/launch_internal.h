#ifndef RUNNER_CLI_LAUNCH_INTERNAL_H
#define RUNNER_CLI_LAUNCH_INTERNAL_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "meter/grant.h"
#include "runner/cli/alerts.h"
#include "runner/cli/plan.h"
#include "runner/cli/progress.h"
#include "runner/cli/request.h"
#include "runner/client/config.h"
#include "runner/client/follow.h"
#include "runner/client/forward.h"
#include "runner/client/jobs.h"
#include "runner/client/place.h"
#include "runner/client/ports.h"
#include "runner/client/purse.h"
#include "runner/client/receipts.h"
#include "runner/client/session.h"
#include "runner/client/ship.h"
#include "runner/client/snaps.h"
#include "runner/job/notify.h"

/* A run under way; shared by the parts of launch. */
struct launch {
    struct cli *c;
    struct client *cl;
    const struct config *cfg;
    struct run_request *r;
    struct strings own_env; /* the request's, without the host's */
    struct purse *purse;    /* whose book pays */
    struct place *place;
    bool asked_booked; /* whether what was paid in front still holds */
    struct session *session;
    struct snap_infos sets; /* data sets of the hosts that were asked */
    struct ship *ship;
    struct plan plan;
    struct grant grant;
    struct buf spec_bytes;
    struct follow *follow;
    struct fetch *fetch;
    struct port_forward **ports; /* of --port; NULL before the job is there */
    struct call *submit;
    struct call *ack; /* of a checkpoint, asked of an operator's book */
    struct progress *progress;
    struct forward_progress forwarding;
    struct job_record record;
    struct job_seen *seen;
    int seen_lock;            /* -1: another client keeps count */
    struct job_seen unmapped; /* where no file could be had */
    int wallet_guard;         /* held from before the hold until the host is asked */
    bool submitted;           /* asked at least once: who knows */
    bool accepted;
    bool refused; /* the host's answer to submit: refusal */
    bool said_down;
    bool said_unbilled;
    bool said_dispute;
    struct alerts alerts;
    int64_t ship_wall_ns; /* when reading began */
    struct err refusal;
};

#define LAUNCH_EARLY_NS ((int64_t)120 * 1000000000) /* patience before there is a job */

/* launch_place.c: the hosts to ask, and one that fits (or why there is none). */
int launch_list_hosts(const struct launch *l, struct host_list *out,
                      struct err *e) MUST_USE;
int launch_find_place(struct launch *l, struct err *e) MUST_USE;

/* launch_name.c: a name belongs to one running job. ERR_EXISTS. */
int launch_check_name(struct cli *c, struct client *cl, const char *name,
                      struct err *e) MUST_USE;

/*
 * launch.c, launch_flight.c: what one run and many have in common. The environment of a
 * job on that host; its record here, not yet sent; the request.
 */
void launch_set_env(struct job_spec *s, const struct strings *own, const struct host *h);
void launch_fill_record(struct job_record *rec, const struct run_request *r,
                        const struct host *h, const struct grant *g, int64_t ship_wall_ns,
                        const struct buf *spec);
struct rec *launch_submit_request(const struct grant *g, const struct buf *spec_bytes,
                                  const struct strings *secrets);
/*
 * The host of s (NULL: none) never took that job: none is there, and its money is free
 * again. The record goes last: as long as it is there, who is killed here leaves
 * something that tells what is held. why: what is told anyway, and not twice; or NULL.
 */
void launch_forget(const struct cli *c, const struct client *cl, struct purse *purse,
                   struct session *s, const struct grant *g, const char *job,
                   const struct err *why);

/* launch_from.c: --from: find the snapshot; bring it to where the job will run. */
int launch_find_from(struct launch *l, struct err *e) MUST_USE;
int launch_move_from(struct launch *l, struct err *e) MUST_USE;
/* The key of a set-up that is known, for which the files of the snapshot are fetched. */
int launch_key_setup(struct launch *l, struct err *e) MUST_USE;

/* launch_data.c: --data: where the sets are; bring them to where the job will run. */
void launch_prefer_data(struct launch *l);
int launch_find_data(struct launch *l, struct err *e) MUST_USE;
int launch_find_setup(struct launch *l, struct err *e) MUST_USE; /* was it run there? */
int launch_move_data(struct launch *l, struct err *e) MUST_USE;
/* For many jobs, too: what all hosts have but that one (NULL: all); one set to a host. */
int launch_list_data(struct cli *c, struct client *cl, const char *but,
                     struct snap_infos *to, struct err *e) MUST_USE;
int launch_move_set(struct cli *c, struct client *cl, struct session *to,
                    const struct data_want *d, struct err *e) MUST_USE;

/* launch_flight.c: everything asked of the host, and what it answers. */
extern const struct follow_events launch_follow_events;
void launch_checkpoint(void *ctx, const char *lease, const struct buf *record);
void launch_progress_line(void *ctx, struct buf *out);
void launch_ship_changed(void *ctx);
void launch_close_ports(struct launch *l);

/* Is that cap one a run asks about, where there is somebody to ask? */
bool launch_asks(const struct cli *c, const struct config *cfg, int64_t cap_fen);

/*
 * ERR_INVALID: a cap above ask-above (fen) is of a project file's choosing (unasked:
 * request.h, cost_unasked), and nobody has said that it may be.
 */
int launch_check_unasked(const struct cli *c, const struct config *cfg, bool unasked,
                         int64_t cap_fen, struct err *e) MUST_USE;

#endif
