#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "storage/fsck_internal.h"
#include "storage/named.h"
#include "storage/snap_internal.h"
#include "storage/tree.h"

struct snap_check {
    struct fsck *f;
    const char *id;
    uint64_t n_missing;
    struct err failure; /* the index could not be asked */
    bool failed;
};

/* Asked of the index as it is: a check pardons nothing. */
static bool
is_missing(void *arg, const struct sha256 *id)
{
    struct snap_check *c = arg;
    struct store_loc loc = {0};
    uint64_t gen;

    if (index_row(c->f->s->ix, id, &loc, &gen, &c->failure) == -1) {
        c->failed = true;
        return false;
    }
    return loc.pack == 0;
}

static int
count_missing(void *arg, const struct sha256 *id, struct err *e)
{
    struct snap_check *c = arg;

    c->n_missing += is_missing(c, id) ? 1 : 0;
    if (c->failed) {
        *e = c->failure;
        return -1;
    }
    return 0;
}

static void
tell(struct fsck *f, const char *id, const char *path, size_t path_len,
     const struct err *why)
{
    if (f->o->damaged != NULL) {
        f->o->damaged(f->o->arg, id, path, path_len, why);
    }
}

static void
name_file(void *arg, const char *path, size_t path_len)
{
    struct snap_check *c = arg;
    struct err why;

    c->f->r->n_files_damaged++;
    err_set(&why, ERR_CORRUPT, "its contents are damaged");
    tell(c->f, c->id, path, path_len, &why);
}

static int
check_tree(struct fsck *f, const char *id, const struct manifest *m, struct err *e)
{
    const struct sha256 *tree = &m->tree;
    const uint64_t before = f->r->n_files_damaged;
    struct snap_check c = {.f = f, .id = id};
    struct err why;
    bool readable = f->o->walk(f->s, tree, count_missing, &c, &why) == 0;

    if (c.failed) {
        *e = c.failure;
        return -1;
    }
    if (readable && c.n_missing == 0) {
        return 0;
    }
    f->r->n_snaps_damaged++;
    if (f->o->files(f->s, tree, is_missing, &c, name_file, &c, &why) == -1) {
        tell(f, id, NULL, 0, &why);
        f->r->n_files_damaged =
            before + m->n_files; /* without its list none can be had */
    }
    if (c.failed) {
        *e = c.failure;
        return -1;
    }
    return 0;
}

/* Of what was given up nothing is needed any more: that is said, and no damage. */
static void
manifest_lost(struct fsck *f, const char *id, bool gone, const struct err *why)
{
    struct err line = *why;

    if (gone) {
        err_wrap(&line, "of snapshot %s, whose data was given up, no record is left", id);
        fsck_tell(f, &line);
        return;
    }
    f->r->n_manifests_lost++;
    tell(f, id, NULL, 0, why);
}

static int
check_snap(struct fsck *f, const char *id, struct err *e)
{
    static const struct sha256 none;
    struct manifest *m = NULL;
    bool repaired = false;
    bool gone;
    int rc = 0;

    if (!f->o->check_only && manifest_repair(f->s, id, &repaired, e) == -1 &&
        e->code != ERR_CORRUPT && e->code != ERR_VERSION) {
        return -1;
    }
    f->r->n_manifests_repaired += repaired ? 1 : 0;
    if (snap_is_gone(f->s, id, &gone, e) == -1) {
        return -1;
    }
    if (manifest_read(f->s, id, &m, e) == -1) {
        if (e->code != ERR_CORRUPT && e->code != ERR_VERSION) {
            return -1;
        }
        manifest_lost(f, id, gone, e);
        return 0;
    }
    if (!gone && !sha256_equal(&m->tree, &none)) {
        f->r->n_snaps++;
        rc = check_tree(f, id, m, e);
    }
    manifest_free(m);
    return rc;
}

int
fsck_snaps(struct fsck *f, struct err *e)
{
    struct snap_ids ids;
    int rc = 0;

    if (snap_ids(f->s, &ids, e) == -1) {
        return -1;
    }
    for (size_t i = 0; rc == 0 && i < ids.n; i++) {
        fsck_care(f, CARE_SNAPSHOTS, i, ids.n);
        rc = check_snap(f, ids.v[i], e);
    }
    free(ids.v);
    return rc;
}

/* ---- which files of a tree need a chunk ---- */

struct naming {
    fsck_missing_fn *missing;
    void *missing_arg;
    fsck_file_fn *file;
    void *arg;
    struct buf last;  /* the file named last: none is named twice */
    struct buf going; /* the big file that goes on in the next group */
    struct named named;
};

static void
name(struct naming *nm, const char *path, size_t len)
{
    if (nm->last.len == len && len != 0 && memcmp(nm->last.data, path, len) == 0) {
        return;
    }
    buf_reset(&nm->last);
    buf_add(&nm->last, path, len);
    named_add(&nm->named, path, len);
    nm->file(nm->arg, path, len);
}

static bool
has_contents(const struct tree_entry *en)
{
    return en->type == TREE_FILE && !en->hard_link && en->stored > 0;
}

/* Name the files whose bytes overlap [from, to) of the group's contents. */
static void
name_overlapping(struct naming *nm, const struct tree_group *g, uint64_t from,
                 uint64_t to)
{
    uint64_t at = 0;

    if (g->continues) {
        name(nm, (const char *)nm->going.data, nm->going.len);
        return; /* such a group is of that file alone */
    }
    for (size_t i = 0; i < g->n_entries; i++) {
        const struct tree_entry *en = &g->entries[i];
        uint64_t end = at + (has_contents(en) ? en->stored : 0);

        if (has_contents(en) && at < to && from < end) {
            name(nm, en->path, en->path_len);
        }
        at = end;
    }
}

/* The bytes that missing chunks would have held. */
static void
name_files(struct naming *nm, const struct tree_group *g)
{
    uint64_t at = 0;

    for (size_t i = 0; i < g->n_chunks; i++) {
        if (nm->missing(nm->missing_arg, &g->chunks[i].id)) {
            name_overlapping(nm, g, at, at + g->chunks[i].len);
        }
        at += g->chunks[i].len;
    }
    for (size_t i = 0; i < g->n_entries; i++) {
        if (named_by_link(&nm->named, &g->entries[i])) {
            nm->file(nm->arg, g->entries[i].path, g->entries[i].path_len);
        }
    }
    for (size_t i = 0; g->more && i < g->n_entries; i++) {
        if (has_contents(&g->entries[i])) {
            buf_reset(&nm->going);
            buf_add(&nm->going, g->entries[i].path, g->entries[i].path_len);
        }
    }
}

int
fsck_files_tree(struct store *s, const struct sha256 *tree, fsck_missing_fn *missing,
                void *missing_arg, fsck_file_fn *file, void *file_arg, struct err *e)
{
    struct tree_source source = tree_source_store(s);
    struct naming nm = {missing,  missing_arg, file,        file_arg,
                        BUF_INIT, BUF_INIT,    {NULL, 0, 0}};
    const struct tree_group *g = NULL;
    struct tree_reader *r;
    int rc;

    if (tree_open(&r, tree, &source, e) == -1) {
        return -1;
    }
    while ((rc = tree_next(r, &g, e)) == 0 && g != NULL) {
        name_files(&nm, g);
    }
    tree_close(r);
    buf_free(&nm.last);
    buf_free(&nm.going);
    named_free(&nm.named);
    return rc;
}
