#ifndef RUNNER_JOB_CHANGE_H
#define RUNNER_JOB_CHANGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/rec.h"
#include "storage/diff.h"

/* One difference between two snapshots, as `snap.diff` tells it (runner/DESIGN.md). */
#define CHANGE_TYPE "gpurun.change.v1"
/* As many are told of; the others are counted. */
#define CHANGES_MAX       20000
#define CHANGES_MAX_BYTES ((size_t)8 << 20)

struct change_side {
    enum tree_type type; /* TREE_NONE: it is not there */
    int64_t bytes;
    int64_t mode;
    int64_t mtime_ns;
};

struct change {
    char *path; /* the root's is "." */
    size_t path_len;
    struct change_side before;
    struct change_side after;
    int64_t what; /* enum diff_what, or'ed */
};

void change_free(struct change *c);
/* A copy of what a walk found. */
void change_of(const struct diff_change *from, struct change *to);

struct rec *change_rec(const struct change *c);
/* ERR_CORRUPT, ERR_INVALID. */
int change_parse(struct change *out, const void *data, size_t len,
                 struct err *e) MUST_USE;

/* "dir", "file", "symlink", …; "" for TREE_NONE. */
const char *change_type_name(enum tree_type t);

#endif
