#ifndef RUNNER_CLI_BATCH_INTERNAL_H
#define RUNNER_CLI_BATCH_INTERNAL_H

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "meter/grant.h"
#include "runner/cli/batch.h"
#include "runner/cli/progress.h"
#include "runner/client/forward.h"
#include "runner/client/jobs.h"
#include "runner/client/place.h"
#include "runner/client/purse.h"
#include "runner/client/receipts.h"
#include "runner/client/ship.h"
#include "runner/client/snaps.h"
#include "runner/client/wishes.h"
#include "runner/job/state.h"

/*
 * A batch under way; shared by its parts.
 *
 *     queued → sent → accepted → released (its devices are free) → done
 *        ^______|  refused for want of a device
 */
enum batch_stage {
    BATCH_QUEUED = 0,
    BATCH_SENT,     /* asked for; who knows */
    BATCH_ACCEPTED, /* the host has it */
    BATCH_DONE,     /* ended, lost, never started, or out of sight: code and why */
};

struct batch;
struct batch_host;
struct due_live;
struct outs;

/* So often a directory is read that is not what it was once it has been sent. */
#define BATCH_READS_MAX 3

/* One directory that jobs start from, and one sender of it per host. */
struct batch_root {
    const struct run_request *like; /* of the first job: what is shipped */
    struct ship **ships;            /* by host; NULL: not yet, or to be read anew */
    unsigned *n_changed;            /* by host: how often it was read in vain, */
    struct err changed;             /* the last time because of this */
    int64_t wall_ns;                /* when reading began */
};

struct batch_job {
    struct batch *b;
    int64_t index; /* the array's index; the line of a file */
    struct run_request r;
    struct strings own_env; /* the request's, without the host's */
    struct batch_root *root;
    enum batch_stage stage;
    int64_t asked_time_s, asked_window_s; /* before a host or a cap cut them */
    bool released;
    bool refused; /* the host's answer to submit: why; worked off by batch_settle */
    struct batch_host *host;
    char type[CARD_WORD_MAX + 1]; /* of the devices it was placed on */
    struct grant grant;
    struct buf spec_bytes;
    struct job_record record;
    int wallet_guard;
    struct fetch *fetch;
    struct call *submit;
    struct call *follow;
    struct job_state state;
    struct job_seen *seen; /* what --notify was told of; NULL: only here */
    int seen_lock;
    uint64_t told;
    bool has_state;
    int64_t final_boot_ns; /* when its end was seen; 0: not yet */
    int code;              /* of a job that is done */
    struct err why;        /* with words where it never ran, or is out of sight */
    int64_t charge_fen;    /* -1: not known */
    struct outs *outs;     /* on their way here, its bill is; NULL: none are */
    const char *copy_to;   /* its data is to be copied there still; NULL: no */
    bool copying;          /* it is on its way */
    unsigned n_copy_cuts;  /* how often its own host's link was cut under that */
};

/* Where copies go: one after another, beside those that go elsewhere. */
struct batch_target {
    char *to;
    struct session *session;   /* NULL: not opened, or closed since it failed */
    unsigned n_failed;         /* attempts in a row to reach it */
    int64_t failed_boot_ns;    /* the last one, */
    int64_t retry_boot_ns;     /* the next, */
    struct err why;            /* and why */
    struct batch_job *copying; /* whose data is on its way there; NULL: nobody's */
    struct forward *copy;
    struct forward_progress copied;
    struct copies_drop *drop; /* that is there: what it replaces goes */
};

/* Devices of one type that changed hands by us since the host was last asked. */
struct batch_use {
    char device_class[CARD_WORD_MAX + 1];
    char type[CARD_WORD_MAX + 1];
    int64_t n;
};
#define BATCH_USES_MAX 32

struct batch_host {
    struct batch *b;
    size_t at;               /* in the place's list */
    struct session *session; /* NULL: not taken */
    struct wishes *wishes;
    struct due_live *live; /* copies of what its jobs keep on the way; NULL: none do */
    struct batch_use uses[BATCH_USES_MAX];
    size_t n_uses;
    bool said_down;
};

/* A data set that goes to a host before anything starts. */
struct batch_move {
    char *to;
    struct data_want set; /* name, id, from, stored_bytes */
};

struct batch {
    struct cli *c;
    struct client *cl;
    const struct config *cfg;
    struct batch_job *jobs;
    size_t n;
    struct batch_root *roots;
    size_t n_roots;
    struct purse *purse;
    struct place *place;
    struct batch_host *hosts;
    size_t n_hosts;
    size_t n_active; /* sent or accepted */
    size_t n_done;
    int64_t can_run_s;   /* the longest that any of them could run */
    size_t first_queued; /* none before it is */
    bool look;           /* something may be startable now */
    bool held_back;      /* no more are to be started */
    int signal;          /* to go by; 0: none */
    int n_interrupts;
    int64_t idle_since_ns; /* nothing of ours runs; 0: something does */
    int64_t over_since_ns; /* nothing of ours will run any more; 0: something may */
    struct progress *progress;
    size_t n_to_copy; /* snapshots, those on their way included */
    struct batch_target **targets;
    size_t n_targets;
    struct snap_infos sets; /* data sets: where they are, or will be when jobs start */
    struct batch_move *moves;
    size_t n_moves;
};

/* batch_jobs.c: lines or an array into jobs. ERR_INVALID names the line. */
int batch_make_jobs(struct batch *b, const struct run_options *o, const struct words *w,
                    struct err *e) MUST_USE;
void batch_free_jobs(struct batch *b);

/* batch_place.c: a host with room for it now, or NULL; can any host ever have it? */
const struct candidate *batch_find_room(struct batch *b, struct batch_job *j);
int batch_check_place(struct batch *b, struct batch_job *j, struct err *e) MUST_USE;
/* The cheapest host that can ever have it, busy or not; with_data: of those that have its
 * data sets. NULL: none. */
const struct candidate *batch_cheapest(struct batch *b, struct batch_job *j,
                                       bool with_data);
/* Devices of j's type on its host: n given back (taken, below 0). */
void batch_count(struct batch_job *j, int64_t n);
int batch_ask_again(struct batch *b, struct err *e) MUST_USE; /* all hosts */
/* The highest cap that any host it may come to would get; keep: what is sent. And the
 * longest that it could run: b's own grows to that. */
int64_t batch_cap(struct batch *b, struct batch_job *j, int64_t keep_bytes);

/* batch_flight.c: start it there; what the hosts answer. */
int batch_start(struct batch_job *j, const struct candidate *there,
                struct err *e) MUST_USE;
void batch_close_job(struct batch_job *j);
void batch_settle(struct batch *b); /* what was refused: back into the queue, or done */
void batch_interrupt(struct batch *b); /* ^C, once more */

/* batch_ship.c: j's directory, read for that host. ERR_BUSY: so often, and it changed. */
int batch_ship(struct batch_job *j, struct batch_host *h, struct ship **out,
               const struct build_report **report, struct err *e) MUST_USE;
/* Its files could not be sent, since they changed (ship_has_changed). */
bool batch_has_changed(const struct batch_job *j);
/* Others on that host wait for the same files, and have no answer yet. */
bool batch_is_awaited(const struct batch_job *j);
bool batch_may_read_again(const struct batch_job *j);
int batch_wrap_changed(struct err *e); /* no: says how often it was. -1 */
/* What changed, and is not waited for any more, is read anew for whoever comes next. */
void batch_read_anew(struct batch *b);
void batch_free_ships(struct batch *b);

/* batch_data.c: --data. Find the sets of all jobs, and which have to travel first. */
int batch_find_data(struct batch *b, struct err *e) MUST_USE;
bool batch_has_data(const struct batch *b, const struct batch_job *j, size_t at);
/* Into its specification: the sets as that host has them. */
int batch_take_data(struct batch_job *j, const char *host, struct err *e) MUST_USE;
/* What has to travel: a line each; as JSON; let it. */
struct json_writer;
void batch_say_data(const struct batch *b, struct buf *out);
void batch_json_data(const struct batch *b, struct json_writer *j);
int batch_move_data(struct batch *b, struct err *e) MUST_USE;
void batch_free_data(struct batch *b);

/*
 * batch_mirror.c: copies of what jobs left, beside those that run; nothing here runs the
 * loop. A host that cannot be reached is tried again, and once more when all have ended.
 * And of what they keep on the way, as for single jobs (due_live), until the end.
 */
void batch_mirror_live(struct batch_job *j);
void batch_mirror_end_live(struct batch_job *j); /* not in a callback */
void batch_mirror_want(struct batch_job *j);     /* its data is to be copied, if so */
void batch_mirror_step(struct batch *b);         /* go on */
bool batch_mirror_news(const struct batch *b);
void batch_mirror_line(const struct batch *b, struct buf *out); /* of the progress */
void batch_mirror_close(struct batch *b);                       /* names what is left */

/* batch.c: is any cap of a project file's choosing? (request.h, cost_unasked) */
bool batch_is_unasked(const struct batch *b);

/* batch_view.c */
/* "3 jobs, at most ¥6.00 in all; each stops by itself after …" */
void batch_sum_text(const struct batch *b, int64_t cap_fen, struct buf *out);
int batch_print_plan(const struct batch *b, const int64_t *caps, struct err *e) MUST_USE;
int batch_print_end(const struct batch *b, struct err *e) MUST_USE;
void batch_say_done(const struct batch_job *j);
void batch_progress_line(void *ctx, struct buf *out);
/*
 * 0 if all are; 103 if any job is out of sight, 105 if any is lost; else that of the
 * first in the file's order that is not 0; 130 where ^C left the rest unstarted.
 */
int batch_exit_code(const struct batch *b);

#endif
