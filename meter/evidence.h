#ifndef METER_EVIDENCE_H
#define METER_EVIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"

/*
 * How much time is proven, from what several parties say, in any order and
 * however often. Pure functions; refusals by name (refuse.h).
 */

struct evidence_span {
    int64_t start;
    int64_t end;
};

/*
 * Whole seconds of CLOCK_MONOTONIC spans (ns, of any boots): summed, then floored
 * once. "clock_went_back" if an end is before its start.
 */
int evidence_elapsed(const struct evidence_span *mono_ns, size_t n, int64_t *billable_s,
                     struct err *e) MUST_USE;

/*
 * Host's and platform's count: within tolerance (equality is within) the host's, not
 * flagged; otherwise the smaller, flagged.
 */
int evidence_referee(int64_t host_s, int64_t platform_s, int64_t tol_s, int64_t tol_ppm,
                     int64_t *billable_s, bool *flagged, struct err *e) MUST_USE;

struct evidence_heartbeat {
    int64_t seq;
    int64_t cum_s;
};

/*
 * The counter of the highest seq (0 if there is none), at most lease_until_s.
 * "conflicting_heartbeat" if a seq comes with two counters, then "counter_went_back"
 * if by rising seq a counter falls. Sorts beats in place.
 */
int evidence_heartbeats(struct evidence_heartbeat *beats, size_t n, int64_t lease_until_s,
                        int64_t *billable_s, struct err *e) MUST_USE;

/* In a dispute: min(host, max(book's acknowledgement, client's countersignature, lease)).
 */
int64_t evidence_billable(int64_t host_cum_s, int64_t platform_ack_s,
                          int64_t client_cosigned_s, int64_t lease_until_s);

/* Seconds covered by at least one span; sorts spans in place. "range". */
int evidence_union(struct evidence_span *spans, size_t n, int64_t *covered,
                   struct err *e) MUST_USE;

#endif
