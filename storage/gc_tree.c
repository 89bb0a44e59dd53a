#include "storage/gc.h"
#include "storage/tree.h"

struct walk {
    gc_chunk_fn *chunk;
    void *arg;
};

static int
visit(void *ctx, enum store_kind kind, const struct tree_chunk *c, struct err *e)
{
    const struct walk *w = ctx;

    (void)kind;
    return w->chunk(w->arg, &c->id, e);
}

int
gc_walk_tree(struct store *s, const struct sha256 *tree, gc_chunk_fn *chunk, void *arg,
             struct err *e)
{
    struct tree_source source = tree_source_store(s);
    struct walk w = {chunk, arg};

    return tree_walk_chunks(tree, &source, visit, &w, e);
}
