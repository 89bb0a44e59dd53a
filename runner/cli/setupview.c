#include "runner/cli/setupview.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/lang.h"
#include "base/text.h"
#include "runner/cli/setupkey.h"
#include "runner/client/bring.h"
#include "runner/client/tmpdir.h"
#include "storage/tree.h"

#define LINKS_MAX 8 /* followed one after another */

struct setupview {
    struct client *client;
    struct session *session;
    char *snapshot;
    struct scratch *scratch;
    struct tmpdir dir;
    size_t n_here;
    struct setupview_entry *entries; /* in path order */
    size_t n, n_room;
};

/* ---- what there is ---- */

/* Where a link leads: a path of the snapshot, or NULL. malloc'ed */
static char *
target_of(const struct tree_entry *en)
{
    const char *slash = strrchr(en->path, '/');
    char *dir = xasprintf("%.*s", slash == NULL ? 0 : (int)(slash - en->path), en->path);
    char *to = setupkey_within(dir, en->target);

    free(dir);
    return to;
}

static void
add_entry(struct setupview *v, const struct tree_entry *en)
{
    struct setupview_entry *to;

    if (en->type != TREE_FILE && en->type != TREE_DIR && en->type != TREE_SYMLINK) {
        return;
    }
    if (v->n == v->n_room) {
        v->n_room = v->n_room == 0 ? 256 : 2 * v->n_room;
        v->entries = xrealloc(v->entries, v->n_room * sizeof *v->entries);
    }
    to = &v->entries[v->n++];
    *to = (struct setupview_entry){.path = xstrdup(en->path),
                                   .is_dir = en->type == TREE_DIR,
                                   .is_file = en->type == TREE_FILE && !en->hard_link,
                                   .size = en->size,
                                   .mtime_ns = en->mtime_ns};
    if (en->hard_link) {
        to->leads = xstrdup(en->target);
    } else if (en->type == TREE_SYMLINK) {
        to->leads = target_of(en);
    }
}

static int
read_listing(struct setupview *v, const struct buf *listing, struct err *e)
{
    struct bring_listing_at at = {.listing = listing};
    struct tree_reader *r = NULL;
    const struct tree_group *g = NULL;
    int rc;

    if (tree_open_stream(&r, bring_listing_read, &at, e) != 0) {
        return -1;
    }
    while ((rc = tree_next(r, &g, e)) == 0 && g != NULL) {
        for (size_t i = 0; i < g->n_entries; i++) {
            add_entry(v, &g->entries[i]);
        }
    }
    tree_close(r);
    return rc;
}

int
setupview_open(struct setupview **out, struct client *cl, struct session *s,
               const char *snapshot, struct err *e)
{
    struct setupview *v = xcalloc(1, sizeof *v);
    struct bring_want want = {.snapshot = snapshot};
    struct buf listing = BUF_INIT;
    int rc = -1;

    v->client = cl;
    v->session = s;
    v->snapshot = xstrdup(snapshot);
    v->dir = TMPDIR_NONE;
    if (tmpdir_make(&v->dir, cl->home, "setup.", e) == 0 &&
        scratch_for(&v->scratch, cl->home, s, e) == 0 &&
        bring_listing(cl, s, &want, &listing, e) == 0) {
        rc = read_listing(v, &listing, e);
    }
    buf_free(&listing);
    if (rc != 0) {
        setupview_free(v);
        return -1;
    }
    *out = v;
    return 0;
}

void
setupview_free(struct setupview *v)
{
    if (v == NULL) {
        return;
    }
    for (size_t i = 0; i < v->n; i++) {
        free(v->entries[i].path);
        free(v->entries[i].leads);
        free(v->entries[i].here);
    }
    free(v->entries);
    free(v->snapshot);
    scratch_free(v->scratch);
    tmpdir_remove(&v->dir);
    free(v);
}

const struct setupview_entry *
setupview_entry(const struct setupview *v, size_t i)
{
    return i < v->n ? &v->entries[i] : NULL;
}

/* ---- what is in it ---- */

static int
compare(const void *key, const void *element)
{
    const char *path = key;
    const struct setupview_entry *en = element;

    return tree_path_cmp(path, strlen(path), en->path, strlen(en->path));
}

static struct setupview_entry *
find_entry(const struct setupview *v, const char *path)
{
    return v->n == 0 ? NULL
                     : bsearch(path, v->entries, v->n, sizeof *v->entries, compare);
}

/* A file or directory, or NULL. */
static struct setupview_entry *
follow(const struct setupview *v, const char *path)
{
    struct setupview_entry *en = find_entry(v, path);

    for (int i = 0; en != NULL && en->leads != NULL && i < LINKS_MAX; i++) {
        en = find_entry(v, en->leads);
    }
    return en != NULL && (en->is_dir || en->is_file) ? en : NULL;
}

/* What came is what the listing says, or nobody looks at it: a link would lead here. */
static int
check_file(const char *copy, const char *path, struct err *e)
{
    struct stat st;
    char shown[200];

    return lstat(copy, &st) == 0 && S_ISREG(st.st_mode)
               ? 0
               : err_set(e, ERR_CORRUPT,
                         _("the snapshot's listing calls '%s' a file, and it is none"),
                         text_escape_to(shown, sizeof shown, path));
}

static int
bring_file(struct setupview *v, struct setupview_entry *en, struct err *e)
{
    struct bring_want want = {.snapshot = v->snapshot, .path = en->path};
    const struct land_options land = {.home = v->client->home};
    char *copy = xasprintf("%s/%zu", v->dir.path, v->n_here++);
    struct brought got;

    if (bring_tree(v->client, v->session, v->scratch, &want, &got, e) != 0 ||
        land_tree(v->scratch, &got, copy, &land, e) != 0 ||
        check_file(copy, en->path, e) != 0) {
        free(copy);
        return -1;
    }
    en->here = copy;
    return 0;
}

int
setupview_find(struct setupview *v, const char *path, char **out, struct err *e)
{
    struct setupview_entry *en = follow(v, path);

    if (en != NULL && !en->is_dir && en->here == NULL && bring_file(v, en, e) != 0) {
        return -1;
    }
    *out = en == NULL ? NULL : xstrdup(en->is_dir ? v->dir.path : en->here);
    return 0;
}
