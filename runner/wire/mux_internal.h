#ifndef RUNNER_WIRE_MUX_INTERNAL_H
#define RUNNER_WIRE_MUX_INTERNAL_H

/*
 * A mux from the inside. mux.c: life, time, bytes in; mux_in.c: what each frame
 * does; mux_msg.c: messages and requests; mux_stream.c: the table of streams, opening;
 * mux_queue.c: what waits to be sent; mux_out.c: what is sent next; mux_pace.c: how much
 * bulk may be under way.
 */

#include "base/buf.h"
#include "runner/wire/channel_internal.h"
#include "runner/wire/frame.h"
#include "runner/wire/mux.h"
#include "runner/wire/preamble.h"

#define MUX_SLOTS        32                  /* frames handed out and not yet written */
#define MUX_PARTIALS_MAX 64                  /* messages from the peer under assembly */
#define MUX_PROBES       32                  /* pings under way */
#define MUX_PONGS        16                  /* pings to answer */
#define MUX_OFFER_MAX    ((size_t)64 * 1024) /* payload of OPEN */

/* ---- outgoing ---- */

/* A frame to be sent, its payload in one piece (queues of control and relay). */
struct mux_item {
    struct mux_item *next;
    struct frame f; /* payload points to data */
    uint8_t data[];
};

struct mux_item_list {
    struct mux_item *head;
    struct mux_item *tail;
};

/* The rest of a message longer than a quantum: takes turns with the interactive channels.
 */
struct mux_long {
    struct mux_turn turn;
    uint8_t type;
    uint64_t id;
    struct buf body;
    size_t sent;
};

/* One frame on its way out. */
struct mux_slot {
    uint8_t header[FRAME_HEADER_BYTES + CHANNEL_ACK_BYTES];
    size_t header_len;
    const uint8_t *payload;
    size_t len;
    uint8_t *owned;          /* freed when written; NULL: payload is borrowed */
    struct channel *channel; /* whose replay buffer payload points into, or NULL */
    uint64_t wrote_to;       /* tell the channel this offset was written */
    bool tells_wrote;
};

/* Those that have something to send, in turn. */
struct mux_ring {
    struct mux_turn *first; /* whose turn it is; the others follow in a circle */
};

struct mux_out {
    struct buf opening; /* magic line and HELLO, until they were taken */
    struct mux_item_list control;
    struct mux_ring urgent; /* channels with acks and notes */
    struct mux_ring by_class[3];
    size_t interactive_run; /* bytes in a row while bulk waited */
    struct mux_slot slots[MUX_SLOTS];
    unsigned slot_first;
    unsigned n_slots;
    size_t front_written; /* bytes of the first slot that are out */
    size_t under_way;     /* bytes in slots, not written */
    size_t queued;        /* bytes in control, long messages */
    size_t relayed;       /* bytes in relay queues */
    bool ping_due;
    uint64_t pongs[MUX_PONGS];
    unsigned n_pongs;
    void (*on_output)(void *ctx);
    void *on_output_ctx;
    bool told; /* on_output was called and mux_output has not been since */
};

/* ---- pacing ---- */

struct mux_probe {
    uint64_t seq;
    uint64_t bulk_sent; /* when it was sent */
    int64_t sent_ns;
};

struct mux_pace {
    struct mux_probe probes[MUX_PROBES];
    unsigned first;
    unsigned n;
    uint64_t next_seq;
    uint64_t bulk_sent;
    uint64_t bulk_there; /* of it, known to have arrived */
    uint64_t probed_at;  /* bulk_sent when the last probe went */
    size_t window;
    bool was_limited; /* the window held bulk back since it was last changed */
    int64_t rtt_ns;
    int64_t base_ns; /* shortest of late; -1: none */
    int64_t base_since_ns;
    int64_t changed_ns;
};

/* ---- streams ---- */

enum stream_kind { STREAM_OFFERED = 1, STREAM_CHANNEL, STREAM_RELAY };

struct stream {
    uint32_t id;
    enum stream_kind kind;
    enum channel_class cls;
    /* STREAM_OFFERED: the OPEN as it came */
    uint8_t *offer;
    size_t offer_len;
    /* STREAM_CHANNEL */
    struct channel *channel;
    /* STREAM_RELAY: what is to be sent on this side */
    struct mux *other;
    uint32_t other_id;
    struct mux_turn turn;
    struct mux_item_list queue;
    unsigned n_notes_queued;
    bool ended_told; /* this side was told that its EOF arrived there */
};

/* ---- messages ---- */

struct mux_request_entry {
    uint64_t id;
    mux_answer_fn *cb;
    void *ctx;
};

struct mux_partial {
    uint8_t type;
    uint64_t id;
    struct buf body;
};

struct mux {
    struct mux_events ev;
    void *ctx;
    bool initiator;
    bool local; /* no pings */
    int64_t ping_ns;
    int64_t dead_ns;
    size_t streams_max;
    size_t requests_max;
    size_t message_max;

    struct preamble *preamble; /* NULL once it is through */
    struct frame_decoder *decoder;
    struct buf raw; /* room for bytes before the decoder is there */
    struct hello mine;
    struct hello peer;
    bool have_peer;
    int proto;
    uint64_t features;

    bool over;      /* nothing goes out any more but what is queued; nothing comes in */
    struct err why; /* of over, code ERR_NONE if in order */
    bool leaving;   /* we said, or will say, goodbye */
    struct mux_item *goaway; /* to be sent when the messages are out */
    bool peer_left;
    int busy; /* depth of calls that may call back */

    int64_t now_ns;
    int64_t heard_ns; /* last sign of life */
    int64_t ticked_ns;
    int64_t pinged_ns;
    int64_t hello_by_ns;
    int64_t ack_at_ns; /* delayed acks; INT64_MAX: none */

    struct mux_out out;
    struct mux_pace pace;

    struct stream **streams; /* by id, ascending */
    size_t n_streams;
    size_t cap_streams;
    uint32_t next_local; /* odd on the initiating side */
    uint32_t last_remote;
    size_t offered_bytes;

    struct mux_request_entry *asked; /* of ours, ids ascending */
    size_t n_asked;
    size_t cap_asked;
    uint64_t last_asked;
    uint64_t last_event;
    uint64_t *answering; /* ids of the peer's */
    size_t n_answering;
    size_t cap_answering;
    uint64_t last_request;
    uint64_t last_event_in;
    struct mux_partial partials[MUX_PARTIALS_MAX];
    size_t n_partials;
    size_t partial_bytes;
};

/* ---- mux.c ---- */

/* It is over for this reason: later calls do nothing, the next mux_feed fails. Returns
 * -1. */
int mux_fail(struct mux *m, const struct err *why);
/* An ACK is owed within MUX_ACK_DELAY_NS. */
void mux_ack_later(struct mux *m);

/* ---- mux_in.c ---- */

int mux_dispatch(struct mux *m, const struct frame *f, struct err *e) MUST_USE;

/* ---- mux_msg.c ---- */

int mux_on_message(struct mux *m, const struct frame *f, struct err *e) MUST_USE;
/* Every request of ours fails with why. */
void mux_fail_requests(struct mux *m, const struct err *why);
void mux_free_messages(struct mux *m);
void mux_send_record(struct mux *m, uint8_t type, uint64_t id, const struct rec *r);

/* ---- mux_stream.c ---- */

struct stream *mux_find(struct mux *m, uint32_t id);
struct stream *mux_add_stream(struct mux *m, uint32_t id, enum stream_kind kind,
                              enum channel_class cls);
/* Forget the stream; its queue and offer go, its channel is not touched. */
void mux_remove_stream(struct mux *m, struct stream *s);
/* The next number of ours; 0 and *e if there is none. */
uint32_t mux_next_stream(struct mux *m, struct err *e);
/* Forget c: nothing of it stays in rings or slots. */
void mux_let_go(struct mux *m, struct channel *c);
void mux_send_reset(struct mux *m, uint32_t stream, const struct err *why,
                    const char *hint);
/* Is this number one of the peer's, or one we gave out, now or earlier? */
bool mux_knows_stream(const struct mux *m, uint32_t id);
int mux_on_open(struct mux *m, const struct frame *f, struct err *e) MUST_USE;
int mux_on_accept(struct mux *m, struct stream *s, const struct frame *f,
                  struct err *e) MUST_USE;
int mux_on_reset(struct mux *m, struct stream *s, const struct frame *f,
                 struct err *e) MUST_USE;
void mux_drop_streams(struct mux *m, const struct err *why);

/* ---- relay.c ---- */

int relay_frame(struct mux *m, struct stream *s, const struct frame *f,
                struct err *e) MUST_USE;
/* One side of a relayed stream goes: tell the other. why NULL: it was told already. */
void relay_gone(struct mux *m, struct stream *s, const struct err *why);

/* ---- mux_queue.c ---- */

struct mux_item *mux_item_new(const struct frame *f);
void mux_item_push(struct mux_item_list *l, struct mux_item *i);
struct mux_item *mux_item_pop(struct mux_item_list *l);
void mux_queue_control(struct mux *m, const struct frame *f);
void mux_queue_turn(struct mux *m, struct mux_turn *t, enum channel_class cls);
void mux_queue_urgent(struct mux *m, struct channel *c);
void mux_ring_remove(struct mux *m, struct mux_turn *t);
/* Too much waits for a peer that does not read: the end. */
void mux_queue_check(struct mux *m);
/* There is something to write now. */
void mux_out_notify(struct mux *m);

/* ---- mux_out.c ---- */

/* Nothing of c stays in rings or slots. */
void mux_out_forget(struct mux *m, struct channel *c);
void mux_out_free(struct mux *m);

/* ---- mux_pace.c ---- */

void mux_pace_init(struct mux_pace *p);
/* May more bulk be sent? */
bool mux_pace_open(const struct mux_pace *p);
/* The same, asked by who wants to. */
bool mux_pace_allows(struct mux_pace *p);
void mux_pace_sent(struct mux_pace *p, size_t n);
/* Is a probe wanted after what was sent? */
bool mux_pace_wants_probe(const struct mux_pace *p);
/* A ping goes out: its number. false: too many are under way. */
bool mux_pace_ping(struct mux_pace *p, int64_t now_ns, uint64_t *seq);
/* Its answer came. false: never asked. */
bool mux_pace_pong(struct mux_pace *p, uint64_t seq, int64_t now_ns);

#endif
