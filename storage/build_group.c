#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "storage/build_internal.h"

/*
 * Where one group ends and the next begins depends on the names and sizes of the
 * files around the place alone, so a new file changes its own group and seldom more.
 * Weights are bytes of content plus a flat share for metadata.
 */
#define WEIGHT_META   ((uint64_t)192)
#define WEIGHT_MIN    ((uint64_t)24 * 1024)
#define WEIGHT_TARGET ((uint64_t)48 * 1024)
#define WEIGHT_MAX    ((uint64_t)512 * 1024)

static bool
is_big(const struct tree_entry *entry)
{
    return entry->type == TREE_FILE && !entry->hard_link && entry->damage == TREE_WHOLE &&
           entry->size >= TREE_BIG_FILE_BYTES;
}

static uint64_t
hash_bytes(uint64_t h, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        h = (h ^ (uint8_t)data[i]) * 0x100000001b3u;
    }
    return h;
}

/* 32 bits of the last n_components of the path, and the size. */
static uint64_t
place_hash(const struct scan_entry *entry, int n_components, uint64_t size)
{
    size_t from = entry->path_len;
    uint64_t h;

    while (from > 0 && n_components > 0) {
        from--;
        n_components -= entry->path[from] == '/';
    }
    h = hash_bytes(0xcbf29ce484222325u, entry->path + from, entry->path_len - from);
    h = (h ^ size) * 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h >> 32;
}

static uint64_t
weight_of(const struct scan_entry *entry)
{
    bool counts = entry->type == TREE_FILE || entry->type == TREE_SYMLINK;

    return WEIGHT_META + (counts && entry->size < TREE_BIG_FILE_BYTES ? entry->size : 0);
}

/* Does a new group begin with the entry? */
static bool
begins_group(const struct build_group *g, const struct scan_entry *entry, bool big)
{
    uint64_t w = weight_of(entry);
    bool heavy = g->weight >= WEIGHT_TARGET;
    uint64_t per = heavy ? WEIGHT_TARGET / 2 : 2 * WEIGHT_TARGET;

    if (g->big || big || g->n == TREE_GROUP_ENTRIES_MAX || g->weight + w > WEIGHT_MAX) {
        return true;
    }
    if (g->weight < WEIGHT_MIN) {
        return false;
    }
    /* Late in a group the directory counts too: a thousand folders may hold equal names.
     */
    return place_hash(entry, heavy ? 2 : 1, w) < (w << 32) / per;
}

/* ---- the cache's side of the merge ---- */

static bool
load_cached(struct build *b)
{
    if (b->cached_end) {
        return false;
    }
    if (!scache_next(b->cache, &b->cached, &b->cache_damaged)) {
        b->cached_end = true;
        return false;
    }
    b->cached_at = 0;
    b->cached_seq++;
    b->cached_files = 0;
    for (size_t i = 0; i < b->cached.n_entries; i++) {
        b->cached_files += b->cached.entries[i].stored > 0;
    }
    return true;
}

/* The cached entry of that path, or NULL. Paths must come in order. */
static const struct tree_entry *
find_cached(struct build *b, const char *path, size_t len)
{
    if (b->cache == NULL) {
        return NULL;
    }
    for (;;) {
        const struct tree_entry *c;
        int cmp;

        if (b->cached_at == b->cached.n_entries) {
            if (!load_cached(b)) {
                return NULL;
            }
            continue;
        }
        c = &b->cached.entries[b->cached_at];
        cmp = tree_path_cmp(c->path, c->path_len, path, len);
        if (cmp >= 0) {
            return cmp == 0 ? c : NULL;
        }
        b->cached_at++;
    }
}

/* ---- entries ---- */

void
build_fill_entry(const struct build *b, struct tree_entry *to,
                 const struct scan_entry *from)
{
    bool content = from->type == TREE_FILE && from->damage == TREE_WHOLE;

    to->type = from->type;
    to->damage = from->damage;
    to->mode = from->mode;
    to->uid = from->uid;
    to->gid = from->gid;
    to->user = build_user_name(b->owners, from->uid);
    to->group = build_group_name(b->owners, from->gid);
    to->mtime_ns = from->mtime_ns;
    to->size = from->type == TREE_FILE ? from->size : 0;
    to->stored = content && !to->hard_link ? from->size : 0;
    if (from->type == TREE_CHAR || from->type == TREE_BLOCK) {
        to->dev_major = major(from->rdev);
        to->dev_minor = minor(from->rdev);
    }
}

static void
copy_xattrs(struct arena *mem, struct tree_entry *to, const struct tree_entry *from)
{
    struct tree_xattr *x = arena_alloc(mem, from->n_xattrs * sizeof *x);

    for (size_t i = 0; i < from->n_xattrs; i++) {
        const struct tree_xattr *f = &from->xattrs[i];

        x[i].name = arena_text(mem, f->name, strlen(f->name));
        x[i].value = (const uint8_t *)arena_text(mem, f->value, f->len);
        x[i].len = f->len;
    }
    to->xattrs = x;
    to->n_xattrs = from->n_xattrs;
}

/* Most entries have the owner of the one before. */
static const char *
copy_owner(struct arena *mem, const char *name, const char *last)
{
    return last != NULL && strcmp(name, last) == 0 ? last
                                                   : arena_text(mem, name, strlen(name));
}

/* All but the path. */
static void
copy_cached(struct build_group *g, struct tree_entry *to, const struct tree_entry *from)
{
    const struct tree_entry *last = g->n > 0 ? &g->entries[g->n - 1] : NULL;
    const char *path = to->path;

    *to = *from;
    to->path = path;
    to->user = copy_owner(&g->mem, from->user, last != NULL ? last->user : NULL);
    to->group = copy_owner(&g->mem, from->group, last != NULL ? last->group : NULL);
    if (from->target != NULL) {
        to->target = arena_text(&g->mem, from->target, from->target_len);
    }
    if (from->n_xattrs != 0) {
        copy_xattrs(&g->mem, to, from);
    }
    if (from->n_extents != 0) {
        struct tree_extent *x = arena_alloc(&g->mem, from->n_extents * sizeof *x);

        memcpy(x, from->extents, from->n_extents * sizeof *x);
        to->extents = x;
    }
}

static bool
same_link(const struct tree_entry *a, const struct tree_entry *c)
{
    return a->hard_link == c->hard_link &&
           (!a->hard_link || strcmp(a->target, c->target) == 0);
}

/* Take the entry from the cache if that is right; remember whose content it is. */
static void
ask_cache(struct build *b, struct build_group *g, struct tree_entry *entry,
          struct build_item *item)
{
    const struct tree_entry *c = find_cached(b, entry->path, entry->path_len);

    item->known = c != NULL && c->type == entry->type && c->damage == TREE_WHOLE &&
                  same_link(entry, c) &&
                  scache_trusts(b->cache, &b->cached.marks[b->cached_at], &item->st);
    if (item->known) {
        copy_cached(g, entry, c);
    } else {
        g->meta_known = false;
    }
    if (entry->stored == 0) {
        return;
    }
    g->n_files++;
    if (!item->known) {
        if (c != NULL && c->stored >= TREE_BIG_FILE_BYTES && is_big(entry) &&
            b->sink->was != NULL) {
            b->sink->was(b->sink->ctx, b->cached.chunks, b->cached.n_chunks);
        }
        g->differs = true;
    } else if (g->cached_seq == 0) {
        g->cached_seq = b->cached_seq;
        g->cached_files = b->cached_files;
        g->n_chunks = b->cached.n_chunks;
        g->cap_chunks = g->n_chunks;
        g->chunks = xmemdup(b->cached.chunks, g->n_chunks * sizeof *g->chunks);
    } else if (g->cached_seq != b->cached_seq) {
        g->differs = true;
    }
}

static void
resolve_link(struct build *b, struct build_group *g, struct tree_entry *entry,
             const struct scan_entry *st)
{
    const char *first;

    if (st->nlink < 2 || st->type == TREE_DIR || st->damage != TREE_WHOLE) {
        return;
    }
    first = build_links_seen(b->links, st->dev, st->ino, entry->path);
    if (first != NULL) {
        entry->hard_link = true;
        entry->target_len = strlen(first);
        entry->target = arena_text(&g->mem, first, entry->target_len);
        entry->stored = 0;
    }
}

static struct build_group *
group_new(void)
{
    struct build_group *g = xcalloc(1, sizeof *g);

    g->meta_known = true;
    g->blocks_end = &g->blocks;
    return g;
}

void
build_group_free(struct build_group *g)
{
    if (g == NULL) {
        return;
    }
    arena_free(&g->mem);
    free(g->entries);
    free(g->items);
    free(g->chunks);
    free(g);
}

void
build_group_chunk(struct build_group *g, const struct build_chunk *c)
{
    if (g->n_chunks == g->cap_chunks) {
        g->cap_chunks = g->cap_chunks == 0 ? 4 : 2 * g->cap_chunks;
        g->chunks = xrealloc(g->chunks, g->cap_chunks * sizeof *g->chunks);
    }
    g->chunks[g->n_chunks++] = (struct tree_chunk){.id = c->id, .len = c->len};
}

static void
append(struct build *b, struct build_group *g, const struct scan_entry *st)
{
    struct tree_entry *entry;
    struct build_item *item;

    if (g->n == g->cap) {
        g->cap = g->cap == 0 ? 16 : 2 * g->cap;
        g->entries = xrealloc(g->entries, g->cap * sizeof *g->entries);
        g->items = xrealloc(g->items, g->cap * sizeof *g->items);
    }
    entry = &g->entries[g->n];
    item = &g->items[g->n];
    memset(entry, 0, sizeof *entry);
    memset(item, 0, sizeof *item);
    item->st = *st;
    item->st.path = NULL;
    entry->path = arena_text(&g->mem, st->path, st->path_len);
    entry->path_len = st->path_len;
    build_fill_entry(b, entry, st);
    resolve_link(b, g, entry, st);
    g->big = is_big(entry);
    g->weight += weight_of(st);
    ask_cache(b, g, entry, item);
    g->n++;
}

/* A hard link counts as big here, so that what its first name is does not move borders.
 */
static bool
looks_big(const struct scan_entry *st)
{
    return st->type == TREE_FILE && st->damage == TREE_WHOLE &&
           st->size >= TREE_BIG_FILE_BYTES;
}

int
build_take(struct build *b, const struct scan_entry *entry, struct err *e)
{
    if (entry->damage != TREE_WHOLE && b->o->policy == BUILD_SHIP) {
        (void)err_set_sys(e, entry->sys_errno, "cannot read '%s'",
                          entry->path_len > 0 ? entry->path : ".");
        e->code = ERR_DENIED;
        return -1;
    }
    if (b->forming != NULL && begins_group(b->forming, entry, looks_big(entry)) &&
        build_close_group(b, e) != 0) {
        return -1;
    }
    if (b->forming == NULL) {
        b->forming = group_new();
    }
    append(b, b->forming, entry);
    b->n_seen++;
    return 0;
}

/* What is known of the group is settled: it is complete, or to be read. */
static void
settle(struct build *b, struct build_group *g)
{
    if (!g->content_known) {
        g->n_chunks = 0;
    }
    if (g->content_known && g->meta_known) {
        g->complete = true;
    } else {
        build_queue_read(b, g);
    }
}

int
build_ask(struct build *b, struct err *e)
{
    struct build_known known[BUILD_ASK_MAX] = {0};
    size_t n = b->n_asking;

    b->n_asking = 0;
    for (size_t i = 0; i < n; i++) {
        known[i].chunks = b->asking[i]->chunks;
        known[i].n = b->asking[i]->n_chunks;
    }
    if (n > 0 && b->sink->known != NULL &&
        b->sink->known(b->sink->ctx, known, n, e) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        struct build_group *g = b->asking[i];

        g->content_known = !known[i].need_data;
        b->r->known_groups += g->content_known;
        settle(b, g);
    }
    return 0;
}

int
build_close_group(struct build *b, struct err *e)
{
    struct build_group *g = b->forming;

    if (g == NULL) {
        return 0;
    }
    b->forming = NULL;
    *b->last = g;
    b->last = &g->next;
    b->n_groups++;
    /* Is the content just that of one cached group? Then g->chunks is right. */
    if (g->n_files > 0 && !g->differs && g->n_files == g->cached_files) {
        b->asking[b->n_asking++] = g;
        if (b->n_asking == BUILD_ASK_MAX && build_ask(b, e) != 0) {
            return -1;
        }
    } else {
        g->content_known = g->n_files == 0;
        g->n_chunks = 0;
        settle(b, g);
    }
    return build_emit(b, false, e);
}
