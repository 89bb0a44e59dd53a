#ifndef STORAGE_PACKS_H
#define STORAGE_PACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "storage/pack.h"

/*
 * The directory of packs: listing it, and rewriting packs without what is damaged
 * or no longer wanted. For rebuild, fsck and gc, which see to it that nobody else does
 * the same.
 */
struct packs_names {
    struct pack_name *v; /* sorted */
    size_t n;
};
/* Files that are not packs are passed over. The caller frees v. */
int packs_list(int packs_fd, struct packs_names *out, struct err *e) MUST_USE;

/* Is nobody filling that pack? Then *fd holds its lock (close it to give it up), else -1.
 */
int packs_lock(int packs_fd, const struct pack_name *name, int *fd,
               struct err *e) MUST_USE;

/*
 * Copy those entries of a pack that decode to their hash into a new, sealed, durable
 * pack, then move the old file to bad/ (one that was merely torn off in a crash is
 * removed). made is false if nothing was good.
 */
struct packs_salvage {
    bool made;
    struct pack_name new_name;
    uint64_t n_good, n_bad;
};
int packs_salvage(int dir_fd, int packs_fd, const struct pack_name *name,
                  struct packs_salvage *out, struct err *e) MUST_USE;

/* Move a pack's file to bad/, durably. */
int packs_put_away(int dir_fd, int packs_fd, const struct pack_name *name,
                   struct err *e) MUST_USE;

/* Read the entry and check that it decodes to its hash. */
struct codec;
int packs_verify(int fd, const struct pack_entry *en, struct codec *c,
                 struct err *e) MUST_USE;

#endif
