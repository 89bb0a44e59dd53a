#ifndef RUNNER_CLIENT_SESSION_H
#define RUNNER_CLIENT_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "meter/offer.h"
#include "runner/client/ask.h"
#include "runner/client/home.h"
#include "runner/client/hosts.h"
#include "runner/client/link.h"
#include "runner/job/hostinfo.h"
#include "runner/loop/conn.h"
#include "runner/loop/loop.h"

/*
 * A conversation with one host that goes on when its link is cut.
 *
 *     open → (connecting → up → down → connecting → …) → failed
 *
 * A session that has never been up fails with its first link. One that has been up
 * opens another link after a back-off with jitter, for as long as patience_ns says,
 * unless the reason cannot pass (a changed host key, no login). up is told each time:
 * what is to live on is asked for and opened again there, with the same ids and tokens,
 * so that nothing is done twice.
 *
 * The agent's key is compared with the one pinned for the host each time; a host
 * that has none yet is for the caller to pin (session_info). Belongs to the loop's
 * thread.
 */

/* What all sessions of a program share. */
struct client {
    struct loop *loop;
    struct links *links;
    struct home *home;
    struct ask *ask;         /* NULL: nobody is asked anything */
    const char *ssh_program; /* GPURUN_SSH, or NULL */
    bool verbose;            /* not used here */
};

enum session_state {
    SESSION_NONE = 0,
    SESSION_CONNECTING,
    SESSION_UP,
    SESSION_DOWN, /* waiting to try again */
    SESSION_FAILED,
};

struct session;

/* All on the loop's thread; any may be NULL. session_close may be called from each. */
struct session_events {
    void (*stage)(void *ctx, struct session *s, enum link_stage stage,
                  uint64_t done_bytes, uint64_t total_bytes);
    /* The agent's HELLO was accepted: c is good until down. first: never up before. */
    void (*up)(void *ctx, struct session *s, struct conn *c, bool first);
    void (*event)(void *ctx, struct session *s, const struct rec *event);
    /* The link is gone; the next attempt comes in retry_ns. */
    void (*down)(void *ctx, struct session *s, const struct failure *why,
                 int64_t retry_ns);
    /* It is over: never reached, given up, or of no use. */
    void (*failed)(void *ctx, struct session *s, const struct failure *why);
};

struct session_options {
    /* How long to go on trying after the link was cut; < 0: for ever; 0: not at all. */
    int64_t patience_ns;
    const char *host_key; /* --host-key, or NULL */
    bool host_key_ask;
    bool any_agent_key; /* do not compare with the pinned key (host add, host doctor) */
    int64_t connect_timeout_ms;          /* 0: the transport's */
    const struct session_events *events; /* may be NULL */
    void *ctx;
};

/* Begin. h is copied. Fails only where nothing could be begun. */
int session_open(struct session **out, struct client *cl, const struct host *h,
                 const struct session_options *o, struct err *e) MUST_USE;
/*
 * A session that is up, with the known host of that key, for something left over that
 * only it can bring to an end. ERR_NOT_FOUND: no such host is known. *out is NULL after a
 * failure.
 */
int session_open_by_key(struct session **out, struct client *cl,
                        const struct sign_public *key, int64_t patience_ns,
                        struct err *e) MUST_USE;
/* At any time; no event comes after it. NULL allowed. */
void session_close(struct session *s);

/* Another owner of the events, from now on. */
void session_set_events(struct session *s, const struct session_events *events,
                        void *ctx);

/*
 * Someone who hears them, too, before the owner does, until removed: what uses a session
 * for a while must not take its events away from whoever has other things going on it. A
 * guest does not close the session, nor remove itself in a callback.
 */
struct session_guest {
    const struct session_events *events;
    void *ctx;
    struct session_guest *next; /* the session's */
};
void session_add_guest(struct session *s, struct session_guest *g);
void session_remove_guest(struct session *s, struct session_guest *g);

void session_set_patience(struct session *s, int64_t patience_ns);

enum session_state session_state(const struct session *s);
const struct host *session_host(const struct session *s);
const struct home *session_home(const struct session *s); /* its client's */
struct conn *session_conn(const struct session *s);       /* NULL unless up */
/* From the first up on; replaced by each HELLO and host.info. */
const struct host_info *session_info(const struct session *s);
const struct offer *session_offer(const struct session *s); /* NULL: none published */
const struct transport_info *
session_transport(const struct session *s); /* NULL: not up */
/* Why it failed, or is down. */
const struct failure *session_why(const struct session *s);

/* Run the loop until it is up or failed. */
int session_wait_up(struct session *s, struct err *e) MUST_USE;

/*
 * Run the loop until the hosts of all that are up have taken our HELLO, 5 s at most: they
 * know that somebody came, and see to what is due then. For who has nothing to ask and
 * would hang up on their own HELLO.
 */
void session_greet(struct client *cl, struct session *const *v, size_t n);

/*
 * Ask, and ask again after a cut link while there is patience: so only what may be
 * repeated (reads, and changes that carry an id or key). *resp is the caller's.
 * ERR_LINK: the link went and did not come back. A peer's words in *e are escaped, its
 * hint follows in brackets. timeout_ns < 0: none but the link's own liveness.
 */
int session_call(struct session *s, const struct rec *req, int64_t timeout_ns,
                 struct rec **resp, struct err *e) MUST_USE;

/* Ask the host for a fresh gpurun.host.v1. */
int session_refresh(struct session *s, struct err *e) MUST_USE;
/*
 * Have it park its machine by that command after so long without work (job/park.h), in
 * place of what was set before; command NULL: never. session_info then says how it
 * stands. ERR_DENIED: the owner let us in, we do not log in; ERR_VERSION: an agent that
 * cannot.
 */
int session_park(struct session *s, const char *command, int64_t after_s,
                 struct err *e) MUST_USE;

/* Put a peer's error into *e: code kept, message escaped, hint added. Returns -1. */
int session_peer_error(const struct err *why, const char *hint, struct err *e);

/* The next wait before another attempt: grows from 1/4 s to 15 s, ± a quarter. */
int64_t session_backoff_ns(unsigned attempt);

#endif
