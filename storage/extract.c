#include "storage/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/beneath.h"
#include "storage/extract_internal.h"

/*
 * A file with several names, of which the first is outside what is extracted: it is
 * made from the first one's content under the first name inside.
 */
struct outside {
    char *target; /* the name outside, a path of the tree */
    char *path;   /* the name inside, a path of the tree */
};

struct whole {
    struct extract x;
    const struct extract_options *o;
    const struct sha256 *tree;
    const struct tree_source *source;
    int root_fd;
    struct scache_writer *cache;
    struct outside *outside;
    size_t n_outside;
    uint64_t n_found;
    uint64_t n_entries;
    uint64_t bytes;
    uint64_t made_bytes; /* of progress */
    bool makes_big;      /* the file that goes on in the next group is made */
};

static bool
is_selected(const struct whole *w, const struct tree_entry *entry)
{
    const char *only = w->o->only;

    return only == NULL ||
           tree_path_beneath(entry->path, entry->path_len, only, strlen(only));
}

/* ---- limits ---- */

/* What the root says, before anything is made; what really comes, as it comes. */
static int
check_limits(const struct extract_options *o, uint64_t n_entries, uint64_t bytes,
             struct err *e)
{
    if (o->max_entries != 0 && n_entries > o->max_entries) {
        return err_set(e, ERR_SPACE, "more than %llu files and folders",
                       (unsigned long long)o->max_entries);
    }
    if (o->max_bytes != 0 && bytes > o->max_bytes) {
        return err_set(e, ERR_SPACE, "more than %llu bytes",
                       (unsigned long long)o->max_bytes);
    }
    return 0;
}

/* ---- asking first ---- */

static int
check_place(struct whole *w, struct extract_parent *p, const struct tree_entry *entry,
            struct err *e)
{
    const char *path = extract_path(&w->x, entry->path);
    const char *name;
    struct err ignored = {0};
    struct stat st;

    if (path[0] == '\0' || extract_parent_of(p, path, &name, &ignored) != 0 ||
        fstatat(p->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return 0; /* nothing there; other troubles will be told when it is made */
    }
    if (entry->type == TREE_DIR && S_ISDIR(st.st_mode)) {
        return 0;
    }
    if (!w->o->overwrite || (entry->type != TREE_DIR && S_ISDIR(st.st_mode))) {
        return err_set(e, ERR_EXISTS, "'%s' exists already", path);
    }
    return w->o->may_replace != NULL ? w->o->may_replace(w->o->may_replace_ctx, path, e)
                                     : 0;
}

/* Is anything in the way that may not be replaced? */
static int
ask_first(struct whole *w, struct err *e)
{
    struct extract_parent p = {.root_fd = w->root_fd, .path = BUF_INIT, .fd = -1};
    struct tree_reader *r = NULL;
    const struct tree_group *g;
    int rc = -1;

    if (tree_open(&r, w->tree, w->source, e) != 0) {
        return -1;
    }
    for (;;) {
        if (tree_next(r, &g, e) != 0) {
            goto out;
        }
        if (g == NULL) {
            break;
        }
        for (size_t i = 0; i < g->n_entries; i++) {
            if (is_selected(w, &g->entries[i]) &&
                check_place(w, &p, &g->entries[i], e) != 0) {
                goto out;
            }
        }
    }
    rc = 0;

out:
    extract_parent_free(&p);
    tree_close(r);
    return rc;
}

/* ---- names outside ---- */

static const char *
inside_name(const struct whole *w, const char *target)
{
    for (size_t i = 0; i < w->n_outside; i++) {
        if (strcmp(w->outside[i].target, target) == 0) {
            return w->outside[i].path;
        }
    }
    return NULL;
}

/* true: the entry is dealt with. */
static bool
link_to_outside(struct whole *w, const struct tree_entry *entry)
{
    const char *only = w->o->only;
    const char *inside;

    if (only == NULL || !entry->hard_link ||
        tree_path_beneath(entry->target, entry->target_len, only, strlen(only))) {
        return false;
    }
    inside = inside_name(w, entry->target);
    if (inside != NULL) {
        extract_add_link(&w->x, extract_path(&w->x, entry->path),
                         extract_path(&w->x, inside), entry, NULL);
        return true;
    }
    w->outside = xrealloc(w->outside, (w->n_outside + 1) * sizeof *w->outside);
    w->outside[w->n_outside].target = xstrdup(entry->target);
    w->outside[w->n_outside].path = xstrdup(entry->path);
    w->n_outside++;
    return true;
}

/* ---- one pass over the tree ---- */

/* Which entries of the group are to be made? false: none. */
typedef bool choose_fn(struct whole *w, struct tree_group *g, uint8_t *actions);

static bool
choose_selected(struct whole *w, struct tree_group *g, uint8_t *actions)
{
    bool any = false;

    for (size_t i = 0; i < g->n_entries; i++) {
        bool selected = is_selected(w, &g->entries[i]);

        w->n_found += selected;
        w->n_entries += selected;
        w->bytes += selected ? g->entries[i].stored : 0;
        selected = selected && !link_to_outside(w, &g->entries[i]);
        actions[i] = selected ? EXTRACT_MAKE : EXTRACT_SKIP;
        any = any || selected;
    }
    return any;
}

/* The second pass: files known by a name outside, under their name inside. */
static bool
choose_outside(struct whole *w, struct tree_group *g, uint8_t *actions)
{
    bool any = false;

    for (size_t i = 0; i < g->n_entries; i++) {
        const char *inside = inside_name(w, g->entries[i].path);

        actions[i] = inside != NULL ? EXTRACT_MAKE : EXTRACT_SKIP;
        if (inside != NULL) {
            /* the group lives in memory that is ours by now (tree_take_arena) */
            struct tree_entry *entry = (struct tree_entry *)(uintptr_t)&g->entries[i];

            entry->path = inside;
            entry->path_len = strlen(inside);
            any = true;
        }
    }
    return any;
}

/* What of it is made now: of a big file the part that the group brings. */
static void
add_made(struct whole *w, const struct tree_group *g, const uint8_t *actions)
{
    if (g->more && !g->continues) {
        w->makes_big = actions[g->n_entries - 1] == EXTRACT_MAKE;
    }
    if (g->more || g->continues) {
        for (size_t i = 0; w->makes_big && i < g->n_chunks; i++) {
            w->made_bytes += g->chunks[i].len;
        }
        return;
    }
    for (size_t i = 0; i < g->n_entries; i++) {
        w->made_bytes += actions[i] == EXTRACT_MAKE ? g->entries[i].stored : 0;
    }
}

static int
add_group(struct whole *w, struct tree_reader *r, const struct tree_group *from,
          choose_fn *choose, struct err *e)
{
    struct tree_group g = *from;
    uint8_t actions[TREE_GROUP_ENTRIES_MAX];
    const uint8_t *encoded;
    size_t len;

    encoded = tree_encoded(r, &len);
    if (w->cache != NULL && scache_add(w->cache, encoded, len, e) != 0) {
        return -1;
    }
    if (!choose(w, &g, actions) && !g.continues) {
        return 0;
    }
    if (check_limits(w->o, w->n_entries, w->bytes, e) != 0) {
        return -1;
    }
    if (w->o->progress != NULL) {
        add_made(w, &g, actions);
        w->o->progress(w->o->progress_ctx, w->n_entries, w->made_bytes);
    }
    return extract_add(&w->x, tree_take_arena(r), &g, actions, NULL, e);
}

static int
pass(struct whole *w, choose_fn *choose, struct err *e)
{
    struct tree_reader *r = NULL;
    const struct tree_group *g;
    int rc = -1;

    if (tree_open(&r, w->tree, w->source, e) != 0) {
        return -1;
    }
    if (w->o->only == NULL &&
        check_limits(w->o, tree_totals(r)->n_entries, tree_totals(r)->stored, e) != 0) {
        goto out;
    }
    for (;;) {
        if (tree_next(r, &g, e) != 0) {
            goto out;
        }
        if (g == NULL) {
            break;
        }
        if (add_group(w, r, g, choose, e) != 0) {
            goto out;
        }
    }
    rc = 0;

out:
    tree_close(r);
    return rc;
}

/* ---- all of it ---- */

static int
check_only(const struct whole *w, struct err *e)
{
    if (w->o->only != NULL && w->n_found == 0) {
        return err_set(e, ERR_NOT_FOUND,
                       "'%s' is not in it; `gpurun snap files` lists what is",
                       w->o->only);
    }
    return 0;
}

static int
commit_cache(struct whole *w, struct err *e)
{
    struct scache_writer *c = w->cache;

    w->cache = NULL;
    return extract_commit_cache(&w->x, c, w->tree, e);
}

static int
run(struct whole *w, struct err *e)
{
    if (!w->o->fresh && (!w->o->overwrite || w->o->may_replace != NULL) &&
        ask_first(w, e) != 0) {
        return -1;
    }
    if (pass(w, choose_selected, e) != 0 || check_only(w, e) != 0) {
        return -1;
    }
    if (w->n_outside > 0 && pass(w, choose_outside, e) != 0) {
        return -1;
    }
    if (extract_finish(&w->x, e) != 0) {
        return -1;
    }
    if (w->cache != NULL && commit_cache(w, e) != 0) {
        return -1;
    }
    if (w->o->durable && syncfs(w->root_fd) != 0) {
        return err_set_sys(e, errno, "cannot sync the target");
    }
    return 0;
}

int
extract_tree(int root_fd, const struct sha256 *tree_id, const struct tree_source *source,
             const struct extract_options *o, struct extract_report *r, struct err *e)
{
    struct extract_report got = {0};
    struct whole w = {.o = o, .tree = tree_id, .source = source, .root_fd = root_fd};
    int rc = -1;

    if (o->only != NULL &&
        (o->only[0] == '\0' || !tree_path_ok(o->only, strlen(o->only)))) {
        return err_set(e, ERR_INVALID, "'%s' is no path in a tree", o->only);
    }
    extract_begin(&w.x, root_fd, source, o, &got);
    if (o->only != NULL && strrchr(o->only, '/') != NULL) {
        w.x.strip = (size_t)(strrchr(o->only, '/') - o->only) + 1;
    }
    if (o->cache_path == NULL || o->only != NULL ||
        scache_reference(root_fd, false) == INT64_MIN ||
        scache_create(&w.cache, o->cache_path, e) == 0) {
        rc = run(&w, e);
    }
    extract_end(&w.x);
    scache_discard(w.cache);
    for (size_t i = 0; i < w.n_outside; i++) {
        free(w.outside[i].target);
        free(w.outside[i].path);
    }
    free(w.outside);
    if (rc == 0) {
        *r = got;
    }
    return rc;
}
