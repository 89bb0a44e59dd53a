#ifndef RUNNER_WIRE_MUX_H
#define RUNNER_WIRE_MUX_H

/*
 * One connection: preamble, HELLO, messages and channels over one byte stream in
 * each direction (PROTOCOL.md).
 *
 * Bytes in: mux_room/mux_filled (or mux_feed), then callbacks. Bytes out:
 * mux_output gives pointers, mux_written tells how much of them went out. No
 * descriptors, no clock: `now_ns` is CLOCK_BOOTTIME as the caller read it.
 * runner/loop/conn.h drives one over real descriptors.
 *
 * Sending order: control (HELLO, pings, messages, acks, notes) before interactive
 * channels before bulk; in turn within a class. What was handed out and not yet
 * written is never more than one quantum (FRAME_QUANTUM), so a control frame waits
 * for at most that. Bulk gets one quantum in MUX_BULK_SHARE even under constant
 * interactive load.
 *
 * Errors: -1 from mux_feed, mux_filled or mux_tick means this connection is over.
 * A GOAWAY that says why may still be in the output: write what there is without
 * waiting, close, free.
 *
 * One thread at a time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "runner/wire/channel.h"
#include "runner/wire/hello.h"

#define MUX_STREAMS_MAX  1024 /* open at a time; more from the peer are refused */
#define MUX_REQUESTS_MAX 1024 /* unanswered at a time, either way */
#define MUX_MESSAGE_MAX  REC_MAX_BYTES
#define MUX_PARTIAL_MAX  ((size_t)32 << 20) /* of unfinished messages, all together */
#define MUX_QUEUE_MAX    ((size_t)64 << 20) /* of messages the peer does not read */
#define MUX_QUEUE_HIGH   ((size_t)1 << 20)  /* mux_congested above */
#define MUX_HINT_MAX     256
#define MUX_BULK_SHARE   16
#define MUX_IOV_MAX      64
#define MUX_PING_NS      ((int64_t)5000000000)
#define MUX_DEAD_NS      ((int64_t)30000000000)
#define MUX_HELLO_NS     ((int64_t)60000000000) /* for magic and HELLO to arrive */
#define MUX_ACK_DELAY_NS ((int64_t)50000000)

struct mux;

/* The peer wants to open a channel, or to go on with one. Valid during the callback. */
struct mux_offer {
    uint32_t stream;
    enum channel_class cls;
    const uint8_t *token;  /* CHANNEL_TOKEN_LEN */
    uint64_t recv_start;   /* the peer wants our bytes from here, or CHANNEL_ANY */
    uint64_t send_start;   /* the peer will send from here, or CHANNEL_ANY */
    bool recv_gaps;        /* the peer can do without bytes we no longer have */
    const struct rec *rec; /* what it wants it for */
};

struct mux_events {
    /* The peer's HELLO was accepted. Before this nothing else is called but on_missing.
     */
    void (*on_hello)(void *ctx, struct mux *m, const struct hello *peer);
    /* No agent on the host: facts of the bootstrap snippet. The connection ends here. */
    void (*on_missing)(void *ctx, struct mux *m, const struct rec *facts);
    /* Answer now or later by mux_respond or mux_respond_error, once. req stays m's. */
    void (*on_request)(void *ctx, struct mux *m, uint64_t id, const struct rec *req);
    void (*on_event)(void *ctx, struct mux *m, const struct rec *event);
    /* Answer now or later by mux_accept, mux_refuse or relay_join. */
    void (*on_open)(void *ctx, struct mux *m, const struct mux_offer *offer);
    /* The peer took its offer back before it was answered. */
    void (*on_open_cancelled)(void *ctx, struct mux *m, uint32_t stream);
    /* The peer is leaving; why is NULL when it leaves in order. */
    void (*on_goaway)(void *ctx, struct mux *m, const struct err *why, const char *hint);
};

struct mux_options {
    bool initiator;            /* client, or serve towards a supervisor */
    bool noisy;                /* a login shell may speak first (initiator only) */
    const struct hello *hello; /* ours; copied */
    const struct mux_events *events;
    void *ctx;
    int64_t ping_ns;    /* 0: MUX_PING_NS; < 0: no pings, no liveness (local sockets) */
    int64_t dead_ns;    /* 0: MUX_DEAD_NS */
    int64_t hello_ns;   /* 0: MUX_HELLO_NS */
    int streams_max;    /* 0: MUX_STREAMS_MAX */
    int requests_max;   /* 0: MUX_REQUESTS_MAX */
    size_t message_max; /* largest message taken from the peer; 0: MUX_MESSAGE_MAX */
};

struct mux *mux_new(const struct mux_options *o, int64_t now_ns);
/*
 * End it here: detaches every channel (on_detached with why), fails every request with
 * why (NULL: ERR_LINK). Nothing is called afterwards. Allowed from a callback.
 */
void mux_close(struct mux *m, const struct err *why);
void mux_free(struct mux *m); /* closes it first; NULL allowed; not from a callback */

/* ---- bytes ---- */

uint8_t *mux_room(struct mux *m, size_t *room_bytes);
int mux_filled(struct mux *m, size_t n, int64_t now_ns, struct err *e) MUST_USE;
int mux_feed(struct mux *m, const void *data, size_t n, int64_t now_ns,
             struct err *e) MUST_USE;
/*
 * The byte stream from the peer ended. Returns 0 if it had said goodbye, else -1:
 * ERR_LINK, or what the login shell said instead of starting the agent.
 */
int mux_ended(struct mux *m, struct err *e) MUST_USE;

/*
 * What to write next: up to iov_max slices (MUX_IOV_MAX is enough); returns how many.
 * They stay valid until mux_written or the next input. Ask again after mux_written until
 * it is 0.
 */
int mux_output(struct mux *m, struct iovec *iov, int iov_max, int64_t now_ns);
void mux_written(struct mux *m, size_t n);
bool mux_has_output(const struct mux *m);
/*
 * Call fn once when there may be something to write, or to read or tick again, that there
 * was not; then not before mux_output was asked. fn must not call the mux.
 */
void mux_on_output(struct mux *m, void (*fn)(void *ctx), void *ctx);
/* Do not read from this connection now: what it would be relayed to is full. */
bool mux_congested(const struct mux *m);

/* ---- time ---- */

/* Pings, delayed acks, liveness. ERR_LINK: no sign of life for dead_ns. */
int mux_tick(struct mux *m, int64_t now_ns, struct err *e) MUST_USE;
/* When mux_tick wants to be called next. */
int64_t mux_next_tick_ns(const struct mux *m);
/*
 * Last round trip in ns; -1: none yet. After one the peer has taken our HELLO, and done
 * what it does then. mux_ping asks for one now; nothing where there are no pings.
 */
int64_t mux_rtt_ns(const struct mux *m);
void mux_ping(struct mux *m);

/* ---- messages ---- */

/* Exactly one call: resp, or why (ERR_LINK if the connection went first) with hint. */
typedef void mux_answer_fn(void *ctx, const struct rec *resp, const struct err *why,
                           const char *hint);

/*
 * Ask. Allowed before the peer's HELLO came (it is sent after ours at once). *id may be
 * NULL, cb too (nobody waits for the answer). ERR_BUSY: MUX_REQUESTS_MAX unanswered.
 * ERR_RANGE: too long. ERR_LINK: over.
 */
int mux_request(struct mux *m, const struct rec *req, mux_answer_fn *cb, void *ctx,
                uint64_t *id, struct err *e) MUST_USE;
/* Forget it: cb will not be called. The peer still does what it was asked. */
void mux_request_forget(struct mux *m, uint64_t id);
/* Answers to ids that are not (or no longer) open are dropped. */
void mux_respond(struct mux *m, uint64_t id, const struct rec *resp);
void mux_respond_error(struct mux *m, uint64_t id, const struct err *why,
                       const char *hint);
void mux_event(struct mux *m, const struct rec *event);
/* Last word; nothing is sent after it. why NULL: in order. */
void mux_goaway(struct mux *m, const struct err *why, const char *hint);

/* ---- channels ---- */

/*
 * Offer c to the peer (for the first time, or again after its connection went) with rec
 * saying what for. Bytes flow once it is accepted. c must be detached.
 * ERR_BUSY: too many streams. ERR_LINK: over. ERR_INVALID: c was reset or is done.
 */
int mux_open(struct mux *m, struct channel *c, const struct rec *rec,
             struct err *e) MUST_USE;
/*
 * Answer an offer with c: a new channel made with the offer's token, or the one this
 * token had before (still attached to a dying connection is fine: it is moved here; one
 * that is done just says so again, so keep it until the peer has had time to ask).
 * rec, if not NULL, goes to the peer's on_accepted. On -1 the peer was refused with *e
 * and c is as it was: ERR_INVALID, the peer claims offsets that cannot be;
 * ERR_NOT_FOUND, it wants bytes that are gone. No such stream any more: ERR_LINK.
 */
int mux_accept(struct mux *m, uint32_t stream, struct channel *c, const struct rec *rec,
               struct err *e) MUST_USE;
void mux_refuse(struct mux *m, uint32_t stream, const struct err *why, const char *hint);

/* ---- looking ---- */

/* Nothing more comes or goes; *why (may be NULL): code ERR_NONE if it ended in order. */
bool mux_is_over(const struct mux *m, struct err *why);
const struct hello *mux_peer(const struct mux *m); /* NULL before its HELLO */
int mux_proto(const struct mux *m);
uint64_t mux_features(const struct mux *m);
void *mux_ctx(const struct mux *m);
size_t mux_n_streams(const struct mux *m);

#endif
