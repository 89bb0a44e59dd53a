#ifndef STORAGE_FSCK_H
#define STORAGE_FSCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "storage/care.h"
#include "storage/gc.h"
#include "storage/manifest.h"
#include "storage/store.h"

/*
 * Looking at every byte of a store, and mending what can be mended:
 *   - every chunk is read, decoded and hashed; a pack with damage is written anew
 *     without what is damaged, and the old file goes to bad/. A chunk of which no copy is
 * sound counts as missing from then on, so the next ship or snapshot that has it puts it
 * again;
 *   - a pack that the index does not know (of a writer that died) and that cannot be read
 *     is put away as well, with what is sound in it kept: else gc could not tell whether
 * it is needed;
 *   - the index is compared with the packs and, where they differ, made anew (when nobody
 * else has the store open);
 *   - a manifest with one damaged copy gets it back from the other; one that cannot be
 *     read is damage as long as its data is kept, and only said once that was given up;
 *   - every file of every snapshot that needs a missing chunk is named.
 * A directory that is there and no store yet, or that lost its format file, is made one,
 * as by whoever opens it. It never makes things worse: what is sound is copied before
 * anything is moved. Runs beside writers and readers; a gc, or another look, is waited
 * for.
 */

/* Is that chunk missing? */
typedef bool fsck_missing_fn(void *arg, const struct sha256 *id);
/* A file that cannot be given back; path as in the tree. */
typedef void fsck_file_fn(void *arg, const char *path, size_t path_len);
/*
 * Name the files of a tree whose contents need missing chunks. -1: the tree itself cannot
 * be read to its end (those found before were named).
 */
typedef int fsck_files_fn(struct store *s, const struct sha256 *tree,
                          fsck_missing_fn *missing, void *missing_arg, fsck_file_fn *file,
                          void *file_arg, struct err *e);
/* By storage/tree.h. */
int fsck_files_tree(struct store *s, const struct sha256 *tree, fsck_missing_fn *missing,
                    void *missing_arg, fsck_file_fn *file, void *file_arg, struct err *e);

struct fsck_options {
    gc_walk_fn *walk;     /* required: gc_walk_tree */
    fsck_files_fn *files; /* required: fsck_files_tree */
    bool check_only;      /* mend nothing */
    /* A snapshot's file is damaged; path NULL: all of it, or its names, why tells. */
    void (*damaged)(void *arg, const char *snap_id, const char *path, size_t path_len,
                    const struct err *why);
    void (*say)(void *arg, const struct err *line); /* its msg and form */
    care_fn *progress;
    void *arg; /* of the three; each may be NULL */
};

struct fsck_result {
    uint64_t n_packs, n_chunks, bytes;
    uint64_t n_bad_packs;  /* with any damage */
    uint64_t n_bad_chunks; /* of which no sound copy was left */
    uint64_t n_healed;     /* damaged copies of which another was sound */
    uint64_t n_index_errors;
    bool index_rebuilt;
    uint64_t n_snaps;         /* looked at; with data */
    uint64_t n_snaps_damaged; /* that miss something */
    uint64_t n_files_damaged;
    uint64_t n_manifests_lost; /* of data that is kept */
    uint64_t n_manifests_repaired;
};
/* Was nothing wrong, or everything mended without loss? */
bool fsck_clean(const struct fsck_result *r);

/* 0 also when damage was found: that is in *out. -1: the check could not be done. */
int fsck_run(const char *dir, const struct fsck_options *o, struct fsck_result *out,
             struct err *e) MUST_USE;

#endif
