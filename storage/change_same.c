#include <string.h>

#include "base/text.h"
#include "storage/change_internal.h"

static bool
same_extents(const struct tree_entry *a, const struct tree_entry *b)
{
    if (a->sparse != b->sparse || a->n_extents != b->n_extents) {
        return false;
    }
    for (size_t i = 0; i < a->n_extents; i++) {
        if (a->extents[i].at != b->extents[i].at ||
            a->extents[i].len != b->extents[i].len) {
            return false;
        }
    }
    return true;
}

bool
change_same_meta(const struct tree_entry *a, const struct tree_entry *b)
{
    return a->type == b->type && a->damage == b->damage && a->opaque == b->opaque &&
           a->hard_link == b->hard_link && a->mode == b->mode && a->uid == b->uid &&
           a->gid == b->gid && text_same(a->user, b->user) &&
           text_same(a->group, b->group) && a->mtime_ns == b->mtime_ns &&
           a->size == b->size && a->stored == b->stored &&
           a->target_len == b->target_len && text_same(a->target, b->target) &&
           a->dev_major == b->dev_major && a->dev_minor == b->dev_minor &&
           tree_same_xattrs(a, b) && same_extents(a, b);
}

/* The chunk that byte s->at is in, and which of its bytes that is. */
static size_t
first_chunk(const struct change_span *s, uint64_t *skip)
{
    size_t i = 0;

    *skip = s->at;
    while (i < s->n_chunks && *skip >= s->chunks[i].len) {
        *skip -= s->chunks[i].len;
        i++;
    }
    return i;
}

bool
change_same_span(const struct change_span *a, const struct change_span *b)
{
    uint64_t skip_a;
    uint64_t skip_b;
    uint64_t seen;
    size_t i;
    size_t k;

    if (a->len != b->len) {
        return false;
    }
    if (a->len == 0) {
        return true;
    }
    i = first_chunk(a, &skip_a);
    k = first_chunk(b, &skip_b);
    if (skip_a != skip_b) {
        return false;
    }
    for (seen = 0; seen < skip_a + a->len; i++, k++) {
        if (i == a->n_chunks || k == b->n_chunks ||
            !sha256_equal(&a->chunks[i].id, &b->chunks[k].id)) {
            return false;
        }
        seen += a->chunks[i].len;
    }
    return true;
}

void
change_same_chunks(const struct change_span *old, const struct change_span *now,
                   uint8_t *bits)
{
    uint64_t at_old = 0; /* where chunk k begins */
    uint64_t at = 0;
    size_t k = 0;

    for (size_t i = 0; i < now->n_chunks; i++) {
        while (k < old->n_chunks && at_old < at) {
            at_old += old->chunks[k++].len;
        }
        if (k < old->n_chunks && at_old == at &&
            old->chunks[k].len == now->chunks[i].len &&
            sha256_equal(&old->chunks[k].id, &now->chunks[i].id)) {
            bits[i / 8] |= (uint8_t)(1u << (i % 8));
        }
        at += now->chunks[i].len;
    }
}
