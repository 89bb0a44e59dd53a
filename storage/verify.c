#include "storage/verify.h"

#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "storage/fsck.h"
#include "storage/index_gc.h"
#include "storage/named.h"
#include "storage/pack.h"
#include "storage/store_internal.h"
#include "storage/tree.h"

struct verify {
    struct store *store;
    const struct verify_options *o;
    uint64_t all_bytes;
    struct verify_result sums;
    struct buf data;
    struct buf path; /* of the big file that goes on in the next group */
    bool told;       /* that one was */
    struct named named;
};

static void
tell(struct verify *v, const char *path, size_t len, const struct err *why)
{
    v->sums.n_damaged++;
    named_add(&v->named, path, len);
    if (v->o->damaged != NULL) {
        v->o->damaged(v->o->arg, path, len, why);
    }
}

/* The files whose contents reach into [from, to) of the group's. */
static void
tell_files(struct verify *v, const struct tree_group *g, uint64_t from, uint64_t to,
           size_t *next, const struct err *why)
{
    uint64_t at = 0;

    for (size_t i = 0; i < g->n_entries; i++) {
        uint64_t end = at + g->entries[i].stored;

        if (i >= *next && g->entries[i].stored > 0 && at < to && end > from) {
            tell(v, g->entries[i].path, g->entries[i].path_len, why);
            *next = i + 1; /* a file in two bad chunks is one file */
        }
        at = end;
    }
}

/* What else is a name of a file that was told. */
static void
tell_links(struct verify *v, const struct tree_group *g)
{
    struct err why;

    err_set(&why, ERR_CORRUPT, "its contents are damaged");
    for (size_t i = 0; i < g->n_entries; i++) {
        if (named_by_link(&v->named, &g->entries[i])) {
            v->sums.n_damaged++;
            if (v->o->damaged != NULL) {
                v->o->damaged(v->o->arg, g->entries[i].path, g->entries[i].path_len,
                              &why);
            }
        }
    }
}

/* One chunk. *lost: it is not there, or damaged; -1: that could not be found out. */
static int
check_chunk(struct verify *v, const struct tree_chunk *c, bool *lost, struct err *e)
{
    buf_reset(&v->data);
    v->sums.n_chunks++;
    v->sums.bytes += c->len;
    if (v->o->progress != NULL) {
        v->o->progress(v->o->arg, CARE_CONTENTS, v->sums.bytes, v->all_bytes);
    }
    *lost = true;
    if (store_get(v->store, &c->id, &v->data, e) == -1) {
        return pack_is_damage(e) || e->code == ERR_NOT_FOUND ? 0 : -1;
    }
    if (v->data.len != c->len) {
        (void)err_set(e, ERR_CORRUPT, "a chunk of another length");
        return 0;
    }
    *lost = false;
    return 0;
}

static int
check_group(struct verify *v, const struct tree_group *g, struct err *e)
{
    bool big = g->more || g->continues;
    uint64_t at = 0;
    size_t next = 0;

    if (!g->continues && g->more) {
        const struct tree_entry *file = &g->entries[g->n_entries - 1];

        buf_reset(&v->path);
        buf_add(&v->path, file->path, file->path_len);
        v->told = false;
    }
    v->sums.n_entries += g->n_entries;
    for (size_t i = 0; i < g->n_chunks; i++) {
        const struct tree_chunk *c = &g->chunks[i];
        struct err why;
        bool lost;

        if (check_chunk(v, c, &lost, &why) == -1) {
            *e = why;
            return -1;
        }
        if (!lost) {
            at += c->len;
            continue;
        }
        if (!big) {
            tell_files(v, g, at, at + c->len, &next, &why);
        } else if (!v->told) {
            tell(v, buf_str(&v->path), v->path.len, &why);
            v->told = true;
        }
        at += c->len;
    }
    tell_links(v, g);
    return 0;
}

int
verify_tree(struct store *s, const struct sha256 *tree, const struct verify_options *o,
            struct verify_result *out, struct err *e)
{
    struct tree_source source = tree_source_store(s);
    struct verify v = {.store = s, .o = o};
    const struct tree_group *g = NULL;
    struct tree_reader *r = NULL;
    int rc = tree_open(&r, tree, &source, e);

    if (rc == 0) {
        v.all_bytes = tree_totals(r)->stored;
    }
    while (rc == 0 && (rc = tree_next(r, &g, e)) == 0 && g != NULL) {
        rc = check_group(&v, g, e);
    }
    tree_close(r);
    buf_free(&v.data);
    buf_free(&v.path);
    named_free(&v.named);
    *out = v.sums;
    return rc;
}

/* ---- what a failure is about ---- */

#define SHOWN_FILES 3
#define SHOWN_BYTES 60 /* of each name */

struct shown {
    struct buf names;
    size_t n;
};

struct naming {
    struct store *store;
    const char *only;
    struct shown inside; /* what is asked for */
    struct shown all;
};

static bool
is_missing(void *arg, const struct sha256 *id)
{
    const struct naming *n = arg;
    struct store_loc loc = {0};
    struct err ignored;
    uint64_t gen;

    return index_row(n->store->ix, id, &loc, &gen, &ignored) == 0 && loc.pack == 0;
}

static void
show(struct shown *s, const char *path)
{
    char name[SHOWN_BYTES];

    if (++s->n <= SHOWN_FILES) {
        buf_printf(&s->names, "%s'%s'", s->n > 1 ? ", " : "",
                   text_escape_to(name, sizeof name, path));
    }
}

static void
name_file(void *arg, const char *path, size_t path_len)
{
    struct naming *n = arg;
    struct buf b = BUF_INIT;

    buf_add(&b, path, path_len);
    show(&n->all, buf_str(&b));
    if (n->only != NULL && tree_path_beneath(path, path_len, n->only, strlen(n->only))) {
        show(&n->inside, buf_str(&b));
    }
    buf_free(&b);
}

void
verify_name_damaged(struct store *s, const struct sha256 *tree, const char *only,
                    struct err *e)
{
    struct naming n = {.store = s, .only = only};
    struct shown *what = &n.all;
    struct err ignored;
    bool listed;

    if (e->code != ERR_CORRUPT && e->code != ERR_NOT_FOUND) {
        return;
    }
    listed = fsck_files_tree(s, tree, is_missing, &n, name_file, &n, &ignored) == 0;
    if (n.inside.n > 0) {
        what = &n.inside;
    }
    if (what->n > SHOWN_FILES) {
        err_wrap(
            e,
            "damaged: %s, and more: %zu (`gpurun snap ls` tells of copies elsewhere, "
            "`gpurun fsck` of all damage; what is shipped or kept again is mended)",
            buf_str(&what->names), what->n - SHOWN_FILES);
    } else if (what->n > 0) {
        err_wrap(e,
                 "damaged: %s (`gpurun snap ls` tells of copies elsewhere, `gpurun fsck` "
                 "of all damage; what is shipped or kept again is mended)",
                 buf_str(&what->names));
    } else if (!listed) {
        err_wrap(e,
                 "damaged: the list of its files (`gpurun snap ls` tells of copies "
                 "elsewhere, `gpurun fsck` of all damage; what is shipped or kept again "
                 "is mended)");
    }
    buf_free(&n.inside.names);
    buf_free(&n.all.names);
}
