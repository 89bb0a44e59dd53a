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

int
gc_walk_names(struct store *s, const struct sha256 *tree, gc_chunk_fn *chunk, void *arg,
              struct err *e)
{
    struct tree_source source = tree_source_store(s);
    struct tree_reader *r = NULL;
    const struct tree_chunk *own;
    size_t n;
    int rc;

    if (tree_open(&r, tree, &source, e) != 0) {
        return -1;
    }
    own = tree_meta_chunks(r, &n);
    rc = chunk(arg, tree, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = chunk(arg, &own[i].id, e);
    }
    tree_close(r);
    return rc;
}
