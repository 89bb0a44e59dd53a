#include "storage/putq.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define WORKERS_MAX      8
#define SLOTS_PER_WORKER 4

/* One chunk on its way; its memory is kept for the next. */
struct slot {
    uint8_t *data;
    size_t cap;
    size_t len;
    enum store_kind kind;
    struct sha256 *id;
};

/* Slots form a ring: [taken, queued) wait for a worker; the one at queued is filled next.
 */
struct putq {
    struct store *store;
    pthread_t workers[WORKERS_MAX];
    unsigned n_workers;
    pthread_mutex_t mu; /* guards all below */
    pthread_cond_t changed;
    struct slot *free_slots; /* a stack */
    size_t n_free;
    struct slot *ring;
    size_t n_slots;
    size_t head; /* first waiting */
    size_t n_waiting;
    bool stop;
    bool failed;
    struct err why;
};

static void
work_one(struct putq *q)
{
    struct slot sl = q->ring[q->head];
    struct sha256 id;
    struct err e;
    bool skip = q->failed;
    int rc = 0;

    q->head = (q->head + 1) % q->n_slots;
    q->n_waiting--;
    (void)pthread_mutex_unlock(&q->mu);
    if (!skip) {
        rc = store_put(q->store, sl.kind, sl.data, sl.len, &id, NULL, &e);
    }
    (void)pthread_mutex_lock(&q->mu);
    if (rc == -1 && !q->failed) {
        q->failed = true;
        q->why = e;
    }
    if (rc == 0 && !skip) {
        *sl.id = id;
    }
    q->free_slots[q->n_free++] = sl;
    (void)pthread_cond_broadcast(&q->changed);
}

static void *
worker_main(void *arg)
{
    struct putq *q = arg;

    (void)pthread_mutex_lock(&q->mu);
    while (!q->stop) {
        if (q->n_waiting > 0) {
            work_one(q);
        } else {
            (void)pthread_cond_wait(&q->changed, &q->mu);
        }
    }
    (void)pthread_mutex_unlock(&q->mu);
    return NULL;
}

static unsigned
cores(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) == -1) {
        return 1;
    }
    return (unsigned)CPU_COUNT(&set);
}

int
putq_open(struct putq **out, struct store *s, unsigned n_workers, struct err *e)
{
    struct putq *q = xcalloc(1, sizeof *q);
    unsigned n = n_workers == 0 ? cores() : n_workers;

    n = n > WORKERS_MAX ? WORKERS_MAX : n;
    q->store = s;
    q->n_slots = (size_t)n * SLOTS_PER_WORKER;
    q->free_slots = xcalloc(q->n_slots, sizeof *q->free_slots);
    q->ring = xcalloc(q->n_slots, sizeof *q->ring);
    q->n_free = q->n_slots;
    (void)pthread_mutex_init(&q->mu, NULL);
    (void)pthread_cond_init(&q->changed, NULL);
    for (; q->n_workers < n; q->n_workers++) {
        int rc = pthread_create(&q->workers[q->n_workers], NULL, worker_main, q);

        if (rc != 0) {
            err_set_sys(e, rc, "cannot start a thread");
            putq_close(q);
            return -1;
        }
    }
    *out = q;
    return 0;
}

/* A free slot, when there is one, or the failure. mu is held. */
static int
take_slot(struct putq *q, struct slot *sl, struct err *e)
{
    while (q->n_free == 0 && !q->failed) {
        (void)pthread_cond_wait(&q->changed, &q->mu);
    }
    if (q->failed) {
        *e = q->why;
        return -1;
    }
    *sl = q->free_slots[--q->n_free];
    return 0;
}

int
putq_put(struct putq *q, enum store_kind kind, const void *data, size_t len,
         struct sha256 *id, struct err *e)
{
    struct slot sl;
    int rc;

    if (len == 0 || len > STORE_CHUNK_MAX_BYTES) {
        return err_set(e, ERR_RANGE, "a chunk of %zu bytes", len);
    }
    (void)pthread_mutex_lock(&q->mu);
    rc = take_slot(q, &sl, e);
    (void)pthread_mutex_unlock(&q->mu);
    if (rc == -1) {
        return -1;
    }
    if (sl.cap < len) {
        free(sl.data);
        sl.data = xmalloc(len);
        sl.cap = len;
    }
    memcpy(sl.data, data, len);
    sl.len = len;
    sl.kind = kind;
    sl.id = id;
    (void)pthread_mutex_lock(&q->mu);
    q->ring[(q->head + q->n_waiting) % q->n_slots] = sl;
    q->n_waiting++;
    (void)pthread_cond_broadcast(&q->changed);
    (void)pthread_mutex_unlock(&q->mu);
    return 0;
}

int
putq_wait(struct putq *q, struct err *e)
{
    int rc = 0;

    (void)pthread_mutex_lock(&q->mu);
    while (q->n_free < q->n_slots) {
        (void)pthread_cond_wait(&q->changed, &q->mu);
    }
    if (q->failed) {
        *e = q->why;
        rc = -1;
    }
    (void)pthread_mutex_unlock(&q->mu);
    return rc;
}

void
putq_close(struct putq *q)
{
    if (q == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&q->mu);
    q->stop = true;
    (void)pthread_cond_broadcast(&q->changed);
    (void)pthread_mutex_unlock(&q->mu);
    for (unsigned i = 0; i < q->n_workers; i++) {
        (void)pthread_join(q->workers[i], NULL);
    }
    for (size_t i = 0; i < q->n_free; i++) {
        free(q->free_slots[i].data);
    }
    for (size_t i = 0; i < q->n_waiting; i++) {
        free(q->ring[(q->head + i) % q->n_slots].data);
    }
    (void)pthread_mutex_destroy(&q->mu);
    (void)pthread_cond_destroy(&q->changed);
    free(q->free_slots);
    free(q->ring);
    free(q);
}
