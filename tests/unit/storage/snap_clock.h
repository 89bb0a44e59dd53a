#ifndef TESTS_UNIT_STORAGE_SNAP_CLOCK_H
#define TESTS_UNIT_STORAGE_SNAP_CLOCK_H

#include "base/clock.h"
#include "storage/snap.h"
#include "tests/unit/storage/store_util.h"

/*
 * A store of snapshots for each test, under clocks that only the test moves.
 */
#define DAY ((int64_t)86400 * 1000000000)
#define T0  ((int64_t)1800000000 * 1000000000)

static struct sign_key *key;
static int64_t wall_ns;
static int64_t boot_ns;

static inline int64_t
fake_clock(enum clock_kind kind)
{
    return kind == CLOCK_KIND_WALL ? wall_ns : boot_ns;
}

static inline void
pass(int64_t ns)
{
    wall_ns += ns;
    boot_ns += ns;
}

static inline void
add_snap(struct store *s, const char *id, const char *name, int64_t made, int64_t expires)
{
    struct manifest *m = manifest_new(MANIFEST_SNAPSHOT);

    manifest_set(&m->id, id);
    manifest_set(&m->name, name);
    m->made_wall_ns = made;
    m->expires_wall_ns = expires;
    OK(manifest_write(s, m, key, e));
    manifest_free(m);
}

struct fixture {
    char *dir;
    struct store *s;
};

static inline int
set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    wall_ns = T0;
    boot_ns = 5 * DAY;
    clock_set_source(fake_clock);
    f->dir = scratch_dir();
    OK(store_open(&f->s, f->dir, NULL, e));
    *state = f;
    return 0;
}

static inline int
tear_down(void **state)
{
    struct fixture *f = *state;

    clock_set_source(NULL);
    store_close(f->s);
    scratch_free(f->dir);
    free(f);
    return 0;
}

static inline int
make_key(void **state)
{
    struct err e;

    (void)state;
    return sign_key_new(&key, &e);
}

static inline int
free_key(void **state)
{
    (void)state;
    sign_key_free(key);
    return 0;
}

#endif
