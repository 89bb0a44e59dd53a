#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "storage/scache_internal.h"

/* After a reboot only what had been quiet for so long when the cache was written
 * counts: by then it had reached the disk. */
#define REBOOT_NS   ((int64_t)120 * 1000000000)
#define ENTRIES_MAX ((uint64_t)1 << 32)

/* ---- opening ---- */

static bool
read_header(struct scache *c)
{
    uint8_t h[SCACHE_HEADER_BYTES];
    char boot[BOOT_ID_LEN + 1];
    uint64_t marks_at;

    if (fd_pread_full(c->fd, h, sizeof h, 0) != (ssize_t)sizeof h ||
        memcmp(h, SCACHE_MAGIC, SCACHE_MAGIC_LEN) != 0 ||
        get_u32(h + SCACHE_AT_CRC) != crc32c(0, h, SCACHE_AT_CRC)) {
        return false;
    }
    clock_boot_id(boot);
    c->reference = (int64_t)get_u64(h + SCACHE_AT_REFERENCE);
    if (memcmp(h + SCACHE_AT_BOOT, boot, BOOT_ID_LEN) != 0) {
        int64_t written = (int64_t)get_u64(h + SCACHE_AT_WRITTEN) - REBOOT_NS;

        c->reference = c->reference < written ? c->reference : written;
    }
    memcpy(c->tree.b, h + SCACHE_AT_TREE, SHA256_LEN);
    c->stream_left = get_u64(h + SCACHE_AT_STREAM_LEN);
    c->n_entries = c->marks_left = get_u64(h + SCACHE_AT_N_ENTRIES);
    marks_at = get_u64(h + SCACHE_AT_MARKS);
    c->stream.next = SCACHE_HEADER_BYTES;
    c->marks.next = (off_t)marks_at;
    return c->stream_left <= INT64_MAX / 2 && c->n_entries <= ENTRIES_MAX &&
           marks_at <= INT64_MAX / 2;
}

struct scache *
scache_open(const char *path)
{
    struct scache *c = xcalloc(1, sizeof *c);

    c->arena = tree_arena_new();
    c->parts = tree_arena_new();
    c->codec = codec_new();
    c->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (c->fd == -1 || !read_header(c)) {
        scache_close(c);
        return NULL;
    }
    return c;
}

void
scache_close(struct scache *c)
{
    if (c == NULL) {
        return;
    }
    (void)fd_close(&c->fd);
    buf_free(&c->stream.data);
    buf_free(&c->marks.data);
    buf_free(&c->frame);
    buf_free(&c->stored);
    codec_free(c->codec);
    tree_arena_free(c->arena);
    tree_arena_free(c->parts);
    free(c->chunks);
    free(c);
}

void
scache_tree(const struct scache *c, struct sha256 *out)
{
    *out = c->tree;
}

uint64_t
scache_n_entries(const struct scache *c)
{
    return c->n_entries;
}

/* ---- bytes ---- */

/* Have the next block in k->data. */
static bool
load_block(struct scache *c, struct scache_cursor *k)
{
    uint8_t head[SCACHE_BLOCK_HEAD];
    struct err ignored = {0};
    size_t stored_len;
    size_t len;

    if (fd_pread_full(c->fd, head, sizeof head, k->next) != (ssize_t)sizeof head) {
        return false;
    }
    stored_len = get_u32(head);
    len = get_u32(head + 4);
    if (len == 0 || len > SCACHE_BLOCK_BYTES || stored_len == 0 || stored_len > len) {
        return false;
    }
    buf_reset(&c->stored);
    buf_reserve(&c->stored, stored_len);
    buf_reset(&k->data);
    buf_reserve(&k->data, len);
    k->at = 0;
    if (fd_pread_full(c->fd, c->stored.data, stored_len, k->next + SCACHE_BLOCK_HEAD) !=
            (ssize_t)stored_len ||
        crc32c(0, c->stored.data, stored_len) != get_u32(head + 8) ||
        codec_decode(c->codec, stored_len < len ? STORE_CODEC_ZSTD : STORE_CODEC_RAW,
                     c->stored.data, stored_len, k->data.data, len, &ignored) != 0) {
        return false;
    }
    k->data.len = len;
    k->next += (off_t)(SCACHE_BLOCK_HEAD + stored_len);
    return true;
}

static bool
read_stream(struct scache *c, void *to, size_t len)
{
    struct scache_cursor *k = &c->stream;
    uint8_t *p = to;

    if (len > c->stream_left) {
        return false;
    }
    c->stream_left -= len;
    while (len > 0) {
        size_t n;

        if (k->at == k->data.len && !load_block(c, k)) {
            return false;
        }
        n = k->data.len - k->at < len ? k->data.len - k->at : len;
        memcpy(p, k->data.data + k->at, n);
        p += n;
        len -= n;
        k->at += n;
    }
    return true;
}

/* ---- groups ---- */

static bool
read_frame_len(struct scache *c, size_t *len)
{
    uint8_t bytes[10];
    struct cursor cur;
    size_t n = 0;

    do {
        if (n == sizeof bytes || !read_stream(c, &bytes[n], 1)) {
            return false;
        }
    } while (bytes[n++] >= 0x80);
    cur = cursor_of(bytes, n);
    *len = (size_t)cursor_varint(&cur);
    return !cur.bad && *len <= TREE_GROUP_MAX_BYTES;
}

static bool
read_group(struct scache *c, struct tree_arena *arena, struct tree_group *g)
{
    struct err ignored = {0};
    size_t len;

    if (!read_frame_len(c, &len)) {
        return false;
    }
    buf_reset(&c->frame);
    buf_reserve(&c->frame, len);
    if (!read_stream(c, c->frame.data, len)) {
        return false;
    }
    return tree_group_decode(arena, c->frame.data, len, g, &ignored) == 0;
}

static void
keep_chunks(struct scache *c, struct scache_group *g, const struct tree_group *from)
{
    size_t n = g->n_chunks + from->n_chunks;

    if (n > c->cap_chunks) {
        c->cap_chunks = 2 * n;
        c->chunks = xrealloc(c->chunks, c->cap_chunks * sizeof *c->chunks);
    }
    if (from->n_chunks != 0) {
        memcpy(c->chunks + g->n_chunks, from->chunks, from->n_chunks * sizeof *c->chunks);
    }
    g->chunks = c->chunks;
    g->n_chunks = n;
}

static bool
read_marks(struct scache *c, size_t n)
{
    struct scache_cursor *k = &c->marks;

    if (n > c->marks_left) {
        return false;
    }
    c->marks_left -= n;
    for (size_t i = 0; i < n; i++) {
        struct scache_mark *m = &c->last_mark;
        struct cursor cur;

        if (k->at == k->data.len && !load_block(c, k)) {
            return false;
        }
        cur = cursor_of(k->data.data + k->at, k->data.len - k->at);
        m->ino += (uint64_t)unzigzag(cursor_varint(&cur));
        m->ctime_ns =
            (int64_t)((uint64_t)m->ctime_ns + (uint64_t)unzigzag(cursor_varint(&cur)));
        m->rest = cursor_u32(&cur);
        if (cur.bad) {
            return false;
        }
        k->at = k->data.len - cur.left;
        c->group_marks[i] = *m;
    }
    return true;
}

static bool
read_whole_group(struct scache *c, struct scache_group *g)
{
    struct tree_group first;
    struct tree_group part;

    memset(g, 0, sizeof *g);
    if (!read_group(c, c->arena, &first) || first.continues ||
        !read_marks(c, first.n_entries)) {
        return false;
    }
    g->entries = first.entries;
    g->n_entries = first.n_entries;
    g->marks = c->group_marks;
    if (!first.more) {
        g->chunks = first.chunks; /* the arena's, as long as the entries */
        g->n_chunks = first.n_chunks;
        return true;
    }
    keep_chunks(c, g, &first);
    do {
        if (!read_group(c, c->parts, &part) || !part.continues) {
            return false;
        }
        keep_chunks(c, g, &part);
    } while (part.more);
    return true;
}

bool
scache_next(struct scache *c, struct scache_group *g, bool *damaged)
{
    if (c->stream_left == 0 && c->marks_left != 0) {
        c->damaged = true; /* marks of entries that never came */
    }
    if (c->damaged || c->stream_left == 0) {
        *damaged = c->damaged;
        return false;
    }
    if (!read_whole_group(c, g)) {
        c->damaged = true;
        *damaged = true;
        return false;
    }
    return true;
}
