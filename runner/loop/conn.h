#ifndef RUNNER_LOOP_CONN_H
#define RUNNER_LOOP_CONN_H

/*
 * A connection: a mux (runner/wire/mux.h) driven over descriptors or over the queues of
 * a transport's thread. Reads and writes as the other side allows, ticks, and ends
 * exactly once.
 *
 * What is written to the mux inside one round of the loop goes out together, at
 * the end of that round. At most one quantum waits in us beside what the kernel has
 * taken.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/loop/loop.h"
#include "runner/loop/queue.h"
#include "runner/wire/mux.h"

struct conn; /* keeps the loop running while it is open */

struct conn_options {
    struct mux_options mux;
    /*
     * It is over; called once, never from inside conn_new or conn_free, and not after
     * conn_free. why is NULL if the peer had said goodbye or conn_finish was through.
     * Channels were detached and requests failed just before.
     */
    void (*on_closed)(void *ctx, struct conn *c, const struct err *why);
    void *ctx;
};

/* Takes over both descriptors (may be the same one), also on failure. */
int conn_new(struct conn **out, struct loop *l, int in_fd, int out_fd,
             const struct conn_options *o, struct err *e) MUST_USE;
/*
 * Over queues: reads from in, writes to out, both taken over. The transport's thread
 * closes in when the link is gone.
 */
int conn_new_queues(struct conn **out, struct loop *l, struct queue *in,
                    struct queue *out_q, const struct conn_options *o,
                    struct err *e) MUST_USE;

/* Drop it now: channels are detached, on_closed is not called. From anywhere. */
void conn_free(struct conn *c); /* NULL allowed */
/* Say goodbye (why NULL: in order), send what is queued, at most timeout_ns; then
 * on_closed. */
void conn_finish(struct conn *c, const struct err *why, const char *hint,
                 int64_t timeout_ns);

struct mux *conn_mux(struct conn *c); /* NULL once it is over */
struct loop *conn_loop(struct conn *c);
bool conn_is_open(const struct conn *c);
bool conn_is_ready(
    const struct conn *c); /* the peer's HELLO was accepted (also if over now) */
const struct err *conn_why(const struct conn *c); /* of the end; NULL: none */
uint64_t conn_bytes_in(const struct conn *c);
uint64_t conn_bytes_out(const struct conn *c);

/*
 * Wait until the peer's HELLO was accepted. Fails as the connection does; ERR_LINK on
 * time-out.
 */
int conn_wait_ready(struct conn *c, int64_t timeout_ns, struct err *e) MUST_USE;

/* ---- calls ---- */

struct call; /* one request under way */

/*
 * Ask; cb is called exactly once unless call_cancel came first. timeout_ns < 0: none;
 * else why is ERR_LINK when it is over. req stays the caller's. call_* may be freed by
 * cb's return.
 */
int call_start(struct call **out, struct conn *c, const struct rec *req,
               int64_t timeout_ns, mux_answer_fn *cb, void *ctx, struct err *e) MUST_USE;
void call_cancel(struct call *k); /* before cb; NULL allowed */

/*
 * Ask and run the loop until the answer is there. *resp is the caller's. The peer's
 * error comes as *e with its own code, hint (may be NULL) filled.
 */
int call_wait(struct conn *c, const struct rec *req, int64_t timeout_ns,
              struct rec **resp, char hint[MUX_HINT_MAX + 1], struct err *e) MUST_USE;

#endif
