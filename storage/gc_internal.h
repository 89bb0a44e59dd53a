#ifndef STORAGE_GC_INTERNAL_H
#define STORAGE_GC_INTERNAL_H

#include "storage/gc.h"
#include "storage/index_gc.h"
#include "storage/snap_internal.h"
#include "storage/store_internal.h"

/* ---- the set of claimed chunks ---- */

/*
 * Of each id its first eight bytes: two that agree in those count as one, so a chunk
 * may be taken for claimed that is not, never the other way round.
 */
struct live {
    uint64_t *v;
    size_t n;
    size_t cap;
};
uint64_t live_key(const struct sha256 *id); /* in the order of the ids themselves */
void live_add(struct live *l, const struct sha256 *id);
void live_sort(struct live *l); /* needed before live_has, and v is in order then */
bool live_has(const struct live *l, const struct sha256 *id);
void live_free(struct live *l);

/* ---- one run ---- */

struct pack_use {
    struct index_pack_row row;
    uint64_t dead_bytes; /* of chunks that may be deleted now, with their headers */
    uint64_t n_dead;
};

struct gc {
    struct store *s;
    const struct gc_options *o;
    struct gc_result *r;
    int lock_fd; /* a description of its own, so the leases of s are seen as others' */
    struct live live;
    uint64_t gen_ok; /* condemned in this generation or before: no older handle is open */
    struct pack_use *packs; /* in order of no */
    size_t n_packs;

    /* Of room on the disk (gc.c): */
    bool tight;          /* it ran out: one pack at a time */
    bool last_try;       /* and nothing more can be let go: what does not fit stays */
    bool condemns_not;   /* what is left of it is kept for taking packs away */
    int reserve_fd;      /* -1, or its lock */
    struct err short_of; /* the last failure for want of it that was passed over */
};

void gc_say(struct gc *g, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A line that is there already. */
void gc_tell(const struct gc *g, const struct err *line);

void gc_care(const struct gc *g, enum care_step step, uint64_t done, uint64_t all);

/*
 * Find out what is claimed: fills live and gen_ok. Nothing has been deleted or
 * condemned when this fails.
 */
int gc_mark(struct gc *g, struct err *e) MUST_USE;

/* Compare the index with it: condemn, pardon, and count per pack what may go. */
int gc_judge(struct gc *g, struct err *e) MUST_USE;

/*
 * Did it fail for want of room, where gc does without rather than end? Then it is noted.
 */
bool gc_does_without(struct gc *g, const struct err *why);

/* Remove packs of dead writers, and rewrite or remove those with enough that may go. */
int gc_sweep_orphans(struct gc *g, struct err *e) MUST_USE;
/* Remove what writers of other files left when they died. */
int gc_sweep_left(struct gc *g, struct err *e) MUST_USE;
int gc_sweep(struct gc *g, struct err *e) MUST_USE;

#endif
