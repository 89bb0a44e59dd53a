#include "runner/host/upkeep.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "runner/host/caches.h"
#include "runner/host/datasets.h"
#include "runner/host/keepline.h"
#include "runner/host/notices.h"
#include "runner/host/setups.h"
#include "runner/host/trim.h"
#include "runner/host/workdirs.h"
#include "storage/gc.h"
#include "storage/snap.h"
#include "storage/store.h"

#define MARKER    "upkeep"
#define EVERY_S   ((int64_t)86400)
#define NICE_LAST 19
#define NS_PER_S  ((int64_t)1000000000)

/* ---- what would be ---- */

/* Snapshots whose data a dry run is to take for given up. */
struct doomed {
    const struct gc_options *o;
    struct strings ids;
};

static void
doom(void *arg, const struct snap *sn)
{
    struct doomed *d = arg;
    struct err line;

    strings_add(&d->ids, sn->id);
    if (d->o->say != NULL) {
        (void)err_set(&line, ERR_NONE, "snapshot %s would expire now", sn->id);
        d->o->say(d->o->say_arg, &line);
    }
}

static bool
is_doomed(void *arg, const char *id)
{
    const struct doomed *d = arg;

    return strings_has(&d->ids, id);
}

static int
would_pass(const struct renter *r, const struct gc_options *o, struct upkeep_gc *sums,
           struct err *e)
{
    struct doomed d = {.o = o};
    struct gc_options dry = *o;
    struct snap_expiry expiry = {0};
    struct gc_result res = {0};
    struct store *s = NULL;
    int rc = -1;

    dry.given_up = is_doomed;
    dry.given_up_arg = &d;
    if (workdirs_open_store(r, &s, e) == 0 &&
        snap_would_expire(s, &expiry, doom, &d, e) == 0 &&
        gc_run(s, &dry, &res, e) == 0) {
        sums->clock_doubt = expiry.clock_doubt;
        sums->n_expired += expiry.n_expired;
        sums->freed_bytes += res.freed_bytes;
        sums->n_unreadable += res.n_unreadable;
        rc = 0;
    }
    strings_free(&d.ids);
    store_close(s);
    return rc;
}

static int
would_gc(const struct renter *r, const struct gc_options *o, const char *store,
         struct upkeep_gc *sums, struct err *e)
{
    const struct trim_told told = {.say = o->say, .arg = o->say_arg};

    if (o->say != NULL &&
        (workdirs_trim(r, &told, e) != 0 || datasets_trim(r, &told, e) != 0 ||
         setups_trim(r, &told, e) != 0 || caches_trim(r, &told, e) != 0)) {
        return -1;
    }
    return file_exists(store) ? would_pass(r, o, sums, e) : 0;
}

/* ---- what is ---- */

static int
gc_pass(const struct renter *r, const struct gc_options *o, struct upkeep_gc *sums,
        struct upkeep_gc *left, bool *more, struct err *e)
{
    struct snap_expiry expiry = {0};
    struct gc_result res = {0};
    struct store *s = NULL;
    struct err why;
    int rc = -1;

    if (workdirs_open_store(r, &s, e) != 0) {
        return -1;
    }
    if (snap_expire(s, &expiry, NULL, NULL, &why) != 0 && why.code != ERR_SPACE) {
        *e = why;
        goto out;
    }
    /* A disk too full to note what has expired: gc makes room, and the next run goes on.
     */
    if (gc_run(s, o, &res, e) != 0) {
        goto out;
    }
    sums->clock_doubt = expiry.clock_doubt;
    sums->freed_bytes += res.freed_bytes;
    left->n_unreadable = res.n_unreadable; /* of the last pass: the same ones */
    left->n_no_room = res.n_no_room;
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
static int
really_gc(const struct renter *r, const struct gc_options *o, const char *store,
          struct upkeep_gc *sums, struct err *e)
{
    static int (*const trims[])(const struct renter *, const struct trim_told *,
                                struct err *) = {workdirs_trim, datasets_trim,
                                                 setups_trim, caches_trim};
    struct upkeep_gc left = {.n_unreadable = 0};
    bool more = file_exists(store);
    struct err why;
    int rc = 0;

    for (size_t i = 0; i < sizeof trims / sizeof trims[0]; i++) {
        if (trims[i](r, NULL, &why) != 0) {
            trim_failed(&rc, &why, e);
        }
    }
    for (unsigned pass = 0; pass < 2 && more; pass++) {
        if (gc_pass(r, o, sums, &left, &more, &why) != 0) {
            trim_failed(&rc, &why, e);
            break;
        }
    }
    sums->n_unreadable += left.n_unreadable;
    sums->n_no_room += left.n_no_room;
    return rc;
}

int
upkeep_gc(const struct renter *r, bool dry_run, const struct upkeep_told *told,
          struct upkeep_gc *sums, struct err *e)
{
    static const struct upkeep_told none;
    const struct upkeep_told *t = told != NULL ? told : &none;
    struct gc_options o = {.walk = gc_walk_tree,
                           .walk_names = gc_walk_names,
                           .dry_run = dry_run,
                           .wait = true,
                           .say = t->say,
                           .say_arg = t->arg,
                           .progress = t->progress,
                           .progress_arg = t->arg};
    char *path = workdirs_store_path(r);
    int rc = dry_run ? would_gc(r, &o, path, sums, e) : really_gc(r, &o, path, sums, e);

    free(path);
    return rc;
}

bool
upkeep_due(const struct renter *r, const char *marker, int64_t every_s)
{
    int64_t now_s = clock_wall_ns() / NS_PER_S;
    bool due = false;
    struct stat st;
    int fd = openat(r->fd, marker, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd != -1) { /* seen for the first time */
        (void)fd_close(&fd);
        return false;
    }
    fd = openat(r->fd, marker, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd != -1 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0) {
        due = now_s - st.st_mtim.tv_sec >= every_s;
        /* Ahead of us by so much: it was set by a wrong clock. */
        if (due || st.st_mtim.tv_sec - now_s >= every_s) {
            due = futimens(fd, NULL) == 0 && due;
        }
    }
    (void)fd_close(&fd);
    return due;
}

bool
upkeep_is_due(const struct renter *r)
{
    return upkeep_due(r, MARKER, EVERY_S);
}

int
upkeep_main(const char *renter_id)
{
    struct upkeep_gc sums = {0};
    struct agent *a = NULL;
    struct renter *r = NULL;
    size_t n_told = 0;
    struct err e;
    int rc = -1;

    (void)setpriority(PRIO_PROCESS, 0, NICE_LAST);
    if (agent_open(&a, &e) == 0 && renter_open(&r, a, renter_id, false, &e) == 0) {
        if (notices_give(a, r, &n_told, &e) != 0) { /* the rest is due all the same */
            (void)fprintf(stderr, "gpurun-agent: %s\n", e.msg);
        }
        rc = upkeep_gc(r, false, NULL, &sums, &e);
    }
    if (rc != 0) {
        (void)fprintf(stderr, "gpurun-agent: %s\n", e.msg);
    }
    if (sums.n_expired > 0) {
        keepline_sweep(a, r);
    }
    renter_close(r);
    agent_close(a);
    return rc == 0 ? 0 : 1;
}
