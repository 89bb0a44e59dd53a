#ifndef STORAGE_EXTRACT_H
#define STORAGE_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/store.h"
#include "storage/tree.h"

/*
 * From a tree to a directory, safe against a hostile tree and a hostile process that
 * writes in the same place: every name is opened beneath a held directory without
 * following links, nothing existing is written into (a new file is made beside it and
 * renamed over it), metadata is set on descriptors, no setuid bits and no devices
 * unless exact, absurd sizes are refused before anything is made.
 */

struct extract_options {
    /* This path of the tree and what is below it, under its last name; NULL: all. */
    const char *only;
    bool exact; /* owners, setuid, devices, every xattr: as root, from who is trusted */
    bool fresh; /* the target is empty and nobody else knows it yet: no renames */
    bool overwrite;       /* existing non-directories are replaced; else ERR_EXISTS */
    bool durable;         /* on stable storage on return (syncfs) */
    uint64_t max_bytes;   /* of content; 0: no limit. ERR_SPACE before anything is made */
    uint64_t max_entries; /* 0: no limit */
    const char *cache_path; /* write a scan cache for build_tree there; NULL: none */
    unsigned n_threads;     /* 0: one per core, at most 8 */
    /* May the existing path be replaced (--out never overwrites what changed)? NULL: yes.
     */
    int (*may_replace)(void *ctx, const char *path, struct err *e);
    void *may_replace_ctx;
    void (*progress)(void *ctx, uint64_t n_entries, uint64_t bytes);
    void *progress_ctx;
};

struct extract_report {
    struct tree_totals totals;  /* what was made */
    uint64_t n_skipped_devices; /* not exact */
    uint64_t n_skipped_damaged; /* nothing to restore */
    uint64_t n_lost_metadata;   /* owner, xattr, ACL that could not be set */
    char first_lost[256];       /* escaped: one of them and why */
};

/*
 * Make the contents of tree_id appear in the directory root_fd (its own mode and times
 * too, unless only is given). On failure what was made so far stays; a fresh target is
 * then to be removed by the caller. ERR_NOT_FOUND: no such path in the tree, or a chunk
 * is missing; ERR_CORRUPT; ERR_EXISTS; ERR_DENIED: the tree or the place is hostile.
 */
int extract_tree(int root_fd, const struct sha256 *tree_id,
                 const struct tree_source *source, const struct extract_options *o,
                 struct extract_report *r, struct err *e) MUST_USE;

#endif
