#ifndef STORAGE_SNAP_INTERNAL_H
#define STORAGE_SNAP_INTERNAL_H

#include "storage/snap.h"

/* The ids of all manifests in a store, sorted. The caller frees v. */
struct snap_ids {
    char (*v)[MANIFEST_ID_MAX + 1];
    size_t n;
};
int snap_ids(struct store *s, struct snap_ids *out, struct err *e) MUST_USE;

/* Claims are read and changed by one at a time. */
int snap_claims_lock(struct store *s, struct err *e) MUST_USE;
void snap_claims_unlock(struct store *s);
/* Replace the claim of id; the caller holds the lock. */
int snap_claim_put(struct store *s, const char *id, const struct snap_claim *c,
                   struct err *e) MUST_USE;

/*
 * As file_replace_at; without room, as far as the store holds some back: who gives data
 * up on a full disk has to say so there.
 */
int snap_replace(struct store *s, int dir_fd, const char *name, const struct buf *text,
                 struct err *e) MUST_USE;

/* Has the data of id been given up? Only a sound claim can say so. */
int snap_is_gone(struct store *s, const char *id, bool *gone, struct err *e) MUST_USE;

#endif
