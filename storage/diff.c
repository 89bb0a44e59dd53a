#include "storage/diff.h"

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "storage/run.h"

/* One side: a walk over the entries of a tree, one run of groups at a time. */
struct side {
    struct tree_reader *reader;
    const struct tree_source *source;
    struct tree_run run;
    size_t next;        /* entry of the run */
    uint64_t at;        /* where its contents begin in those of the run */
    bool end;           /* no more entries */
    struct buf content; /* of the run, if have_content */
    bool have_content;
    uint64_t read_bytes;
};

static const struct tree_entry *
entry_of(const struct side *s)
{
    return s->end ? NULL : &s->run.group.entries[s->next];
}

static int
next_run(struct side *s, struct err *e)
{
    s->have_content = false;
    s->next = 0;
    s->at = 0;
    return tree_run_next(&s->run, s->reader, &s->end, e);
}

static int
step(struct side *s, struct err *e)
{
    const struct tree_entry *entry = entry_of(s);

    if (entry->type == TREE_FILE && !entry->hard_link) {
        s->at += entry->stored;
    }
    s->next++;
    return s->next < s->run.group.n_entries ? 0 : next_run(s, e);
}

static void
side_close(struct side *s)
{
    tree_run_free(&s->run);
    tree_close(s->reader);
    buf_free(&s->content);
}

/* ---- contents ---- */

static bool
same_chunks(const struct side *a, const struct side *b)
{
    const struct tree_group *x = &a->run.group;
    const struct tree_group *y = &b->run.group;

    if (a->at != b->at || x->n_chunks != y->n_chunks) {
        return false;
    }
    for (size_t i = 0; i < x->n_chunks; i++) {
        if (!sha256_equal(&x->chunks[i].id, &y->chunks[i].id)) {
            return false;
        }
    }
    return true;
}

static int
load(struct side *s, struct err *e)
{
    if (s->have_content) {
        return 0;
    }
    buf_reset(&s->content);
    for (size_t i = 0; i < s->run.group.n_chunks; i++) {
        if (s->source->get(s->source->ctx, &s->run.group.chunks[i].id, &s->content, e) !=
            0) {
            return -1;
        }
    }
    s->read_bytes += s->content.len;
    s->have_content = true;
    return 0;
}

static bool
same_extents(const struct tree_entry *a, const struct tree_entry *b)
{
    if (a->sparse != b->sparse || a->n_extents != b->n_extents) {
        return false;
    }
    for (size_t i = 0; i < a->n_extents; i++) {
        if (a->extents[i].at != b->extents[i].at ||
            a->extents[i].len != b->extents[i].len) {
            return false;
        }
    }
    return true;
}

/*
 * A big file's chunks are its own, and cut by its bytes alone: other chunks are other
 * bytes. A small one has to be looked at, and one that grew among small ones.
 */
static int
same_file(struct side *a, struct side *b, bool *same, struct err *e)
{
    const struct tree_entry *x = entry_of(a);
    const struct tree_entry *y = entry_of(b);

    *same = false;
    if (x->size != y->size || x->stored != y->stored || !same_extents(x, y)) {
        return 0;
    }
    if (x->stored == 0 || same_chunks(a, b)) {
        *same = true;
        return 0;
    }
    if (x->stored >= TREE_BIG_FILE_BYTES && a->run.group.n_entries == 1 &&
        b->run.group.n_entries == 1) {
        return 0;
    }
    if (load(a, e) != 0 || load(b, e) != 0) {
        return -1;
    }
    if (a->content.len < a->at + x->stored || b->content.len < b->at + y->stored) {
        return err_set(e, ERR_CORRUPT, "not a tree: a file has too few bytes");
    }
    *same = memcmp(a->content.data + a->at, b->content.data + b->at, x->stored) == 0;
    return 0;
}

/* ---- one entry against another ---- */

static bool
same_target(const struct tree_entry *a, const struct tree_entry *b)
{
    if (a->target == NULL || b->target == NULL) {
        return a->target == b->target;
    }
    return a->target_len == b->target_len &&
           memcmp(a->target, b->target, a->target_len) == 0;
}

static int
compare(struct side *a, struct side *b, unsigned *what, struct err *e)
{
    const struct tree_entry *x = entry_of(a);
    const struct tree_entry *y = entry_of(b);
    bool same = true;

    *what = 0;
    if (x->type != y->type) {
        *what = DIFF_TYPE;
        return 0;
    }
    if (x->damage != y->damage || x->hard_link != y->hard_link || !same_target(x, y) ||
        x->dev_major != y->dev_major || x->dev_minor != y->dev_minor ||
        x->opaque != y->opaque) {
        *what |= DIFF_CONTENTS;
    } else if (x->type == TREE_FILE && !x->hard_link) {
        if (same_file(a, b, &same, e) != 0) {
            return -1;
        }
        *what |= same ? 0 : DIFF_CONTENTS;
    }
    if (x->hard_link && y->hard_link) {
        return 0; /* its metadata is that of what it names */
    }
    *what |= x->mode != y->mode ? DIFF_MODE : 0;
    *what |= x->uid != y->uid || x->gid != y->gid ? DIFF_OWNER : 0;
    *what |= tree_same_xattrs(x, y) ? 0 : DIFF_XATTRS;
    *what |= x->mtime_ns != y->mtime_ns ? DIFF_TIME : 0;
    return 0;
}

struct walk {
    struct side a;
    struct side b;
    int (*visit)(void *ctx, const struct diff_change *c, struct err *e);
    void *ctx;
    struct diff_result sums;
};

/* The entry that comes first, or both of one path. */
static int
next_change(struct walk *w, struct err *e)
{
    const struct tree_entry *x = entry_of(&w->a);
    const struct tree_entry *y = entry_of(&w->b);
    struct diff_change c = {.what = 0};
    int order;

    assert(x != NULL || y != NULL);
    order = x == NULL   ? 1
            : y == NULL ? -1
                        : tree_path_cmp(x->path, x->path_len, y->path, y->path_len);
    c.before = order <= 0 ? x : NULL;
    c.after = order >= 0 ? y : NULL;
    if (order == 0 && compare(&w->a, &w->b, &c.what, e) != 0) {
        return -1;
    }
    w->sums.n_removed += order < 0;
    w->sums.n_added += order > 0;
    w->sums.n_touched += c.what == DIFF_TIME;
    w->sums.n_changed += (c.what & ~(unsigned)DIFF_TIME) != 0;
    if ((order != 0 || c.what != 0) && w->visit(w->ctx, &c, e) != 0) {
        return -1;
    }
    if (c.before != NULL && step(&w->a, e) != 0) {
        return -1;
    }
    return c.after != NULL ? step(&w->b, e) : 0;
}

int
diff_trees(const struct sha256 *before, const struct tree_source *before_source,
           const struct sha256 *after, const struct tree_source *after_source,
           int (*visit)(void *ctx, const struct diff_change *c, struct err *e), void *ctx,
           struct diff_result *r, struct err *e)
{
    struct walk w = {.a = {.source = before_source},
                     .b = {.source = after_source},
                     .visit = visit,
                     .ctx = ctx};
    int rc = -1;

    if (sha256_equal(before, after)) {
        *r = w.sums;
        return 0;
    }
    if (tree_open(&w.a.reader, before, before_source, e) != 0 ||
        tree_open(&w.b.reader, after, after_source, e) != 0 || next_run(&w.a, e) != 0 ||
        next_run(&w.b, e) != 0) {
        goto out;
    }
    while (!w.a.end || !w.b.end) {
        if (next_change(&w, e) != 0) {
            goto out;
        }
    }
    w.sums.read_bytes = w.a.read_bytes + w.b.read_bytes;
    *r = w.sums;
    rc = 0;

out:
    side_close(&w.a);
    side_close(&w.b);
    return rc;
}
