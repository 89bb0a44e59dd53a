#ifndef RUNNER_JOB_PARK_H
#define RUNNER_JOB_PARK_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/json.h"
#include "base/rec.h"

/*
 * Parking: a command that a host runs by itself once nothing is left to do on it, so that
 * a machine paid by the hour does not stand on after the last job. This is how both sides
 * speak of it: record gpurun.park.v1, a field of gpurun.host.v1 and of host.park's
 * answer.
 */
#define PARK_TYPE        "gpurun.park.v1"
#define PARK_COMMAND_MAX ((size_t)4096)
#define PARK_WHY_MAX     ((size_t)512)
#define PARK_AFTER_MIN_S 1
#define PARK_AFTER_MAX_S ((int64_t)30 * 86400)
#define PARK_AFTER_S     600 /* where nobody says how long */

enum park_phase {
    PARK_NONE = 0, /* nobody asked for it */
    PARK_WAITING,  /* a job or a transfer is there: why */
    PARK_COUNTING, /* nothing is, and the command comes at at_wall_ns */
    PARK_HELD,     /* it should have come, but something would be lost: why */
    PARK_RUNNING,  /* the command runs since at_wall_ns */
    PARK_PARKED,   /* it ran at at_wall_ns; no second time before another job came */
    PARK_FAILED,   /* it failed at at_wall_ns: why; it is tried again */
};

struct park {
    enum park_phase phase;
    char *command;   /* NULL: not for this renter to see */
    int64_t after_s; /* of nothing to do */
    int64_t at_wall_ns;
    char *why;      /* a peer's words: escape them; NULL */
    char *why_form; /* why taken apart (base/form.h); NULL */
};

void park_init(struct park *p);
void park_free(struct park *p);
void park_set_text(char **field, const char *text);       /* owned; NULL clears */
void park_set_why(struct park *p, const struct err *why); /* with its form; NULL clears */
const char *park_phase_name(enum park_phase p);           /* "counting"; "none" */

struct rec *park_encode(const struct park *p);
/* ERR_INVALID, ERR_RANGE. Written on success. */
int park_parse(struct park *out, const struct rec *r, struct err *e) MUST_USE;

/* A command and a time that may be set. ERR_INVALID says which is wrong. */
int park_check(const char *command, size_t len, int64_t after_s, struct err *e) MUST_USE;

/* "park": {phase, command, after_s, at, why} or null, as every listing shows it. */
void park_json(struct json_writer *j, const struct park *p);

#endif
