#ifndef STORAGE_CARE_H
#define STORAGE_CARE_H

#include <stdint.h>

/*
 * How far looking after a store has come (gc, fsck, verify), for whoever watches. Told by
 * the thread that works, and often: it must be cheap.
 */
enum care_step {
    CARE_NONE = 0,
    CARE_SNAPSHOTS, /* what each needs; counted in snapshots, all else in bytes */
    CARE_PACKS,     /* reading packs */
    CARE_INDEX,     /* reading the index: nobody knows how far that is */
    CARE_SWEEP,     /* packs with something that may go */
    CARE_CONTENTS,  /* reading the contents of a tree */
};

/* all 0: not known. A step may come again (another pass), with done from 0. */
typedef void care_fn(void *arg, enum care_step step, uint64_t done, uint64_t all);

#endif
