#ifndef RUNNER_HOST_DATASETS_H
#define RUNNER_HOST_DATASETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "runner/host/agent.h"
#include "runner/host/trim.h"
#include "runner/job/spec.h"

/*
 * Data sets: trees of a renter's store that have a name and no end (manifests of kind
 * `data`), and what jobs see of them.
 *
 *     data/<tree>         its files, made once, writable by nobody; shared by all jobs
 *     data/<tree>.lock    flock: shared by each job that sees it, alone to make or remove
 *     data/.<tree>.new    being made; removed by the next one who makes it, or by a trim
 *
 * A job has a symbolic link to it in its directory, and the guard shows the files
 * read-only to the job. Nothing of it is shipped with a job or gets into a snapshot.
 */

/*
 * Keep `tree`, or that of the kept snapshot `from` where from is not NULL, as data set
 * name with the new id. A set of that name with the same content: id is changed to its
 * own. ERR_EXISTS: with other content.
 */
int datasets_keep(const struct agent *a, const struct renter *r, char id[JOB_ID_LEN + 1],
                  const char *name, const struct sha256 *tree, const char *from,
                  struct err *e) MUST_USE;

/*
 * The data set of that name that is kept; id on success. ERR_NOT_FOUND.
 */
struct store;
int datasets_find(struct store *s, const char *name, char id[JOB_ID_LEN + 1],
                  struct err *e) MUST_USE;

/* Are all data sets of the job here, under these names? ERR_NOT_FOUND names one. */
int datasets_check(const struct renter *r, const struct job_spec *spec,
                   struct err *e) MUST_USE;

/*
 * The files of one, made where they are not there; *path (malloc'ed) is good while
 * *lock_fd is open.
 */
int datasets_open(const struct renter *r, const struct sha256 *tree, char **path,
                  int *lock_fd, struct err *e) MUST_USE;

/*
 * Let `at` in the job's directory lead to path; a link that an earlier job left there is
 * replaced. ERR_EXISTS: something else is there.
 */
int datasets_link(const char *workdir, const char *at, const char *path,
                  struct err *e) MUST_USE;
/* Take the link away, if it is still that: before the directory is kept. */
void datasets_unlink(const char *workdir, const char *at, const char *path);

/*
 * Remove the files of sets that are no longer kept, and, where less than a tenth of the
 * disk is free, of all that no job uses: they are in the store.
 */
int datasets_trim(const struct renter *r, const struct trim_told *only,
                  struct err *e) MUST_USE;
/* Remove the files of all that no job uses. */
int datasets_trim_all(const struct renter *r, struct err *e) MUST_USE;
/* What the files of all of them take; idle: of those that no job uses. */
int datasets_bytes(const struct renter *r, bool idle, int64_t *bytes,
                   struct err *e) MUST_USE;

#endif
