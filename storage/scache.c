#include "storage/scache.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "storage/scache_internal.h"

#define TICK_NS SCACHE_TICK_NS
/* File systems we do not know may keep whole seconds, or have a clock of their own. */
#define COARSE_NS ((int64_t)3 * 1000000000)
/* By then the kernel has written out what a mapping had made dirty. */
#define LIVE_NS ((int64_t)120 * 1000000000)

#ifndef BCACHEFS_SUPER_MAGIC
#define BCACHEFS_SUPER_MAGIC 0xca451a4e
#endif
#define ZFS_MAGIC 0x2fc12fc1
#define XFS_MAGIC 0x58465342

/* ---- marks ---- */

static uint64_t
mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

struct scache_mark
scache_mark_of(const struct scan_entry *entry)
{
    struct scache_mark m = {.ino = entry->ino, .ctime_ns = entry->ctime_ns};
    uint64_t h = 1;

    h = mix(h, entry->dev);
    h = mix(h, (uint64_t)entry->type << 32 | entry->mode);
    h = mix(h, (uint64_t)entry->uid << 32 | entry->gid);
    h = mix(h, (uint64_t)entry->mtime_ns);
    h = mix(h, entry->size);
    h = mix(h, entry->nlink > 1 ? entry->nlink : 1);
    h = mix(h, entry->rdev);
    m.rest = (uint32_t)(h ^ (h >> 32));
    return m;
}

int64_t
scache_reference(int fd, bool live)
{
    int64_t now = clock_wall_ns();
    struct statfs st;

    if (fstatfs(fd, &st) != 0) {
        return INT64_MIN;
    }
    switch ((unsigned long)st.f_type) {
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
        return INT64_MIN;
    case EXT4_SUPER_MAGIC: /* ext2 and ext3 too, see scache_trusts */
    case BTRFS_SUPER_MAGIC:
    case XFS_MAGIC:
    case OVERLAYFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case BCACHEFS_SUPER_MAGIC:
    case ZFS_MAGIC:
        return now - (live ? LIVE_NS : TICK_NS);
    default:
        return now - (live ? LIVE_NS : COARSE_NS);
    }
}

void
scache_settle(int fd, int64_t ctime_ns)
{
    int64_t reference_ns = scache_reference(fd, false);
    struct timespec left = {0};

    if (ctime_ns < reference_ns || ctime_ns - TICK_NS > reference_ns) {
        return;
    }
    left.tv_nsec = (long)(ctime_ns - reference_ns + 1);
    (void)nanosleep(&left, NULL); /* cut short it is only less trusted */
}

/* ---- writing ---- */

struct scache_writer {
    char *path;
    char *tmp_path;
    bool unkept; /* another process is writing this cache: one is enough */
    int fd;
    struct codec *codec;
    struct buf block;
    uint64_t stream_len;
    uint64_t written; /* bytes of the file so far */
    struct scache_mark *marks;
    size_t n_marks;
    size_t cap_marks;
};

int
scache_create(struct scache_writer **out, const char *path, struct err *e)
{
    struct scache_writer *w = xcalloc(1, sizeof *w);

    w->path = xstrdup(path);
    w->tmp_path = xasprintf("%s.tmp", path);
    w->codec = codec_new();
    w->written = SCACHE_HEADER_BYTES;
    w->fd = file_open_alone(AT_FDCWD, w->tmp_path, false);
    if (w->fd == -1 && errno == EWOULDBLOCK) {
        w->unkept = true;
    } else if (w->fd == -1 || lseek(w->fd, SCACHE_HEADER_BYTES, SEEK_SET) == -1) {
        err_set_sys(e, errno, "cannot create '%s'", w->tmp_path);
        scache_discard(w);
        return -1;
    }
    *out = w;
    return 0;
}

static void
writer_free(struct scache_writer *w)
{
    (void)fd_close(&w->fd);
    codec_free(w->codec);
    buf_free(&w->block);
    free(w->marks);
    free(w->path);
    free(w->tmp_path);
    free(w);
}

void
scache_discard(struct scache_writer *w)
{
    if (w == NULL) {
        return;
    }
    if (!w->unkept && w->fd != -1) {
        (void)unlink(w->tmp_path);
    }
    writer_free(w);
}

static int
write_block(struct scache_writer *w, struct err *e)
{
    uint8_t head[SCACHE_BLOCK_HEAD];
    const void *stored;
    size_t len;

    if (w->block.len == 0) {
        return 0;
    }
    (void)codec_encode(w->codec, CODEC_LEVEL, w->block.data, w->block.len, &stored, &len);
    put_u32(head, (uint32_t)len);
    put_u32(head + 4, (uint32_t)w->block.len);
    put_u32(head + 8, crc32c(0, stored, len));
    if (fd_write_all(w->fd, head, sizeof head) != 0 ||
        fd_write_all(w->fd, stored, len) != 0) {
        return err_set_sys(e, errno, "cannot write '%s'", w->tmp_path);
    }
    w->written += sizeof head + len;
    buf_reset(&w->block);
    return 0;
}

static int
write_bytes(struct scache_writer *w, const uint8_t *data, size_t len, struct err *e)
{
    while (len > 0 && !w->unkept) {
        size_t room = SCACHE_BLOCK_BYTES - w->block.len;
        size_t n = len < room ? len : room;

        buf_add(&w->block, data, n);
        data += n;
        len -= n;
        if (w->block.len == SCACHE_BLOCK_BYTES && write_block(w, e) != 0) {
            return -1;
        }
    }
    return 0;
}

int
scache_add(struct scache_writer *w, const void *encoded, size_t len, struct err *e)
{
    w->stream_len += len;
    return write_bytes(w, encoded, len, e);
}

size_t
scache_add_mark(struct scache_writer *w, const struct scache_mark *m)
{
    if (w->n_marks == w->cap_marks) {
        w->cap_marks = w->cap_marks == 0 ? 1024 : w->cap_marks + w->cap_marks / 2;
        w->marks = xrealloc(w->marks, w->cap_marks * sizeof *w->marks);
    }
    w->marks[w->n_marks] = *m;
    return w->n_marks++;
}

void
scache_set_mark(struct scache_writer *w, size_t i, const struct scache_mark *m)
{
    w->marks[i] = *m;
}

/* Entries that were made one after the other have neighbouring inodes and times. */
static int
write_marks(struct scache_writer *w, struct err *e)
{
    struct scache_mark last = {0};
    uint8_t rest[4];

    for (size_t i = 0; i < w->n_marks; i++) {
        const struct scache_mark *m = &w->marks[i];

        if (w->block.len + SCACHE_MARK_MAX > SCACHE_BLOCK_BYTES &&
            write_block(w, e) != 0) {
            return -1;
        }
        buf_add_varint(&w->block, zigzag((int64_t)(m->ino - last.ino)));
        buf_add_varint(&w->block, zigzag((int64_t)((uint64_t)m->ctime_ns -
                                                   (uint64_t)last.ctime_ns)));
        put_u32(rest, m->rest);
        buf_add(&w->block, rest, sizeof rest);
        last = *m;
    }
    return write_block(w, e);
}

static int
write_header(struct scache_writer *w, const struct sha256 *tree, int64_t reference,
             uint64_t marks_at, struct err *e)
{
    uint8_t h[SCACHE_HEADER_BYTES] = {0};
    char boot[BOOT_ID_LEN + 1];

    clock_boot_id(boot);
    memcpy(h, SCACHE_MAGIC, SCACHE_MAGIC_LEN);
    memcpy(h + SCACHE_AT_BOOT, boot, BOOT_ID_LEN);
    put_u64(h + SCACHE_AT_REFERENCE, (uint64_t)reference);
    put_u64(h + SCACHE_AT_WRITTEN, (uint64_t)clock_wall_ns());
    memcpy(h + SCACHE_AT_TREE, tree->b, SHA256_LEN);
    put_u64(h + SCACHE_AT_STREAM_LEN, w->stream_len);
    put_u64(h + SCACHE_AT_N_ENTRIES, w->n_marks);
    put_u64(h + SCACHE_AT_MARKS, marks_at);
    put_u32(h + SCACHE_AT_CRC, crc32c(0, h, SCACHE_AT_CRC));
    if (fd_pwrite_all(w->fd, h, sizeof h, 0) != 0) {
        return err_set_sys(e, errno, "cannot write '%s'", w->tmp_path);
    }
    return 0;
}

int
scache_commit(struct scache_writer *w, const struct sha256 *tree, int64_t reference,
              struct err *e)
{
    uint64_t marks_at;

    if (w->unkept) {
        scache_discard(w);
        return 0;
    }
    if (write_block(w, e) != 0) { /* the last of the groups */
        goto fail;
    }
    marks_at = w->written;
    if (write_marks(w, e) != 0 || write_header(w, tree, reference, marks_at, e) != 0) {
        goto fail;
    }
    /* Before it is closed: then it is another's. Torn or lost, it is no cache. */
    if (rename(w->tmp_path, w->path) != 0) {
        err_set_sys(e, errno, "cannot rename '%s'", w->tmp_path);
        goto fail;
    }
    writer_free(w);
    return 0;

fail:
    scache_discard(w);
    return -1;
}

/* ---- trusting ---- */

bool
scache_trusts(const struct scache *c, const struct scache_mark *m,
              const struct scan_entry *entry)
{
    struct scache_mark now;
    int64_t reference = c->reference;

    if (entry->damage != TREE_WHOLE || m->ino != entry->ino ||
        m->ctime_ns != entry->ctime_ns) {
        return false;
    }
    now = scache_mark_of(entry);
    if (now.rest != m->rest) {
        return false;
    }
    /* Whole seconds alone: inodes without room for more (old ext4, ext3, NFS). */
    if (entry->ctime_ns % 1000000000 == 0) {
        reference =
            c->reference < INT64_MIN + COARSE_NS ? INT64_MIN : c->reference - COARSE_NS;
    }
    return entry->ctime_ns < reference;
}
