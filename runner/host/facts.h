#ifndef RUNNER_HOST_FACTS_H
#define RUNNER_HOST_FACTS_H

#include "base/attr.h"
#include "base/err.h"
#include "runner/host/agent.h"
#include "runner/job/hostinfo.h"

/*
 * What this host says of itself: gpurun.host.v1. r: as whom the peer is taken, NULL while
 * that is not known. fresh: ask the device probe now (facts_fill in HELLO must be fast).
 */
int facts_fill(struct host_info *out, const struct agent *a, const struct renter *r,
               bool fresh, struct err *e) MUST_USE;

/*
 * How jobs are walled in here, found out by trying once per boot and version of the
 * agent (fresh: now).
 */
struct facts_walls {
    enum host_protection protection;
    char why[256]; /* what is missing; "" */
    char confine[32];
    char memory_by[32];
};
void facts_walls(const struct agent *a, bool fresh, struct facts_walls *out);

#endif
