#ifndef RUNNER_CLIENT_ERRAND_H
#define RUNNER_CLIENT_ERRAND_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/client/session.h"

/*
 * Something that is fetched from one host, or goes from one to another, beside all else
 * on their sessions, which outlive it: begun when a link is up, begun anew on the next
 * one after a cut, over once. The caller fills in sessions, begin and ctx.
 */
struct errand {
    struct session *sessions[2]; /* [1] may be NULL */
    /* Do what the links that are up allow. ERR_LINK is waited out, else it fails. */
    int (*begin)(void *ctx, struct err *e);
    void *ctx;
    /* ---- looked at by the caller, changed here */
    bool over;
    bool failed;
    struct err why;
    /* ---- here alone */
    struct session_guest guests[2];
    bool open;
};

/* Begin. -1: it cannot; then it is closed. */
int errand_open(struct errand *x, struct err *e) MUST_USE;
void errand_close(struct errand *x); /* hears nothing more; open or not */

void errand_done(struct errand *x);                        /* over, unless it was */
void errand_fail(struct errand *x, const struct err *why); /* the same, and failed */
/* 0: it went well. -1: how not; unfinished: what to say (ERR_LINK) where it is not over.
 */
int errand_result(const struct errand *x, const char *unfinished, struct err *e) MUST_USE;

#endif
