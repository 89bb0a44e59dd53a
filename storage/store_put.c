#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "storage/reserve.h"
#include "storage/store_internal.h"

/*
 * The way of a chunk: claimed (its id is in the pending table, so no other thread takes
 * it up), encoded, given room in the pack being filled, written there. Only claiming
 * and giving room need the lock. Full packs are sealed by the flusher, a thread begun
 * with the first full pack, while the next one is being filled.
 */

/* Sealed packs are taken into the index when there are so many. */
#define COMMIT_PACKS 8
/* Full packs that wait to be sealed; beyond that, putting waits. */
#define BACKLOG_PACKS 4

/* From now on nothing is put or committed. mu is held. */
static void
fail_for_good(struct store *s, const struct err *why)
{
    if (!s->failed) {
        s->failed = true;
        s->why = *why;
    }
    (void)pthread_cond_broadcast(&s->changed);
}

static int
refuse_failed(const struct store *s, struct err *e)
{
    *e = s->why;
    return -1;
}

/* ---- sealing and committing (mu is held at entry and exit of all) ---- */

static void
wait_for_change(struct store *s)
{
    (void)pthread_cond_wait(&s->changed, &s->mu);
}

/* Is there a pack that waits to be sealed? */
static bool
can_seal(const struct store *s)
{
    return s->n_sealed < s->n_own - (s->filling ? 1u : 0u);
}

static int
seal_next(struct store *s, struct err *e)
{
    uint32_t slot = s->n_sealed;
    struct pack_writer *w = s->own[slot].w;
    int rc;

    s->sealing = true;
    while (s->own[slot].in_flight > 0) {
        wait_for_change(s);
    }
    if (s->failed) {
        s->sealing = false;
        return refuse_failed(s, e);
    }
    (void)pthread_mutex_unlock(&s->mu);
    rc = pack_seal(w, e);
    (void)pthread_mutex_lock(&s->mu);
    s->sealing = false;
    if (rc == -1) {
        fail_for_good(s, e);
        return -1;
    }
    s->n_sealed = slot + 1;
    (void)pthread_cond_broadcast(&s->changed);
    return 0;
}

/* Take the packs into the index; the names were not durable before the directory is. */
static int
index_packs(struct store *s, struct pack_writer *const *w, uint32_t n, struct err *e)
{
    struct index_pack *packs = xcalloc(n, sizeof *packs);
    int rc = -1;

    for (uint32_t i = 0; i < n; i++) {
        packs[i].name = w[i]->name;
        packs[i].entries = w[i]->entries.v;
        packs[i].n_entries = w[i]->entries.n;
        packs[i].bytes = w[i]->end;
    }
    if (fsync(s->packs_fd) == -1) {
        err_set_sys(e, errno, "cannot sync '%s/packs'", s->dir);
    } else {
        rc = index_add(s->ix, packs, n, NULL, e);
    }
    if (rc == 0) {
        reserve_follow(s->dir_fd);
    }
    free(packs);
    return rc;
}

static int
index_sealed(struct store *s, struct err *e)
{
    uint32_t from = s->n_done;
    uint32_t n = s->n_sealed - from;
    struct pack_writer **w = xcalloc(n, sizeof *w);
    int rc;

    for (uint32_t i = 0; i < n; i++) {
        w[i] = s->own[from + i].w;
        s->own[from + i].keep = true;
    }
    s->indexing = true;
    (void)pthread_mutex_unlock(&s->mu);
    rc = index_packs(s, w, n, e);
    (void)pthread_mutex_lock(&s->mu);
    s->indexing = false;
    if (rc == -1) {
        fail_for_good(s, e);
        goto out;
    }
    for (uint32_t i = 0; i < n; i++) {
        s->own[from + i].w = NULL;
        pack_writer_free(w[i], s->packs_fd, false);
    }
    s->n_done = from + n;
    pending_drop_slots(&s->pending, s->n_done);
    (void)pthread_cond_broadcast(&s->changed);

out:
    free(w);
    return rc;
}

static void *
flusher_main(void *arg)
{
    struct store *s = arg;
    struct err e;

    (void)pthread_mutex_lock(&s->mu);
    while (!s->flusher_stop && !s->failed) {
        if (can_seal(s) && !s->sealing) {
            (void)seal_next(s, &e); /* a failure is kept in s */
        } else if (s->n_sealed - s->n_done >= COMMIT_PACKS && !s->indexing) {
            (void)index_sealed(s, &e);
        } else {
            wait_for_change(s);
        }
    }
    (void)pthread_mutex_unlock(&s->mu);
    return NULL;
}

static int
start_flusher(struct store *s, struct err *e)
{
    int rc;

    if (s->flusher_runs) {
        return 0;
    }
    rc = pthread_create(&s->flusher, NULL, flusher_main, s);
    if (rc != 0) {
        return err_set_sys(e, rc, "cannot start a thread");
    }
    s->flusher_runs = true;
    return 0;
}

/* ---- room in a pack ---- */

static struct own_pack *
add_own(struct store *s, struct pack_writer *w)
{
    struct own_pack *o;

    if (s->n_own == s->own_cap) {
        s->own_cap = s->own_cap == 0 ? 8 : s->own_cap * 2;
        s->own = xrealloc(s->own, s->own_cap * sizeof *s->own);
    }
    o = &s->own[s->n_own++];
    *o = (struct own_pack){.name = w->name, .w = w};
    s->filling = true;
    return o;
}

/* The slot of the pack to be filled, made if there is none. */
static int
slot_to_fill(struct store *s, uint32_t *slot, struct err *e)
{
    struct pack_writer *w;

    while (!s->filling && !s->failed && s->n_own - s->n_sealed > BACKLOG_PACKS) {
        wait_for_change(s);
    }
    if (s->failed) {
        return refuse_failed(s, e);
    }
    if (!s->filling) {
        if (s->n_own == OWN_PACK - 1) {
            return err_set(e, ERR_RANGE, "too many packs in one session");
        }
        if (pack_create(&w, s->packs_fd, e) == -1) {
            return -1;
        }
        (void)add_own(s, w);
    }
    *slot = s->n_own - 1;
    return 0;
}

/* Give en room. *w stays valid until in_flight of its slot is counted down. */
static int
reserve(struct store *s, struct pack_entry *en, uint32_t *slot, struct pack_writer **w,
        struct err *e)
{
    if (slot_to_fill(s, slot, e) == -1) {
        return -1;
    }
    *w = s->own[*slot].w;
    pack_reserve(*w, en);
    s->own[*slot].in_flight++;
    if (pack_full(*w)) {
        s->filling = false;
        if (start_flusher(s, e) == -1) {
            s->own[*slot].in_flight--;
            return -1;
        }
        (void)pthread_cond_broadcast(&s->changed);
    }
    return 0;
}

/* ---- putting ---- */

/*
 * Is the chunk among those that this session puts? *done: how many of its packs the index
 * had before the look.
 */
static int
find_pending(struct store *s, const struct sha256 *id, bool *here, uint32_t *done,
             struct err *e)
{
    int rc;

    (void)pthread_mutex_lock(&s->mu);
    *done = s->n_done;
    *here = pending_find(&s->pending, id) != NULL;
    rc = s->failed ? refuse_failed(s, e) : 0;
    (void)pthread_mutex_unlock(&s->mu);
    return rc;
}

/*
 * The index, which had done of our packs, does not have it: it is the caller's, unless
 * another thread was quicker (*here), or packs have passed from the pending ones into the
 * index since: then nothing is said (*again).
 */
static int
claim(struct store *s, const struct sha256 *id, uint32_t done, bool *here, bool *again,
      struct err *e)
{
    int rc = 0;

    (void)pthread_mutex_lock(&s->mu);
    while (s->gate && !s->failed) {
        wait_for_change(s);
    }
    *again = s->n_done != done;
    if (s->failed) {
        rc = refuse_failed(s, e);
    } else if (pending_find(&s->pending, id) != NULL) {
        *here = true;
    } else if (!*again) {
        (void)pending_add(&s->pending, id);
        s->n_claimed++;
    }
    (void)pthread_mutex_unlock(&s->mu);
    return rc;
}

/* Is the chunk here? If not, it is the caller's to write, and to be told of by settle. */
static int
find_or_claim(struct store *s, const struct sha256 *id, size_t raw_len, bool *here,
              struct err *e)
{
    bool again = true;

    (void)pthread_mutex_lock(&s->mu);
    s->stats.put_chunks++;
    s->stats.put_raw_bytes += raw_len;
    (void)pthread_mutex_unlock(&s->mu);
    for (*here = false; again && !*here;) {
        struct store_loc loc = {0};
        uint32_t done = 0;

        if (find_pending(s, id, here, &done, e) != 0) {
            return -1;
        }
        if (*here) {
            break;
        }
        if (index_lookup(s->ix, id, 1, &loc, e) != 0) {
            return -1;
        }
        *here = loc.pack != 0;
        if (!*here && claim(s, id, done, here, &again, e) != 0) {
            return -1;
        }
    }
    return 0;
}

/* The claimed chunk has been written as en in that slot, or has failed (e). mu is held.
 */
static void
settle(struct store *s, const struct pack_entry *en, uint32_t slot,
       const struct err *failure)
{
    struct pending *p = pending_find(&s->pending, &en->id);

    assert(p != NULL && p->state == PENDING_CLAIMED);
    s->n_claimed--;
    if (failure != NULL) {
        fail_for_good(s, failure);
        return;
    }
    p->state = PENDING_WRITTEN;
    p->slot = slot;
    p->offset = en->offset;
    p->stored_len = en->stored_len;
    p->raw_len = en->raw_len;
    p->codec = en->codec;
    s->stats.new_chunks++;
    s->stats.new_raw_bytes += en->raw_len;
    s->stats.new_stored_bytes += en->stored_len;
    (void)pthread_cond_broadcast(&s->changed);
}

/* Write the encoded bytes of a claimed chunk. */
static int
write_claimed(struct store *s, struct pack_entry *en, const void *data, struct err *e)
{
    struct pack_writer *w = NULL;
    uint32_t slot = 0;
    int rc;

    (void)pthread_mutex_lock(&s->mu);
    rc = reserve(s, en, &slot, &w, e);
    if (rc == 0) {
        (void)pthread_mutex_unlock(&s->mu);
        rc = pack_write_entry(w, en, data, e);
        (void)pthread_mutex_lock(&s->mu);
        s->own[slot].in_flight--;
    }
    settle(s, en, slot, rc == -1 ? e : NULL);
    (void)pthread_mutex_unlock(&s->mu);
    return rc;
}

static int
check_args(enum store_kind kind, size_t len, struct err *e)
{
    if (kind != STORE_KIND_DATA && kind != STORE_KIND_META) {
        return err_set(e, ERR_INVALID, "unknown kind of chunk %d", (int)kind);
    }
    if (len == 0 || len > STORE_CHUNK_MAX_BYTES) {
        return err_set(e, ERR_RANGE, "a chunk of %zu bytes", len);
    }
    return 0;
}

static int
check_hash(const struct sha256 *id, const void *raw, size_t raw_len, struct err *e)
{
    struct sha256 name;

    sha256_of(raw, raw_len, &name);
    return sha256_equal(&name, id)
               ? 0
               : err_set(e, ERR_CORRUPT, "a chunk does not have the hash it came under");
}

/* data is chunk id, checked. */
static int
put_raw(struct store *s, enum store_kind kind, const struct sha256 *id, const void *data,
        size_t len, bool *added, struct err *e)
{
    struct pack_entry en = {.id = *id, .raw_len = (uint32_t)len, .kind = (uint8_t)kind};
    const void *stored;
    size_t stored_len;
    struct codec *c;
    bool here;
    int rc;

    if (find_or_claim(s, id, len, &here, e) == -1) {
        return -1;
    }
    if (!here) {
        c = store_codec_take(s);
        en.codec = (uint8_t)codec_encode(c, CODEC_LEVEL, data, len, &stored, &stored_len);
        en.stored_len = (uint32_t)stored_len;
        rc = write_claimed(s, &en, stored, e);
        store_codec_give(s, c);
        if (rc == -1) {
            return -1;
        }
    }
    if (added != NULL) {
        *added = !here;
    }
    return 0;
}

int
store_put(struct store *s, enum store_kind kind, const void *data, size_t len,
          struct sha256 *id, bool *added, struct err *e)
{
    struct sha256 name;

    if (check_args(kind, len, e) == -1) {
        return -1;
    }
    sha256_of(data, len, &name);
    if (put_raw(s, kind, &name, data, len, added, e) == -1) {
        return -1;
    }
    *id = name;
    return 0;
}

int
store_put_checked(struct store *s, enum store_kind kind, const struct sha256 *id,
                  const void *data, size_t len, bool *added, struct err *e)
{
    if (check_args(kind, len, e) == -1 || check_hash(id, data, len, e) == -1) {
        return -1;
    }
    return put_raw(s, kind, id, data, len, added, e);
}

/* Does data[0..len) decode to raw_len bytes with that hash? */
static int
check_encoded(struct store *s, const struct sha256 *id, enum store_codec codec,
              size_t raw_len, const void *data, size_t len, struct buf *out,
              struct err *e)
{
    struct codec *c;
    void *raw;
    int rc;

    if (codec == STORE_CODEC_RAW && len == raw_len) {
        return check_hash(id, data, len, e); /* where it lies: nothing is to be decoded */
    }
    c = store_codec_take(s);
    if (out != NULL) {
        buf_reset(out);
        buf_reserve(out, raw_len);
        out->len = raw_len;
    }
    raw = out != NULL ? out->data : codec_scratch(c, raw_len);
    rc = codec_decode(c, codec, data, len, raw, raw_len, e);
    if (rc == 0) {
        rc = check_hash(id, raw, raw_len, e);
    }
    store_codec_give(s, c);
    return rc;
}

int
store_put_encoded(struct store *s, enum store_kind kind, const struct sha256 *id,
                  enum store_codec codec, size_t raw_len, const void *data, size_t len,
                  struct buf *raw, bool *added, struct err *e)
{
    struct pack_entry en = {.id = *id,
                            .raw_len = (uint32_t)raw_len,
                            .stored_len = (uint32_t)len,
                            .codec = (uint8_t)codec,
                            .kind = (uint8_t)kind};
    bool here;

    if (check_args(kind, raw_len, e) == -1) {
        return -1;
    }
    if (len == 0 || len > raw_len || (codec == STORE_CODEC_ZSTD && len == raw_len)) {
        return err_set(e, ERR_RANGE, "a chunk of %zu bytes encoded as %zu", raw_len, len);
    }
    if (check_encoded(s, id, codec, raw_len, data, len, raw, e) == -1 ||
        find_or_claim(s, id, raw_len, &here, e) == -1 ||
        (!here && write_claimed(s, &en, data, e) == -1)) {
        return -1;
    }
    if (added != NULL) {
        *added = !here;
    }
    return 0;
}

/* ---- committing ---- */

/* All packs begun so far become sealed. mu is held. */
static int
seal_all(struct store *s, struct err *e)
{
    uint32_t target = s->n_own;

    s->filling = false;
    (void)pthread_cond_broadcast(&s->changed);
    while (s->n_sealed < target) {
        if (s->failed) {
            return refuse_failed(s, e);
        }
        if (s->sealing || s->flusher_runs) {
            wait_for_change(s);
        } else if (seal_next(s, e) == -1) {
            return -1;
        }
    }
    return 0;
}

int
store_commit(struct store *s, struct err *e)
{
    int rc = -1;

    (void)pthread_mutex_lock(&s->mu);
    while (s->gate) {
        wait_for_change(s); /* another commit */
    }
    s->gate = true;
    /* A chunk that one thread put may be on its way to a pack in another thread. */
    while (s->n_claimed > 0 && !s->failed) {
        wait_for_change(s);
    }
    s->gate = false;
    (void)pthread_cond_broadcast(&s->changed);
    if (s->failed) {
        rc = refuse_failed(s, e);
        goto out;
    }
    if (seal_all(s, e) == -1) {
        goto out;
    }
    while (s->indexing) {
        wait_for_change(s);
    }
    if (s->failed) {
        rc = refuse_failed(s, e);
        goto out;
    }
    rc = s->n_done < s->n_sealed ? index_sealed(s, e) : 0;

out:
    (void)pthread_mutex_unlock(&s->mu);
    return rc;
}

void
store_put_end(struct store *s)
{
    (void)pthread_mutex_lock(&s->mu);
    s->flusher_stop = true;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->mu);
    if (s->flusher_runs) {
        (void)pthread_join(s->flusher, NULL);
    }
    for (uint32_t i = 0; i < s->n_own; i++) {
        pack_writer_free(s->own[i].w, s->packs_fd, !s->own[i].keep);
    }
    free(s->own);
    pending_free(&s->pending);
}
