#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/extract_internal.h"
#include "storage/tree_internal.h"

/*
 * What may wait: so many pieces a thread, of big files too, each of which is open
 * meanwhile. Of groups more, as long as they are small: enough for the next directories
 * to be among them.
 */
#define QUEUE_PER_THREAD 6
#define QUEUE_BYTES      ((size_t)16 * 1024 * 1024)

static void
fail(struct extract *x, const struct err *why)
{
    (void)pthread_mutex_lock(&x->lock);
    if (!x->failed) {
        x->failed = true;
        x->why = *why;
    }
    (void)pthread_cond_broadcast(&x->changed);
    (void)pthread_mutex_unlock(&x->lock);
}

bool
extract_failed(struct extract *x, struct err *e)
{
    bool failed;

    (void)pthread_mutex_lock(&x->lock);
    failed = x->failed;
    if (failed) {
        *e = x->why;
    }
    (void)pthread_mutex_unlock(&x->lock);
    return failed;
}

/* ---- what a worker does ---- */

struct worker {
    struct extract_parent parent;
    struct buf content;
};

static int
get_chunk(const struct extract *x, const struct tree_chunk *c, struct buf *to,
          struct err *e)
{
    size_t before = to->len;

    if (x->source->get(x->source->ctx, &c->id, to, e) != 0) {
        return -1;
    }
    if (to->len - before != c->len) {
        return err_set(e, ERR_CORRUPT, "not a tree: the length of a chunk is wrong");
    }
    return 0;
}

static bool
is_made(const struct extract_work *k, size_t i)
{
    const struct tree_entry *entry = &k->group.entries[i];
    bool wanted = k->actions[i] == EXTRACT_MAKE || k->actions[i] == EXTRACT_REFRESH;

    return wanted && entry->type != TREE_DIR && !entry->hard_link;
}

/* Is any of the bytes from..end wanted? They begin in entry i, which begins at at. */
static bool
is_wanted(const struct extract_work *k, size_t i, uint64_t at, uint64_t end)
{
    for (; i < k->group.n_entries && at < end; i++) {
        if (k->group.entries[i].stored > 0 && is_made(k, i)) {
            return true;
        }
        at += k->group.entries[i].stored;
    }
    return false;
}

/* The contents of the group, with gaps where nothing is wanted. */
static int
get_contents(struct extract *x, struct worker *w, const struct extract_work *k,
             struct err *e)
{
    const struct tree_group *g = &k->group;
    uint64_t at = 0; /* where entry i begins */
    size_t i = 0;

    buf_reset(&w->content);
    for (size_t c = 0; c < g->n_chunks; c++) {
        size_t len = g->chunks[c].len;
        size_t from = w->content.len;

        while (i < g->n_entries && at + g->entries[i].stored <= from) {
            at += g->entries[i++].stored;
        }
        if (!is_wanted(k, i, at, from + len)) {
            buf_reserve(&w->content, len);
            w->content.len += len;
        } else if (get_chunk(x, &g->chunks[c], &w->content, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static int
make_one(struct extract *x, struct worker *w, const struct extract_work *k, size_t i,
         uint64_t at, struct err *e)
{
    const struct tree_entry *entry = &k->group.entries[i];
    const char *path = extract_path(x, entry->path);
    struct scache_mark *mark = k->marks != NULL ? &k->marks[i] : NULL;

    if (!is_made(k, i)) {
        return 0;
    }
    if (k->actions[i] == EXTRACT_REFRESH) {
        return extract_refresh_file(x, &w->parent, entry, path, w->content.data + at,
                                    mark, e);
    }
    return entry->type == TREE_FILE
               ? extract_make_file(x, &w->parent, entry, path, w->content.data + at, mark,
                                   e)
               : extract_make_other(x, &w->parent, entry, path, mark, e);
}

static int
make_group(struct extract *x, struct worker *w, const struct extract_work *k,
           struct err *e)
{
    uint64_t at = 0;

    if (get_contents(x, w, k, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < k->group.n_entries; i++) {
        if (make_one(x, w, k, i, at, e) != 0) {
            return -1;
        }
        at += k->group.entries[i].stored;
    }
    return 0;
}

void
extract_big_free(struct extract_big *f)
{
    (void)fd_close(&f->fd);
    if (f->staged != NULL) {
        (void)unlinkat(f->parent_fd, f->staged, 0);
    }
    (void)fd_close(&f->parent_fd);
    tree_arena_free(f->arena);
    free(f->staged);
    free(f->path);
    free(f);
}

/* One stretch less; the last one completes the file, unless something went wrong. */
int
extract_big_done(struct extract *x, struct extract_big *f, struct err *e)
{
    bool last;
    bool complete;
    int rc = 0;

    (void)pthread_mutex_lock(&x->lock);
    last = --f->n_left == 0;
    complete = last && !x->failed;
    (void)pthread_mutex_unlock(&x->lock);
    if (complete) {
        rc = extract_close_big(x, f, e);
    }
    if (last) {
        extract_big_free(f);
    }
    return rc;
}

static int
write_stretch(struct extract *x, struct worker *w, const struct extract_work *k,
              struct err *e)
{
    uint64_t at = k->big_at;
    int rc = 0;

    for (size_t i = 0; i < k->n_chunks && rc == 0; i++) {
        buf_reset(&w->content);
        rc = get_chunk(x, &k->chunks[i], &w->content, e);
        if (rc == 0) {
            rc = extract_write_big(k->big, at, w->content.data, w->content.len, e);
        }
        at += w->content.len;
    }
    if (rc != 0) {
        fail(x, e); /* before the last one could complete it */
    }
    return extract_big_done(x, k->big, e) != 0 ? -1 : rc;
}

static void
work_free(struct extract_work *k)
{
    tree_arena_free(k->arena);
    free(k->actions);
    free(k->chunks);
    free(k);
}

/* ---- which piece is next ---- */

static struct extract_span
dir_of(const struct tree_entry *entry)
{
    const char *slash = strrchr(entry->path, '/');

    return (struct extract_span){entry->path,
                                 slash == NULL ? 0 : (size_t)(slash - entry->path)};
}

static bool
same(struct extract_span a, struct extract_span b)
{
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

/* Do both make names in a directory? A group's names are in order: its ends tell enough.
 */
static bool
meet(const struct extract_work *a, const struct extract_work *b)
{
    return a->big == NULL && b->big == NULL &&
           (same(a->first_dir, b->first_dir) || same(a->first_dir, b->last_dir) ||
            same(a->last_dir, b->first_dir));
}

static bool
is_free(const struct extract *x, const struct extract_work *k)
{
    for (const struct extract_work *other = x->busy; other != NULL; other = other->next) {
        if (meet(k, other)) {
            return false;
        }
    }
    return true;
}

/*
 * The oldest piece for a directory that nobody works in, else the oldest of all: a
 * directory takes one new name at a time, and the kernel spins while another waits.
 */
static struct extract_work *
take(struct extract *x)
{
    struct extract_work **at = &x->queue;
    struct extract_work *k;

    while (*at != NULL && !is_free(x, *at)) {
        at = &(*at)->next;
    }
    at = *at != NULL ? at : &x->queue;
    k = *at;
    if (k == NULL) {
        return NULL;
    }
    *at = k->next;
    if (k->next == NULL) {
        x->queue_end = at;
    }
    x->n_queued--;
    x->queued_bytes -= k->held_bytes;
    x->n_queued_big -= k->big != NULL ? 1 : 0;
    k->next = x->busy;
    x->busy = k;
    return k;
}

static void
leave(struct extract *x, const struct extract_work *k)
{
    struct extract_work **at = &x->busy;

    while (*at != k) {
        at = &(*at)->next;
    }
    *at = k->next;
}

/* Do one queued piece; false: there is none. Locked before and after. */
static bool
work_one(struct extract *x, struct worker *w)
{
    struct extract_work *k = take(x);
    struct err e = {0};
    int rc = 0;

    if (k == NULL) {
        return false;
    }
    (void)pthread_mutex_unlock(&x->lock);
    rc = k->big != NULL ? write_stretch(x, w, k, &e) : make_group(x, w, k, &e);
    if (rc != 0) {
        fail(x, &e);
    }
    (void)pthread_mutex_lock(&x->lock);
    leave(x, k);
    (void)pthread_cond_broadcast(&x->changed);
    (void)pthread_mutex_unlock(&x->lock);
    work_free(k);
    (void)pthread_mutex_lock(&x->lock);
    return true;
}

static void *
worker_main(void *arg)
{
    struct extract *x = arg;
    struct worker w = {.parent = {.root_fd = x->root_fd, .path = BUF_INIT, .fd = -1},
                       .content = BUF_INIT};

    (void)pthread_mutex_lock(&x->lock);
    while (!x->stop) {
        if (!work_one(x, &w)) {
            (void)pthread_cond_wait(&x->changed, &x->lock);
        }
    }
    (void)pthread_mutex_unlock(&x->lock);
    extract_parent_free(&w.parent);
    buf_free(&w.content);
    return NULL;
}

/* ---- queueing ---- */

static void
start_threads(struct extract *x)
{
    if (x->threads != NULL || x->max_threads < 2) {
        return;
    }
    x->threads = xcalloc(x->max_threads, sizeof *x->threads);
    while (x->n_threads < x->max_threads &&
           pthread_create(&x->threads[x->n_threads], NULL, worker_main, x) == 0) {
        x->n_threads++;
    }
}

static bool
too_much(const struct extract *x)
{
    size_t few = (size_t)x->max_threads * QUEUE_PER_THREAD;

    return x->n_queued_big > few || (x->n_queued > few && x->queued_bytes > QUEUE_BYTES);
}

/* The calling thread, working with buffers of its own while it has to wait. */
static void
work_here(struct extract *x, bool all)
{
    struct worker w = {.parent = {.root_fd = x->root_fd, .path = BUF_INIT, .fd = -1},
                       .content = x->content};

    (void)pthread_mutex_lock(&x->lock);
    while (all ? x->queue != NULL || x->busy != NULL : too_much(x)) {
        if (!work_one(x, &w)) {
            (void)pthread_cond_wait(&x->changed, &x->lock);
        }
    }
    (void)pthread_mutex_unlock(&x->lock);
    extract_parent_free(&w.parent);
    x->content = w.content;
}

void
extract_queue(struct extract *x, struct extract_work *k)
{
    bool many;

    if (k->big == NULL) {
        k->first_dir = dir_of(&k->group.entries[0]);
        k->last_dir = dir_of(&k->group.entries[k->group.n_entries - 1]);
        k->held_bytes = tree_arena_held(k->arena);
    }
    (void)pthread_mutex_lock(&x->lock);
    *x->queue_end = k;
    x->queue_end = &k->next;
    x->n_queued++;
    x->queued_bytes += k->held_bytes;
    x->n_queued_big += k->big != NULL ? 1 : 0;
    many = x->n_queued > 1;
    (void)pthread_cond_broadcast(&x->changed);
    (void)pthread_mutex_unlock(&x->lock);
    if (many) {
        start_threads(x);
    }
    work_here(x, false);
}

void
extract_wait(struct extract *x)
{
    work_here(x, true);
}

void
extract_stop(struct extract *x)
{
    (void)pthread_mutex_lock(&x->lock);
    x->stop = true;
    (void)pthread_cond_broadcast(&x->changed);
    (void)pthread_mutex_unlock(&x->lock);
    for (unsigned i = 0; i < x->n_threads; i++) {
        (void)pthread_join(x->threads[i], NULL);
    }
    while (x->queue != NULL) {
        struct extract_work *k = x->queue;

        x->queue = k->next;
        if (k->big != NULL && --k->big->n_left == 0) {
            extract_big_free(k->big);
        }
        work_free(k);
    }
    free(x->threads);
}
