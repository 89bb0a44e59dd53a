#ifndef STORAGE_GC_H
#define STORAGE_GC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "storage/care.h"
#include "storage/manifest.h"
#include "storage/store.h"

/*
 * Taking away chunks that no manifest claims. Exact and two-phase: a chunk found
 * unclaimed is *condemned* first; it is deleted by a later mark that finds it unclaimed
 * still, once every store handle that was open when it was condemned has been closed, and
 * it is pardoned by whoever puts it or asks for it in between. Runs beside writers; one
 * gc of a store at a time. Any error while finding out what is claimed aborts it before
 * anything is deleted. Proof: DESIGN.md.
 */

/*
 * How to list the chunks of a tree: call `chunk` for every id that the tree needs, its
 * own root and metadata included (repeats are fine). Any failure, also of `chunk`,
 * ends the walk with -1. Implemented by storage/tree.h.
 */
typedef int gc_chunk_fn(void *arg, const struct sha256 *id, struct err *e);
typedef int gc_walk_fn(struct store *s, const struct sha256 *tree, gc_chunk_fn *chunk,
                       void *arg, struct err *e);

/* The walk by storage/tree.h. */
int gc_walk_tree(struct store *s, const struct sha256 *tree, gc_chunk_fn *chunk,
                 void *arg, struct err *e);

/* The tree's own chunks alone: its names, sizes and hashes, no contents. */
int gc_walk_names(struct store *s, const struct sha256 *tree, gc_chunk_fn *chunk,
                  void *arg, struct err *e);

struct gc_options {
    gc_walk_fn *walk; /* required */
    /*
     * What stays of a snapshot whose data has been given up, as far as it is there and
     * can be read; NULL: nothing.
     */
    gc_walk_fn *walk_names;
    /*
     * Say what would be done by two runs, the second of a later handle; change nothing.
     */
    bool dry_run;
    /* Of a dry run: would the data of that snapshot be given up first? NULL: of none. */
    bool (*given_up)(void *arg, const char *id);
    void *given_up_arg;
    bool wait; /* for another gc to end; else ERR_BUSY */
    /* Explanations for people, a line each (its msg and form); NULL: none. */
    void (*say)(void *arg, const struct err *line);
    void *say_arg;
    care_fn *progress; /* NULL: nobody watches */
    void *progress_arg;
};

struct gc_result {
    uint64_t n_manifests;                  /* with claims */
    uint64_t n_live, live_bytes;           /* chunks that are claimed */
    uint64_t n_condemned, condemned_bytes; /* newly found unclaimed */
    uint64_t n_pardoned;                   /* condemned before, claimed now */
    uint64_t n_held; /* condemned, but some handle older than that is open */
    uint64_t n_deleted, deleted_bytes; /* chunks taken away now */
    uint64_t n_packs_removed, n_packs_rewritten, n_orphans;
    uint64_t n_unreadable; /* packs that stay, damaged or not where chunks should be */
    uint64_t n_no_room; /* packs left as they are: the disk has no room for what stays */
    uint64_t freed_bytes; /* of disk */
};

/*
 * Run it on s. The lease of s counts as everybody's: what was condemned before s was
 * opened may be deleted, what this run condemns may not. Snapshots whose manifests
 * cannot be read, or whose trees cannot be walked, are named in the error. On a full disk
 * it does what it can in what room there is; ERR_SPACE if that is nothing at all.
 */
int gc_run(struct store *s, const struct gc_options *o, struct gc_result *out,
           struct err *e) MUST_USE;

#endif
