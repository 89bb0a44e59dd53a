#ifndef RUNNER_CLIENT_FOLLOW_H
#define RUNNER_CLIENT_FOLLOW_H

#include <regex.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/client/jobs.h"
#include "runner/client/session.h"
#include "runner/job/state.h"

/*
 * Watching a job: its output to our descriptors, our stdin to it, our signals to it,
 * and its state until it is final. A viewer only: whatever happens here, the job goes on.
 *
 * The session may lose its link and come back as often as it likes; output goes on
 * at the exact byte. While a follow exists it owns the session's events and the
 * signals INT, TERM, HUP, WINCH and CONT.
 */
struct follow;

struct follow_events {
    /*
     * The link is up (again): called before follow asks for anything on c. What has to
     * precede it in the same flight (ship, submit) goes here.
     */
    void (*before)(void *ctx, struct conn *c, bool first);
    /* The job's record, each time it changed. */
    void (*state)(void *ctx, const struct job_state *st);
    void (*down)(void *ctx, const struct failure *why, int64_t retry_ns);
    void (*back)(void *ctx);
    /* ^C: how it was understood. */
    void (*interrupt)(void *ctx, int times);
    /* Output that is no longer there. */
    void (*gap)(void *ctx, bool of_stderr, uint64_t from, uint64_t to);
};

struct follow_options {
    const char *job;
    bool want_out, want_err, want_stdin;
    bool only_present; /* what the log holds now, not what is still to come */
    bool no_signals;   /* ^C detaches instead of going to the job (logs -f, wait) */
    bool tty;          /* the job has a terminal: ours is raw, sizes are told */
    int64_t lines;     /* only the last so many that are there now; 0: as below */
    bool only_later;   /* nothing of what is there now; else from out_from, err_from */
    int64_t since_wall_ns; /* only what was written then or later; 0: all */
    const regex_t *grep;   /* only lines with that; NULL: all */
    bool timestamps;       /* before each line, when it was written */
    uint64_t out_from, err_from;
    struct job_seen *seen; /* kept up to date; NULL: not */
    const struct follow_events *events;
    void *ctx;
};

/* Why following is over. */
enum follow_end {
    FOLLOW_NONE = 0,
    FOLLOW_FINAL,    /* the job is final, all its output was written */
    FOLLOW_PRESENT,  /* only_present: all that was there was written */
    FOLLOW_SIGNAL,   /* we were told to go: `signal` */
    FOLLOW_STDOUT,   /* the reader of our stdout has gone */
    FOLLOW_LINK,     /* contact lost for good: e */
    FOLLOW_FAILED,   /* anything else: e */
    FOLLOW_CANCELLED /* follow_cancel: e */
};

struct follow_result {
    enum follow_end end;
    int signal;
    bool has_state;
    struct job_state state; /* the last one known */
    struct err e;
};

/* The session may be up or not; its events are follow's from now on. */
int follow_new(struct follow **out, struct client *cl, struct session *s,
               const struct follow_options *o, struct err *e) MUST_USE;
/* Ask for everything, if the session is up; else that happens once it is. */
void follow_start(struct follow *f);
/* Run the loop until it is over. The result stays f's. */
const struct follow_result *follow_run(struct follow *f);
/* End it from a callback, with *why. */
void follow_cancel(struct follow *f, const struct err *why);
/* ^C before there is a job to interrupt ends with FOLLOW_SIGNAL, until this is said. */
void follow_job_exists(struct follow *f);
bool follow_job_is_known(const struct follow *f); /* the host has told its state */
/* Puts terminal, signals and descriptors back. NULL allowed. */
void follow_free(struct follow *f);

#endif
