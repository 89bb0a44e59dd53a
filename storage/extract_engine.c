#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/beneath.h"
#include "storage/extract_internal.h"
#include "storage/scan_internal.h"
#include "storage/tree_internal.h"

#define THREADS_MAX 8
/* Chunks of a big file in one stretch. */
#define STRETCH_CHUNKS 32

static unsigned
default_threads(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;

    return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (unsigned)n;
}

void
extract_begin(struct extract *x, int root_fd, const struct tree_source *source,
              const struct extract_options *o, struct extract_report *r)
{
    memset(x, 0, sizeof *x);
    x->root_fd = root_fd;
    x->o = o;
    x->source = source;
    x->r = r;
    x->umask_now = extract_read_umask();
    x->parent.root_fd = root_fd;
    x->parent.fd = -1;
    x->marks_end = &x->marks;
    x->queue_end = &x->queue;
    x->max_threads = o->n_threads != 0 ? o->n_threads : default_threads();
    (void)pthread_mutex_init(&x->lock, NULL);
    (void)pthread_cond_init(&x->changed, NULL);
}

const char *
extract_path(const struct extract *x, const char *path)
{
    return strlen(path) > x->strip ? path + x->strip : "";
}

/* ---- adding a group ---- */

static struct scache_mark *
new_marks(struct extract *x, const struct tree_group *g, const struct scache_mark *given)
{
    struct extract_marks *m;

    if (x->o->cache_path == NULL || g->n_entries == 0) {
        return NULL;
    }
    m = xcalloc(1, sizeof *m + g->n_entries * sizeof m->v[0]);
    m->n = g->n_entries;
    if (given != NULL) {
        memcpy(m->v, given, m->n * sizeof m->v[0]);
    }
    *x->marks_end = m;
    x->marks_end = &m->next;
    return m->v;
}

static void
add_dir(struct extract *x, const struct tree_entry *entry, struct scache_mark *mark)
{
    struct extract_dir *d;

    if (x->n_dirs == x->cap_dirs) {
        x->cap_dirs = x->cap_dirs == 0 ? 64 : 2 * x->cap_dirs;
        x->dirs = xrealloc(x->dirs, x->cap_dirs * sizeof *x->dirs);
    }
    d = &x->dirs[x->n_dirs++];
    d->entry = tree_entry_keep(&x->kept, entry);
    d->path = extract_path(x, d->entry->path);
    d->mark = mark;
}

void
extract_add_link(struct extract *x, const char *path, const char *to,
                 const struct tree_entry *entry, struct scache_mark *mark)
{
    struct extract_link *l;

    if (x->n_links == x->cap_links) {
        x->cap_links = x->cap_links == 0 ? 16 : 2 * x->cap_links;
        x->links = xrealloc(x->links, x->cap_links * sizeof *x->links);
    }
    l = &x->links[x->n_links++];
    l->path = arena_text(&x->kept, path, strlen(path));
    l->to = arena_text(&x->kept, to, strlen(to));
    l->entry = tree_entry_keep(&x->kept, entry);
    l->mark = mark;
}

static int
set_meta_now(struct extract *x, const struct tree_entry *entry, struct scache_mark *mark,
             struct err *e)
{
    const char *path = extract_path(x, entry->path);
    int fd = beneath_open(x->root_fd, path, O_PATH | O_NOFOLLOW, 0);
    struct scan_entry now = {0};
    struct stat st;
    int rc = -1;

    if (fd < 0) {
        return err_set_sys(e, -fd, "cannot open '%s'", path);
    }
    if (extract_meta_path_fd(x, fd, entry, path, e) == 0) {
        rc = 0;
        if (mark != NULL && fstat(fd, &st) == 0) {
            scan_fill_stat(&now, &st);
            *mark = scache_mark_of(&now);
        }
    }
    (void)fd_close(&fd);
    return rc;
}

/* What can be made of an entry at all, by its type and state. */
static enum extract_action
possible(struct extract *x, const struct tree_entry *entry)
{
    bool device = entry->type == TREE_CHAR || entry->type == TREE_BLOCK;
    bool lost = entry->damage != TREE_WHOLE && entry->damage != TREE_CHANGED;

    if (entry->type == TREE_WHITEOUT) {
        return EXTRACT_SKIP;
    }
    if (device && !x->o->exact) {
        x->r->n_skipped_devices++;
        return EXTRACT_SKIP;
    }
    if (lost && entry->type != TREE_DIR) {
        const char *path = extract_path(x, entry->path);

        named_add(&x->lost, path, strlen(path));
        x->r->n_skipped_damaged++;
        return EXTRACT_SKIP;
    }
    return EXTRACT_MAKE;
}

/* The part of an entry's work that is the calling thread's. *queue: there is more. */
static int
begin_entry(struct extract *x, const struct tree_entry *entry, uint8_t *action,
            struct scache_mark *mark, bool *queue, struct err *e)
{
    const char *path = extract_path(x, entry->path);

    if (*action == EXTRACT_SKIP) {
        return 0;
    }
    if (entry->type == TREE_DIR) {
        add_dir(x, entry, mark);
        return *action == EXTRACT_META || path[0] == '\0' ? 0
                                                          : extract_make_dir(x, path, e);
    }
    if (*action == EXTRACT_META) {
        return set_meta_now(x, entry, mark, e);
    }
    if (*action == EXTRACT_MAKE) {
        *action = (uint8_t)possible(x, entry);
    }
    if (*action == EXTRACT_SKIP) {
        return 0;
    }
    if (entry->hard_link) {
        extract_add_link(x, path, extract_path(x, entry->target), entry, mark);
    } else {
        tree_count(&x->r->totals, entry);
        *queue = true;
    }
    return 0;
}

/* ---- big files ---- */

static void
queue_stretch(struct extract *x, struct extract_big *f, const struct tree_chunk *chunks,
              size_t n)
{
    struct extract_work *k = xcalloc(1, sizeof *k);

    k->n_chunks = n;
    k->chunks = xmemdup(chunks, n * sizeof *chunks);
    k->big = f;
    k->big_at = x->big_at;
    for (size_t c = 0; c < n; c++) {
        x->big_at += chunks[c].len;
    }
    (void)pthread_mutex_lock(&x->lock);
    f->n_left++;
    (void)pthread_mutex_unlock(&x->lock);
    extract_queue(x, k);
}

/* Does chunk i of the file lie there already? */
static bool
lies_there(const struct extract_big *f, size_t i)
{
    return f->same != NULL && (f->same[i / 8] >> (i % 8) & 1) != 0;
}

static void
queue_stretches(struct extract *x, struct extract_big *f, const struct tree_group *g)
{
    size_t i = 0;

    while (i < g->n_chunks) {
        size_t n = 0;

        while (n < STRETCH_CHUNKS && i + n < g->n_chunks &&
               !lies_there(f, f->n_chunks + i + n)) {
            n++;
        }
        if (n > 0) {
            queue_stretch(x, f, g->chunks + i, n);
        } else {
            x->big_at += g->chunks[i].len;
            n = 1;
        }
        i += n;
    }
    f->n_chunks += g->n_chunks;
}

/* Takes over arena. */
static int
begin_big(struct extract *x, struct tree_arena *arena, const struct tree_group *g,
          enum extract_action action, struct scache_mark *mark, struct err *e)
{
    struct extract_big *f = xcalloc(1, sizeof *f);

    f->arena = arena;
    f->entry = g->entries;
    f->mark = mark;
    f->path = xstrdup(extract_path(x, f->entry->path));
    f->n_left = 1;
    f->fd = -1;
    f->parent_fd = -1;
    f->same = action == EXTRACT_PATCH ? *x->patches++ : NULL;
    if (extract_parent_of(&x->parent, f->path, &f->name, e) != 0) {
        goto fail;
    }
    f->parent_fd = fcntl(x->parent.fd, F_DUPFD_CLOEXEC, 0);
    if (f->parent_fd == -1) {
        err_set_sys(e, errno, "cannot make '%s'", f->path);
        goto fail;
    }
    if (extract_open_big(x, f, e) != 0) {
        goto fail;
    }
    x->big = f;
    x->big_at = 0;
    return 0;

fail:
    extract_big_free(f);
    return -1;
}

static int
end_big(struct extract *x, struct err *e)
{
    struct extract_big *f = x->big;

    x->big = NULL;
    return extract_big_done(x, f, e);
}

static int
add_parts(struct extract *x, const struct tree_group *g, struct err *e)
{
    if (x->big == NULL) {
        return 0; /* not wanted */
    }
    queue_stretches(x, x->big, g);
    return g->more ? 0 : end_big(x, e);
}

int
extract_add(struct extract *x, struct tree_arena *arena, const struct tree_group *g,
            const uint8_t *actions, const struct scache_mark *marks, struct err *e)
{
    struct scache_mark *m = new_marks(x, g, marks);
    uint8_t *act = xcalloc(g->n_entries, 1);
    struct extract_work *k;
    bool queue = false;
    int rc = -1;

    if (extract_failed(x, e)) {
        goto out;
    }
    if (actions != NULL) {
        memcpy(act, actions, g->n_entries);
    }
    for (size_t i = 0; i < g->n_entries; i++) {
        if (begin_entry(x, &g->entries[i], &act[i], m != NULL ? &m[i] : NULL, &queue,
                        e) != 0) {
            goto out;
        }
    }
    rc = 0;
    if (g->continues) {
        rc = add_parts(x, g, e);
    } else if (queue && g->n_entries == 1 && g->entries[0].type == TREE_FILE &&
               (g->more || g->entries[0].sparse ||
                g->entries[0].stored >= TREE_BIG_FILE_BYTES)) {
        rc = begin_big(x, arena, g, (enum extract_action)act[0], m, e);
        arena = NULL;
        if (rc == 0) {
            rc = add_parts(x, g, e);
        }
    } else if (queue) {
        k = xcalloc(1, sizeof *k);
        k->arena = arena;
        k->group = *g;
        k->actions = act;
        k->marks = m;
        arena = NULL;
        act = NULL;
        extract_queue(x, k);
    }

out:
    tree_arena_free(arena);
    free(act);
    return rc;
}

/* ---- the end ---- */

static int
finish_dir(struct extract *x, const struct extract_dir *d, struct err *e)
{
    int fd = beneath_open(x->root_fd, d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    bool by_path = fd == -EACCES;
    struct scan_entry now = {0};
    struct stat st;
    int rc;

    if (by_path) {
        fd = beneath_open(x->root_fd, d->path, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
    }
    if (fd < 0) {
        return err_set_sys(e, -fd, "cannot open the directory '%s'", d->path);
    }
    rc = by_path ? extract_meta_path_fd(x, fd, d->entry, d->path, e)
                 : extract_meta_fd(x, fd, d->entry, d->path, e);
    if (rc == 0 && d->mark != NULL && fstat(fd, &st) == 0) {
        scan_fill_stat(&now, &st);
        *d->mark = scache_mark_of(&now);
    }
    (void)fd_close(&fd);
    return rc;
}

/* A further name of what could not be read is as lost as the first one. */
static int
make_links(struct extract *x, struct err *e)
{
    named_sort(&x->lost);
    for (size_t i = 0; i < x->n_links; i++) {
        const struct extract_link *l = &x->links[i];

        if (named_has(&x->lost, l->to)) {
            x->r->n_skipped_damaged++;
            continue;
        }
        if (extract_make_link(x, l, e) != 0) {
            return -1;
        }
        tree_count(&x->r->totals, l->entry);
    }
    return 0;
}

int
extract_finish(struct extract *x, struct err *e)
{
    extract_wait(x);
    if (extract_failed(x, e) || make_links(x, e) != 0) {
        return -1;
    }
    /* From the deepest up: a directory may be closed to us once it is finished. */
    for (size_t i = x->n_dirs; i-- > 0;) {
        if (finish_dir(x, &x->dirs[i], e) != 0) {
            return -1;
        }
        tree_count(&x->r->totals, x->dirs[i].entry);
    }
    return 0;
}

int
extract_commit_cache(struct extract *x, struct scache_writer *cache,
                     const struct sha256 *tree_id, struct err *e)
{
    for (const struct extract_marks *m = x->marks; m != NULL; m = m->next) {
        for (size_t i = 0; i < m->n; i++) {
            (void)scache_add_mark(cache, &m->v[i]);
        }
    }
    scache_settle(x->root_fd, x->newest_large_ns);
    return scache_commit(cache, tree_id, scache_reference(x->root_fd, false), e);
}

void
extract_end(struct extract *x)
{
    extract_stop(x);
    if (x->big != NULL && --x->big->n_left == 0) {
        extract_big_free(x->big);
    }
    while (x->marks != NULL) {
        struct extract_marks *m = x->marks;

        x->marks = m->next;
        free(m);
    }
    free(x->dirs);
    free(x->links);
    named_free(&x->lost);
    arena_free(&x->kept);
    extract_parent_free(&x->parent);
    buf_free(&x->content);
    (void)pthread_mutex_destroy(&x->lock);
    (void)pthread_cond_destroy(&x->changed);
}
