#ifndef RUNNER_JOB_PACE_H
#define RUNNER_JOB_PACE_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "storage/care.h"

/*
 * How far a long request has come, as its host tells who asked for that
 * (`gpurun.event.progress.v1`, runner/DESIGN.md).
 */
struct pace {
    int64_t number; /* the client's, of the request */
    enum care_step step;
    uint64_t done;
    uint64_t all; /* 0: not known */
};

struct rec *pace_rec(const struct pace *p);
/* A step that this version does not know is CARE_NONE. ERR_INVALID: it is no such record.
 */
int pace_parse(struct pace *out, const struct rec *r, struct err *e) MUST_USE;

#endif
