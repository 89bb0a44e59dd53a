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

/*
 * The encoded bytes of the entry, proved by decoding and hashing them; *data is c's,
 * valid until its next use. *scarred: its header is damaged, though the bytes are sound.
 * ERR_CORRUPT: they are not. ERR_SPACE: no memory to decode them.
 */
struct codec;
int packs_fetch(int fd, const struct pack_entry *en, struct codec *c,
                const uint8_t **data, bool *scarred, struct err *e) MUST_USE;

/*
 * The entries of a pack by its table and by its headers together, in order of offset,
 * each once. *whole: the table is there and all of the pack's own bytes are as they
 * should be, as far as that can be told without reading the chunks.
 */
int packs_entries(int fd, const struct pack_name *name, struct pack_list *out,
                  bool *whole, struct err *e) MUST_USE;

/*
 * Copy one good copy of each chunk in list (from packs_entries) to w, in the same
 * order; bad gets those of which no copy is good. n_scarred counts damaged entries in
 * all.
 */
int packs_copy_good(int fd, const struct pack_list *list, struct pack_writer *w,
                    struct pack_list *bad, uint64_t *n_scarred, struct err *e) MUST_USE;

#endif
