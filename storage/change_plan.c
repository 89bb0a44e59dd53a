#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "storage/change_internal.h"
#include "storage/extract_internal.h"
#include "storage/scan.h"

/*
 * Three lists in path order, walked together: what lies in the directory, what the cache
 * says of it, and the new tree.
 */
struct walk {
    struct change_plan *p;
    struct scan *scan;
    const struct scan_entry *here; /* NULL: no more */
    struct scache *c;
    struct scache_group cached;
    size_t cached_i;    /* in the group */
    uint64_t cached_at; /* where its contents begin in those of the group */
    bool cache_over;
    bool cache_damaged;
    const char *gone; /* a directory that is removed with all that is in it */
    size_t *dirs;     /* entries of the new tree: those the present one lies in */
    const char **dir_paths;
    size_t n_dirs;
    size_t cap_dirs;
    /* A big file whose chunks come in several groups. */
    struct buf parts;
    size_t pending; /* its entry */
    uint64_t pending_len;
    bool is_pending;
    bool pending_same; /* its metadata */
    bool pending_patch;
    struct change_span pending_old;
    bool alone; /* the entry of the new tree is the only one of its group */
};

static size_t
add_entry(struct change_plan *p)
{
    if (p->n == p->cap) {
        p->cap = p->cap == 0 ? 1024 : 2 * p->cap;
        p->actions = xrealloc(p->actions, p->cap * sizeof *p->actions);
        p->marks = xrealloc(p->marks, p->cap * sizeof *p->marks);
    }
    p->actions[p->n] = EXTRACT_MAKE;
    memset(&p->marks[p->n], 0, sizeof p->marks[p->n]);
    return p->n++;
}

/* ---- the three lists ---- */

static int
next_here(struct walk *w, struct err *e)
{
    return scan_next(w->scan, &w->here, e);
}

static const struct tree_entry *
cached_entry(const struct walk *w)
{
    return w->cache_over ? NULL : &w->cached.entries[w->cached_i];
}

/* The cache's entry of that path, if it has one. */
static const struct tree_entry *
seek_cached(struct walk *w, const struct tree_entry *t)
{
    for (;;) {
        const struct tree_entry *c;
        int order;

        while (!w->cache_over && w->cached_i == w->cached.n_entries) {
            w->cached_i = 0;
            w->cached_at = 0;
            w->cache_over = !scache_next(w->c, &w->cached, &w->cache_damaged);
        }
        c = cached_entry(w);
        order = c == NULL ? 1 : tree_path_cmp(c->path, c->path_len, t->path, t->path_len);
        if (order >= 0) {
            return order == 0 ? c : NULL;
        }
        w->cached_at += c->stored;
        w->cached_i++;
    }
}

/* ---- what follows from a difference ---- */

/* The directory that the path is in gets another time: it is to be finished again. */
static void
parent_changes(struct walk *w)
{
    size_t i;

    if (w->n_dirs > 0) {
        i = w->dirs[w->n_dirs - 1];
        if (w->p->actions[i] == EXTRACT_SKIP) {
            w->p->actions[i] = EXTRACT_META;
        }
    }
}

/* Only directories that path lies in stay on the stack. */
static void
leave_dirs(struct walk *w, const char *path, size_t len)
{
    while (w->n_dirs > 0 && !tree_path_beneath(path, len, w->dir_paths[w->n_dirs - 1],
                                               strlen(w->dir_paths[w->n_dirs - 1]))) {
        w->n_dirs--;
    }
}

static void
enter_dir(struct walk *w, const struct tree_entry *t, size_t i)
{
    if (w->n_dirs == w->cap_dirs) {
        w->cap_dirs = w->cap_dirs == 0 ? 32 : 2 * w->cap_dirs;
        w->dirs = xrealloc(w->dirs, w->cap_dirs * sizeof *w->dirs);
        w->dir_paths = xrealloc(w->dir_paths, w->cap_dirs * sizeof *w->dir_paths);
    }
    w->dirs[w->n_dirs] = i;
    w->dir_paths[w->n_dirs++] = arena_text(&w->p->arena, t->path, t->path_len);
}

static void
remove_here(struct walk *w)
{
    const struct scan_entry *h = w->here;
    struct change_plan *p = w->p;
    char *path;

    if (w->gone != NULL &&
        tree_path_beneath(h->path, h->path_len, w->gone, strlen(w->gone))) {
        return;
    }
    leave_dirs(w, h->path, h->path_len);
    parent_changes(w);
    path = arena_text(&p->arena, h->path, h->path_len);
    if (p->n_removed == p->cap_removed) {
        p->cap_removed = p->cap_removed == 0 ? 64 : 2 * p->cap_removed;
        p->removed = xrealloc(p->removed, p->cap_removed * sizeof *p->removed);
    }
    p->removed[p->n_removed++] = path;
    w->gone = h->type == TREE_DIR ? path : NULL;
}

/* ---- one entry of the new tree ---- */

/* Things that this code does not move from tree to tree: they are extracted. */
static bool
is_plain(const struct walk *w, const struct tree_entry *t)
{
    const struct scan_entry *h = w->here;

    return !t->hard_link && t->damage == TREE_WHOLE && t->type != TREE_WHITEOUT &&
           t->type != TREE_CHAR && t->type != TREE_BLOCK &&
           (h == NULL ||
            (h->damage == TREE_WHOLE && (h->type == TREE_DIR || h->nlink == 1)));
}

static struct change_span
cached_span(const struct walk *w, const struct tree_entry *c)
{
    return (struct change_span){w->cached.chunks, w->cached.n_chunks, w->cached_at,
                                c->stored};
}

/*
 * May the file be changed in place? Only what is known in all its metadata, so that
 * nothing of it stays that the tree does not tell.
 */
static bool
in_place(const struct walk *w, const struct tree_entry *t, const struct tree_entry *c)
{
    return c != NULL && t->type == TREE_FILE && w->here->type == TREE_FILE &&
           scache_trusts(w->c, &w->cached.marks[w->cached_i], w->here) &&
           c->type == TREE_FILE && c->n_xattrs == 0 && !c->hard_link && !t->sparse &&
           !c->sparse && t->stored == t->size;
}

/* A small one, of which all contents are at hand to compare it with. */
static bool
may_refresh(const struct walk *w, const struct tree_entry *t, const struct tree_entry *c)
{
    return in_place(w, t, c) && t->stored < TREE_BIG_FILE_BYTES &&
           w->here->size < TREE_BIG_FILE_BYTES;
}

/* A big one, of which the cache tells what chunk lies where; if it can be opened. */
static bool
may_patch(const struct walk *w, const struct tree_entry *t, const struct tree_entry *c)
{
    return in_place(w, t, c) && w->alone && t->stored >= TREE_BIG_FILE_BYTES &&
           w->cached.n_entries == 1 && c->stored >= TREE_BIG_FILE_BYTES &&
           c->stored == c->size && c->damage == TREE_WHOLE &&
           (w->here->mode & S_IWUSR) != 0;
}

static void
refresh(struct walk *w, size_t i, bool same_meta)
{
    w->p->actions[i] = EXTRACT_REFRESH;
    if (same_meta) {
        w->p->marks[i] = w->cached.marks[w->cached_i];
    }
    w->p->n_refreshed++;
}

static void
patch(struct walk *w, size_t i, const struct change_span *old,
      const struct change_span *now)
{
    struct change_plan *p = w->p;
    size_t n_bytes = (now->n_chunks + 7) / 8;
    uint8_t *bits = arena_alloc(&p->arena, n_bytes);

    memset(bits, 0, n_bytes);
    change_same_chunks(old, now, bits);
    if (p->n_patches == p->cap_patches) {
        p->cap_patches = p->cap_patches == 0 ? 16 : 2 * p->cap_patches;
        p->patches = xrealloc(p->patches, p->cap_patches * sizeof *p->patches);
    }
    p->patches[p->n_patches++] = bits;
    p->actions[i] = EXTRACT_PATCH;
    p->n_refreshed++;
}

static void
keep(struct walk *w, size_t i)
{
    w->p->actions[i] = EXTRACT_SKIP;
    w->p->marks[i] = w->cached.marks[w->cached_i];
    w->p->n_kept++;
}

/* A big file of which not all chunks have come yet: it is kept until they have. */
static void
await_parts(struct walk *w, size_t i, const struct change_span *old, uint64_t len,
            bool same, bool patchable)
{
    w->is_pending = true;
    w->pending = i;
    w->pending_len = len;
    w->pending_same = same;
    w->pending_patch = patchable;
    w->pending_old = *old;
    keep(w, i);
}

/* There is something of that name. span: of t's contents; NULL: not known yet. */
static void
compare(struct walk *w, const struct tree_entry *t, size_t i,
        const struct change_span *span)
{
    const struct tree_entry *c = seek_cached(w, t);
    bool same = c != NULL &&
                scache_trusts(w->c, &w->cached.marks[w->cached_i], w->here) &&
                change_same_meta(c, t);
    bool patchable;

    if (t->type == TREE_DIR) {
        if (w->here->type != TREE_DIR) {
            remove_here(w);
        } else if (same) {
            keep(w, i);
        } else {
            w->p->actions[i] = EXTRACT_META;
        }
        return;
    }
    patchable = may_patch(w, t, c);
    if (same || patchable) {
        struct change_span old = cached_span(w, c);

        if (span == NULL) {
            await_parts(w, i, &old, t->stored, same, patchable);
            return;
        }
        if (same && change_same_span(&old, span)) {
            keep(w, i);
            return;
        }
        if (patchable) {
            patch(w, i, &old, span);
            return;
        }
    }
    if (span != NULL && may_refresh(w, t, c)) {
        refresh(w, i, same);
    } else {
        remove_here(w);
    }
}

static int
take_entry(struct walk *w, const struct tree_entry *t, const struct change_span *span,
           struct err *e)
{
    size_t i = add_entry(w->p);
    int order = 1;

    while (w->here != NULL && (order = tree_path_cmp(w->here->path, w->here->path_len,
                                                     t->path, t->path_len)) < 0) {
        remove_here(w);
        if (next_here(w, e) != 0) {
            return -1;
        }
    }
    if (w->here == NULL || order != 0) {
        order = 1;
    }
    if (order == 0 ? !is_plain(w, t) : t->hard_link || t->damage != TREE_WHOLE) {
        w->p->possible = false;
        return 0;
    }
    leave_dirs(w, t->path, t->path_len);
    if (order == 0) {
        compare(w, t, i, span);
    }
    if (w->p->actions[i] == EXTRACT_MAKE) {
        parent_changes(w);
    }
    if (t->type == TREE_DIR) {
        enter_dir(w, t, i);
    }
    if (order == 0 && next_here(w, e) != 0) {
        return -1;
    }
    return 0;
}

/* ---- big files in several groups ---- */

static void
add_part(struct walk *w, const struct tree_group *g)
{
    buf_add(&w->parts, g->chunks, g->n_chunks * sizeof *g->chunks);
}

/* All its chunks are there: was it right to keep it? */
static void
decide_pending(struct walk *w)
{
    struct change_span now = {(const struct tree_chunk *)(const void *)w->parts.data,
                              w->parts.len / sizeof(struct tree_chunk), 0,
                              w->pending_len};
    bool kept =
        !w->is_pending || (w->pending_same && change_same_span(&w->pending_old, &now));

    if (!kept && w->pending_patch) {
        w->p->n_kept--;
        patch(w, w->pending, &w->pending_old, &now);
    } else if (!kept) {
        w->p->possible = false; /* extraction will do */
    }
    w->is_pending = false;
    buf_reset(&w->parts);
}

static int
take_group(struct walk *w, const struct tree_group *g, struct err *e)
{
    uint64_t at = 0;

    w->alone = g->n_entries == 1;
    if (g->continues) {
        add_part(w, g);
    } else {
        for (size_t i = 0; i < g->n_entries && w->p->possible; i++) {
            const struct tree_entry *t = &g->entries[i];
            struct change_span span = {g->chunks, g->n_chunks, at, t->stored};

            if (take_entry(w, t, g->more ? NULL : &span, e) != 0) {
                return -1;
            }
            at += t->stored;
        }
        if (g->more) {
            add_part(w, g);
        }
    }
    if (!g->more && (g->continues || w->is_pending)) {
        decide_pending(w);
    }
    return 0;
}

static int
walk_all(struct walk *w, struct tree_reader *r, struct err *e)
{
    const struct tree_group *g;

    if (next_here(w, e) != 0) {
        return -1;
    }
    while (w->p->possible) {
        if (tree_next(r, &g, e) != 0) {
            return -1;
        }
        if (g == NULL) {
            break;
        }
        if (take_group(w, g, e) != 0) {
            return -1;
        }
    }
    while (w->p->possible && w->here != NULL) {
        remove_here(w);
        if (next_here(w, e) != 0) {
            return -1;
        }
    }
    return 0;
}

int
change_plan_make(struct change_plan *p, int root_fd, struct scache *c,
                 const struct sha256 *tree_id, const struct tree_source *source,
                 struct err *e)
{
    struct scan_options so = {.everything = true};
    struct walk w = {.p = p, .c = c, .parts = BUF_INIT};
    struct tree_reader *r = NULL;
    int rc = -1;

    memset(p, 0, sizeof *p);
    p->possible = true;
    if (tree_open(&r, tree_id, source, e) == 0 &&
        scan_open(&w.scan, root_fd, &so, e) == 0) {
        rc = walk_all(&w, r, e);
    }
    scan_close(w.scan);
    tree_close(r);
    buf_free(&w.parts);
    free(w.dirs);
    free(w.dir_paths);
    return rc;
}

void
change_plan_free(struct change_plan *p)
{
    free(p->actions);
    free(p->marks);
    free(p->removed);
    free(p->patches);
    arena_free(&p->arena);
}
