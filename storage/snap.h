#ifndef STORAGE_SNAP_H
#define STORAGE_SNAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "storage/manifest.h"
#include "storage/store.h"

/*
 * The catalogue of the snapshots in a store, and their claims.
 *
 * A manifest stays for good. Its claim says whether its data is kept, and until
 * when: a small record beside it (snaps/ID.claim), replaced atomically; where there
 * is none, the manifest's own expiry holds. Only the loss of the claim, by expiry or
 * snap_drop, lets gc take chunks, and gc reads a damaged claim as "kept".
 */
#define SNAP_KEEP_DEFAULT_S ((int64_t)15 * 86400)
/*
 * What the days of keeping a job's snapshot count from, wall ns: the job's end, or when
 * it was made where that is more than a day later (from the end on it might be over
 * already). Any values, 0 (unknown) too.
 */
int64_t snap_kept_from_ns(int64_t made_wall_ns, int64_t ended_wall_ns);

enum snap_data {
    SNAP_DATA_NONE = 0,
    SNAP_DATA_KEPT, /* every chunk is claimed */
    SNAP_DATA_GONE  /* the manifest only */
};

#define SNAP_WHY_MAX 128
/* The why of one on the way that a later one has taken the place of. */
#define SNAP_REPLACED "replaced"

struct snap_claim {
    enum snap_data data;
    int64_t expires_wall_ns; /* 0: no end set */
    int64_t gone_wall_ns;    /* when the data was given up */
    char why[SNAP_WHY_MAX];  /* "expired", "removed", ...; empty while kept */
};

struct snap {
    struct manifest *m; /* NULL when the file is damaged: then only id is known */
    struct snap_claim claim;
    char id[MANIFEST_ID_MAX + 1];
    char error[256]; /* why m is NULL */
};

struct snap_list {
    struct snap *v; /* oldest first (made_wall_ns, then id) */
    size_t n;
};

/* All of them; damaged ones are listed as such and never fail the call. */
int snap_list(struct store *s, struct snap_list *out, struct err *e) MUST_USE;
void snap_list_free(struct snap_list *l);

/*
 * The id that `what` names: an id, a unique prefix of one, or the name of the newest
 * snapshot so called ("@last": the newest). ERR_NOT_FOUND; ERR_INVALID if several
 * ids begin so (the message names some).
 */
int snap_find(struct store *s, const char *what, char id[MANIFEST_ID_MAX + 1],
              struct err *e) MUST_USE;

/* ERR_NOT_FOUND if there is no such manifest. A damaged claim reads as kept for ever. */
int snap_claim_get(struct store *s, const char *id, struct snap_claim *out,
                   struct err *e) MUST_USE;

/*
 * What follows changes claims; one process does so at a time (the others wait).
 *
 * Keep id's data until expires_wall_ns (0: no end). ERR_NOT_FOUND when the data is
 * gone already.
 */
int snap_keep(struct store *s, const char *id, int64_t expires_wall_ns,
              struct err *e) MUST_USE;

/*
 * The data of id, given up before, is here again: its tree is held by this open store
 * and committed. Claims it anew, until expires_wall_ns.
 */
int snap_regain(struct store *s, const char *id, int64_t expires_wall_ns,
                struct err *e) MUST_USE;

/* Give up the data of id; the manifest stays. Doing it again is fine. */
int snap_drop(struct store *s, const char *id, const char *why, struct err *e) MUST_USE;
/*
 * The same of one whose place a later one has taken (SNAP_REPLACED), unless an end of its
 * own was set meanwhile: then somebody wants it, and it stays. That is no error.
 */
int snap_drop_replaced(struct store *s, const char *id, struct err *e) MUST_USE;

/*
 * Drop every claim that has expired at the wall clock's now. A clock that cannot be
 * trusted expires nothing: one never seen before, or one that jumped against the boot
 * clock, went back, or leapt over a reboot by more than SNAP_CLOCK_LEAP_S that this
 * boot did not run. A battery clock may be off by anything, but a host is off for days,
 * too, and one that parks itself never runs a whole day: a leap that is believed takes
 * that much of a period, and no more. clock_doubt then says why, and stays so until it
 * has run steadily for SNAP_CLOCK_STEADY_S. Ends that a slow clock has set are put off
 * when it is put right: data is kept as long as it was to be, of time that could be
 * believed. done is called for each snapshot that expired (NULL allowed).
 */
#define SNAP_CLOCK_STEADY_S ((int64_t)86400)
#define SNAP_CLOCK_LEAP_S   ((int64_t)8 * 86400)
struct snap_expiry {
    size_t n_expired;
    struct err clock_doubt; /* ERR_NONE: the clock is trusted; msg is "" then */
};
int snap_expire(struct store *s, struct snap_expiry *out,
                void (*done)(void *arg, const struct snap *sn), void *arg,
                struct err *e) MUST_USE;

/* Which would expire now, or why none would. Changes and remembers nothing. */
int snap_would_expire(struct store *s, struct snap_expiry *out,
                      void (*each)(void *arg, const struct snap *sn), void *arg,
                      struct err *e) MUST_USE;

/*
 * Remember what the clock says, as snap_expire does, if this store has looked at it
 * before. Whoever sets an end by the clock does so first: that it was slow is seen when
 * it is put right, if it was looked at while it was slow. What fails is left to the next
 * look.
 */
void snap_clock_note(struct store *s);

/*
 * Why nothing would expire now, without remembering anything; ERR_NONE and "": the clock
 * is trusted, or this store has never looked at it.
 */
void snap_clock_doubt(struct store *s, struct err *doubt);

#endif
