#include "storage/run.h"

#include <stdlib.h>
#include <string.h>

void
tree_run_free(struct tree_run *run)
{
    tree_arena_free(run->arena);
    free(run->chunks);
    run->arena = NULL;
    run->chunks = NULL;
    run->cap = 0;
}

static void
note(struct tree_run *run, const struct tree_reader *r)
{
    const uint8_t *data;
    size_t len;

    if (run->encoded != NULL) {
        data = tree_encoded(r, &len);
        buf_add(run->encoded, data, len);
    }
}

static void
add_chunks(struct tree_run *run, const struct tree_group *g, size_t *n)
{
    if (g->n_chunks == 0) {
        return;
    }
    if (*n + g->n_chunks > run->cap) {
        run->cap = 2 * (*n + g->n_chunks);
        run->chunks = xrealloc(run->chunks, run->cap * sizeof *run->chunks);
    }
    memcpy(run->chunks + *n, g->chunks, g->n_chunks * sizeof *g->chunks);
    *n += g->n_chunks;
}

int
tree_run_next(struct tree_run *run, struct tree_reader *r, bool *end, struct err *e)
{
    const struct tree_group *g = NULL;
    size_t n = 0;

    tree_run_free(run);
    if (tree_next(r, &g, e) != 0) {
        return -1;
    }
    *end = g == NULL;
    if (g == NULL) {
        return 0;
    }
    note(run, r);
    run->group = *g;
    if (!g->more) {
        return 0;
    }
    add_chunks(run, g, &n);
    run->arena = tree_take_arena(r); /* the entry stays while its parts are read */
    while (g->more) {
        if (tree_next(r, &g, e) != 0) {
            return -1;
        }
        if (g == NULL) {
            return err_set(e, ERR_CORRUPT, "not a tree: it ends within a file");
        }
        note(run, r);
        add_chunks(run, g, &n);
    }
    run->group.chunks = run->chunks;
    run->group.n_chunks = n;
    run->group.more = false;
    return 0;
}
