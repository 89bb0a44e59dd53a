#ifndef STORAGE_FSCK_INTERNAL_H
#define STORAGE_FSCK_INTERNAL_H

#include "storage/fsck.h"
#include "storage/index_gc.h"
#include "storage/store_internal.h"

struct fsck_pack {
    struct index_pack_row row;
    uint64_t n_rows;     /* rows of the index that name this pack and an entry in it */
    uint64_t n_in_index; /* rows of the index that name this pack */
    bool mended;         /* its rows went to another: nothing to compare */
};

struct fsck {
    struct store *s;
    const struct fsck_options *o;
    struct fsck_result *r;
    struct fsck_pack *packs; /* in order of no */
    size_t n_packs;
    uint64_t all_bytes, done_bytes;
};

/* A line that is there already. */
void fsck_tell(const struct fsck *f, const struct err *line);
void fsck_care(const struct fsck *f, enum care_step step, uint64_t done, uint64_t all);
void fsck_say(const struct fsck *f, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Every pack that the index knows. */
int fsck_packs(struct fsck *f, struct err *e) MUST_USE;
/* Those that it does not: unreadable ones are put away, needed ones are its errors. */
int fsck_orphans(struct fsck *f, struct err *e) MUST_USE;
/* The index as a file, and against the packs (after fsck_packs). */
int fsck_index(struct fsck *f, struct err *e) MUST_USE;
/* Every snapshot. */
int fsck_snaps(struct fsck *f, struct err *e) MUST_USE;

#endif
