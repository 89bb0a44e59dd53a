#ifndef RUNNER_HOST_CACHES_H
#define RUNNER_HOST_CACHES_H

#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "runner/host/agent.h"
#include "runner/host/trim.h"
#include "runner/job/spec.h"

/*
 * A renter's cache on a host: what model hubs and package managers have fetched, for the
 * next job. It lies beside the job directories (renters/<id>/cache/<tool>), so no
 * snapshot holds it; it may vanish at any time between jobs, and comes again.
 */

/* Forget where the owner keeps such things: a renter who was let in may not go there. */
void caches_forget(struct strings *env);
/*
 * Point HF_HOME, MODELSCOPE_CACHE, TORCH_HOME, PIP_CACHE_DIR and UV_CACHE_DIR into the
 * cache (made when missing), each unless it is set, or the login user, whose own job it
 * is, has something in the tool's usual place (~/.cache/<tool>, by XDG_CACHE_HOME).
 */
int caches_env(const struct renter *r, struct strings *env, struct err *e) MUST_USE;

/*
 * Remove what was neither read nor written for max_age_s, then the longest unused until
 * what is left takes max_bytes at most; but nothing that was used at unused_since_s or
 * later. What goes goes as a whole, and at once: one model, one index, one package is
 * renamed away, looked at again, put back if somebody has just read it, and only then
 * removed. cache_fd: the directory of the tools. One process at a time.
 */
struct caches_rule {
    int64_t now_s;
    int64_t max_age_s;
    uint64_t max_bytes;
    int64_t unused_since_s;       /* INT64_MAX: no matter */
    const struct trim_told *only; /* NULL: do it */
};
int caches_trim_to(int cache_fd, const struct caches_rule *rule, struct err *e) MUST_USE;

/*
 * The same by the house's rule: 30 days, and a tenth of the disk, or half of what the
 * renter's store leaves of its quota. While jobs of the renter live only what was not
 * used since a day before the oldest began (times of reading may be kept once a day), and
 * nothing where this disk does not keep them. Another is at it: nothing is done.
 */
#define CACHES_AGE_S ((int64_t)30 * 86400)
int caches_trim(const struct renter *r, const struct trim_told *only,
                struct err *e) MUST_USE;

/* What all below the directory `name` in `at` takes on the disk. */
int64_t caches_bytes_of(int at, const char *name);
/* What the cache takes now, with all else that a renter who was let in has at home. */
int64_t caches_bytes(const struct renter *r);

#endif
