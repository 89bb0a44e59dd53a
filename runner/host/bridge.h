#ifndef RUNNER_HOST_BRIDGE_H
#define RUNNER_HOST_BRIDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/loop/loop.h"
#include "runner/wire/mux.h"

/*
 * Between a client's channel and descriptors here: what the channel brings is written to
 * one, what the other one gives is sent. Each side waits for the other; nothing is held
 * beside the channel's own buffers. A descriptor that ends is told (ended); the channel's
 * own end is then the owner's to say.
 */
struct bridge;

struct bridge_events {
    void (*ended)(void *ctx);    /* nothing more will be read from rd_fd */
    void (*detached)(void *ctx); /* the connection is gone, the channel may come back */
    void (*attached)(void *ctx); /* it is here (again) */
    void (*over)(void *ctx);     /* reset by the peer, or both ends done */
    void (*note)(void *ctx, int kind, const uint8_t *data, size_t n);
    /* The peer's EOF, instead of closing wr_fd; NULL: close it. */
    void (*peer_eof)(void *ctx);
};

/*
 * Takes over both descriptors (non-blocking; -1: there is none; they must differ), also
 * on failure.
 */
int bridge_new(struct bridge **out, struct loop *l, int rd_fd, int wr_fd,
               const struct bridge_events *ev, void *ctx, struct err *e) MUST_USE;
void bridge_free(struct bridge *b, const struct err *why); /* resets the channel */

/* Answer the offer: a new channel the first time, the same one for the same token. */
int bridge_accept(struct bridge *b, struct mux *m, const struct mux_offer *offer,
                  struct err *e) MUST_USE;
/* Read what is there without waiting, then no more; ended is called. */
void bridge_end_reading(struct bridge *b);
/* An ordered note, then no more bytes. */
int bridge_send_note(struct bridge *b, int kind, const void *data, size_t n,
                     struct err *e) MUST_USE;
void bridge_send_eof(struct bridge *b);
/* A socket's writing half: what was written arrives, then its end. */
void bridge_shutdown_write(struct bridge *b);
int bridge_write(struct bridge *b, const void *data, size_t n); /* past the channel */

#endif
