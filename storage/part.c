#include "storage/part.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

struct tree_part {
    char *only;
    size_t only_len;
    char **targets; /* paths outside of which there is a name inside; sorted */
    size_t n_targets;
    size_t cap;
    bool found;
    bool needed; /* the group before was */
};

void
tree_part_close(struct tree_part *p)
{
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < p->n_targets; i++) {
        free(p->targets[i]);
    }
    free(p->targets);
    free(p->only);
    free(p);
}

static bool
is_inside(const struct tree_part *p, const char *path, size_t len)
{
    return tree_path_beneath(path, len, p->only, p->only_len);
}

static void
note_entry(struct tree_part *p, const struct tree_entry *entry)
{
    if (!is_inside(p, entry->path, entry->path_len)) {
        return;
    }
    p->found = true;
    if (!entry->hard_link || is_inside(p, entry->target, entry->target_len)) {
        return;
    }
    if (p->n_targets == p->cap) {
        p->cap = p->cap == 0 ? 16 : 2 * p->cap;
        p->targets = xrealloc(p->targets, p->cap * sizeof *p->targets);
    }
    p->targets[p->n_targets++] = xmemdup(entry->target, entry->target_len + 1);
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
look(struct tree_part *p, const struct sha256 *tree_id, const struct tree_source *source,
     struct err *e)
{
    struct tree_reader *r = NULL;
    const struct tree_group *g = NULL;
    int rc;

    if (tree_open(&r, tree_id, source, e) != 0) {
        return -1;
    }
    while ((rc = tree_next(r, &g, e)) == 0 && g != NULL) {
        for (size_t i = 0; i < g->n_entries; i++) {
            note_entry(p, &g->entries[i]);
        }
    }
    tree_close(r);
    return rc;
}

int
tree_part_open(struct tree_part **out, const struct sha256 *tree_id,
               const struct tree_source *source, const char *only, struct err *e)
{
    size_t len = strlen(only);
    struct tree_part *p;

    if (len == 0 || !tree_path_ok(only, len)) {
        return err_set(e, ERR_INVALID, "'%s' is no path in a tree", only);
    }
    p = xcalloc(1, sizeof *p);
    p->only = xstrdup(only);
    p->only_len = len;
    if (look(p, tree_id, source, e) != 0) {
        tree_part_close(p);
        return -1;
    }
    if (!p->found) {
        tree_part_close(p);
        return err_set(e, ERR_NOT_FOUND,
                       "'%s' is not in it; `gpurun snap files` lists what is", only);
    }
    if (p->n_targets > 1) {
        qsort(p->targets, p->n_targets, sizeof *p->targets, by_name);
    }
    *out = p;
    return 0;
}

static bool
is_target(const struct tree_part *p, const char *path)
{
    return p->n_targets > 0 &&
           bsearch(&path, p->targets, p->n_targets, sizeof *p->targets, by_name) != NULL;
}

bool
tree_part_needs(struct tree_part *p, const struct tree_group *g)
{
    if (g->continues) {
        return p->needed; /* more of the same file */
    }
    p->needed = false;
    for (size_t i = 0; i < g->n_entries && !p->needed; i++) {
        const struct tree_entry *entry = &g->entries[i];

        p->needed =
            entry->stored > 0 && !entry->hard_link &&
            (is_inside(p, entry->path, entry->path_len) || is_target(p, entry->path));
    }
    return p->needed;
}

int
tree_part_walk(const struct sha256 *tree_id, const struct tree_source *source,
               const char *only,
               int (*visit)(void *ctx, enum store_kind kind, const struct tree_chunk *c,
                            struct err *e),
               void *ctx, struct err *e)
{
    struct tree_chunk root = {.id = *tree_id};
    const struct tree_chunk *meta;
    const struct tree_group *g = NULL;
    struct tree_reader *r = NULL;
    struct tree_part *p = NULL;
    size_t n_meta = 0;
    int rc = -1;

    if (tree_part_open(&p, tree_id, source, only, e) != 0 ||
        tree_open(&r, tree_id, source, e) != 0) {
        goto out;
    }
    root.len = tree_root_len(r);
    meta = tree_meta_chunks(r, &n_meta);
    rc = visit(ctx, STORE_KIND_META, &root, e);
    for (size_t i = 0; i < n_meta && rc == 0; i++) {
        rc = visit(ctx, STORE_KIND_META, &meta[i], e);
    }
    while (rc == 0 && (rc = tree_next(r, &g, e)) == 0 && g != NULL) {
        if (!tree_part_needs(p, g)) {
            continue;
        }
        for (size_t i = 0; i < g->n_chunks && rc == 0; i++) {
            rc = visit(ctx, STORE_KIND_DATA, &g->chunks[i], e);
        }
    }

out:
    tree_close(r);
    tree_part_close(p);
    return rc;
}
