#ifndef STORAGE_CHANGE_INTERNAL_H
#define STORAGE_CHANGE_INTERNAL_H

#include "storage/arena.h"
#include "storage/change.h"

/* What is to be done, found out before anything is touched. */
struct change_plan {
    uint8_t *actions; /* enum extract_action, of each entry of the new tree in order */
    struct scache_mark *marks; /* of those that are skipped */
    size_t n;
    size_t cap;
    const char **removed; /* paths, parents before what is in them; in arena */
    size_t n_removed;
    size_t cap_removed;
    const uint8_t **patches; /* a bit per chunk of each entry that is EXTRACT_PATCH: it
                                lies where it is to be; in arena */
    size_t n_patches;
    size_t cap_patches;
    uint64_t n_kept;      /* neither removed, nor made */
    uint64_t n_refreshed; /* looked at, and changed in place where they differ */
    bool possible;
    struct arena arena;
};

int change_plan_make(struct change_plan *p, int root_fd, struct scache *c,
                     const struct sha256 *tree_id, const struct tree_source *source,
                     struct err *e) MUST_USE;
void change_plan_free(struct change_plan *p);

/* Same in all that a tree says of an entry but its contents. */
bool change_same_meta(const struct tree_entry *a, const struct tree_entry *b);

/* Where the contents of an entry lie in the chunks of its group. */
struct change_span {
    const struct tree_chunk *chunks;
    size_t n_chunks;
    uint64_t at; /* of the bytes of all those chunks */
    uint64_t len;
};
/* Certainly the same bytes? Chunks cut elsewhere count as other ones. */
bool change_same_span(const struct change_span *a, const struct change_span *b);
/*
 * Of two files whose contents are all of those chunks: for each chunk of the new one,
 * does the old one hold it at the same place? Sets bits, which are 0 before, of which
 * there is one per chunk of `now`.
 */
void change_same_chunks(const struct change_span *old, const struct change_span *now,
                        uint8_t *bits);

#endif
