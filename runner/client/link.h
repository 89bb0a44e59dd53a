#ifndef RUNNER_CLIENT_LINK_H
#define RUNNER_CLIENT_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/client/transport.h"
#include "runner/loop/conn.h"
#include "runner/loop/loop.h"

/*
 * A link: from "this host" to a conn. It opens the transport, puts the agent there if
 * it is missing, starts `serve`, and makes a conn when the agent has answered with its
 * magic line. All that blocks happens in a thread of the link's own; all callbacks
 * come on the loop's thread. Many links may be opened at once.
 *
 * Life: link_open → stage… → up → (mux events: on_hello …) → lost; or → lost at once.
 * lost comes exactly once, unless link_close came first. A link never reconnects by
 * itself: close it and open another, as cause_may_pass and a back-off say.
 */
struct link; /* one thread at a time; keeps the loop running until link_close */

enum link_stage {
    LINK_STAGE_NONE = 0,
    LINK_STAGE_CONNECT, /* name, TCP, key exchange, login */
    LINK_STAGE_START,   /* command started, agent has not answered yet */
    LINK_STAGE_UPLOAD,  /* the agent is being put there: done of total bytes */
    LINK_STAGE_UP,
};

struct link_callbacks {
    /* NULL allowed. */
    void (*stage)(void *ctx, struct link *l, enum link_stage stage, uint64_t done_bytes,
                  uint64_t total_bytes);
    /*
     * The agent answers. Requests and channels may be started on c at once; they go out
     * with our HELLO, in the same flight. c is the link's; never conn_free it.
     */
    void (*up)(void *ctx, struct link *l, struct conn *c);
    /*
     * It could not be made, or is gone: channels were detached and requests failed just
     * before. CAUSE_NONE: in order, after conn_finish or the agent's goodbye. Call
     * link_close, from here or later.
     */
    void (*lost)(void *ctx, struct link *l, const struct failure *why);
};

struct link_options {
    struct transport_options transport;
    struct mux_options mux; /* of the conn: hello, events, ctx, …; initiator and noisy are
                               set here */
    int64_t start_timeout_ms; /* from login to the agent's answer; 0: 30 s */
    const struct link_callbacks *cb;
    void *ctx; /* of cb; of mux.events it is mux.ctx */
};

/*
 * What all links of a program share: the loop, and how many handshakes may be under
 * way at once with one server (LINKS_HANDSHAKES; more would run into MaxStartups).
 */
#define LINKS_HANDSHAKES 4
struct links;
struct links *links_new(struct loop *loop);
/*
 * After every link_close: waits, at most max_ms, for the links' threads to end. One that
 * has not (caught in a name look-up, say) goes on by itself; the program must then end
 * by _exit, as libraries that clean up behind main would do so under its feet.
 */
void links_free(struct links *s, int64_t max_ms);

/*
 * Begin. Strings and *h are copied; mux.hello, mux.events, cb must live until
 * link_close, home and ask until links_free. Fails only for want of a thread or
 * descriptors: the rest goes to lost.
 */
int link_open(struct link **out, struct links *s, const struct host *h,
              const struct link_options *o, struct err *e) MUST_USE;

const char *link_host_name(const struct link *l);
/* NULL before up, and once lost. */
struct conn *link_conn(const struct link *l);
/* What was used; NULL before up. */
const struct transport_info *link_info(const struct link *l);

/*
 * End it; no callback comes after this; from anywhere, NULL allowed. Does not wait: a
 * goodbye is for conn_finish, before. The thread ends by itself soon after.
 */
void link_close(struct link *l);

#endif
