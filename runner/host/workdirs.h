#ifndef RUNNER_HOST_WORKDIRS_H
#define RUNNER_HOST_WORKDIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/host/agent.h"
#include "runner/host/trim.h"
#include "runner/job/spec.h"
#include "runner/job/state.h"

/*
 * The directories of a renter's jobs, over storage/workdir.h: where a new one may come
 * from, which old ones may go, and the snapshot at the end.
 */

struct manifest;
struct store;

/* The renter's store: its malloc'ed path; open, made where there is none yet. */
char *workdirs_store_path(const struct renter *r);
int workdirs_open_store(const struct renter *r, struct store **out,
                        struct err *e) MUST_USE;

/*
 * Make the job's directory hold what was shipped over what the snapshot `from` had. *path
 * is the caller's; *note says which way it was made, or NULL. ERR_NOT_FOUND: the tree or
 * the snapshot is not here.
 */
int workdirs_make(const struct renter *r, const struct job_spec *spec, char **path,
                  char **note, struct err *e) MUST_USE;

/* The same files, as plain as can be, in the new directory path: for what is thrown away.
 */
int workdirs_copy(const struct renter *r, const struct job_spec *spec, const char *path,
                  struct err *e) MUST_USE;

/*
 * The directory of a job that has not ended, or that could not be kept at its end
 * (job_data_waits). ERR_NOT_FOUND: it has ended (its snapshot is named), or has no
 * directory yet.
 */
int workdirs_open_live(const struct renter *r, const char *job, int *fd,
                       struct err *e) MUST_USE;

/*
 * The manifest of a snapshot whose data is kept. ERR_NOT_FOUND: no such snapshot here, or
 * its data is gone (and why).
 */
int workdirs_kept_tree(struct store *s, const char *snapshot, struct manifest **out,
                       struct err *e) MUST_USE;

/*
 * The manifest of a snapshot of which the names, sizes and hashes are there, whether its
 * data is or not. ERR_NOT_FOUND as workdirs_kept_tree where neither is.
 */
int workdirs_listed_tree(struct store *s, const char *snapshot, struct manifest **out,
                         struct err *e) MUST_USE;

/*
 * Fill in stored_bytes and n_chunks: encoded bytes of the distinct chunks of m->tree,
 * which is what keeping it is charged by. ERR_NOT_FOUND: not all of them are here.
 */
int workdirs_measure(struct store *s, struct manifest *m, struct err *e) MUST_USE;

/* What m says of its tree, which is in s: counts, damage by name, and its measure. */
int workdirs_describe(struct store *s, const struct sha256 *tree, struct manifest *m,
                      struct err *e) MUST_USE;

/*
 * Shipping claimed the tree for a while, as it does for code. What is to be kept for its
 * own sake has a claim of its own now, and one that outlived it would hold its room for
 * nothing.
 */
int workdirs_drop_shipped(struct store *s, const struct sha256 *tree,
                          struct err *e) MUST_USE;

/* What a snapshot needs to know of the job, besides its spec. */
struct workdirs_end {
    const struct job_spec *spec;
    const struct job_state *state; /* reason, exit code, end */
    const struct sha256 *bill;     /* of the journal's last signed point, or NULL */
    bool live;                     /* the job runs on: `snap take` */
    const char *id;                /* the snapshot's */
    const char *name;              /* NULL or "": the job's */
};

struct workdirs_snapshot {
    bool partial;
    uint64_t n_damaged;
    bool as_shipped; /* nothing was changed in what the client shipped */
    int64_t stored_bytes;
    int64_t expires_wall_ns;
    char first_damaged[256]; /* escaped; "" */
};

/*
 * Keep the job's directory as snapshot end->id, signed, durable on return. What cannot
 * be read is marked and makes it partial; only the store's own failures fail it. What the
 * store had of it, and proves damaged meanwhile, is put again. It is kept from the job's
 * end on; one that is live, or taken more than a day after that, from now on.
 */
int workdirs_snapshot(const struct agent *a, const struct renter *r,
                      const struct workdirs_end *end, struct workdirs_snapshot *out,
                      struct err *e) MUST_USE;

/*
 * Keep a tree that was shipped before (its chunks are held by whoever shipped it) as
 * snapshot id, called name ("" allowed); durable on return. ERR_NOT_FOUND: it is not
 * whole.
 */
int workdirs_keep_tree(const struct agent *a, const struct renter *r, const char *id,
                       const char *name, const struct sha256 *tree,
                       struct err *e) MUST_USE;

/*
 * Of ended jobs whose data is safe, keep the newest few directories, none when the disk
 * is nearly full, and no more than half of what the renter's store leaves of its quota;
 * of those whose data is not wanted, none.
 */
#define WORKDIRS_KEPT 8
int workdirs_trim(const struct renter *r, const struct trim_told *only,
                  struct err *e) MUST_USE;
/* Keep none: where the renter would be over its quota they are the first to go. */
int workdirs_trim_all(const struct renter *r, struct err *e) MUST_USE;
/* What those take whose data is safe. */
int workdirs_left_bytes(const struct renter *r, int64_t *bytes, struct err *e) MUST_USE;

/*
 * A directory made before its job is there (serve_early.h) has a name that is no job's.
 * Once it is whole it is one more that the next job's may be taken over from, and goes as
 * those of ended jobs do; unless it is whole, as soon as nobody is at it.
 */
void workdirs_early_name(char name[JOB_ID_LEN + 1]);
/* How large one may be. ERR_SPACE: there is little room. */
int workdirs_early_room(const struct renter *r, int work_fd, int64_t *max_bytes,
                        struct err *e) MUST_USE;

/* The job's data is given up: its directory goes too, if it was safe and is still its. */
int workdirs_forget(const struct renter *r, const char *job, struct err *e) MUST_USE;

#endif
