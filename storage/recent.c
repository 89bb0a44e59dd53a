#include "storage/recent.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* At most so many chunks, however small; powers of two. */
#define SLOTS   ((size_t)4096)
#define BUCKETS ((size_t)4096)
/* Memory that is free again is given for the next: new pages cost as much as a copy. */
#define SPARES         32
#define SPARE_MAX_PART 4 /* of max_bytes */

struct slot {
    struct sha256 id;
    struct buf content; /* data NULL: taken, or never used */
    uint32_t next;      /* in its bucket: 1 + a slot, 0: none */
};

struct recent {
    pthread_mutex_t lock;
    size_t max_bytes;
    size_t n_bytes;  /* of memory, of all slots */
    size_t n_unused; /* bytes that went without having been asked for since any were */
    struct buf spares[SPARES];
    size_t n_spares;
    size_t spare_bytes;
    uint64_t newest; /* slots used so far; the oldest of them were given back */
    uint64_t oldest;
    uint32_t buckets[BUCKETS];
    struct slot slots[SLOTS];
};

struct recent *
recent_new(size_t max_bytes)
{
    struct recent *r = xcalloc(1, sizeof *r);

    r->max_bytes = max_bytes;
    (void)pthread_mutex_init(&r->lock, NULL);
    return r;
}

void
recent_free(struct recent *r)
{
    if (r == NULL) {
        return;
    }
    for (size_t i = 0; i < SLOTS; i++) {
        buf_free(&r->slots[i].content);
    }
    while (r->n_spares > 0) {
        buf_free(&r->spares[--r->n_spares]);
    }
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

/* b is empty then. */
static void
keep_spare(struct recent *r, struct buf *b)
{
    if (b->data == NULL || r->n_spares == SPARES ||
        r->spare_bytes + b->cap > r->max_bytes / SPARE_MAX_PART) {
        buf_free(b);
        return;
    }
    buf_reset(b);
    r->spare_bytes += b->cap;
    r->spares[r->n_spares++] = *b;
    *b = (struct buf)BUF_INIT;
}

/* b is empty. */
static void
give_spare(struct recent *r, struct buf *b)
{
    if (b->data == NULL && r->n_spares > 0) {
        *b = r->spares[--r->n_spares];
        r->spare_bytes -= b->cap;
    }
}

/* Ids are hashes: any of their bits will do. */
static uint32_t *
bucket_of(struct recent *r, const struct sha256 *id)
{
    uint16_t bits;

    memcpy(&bits, id->b, sizeof bits);
    return &r->buckets[bits % BUCKETS];
}

/* Where the number of that chunk's slot stands; 0 stands there if it has none. */
static uint32_t *
find(struct recent *r, const struct sha256 *id)
{
    uint32_t *at = bucket_of(r, id);

    while (*at != 0 && !sha256_equal(&r->slots[*at - 1].id, id)) {
        at = &r->slots[*at - 1].next;
    }
    return at;
}

/* Its content is *out's, which was empty. */
static void
remove_slot(struct recent *r, uint32_t *at, struct buf *out)
{
    struct slot *s = &r->slots[*at - 1];

    *at = s->next;
    r->n_bytes -= s->content.cap;
    *out = s->content;
    s->content = (struct buf)BUF_INIT;
}

static void
drop_oldest(struct recent *r)
{
    struct slot *s = &r->slots[r->oldest++ % SLOTS];
    struct buf gone = BUF_INIT;

    if (s->content.data != NULL) {
        remove_slot(r, find(r, &s->id), &gone);
        r->n_unused += gone.len;
        keep_spare(r, &gone);
    }
}

/* Who takes does not follow close enough: from now on nothing is kept. */
static bool
is_no_use(struct recent *r)
{
    bool no_use;

    (void)pthread_mutex_lock(&r->lock);
    no_use = r->n_unused > r->max_bytes;
    (void)pthread_mutex_unlock(&r->lock);
    return no_use;
}

void
recent_put(struct recent *r, const struct sha256 *id, struct buf *content)
{
    struct buf kept = BUF_INIT;
    struct slot *s;
    uint32_t *at;

    if (content->len == 0 || content->len > r->max_bytes || is_no_use(r)) {
        return;
    }
    /* Memory that was once for a much larger one is not bound for this. */
    if (content->cap / 2 <= content->len && content->cap <= r->max_bytes) {
        kept = *content;
        *content = (struct buf)BUF_INIT;
    } else {
        buf_add(&kept, content->data, content->len);
    }
    (void)pthread_mutex_lock(&r->lock);
    if (*find(r, id) != 0) {
        keep_spare(r, &kept);
        give_spare(r, content);
        (void)pthread_mutex_unlock(&r->lock);
        return;
    }
    while (r->oldest < r->newest &&
           (r->newest - r->oldest == SLOTS || r->n_bytes + kept.cap > r->max_bytes)) {
        drop_oldest(r);
    }
    at = bucket_of(r, id);
    s = &r->slots[r->newest % SLOTS];
    s->id = *id;
    s->content = kept;
    s->next = *at;
    *at = (uint32_t)(r->newest++ % SLOTS) + 1;
    r->n_bytes += kept.cap;
    give_spare(r, content);
    (void)pthread_mutex_unlock(&r->lock);
}

bool
recent_take(struct recent *r, const struct sha256 *id, struct buf *out)
{
    struct buf got = BUF_INIT;
    uint32_t *at;

    (void)pthread_mutex_lock(&r->lock);
    at = find(r, id);
    if (*at != 0) {
        remove_slot(r, at, &got);
        r->n_unused = 0;
        if (out->len == 0) {
            keep_spare(r, out);
        }
    }
    (void)pthread_mutex_unlock(&r->lock);
    if (got.data == NULL) {
        return false;
    }
    if (out->data == NULL) {
        *out = got;
        return true;
    }
    buf_add(out, got.data, got.len);
    (void)pthread_mutex_lock(&r->lock);
    keep_spare(r, &got);
    (void)pthread_mutex_unlock(&r->lock);
    return true;
}
