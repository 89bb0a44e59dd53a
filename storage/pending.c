#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "storage/store_internal.h"

/* Ids are hashes already: their first bytes are the hash value. */
static size_t
home_of(const struct pending_table *t, const struct sha256 *id)
{
    uint64_t h;

    memcpy(&h, id->b, sizeof h);
    return (size_t)h & (t->cap - 1);
}

struct pending *
pending_find(const struct pending_table *t, const struct sha256 *id)
{
    if (t->cap == 0) {
        return NULL;
    }
    for (size_t i = home_of(t, id);; i = (i + 1) & (t->cap - 1)) {
        if (t->v[i].state == PENDING_NONE) {
            return NULL;
        }
        if (sha256_equal(&t->v[i].id, id)) {
            return &t->v[i];
        }
    }
}

static struct pending *
insert(struct pending_table *t, const struct sha256 *id)
{
    size_t i = home_of(t, id);

    while (t->v[i].state != PENDING_NONE) {
        i = (i + 1) & (t->cap - 1);
    }
    t->n++;
    return &t->v[i];
}

/* Into a table of cap places go those that are not in own packs below that slot. */
static void
remake(struct pending_table *t, size_t cap, uint32_t below)
{
    struct pending_table old = *t;

    t->v = xcalloc(cap, sizeof *t->v);
    t->cap = cap;
    t->n = 0;
    for (size_t i = 0; i < old.cap; i++) {
        const struct pending *p = &old.v[i];

        if (p->state == PENDING_CLAIMED ||
            (p->state == PENDING_WRITTEN && p->slot >= below)) {
            *insert(t, &p->id) = *p;
        }
    }
    free(old.v);
}

struct pending *
pending_add(struct pending_table *t, const struct sha256 *id)
{
    struct pending *p;

    if (t->n >= t->cap / 2) {
        remake(t, t->cap == 0 ? 256 : t->cap * 2, 0);
    }
    p = insert(t, id);
    memset(p, 0, sizeof *p);
    p->id = *id;
    p->state = PENDING_CLAIMED;
    return p;
}

void
pending_drop_slots(struct pending_table *t, uint32_t below)
{
    if (t->cap != 0) {
        remake(t, t->cap, below);
    }
}

void
pending_free(struct pending_table *t)
{
    free(t->v);
    memset(t, 0, sizeof *t);
}
