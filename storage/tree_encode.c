#include "storage/tree.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "storage/tree_internal.h"

/* ---- paths ---- */

int
tree_path_cmp(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t n = a_len < b_len ? a_len : b_len;
    size_t i = 0;

    while (i + 8 <= n && memcmp(a + i, b + i, 8) == 0) {
        i += 8;
    }
    while (i < n && a[i] == b[i]) {
        i++;
    }
    if (i == n) {
        return a_len < b_len ? -1 : a_len > b_len ? 1 : 0;
    }
    /* A slash ends a component, and so stands before every other byte. */
    if (a[i] == '/' || b[i] == '/') {
        return a[i] == '/' ? -1 : 1;
    }
    return (uint8_t)a[i] < (uint8_t)b[i] ? -1 : 1;
}

static bool
component_ok(const char *name, size_t len)
{
    return len > 0 && len <= TREE_NAME_MAX_BYTES && !(len == 1 && name[0] == '.') &&
           !(len == 2 && name[0] == '.' && name[1] == '.');
}

bool
tree_path_ok(const char *path, size_t len)
{
    size_t begin = 0;

    if (len == 0) {
        return true;
    }
    if (len > TREE_PATH_MAX_BYTES || memchr(path, 0, len) != NULL) {
        return false;
    }
    for (size_t i = 0; i <= len; i++) {
        if (i == len || path[i] == '/') {
            if (!component_ok(path + begin, i - begin)) {
                return false;
            }
            begin = i + 1;
        }
    }
    return true;
}

bool
tree_path_beneath(const char *path, size_t len, const char *dir, size_t dir_len)
{
    if (dir_len == 0) {
        return true;
    }
    return len >= dir_len && memcmp(path, dir, dir_len) == 0 &&
           (len == dir_len || path[dir_len] == '/');
}

bool
tree_same_xattrs(const struct tree_entry *a, const struct tree_entry *b)
{
    if (a->n_xattrs != b->n_xattrs) {
        return false;
    }
    for (size_t i = 0; i < a->n_xattrs; i++) {
        const struct tree_xattr *x = &a->xattrs[i];
        const struct tree_xattr *y = &b->xattrs[i];

        if (strcmp(x->name, y->name) != 0 || x->len != y->len ||
            (x->len != 0 && memcmp(x->value, y->value, x->len) != 0)) {
            return false;
        }
    }
    return true;
}

/* ---- encoding ---- */

static void
add_str(struct buf *out, const void *data, size_t len)
{
    buf_add_varint(out, len);
    buf_add(out, data, len);
}

static bool
same_owner(const struct tree_entry *a, const struct tree_entry *b)
{
    return a->uid == b->uid && a->gid == b->gid && strcmp(a->user, b->user) == 0 &&
           strcmp(a->group, b->group) == 0;
}

/* The distinct owners of a group; index[i] is that of entry i. */
struct owners {
    const struct tree_entry **v; /* an entry each */
    size_t n;
    uint32_t *index;
};

static void
owners_collect(struct owners *o, const struct tree_group *g)
{
    o->n = 0;
    o->v = xmalloc(g->n_entries * sizeof *o->v);
    o->index = xmalloc(g->n_entries * sizeof *o->index);
    for (size_t i = 0; i < g->n_entries; i++) {
        const struct tree_entry *entry = &g->entries[i];
        size_t k = i > 0 ? o->index[i - 1] : 0;

        if (o->n == 0 || !same_owner(o->v[k], entry)) {
            k = 0;
            while (k < o->n && !same_owner(o->v[k], entry)) {
                k++;
            }
        }
        if (k == o->n) {
            o->v[o->n++] = entry;
        }
        o->index[i] = (uint32_t)k;
    }
}

static void
add_owners(struct buf *out, const struct owners *o)
{
    buf_add_varint(out, o->n);
    for (size_t i = 0; i < o->n; i++) {
        buf_add_varint(out, o->v[i]->uid);
        buf_add_varint(out, o->v[i]->gid);
        add_str(out, o->v[i]->user, strlen(o->v[i]->user));
        add_str(out, o->v[i]->group, strlen(o->v[i]->group));
    }
}

static size_t
shared_prefix(const struct tree_entry *a, const struct tree_entry *b)
{
    size_t n = a->path_len < b->path_len ? a->path_len : b->path_len;
    size_t i = 0;

    while (i + 8 <= n && memcmp(a->path + i, b->path + i, 8) == 0) {
        i += 8;
    }
    while (i < n && a->path[i] == b->path[i]) {
        i++;
    }
    return i;
}

static void
add_xattrs(struct buf *out, const struct tree_entry *entry)
{
    buf_add_varint(out, entry->n_xattrs);
    for (size_t i = 0; i < entry->n_xattrs; i++) {
        add_str(out, entry->xattrs[i].name, strlen(entry->xattrs[i].name));
        add_str(out, entry->xattrs[i].value, entry->xattrs[i].len);
    }
}

static void
add_extents(struct buf *out, const struct tree_entry *entry)
{
    uint64_t end = 0;

    buf_add_varint(out, entry->n_extents);
    for (size_t i = 0; i < entry->n_extents; i++) {
        buf_add_varint(out, entry->extents[i].at - end);
        buf_add_varint(out, entry->extents[i].len);
        end = entry->extents[i].at + entry->extents[i].len;
    }
}

static void
add_what(struct buf *out, const struct tree_entry *entry)
{
    if (entry->type == TREE_FILE) {
        buf_add_varint(out, entry->size);
    }
    switch (entry->hard_link ? TREE_SYMLINK : entry->type) {
    case TREE_SYMLINK:
        add_str(out, entry->target, entry->target_len);
        break;
    case TREE_CHAR:
    case TREE_BLOCK:
        buf_add_varint(out, entry->dev_major);
        buf_add_varint(out, entry->dev_minor);
        break;
    case TREE_NONE:
    case TREE_DIR:
    case TREE_FILE:
    case TREE_FIFO:
    case TREE_SOCKET:
    case TREE_WHITEOUT:
        break;
    }
    if (entry->n_xattrs > 0) {
        add_xattrs(out, entry);
    }
    if (entry->sparse) {
        add_extents(out, entry);
    }
}

static void
add_head(struct buf *out, const struct tree_entry *entry, const struct tree_entry *prev,
         const struct owners *o, size_t i)
{
    uint32_t prev_owner = i > 0 ? o->index[i - 1] : 0;
    uint32_t prev_mode = prev != NULL ? prev->mode : 0;
    unsigned extra = (unsigned)entry->damage | (entry->opaque ? TREE_EXTRA_OPAQUE : 0) |
                     (entry->hard_link ? TREE_EXTRA_LINK : 0) |
                     (entry->sparse ? TREE_EXTRA_SPARSE : 0);
    unsigned head = (unsigned)entry->type | (entry->n_xattrs > 0 ? TREE_HAS_XATTRS : 0) |
                    (extra != 0 ? TREE_HAS_EXTRA : 0) |
                    (o->index[i] != prev_owner ? TREE_HAS_OWNER : 0) |
                    (entry->mode != prev_mode ? TREE_HAS_MODE : 0);

    buf_add_u8(out, (uint8_t)head);
    if (extra != 0) {
        buf_add_u8(out, (uint8_t)extra);
    }
    if (o->index[i] != prev_owner) {
        buf_add_varint(out, o->index[i]);
    }
    if (entry->mode != prev_mode) {
        buf_add_varint(out, entry->mode);
    }
}

static void
add_entry(struct buf *out, const struct tree_group *g, const struct owners *o, size_t i)
{
    const struct tree_entry *entry = &g->entries[i];
    const struct tree_entry *prev = i > 0 ? entry - 1 : NULL;
    size_t shared = prev != NULL ? shared_prefix(prev, entry) : 0;
    uint64_t prev_mtime = prev != NULL ? (uint64_t)prev->mtime_ns : 0;

    buf_add_varint(out, shared);
    add_str(out, entry->path + shared, entry->path_len - shared);
    add_head(out, entry, prev, o, i);
    buf_add_varint(out, zigzag((int64_t)((uint64_t)entry->mtime_ns - prev_mtime)));
    add_what(out, entry);
}

void
tree_group_encode(const struct tree_group *g, struct buf *out)
{
    struct owners o;

    buf_add_u8(out, (uint8_t)((g->continues ? TREE_GROUP_CONTINUES : 0) |
                              (g->more ? TREE_GROUP_MORE : 0)));
    buf_add_varint(out, g->n_entries);
    if (g->n_entries > 0) {
        owners_collect(&o, g);
        add_owners(out, &o);
        for (size_t i = 0; i < g->n_entries; i++) {
            add_entry(out, g, &o, i);
        }
        free(o.v);
        free(o.index);
    }
    buf_add_varint(out, g->n_chunks);
    for (size_t i = 0; i < g->n_chunks; i++) {
        buf_add(out, g->chunks[i].id.b, SHA256_LEN);
        buf_add_varint(out, g->chunks[i].len);
    }
}

/* ---- keeping ---- */

const struct tree_entry *
tree_entry_keep(struct arena *mem, const struct tree_entry *e)
{
    struct tree_entry *to = arena_alloc(mem, sizeof *to);
    struct tree_xattr *x;

    *to = *e;
    to->path = arena_text(mem, e->path, e->path_len);
    to->user = "";
    to->group = "";
    to->target = NULL;
    to->extents = NULL;
    to->n_extents = 0;
    if (e->n_xattrs == 0) {
        return to;
    }
    x = arena_alloc(mem, e->n_xattrs * sizeof *x);
    for (size_t i = 0; i < e->n_xattrs; i++) {
        x[i].name = arena_text(mem, e->xattrs[i].name, strlen(e->xattrs[i].name));
        x[i].value = (uint8_t *)arena_text(mem, e->xattrs[i].value, e->xattrs[i].len);
        x[i].len = e->xattrs[i].len;
    }
    to->xattrs = x;
    return to;
}
