#ifndef STORAGE_VERIFY_H
#define STORAGE_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/care.h"
#include "storage/store.h"

/*
 * Is all of one tree here and sound? Every chunk it needs is read, decoded and hashed.
 * Changes nothing but what reading may (a chunk found damaged is set aside).
 */
struct verify_result {
    uint64_t n_entries, n_chunks, bytes; /* looked at; bytes of content */
    uint64_t n_damaged;                  /* files that cannot be given back whole */
};

struct verify_options {
    void (*damaged)(void *arg, const char *path, size_t path_len, const struct err *why);
    care_fn *progress;
    void *arg; /* of both; each may be NULL */
};

/*
 * damaged is told each file that needs a chunk that is missing or damaged.
 * 0 also then. -1: the tree itself cannot be read to its end, or a call failed for a
 * reason that says nothing of the data (no memory, no descriptor): what came before was
 * told.
 */
int verify_tree(struct store *s, const struct sha256 *tree,
                const struct verify_options *o, struct verify_result *out,
                struct err *e) MUST_USE;

/*
 * Reading the tree out of s failed for *e. Where that is for want of contents, which were
 * found missing by then, the first files that need such are put in front of *e, with what
 * helps: those of the path `only` (NULL: of all), or where there are none of it, all.
 */
void verify_name_damaged(struct store *s, const struct sha256 *tree, const char *only,
                         struct err *e);

#endif
