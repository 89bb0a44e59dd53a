#ifndef STORAGE_TARBALL_H
#define STORAGE_TARBALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/store.h"

/*
 * A snapshot as one file that anybody's tar can read: pax, with what a tree knows
 * (attributes, ACLs, hard links, holes, nanoseconds). The signed manifest and the tree's
 * own groups go along in global headers, as comments, which tar passes over: so what is
 * imported is bit for bit the snapshot that was exported, whoever imports it, and every
 * byte of it was checked (DESIGN.md, "Exports").
 *
 * Both directions stream; memory does not grow with the snapshot, but for the list of
 * chunks of the largest file and the names of what is left out.
 */
struct tarball_options {
    bool plain; /* no zstd around it (export) */
    /* Something that no tar can hold was left out (export), by each of its names; path is
     * escaped. */
    void (*left_out)(void *ctx, const char *path, const char *why);
    void (*progress)(void *ctx, uint64_t n_entries, uint64_t bytes);
    void *ctx;
};

struct tarball_report {
    uint64_t n_entries;
    uint64_t bytes; /* of contents, less holes */
    uint64_t n_left_out;
    struct sha256 tree;
};

/*
 * Write tree_id out of s, and the manifest as it is signed, through write. Errors of
 * write as they are; ERR_NOT_FOUND, ERR_CORRUPT: of the store.
 */
int tarball_export(struct store *s, const struct sha256 *tree_id, const void *manifest,
                   size_t manifest_len, const struct tarball_options *o,
                   int (*write)(void *ctx, const void *data, size_t n, struct err *e),
                   void *write_ctx, struct tarball_report *r, struct err *e) MUST_USE;

/*
 * Read one from fd into s, committed; the manifest is appended to *manifest and is not
 * written anywhere. Compression is recognised (zstd, gzip, xz, bzip2, none). ERR_INVALID:
 * no export of ours; ERR_CORRUPT: damaged, or not what its manifest says: nothing of it
 * is claimed then.
 */
int tarball_import(struct store *s, int fd, const struct tarball_options *o,
                   struct buf *manifest, struct tarball_report *r,
                   struct err *e) MUST_USE;

#endif
