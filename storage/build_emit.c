#include <stdlib.h>
#include <string.h>

#include "storage/build_internal.h"

static void
name_it(struct build_named *to, const struct tree_entry *entry, int sys_errno)
{
    to->path = xstrdup(entry->path);
    to->damage = entry->damage;
    to->sys_errno = sys_errno;
    to->bytes = entry->size;
}

static void
note_largest(struct build_report *r, const struct tree_entry *entry)
{
    size_t i = r->n_largest;

    if (entry->type != TREE_FILE || entry->hard_link || entry->stored == 0) {
        return;
    }
    while (i > 0 && r->largest[i - 1].bytes < entry->size) {
        i--;
    }
    if (i == BUILD_TOP) {
        return;
    }
    if (r->n_largest == BUILD_TOP) {
        free(r->largest[--r->n_largest].path);
    }
    memmove(&r->largest[i + 1], &r->largest[i],
            (r->n_largest - i) * sizeof r->largest[0]);
    name_it(&r->largest[i], entry, 0);
    r->n_largest++;
}

static void
note_entry(struct build_report *r, const struct tree_entry *entry,
           const struct build_item *item)
{
    if ((entry->damage != TREE_WHOLE || item->lost_xattrs) && r->n_damaged < BUILD_TOP) {
        name_it(&r->damaged[r->n_damaged++], entry, item->st.sys_errno);
    }
    r->n_lost_xattrs += item->lost_xattrs ? 1 : 0;
    note_largest(r, entry);
}

/* Files that vanished are not in what is shipped. */
static void
drop_gone(struct build_group *g)
{
    size_t n = 0;

    for (size_t i = 0; i < g->n; i++) {
        if (g->items[i].gone) {
            continue;
        }
        if (n != i) {
            g->entries[n] = g->entries[i];
            g->items[n] = g->items[i];
        }
        n++;
    }
    g->n = n;
}

static int
cache_group(struct build *b, const struct build_group *g, struct err *e)
{
    for (size_t i = 0; i < g->n; i++) {
        struct scache_mark m = scache_mark_of(&g->items[i].st);

        if (g->items[i].lost_xattrs) { /* never trusted: the next one tells of it, too */
            m.ctime_ns = INT64_MAX;
        }
        (void)scache_add_mark(b->cache_writer, &m);
    }
    return scache_add(b->cache_writer, b->encoded.data, b->encoded.len, e);
}

/*
 * More attributes than a group can hold (somebody wants to see us fail): kept are those
 * of entries with few.
 */
static void
drop_long_xattrs(struct build_group *g)
{
    const size_t few = TREE_GROUP_MAX_BYTES / 2 / TREE_GROUP_ENTRIES_MAX;

    for (size_t i = 0; i < g->n; i++) {
        struct tree_entry *entry = &g->entries[i];
        size_t total = 0;

        for (size_t k = 0; k < entry->n_xattrs; k++) {
            total += entry->xattrs[k].len + strlen(entry->xattrs[k].name);
        }
        if (total > few) {
            entry->xattrs = NULL;
            entry->n_xattrs = 0;
            g->items[i].lost_xattrs = true;
        }
    }
}

static int
write_group(struct build *b, struct build_group *g, struct err *e)
{
    struct tree_group out = {0};
    struct buf *encoded = b->cache_writer != NULL ? &b->encoded : NULL;

    drop_gone(g);
    if (g->n == 0) {
        return 0;
    }
    out.entries = g->entries;
    out.n_entries = g->n;
    out.chunks = g->chunks;
    out.n_chunks = g->n_chunks;
    buf_reset(&b->encoded);
    if (tree_writer_add(b->writer, &out, encoded, e) != 0) {
        if (e->code != ERR_RANGE) {
            return -1;
        }
        drop_long_xattrs(g);
        buf_reset(&b->encoded);
        if (tree_writer_add(b->writer, &out, encoded, e) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < g->n; i++) {
        note_entry(b->r, &g->entries[i], &g->items[i]);
    }
    return b->cache_writer != NULL ? cache_group(b, g, e) : 0;
}

static void
tell_progress(struct build *b, const struct build_group *g)
{
    if (b->o->progress == NULL) {
        return;
    }
    for (size_t i = 0; i < g->n; i++) {
        b->told_bytes += g->entries[i].stored;
    }
    b->told_entries += g->n;
    b->o->progress(b->o->progress_ctx, b->told_entries, b->told_bytes,
                   b->cache != NULL ? scache_n_entries(b->cache) : 0);
}

int
build_emit(struct build *b, bool all, struct err *e)
{
    while (b->first != NULL) {
        struct build_group *g = b->first;
        int rc;

        if (!build_is_complete(b, g)) {
            if (!all && b->n_groups < BUILD_GROUPS_MAX) {
                return build_failed(b, e) ? -1 : 0;
            }
            if (build_ask(b, e) != 0) { /* it may be one of those */
                return -1;
            }
            build_wait(b, g);
        }
        if (build_failed(b, e)) {
            return -1;
        }
        rc = write_group(b, g, e);
        tell_progress(b, g);
        b->first = g->next;
        if (b->first == NULL) {
            b->last = &b->first;
        }
        b->n_groups--;
        build_group_free(g);
        if (rc != 0) {
            return -1;
        }
    }
    return 0;
}
