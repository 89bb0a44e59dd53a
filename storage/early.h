#ifndef STORAGE_EARLY_H
#define STORAGE_EARLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/store.h"

/*
 * A job's directory made while its tree still arrives. The tree's own chunks are taken to
 * come in order, and each group they hold is extracted once its contents are here. That
 * is a guess until the root is named: only what turns out to be the beginning of that
 * tree is completed, to a directory with a scan cache like that of an ended job
 * (workdir.h), which workdir_make takes over by its name. Whatever else happens leaves
 * nothing, and the job's directory is made as if this had not been tried.
 *
 * Life: early_new, early_run on a thread of its own; meanwhile, from one other thread,
 * early_came for each chunk and early_end once; early_free when early_run has returned.
 */
struct early;

struct early_options {
    /* May it grow to `bytes` of content, by `more`? false: it is given up. NULL: yes. */
    bool (*fits)(void *ctx, uint64_t bytes, uint64_t more);
    void *fits_ctx;
    unsigned n_threads; /* of extraction; 0: one per core, at most 8 */
};

/*
 * name as of a job (workdir.h), and nobody else's; work_fd and s stay the caller's and
 * outlive it. Nothing is made before early_run.
 */
struct early *early_new(int work_fd, const char *name, struct store *s,
                        const struct early_options *o);
void early_free(struct early *y); /* NULL is allowed */

/*
 * The chunk was just put into the store; those of kind META in order of arrival. raw: its
 * bytes, whose memory may be taken (then it is empty), so that they need not be read,
 * decoded and checked again; NULL: they are not at hand.
 */
void early_came(struct early *y, enum store_kind kind, const struct sha256 *id,
                struct buf *raw);
/*
 * All of tree_id is in the store, and was found sound: it is completed, unless not even a
 * group was read by now. NULL, also after that: it does not come, or is not wanted.
 */
void early_end(struct early *y, const struct sha256 *tree_id);

/*
 * Until after early_end. 0: work/<name> and its cache are there, every file old enough to
 * be trusted. -1: nothing is left. The place is shared meanwhile (workdir_sweep). A crash
 * leaves a directory without a cache, which workdir_give_up removes.
 */
int early_run(struct early *y, struct err *e) MUST_USE;

#endif
