#ifndef STORAGE_WORKDIR_H
#define STORAGE_WORKDIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/store.h"
#include "storage/tree.h"

/*
 * Job directories, made without copying what is there already.
 *
 * A place (the renter's work/) holds job directories and, beside each, its scan cache:
 *
 *     work/<job>            the directory the job sees
 *     work/<job>.scan       its scan cache; present only while the directory is whole
 *     work/.<job>.new       being made; never trusted, removed by the next who makes that
 *                           one, or by workdir_sweep
 *
 * A new directory is, best first: the directory of an *ended* job (workdir_release)
 * taken over and changed where it differs, else a plain extraction. A taken-over
 * directory is checked by a stat sweep against its scan cache; whatever is not
 * provably what the cache says is replaced. Files with links elsewhere are never kept.
 * Taking over is by renaming the scan cache first: one taker wins, and a taker that
 * dies leaves a directory that nobody trusts.
 */

enum workdir_way { WORKDIR_NONE = 0, WORKDIR_EXTRACTED, WORKDIR_TAKEN_OVER };

struct workdir_options {
    const char *const
        *candidates; /* ended jobs whose directory may be taken, best first */
    size_t n_candidates;
    unsigned n_threads;
    void (*progress)(void *ctx, uint64_t n_entries, uint64_t bytes);
    void *progress_ctx;
};

struct workdir_report {
    enum workdir_way way;
    char from[64];   /* the job it was taken from */
    uint64_t n_kept; /* entries left as they were */
    uint64_t n_made; /* made or replaced */
    uint64_t n_removed;
    uint64_t made_bytes; /* content written */
};

/*
 * Make work_fd/<job> hold tree_id (its chunks in s), with its scan cache. ERR_EXISTS:
 * the name is taken. On failure there is no such directory (a candidate may be used
 * up). The caller keeps s open, or a manifest for tree_id, while the job lives.
 */
int workdir_make(int work_fd, const char *job, struct store *s,
                 const struct sha256 *tree_id, const struct workdir_options *o,
                 struct workdir_report *r, struct err *e) MUST_USE;

/*
 * Snapshot the directory of an ended job with the scan cache, which is then that of
 * the new tree, so that the directory can be taken over. See build_tree.
 */
struct build_report;
int workdir_snapshot(int work_fd, const char *job, struct store *s, bool live,
                     struct build_report *r, struct err *e) MUST_USE;

/* Has it a cache? Without one nobody takes it over, or somebody is just doing so. */
bool workdir_may_be_taken(int work_fd, const char *job) MUST_USE;

/*
 * Remove the directory of an ended job, unless somebody takes it over or has done so: who
 * removes its cache owns it. One that has none is left alone while anybody makes a
 * directory there: whoever took it may be at work. Else they died, and it goes.
 */
int workdir_give_up(int work_fd, const char *job, struct err *e) MUST_USE;

/* Remove the directory, which nobody may take over, and its cache. Missing is fine. */
int workdir_remove(int work_fd, const char *job, struct err *e) MUST_USE;

/*
 * Remove what interrupted makers left, caches without a directory too. Does nothing while
 * anybody makes a directory there: what is left over then goes the next time.
 */
int workdir_sweep(int work_fd, struct err *e) MUST_USE;

#endif
