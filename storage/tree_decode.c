#include "storage/tree.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storage/arena.h"
#include "storage/tree_internal.h"

struct tree_arena {
    struct tree_entry *entries;
    size_t entries_cap;
    struct tree_chunk *chunks;
    size_t chunks_cap;
    struct arena heap;
};

struct tree_arena *
tree_arena_new(void)
{
    return xcalloc(1, sizeof(struct tree_arena));
}

void
tree_arena_free(struct tree_arena *a)
{
    if (a == NULL) {
        return;
    }
    arena_free(&a->heap);
    free(a->entries);
    free(a->chunks);
    free(a);
}

size_t
tree_arena_held(const struct tree_arena *a)
{
    return sizeof *a + a->entries_cap * sizeof *a->entries +
           a->chunks_cap * sizeof *a->chunks + arena_held(&a->heap);
}

struct owner {
    uint32_t uid;
    uint32_t gid;
    const char *user;
    const char *group;
};

struct decoder {
    struct cursor c;
    struct tree_arena *a;
    struct owner *owners;
    size_t n_owners;
    const char *why; /* what is wrong; NULL: lengths alone */
};

static bool
wrong(struct decoder *d, const char *why)
{
    if (d->why == NULL) {
        d->why = why;
    }
    d->c.bad = true;
    return false;
}

/* A text without NUL, of min..max bytes, copied to the arena; NULL if wrong. */
static const char *
get_text(struct decoder *d, size_t min, size_t max, size_t *len)
{
    uint64_t n = cursor_varint(&d->c);
    const uint8_t *p;

    if (d->c.bad || n < min || n > max) {
        (void)wrong(d, "a length");
        return NULL;
    }
    p = cursor_bytes(&d->c, (size_t)n);
    if (p == NULL || memchr(p, 0, (size_t)n) != NULL) {
        (void)wrong(d, "a text");
        return NULL;
    }
    if (len != NULL) {
        *len = (size_t)n;
    }
    return arena_text(&d->a->heap, p, (size_t)n);
}

static uint32_t
get_u32_varint(struct decoder *d, uint32_t max)
{
    uint64_t v = cursor_varint(&d->c);

    if (v > max) {
        (void)wrong(d, "a number");
        return 0;
    }
    return (uint32_t)v;
}

static bool
get_owners(struct decoder *d, size_t n_entries)
{
    uint64_t n = cursor_varint(&d->c);

    if (d->c.bad || n == 0 || n > n_entries) {
        return wrong(d, "the owners");
    }
    d->n_owners = (size_t)n;
    d->owners = arena_alloc(&d->a->heap, (size_t)n * sizeof *d->owners);
    for (size_t i = 0; i < d->n_owners; i++) {
        struct owner *o = &d->owners[i];

        o->uid = get_u32_varint(d, UINT32_MAX);
        o->gid = get_u32_varint(d, UINT32_MAX);
        o->user = get_text(d, 0, TREE_OWNER_MAX_BYTES, NULL);
        o->group = get_text(d, 0, TREE_OWNER_MAX_BYTES, NULL);
        if (d->c.bad) {
            return false;
        }
    }
    return true;
}

static bool
get_path(struct decoder *d, struct tree_entry *entry, const struct tree_entry *prev)
{
    uint64_t shared = cursor_varint(&d->c);
    uint64_t n = cursor_varint(&d->c);
    const uint8_t *p;
    char *path;

    if (d->c.bad || n > TREE_PATH_MAX_BYTES || (prev == NULL && shared != 0) ||
        (prev != NULL && shared > prev->path_len) || shared + n > TREE_PATH_MAX_BYTES) {
        return wrong(d, "the length of a path");
    }
    p = cursor_bytes(&d->c, (size_t)n);
    if (p == NULL) {
        return false;
    }
    entry->path_len = (size_t)(shared + n);
    path = arena_bytes(&d->a->heap, entry->path_len + 1);
    if (shared != 0) {
        memcpy(path, prev->path, (size_t)shared);
    }
    memcpy(path + shared, p, (size_t)n);
    path[entry->path_len] = '\0';
    entry->path = path;
    if (!tree_path_ok(path, entry->path_len)) {
        return wrong(d, "a path");
    }
    if (prev != NULL &&
        tree_path_cmp(prev->path, prev->path_len, path, entry->path_len) >= 0) {
        return wrong(d, "the order of paths");
    }
    return true;
}

static bool
get_flags(struct decoder *d, struct tree_entry *entry, const struct tree_entry *prev,
          size_t *owner, bool *has_xattrs)
{
    unsigned head = cursor_u8(&d->c);
    unsigned extra = (head & TREE_HAS_EXTRA) != 0 ? cursor_u8(&d->c) : 0;
    unsigned type = head & 0x0f;
    unsigned damage = extra & 0x07;

    if (d->c.bad || type < TREE_DIR || type > TREE_WHITEOUT || damage > TREE_CHANGED ||
        extra >= 2 * TREE_EXTRA_SPARSE || ((head & TREE_HAS_EXTRA) != 0 && extra == 0)) {
        return wrong(d, "the type of an entry");
    }
    entry->type = (enum tree_type)type;
    entry->damage = (enum tree_damage)damage;
    entry->opaque = (extra & TREE_EXTRA_OPAQUE) != 0;
    entry->hard_link = (extra & TREE_EXTRA_LINK) != 0;
    entry->sparse = (extra & TREE_EXTRA_SPARSE) != 0;
    if ((entry->opaque && type != TREE_DIR) ||
        (entry->hard_link && (type == TREE_DIR || type == TREE_WHITEOUT)) ||
        (entry->sparse && type != TREE_FILE) ||
        (entry->hard_link && (entry->sparse || damage != TREE_WHOLE)) ||
        (entry->sparse && damage != TREE_WHOLE && damage != TREE_CHANGED)) {
        return wrong(d, "the marks of an entry");
    }
    *has_xattrs = (head & TREE_HAS_XATTRS) != 0;
    if ((head & TREE_HAS_OWNER) != 0) {
        *owner = get_u32_varint(d, (uint32_t)d->n_owners - 1);
    }
    entry->mode = prev != NULL ? prev->mode : 0;
    if ((head & TREE_HAS_MODE) != 0) {
        entry->mode = get_u32_varint(d, 07777);
    }
    return !d->c.bad;
}

static bool
get_xattrs(struct decoder *d, struct tree_entry *entry)
{
    uint64_t n = cursor_varint(&d->c);
    struct tree_xattr *x;
    size_t total = 0;

    if (d->c.bad || n == 0 || n > TREE_XATTRS_MAX) {
        return wrong(d, "the number of extended attributes");
    }
    x = arena_alloc(&d->a->heap, (size_t)n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        uint64_t len;

        x[i].name = get_text(d, 1, TREE_XATTR_NAME_MAX, NULL);
        len = cursor_varint(&d->c);
        if (d->c.bad || len > TREE_XATTR_VALUE_MAX ||
            (i > 0 && strcmp(x[i - 1].name, x[i].name) >= 0)) {
            return wrong(d, "an extended attribute");
        }
        x[i].value = cursor_bytes(&d->c, (size_t)len);
        if (x[i].value == NULL) {
            return false;
        }
        x[i].value = (const uint8_t *)arena_text(&d->a->heap, x[i].value, (size_t)len);
        x[i].len = (size_t)len;
        total += x[i].len + strlen(x[i].name);
    }
    if (total > TREE_XATTRS_MAX_BYTES) {
        return wrong(d, "the length of the extended attributes");
    }
    entry->xattrs = x;
    entry->n_xattrs = (size_t)n;
    return true;
}

static bool
get_extents(struct decoder *d, struct tree_entry *entry)
{
    uint64_t n = cursor_varint(&d->c);
    struct tree_extent *x;
    uint64_t end = 0;

    /* two bytes at least for each: a short group cannot ask for much memory */
    if (d->c.bad || n > TREE_EXTENTS_MAX || n > d->c.left / 2) {
        return wrong(d, "the number of extents");
    }
    x = arena_alloc(&d->a->heap, (size_t)n * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        uint64_t gap = cursor_varint(&d->c);
        uint64_t len = cursor_varint(&d->c);

        if (d->c.bad || len == 0 || (gap == 0 && i > 0) || gap > entry->size - end ||
            len > entry->size - end - gap) {
            return wrong(d, "an extent");
        }
        x[i].at = end + gap;
        x[i].len = len;
        end = x[i].at + len;
        entry->stored += len;
    }
    entry->extents = x;
    entry->n_extents = (size_t)n;
    return true;
}

static bool
get_link(struct decoder *d, struct tree_entry *entry)
{
    entry->target = get_text(d, 1, TREE_PATH_MAX_BYTES, &entry->target_len);
    if (entry->target == NULL || !tree_path_ok(entry->target, entry->target_len) ||
        tree_path_cmp(entry->target, entry->target_len, entry->path, entry->path_len) >=
            0) {
        return wrong(d, "a hard link");
    }
    return true;
}

static bool
get_size(struct decoder *d, struct tree_entry *entry)
{
    entry->size = cursor_varint(&d->c);
    if (d->c.bad || entry->size > TREE_SIZE_MAX) {
        return wrong(d, "the size of a file");
    }
    if (!entry->sparse && !entry->hard_link &&
        (entry->damage == TREE_WHOLE || entry->damage == TREE_CHANGED)) {
        entry->stored = entry->size;
    }
    return true;
}

static bool
get_what(struct decoder *d, struct tree_entry *entry)
{
    if (entry->type == TREE_FILE && !get_size(d, entry)) {
        return false;
    }
    if (entry->hard_link) {
        return get_link(d, entry);
    }
    if (entry->type == TREE_SYMLINK) {
        /* a damaged one may have no text */
        entry->target = get_text(d, entry->damage == TREE_WHOLE ? 1 : 0,
                                 TREE_TARGET_MAX_BYTES, &entry->target_len);
    }
    if (entry->type == TREE_CHAR || entry->type == TREE_BLOCK) {
        entry->dev_major = get_u32_varint(d, UINT32_MAX);
        entry->dev_minor = get_u32_varint(d, UINT32_MAX);
    }
    return !d->c.bad;
}

static bool
get_entry(struct decoder *d, struct tree_entry *entry, const struct tree_entry *prev,
          size_t *owner)
{
    bool has_xattrs = false;
    uint64_t delta;

    memset(entry, 0, sizeof *entry);
    if (!get_path(d, entry, prev) || !get_flags(d, entry, prev, owner, &has_xattrs)) {
        return false;
    }
    entry->uid = d->owners[*owner].uid;
    entry->gid = d->owners[*owner].gid;
    entry->user = d->owners[*owner].user;
    entry->group = d->owners[*owner].group;
    delta = (uint64_t)unzigzag(cursor_varint(&d->c));
    entry->mtime_ns = (int64_t)(delta + (prev != NULL ? (uint64_t)prev->mtime_ns : 0));
    return get_what(d, entry) && (!has_xattrs || get_xattrs(d, entry)) &&
           (!entry->sparse || get_extents(d, entry)) && !d->c.bad;
}

static bool
get_entries(struct decoder *d, struct tree_group *g)
{
    uint64_t n = cursor_varint(&d->c);
    size_t owner = 0;

    if (d->c.bad || n > TREE_GROUP_ENTRIES_MAX || (n == 0) != g->continues ||
        (g->more && n > 1)) {
        return wrong(d, "the number of entries");
    }
    if (n > d->a->entries_cap) {
        d->a->entries_cap = (size_t)n;
        d->a->entries = xrealloc(d->a->entries, (size_t)n * sizeof *d->a->entries);
    }
    if (n > 0 && !get_owners(d, (size_t)n)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        struct tree_entry *entry = &d->a->entries[i];

        if (!get_entry(d, entry, i > 0 ? entry - 1 : NULL, &owner)) {
            return false;
        }
    }
    g->entries = d->a->entries;
    g->n_entries = (size_t)n;
    return true;
}

static bool
get_chunks(struct decoder *d, struct tree_group *g)
{
    uint64_t n = cursor_varint(&d->c);

    if (d->c.bad || n > TREE_GROUP_CHUNKS_MAX) {
        return wrong(d, "the number of chunks");
    }
    if (n > d->a->chunks_cap) {
        d->a->chunks_cap = (size_t)n;
        d->a->chunks = xrealloc(d->a->chunks, (size_t)n * sizeof *d->a->chunks);
    }
    for (size_t i = 0; i < n; i++) {
        const uint8_t *id = cursor_bytes(&d->c, SHA256_LEN);

        if (id == NULL) {
            return false;
        }
        memcpy(d->a->chunks[i].id.b, id, SHA256_LEN);
        d->a->chunks[i].len = get_u32_varint(d, (uint32_t)STORE_CHUNK_MAX_BYTES);
        if (d->c.bad || d->a->chunks[i].len == 0) {
            return wrong(d, "a chunk");
        }
    }
    g->chunks = d->a->chunks;
    g->n_chunks = (size_t)n;
    return true;
}

/* Do the chunks hold just what the entries say? (Parts of a big file: the reader adds
 * up.) */
static bool
lengths_agree(struct decoder *d, const struct tree_group *g)
{
    uint64_t want = 0;
    uint64_t have = 0;

    for (size_t i = 0; i < g->n_entries; i++) {
        if (g->entries[i].stored > TREE_SIZE_MAX - want) {
            return wrong(d, "the sum of sizes");
        }
        want += g->entries[i].stored;
    }
    for (size_t i = 0; i < g->n_chunks; i++) {
        have += g->chunks[i].len;
    }
    if (!g->continues && !g->more && want != have) {
        return wrong(d, "the sum of chunk lengths");
    }
    return true;
}

int
tree_group_decode(struct tree_arena *a, const void *data, size_t len,
                  struct tree_group *g, struct err *e)
{
    struct decoder d = {.c = cursor_of(data, len), .a = a};
    struct tree_group got = {0};
    unsigned flags;

    arena_reset(&a->heap);
    flags = cursor_u8(&d.c);
    got.continues = (flags & TREE_GROUP_CONTINUES) != 0;
    got.more = (flags & TREE_GROUP_MORE) != 0;
    if (flags > (TREE_GROUP_CONTINUES | TREE_GROUP_MORE)) {
        (void)wrong(&d, "the marks of a group");
    }
    if (d.c.bad || !get_entries(&d, &got) || !get_chunks(&d, &got) ||
        !lengths_agree(&d, &got) || !cursor_done(&d.c)) {
        return err_set(e, ERR_CORRUPT, "not a tree: %s is wrong",
                       d.why != NULL ? d.why : "the length of a group");
    }
    *g = got;
    return 0;
}
