#ifndef RUNNER_WIRE_FRAME_H
#define RUNNER_WIRE_FRAME_H

/*
 * Frames: the unit everything on the wire is cut into (PROTOCOL.md, "Frames").
 *
 * A frame is a header of FRAME_HEADER_BYTES and at most FRAME_PAYLOAD_MAX bytes.
 * There is no checksum: SSH and unix sockets have their own. What does not look
 * like a frame of this protocol (length, type, flags, reserved bits, which types
 * may carry what) is refused by the decoder before anybody acts on it.
 *
 * The decoder hands out payloads as pointers into its own buffer. That buffer
 * begins small and grows only while reads keep filling it, so a quiet
 * connection costs a few KiB.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

#define FRAME_HEADER_BYTES 20
#define FRAME_PAYLOAD_MAX  ((size_t)256 * 1024)
/* We ourselves never send more than this in one frame: nothing urgent ever waits longer.
 */
#define FRAME_QUANTUM ((size_t)64 * 1024)

enum frame_type {
    FRAME_NONE = 0,
    /* of the connection; stream is 0 */
    FRAME_HELLO = 1,  /* first frame of either side; payload: record gpurun.hello.v1 */
    FRAME_GOAWAY = 2, /* last frame; payload: error record, or empty for an orderly end */
    FRAME_PING = 3,   /* seq: any number, returned by */
    FRAME_PONG = 4,
    FRAME_REQ = 5,   /* seq: request id, of the sender's own, growing; payload: record */
    FRAME_RESP = 6,  /* seq: that id */
    FRAME_ERR = 7,   /* seq: that id; payload: error record */
    FRAME_EVENT = 8, /* seq: number of the event, growing from 1 */
    /* of a stream; stream is not 0 */
    FRAME_OPEN = 16,   /* open or resume a channel (channel.h) */
    FRAME_ACCEPT = 17, /* the answer */
    FRAME_RESET = 18,  /* refused or broken off; payload: error record */
    FRAME_DATA = 19,   /* seq: offset of the first byte */
    FRAME_GAP = 20,    /* seq: offset; payload: u64 offset where bytes go on */
    FRAME_EOF = 21,    /* seq: offset of the end */
    FRAME_ACK = 22,    /* seq: offset up to which all was consumed; limit, notes seen */
    FRAME_NOTE = 23,   /* seq: number of the note; signal, resize, or the user's own */
};

/* REQ, RESP, ERR, EVENT: the message goes on in the next such frame of that id. */
#define FRAME_F_MORE 0x01u
/* NOTE: deliver only after the bytes before it. */
#define FRAME_F_ORDERED 0x02u
/* ACK: the EOF was delivered too. */
#define FRAME_F_ENDED 0x04u
#define FRAME_F_ALL   (FRAME_F_MORE | FRAME_F_ORDERED | FRAME_F_ENDED)

struct frame {
    uint8_t type;
    uint8_t flags;
    uint32_t stream;
    uint64_t seq;
    const uint8_t *payload; /* NULL when len is 0 */
    size_t len;
};

const char *frame_type_name(unsigned type); /* "DATA"; "?" if unknown */

/* Write the header of f (payload not looked at). f must pass frame_check (asserted). */
void frame_put_header(uint8_t out[FRAME_HEADER_BYTES], const struct frame *f);

/* Append header and payload. */
void frame_encode(struct buf *out, const struct frame *f);

/* ERR_CORRUPT: type, flags, stream, seq and length do not go together. */
int frame_check(const struct frame *f, struct err *e) MUST_USE;

struct frame_decoder; /* one thread at a time */

struct frame_decoder *frame_decoder_new(void);
void frame_decoder_free(struct frame_decoder *d); /* NULL allowed */

/*
 * Room to read bytes into, at least FRAME_HEADER_BYTES; tell with _filled how many
 * came. Invalidates every payload handed out so far.
 */
uint8_t *frame_decoder_room(struct frame_decoder *d, size_t *room_bytes);
void frame_decoder_filled(struct frame_decoder *d, size_t n);

/* The same by copying. Any n is accepted: take the frames out between two calls. */
void frame_decoder_feed(struct frame_decoder *d, const void *data, size_t n);

/*
 * The next whole frame: *got false when there is none yet. out->payload stays valid
 * until the next _room or _feed. ERR_CORRUPT is for good: there is no way to find
 * the next frame's start.
 */
int frame_decoder_next(struct frame_decoder *d, struct frame *out, bool *got,
                       struct err *e) MUST_USE;

/* Bytes held that are not yet a whole frame: not 0 at the end means the link was cut. */
size_t frame_decoder_pending(const struct frame_decoder *d);

/* Give memory back after a busy time; keeps what is pending. */
void frame_decoder_trim(struct frame_decoder *d);

#endif
