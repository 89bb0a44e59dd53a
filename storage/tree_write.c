#include "storage/tree.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "storage/chunker.h"
#include "storage/tree_internal.h"

struct tree_writer {
    struct tree_sink sink;
    struct chunker *chunker;
    struct tree_totals totals;
    struct tree_chunk *chunks; /* of the encoding */
    size_t n_chunks;
    size_t cap_chunks;
    struct buf frame; /* one encoded group, and its length before it */
    struct buf head;
};

struct tree_writer *
tree_writer_new(const struct tree_sink *sink)
{
    struct tree_writer *w = xcalloc(1, sizeof *w);

    w->sink = *sink;
    w->chunker = chunker_new();
    return w;
}

void
tree_writer_free(struct tree_writer *w)
{
    if (w == NULL) {
        return;
    }
    chunker_free(w->chunker);
    buf_free(&w->frame);
    buf_free(&w->head);
    free(w->chunks);
    free(w);
}

void
tree_count(struct tree_totals *t, const struct tree_entry *entry)
{
    t->n_entries++;
    if (entry->type == TREE_FILE && !entry->hard_link) {
        t->n_files++;
        t->bytes += entry->size;
        t->stored += entry->stored;
    }
    t->n_changed += entry->damage == TREE_CHANGED;
    t->n_damaged += entry->damage != TREE_WHOLE && entry->damage != TREE_CHANGED;
}

/* Put what the chunker is sure of. */
static int
put_cut(struct tree_writer *w, struct err *e)
{
    const uint8_t *data;
    size_t len;

    while (chunker_next(w->chunker, &data, &len)) {
        struct tree_chunk *c;

        if (w->n_chunks == TREE_ROOT_CHUNKS_MAX) {
            return err_set(e, ERR_RANGE, "the tree has too many entries");
        }
        if (w->n_chunks == w->cap_chunks) {
            w->cap_chunks = w->cap_chunks == 0 ? 16 : 2 * w->cap_chunks;
            w->chunks = xrealloc(w->chunks, w->cap_chunks * sizeof *w->chunks);
        }
        c = &w->chunks[w->n_chunks++];
        c->len = (uint32_t)len;
        sha256_of(data, len, &c->id);
        if (w->sink.put(w->sink.ctx, STORE_KIND_META, &c->id, data, len, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static int
add_bytes(struct tree_writer *w, const uint8_t *data, size_t len, struct err *e)
{
    while (len > 0) {
        size_t room;
        uint8_t *to = chunker_space(w->chunker, &room);
        size_t n = len < room ? len : room;

        memcpy(to, data, n);
        chunker_filled(w->chunker, n);
        data += n;
        len -= n;
        if (put_cut(w, e) != 0) {
            return -1;
        }
    }
    return 0;
}

static int
add_group(struct tree_writer *w, const struct tree_group *g, struct buf *encoded,
          struct err *e)
{
    buf_reset(&w->head);
    buf_reset(&w->frame);
    tree_group_encode(g, &w->frame);
    if (w->frame.len > TREE_GROUP_MAX_BYTES) {
        return err_set(e, ERR_RANGE, "'%s' has too much metadata",
                       g->n_entries > 0 ? g->entries[0].path : "");
    }
    buf_add_varint(&w->head, w->frame.len);
    w->totals.meta_bytes += w->head.len + w->frame.len;
    if (encoded != NULL) {
        buf_add(encoded, w->head.data, w->head.len);
        buf_add(encoded, w->frame.data, w->frame.len);
    }
    if (add_bytes(w, w->head.data, w->head.len, e) != 0) {
        return -1;
    }
    return add_bytes(w, w->frame.data, w->frame.len, e);
}

/*
 * How many of the chunks make the next part of a long file. The ends depend on the
 * ids around them, so an insertion in the file changes one part and not all after it.
 */
static size_t
part_len(const struct tree_chunk *chunks, size_t n)
{
    size_t k = TREE_PART_MIN;

    if (n <= TREE_PART_MIN) {
        return n;
    }
    while (k < n && k < TREE_PART_MAX && chunks[k - 1].id.b[0] != 0) {
        k++;
    }
    return k;
}

static int
add_long_file(struct tree_writer *w, const struct tree_group *g, struct buf *encoded,
              struct err *e)
{
    struct tree_group part = *g;
    size_t done = 0;

    assert(g->n_entries == 1 && !g->continues && !g->more);
    while (done < g->n_chunks) {
        part.chunks = g->chunks + done;
        part.n_chunks = part_len(part.chunks, g->n_chunks - done);
        part.n_entries = done == 0 ? 1 : 0;
        part.continues = done > 0;
        done += part.n_chunks;
        part.more = done < g->n_chunks;
        if (add_group(w, &part, encoded, e) != 0) {
            return -1;
        }
    }
    return 0;
}

int
tree_writer_add(struct tree_writer *w, const struct tree_group *g, struct buf *encoded,
                struct err *e)
{
    bool is_long = g->n_chunks > TREE_SPLIT_ABOVE && g->n_entries == 1;

    assert(g->n_entries <= TREE_GROUP_ENTRIES_MAX);
    if ((is_long ? add_long_file : add_group)(w, g, encoded, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < g->n_entries; i++) {
        tree_count(&w->totals, &g->entries[i]);
    }
    return 0;
}

static void
encode_root(const struct tree_writer *w, struct buf *out)
{
    const struct tree_totals *t = &w->totals;

    buf_add(out, TREE_MAGIC, TREE_MAGIC_LEN);
    buf_add_varint(out, t->n_entries);
    buf_add_varint(out, t->n_files);
    buf_add_varint(out, t->bytes);
    buf_add_varint(out, t->stored);
    buf_add_varint(out, t->n_damaged);
    buf_add_varint(out, t->n_changed);
    buf_add_varint(out, t->meta_bytes);
    buf_add_varint(out, w->n_chunks);
    for (size_t i = 0; i < w->n_chunks; i++) {
        buf_add(out, w->chunks[i].id.b, SHA256_LEN);
        buf_add_varint(out, w->chunks[i].len);
    }
}

int
tree_writer_finish(struct tree_writer *w, struct sha256 *tree_id,
                   struct tree_totals *totals, struct err *e)
{
    struct buf root = BUF_INIT;
    struct sha256 id;
    int rc = -1;

    assert(w->totals.n_entries > 0);
    chunker_end(w->chunker);
    if (put_cut(w, e) != 0) {
        goto out;
    }
    encode_root(w, &root);
    sha256_of(root.data, root.len, &id);
    if (w->sink.put(w->sink.ctx, STORE_KIND_META, &id, root.data, root.len, e) != 0) {
        goto out;
    }
    *tree_id = id;
    if (totals != NULL) {
        *totals = w->totals;
    }
    rc = 0;

out:
    buf_free(&root);
    return rc;
}

static int
put_to_store(void *ctx, enum store_kind kind, const struct sha256 *id, const void *data,
             size_t len, struct err *e)
{
    struct store *s = ctx;
    struct sha256 same;
    uint8_t here = 0;

    /* Most of a tree is that of the time before: look before hashing it again. */
    if (store_has(s, id, 1, &here, e) != 0) {
        return -1;
    }
    return (here & 1) != 0 ? 0 : store_put(s, kind, data, len, &same, NULL, e);
}

struct tree_sink
tree_sink_store(struct store *s)
{
    return (struct tree_sink){.ctx = s, .put = put_to_store};
}
