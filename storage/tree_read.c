#include "storage/tree.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "storage/tree_internal.h"

/* A root of the most chunks it may list. */
#define ROOT_MAX_BYTES (TREE_MAGIC_LEN + 8 * 10 + TREE_ROOT_CHUNKS_MAX * (SHA256_LEN + 4))
#define READ_BYTES     ((size_t)128 * 1024)

_Static_assert(ROOT_MAX_BYTES <= STORE_CHUNK_MAX_BYTES, "a root is one chunk");

struct tree_reader {
    struct tree_source source; /* get NULL: a stream */
    int (*read)(void *ctx, void *to, size_t n, size_t *got, struct err *e);
    void *read_ctx;
    struct tree_chunk *chunks;
    size_t n_chunks;
    uint32_t root_len;
    size_t next_chunk;
    bool input_ended;
    struct buf input; /* bytes not yet decoded are at pos */
    size_t pos;
    size_t frame; /* where the last group's bytes begin */
    struct tree_arena *arena;
    struct tree_group group;
    struct tree_totals want; /* as the root says */
    struct tree_totals seen;
    struct buf prev; /* path of the last entry */
    bool prev_is_dir;
    bool any;
    bool in_file;       /* the last group's file goes on */
    uint64_t file_left; /* bytes of it still to come */
};

void
tree_close(struct tree_reader *r)
{
    if (r == NULL) {
        return;
    }
    tree_arena_free(r->arena);
    buf_free(&r->input);
    buf_free(&r->prev);
    free(r->chunks);
    free(r);
}

static int
check_magic(struct cursor *c, struct err *e)
{
    const uint8_t *magic = cursor_bytes(c, TREE_MAGIC_LEN);

    if (magic == NULL || memcmp(magic, TREE_MAGIC, TREE_MAGIC_KIND) != 0) {
        return err_set(e, ERR_CORRUPT, "not a tree");
    }
    if (memcmp(magic, TREE_MAGIC, TREE_MAGIC_LEN) != 0) {
        return err_set(e, ERR_VERSION, "a tree of another version");
    }
    return 0;
}

static int
decode_root(struct tree_reader *r, const struct buf *root, struct err *e)
{
    struct cursor c = cursor_of(root->data, root->len);
    uint64_t sum = 0;
    uint64_t n;

    if (check_magic(&c, e) != 0) {
        return -1;
    }
    r->want.n_entries = cursor_varint(&c);
    r->want.n_files = cursor_varint(&c);
    r->want.bytes = cursor_varint(&c);
    r->want.stored = cursor_varint(&c);
    r->want.n_damaged = cursor_varint(&c);
    r->want.n_changed = cursor_varint(&c);
    r->want.meta_bytes = cursor_varint(&c);
    n = cursor_varint(&c);
    if (c.bad || n == 0 || n > TREE_ROOT_CHUNKS_MAX) {
        return err_set(e, ERR_CORRUPT, "not a tree: the root is wrong");
    }
    r->n_chunks = (size_t)n;
    r->chunks = xcalloc((size_t)n, sizeof *r->chunks);
    for (size_t i = 0; i < r->n_chunks; i++) {
        const uint8_t *id = cursor_bytes(&c, SHA256_LEN);
        uint64_t len = cursor_varint(&c);

        if (c.bad || len == 0 || len > STORE_CHUNK_MAX_BYTES) {
            return err_set(e, ERR_CORRUPT, "not a tree: the root is wrong");
        }
        memcpy(r->chunks[i].id.b, id, SHA256_LEN);
        r->chunks[i].len = (uint32_t)len;
        sum += len;
    }
    if (!cursor_done(&c) || sum != r->want.meta_bytes) {
        return err_set(e, ERR_CORRUPT, "not a tree: the root is wrong");
    }
    return 0;
}

static struct tree_reader *
reader_new(void)
{
    struct tree_reader *r = xcalloc(1, sizeof *r);

    r->arena = tree_arena_new();
    return r;
}

/* Whoever names a tree takes it to be there. */
static int
cannot_read(struct err *e)
{
    if (e->code == ERR_NOT_FOUND) {
        e->code = ERR_CORRUPT;
    }
    return err_wrap(e, "cannot read the tree");
}

int
tree_open(struct tree_reader **out, const struct sha256 *tree_id,
          const struct tree_source *source, struct err *e)
{
    struct tree_reader *r = reader_new();
    struct buf root = BUF_INIT;
    int rc = -1;

    r->source = *source;
    if (source->get(source->ctx, tree_id, &root, e) != 0) {
        (void)cannot_read(e);
        goto out;
    }
    if (decode_root(r, &root, e) != 0) {
        goto out;
    }
    r->root_len = (uint32_t)root.len;
    *out = r;
    r = NULL;
    rc = 0;

out:
    buf_free(&root);
    tree_close(r);
    return rc;
}

int
tree_open_stream(struct tree_reader **out,
                 int (*read)(void *ctx, void *to, size_t n, size_t *got, struct err *e),
                 void *ctx, struct err *e)
{
    struct tree_reader *r = reader_new();

    (void)e;
    r->read = read;
    r->read_ctx = ctx;
    *out = r;
    return 0;
}

const uint8_t *
tree_encoded(const struct tree_reader *r, size_t *len)
{
    *len = r->pos - r->frame;
    return r->input.data + r->frame;
}

struct tree_arena *
tree_take_arena(struct tree_reader *r)
{
    struct tree_arena *a = r->arena;

    r->arena = tree_arena_new();
    return a;
}

const struct tree_totals *
tree_totals(const struct tree_reader *r)
{
    return &r->want;
}

uint32_t
tree_root_len(const struct tree_reader *r)
{
    return r->root_len;
}

const struct tree_chunk *
tree_meta_chunks(const struct tree_reader *r, size_t *n)
{
    *n = r->n_chunks;
    return r->chunks;
}

static int
read_stream(struct tree_reader *r, struct err *e)
{
    size_t got = 0;

    buf_reserve(&r->input, READ_BYTES);
    if (r->read(r->read_ctx, r->input.data + r->input.len, READ_BYTES, &got, e) != 0) {
        return -1;
    }
    assert(got <= READ_BYTES);
    r->input.len += got;
    r->input_ended = got == 0;
    return 0;
}

static int
read_chunk(struct tree_reader *r, struct err *e)
{
    const struct tree_chunk *c;
    size_t before = r->input.len;

    if (r->next_chunk == r->n_chunks) {
        r->input_ended = true;
        return 0;
    }
    c = &r->chunks[r->next_chunk++];
    if (r->source.get(r->source.ctx, &c->id, &r->input, e) != 0) {
        return cannot_read(e);
    }
    if (r->input.len - before != c->len) {
        return err_set(e, ERR_CORRUPT, "not a tree: the length of a chunk is wrong");
    }
    return 0;
}

static int
read_more(struct tree_reader *r, struct err *e)
{
    buf_drop_front(&r->input, r->pos);
    r->pos = 0;
    return r->source.get != NULL ? read_chunk(r, e) : read_stream(r, e);
}

/* The next frame's bytes; NULL in *data at the end of the input. */
static int
next_frame(struct tree_reader *r, const uint8_t **data, size_t *len, struct err *e)
{
    for (;;) {
        size_t left = r->input.len - r->pos;
        struct cursor c = cursor_of(left != 0 ? r->input.data + r->pos : NULL, left);
        uint64_t n = cursor_varint(&c);

        if (!c.bad && n > TREE_GROUP_MAX_BYTES) {
            return err_set(e, ERR_CORRUPT, "not a tree: a group is too long");
        }
        if (!c.bad && n <= c.left) {
            *data = c.at;
            *len = (size_t)n;
            r->frame = r->pos;
            r->pos = r->input.len - c.left + (size_t)n;
            r->seen.meta_bytes += left - c.left + n;
            return 0;
        }
        if (r->input_ended) {
            *data = NULL;
            return left == 0 ? 0
                             : err_set(e, ERR_CORRUPT, "not a tree: it ends too early");
        }
        if (read_more(r, e) != 0) {
            return -1;
        }
    }
}

/* Is the parent of path a directory that was there before? See tree.h on order. */
static bool
parent_is_known(const struct tree_reader *r, const struct tree_entry *entry)
{
    const char *slash = memrchr(entry->path, '/', entry->path_len);
    size_t parent_len = slash != NULL ? (size_t)(slash - entry->path) : 0;

    if (parent_len == 0 || (parent_len == r->prev.len && r->prev_is_dir)) {
        return tree_path_beneath(entry->path, entry->path_len, "", 0) &&
               (parent_len == 0 || memcmp(entry->path, r->prev.data, parent_len) == 0);
    }
    /* All directories above the entry before were checked when it came. */
    return r->prev.len > parent_len && r->prev.data[parent_len] == '/' &&
           memcmp(entry->path, r->prev.data, parent_len) == 0;
}

static int
check_entry(struct tree_reader *r, const struct tree_entry *entry, struct err *e)
{
    if (!r->any) {
        if (entry->path_len != 0 || entry->type != TREE_DIR) {
            return err_set(e, ERR_CORRUPT, "not a tree: it does not begin with a root");
        }
    } else if (tree_path_cmp((const char *)r->prev.data, r->prev.len, entry->path,
                             entry->path_len) >= 0) {
        return err_set(e, ERR_CORRUPT, "not a tree: the order of paths is wrong");
    } else if (!parent_is_known(r, entry)) {
        return err_set(e, ERR_CORRUPT, "not a tree: an entry is in no directory");
    }
    r->any = true;
    buf_reset(&r->prev);
    buf_add(&r->prev, entry->path, entry->path_len);
    r->prev_is_dir = entry->type == TREE_DIR;
    tree_count(&r->seen, entry);
    return 0;
}

/* Parts of one big file must follow one another and add up. */
static int
check_parts(struct tree_reader *r, const struct tree_group *g, struct err *e)
{
    uint64_t have = 0;

    if (g->continues != r->in_file) {
        return err_set(e, ERR_CORRUPT, "not a tree: parts of a file do not follow");
    }
    if (!g->continues && !g->more) {
        return 0; /* the decoder compared */
    }
    if (!g->continues) {
        r->file_left = g->entries[0].stored;
    }
    for (size_t i = 0; i < g->n_chunks; i++) {
        have += g->chunks[i].len;
    }
    if (have > r->file_left || (!g->more && have != r->file_left) || g->n_chunks == 0) {
        return err_set(e, ERR_CORRUPT, "not a tree: parts of a file do not add up");
    }
    r->file_left -= have;
    r->in_file = g->more;
    return 0;
}

static int
check_end(const struct tree_reader *r, struct err *e)
{
    bool agree = r->source.get == NULL || memcmp(&r->want, &r->seen, sizeof r->want) == 0;

    if (!r->any || r->in_file || !agree) {
        return err_set(e, ERR_CORRUPT, "not a tree: it is not complete");
    }
    return 0;
}

int
tree_next(struct tree_reader *r, const struct tree_group **g, struct err *e)
{
    const uint8_t *data = NULL;
    size_t len = 0;

    if (next_frame(r, &data, &len, e) != 0) {
        return -1;
    }
    if (data == NULL) {
        *g = NULL;
        return check_end(r, e);
    }
    if (tree_group_decode(r->arena, data, len, &r->group, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < r->group.n_entries; i++) {
        if (check_entry(r, &r->group.entries[i], e) != 0) {
            return -1;
        }
    }
    if (check_parts(r, &r->group, e) != 0) {
        return -1;
    }
    *g = &r->group;
    return 0;
}

int
tree_walk_chunks(const struct sha256 *tree_id, const struct tree_source *source,
                 int (*visit)(void *ctx, enum store_kind kind, const struct tree_chunk *c,
                              struct err *e),
                 void *ctx, struct err *e)
{
    struct tree_reader *r = NULL;
    const struct tree_group *g = NULL;
    struct tree_chunk root = {.id = *tree_id};
    int rc = -1;

    if (tree_open(&r, tree_id, source, e) != 0) {
        return -1;
    }
    root.len = r->root_len;
    if (visit(ctx, STORE_KIND_META, &root, e) != 0) {
        goto out;
    }
    for (size_t i = 0; i < r->n_chunks; i++) {
        if (visit(ctx, STORE_KIND_META, &r->chunks[i], e) != 0) {
            goto out;
        }
    }
    for (;;) {
        if (tree_next(r, &g, e) != 0) {
            goto out;
        }
        if (g == NULL) {
            break;
        }
        for (size_t i = 0; i < g->n_chunks; i++) {
            if (visit(ctx, STORE_KIND_DATA, &g->chunks[i], e) != 0) {
                goto out;
            }
        }
    }
    rc = 0;

out:
    tree_close(r);
    return rc;
}

static int
get_from_store(void *ctx, const struct sha256 *id, struct buf *out, struct err *e)
{
    return store_get(ctx, id, out, e);
}

struct tree_source
tree_source_store(struct store *s)
{
    return (struct tree_source){.ctx = s, .get = get_from_store};
}
