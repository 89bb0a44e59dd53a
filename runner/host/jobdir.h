#ifndef RUNNER_HOST_JOBDIR_H
#define RUNNER_HOST_JOBDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "runner/host/agent.h"
#include "runner/job/spec.h"
#include "runner/job/state.h"

/*
 * The record of a job: renters/<renter>/jobs/<job>/. It is made whole under another name
 * and renamed, so a job directory that exists has spec, grant and state. Whoever holds
 * `lock` owns the job; a job that is not final while nobody holds it is lost.
 */
struct jobdir {
    char job[JOB_ID_LEN + 1];
    int fd;      /* of the directory */
    int jobs_fd; /* of the one above; only while it is being made */
    int lock_fd; /* -1: not ours */
    bool placed; /* has its final name */
};

/* Make ".<job>.new" with its lock held, to be filled and placed by jobdir_place. */
int jobdir_make(struct jobdir *out, const struct renter *r, const char *job,
                struct err *e) MUST_USE;
/*
 * Give it its name, durable. ERR_EXISTS: there is such a job already, this one is to be
 * dropped by jobdir_drop.
 */
int jobdir_place(struct jobdir *d, struct err *e) MUST_USE;
/* Remove what jobdir_make made and close. */
void jobdir_drop(struct jobdir *d);

/* ERR_NOT_FOUND: no such job of this renter. */
int jobdir_open(struct jobdir *out, const struct renter *r, const char *job,
                struct err *e) MUST_USE;
void jobdir_close(struct jobdir *d); /* gives the lock up too */
/* Take the lock if nobody has it: *got. */
int jobdir_try_lock(struct jobdir *d, bool *got, struct err *e) MUST_USE;
/* Is some process holding the lock? */
int jobdir_is_owned(const struct jobdir *d, bool *owned, struct err *e) MUST_USE;

/*
 * What its supervisor has to say, and others of it when there is none: a file of lines,
 * opened for one more at its end; -1: it cannot be, or is as long as it may get.
 */
int jobdir_open_log(const struct jobdir *d);

/* One file of it, appended to out; ERR_NOT_FOUND. */
int jobdir_read(const struct jobdir *d, const char *name, size_t max_bytes,
                struct buf *out, struct err *e) MUST_USE;
int jobdir_spec(const struct jobdir *d, struct job_spec *out, struct err *e) MUST_USE;
int jobdir_state(const struct jobdir *d, struct job_state *out, struct err *e) MUST_USE;
/*
 * Replace the state record. durable: on stable storage on return; else it is after a
 * power cut the old one, the new one or none, which is as good for a job that died with
 * the machine.
 */
int jobdir_set_state(const struct jobdir *d, const struct job_state *s, bool durable,
                     struct err *e) MUST_USE;

struct job_ids {
    char (*v)[JOB_ID_LEN + 1];
    size_t n;
};
#define JOBS_MAX 1000000
/* Ids of all jobs of the renter, in no order. */
int jobdir_list(const struct renter *r, struct job_ids *out, struct err *e) MUST_USE;
void job_ids_free(struct job_ids *l);

/*
 * Jobs that are not final have a mark beside the list, so that finding them does not take
 * reading all there ever were. Marked before the job is placed, durable once *dir_fd,
 * which is the caller's, was synced; unmarked after its final state is. A mark of a job
 * that does not exist means nothing.
 */
int jobdir_mark_active(const struct renter *r, const char *job, int *dir_fd,
                       struct err *e) MUST_USE;
void jobdir_unmark_active(const struct renter *r, const char *job);
int jobdir_list_active(const struct renter *r, struct job_ids *out,
                       struct err *e) MUST_USE;

/* Of all renters: the state of each job, all or the active ones. A job that cannot be
 * read is passed over; a list that cannot be ends it. */
typedef void jobdir_each_fn(void *ctx, const struct renter *r,
                            const struct job_state *st);
int jobdir_each(const struct agent *a, bool all, jobdir_each_fn *fn, void *ctx,
                struct err *e) MUST_USE;

#endif
