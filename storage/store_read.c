#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "storage/packs.h"
#include "storage/store_internal.h"

/* Ids that store_has looks up at a time. */
#define HAS_SLICE ((size_t)65536)
/* Neighbours up to this far apart are fetched in one piece. */
#define PREFETCH_GAP_BYTES ((uint64_t)64 * 1024)

/* A chunk that was moved so often while it was read is not to be had. */
#define MOVES_MAX 100

/* ---- where chunks are ---- */

/*
 * Fill locs for those that this handle has put and the index does not know yet; the
 * places of the others go to rest. Looked at before the index, never after: a chunk moves
 * from here to there.
 */
static int
locate_pending(struct store *s, const struct sha256 *ids, size_t n,
               struct store_loc *locs, uint32_t *rest, size_t *n_rest, struct err *e)
{
    int rc = 0;

    *n_rest = 0;
    (void)pthread_mutex_lock(&s->mu);
    for (size_t i = 0; i < n; i++) {
        const struct pending *p;

        while ((p = pending_find(&s->pending, &ids[i])) != NULL &&
               p->state == PENDING_CLAIMED && !s->failed) {
            (void)pthread_cond_wait(&s->changed, &s->mu);
        }
        if (p == NULL) {
            rest[(*n_rest)++] = (uint32_t)i;
        } else if (p->state == PENDING_CLAIMED) {
            *e = s->why;
            rc = -1;
            break;
        } else {
            locs[i] = (struct store_loc){.pack = OWN_PACK + p->slot,
                                         .offset = p->offset,
                                         .stored_len = p->stored_len,
                                         .raw_len = p->raw_len,
                                         .codec = p->codec};
        }
    }
    (void)pthread_mutex_unlock(&s->mu);
    return rc;
}

/* Look those of ids up in the index that rest names. */
static int
locate_rest(struct store *s, const struct sha256 *ids, struct store_loc *locs,
            const uint32_t *rest, size_t n_rest, struct err *e)
{
    struct sha256 *some_ids = xmalloc(n_rest * sizeof *some_ids);
    struct store_loc *some_locs = xmalloc(n_rest * sizeof *some_locs);
    int rc;

    for (size_t i = 0; i < n_rest; i++) {
        some_ids[i] = ids[rest[i]];
    }
    rc = index_lookup(s->ix, some_ids, n_rest, some_locs, e);
    for (size_t i = 0; rc == 0 && i < n_rest; i++) {
        locs[rest[i]] = some_locs[i];
    }
    free(some_ids);
    free(some_locs);
    return rc;
}

int
store_locate(struct store *s, const struct sha256 *ids, size_t n, struct store_loc *locs,
             struct err *e)
{
    uint32_t *rest = NULL;
    size_t n_rest = n;
    bool some_pending;
    int rc = -1;

    if (n > STORE_BATCH_MAX) {
        return err_set(e, ERR_RANGE, "%zu chunks asked for at once", n);
    }
    (void)pthread_mutex_lock(&s->mu);
    some_pending = s->pending.n != 0;
    (void)pthread_mutex_unlock(&s->mu);
    if (!some_pending) {
        return index_lookup(s->ix, ids, n, locs, e);
    }
    rest = xmalloc(n * sizeof *rest);
    if (locate_pending(s, ids, n, locs, rest, &n_rest, e) == 0) {
        rc = n_rest == 0 ? 0 : locate_rest(s, ids, locs, rest, n_rest, e);
    }
    free(rest);
    return rc;
}

int
store_has(struct store *s, const struct sha256 *ids, size_t n, uint8_t *bits,
          struct err *e)
{
    size_t slice = n < HAS_SLICE ? n : HAS_SLICE;
    struct store_loc *locs = xmalloc(slice * sizeof *locs);
    int rc = -1;

    memset(bits, 0, (n + 7) / 8);
    for (size_t at = 0; at < n; at += slice) {
        size_t some = n - at < slice ? n - at : slice;

        if (store_locate(s, ids + at, some, locs, e) == -1) {
            goto out;
        }
        for (size_t i = 0; i < some; i++) {
            if (locs[i].pack != 0) {
                bits[(at + i) / 8] |= (uint8_t)(1u << ((at + i) % 8));
            }
        }
    }
    rc = 0;

out:
    free(locs);
    return rc;
}

int
store_loc_cmp(const struct store_loc *a, const struct store_loc *b)
{
    if (a->pack != b->pack) {
        return a->pack < b->pack ? -1 : 1;
    }
    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* ---- open packs ---- */

struct open_pack {
    int fd;
    int slot; /* in s->fds, or -1: to be closed after use */
};

static int
name_of_pack(struct store *s, uint32_t pack, struct pack_name *name, struct err *e)
{
    bool found = false;

    if (pack >= OWN_PACK) {
        (void)pthread_mutex_lock(&s->mu);
        assert(pack - OWN_PACK < s->n_own);
        *name = s->own[pack - OWN_PACK].name;
        (void)pthread_mutex_unlock(&s->mu);
        return 0;
    }
    if (index_pack_name(s->ix, pack, name, &found, e) == -1) {
        return -1;
    }
    return found ? 0 : err_set(e, ERR_NOT_FOUND, "no such pack");
}

/* fd_mu is held. */
static struct open_pack
use_slot(struct store *s, int slot)
{
    s->fds[slot].users++;
    s->fds[slot].last_use = ++s->fd_clock;
    return (struct open_pack){s->fds[slot].fd, slot};
}

/* Keep fd in the slot that was not used for longest. fd_mu is held. */
static struct open_pack
keep_fd(struct store *s, uint32_t pack, int fd)
{
    int oldest = -1;

    for (int i = 0; i < READ_FDS; i++) {
        if (s->fds[i].users == 0 &&
            (oldest == -1 || s->fds[i].last_use < s->fds[oldest].last_use)) {
            oldest = i;
        }
    }
    if (oldest == -1) {
        return (struct open_pack){fd, -1};
    }
    if (s->fds[oldest].pack != 0) {
        (void)close(s->fds[oldest].fd);
    }
    s->fds[oldest].pack = pack;
    s->fds[oldest].fd = fd;
    return use_slot(s, oldest);
}

static int
take_pack(struct store *s, uint32_t pack, struct open_pack *out, struct err *e)
{
    struct pack_name name;
    int fd;

    (void)pthread_mutex_lock(&s->fd_mu);
    for (int i = 0; i < READ_FDS; i++) {
        if (s->fds[i].pack == pack) {
            *out = use_slot(s, i);
            (void)pthread_mutex_unlock(&s->fd_mu);
            return 0;
        }
    }
    (void)pthread_mutex_unlock(&s->fd_mu);
    if (name_of_pack(s, pack, &name, e) == -1 ||
        pack_open(s->packs_fd, &name, &fd, e) == -1) {
        return -1;
    }
    (void)pthread_mutex_lock(&s->fd_mu);
    *out = keep_fd(s, pack, fd);
    (void)pthread_mutex_unlock(&s->fd_mu);
    return 0;
}

static void
give_pack(struct store *s, const struct open_pack *p)
{
    if (p->slot == -1) {
        (void)close(p->fd);
        return;
    }
    (void)pthread_mutex_lock(&s->fd_mu);
    s->fds[p->slot].users--;
    (void)pthread_mutex_unlock(&s->fd_mu);
}

void
store_read_end(struct store *s)
{
    for (size_t i = 0; i < READ_FDS; i++) {
        if (s->fds[i].pack != 0) {
            (void)close(s->fds[i].fd);
        }
    }
}

static int
cmp_locs(const void *a, const void *b)
{
    return store_loc_cmp(a, b);
}

void
store_prefetch(struct store *s, const struct store_loc *locs, size_t n)
{
    struct store_loc *v = xmalloc(n * sizeof *v);
    size_t i = 0;

    memcpy(v, locs, n * sizeof *v);
    qsort(v, n, sizeof *v, cmp_locs);
    while (i < n) {
        uint64_t from = v[i].offset;
        uint64_t to = from;
        uint32_t pack = v[i].pack;
        struct open_pack p;
        struct err ignored;

        for (; i < n && v[i].pack == pack && v[i].offset <= to + PREFETCH_GAP_BYTES;
             i++) {
            to = v[i].offset + PACK_ENTRY_LEN + v[i].stored_len;
        }
        if (pack != 0 && take_pack(s, pack, &p, &ignored) == 0) {
            (void)posix_fadvise(p.fd, (off_t)from, (off_t)(to - from),
                                POSIX_FADV_WILLNEED);
            give_pack(s, &p);
        }
    }
    free(v);
}

/* ---- reading ---- */

/* What to do with an entry whose stored bytes proved sound by their sums. */
struct reader {
    struct codec *codec;
    void *to;        /* decode to here, and check the hash; or, if NULL, */
    struct buf *out; /* append the stored bytes to this */
};

static struct pack_entry
entry_at(const struct sha256 *id, const struct store_loc *loc)
{
    return (struct pack_entry){.id = *id,
                               .offset = (uint32_t)loc->offset,
                               .stored_len = loc->stored_len,
                               .raw_len = loc->raw_len,
                               .codec = loc->codec};
}

/* The encoded bytes of en, as sound as their sums tell; valid until r->codec is used. */
static int
fetch_entry(int fd, const struct pack_entry *en, const struct reader *r,
            const uint8_t **data, struct err *e)
{
    uint8_t *bytes = codec_scratch(r->codec, PACK_ENTRY_LEN + (size_t)en->stored_len);
    struct err ignored;
    bool scarred;

    if (pack_read_entry(fd, en, bytes, e) == 0) {
        *data = bytes + PACK_ENTRY_LEN;
        return 0;
    }
    /* Where only the header is damaged, the bytes can speak for themselves. */
    return packs_fetch(fd, en, r->codec, data, &scarred, &ignored);
}

static int
read_entry(int fd, const struct pack_entry *en, const struct reader *r, struct err *e)
{
    const uint8_t *data;
    struct sha256 got;

    if (fetch_entry(fd, en, r, &data, e) == -1) {
        return -1;
    }
    if (r->to == NULL) {
        buf_add(r->out, data, en->stored_len);
        return 0;
    }
    if (codec_decode(r->codec, (enum store_codec)en->codec, data, en->stored_len, r->to,
                     en->raw_len, e) == -1) {
        return -1;
    }
    sha256_of(r->to, en->raw_len, &got);
    if (!sha256_equal(&got, &en->id)) {
        return err_set(e, ERR_CORRUPT, "the stored bytes are not the chunk");
    }
    return 0;
}

/*
 * Another copy in the same pack: the second one of STORE_KIND_META, or the right place
 * where the index told a wrong one.
 */
static int
read_other_copy(int fd, const struct pack_entry *en, const struct reader *r,
                struct err *e)
{
    struct pack_list list = {0};
    struct err ignored;
    bool whole;
    int rc = -1;

    if (pack_read_table(fd, &list, &ignored) == -1 &&
        pack_scan(fd, &list, &whole, &ignored) == -1) {
        return -1;
    }
    for (size_t i = 0; rc == -1 && i < list.n; i++) {
        const struct pack_entry *other = &list.v[i];

        if (sha256_equal(&other->id, &en->id) && other->offset != en->offset &&
            other->raw_len == en->raw_len &&
            (r->to != NULL ||
             (other->stored_len == en->stored_len && other->codec == en->codec))) {
            rc = read_entry(fd, other, r, e);
        }
    }
    pack_list_free(&list);
    return rc;
}

static int
read_at_loc(struct store *s, const struct sha256 *id, const struct store_loc *loc,
            const struct reader *r, struct err *e)
{
    struct pack_entry en = entry_at(id, loc);
    struct open_pack p;
    int rc;

    if (take_pack(s, loc->pack, &p, e) == -1) {
        return -1;
    }
    rc = read_entry(p.fd, &en, r, e);
    if (rc == -1) {
        rc = read_other_copy(p.fd, &en, r, e);
    }
    give_pack(s, &p);
    return rc;
}

static void
name_chunk(const struct sha256 *id, struct err *e)
{
    char hex[SHA256_HEX_LEN + 1];

    sha256_format(id, hex);
    err_wrap(e, "chunk %s", hex);
}

/* From now on the chunk is missing, so that the next who has it puts it again. */
static void
set_aside(struct store *s, const struct sha256 *id, const struct store_loc *loc,
          const char *why)
{
    struct err ignored; /* the caller tells of the damage itself, which counts more */

    if (loc->pack < OWN_PACK) {
        (void)!index_set_aside(s->ix, id, loc, why, &ignored);
    }
}

/*
 * The chunk was not soundly where loc says: gc may have moved it meanwhile, and again
 * while we look, as long as we are slow. Where it has not been moved it is read once more
 * before it is called damaged.
 */
static int
read_again(struct store *s, const struct sha256 *id, const struct store_loc *loc,
           const struct reader *r, struct err *e)
{
    struct store_loc last = *loc;
    struct store_loc now = {0};
    bool moved = true;

    for (int i = 0; moved && i < MOVES_MAX; i++) {
        if (store_locate(s, id, 1, &now, e) == -1) {
            return -1;
        }
        if (now.pack == 0) {
            return err_set(e, ERR_NOT_FOUND, "not in the store");
        }
        if (now.raw_len != loc->raw_len || now.stored_len != loc->stored_len ||
            now.codec != loc->codec) {
            return err_set(e, ERR_CORRUPT, "of another length than it was");
        }
        if (read_at_loc(s, id, &now, r, e) == 0) {
            return 0;
        }
        moved = store_loc_cmp(&now, &last) != 0;
        last = now;
    }
    if (e->code == ERR_CORRUPT) {
        set_aside(s, id, &now, e->msg);
    }
    return -1;
}

static int
read_chunk(struct store *s, const struct sha256 *id, const struct store_loc *loc,
           void *to, struct buf *out, struct err *e)
{
    struct reader r = {.codec = store_codec_take(s), .to = to, .out = out};
    int rc = -1;

    assert(loc->pack != 0 && loc->raw_len <= STORE_CHUNK_MAX_BYTES &&
           loc->stored_len <= STORE_CHUNK_MAX_BYTES);
    rc = read_at_loc(s, id, loc, &r, e);
    if (rc == -1) {
        rc = read_again(s, id, loc, &r, e);
    }
    if (rc == -1) {
        name_chunk(id, e);
    }
    store_codec_give(s, r.codec);
    return rc;
}

int
store_read(struct store *s, const struct sha256 *id, const struct store_loc *loc,
           void *to, struct err *e)
{
    return read_chunk(s, id, loc, to, NULL, e);
}

int
store_read_encoded(struct store *s, const struct sha256 *id, const struct store_loc *loc,
                   struct buf *out, struct err *e)
{
    return read_chunk(s, id, loc, NULL, out, e);
}

int
store_get(struct store *s, const struct sha256 *id, struct buf *out, struct err *e)
{
    struct store_loc loc = {0};

    if (store_locate(s, id, 1, &loc, e) == -1) {
        return -1;
    }
    if (loc.pack == 0) {
        err_set(e, ERR_NOT_FOUND, "not in the store");
        name_chunk(id, e);
        return -1;
    }
    buf_reserve(out, loc.raw_len);
    if (store_read(s, id, &loc, out->data + out->len, e) == -1) {
        return -1;
    }
    out->len += loc.raw_len;
    return 0;
}
