#ifndef TESTS_TOOLS_MODEL_MODEL_H
#define TESTS_TOOLS_MODEL_MODEL_H

#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/sign.h"
#include "storage/manifest.h"
#include "storage/store.h"

/*
 * The model beside a store (model_store.c): what must be true, and what workers do.
 * world.c has the table, the clocks, the data and what is compared; ops.c the operations.
 */

#define SLOTS       48
#define PIECES      1500 /* that snapshots are made of */
#define PIECE_MAX   ((size_t)90000)
#define IDS_MAX     4000 /* manifests stay for good: then only old ones come again */
#define S           ((int64_t)1000000000)
#define DAY         (86400 * S)
#define TICK_NS     (300 * S)
#define KEEP_MAX_NS (2 * DAY)

enum what {
    W_EMPTY = 0,
    W_MAKING, /* begun: there or not */
    W_KEPT,   /* acknowledged */
    W_MAY_GO, /* given up, or begun to be */
    W_COMING, /* begun to be put again */
};

struct slot {
    atomic_int owner; /* pid; who changes or reads it */
    atomic_int what;
    char id[MANIFEST_ID_MAX + 1];
    struct sha256 tree;
    uint32_t first, n;  /* pieces */
    int64_t expires_ns; /* the earliest that may count; 0: none */
};

enum op {
    OP_MAKE,
    OP_COPY,
    OP_VERIFY,
    OP_DROP,
    OP_KEEP,
    OP_REGAIN,
    OP_EXPIRE,
    OP_GC,
    OP_FSCK,
    OP_LIST,
    OPS
};
/* In memory that all processes share. */
struct shared {
    atomic_llong boot_off, wall_off; /* beyond the kernel's clocks */
    atomic_llong wall_highest;
    atomic_llong jump_boot; /* when the wall clock last jumped; < 0: never */
    atomic_int jumps;
    atomic_int n_ids;
    atomic_bool stop;
    atomic_bool failed;
    atomic_llong n_ops[OPS];
    atomic_llong n_expired, n_freed, n_doubts, n_kills;
    struct slot slots[SLOTS];
};

/* Of this process. */
extern struct model {
    struct shared *g;
    const char *dir;
    struct sign_key *key;
    uint64_t seed;
    const char *doing;
} me;

/* ---- world.c ---- */

uint64_t rnd(void);
uint32_t below(uint32_t n);
/* Say what is wrong, and end all of it. */
void wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

int64_t kernel_ns(clockid_t id);
int64_t model_clock(enum clock_kind kind); /* for clock_set_source */

/* The tree of pieces first, first + 1, …; each a file with a group of its own. */
int put_tree(struct store *s, uint32_t first, uint32_t n, struct sha256 *tree,
             struct err *e);

struct slot *take_slot(void); /* NULL: somebody has it */
void give_slot(struct slot *s);
struct store *open_store(void);
bool may_have_expired(const struct slot *s);
/* Is what must be there, there? Settles what a death has left open. */
bool look(struct store *st, struct slot *s);

/* ---- ops.c ---- */

void one_op(void); /* any */
void op_fsck(bool loud);
const char *op_name(enum op op);

#endif
