#ifndef RUNNER_CLIENT_STALL_H
#define RUNNER_CLIENT_STALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/loop/loop.h"
#include "runner/wire/channel.h"

/*
 * One channel of a transfer (storage/sync.h), and a host at its other end that may fall
 * silent although its agent answers pings. While the host owes something (the rest of a
 * frame that it began, a word that it took what was sent, an answer) and nothing moves
 * for a minute, over is called, once; where it has to read or write as much as it likes
 * before it speaks (its next frame, or that all it took is on its disk), for ten. While
 * it is another's turn it owes nothing, however long that takes. Time in which this
 * program did not run does not count.
 */
#define STALL_NS   ((int64_t)60 * 1000000000)
#define STALL_SLOW 10

struct stall_events {
    void (*over)(void *ctx);
    /*
     * Does the host owe something that its frames do not show? How many times the usual
     * silence that may take, 0: nothing. Not asked while there is something of it that
     * nobody took. May be NULL.
     */
    int (*owes)(void *ctx);
};

struct stall;
/* quiet_ns: STALL_NS, but in tests. */
struct stall *stall_new(struct loop *l, int64_t quiet_ns, const struct stall_events *ev,
                        void *ctx);
void stall_free(struct stall *s); /* NULL allowed */

/* Begin, with halves that are new: on c, which outlives that; NULL: nothing to watch. */
void stall_watch(struct stall *s, const struct channel *c);
/* Bytes of frames that came from the host, and were taken. */
void stall_took(struct stall *s, const void *data, size_t n);
/* Of chunks in the whole ones among them, as they are kept. */
uint64_t stall_stored_bytes(const struct stall *s);
/* Where a sender that is watched by the one, and a receiver by the other, stand. */
bool stall_is_asked(const struct stall *sender, const struct stall *receiver);

/* What to say of that host. Returns -1. */
int stall_error(const char *host, struct err *e);

#endif
