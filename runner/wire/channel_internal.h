#ifndef RUNNER_WIRE_CHANNEL_INTERNAL_H
#define RUNNER_WIRE_CHANNEL_INTERNAL_H

/*
 * A channel as its mux sees it. channel.c: life, attaching and detaching;
 * channel_tx.c: the sending half; channel_rx.c: the receiving half.
 */

#include "base/buf.h"
#include "runner/wire/channel.h"
#include "runner/wire/frame.h"
#include "runner/wire/mux.h"

/* Largest payload of a DATA frame: with its header exactly a quantum. */
#define CHANNEL_DATA_MAX (FRAME_QUANTUM - FRAME_HEADER_BYTES)

#define CHANNEL_OPEN_BYTES   52 /* of OPEN before its record */
#define CHANNEL_ACCEPT_BYTES 36
#define CHANNEL_ACK_BYTES    16
#define CHANNEL_NOTE_HEADER  9

#define CHANNEL_F_GAPS  0x01u /* OPEN, ACCEPT: GAP frames are welcome */
#define CHANNEL_F_ENDED 0x02u /* the peer's EOF was received */

/* What one side tells the other in OPEN and ACCEPT. */
struct channel_terms {
    bool gaps;
    bool recv_eof;
    uint64_t recv_next;  /* first byte wanted; OPEN: or CHANNEL_ANY */
    uint64_t limit;      /* credit; a width instead of an offset if recv_next is ANY */
    uint64_t note_next;  /* first note wanted */
    uint64_t send_start; /* first byte that can (OPEN) or will (ACCEPT) come */
};

/* A place in one of the mux's rings of those that have something to send. */
struct mux_turn {
    struct mux_turn *prev; /* NULL: in no ring */
    struct mux_turn *next;
    struct mux_ring *ring;
    enum mux_turn_kind { MUX_TURN_CHANNEL = 1, MUX_TURN_RELAY, MUX_TURN_MESSAGE } kind;
};

enum channel_phase { CHANNEL_DETACHED = 0, CHANNEL_OPENING, CHANNEL_ATTACHED };

struct channel_block {
    struct channel_block *next;
    uint64_t start; /* offset of data[0] */
    size_t len;
    size_t cap;
    uint8_t data[];
};

struct channel_note_item {
    struct channel_note_item *next;
    uint64_t at;
    uint64_t gap_to; /* receiving: not a note but a gap from at to here; else 0 */
    int kind;
    bool ordered;
    size_t n;
    uint8_t data[];
};

struct channel_tx {
    struct channel_block *head; /* holds acked, or the first byte after it */
    struct channel_block *tail;
    struct channel_block *cursor; /* holds next, if that was sent before; else NULL */
    struct channel_block *spare;
    const struct channel_source *source;
    size_t max_bytes;
    bool any;         /* offsets are provisional until the peer says where it is */
    uint64_t acked;   /* the peer's application took all below */
    uint64_t next;    /* first byte not yet scheduled on this connection */
    uint64_t written; /* all below was written to this connection */
    uint64_t end;     /* after the last byte we were given */
    uint64_t limit;   /* credit */
    bool peer_gaps;
    bool eof; /* nothing will follow end */
    bool eof_sent;
    bool eof_acked;
    bool want_room; /* channel_send took too little: call on_writable */

    struct channel_note_item *notes; /* oldest unacknowledged */
    struct channel_note_item *note_tail;
    struct channel_note_item *note_cursor; /* first unsent on this connection */
    uint64_t note_acked;                   /* number of the oldest unacknowledged */
    uint64_t note_next;                    /* number of the first unsent */
    uint64_t note_end;                     /* number the next new one gets */
};

struct channel_rx {
    size_t window;
    bool any; /* got is not known yet */
    bool gaps;
    uint64_t got;    /* all below arrived */
    uint64_t taken;  /* all below was taken by the application */
    uint64_t limit;  /* credit granted on this connection */
    uint64_t told;   /* taken as of the last ACK */
    bool eof;        /* arrived */
    bool eof_told;   /* delivered to the application */
    bool ended_sent; /* and acknowledged on this connection */
    struct buf kept; /* bytes the application did not take; kept_at in front are gone */
    size_t kept_at;

    /* Notes and gaps whose place the application has not reached. */
    struct channel_note_item *notes;
    struct channel_note_item *note_tail;
    size_t n_notes;
    uint64_t note_got;   /* number of the next to arrive */
    uint64_t note_told;  /* number of the next to be delivered */
    uint64_t note_acked; /* note_told as of the last ACK */
};

struct channel {
    uint8_t token[CHANNEL_TOKEN_LEN];
    enum channel_class cls;
    struct channel_events ev;
    void *ctx;

    struct mux *mux;
    uint32_t stream;
    enum channel_phase phase;
    struct mux_turn turn;   /* in the ring of its class */
    struct mux_turn urgent; /* in the ring of those with acks and notes to send */
    bool ack_soon;          /* an ACK is owed within MUX_ACK_DELAY_NS */
    bool ack_now;

    bool reset;
    struct err reset_why;
    bool done;
    bool done_told;
    int busy;   /* depth of callbacks under way */
    bool freed; /* channel_free was called from one of them */

    struct channel_tx tx;
    struct channel_rx rx;
};

/* Around everything that may call back: the channel stays until the last leave. */
void channel_enter(struct channel *c);
/* false: it was freed meanwhile, do not touch it. */
bool channel_leave(struct channel *c);

/* ---- channel.c: towards the mux ---- */

void channel_terms_put(struct buf *out, const struct channel_terms *t);
void channel_terms_of(const struct channel *c, struct channel_terms *out);
/*
 * Check the peer's terms (of its ACCEPT, else of its OPEN) against what we have and go by
 * them from now on. Nothing is changed on -1. ERR_INVALID, ERR_NOT_FOUND.
 */
int channel_agree(struct channel *c, const struct channel_terms *peer, bool accepted,
                  struct err *e) MUST_USE;
void channel_attach(struct channel *c, struct mux *m, uint32_t stream,
                    enum channel_phase phase);
/* The mux has let go of it. */
void channel_detached(struct channel *c, const struct err *why);
void channel_was_reset(struct channel *c, const struct err *why);
/* Is all said and acknowledged? Then leave the mux and tell. */
void channel_check_done(struct channel *c);
/* Something changed that may let it send: take its places in the rings. */
void channel_poke(struct channel *c);

/* ---- channel_tx.c ---- */

void channel_tx_init(struct channel_tx *t, const struct channel_options *o,
                     const struct channel_state *s);
void channel_tx_free(struct channel_tx *t);
/* Throw away what was not acknowledged. */
void channel_tx_drop(struct channel_tx *t);
int channel_tx_check(const struct channel_tx *t, const struct channel_terms *peer,
                     struct err *e) MUST_USE;
void channel_tx_agree(struct channel_tx *t, const struct channel_terms *peer);
/* Has something for the ring of its class: DATA, GAP or EOF. */
bool channel_tx_ready(const struct channel_tx *t);
bool channel_tx_note_ready(const struct channel_tx *t);
/*
 * The next DATA (of at most max payload bytes), GAP or EOF. out->payload points
 * into the replay buffer, or into *owned (malloc'ed, the caller's) for a source. false:
 * none after all. -1: the source failed.
 */
int channel_tx_pull(struct channel *c, size_t max, struct frame *out, uint8_t **owned,
                    bool *got, struct err *e) MUST_USE;
/* The next note, its payload malloc'ed into *owned. */
void channel_tx_pull_note(struct channel *c, struct frame *out, uint8_t **owned);
/* A frame of ours up to this offset was written out. */
void channel_tx_wrote(struct channel *c, uint64_t offset);
int channel_tx_on_ack(struct channel *c, const struct frame *f, struct err *e) MUST_USE;

/* ---- channel_rx.c ---- */

void channel_rx_init(struct channel_rx *r, const struct channel_options *o,
                     const struct channel_state *s);
void channel_rx_free(struct channel_rx *r);
void channel_rx_drop(struct channel_rx *r);
void channel_rx_agree(struct channel_rx *r, const struct channel_terms *peer);
int channel_rx_on_data(struct channel *c, const struct frame *f, struct err *e) MUST_USE;
int channel_rx_on_gap(struct channel *c, const struct frame *f, struct err *e) MUST_USE;
int channel_rx_on_eof(struct channel *c, const struct frame *f, struct err *e) MUST_USE;
int channel_rx_on_note(struct channel *c, const struct frame *f, struct err *e) MUST_USE;
/* Fill in an ACK that says all there is to say. */
void channel_rx_pull_ack(struct channel *c, struct frame *out,
                         uint8_t payload[CHANNEL_ACK_BYTES]);
bool channel_rx_owes_ack(const struct channel_rx *r);

#endif
