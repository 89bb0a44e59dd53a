#ifndef RUNNER_WIRE_RELAY_H
#define RUNNER_WIRE_RELAY_H

/*
 * Passing a stream on: serve stands between the client's connection and the
 * supervisor's socket and hands frames across, with the stream's number there. It
 * neither acknowledges nor keeps anything, so the two ends stay exact through its
 * death. Credit granted by the ends bounds what can be under way here; above
 * MUX_QUEUE_HIGH the reading side is told to wait (mux_congested).
 */

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/wire/mux.h"

/*
 * Answer an offer that came in on from (inside on_open, or later: the offer is kept)
 * by opening the same on to, rec in place of the offer's own if not NULL. Ends with
 * either end's RESET or when both directions are through. If one connection goes,
 * the other end of the stream is told with RESET link, which detaches its channel
 * and leaves it resumable.
 * ERR_LINK: no such offer, or one of the connections is over. ERR_BUSY: too many streams.
 */
int relay_join(struct mux *from, uint32_t stream, struct mux *to, const struct rec *rec,
               struct err *e) MUST_USE;

#endif
