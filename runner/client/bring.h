#ifndef RUNNER_CLIENT_BRING_H
#define RUNNER_CLIENT_BRING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "runner/client/session.h"
#include "storage/extract.h"
#include "storage/store.h"
#include "storage/sync.h"

/*
 * Data from a host to here. A tree comes into a scratch store beneath our home, checked
 * by hash; from there it is extracted (storage/extract.h), or sent on to another host
 * without ever being a directory here. A cut link costs nothing that has arrived.
 */
struct scratch;

/* A store of our own that goes with scratch_free. */
int scratch_new(struct scratch **out, const struct home *home, struct err *e) MUST_USE;
/*
 * For a snapshot of the host of s, which is up: that host's own store where it can be
 * opened here (near.h), so that nothing is copied before it is used; else a new one. Runs
 * the loop.
 */
int scratch_for(struct scratch **out, const struct home *home, struct session *s,
                struct err *e) MUST_USE;
void scratch_free(struct scratch *s); /* NULL allowed */
struct store *scratch_store(struct scratch *s);

struct bring_want {
    const char *snapshot; /* this snapshot, */
    const char *job;      /* or what this job's directory holds now */
    const char *path;     /* only this object, under its last name; NULL: all */
    uint64_t max_bytes;   /* 0: no limit */
    void (*progress)(void *ctx, const struct sync_stats *st);
    void *ctx;
};

/*
 * What came. only is what to take out of the tree (land_tree, extract_tree), NULL for
 * all: of a snapshot the want's path (the tree is the snapshot's own, with the contents
 * of that alone), of a job's directory its last name (the tree holds nothing else).
 */
struct brought {
    struct sha256 tree;
    const char *only; /* part of the want's path */
};

/*
 * Bring it; runs the loop. ERR_NOT_FOUND: no
 * such object there.
 */
int bring_tree(struct client *cl, struct session *s, struct scratch *to,
               const struct bring_want *w, struct brought *out, struct err *e) MUST_USE;

/*
 * The same beside all else on the loop and the session, which outlives it as scratch and
 * what w points to do. bring_finish: *out and 0, or how it failed; ERR_LINK before it is
 * over, which gives it up.
 */
struct bring;
int bring_start(struct bring **out, struct client *cl, struct session *s,
                struct scratch *to, const struct bring_want *w, struct err *e) MUST_USE;
bool bring_is_over(const struct bring *b);
int bring_finish(struct bring *b, struct brought *out, struct err *e) MUST_USE;

/*
 * The listing of a snapshot or of a job's directory: appended to out as storage's
 * tree_open_stream reads it. ERR_RANGE above BRING_LISTING_MAX.
 */
#define BRING_LISTING_MAX ((size_t)1 << 30)
int bring_listing(struct client *cl, struct session *s, const struct bring_want *w,
                  struct buf *out, struct err *e) MUST_USE;
/* To read it: tree_open_stream(&reader, bring_listing_read, &at, e). */
struct bring_listing_at {
    const struct buf *listing;
    size_t at;
};
int bring_listing_read(void *ctx, void *to, size_t n, size_t *got, struct err *e);

/*
 * ERR_EXISTS: that name (beneath dir_fd, AT_FDCWD: here; shown so) is a device, pipe or
 * socket, or a link to one: root would take /dev/null or /dev/stdout from all others.
 */
int land_check_file(int dir_fd, const char *name, const char *shown,
                    struct err *e) MUST_USE;
/* Before anything is fetched for it: could anything land at target at all? */
int land_check(const char *target, struct err *e) MUST_USE;

struct land_options {
    bool exact;
    bool replace;
    const struct home *home; /* the target lies beneath it, NULL: elsewhere; and what */
    const char *elsewhere;   /* names another place, should the disk be full (room.h) */
    /* On the caller's thread, now and then, while it is written. */
    void (*progress)(void *ctx, uint64_t n_entries, uint64_t bytes);
    void *progress_ctx;
    struct extract_report *report; /* filled on success: what did not come; may be NULL */
};
/* How many bytes of contents that is; 0: it cannot be told. */
uint64_t land_bytes(struct scratch *from, const struct brought *what);
/*
 * Make what was brought appear at target (a path that does not exist yet, or, with
 * replace, may be replaced if it is no directory): whole or not at all, where a signal
 * ends us in between (cut.h), too. On the main thread.
 */
int land_tree(struct scratch *from, const struct brought *what, const char *target,
              const struct land_options *o, struct err *e) MUST_USE;

#endif
