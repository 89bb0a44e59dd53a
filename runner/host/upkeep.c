#include "runner/host/upkeep.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "runner/host/workdirs.h"
#include "storage/gc.h"
#include "storage/snap.h"
#include "storage/store.h"

static int
gc_pass(const char *path, const struct gc_options *o, struct upkeep_gc *sums, bool *more,
        struct err *e)
{
    struct snap_expiry expiry = {0};
    struct gc_result res = {0};
    struct store *s = NULL;
    int rc = -1;

    if (store_open(&s, path, NULL, e) != 0) {
        return -1;
    }
    if ((!o->dry_run && snap_expire(s, &expiry, NULL, NULL, e) != 0) ||
        gc_run(s, o, &res, e) != 0) {
        goto out;
    }
    memcpy(sums->clock_doubt, expiry.clock_doubt, sizeof sums->clock_doubt);
    sums->freed_bytes += res.freed_bytes;
    sums->n_expired += expiry.n_expired;
    *more = res.n_condemned > 0;
    rc = 0;

out:
    store_close(s);
    return rc;
}

/*
 * What one pass condemns the next may take, through a store opened since: who asks for
 * room need not ask twice.
 */
int
upkeep_gc(const struct renter *r, bool dry_run, void (*say)(void *arg, const char *line),
          void *arg, struct upkeep_gc *sums, struct err *e)
{
    struct gc_options o = {.walk = gc_walk_tree,
                           .dry_run = dry_run,
                           .wait = true,
                           .say = say,
                           .say_arg = arg};
    char *path = workdirs_store_path(r);
    bool more = false;
    int rc = 0;

    if (!dry_run) {
        rc = workdirs_trim(r, e);
    }
    if (rc == 0 && file_exists(path)) {
        rc = gc_pass(path, &o, sums, &more, e);
        if (rc == 0 && more && !dry_run) {
            rc = gc_pass(path, &o, sums, &more, e);
        }
    }
    free(path);
    return rc;
}
