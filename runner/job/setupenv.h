#ifndef RUNNER_JOB_SETUPENV_H
#define RUNNER_JOB_SETUPENV_H

#include <stdbool.h>

/*
 * A set-up's command is given all that --env sets. What of it makes another result of the
 * same command, and so belongs to the key of its layer: what leads to programs and
 * libraries or steers those that install and build, and what the command names itself
 * ($X,
 * ${X}). The rest is for the job, and may be another for each: a seed, the index of an
 * array.
 *
 * assignment: "K=V".
 */
bool setupenv_counts(const char *assignment, const char *command);

#endif
