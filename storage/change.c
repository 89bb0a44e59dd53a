#include "storage/change.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "storage/beneath.h"
#include "storage/change_internal.h"
#include "storage/extract_internal.h"

/* With less kept than this part, a directory of its own is made as fast. */
#define KEPT_PART 2

static int
remove_one(int root_fd, const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    char *parent =
        slash == NULL ? xstrdup("") : xasprintf("%.*s", (int)(slash - path), path);
    int fd = beneath_open(root_fd, parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    int rc;

    free(parent);
    if (fd < 0) {
        return err_set_sys(e, -fd, "cannot open the directory of '%s'", path);
    }
    rc = file_remove_tree_at(fd, slash == NULL ? path : slash + 1, e);
    (void)fd_close(&fd);
    return rc;
}

static int
add_groups(struct extract *x, struct tree_reader *r, const struct change_plan *p,
           struct scache_writer *cache, struct err *e)
{
    const struct tree_group *from;
    size_t i = 0;

    for (;;) {
        struct tree_group g;
        const uint8_t *encoded;
        size_t len;

        if (tree_next(r, &from, e) != 0) {
            return -1;
        }
        if (from == NULL) {
            return 0;
        }
        g = *from;
        encoded = tree_encoded(r, &len);
        if (scache_add(cache, encoded, len, e) != 0 ||
            extract_add(x, tree_take_arena(r), &g, p->actions + i, p->marks + i, e) !=
                0) {
            return -1;
        }
        i += g.n_entries;
    }
}

/* All that is to be made is missing by now, so it is made as in an empty directory. */
static int
apply(int root_fd, const struct change_plan *p, const struct sha256 *tree_id,
      const struct tree_source *source, const struct change_options *o, struct err *e)
{
    struct extract_options eo = {
        .fresh = true, .cache_path = o->cache_path, .n_threads = o->n_threads};
    struct extract_report report = {0};
    struct scache_writer *cache = NULL;
    struct tree_reader *r = NULL;
    struct extract x;
    int rc = -1;

    for (size_t i = 0; i < p->n_removed; i++) {
        if (remove_one(root_fd, p->removed[i], e) != 0) {
            return -1;
        }
    }
    extract_begin(&x, root_fd, source, &eo, &report);
    x.patches = p->patches;
    if (scache_create(&cache, o->cache_path, e) == 0 &&
        tree_open(&r, tree_id, source, e) == 0 && add_groups(&x, r, p, cache, e) == 0 &&
        extract_finish(&x, e) == 0) {
        rc = extract_commit_cache(&x, cache, tree_id, e);
        cache = NULL;
    }
    scache_discard(cache);
    tree_close(r);
    extract_end(&x);
    return rc;
}

/* Is it certain that nobody trusts the old cache any more, before it is untrue? */
static int
disown(const struct change_plan *p, const struct change_options *o, struct err *e)
{
    if (p->n_refreshed > 0 && fsync(o->place_fd) != 0) {
        return err_set_sys(e, errno, "cannot sync the place of job directories");
    }
    return 0;
}

int
change_tree(int root_fd, struct scache *c, const struct sha256 *tree_id,
            const struct tree_source *source, const struct change_options *o,
            struct change_report *r, bool *done, struct err *e)
{
    struct change_plan p;
    int rc = change_plan_make(&p, root_fd, c, tree_id, source, e);

    *done = false;
    if (rc == 0 && p.possible && p.n_kept + p.n_refreshed >= p.n / KEPT_PART &&
        p.n_removed <= p.n / KEPT_PART) {
        rc = disown(&p, o, e) == 0 ? apply(root_fd, &p, tree_id, source, o, e) : -1;
        *done = rc == 0;
        r->n_kept = p.n_kept;
        r->n_made = p.n - p.n_kept;
        r->n_removed = p.n_removed;
    }
    change_plan_free(&p);
    return rc;
}
