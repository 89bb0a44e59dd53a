#ifndef RUNNER_WIRE_CHANNEL_H
#define RUNNER_WIRE_CHANNEL_H

/*
 * Channels: two-way byte streams at absolute offsets that outlive the connection
 * they run over (PROTOCOL.md, "Channels").
 *
 * A struct channel is one end point. It exists apart from any connection: it is
 * attached to a mux (mux_open, mux_accept), detached when that connection goes, and
 * attached to the next one, where both sides tell what they have and go on at the
 * exact byte. Nothing is given twice to the application, nothing is skipped.
 *
 *   - The sender keeps every byte until it is acknowledged: in memory, up to
 *     replay_max_bytes (then channel_send takes no more: stop reading your source), or
 *     nowhere at all if the bytes can be read again (struct channel_source, e.g. log
 *     segments on disk).
 *   - The receiver grants credit: an absolute offset up to which the peer may send.
 *     It acknowledges what the application took, not what merely arrived.
 *   - A real end (channel_send_eof, on_eof) is told apart from a lost connection
 *     (on_detached) and from a channel broken off (on_reset).
 *   - Notes are small messages beside the bytes, numbered on their own, resent until
 *     acknowledged: signals, window sizes, whatever the two ends agree on. An
 *     urgent note overtakes bytes that wait for credit, an ordered one does not.
 *
 * Not here: time, descriptors. One thread at a time, the one of its mux. Callbacks
 * may call everything on any channel, channel_free too.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"

#define CHANNEL_TOKEN_LEN  16
#define CHANNEL_NOTE_MAX   ((size_t)4096)
#define CHANNEL_NOTES_MAX  256 /* unacknowledged ones, either way */
#define CHANNEL_WINDOW_MIN ((size_t)4096)
#define CHANNEL_WINDOW_MAX ((size_t)64 << 20)
#define CHANNEL_REPLAY_MAX ((size_t)1 << 30)
/* "Wherever the other side is": as send_start or recv_start of the opening side. */
#define CHANNEL_ANY        UINT64_MAX
#define CHANNEL_OFFSET_MAX ((uint64_t)INT64_MAX)

enum channel_class {
    CHANNEL_CLASS_NONE = 0,
    CHANNEL_INTERACTIVE = 1, /* logs, stdin, ports, kernels */
    CHANNEL_BULK = 2,        /* chunks, images, snapshots */
};

enum channel_note {
    CHANNEL_NOTE_NONE = 0,
    CHANNEL_NOTE_SIGNAL = 1, /* u8 signal number as on Linux x86 */
    CHANNEL_NOTE_RESIZE = 2, /* u16 columns, u16 rows */
    CHANNEL_NOTE_USER = 16,  /* and above, to 255: whatever both ends agree on */
};

struct channel;

/* Bytes that can be read again. Belongs to the caller, outlives the channel. */
struct channel_source {
    /*
     * Read up to n bytes at offset (all below what channel_source_grow told).
     * *got = 0 with *skip_to > offset: those bytes are gone for good (a GAP is sent).
     * -1 resets the channel with *e.
     */
    int (*read)(void *ctx, uint64_t offset, void *to, size_t n, size_t *got,
                uint64_t *skip_to, struct err *e);
    void *ctx;
};

/* Any may be NULL. */
struct channel_events {
    /* The peer agreed (or, on resume, agreed again); rec is its answer, may be NULL. */
    void (*on_accepted)(void *ctx, struct channel *c, const struct rec *rec);
    /*
     * n more bytes, in order, in a buffer that is not yours. Return how many you took;
     * the rest is kept, and you fetch it with channel_rx and channel_rx_take when you
     * can. Not called again while something is kept.
     */
    size_t (*on_data)(void *ctx, struct channel *c, const uint8_t *data, size_t n);
    /* The peer has no more: called once, after its last byte was taken. */
    void (*on_eof)(void *ctx, struct channel *c);
    /* Bytes [from, to) exist no more; the next byte taken is at to. */
    void (*on_gap)(void *ctx, struct channel *c, uint64_t from, uint64_t to);
    void (*on_note)(void *ctx, struct channel *c, int kind, uint64_t at,
                    const uint8_t *data, size_t n);
    /* channel_send took less than it was given, and there is room again. */
    void (*on_writable)(void *ctx, struct channel *c);
    /* The peer's application has taken everything below offset. */
    void (*on_acked)(void *ctx, struct channel *c, uint64_t offset);
    /* The connection is gone, the channel is not. why may be NULL. */
    void (*on_detached)(void *ctx, struct channel *c, const struct err *why);
    /* Broken off by the peer, or refused; it is of no more use. */
    void (*on_reset)(void *ctx, struct channel *c, const struct err *why);
    /* Both directions ended and everything was acknowledged; it is detached now. */
    void (*on_done)(void *ctx, struct channel *c);
};

/* What has to be known to go on elsewhere; also what OPEN and ACCEPT carry. */
struct channel_state {
    uint8_t token[CHANNEL_TOKEN_LEN];
    uint64_t send_acked; /* the peer has taken all below */
    uint64_t recv_next;  /* our application has taken all below */
    uint64_t note_acked; /* notes of ours the peer has had */
    uint64_t note_next;  /* number of the next note from the peer */
    bool recv_eof;       /* and that was all */
};

struct channel_options {
    enum channel_class cls;
    const uint8_t *token;    /* NULL: a new random one (opening side) */
    size_t window_bytes;     /* receive window; 0: 256 KiB interactive, 4 MiB bulk */
    size_t replay_max_bytes; /* send buffer; 0: as window_bytes */
    uint64_t send_start;     /* offset of the first byte sent; CHANNEL_ANY: the peer's */
    uint64_t recv_start;     /* offset of the first byte wanted; CHANNEL_ANY */
    bool recv_gaps;          /* bytes the peer no longer has may be skipped (on_gap) */
    const struct channel_source *source; /* NULL: channel_send */
    const struct channel_events *events;
    void *ctx;
};

struct channel *channel_new(const struct channel_options *o);
/* As it was when channel_state was taken (in another process, before a crash). */
struct channel *channel_restore(const struct channel_options *o,
                                const struct channel_state *s);
/* Detached first, without a word to the peer: channel_reset before, if it should know. */
void channel_free(struct channel *c); /* NULL allowed */

/* ---- sending ---- */

/* Take up to n bytes into the replay buffer; how many. 0 after EOF or reset. */
size_t channel_send(struct channel *c, const void *data, size_t n);
/* The same without a copy: read into the room (0: full), tell at once how much came. */
uint8_t *channel_send_room(struct channel *c, size_t *room_bytes);
void channel_send_filled(struct channel *c, size_t n);
/* With a source: bytes below end exist now. Never shrinks. */
void channel_source_grow(struct channel *c, uint64_t end);
/* No more bytes will come (half-close). */
void channel_send_eof(struct channel *c);
/* ERR_BUSY: CHANNEL_NOTES_MAX wait already. ERR_RANGE: n above CHANNEL_NOTE_MAX. */
int channel_send_note(struct channel *c, int kind, bool ordered, const void *data,
                      size_t n, struct err *e) MUST_USE;
int channel_send_signal(struct channel *c, int signo, struct err *e) MUST_USE;
int channel_send_resize(struct channel *c, unsigned cols, unsigned rows,
                        struct err *e) MUST_USE;
/* Break off, both directions; the peer gets why (at once, or when it resumes). */
void channel_reset(struct channel *c, const struct err *why);

/* ---- receiving ---- */

/* Bytes that on_data did not take; NULL if none. Valid until the next call on c. */
const uint8_t *channel_rx(const struct channel *c, size_t *len);
void channel_rx_take(struct channel *c, size_t n);
/* Change the window; a smaller one takes effect as bytes are taken. */
void channel_set_window(struct channel *c, size_t window_bytes);

/* ---- looking ---- */

void channel_get_state(const struct channel *c, struct channel_state *out);
const uint8_t *channel_token(const struct channel *c);
enum channel_class channel_class_of(const struct channel *c);
bool channel_attached(const struct channel *c);
uint32_t channel_stream(const struct channel *c);   /* 0 when detached */
uint64_t channel_send_end(const struct channel *c); /* offset after the last byte given */
uint64_t channel_send_acked(const struct channel *c);
size_t channel_send_free(const struct channel *c);   /* bytes channel_send would take */
uint64_t channel_recv_next(const struct channel *c); /* offset of the next byte to take */
bool channel_recv_ended(const struct channel *c);    /* EOF was delivered */
bool channel_is_reset(const struct channel *c);
void *channel_ctx(const struct channel *c);
void channel_set_ctx(struct channel *c, void *ctx);

/* A state as fields of a record, prefix "" or e.g. "stdin."; for what outlives a process.
 */
void channel_state_add(struct rec *r, const char *prefix, const struct channel_state *s);
int channel_state_get(const struct rec *r, const char *prefix, struct channel_state *out,
                      struct err *e) MUST_USE;

#endif
