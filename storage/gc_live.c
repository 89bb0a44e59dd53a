#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "storage/gc_internal.h"

#define FIRST_CAP ((size_t)1 << 16)

uint64_t
live_key(const struct sha256 *id)
{
    uint64_t k = 0;

    for (size_t i = 0; i < sizeof k; i++) {
        k = k << 8 | id->b[i];
    }
    return k;
}

static int
cmp_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

void
live_sort(struct live *l)
{
    size_t kept = 0;

    if (l->n == 0) {
        return;
    }
    qsort(l->v, l->n, sizeof *l->v, cmp_keys);
    for (size_t i = 0; i < l->n; i++) {
        if (kept == 0 || l->v[kept - 1] != l->v[i]) {
            l->v[kept++] = l->v[i];
        }
    }
    l->n = kept;
}

void
live_add(struct live *l, const struct sha256 *id)
{
    if (l->n == l->cap) {
        live_sort(l); /* snapshots share most chunks: that may make room */
        if (l->cap == 0 || l->n > l->cap / 2) {
            l->cap = l->cap == 0 ? FIRST_CAP : l->cap * 2;
            l->v = xrealloc(l->v, l->cap * sizeof *l->v);
        }
    }
    l->v[l->n++] = live_key(id);
}

bool
live_has(const struct live *l, const struct sha256 *id)
{
    uint64_t key = live_key(id);

    return l->n != 0 && bsearch(&key, l->v, l->n, sizeof key, cmp_keys) != NULL;
}

void
live_free(struct live *l)
{
    free(l->v);
    memset(l, 0, sizeof *l);
}
