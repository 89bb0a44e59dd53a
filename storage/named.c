#include "storage/named.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

void
named_add(struct named *n, const char *path, size_t len)
{
    if (n->n == n->cap) {
        n->cap = n->cap == 0 ? 16 : 2 * n->cap;
        n->v = xrealloc(n->v, n->cap * sizeof *n->v);
    }
    n->v[n->n] = xmalloc(len + 1);
    memcpy(n->v[n->n], path, len);
    n->v[n->n++][len] = '\0';
}

static int
by_path(const void *a, const void *b)
{
    const char *x = *(char *const *)a;
    const char *y = *(char *const *)b;

    return tree_path_cmp(x, strlen(x), y, strlen(y));
}

bool
named_has(const struct named *n, const char *path)
{
    return n->n > 0 && bsearch(&path, n->v, n->n, sizeof *n->v, by_path) != NULL;
}

bool
named_by_link(const struct named *n, const struct tree_entry *entry)
{
    return entry->hard_link && named_has(n, entry->target);
}

void
named_sort(struct named *n)
{
    if (n->n > 1) {
        qsort(n->v, n->n, sizeof *n->v, by_path);
    }
}

void
named_free(struct named *n)
{
    for (size_t i = 0; i < n->n; i++) {
        free(n->v[i]);
    }
    free(n->v);
    *n = (struct named){NULL, 0, 0};
}
