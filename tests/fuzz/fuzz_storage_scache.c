/*
 * A scan cache of any bytes: nothing, or groups as a tree's. The checksums would end
 * every input at the door, so they are put right; where the first byte is odd they stay.
 */
#include <string.h>

#include "base/bytes.h"
#include "storage/scache_internal.h"
#include "tests/fuzz/scratch.h"

static void
put_right(uint8_t *p, size_t size)
{
    size_t at = SCACHE_HEADER_BYTES;

    memcpy(p, SCACHE_MAGIC, SCACHE_MAGIC_LEN);
    put_u32(p + SCACHE_AT_CRC, crc32c(0, p, SCACHE_AT_CRC));
    while (size - at > SCACHE_BLOCK_HEAD) {
        size_t len = size - at - SCACHE_BLOCK_HEAD;

        len = len < SCACHE_BLOCK_BYTES ? len : SCACHE_BLOCK_BYTES;
        put_u32(p + at, (uint32_t)len);
        put_u32(p + at + 4, crc32c(0, p + at + SCACHE_BLOCK_HEAD, len));
        at += SCACHE_BLOCK_HEAD + len;
    }
}

static void
read_all(struct scache *c)
{
    const struct scan_entry seen = {0};
    struct scache_group g;
    struct sha256 tree;
    bool damaged = false;
    uint64_t n = 0;

    scache_tree(c, &tree);
    while (scache_next(c, &g, &damaged)) {
        must(!damaged && g.n_entries <= TREE_GROUP_ENTRIES_MAX);
        for (size_t i = 0; i < g.n_entries; i++) {
            must(tree_path_ok(g.entries[i].path, g.entries[i].path_len));
            (void)scache_trusts(c, &g.marks[i], &seen);
        }
        for (size_t i = 0; i < g.n_chunks; i++) {
            must(g.chunks[i].len > 0 && g.chunks[i].len <= STORE_CHUNK_MAX_BYTES);
        }
        n += g.n_entries;
    }
    must(damaged || n == scache_n_entries(c));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;
    struct scache *c;
    char *path;

    if (size == 0) {
        return 0;
    }
    copy = xmemdup(data, size);
    if (size > SCACHE_HEADER_BYTES && data[0] % 2 == 0) {
        put_right(copy, size);
    }
    scratch_put("cache", copy, size);
    path = path_join(scratch(), "cache");
    c = scache_open(path);
    if (c != NULL) {
        read_all(c);
        scache_close(c);
    }
    free(path);
    free(copy);
    return 0;
}
