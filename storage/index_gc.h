#ifndef STORAGE_INDEX_GC_H
#define STORAGE_INDEX_GC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "storage/index.h"

/*
 * What gc, fsck and rebuild ask of the index and do to it. Each call is one
 * transaction, as in index.h.
 */

struct index_row {
    struct sha256 id;
    uint32_t pack;
    uint32_t stored_len;
    uint64_t doomed_gen; /* generation in which it was condemned; 0: it is not */
};
/* Up to max rows with ids above *after (all zero: from the start), in order of ids. */
int index_rows_after(struct index *ix, const struct sha256 *after, size_t max,
                     struct index_row *out, size_t *n, struct err *e) MUST_USE;

/* One chunk. loc->pack is 0 if it is not there. Pardons nothing. */
int index_row(struct index *ix, const struct sha256 *id, struct store_loc *loc,
              uint64_t *doomed_gen, struct err *e) MUST_USE;

/* The same of many, in one transaction; quickest in order of ids. */
struct index_look {
    struct sha256 id;
    struct store_loc loc;
    uint64_t doomed_gen;
};
int index_look(struct index *ix, struct index_look *v, size_t n, struct err *e) MUST_USE;

struct index_pack_row {
    uint32_t no;
    struct pack_name name;
    uint64_t bytes; /* of the file */
    struct pack_sums sums;
};
/* All packs in order of no. The caller frees *out. */
int index_packs(struct index *ix, struct index_pack_row **out, size_t *n,
                struct err *e) MUST_USE;
/* The number of the pack of that name; 0 if the index does not know it. */
int index_pack_no(struct index *ix, const struct pack_name *name, uint32_t *no,
                  struct err *e) MUST_USE;
/* The same by a walk over all packs: the tree of their names may be damaged. */
int index_pack_no_walk(struct index *ix, const struct pack_name *name, uint32_t *no,
                       struct err *e) MUST_USE;

/* Condemn them, in a new generation. Those that are condemned already stay as they are.
 */
int index_condemn(struct index *ix, const struct sha256 *ids, size_t n,
                  struct err *e) MUST_USE;
/* Those of them that are condemned (ids NULL: all that are) count as condemned only now.
 */
int index_condemn_again(struct index *ix, const struct sha256 *ids, size_t n,
                        struct err *e) MUST_USE;
int index_pardon(struct index *ix, const struct sha256 *ids, size_t n,
                 struct err *e) MUST_USE;

/* Snapshots whose loss of data gc has dealt with (see gc.c). */
int index_gone_known(struct index *ix, const char *snap_id, bool *known,
                     struct err *e) MUST_USE;
int index_gone_add(struct index *ix, const char *snap_id, struct err *e) MUST_USE;
int index_gone_forget(struct index *ix, const char *snap_id, struct err *e) MUST_USE;

/*
 * Put new packs in the place of old ones, all or nothing:
 * for every chunk in moved, its row goes from the old pack to its new place (if it is
 * still in the old one); the rows of dead are deleted. *done is false, and nothing
 * changed, if one of dead is no longer condemned in a generation <= gen: somebody has
 * asked for it meanwhile. moved and dead are put in order of ids: rows are, so each page
 * of a large index is read and written once.
 */
struct index_moved {
    struct pack_entry en; /* offset: in the new pack */
    uint32_t from;        /* number of the old pack */
    size_t to;            /* which of fresh */
};
struct index_dead {
    struct sha256 id;
    uint32_t pack;
};
struct index_swap {
    const uint32_t *old; /* packs that go */
    size_t n_old;
    const struct index_pack *fresh; /* packs that come */
    size_t n_fresh;
    struct index_moved *moved;
    size_t n_moved;
    struct index_dead *dead;
    size_t n_dead;
    uint64_t gen;
    /*
     * Not NULL: dead are not unclaimed but damaged, for this reason; they need not be
     * condemned and are remembered as bad. Moved chunks the index has lost get a row.
     */
    const char *bad_why;
};
int index_swap(struct index *ix, const struct index_swap *sw, bool *done,
               struct err *e) MUST_USE;

/* Is the SQLite file sound in itself? *sound false: no. */
int index_check_file(struct index *ix, bool *sound, struct err *e) MUST_USE;

#endif
