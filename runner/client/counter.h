#ifndef RUNNER_CLIENT_COUNTER_H
#define RUNNER_CLIENT_COUNTER_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "base/sign.h"
#include "runner/client/hosts.h"
#include "runner/client/session.h"

/*
 * Talking to an operator's book: `gpurun-book serve`, started over SSH (or by a forced
 * command) and spoken to in the wire of the agents. How it is reached is a struct host
 * whose command names the program; key, where pinned, is the book's.
 *
 * All that is asked of a book may be asked again, so a call that a cut link swallowed is
 * made once more over a new one. Belongs to the loop's thread.
 */
#define COUNTER_COMMAND   "gpurun-book serve"
#define COUNTER_ANSWER_NS ((int64_t)60 * 1000000000)

struct counter;

/* Begin to connect. h is copied; host_key as in session.h, or NULL. */
int counter_open(struct counter **out, struct client *cl, const struct host *h,
                 const char *host_key, struct err *e) MUST_USE;
void counter_close(struct counter *c); /* at any time; NULL allowed */

/*
 * Run the loop until the book has answered. ERR_LINK: it cannot be reached, in words that
 * name it; ERR_DENIED: another key than the pinned one, or it lets nobody in.
 */
int counter_wait(struct counter *c, struct err *e) MUST_USE;
/* After that: the book's key, and its fee. */
const struct sign_public *counter_key(const struct counter *c);
int64_t counter_fee_bps(const struct counter *c);

/* Ask and run the loop until the answer is there. *resp is the caller's. */
int counter_call(struct counter *c, const struct rec *req, struct rec **resp,
                 struct err *e) MUST_USE;
/* NULL unless it answers right now: for calls that must not block (call_start). */
struct conn *counter_conn(const struct counter *c);

/* Did the book itself answer the last call, be it with a no? Else it was not reached. */
bool counter_answered(const struct counter *c);

#endif
