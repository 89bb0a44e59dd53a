#ifndef RUNNER_CLIENT_PUMP_H
#define RUNNER_CLIENT_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/client/lines.h"
#include "runner/loop/loop.h"
#include "runner/wire/channel.h"

/*
 * Between a channel and one of our descriptors, without ever blocking the loop: a
 * slow reader of our stdout stops the sender by credit, and pings go on.
 *
 * The descriptor stays the caller's. Regular files are written and read as they are (an
 * appended file must be appended to); everything else through a private non-blocking
 * description (loop/fdio.h).
 */

/* ---- channel → descriptor ---- */

struct sink;

struct sink_events {
    /* Writing failed; from now on everything is taken and dropped. */
    void (*broken)(void *ctx, struct sink *s, const struct err *why);
    /* After sink_end: all is written. */
    void (*ended)(void *ctx, struct sink *s);
    void *ctx;
};

/*
 * seen, if not NULL, is kept at the offset after the last byte that was written: it is
 * stored right after the write that it tells of.
 */
int sink_new(struct sink **out, struct loop *l, int fd, uint64_t *seen,
             const struct sink_events *ev, struct err *e) MUST_USE;
/* Show lines instead of bytes. Before the first byte; lines stays the caller's. */
void sink_set_lines(struct sink *s, struct lines *lines);
void sink_free(struct sink *s); /* NULL allowed; puts the descriptor back as it was */
/* For on_data: how many were written. What is left is fetched from c when there is room.
 */
size_t sink_take(struct sink *s, struct channel *c, const uint8_t *data, size_t n);
/* For on_gap: bytes up to offset will not come. */
void sink_skip(struct sink *s, uint64_t offset);
/* More may be taken now than before (a time has come). */
void sink_go_on(struct sink *s);
/* For on_eof: that was all. `ended` is called, now or once what is left is written. */
void sink_end(struct sink *s);
bool sink_is_broken(const struct sink *s);

/* ---- descriptor → channel ---- */

struct source;

/* Reads once started. A real end of file becomes the channel's EOF, an error does not. */
int source_new(struct source **out, struct loop *l, int fd, struct err *e) MUST_USE;
void source_free(struct source *s); /* NULL allowed */
/* Read into c (on_accepted, or at once); may be called again. */
void source_start(struct source *s, struct channel *c);
/* For on_writable, and after SIGCONT (a terminal is not read in the background). */
void source_go_on(struct source *s);
void source_stop(struct source *s);
bool source_ended(const struct source *s); /* EOF was read */

#endif
