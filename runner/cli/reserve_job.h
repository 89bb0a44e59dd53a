#ifndef RUNNER_CLI_RESERVE_JOB_H
#define RUNNER_CLI_RESERVE_JOB_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "meter/grant.h"
#include "runner/client/home.h"
#include "runner/client/session.h"
#include "runner/job/state.h"

/* A job that runs at a price per hour, going over to time paid in front. */

/* What it runs on. st was initialised. ERR_NOT_FOUND: on no device now. */
int reserve_job_devices(struct session *s, const char *job, struct job_state *st,
                        struct err *e) MUST_USE;
/* Is there one in force already, of all of them? */
bool reserve_job_covered(const struct home *home, const struct session *s,
                         const struct job_state *st, char id[GRANT_ID_MAX + 1]);
/* Have its time booked as that reservation's, from now on. The same again is fine. */
int reserve_job_put(struct session *s, const char *job, const char *reservation,
                    struct err *e) MUST_USE;

#endif
