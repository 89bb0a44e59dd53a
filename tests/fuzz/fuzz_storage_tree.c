/*
 * Trees of strangers: a group of any bytes, a stream of groups, and a root whose lists
 * of chunks are any bytes. What is accepted keeps the promises of storage/tree.h, and a
 * group is written again as it was.
 */
#include <string.h>

#include "storage/tree.h"
#include "tests/fuzz/fuzz.h"

struct stream {
    const uint8_t *data;
    size_t left;
};

static int
take(void *ctx, void *to, size_t n, size_t *got, struct err *e)
{
    struct stream *s = ctx;

    (void)e;
    *got = n < s->left ? n : s->left;
    memcpy(to, s->data, *got);
    s->data += *got;
    s->left -= *got;
    return 0;
}

/* Whatever chunk is asked for is the input. */
static int
give(void *ctx, const struct sha256 *id, struct buf *out, struct err *e)
{
    const struct stream *s = ctx;

    (void)id;
    (void)e;
    buf_add(out, s->data, s->left);
    return 0;
}

static void
check_entry(const struct tree_entry *en)
{
    must(tree_path_ok(en->path, en->path_len));
    must(strlen(en->path) == en->path_len);
    must(en->type >= TREE_DIR && en->type <= TREE_WHITEOUT);
    must(en->mode <= 07777 && en->stored <= en->size);
    for (size_t i = 1; i < en->n_extents; i++) {
        must(en->extents[i].at > en->extents[i - 1].at + en->extents[i - 1].len);
    }
    for (size_t i = 1; i < en->n_xattrs; i++) {
        must(strcmp(en->xattrs[i - 1].name, en->xattrs[i].name) < 0);
    }
}

static void
one_group(const uint8_t *data, size_t size)
{
    struct tree_arena *a = tree_arena_new();
    struct buf again = BUF_INIT;
    struct tree_group g;
    struct err e;

    if (tree_group_decode(a, data, size, &g, &e) == 0) {
        for (size_t i = 0; i < g.n_entries; i++) {
            check_entry(&g.entries[i]);
            must(i == 0 || tree_path_cmp(g.entries[i - 1].path, g.entries[i - 1].path_len,
                                         g.entries[i].path, g.entries[i].path_len) < 0);
        }
        tree_group_encode(&g, &again);
        must(again.len == size && memcmp(again.data, data, size) == 0);
    } else {
        must(e.code == ERR_CORRUPT);
    }
    buf_free(&again);
    tree_arena_free(a);
}

static void
walk(struct tree_reader *r)
{
    const struct tree_group *g = NULL;
    uint64_t n = 0;
    struct err e;

    while (tree_next(r, &g, &e) == 0) {
        if (g == NULL) {
            break;
        }
        for (size_t i = 0; i < g->n_entries; i++) {
            check_entry(&g->entries[i]);
            must((n + i == 0) == (g->entries[i].path_len == 0));
        }
        n += g->n_entries;
        must(n < 1000000);
    }
    tree_close(r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stream s = {data, size};
    const struct stream all = {data, size};
    const struct tree_source source = {(void *)(uintptr_t)&all, give};
    struct tree_reader *r = NULL;
    struct sha256 id = {{0}};
    struct err e;

    one_group(data, size);
    if (tree_open_stream(&r, take, &s, &e) == 0) {
        walk(r);
    }
    sha256_of(data, size, &id);
    if (size > 0 && tree_open(&r, &id, &source, &e) == 0) {
        walk(r);
    }
    return 0;
}
