#include <stdlib.h>
#include <string.h>

#include "storage/build_internal.h"

void
build_fail(struct build *b, const struct err *why)
{
    (void)pthread_mutex_lock(&b->lock);
    if (!b->failed) {
        b->failed = true;
        b->why = *why;
    }
    (void)pthread_cond_broadcast(&b->work);
    (void)pthread_cond_broadcast(&b->done);
    (void)pthread_mutex_unlock(&b->lock);
}

bool
build_failed(struct build *b, struct err *e)
{
    bool failed;

    (void)pthread_mutex_lock(&b->lock);
    failed = b->failed;
    if (failed) {
        *e = b->why;
    }
    (void)pthread_mutex_unlock(&b->lock);
    return failed;
}

bool
build_is_complete(struct build *b, const struct build_group *g)
{
    bool complete;

    (void)pthread_mutex_lock(&b->lock);
    complete = g->complete;
    (void)pthread_mutex_unlock(&b->lock);
    return complete;
}

int
build_put(struct build *b, struct build_chunk *chunks, size_t n, struct err *e)
{
    return b->sink->put(b->sink->ctx, STORE_KIND_DATA, chunks, n, e);
}

/* ---- blocks; locked ---- */

/* Move the blocks at the front that are hashed into the group's list. */
static void
collect(struct build *b, struct build_group *g)
{
    while (g->blocks != NULL && g->blocks->done) {
        struct build_block *k = g->blocks;

        for (size_t i = 0; i < k->n; i++) {
            build_group_chunk(g, &k->chunks[i]);
        }
        g->blocks = k->next;
        if (g->blocks == NULL) {
            g->blocks_end = &g->blocks;
        }
        free(k);
    }
    if (g->was_read && g->blocks == NULL) {
        g->complete = true;
        (void)pthread_cond_broadcast(&b->done);
    }
}

/* Hash one queued block; false: none is queued. */
static bool
work_block(struct build *b)
{
    struct build_block *k = b->blocks;
    struct err e = {0};
    int rc;

    if (k == NULL) {
        return false;
    }
    b->blocks = k->next_queued;
    if (b->blocks == NULL) {
        b->blocks_end = &b->blocks;
    }
    (void)pthread_mutex_unlock(&b->lock);
    rc = build_put(b, k->chunks, k->n, &e);
    free(k->data);
    k->data = NULL;
    if (rc != 0) {
        build_fail(b, &e);
    }
    (void)pthread_mutex_lock(&b->lock);
    b->n_blocks--;
    k->done = true;
    collect(b, k->group);
    (void)pthread_cond_broadcast(&b->work);
    return true;
}

struct build_block *
build_block_new(struct build *b, struct build_group *g)
{
    struct build_block *k = NULL;

    (void)pthread_mutex_lock(&b->lock);
    while (!b->failed && b->n_blocks >= (size_t)b->max_threads + 2) {
        if (!work_block(b)) {
            (void)pthread_cond_wait(&b->work, &b->lock);
        }
    }
    if (!b->failed) {
        b->n_blocks++;
        k = xcalloc(1, sizeof *k);
    }
    (void)pthread_mutex_unlock(&b->lock);
    if (k != NULL) {
        k->group = g;
        k->data = xmalloc(BUILD_BLOCK_BYTES);
    }
    return k;
}

void
build_block_free(struct build *b, struct build_block *k)
{
    if (k == NULL) {
        return;
    }
    free(k->data);
    free(k);
    (void)pthread_mutex_lock(&b->lock);
    b->n_blocks--;
    (void)pthread_cond_broadcast(&b->work);
    (void)pthread_mutex_unlock(&b->lock);
}

void
build_block_queue(struct build *b, struct build_block *k)
{
    (void)pthread_mutex_lock(&b->lock);
    *k->group->blocks_end = k;
    k->group->blocks_end = &k->next;
    *b->blocks_end = k;
    b->blocks_end = &k->next_queued;
    (void)pthread_cond_broadcast(&b->work);
    (void)pthread_cond_broadcast(&b->done);
    (void)pthread_mutex_unlock(&b->lock);
}

void
build_drop_blocks(struct build *b, struct build_group *g)
{
    (void)pthread_mutex_lock(&b->lock);
    while (g->blocks != NULL && !b->failed) {
        if (!work_block(b)) {
            (void)pthread_cond_wait(&b->work, &b->lock);
        }
    }
    g->n_chunks = 0;
    (void)pthread_mutex_unlock(&b->lock);
}

/* ---- groups ---- */

/* Read one queued group; false: none is queued. Locked. */
static bool
work_group(struct build *b, struct buf *small)
{
    struct build_group *g = b->queue;
    struct err e = {0};
    int rc;

    if (g == NULL) {
        return false;
    }
    b->queue = g->next_queued;
    if (b->queue == NULL) {
        b->queue_end = &b->queue;
    }
    b->n_queued--;
    (void)pthread_mutex_unlock(&b->lock);
    rc = build_read_group(b, g, small, &e);
    if (rc != 0) {
        build_fail(b, &e);
    }
    (void)pthread_mutex_lock(&b->lock);
    g->was_read = true;
    collect(b, g);
    return true;
}

static void *
worker_main(void *arg)
{
    struct build *b = arg;
    struct buf small = BUF_INIT;

    (void)pthread_mutex_lock(&b->lock);
    while (!b->stop && !b->failed) {
        if (!work_block(b) && !work_group(b, &small)) {
            (void)pthread_cond_wait(&b->work, &b->lock);
        }
    }
    (void)pthread_mutex_unlock(&b->lock);
    buf_free(&small);
    return NULL;
}

/* The calling thread works too when it waits, so fewer threads than asked for is no harm.
 */
static void
start_threads(struct build *b)
{
    if (b->threads != NULL || b->max_threads < 2) {
        return;
    }
    b->threads = xcalloc(b->max_threads, sizeof *b->threads);
    while (b->n_threads < b->max_threads &&
           pthread_create(&b->threads[b->n_threads], NULL, worker_main, b) == 0) {
        b->n_threads++;
    }
}

void
build_queue_read(struct build *b, struct build_group *g)
{
    bool enough;

    (void)pthread_mutex_lock(&b->lock);
    *b->queue_end = g;
    b->queue_end = &g->next_queued;
    b->n_queued++;
    enough = b->n_queued > 1 || g->big;
    (void)pthread_cond_signal(&b->work);
    (void)pthread_mutex_unlock(&b->lock);
    if (enough) {
        start_threads(b);
    }
}

void
build_wait(struct build *b, const struct build_group *g)
{
    (void)pthread_mutex_lock(&b->lock);
    while (!g->complete && !b->failed) {
        if (!work_block(b) && !work_group(b, &b->small)) {
            (void)pthread_cond_wait(&b->done, &b->lock);
        }
    }
    (void)pthread_mutex_unlock(&b->lock);
}

void
build_stop_threads(struct build *b)
{
    (void)pthread_mutex_lock(&b->lock);
    b->stop = true;
    (void)pthread_cond_broadcast(&b->work);
    (void)pthread_mutex_unlock(&b->lock);
    for (unsigned i = 0; i < b->n_threads; i++) {
        (void)pthread_join(b->threads[i], NULL);
    }
    free(b->threads);
    b->threads = NULL;
    b->n_threads = 0;
}
