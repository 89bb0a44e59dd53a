#include "storage/build.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/build_internal.h"

#define THREADS_MAX 8

static unsigned
default_threads(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;

    return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (unsigned)n;
}

/* The tree's own chunks go the same way as all others. */
static int
put_meta(void *ctx, enum store_kind kind, const struct sha256 *id, const void *data,
         size_t len, struct err *e)
{
    struct build *b = ctx;
    struct build_chunk c = {.data = data, .len = (uint32_t)len, .id = *id};

    return b->sink->put(b->sink->ctx, kind, &c, 1, e);
}

static void
build_init(struct build *b, int root_fd, const struct build_options *o,
           const struct build_sink *sink, struct build_report *r)
{
    struct tree_sink meta = {.ctx = b, .put = put_meta};

    memset(b, 0, sizeof *b);
    b->root_fd = root_fd;
    b->o = o;
    b->sink = sink;
    b->r = r;
    b->is_root = geteuid() == 0;
    b->owners = build_owners_new();
    b->links = build_links_new();
    b->writer = tree_writer_new(&meta);
    b->last = &b->first;
    b->queue_end = &b->queue;
    b->blocks_end = &b->blocks;
    b->max_threads = o->n_threads != 0 ? o->n_threads : default_threads();
    (void)pthread_mutex_init(&b->lock, NULL);
    (void)pthread_cond_init(&b->work, NULL);
    (void)pthread_cond_init(&b->done, NULL);
}

static void
build_fini(struct build *b)
{
    build_stop_threads(b);
    while (b->blocks != NULL) { /* only after a failure */
        struct build_block *k = b->blocks;

        b->blocks = k->next_queued;
        free(k->data);
    }
    while (b->first != NULL) {
        struct build_group *g = b->first;

        while (g->blocks != NULL) {
            struct build_block *k = g->blocks;

            g->blocks = k->next;
            free(k);
        }
        b->first = g->next;
        build_group_free(g);
    }
    build_group_free(b->forming);
    scan_close(b->scan);
    scache_close(b->cache);
    scache_discard(b->cache_writer);
    tree_writer_free(b->writer);
    build_owners_free(b->owners);
    build_links_free(b->links);
    buf_free(&b->encoded);
    buf_free(&b->small);
    (void)pthread_mutex_destroy(&b->lock);
    (void)pthread_cond_destroy(&b->work);
    (void)pthread_cond_destroy(&b->done);
}

static int
open_cache(struct build *b, struct err *e)
{
    b->reference = scache_reference(b->root_fd, b->o->live);
    if (b->o->cache_path == NULL) {
        return 0;
    }
    b->cache = scache_open(b->o->cache_path);
    if (b->cache != NULL) {
        b->r->had_cache = true;
        scache_tree(b->cache, &b->r->cache_tree);
    }
    if (b->o->no_cache_write || b->reference == INT64_MIN) {
        return 0;
    }
    return scache_create(&b->cache_writer, b->o->cache_path, e);
}

/* A file that is made or replaced changes its directory in the same moment. */
static void
note_newest(struct build_report *r, const struct scan_entry *entry)
{
    if (r->newest != NULL &&
        (entry->ctime_ns < r->newest_ctime_ns ||
         (entry->ctime_ns == r->newest_ctime_ns && entry->type == TREE_DIR))) {
        return;
    }
    free(r->newest);
    r->newest = xstrdup(entry->path);
    r->newest_ctime_ns = entry->ctime_ns;
}

static int
sweep(struct build *b, struct err *e)
{
    const struct scan_entry *entry;

    for (;;) {
        if (scan_next(b->scan, &entry, e) != 0) {
            return -1;
        }
        if (entry == NULL) {
            break;
        }
        note_newest(b->r, entry);
        if (build_take(b, entry, e) != 0) {
            return -1;
        }
    }
    if (build_close_group(b, e) != 0) {
        return -1;
    }
    return build_emit(b, true, e);
}

static int
finish(struct build *b, struct err *e)
{
    struct scache_writer *w = b->cache_writer;

    if (tree_writer_finish(b->writer, &b->r->tree, &b->r->totals, e) != 0) {
        return -1;
    }
    b->r->read_bytes = b->read_bytes;
    scan_take_skipped(b->scan, &b->r->skipped);
    if (w == NULL) {
        return 0;
    }
    b->cache_writer = NULL;
    return scache_commit(w, &b->r->tree, b->reference, e);
}

int
build_tree(int root_fd, const struct build_options *o, const struct build_sink *sink,
           struct build_report *r, struct err *e)
{
    struct build_report got = {0};
    struct build b;
    int rc = -1;

    build_init(&b, root_fd, o, sink, &got);
    if (open_cache(&b, e) == 0 && scan_open(&b.scan, root_fd, &o->scan, e) == 0 &&
        sweep(&b, e) == 0 && finish(&b, e) == 0) {
        rc = 0;
    }
    build_fini(&b);
    if (rc != 0) {
        build_report_free(&got);
        return -1;
    }
    *r = got;
    return 0;
}

void
build_report_free(struct build_report *r)
{
    for (size_t i = 0; i < r->n_damaged; i++) {
        free(r->damaged[i].path);
    }
    for (size_t i = 0; i < r->n_largest; i++) {
        free(r->largest[i].path);
    }
    free(r->newest);
    r->newest = NULL;
    r->n_damaged = 0;
    r->n_largest = 0;
    scan_skipped_free(&r->skipped);
}
