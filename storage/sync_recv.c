#include "storage/sync.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storage/codec.h"
#include "storage/sync_internal.h"

#define COMMIT_BYTES_DEFAULT ((uint64_t)64 << 20)
/* Ids told as missing in one answer; the sender asks again after sending them. */
#define MISSING_MAX ((size_t)65536)
#define HAS_BATCH   ((size_t)16384)

struct sync_recv {
    struct store *store; /* the caller's */
    struct sync_recv_options o;
    enum sync_state state;
    struct sha256 tree; /* SYNC_DONE: which */
    struct buf in;
    struct buf out;
    size_t out_at;
    uint64_t n_offered; /* numbers the ids for WANT */
    uint64_t taken_bytes;
    uint64_t uncommitted_bytes;
    /* The chunk being received. */
    bool in_chunk;
    struct sha256 id;
    enum store_kind kind;
    enum store_codec codec;
    uint32_t raw_len;
    uint32_t stored_len;
    struct buf stored;
    struct buf raw; /* decoded, where somebody asks */
    struct sync_stats stats;
};

int
sync_recv_new(struct sync_recv **out, struct store *s, const struct sync_recv_options *o,
              struct err *e)
{
    struct sync_recv *r = xcalloc(1, sizeof *r);

    (void)e;
    r->store = s;
    if (o != NULL) {
        r->o = *o;
    }
    if (r->o.commit_bytes == 0) {
        r->o.commit_bytes = COMMIT_BYTES_DEFAULT;
    }
    r->state = SYNC_RUNNING;
    *out = r;
    return 0;
}

void
sync_recv_free(struct sync_recv *r)
{
    struct err ignored = {0};

    if (r == NULL) {
        return;
    }
    /* What came is worth keeping: the next transfer will not send it again. */
    if (r->uncommitted_bytes != 0) {
        (void)!store_commit(r->store, &ignored);
    }
    buf_free(&r->in);
    buf_free(&r->out);
    buf_free(&r->stored);
    buf_free(&r->raw);
    free(r);
}

static int
commit(struct sync_recv *r, struct err *e)
{
    if (store_commit(r->store, e) != 0) {
        return -1;
    }
    r->uncommitted_bytes = 0;
    return 0;
}

/* ---- OFFER → WANT ---- */

static int
take_offer(struct sync_recv *r, const uint8_t *p, size_t len, struct err *e)
{
    size_t n = len / SHA256_LEN;
    struct sha256 *ids;
    uint8_t *bits;
    size_t n_bytes = (n + 7) / 8;
    int rc = -1;

    if (n == 0 || n > SYNC_IDS_PER_FRAME || len % SHA256_LEN != 0) {
        return err_set(e, ERR_CORRUPT, "an offer of %zu bytes", len);
    }
    ids = xmemdup(p, len);
    bits = xcalloc(n_bytes, 1);
    if (store_has(r->store, ids, n, bits, e) != 0) {
        goto out;
    }
    sync_put_header(&r->out, SYNC_WANT, SYNC_WANT_HEADER_BYTES + n_bytes);
    buf_add_u64(&r->out, r->n_offered);
    buf_add_u32(&r->out, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        bits[i / 8] ^= (uint8_t)(1u << (i % 8)); /* wanted is what is not here */
        r->stats.n_wanted += (unsigned)bits[i / 8] >> (i % 8) & 1u;
    }
    buf_add(&r->out, bits, n_bytes);
    r->n_offered += n;
    r->stats.n_offered += n;
    rc = 0;

out:
    free(ids);
    free(bits);
    return rc;
}

/* ---- chunks ---- */

static int
finish_chunk(struct sync_recv *r, struct err *e)
{
    bool added = false;

    r->in_chunk = false;
    if (store_put_encoded(r->store, r->kind, &r->id, r->codec, r->raw_len, r->stored.data,
                          r->stored.len, r->o.came != NULL ? &r->raw : NULL, &added,
                          e) != 0) {
        return -1;
    }
    r->stats.n_sent++;
    r->stats.sent_bytes += r->raw_len;
    if (r->o.came != NULL) {
        r->o.came(r->o.came_ctx, r->kind, &r->id, r->raw_len,
                  r->codec == STORE_CODEC_RAW ? &r->stored : &r->raw);
    }
    buf_reset(&r->stored);
    if (added) {
        r->uncommitted_bytes += r->raw_len;
    }
    return r->uncommitted_bytes >= r->o.commit_bytes ? commit(r, e) : 0;
}

static int
add_stored(struct sync_recv *r, const uint8_t *p, size_t len, struct err *e)
{
    if (len > r->stored_len - r->stored.len) {
        return err_set(e, ERR_CORRUPT, "a chunk is longer than it said");
    }
    buf_add(&r->stored, p, len);
    return r->stored.len == r->stored_len ? finish_chunk(r, e) : 0;
}

static int
take_chunk(struct sync_recv *r, const uint8_t *p, size_t len, struct err *e)
{
    struct cursor c = cursor_of(p, len);
    const uint8_t *id;

    r->kind = (enum store_kind)cursor_u8(&c);
    r->codec = (enum store_codec)cursor_u8(&c);
    (void)cursor_u16(&c);
    r->raw_len = cursor_u32(&c);
    r->stored_len = cursor_u32(&c);
    id = cursor_bytes(&c, SHA256_LEN);
    if (c.bad || (r->kind != STORE_KIND_DATA && r->kind != STORE_KIND_META) ||
        !codec_possible(r->codec, r->raw_len, r->stored_len)) {
        return err_set(e, ERR_CORRUPT, "a malformed chunk");
    }
    memcpy(r->id.b, id, SHA256_LEN);
    r->taken_bytes += r->raw_len;
    if (r->o.max_bytes != 0 && r->taken_bytes > r->o.max_bytes && r->o.more != NULL &&
        r->o.more(r->o.more_ctx, r->taken_bytes, &r->o.max_bytes, e) != 0) {
        return -1;
    }
    if (r->o.max_bytes != 0 && r->taken_bytes > r->o.max_bytes) {
        return err_set(e, ERR_SPACE, "more than the %llu bytes that may be sent here",
                       (unsigned long long)r->o.max_bytes);
    }
    r->in_chunk = true;
    buf_reset(&r->stored);
    buf_reserve(&r->stored, r->stored_len);
    return add_stored(r, c.at, c.left, e);
}

/* ---- TREE → MISSING, UNKNOWN, DONE ---- */

struct missing {
    struct sync_recv *r;
    struct sha256 *batch; /* HAS_BATCH */
    size_t n_batch;
    struct sha256 *ids; /* MISSING_MAX */
    size_t n;
};

static int
look_up_batch(struct missing *m, struct err *e)
{
    uint8_t bits[HAS_BATCH / 8];

    if (m->n_batch == 0) {
        return 0;
    }
    if (store_has(m->r->store, m->batch, m->n_batch, bits, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < m->n_batch && m->n < MISSING_MAX; i++) {
        if ((bits[i / 8] >> (i % 8) & 1) == 0) {
            m->ids[m->n++] = m->batch[i];
        }
    }
    m->n_batch = 0;
    return 0;
}

static int
need(struct missing *m, const struct sha256 *id, struct err *e)
{
    m->batch[m->n_batch++] = *id;
    return m->n_batch == HAS_BATCH ? look_up_batch(m, e) : 0;
}

static int
look_at_contents(struct missing *m, struct tree_reader *reader, struct tree_part *part,
                 struct err *e)
{
    const struct tree_group *g;

    while (m->n == 0) {
        if (tree_next(reader, &g, e) != 0) {
            return -1;
        }
        if (g == NULL) {
            break;
        }
        if (part != NULL && !tree_part_needs(part, g)) {
            continue;
        }
        for (size_t i = 0; i < g->n_chunks; i++) {
            if (need(m, &g->chunks[i].id, e) != 0) {
                return -1;
            }
        }
    }
    return look_up_batch(m, e);
}

/* First the tree's own chunks: without them nobody can say what else it needs. */
static int
look_for_missing(struct missing *m, const struct sha256 *tree, struct err *e)
{
    struct tree_source source = tree_source_store(m->r->store);
    struct tree_reader *reader = NULL;
    struct tree_part *part = NULL;
    const struct tree_chunk *meta;
    size_t n_meta = 0;
    int rc = -1;

    if (tree_open(&reader, tree, &source, e) != 0) {
        goto out;
    }
    meta = tree_meta_chunks(reader, &n_meta);
    for (size_t i = 0; i < n_meta; i++) {
        if (need(m, &meta[i].id, e) != 0) {
            goto out;
        }
    }
    if (look_up_batch(m, e) != 0) {
        goto out;
    }
    if (m->n == 0 && m->r->o.only != NULL &&
        tree_part_open(&part, tree, &source, m->r->o.only, e) != 0) {
        goto out;
    }
    rc = look_at_contents(m, reader, part, e);

out:
    tree_part_close(part);
    tree_close(reader);
    return rc;
}

static void
say_missing(struct sync_recv *r, const struct missing *m)
{
    for (size_t at = 0; at < m->n; at += SYNC_IDS_PER_FRAME) {
        size_t n = m->n - at < SYNC_IDS_PER_FRAME ? m->n - at : SYNC_IDS_PER_FRAME;

        sync_put_header(&r->out, SYNC_MISSING, 8 + n * SHA256_LEN);
        buf_add_u64(&r->out, at + n == m->n ? 1 : 0);
        buf_add(&r->out, m->ids + at, n * SHA256_LEN);
        r->stats.n_wanted += n;
    }
}

static int
take_tree(struct sync_recv *r, const uint8_t *p, size_t len, struct err *e)
{
    struct missing m = {.r = r};
    struct sha256 tree;
    uint8_t here = 0;
    int rc = -1;

    if (len != SHA256_LEN) {
        return err_set(e, ERR_CORRUPT, "a tree id of %zu bytes", len);
    }
    memcpy(tree.b, p, SHA256_LEN);
    if (store_has(r->store, &tree, 1, &here, e) != 0) {
        return -1;
    }
    if ((here & 1) == 0) {
        sync_put_header(&r->out, SYNC_UNKNOWN, SHA256_LEN);
        buf_add(&r->out, tree.b, SHA256_LEN);
        return 0;
    }
    m.batch = xmalloc(HAS_BATCH * sizeof *m.batch);
    m.ids = xmalloc(MISSING_MAX * sizeof *m.ids);
    if (look_for_missing(&m, &tree, e) != 0) {
        goto out;
    }
    if (m.n > 0) {
        say_missing(r, &m);
        rc = 0;
        goto out;
    }
    if (commit(r, e) != 0) {
        goto out;
    }
    r->state = SYNC_DONE;
    r->tree = tree;
    sync_put_header(&r->out, SYNC_DONE_FRAME, SHA256_LEN);
    buf_add(&r->out, tree.b, SHA256_LEN);
    rc = 0;

out:
    free(m.batch);
    free(m.ids);
    return rc;
}

/* ---- bytes ---- */

static int
take_frame(struct sync_recv *r, enum sync_frame type, const uint8_t *p, size_t len,
           struct err *e)
{
    if (r->in_chunk != (type == SYNC_MORE)) {
        return err_set(e, ERR_CORRUPT, "a chunk in pieces that do not follow each other");
    }
    if (r->state != SYNC_RUNNING) {
        return err_set(e, ERR_CORRUPT, "more after the tree was whole");
    }
    switch (type) {
    case SYNC_OFFER:
        return take_offer(r, p, len, e);
    case SYNC_CHUNK:
        return take_chunk(r, p, len, e);
    case SYNC_MORE:
        return len == 0 ? err_set(e, ERR_CORRUPT, "an empty piece of a chunk")
                        : add_stored(r, p, len, e);
    case SYNC_TREE:
        return take_tree(r, p, len, e);
    case SYNC_FRAME_NONE:
    case SYNC_WANT:
    case SYNC_MISSING:
    case SYNC_UNKNOWN:
    case SYNC_DONE_FRAME:
    case SYNC_FAIL:
        break;
    }
    return err_set(e, ERR_CORRUPT, "a frame that only a receiver may send (%d)", type);
}

int
sync_recv_input(struct sync_recv *r, const void *data, size_t n, struct err *e)
{
    size_t at = 0;
    enum sync_frame type;
    const uint8_t *payload;
    size_t len;
    bool got;

    if (r->state == SYNC_FAILED) {
        return err_set(e, ERR_INVALID, "the transfer failed before");
    }
    buf_add(&r->in, data, n);
    r->stats.wire_bytes += n;
    for (;;) {
        if (sync_next_frame(&r->in, &at, &type, &payload, &len, &got, e) != 0 ||
            (got && take_frame(r, type, payload, len, e) != 0)) {
            r->state = SYNC_FAILED;
            sync_put_fail(&r->out, e, r->o.forms);
            return -1;
        }
        if (!got) {
            break;
        }
    }
    buf_drop_front(&r->in, at);
    return 0;
}

const uint8_t *
sync_recv_output(struct sync_recv *r, size_t *len)
{
    *len = r->out.len - r->out_at;
    return *len == 0 ? NULL : r->out.data + r->out_at;
}

void
sync_recv_sent(struct sync_recv *r, size_t n)
{
    r->out_at += n;
    if (r->out_at == r->out.len) {
        buf_reset(&r->out);
        r->out_at = 0;
    }
}

enum sync_state
sync_recv_state(const struct sync_recv *r, struct sha256 *tree_id)
{
    if (r->state == SYNC_DONE && tree_id != NULL) {
        *tree_id = r->tree;
    }
    return r->state;
}

void
sync_recv_stats(const struct sync_recv *r, struct sync_stats *out)
{
    *out = r->stats;
}
