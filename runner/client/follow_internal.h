#ifndef RUNNER_CLIENT_FOLLOW_INTERNAL_H
#define RUNNER_CLIENT_FOLLOW_INTERNAL_H

#include "runner/client/follow.h"

/* Following a job: its record, requests and signals (follow.c), and its streams
 * (follow_pipes.c). One thread. */

enum stream { OUT = 0, ERR, IN, TIMES, STREAMS };

struct pipe_end {
    struct follow *f;
    struct channel *channel; /* NULL: not wanted */
    struct sink *sink;       /* OUT, ERR */
    struct lines *lines;     /* of the sink; NULL: bytes as they are */
    bool heard;              /* to its end; what is left is only to be written */
    bool done;               /* ended, or of no more use */
};

struct follow {
    struct client *client;
    struct session *session;
    struct follow_options o;
    char job[JOB_ID_LEN + 1];
    struct pipe_end pipes[STREAMS];
    struct source *source;
    struct line_times *times; /* of TIMES; NULL: not wanted */
    struct timer *lines_go_on;
    const struct lines *open; /* where both outputs are one (lines.h) */
    struct timer *reopen;
    int64_t reopen_ns;
    struct signal_watch *watches[5];
    size_t n_watches;
    int64_t last_int_ns; /* boot clock; 0: none */
    int n_int;
    bool stop_wanted;
    int signals_waiting; /* SIGINTs for a job that is not there yet */
    struct wishes *wishes;
    struct call *follow_call;
    bool job_exists;
    bool over;
    struct follow_result result;
};

/* ---- follow.c ---- */

/* It is over, for that reason (with follow_end: none that could be told). The first one
 * stands. */
void follow_end(struct follow *f, enum follow_end end);
void follow_end_with(struct follow *f, enum follow_end end, const struct err *why);
/* A stream is written to its end: maybe that was all. */
void follow_look_for_end(struct follow *f);

/* ---- follow_pipes.c ---- */

/* What f->o wants: the channels, not yet opened, and what they are written to. */
int follow_make_pipes(struct follow *f, struct err *e) MUST_USE;
void follow_free_pipes(struct follow *f);
/* Open over c those that are not open and not at their end. */
void follow_open_pipes(struct follow *f, struct conn *c);
/* Are both outputs written to their last byte? */
bool follow_all_written(const struct follow *f);

#endif
