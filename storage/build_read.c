#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "storage/beneath.h"
#include "storage/build_internal.h"
#include "storage/chunker.h"
#include "storage/scan_internal.h"

/* How often a file that changes under our hands is read again. */
#define TRIES 3
/* Small files that grew since the sweep may make the bytes of a group too many. */
#define SMALL_CHUNK_MAX ((size_t)512 * 1024)
/* One that is a big file by now is read whole up to this, while its group has no more
 * chunks than that. */
#define GROWN_MAX_BYTES  ((uint64_t)16 << 20)
#define GROWN_MAX_CHUNKS (TREE_GROUP_CHUNKS_MAX / 2)

int
build_fstat(int fd, struct scan_entry *to)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        return -1;
    }
    memset(to, 0, sizeof *to);
    scan_fill_stat(to, &st);
    return 0;
}

/*
 * A write sets a file's times once, as it begins, and may go on for long: old times do
 * not say that it is over. It holds the inode's lock to its end, and so does this look.
 */
static void
await_write(int fd)
{
    (void)lseek(fd, 0, SEEK_DATA);
}

int
build_fstat_settled(const struct build *b, int fd, struct scan_entry *to, bool *settled)
{
    bool alone = !b->o->live && b->o->policy != BUILD_SHIP;

    *settled = alone;
    for (int tries = 2; tries > 0; tries--) {
        int64_t before_ns = clock_wall_ns();
        int64_t after_ns;
        int64_t time_ns;
        int64_t left_ns;

        if (!alone) {
            await_write(fd);
        }
        if (build_fstat(fd, to) != 0) {
            return -1;
        }
        after_ns = clock_wall_ns();
        /* The last name's going is no write, and nobody sets times of what has none. */
        time_ns = to->nlink == 0 ? to->mtime_ns : to->ctime_ns;
        /* From the future: another clock's, or that of ours before it was put back. */
        if (alone || time_ns <= before_ns - SCACHE_TICK_NS || time_ns > after_ns) {
            *settled = true;
            return 0;
        }
        left_ns = time_ns + SCACHE_TICK_NS - after_ns;
        if (tries > 1 && left_ns > 0) {
            struct timespec left = {.tv_nsec = (long)left_ns};

            (void)nanosleep(&left, NULL);
        }
    }
    return 0;
}

bool
build_same_file(const struct scan_entry *a, const struct scan_entry *b)
{
    return a->ino == b->ino && a->dev == b->dev && a->size == b->size &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

/*
 * Read through one descriptor: has nobody written meanwhile? A file that lost its last
 * name (another was renamed over it) has another change time for that alone; then its
 * modification time tells of writes.
 */
bool
build_same_content(const struct scan_entry *before, const struct scan_entry *after)
{
    struct scan_entry b = *after;

    if (after->nlink == 0) {
        b.ctime_ns = before->ctime_ns;
    }
    return build_same_file(before, &b);
}

int
build_damaged(struct build *b, struct build_group *g, size_t i, int sys_errno,
              struct err *e)
{
    struct tree_entry *entry = &g->entries[i];
    struct build_item *item = &g->items[i];
    enum tree_damage damage = tree_damage_of(sys_errno);

    if (b->o->policy == BUILD_SHIP) {
        if (damage == TREE_VANISHED && entry->type == TREE_DIR) {
            return 0; /* what was in it may be there already */
        }
        if (damage == TREE_VANISHED && item->st.nlink < 2) {
            item->gone = true;
            return 0;
        }
        (void)err_set_sys(e, sys_errno, "cannot read '%s'", entry->path);
        e->code = damage == TREE_VANISHED ? ERR_BUSY : ERR_DENIED;
        return -1;
    }
    item->st.sys_errno = sys_errno;
    entry->damage = damage;
    entry->stored = 0;
    entry->sparse = false;
    entry->extents = NULL;
    entry->n_extents = 0;
    return 0;
}

void
build_fill_file(struct build *b, struct build_group *g, size_t i, int fd,
                const struct scan_entry *st)
{
    struct tree_entry *entry = &g->entries[i];
    struct build_item *item = &g->items[i];

    if (!item->known || !build_same_file(&item->st, st)) {
        entry->xattrs = NULL;
        entry->n_xattrs = 0;
        item->lost_xattrs = !build_read_xattrs(fd, false, &g->mem, entry);
        build_fill_entry(b, entry, st);
    }
    item->st = *st;
}

/* Our own reading shall not count as use, where we may say so. */
static int
open_source(const struct build *b, const char *path, int flags)
{
    const int how = flags | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    int fd = beneath_open(b->root_fd, path, how | O_NOATIME, 0);

    return fd == -EPERM ? beneath_open(b->root_fd, path, how, 0) : fd;
}

/* ---- what has no content ---- */

static int
read_link_text(int fd, struct arena *mem, struct tree_entry *entry)
{
    char text[TREE_TARGET_MAX_BYTES + 1];
    ssize_t n = readlinkat(fd, "", text, sizeof text);

    if (n <= 0 || (size_t)n > TREE_TARGET_MAX_BYTES) {
        return n == -1 ? errno : ENAMETOOLONG;
    }
    entry->target = arena_text(mem, text, (size_t)n);
    entry->target_len = (size_t)n;
    return 0;
}

/* Is there anything about the entry that stat does not tell? */
static bool
has_more(const struct build *b, const struct tree_entry *entry)
{
    if (entry->damage != TREE_WHOLE || entry->hard_link) {
        return false;
    }
    return entry->type != TREE_SOCKET || b->is_root;
}

static int
read_meta(struct build *b, struct build_group *g, size_t i, struct err *e)
{
    struct tree_entry *entry = &g->entries[i];
    bool is_dir = entry->type == TREE_DIR;
    int why = 0;
    int fd;

    if (!has_more(b, entry)) {
        return 0;
    }
    fd = is_dir ? open_source(b, entry->path, O_DIRECTORY)
                : beneath_open(b->root_fd, entry->path, O_PATH | O_NOFOLLOW, 0);
    if (fd < 0) {
        return build_damaged(b, g, i, -fd, e);
    }
    if (entry->type == TREE_SYMLINK) {
        why = read_link_text(fd, &g->mem, entry);
    }
    if (why == 0 && (entry->type != TREE_SYMLINK || b->is_root)) {
        g->items[i].lost_xattrs = !build_read_xattrs(fd, !is_dir, &g->mem, entry);
    }
    (void)fd_close(&fd);
    if (why != 0) {
        /* no link any more is as good as gone */
        why = why == EINVAL ? ENOENT : why;
        entry->target = "";
        entry->target_len = 0;
        return build_damaged(b, g, i, why, e);
    }
    return 0;
}

/* ---- files ---- */

/* Read fd once to the end of small; *stable: it did not change meanwhile. -errno. */
static int
read_once(const struct build *b, int fd, uint64_t max, struct buf *small,
          struct scan_entry *st, bool *stable)
{
    struct scan_entry after;
    bool settled;
    size_t want;
    ssize_t n;

    if (build_fstat_settled(b, fd, st, &settled) != 0) {
        return -errno;
    }
    if (st->type != TREE_FILE) {
        return -ENOENT; /* something else took its place */
    }
    want = (size_t)(st->size < max ? st->size : max);
    buf_reserve(small, want);
    n = fd_pread_full(fd, small->data + small->len, want, 0);
    if (n < 0 || build_fstat(fd, &after) != 0) {
        return -errno;
    }
    *stable = settled && build_same_content(st, &after) && (uint64_t)n == st->size;
    st->size = (uint64_t)n;
    small->len += (size_t)n;
    return 0;
}

static int
read_small_fd(struct build *b, struct build_group *g, size_t i, int fd, struct buf *small)
{
    struct tree_entry *entry = &g->entries[i];
    struct scan_entry st;
    size_t before = small->len;
    uint64_t max =
        g->n_chunks < GROWN_MAX_CHUNKS ? GROWN_MAX_BYTES : TREE_BIG_FILE_BYTES - 1;
    bool stable = false;

    for (int k = 0; k < TRIES && !stable; k++) {
        int why;

        small->len = before;
        why = read_once(b, fd, max, small, &st, &stable);
        if (why != 0) {
            small->len = before;
            return -why;
        }
    }
    build_fill_file(b, g, i, fd, &st);
    entry->size = st.size;
    entry->stored = st.size;
    entry->damage = stable ? TREE_WHOLE : TREE_CHANGED;
    return 0;
}

static int
read_file(struct build *b, struct build_group *g, size_t i, struct buf *small,
          struct err *e)
{
    int fd = open_source(b, g->entries[i].path, 0);
    int why = 0;
    int rc = 0;

    if (fd < 0) {
        return build_damaged(b, g, i, -fd, e);
    }
    if (g->big) {
        rc = build_read_big(b, g, fd, e);
    } else {
        why = read_small_fd(b, g, i, fd, small);
    }
    (void)fd_close(&fd);
    return why != 0 ? build_damaged(b, g, i, why, e) : rc;
}

/* An entry that is known needs no reading unless its content goes into a new chunk. */
static int
read_entry(struct build *b, struct build_group *g, size_t i, struct buf *small,
           struct err *e)
{
    const struct tree_entry *entry = &g->entries[i];
    bool file = entry->type == TREE_FILE && !entry->hard_link;
    bool content = entry->stored > 0 && !g->content_known;

    if (g->items[i].known && !content) {
        return 0;
    }
    if (entry->damage != TREE_WHOLE) {
        return 0; /* the sweep said why */
    }
    return file ? read_file(b, g, i, small, e) : read_meta(b, g, i, e);
}

static size_t
cut_small(const uint8_t *data, size_t len)
{
    (void)data;
    return len <= STORE_CHUNK_MAX_BYTES ? len : SMALL_CHUNK_MAX;
}

static int
put_cut(struct build *b, struct build_group *g, const uint8_t *data, size_t len,
        size_t (*cut)(const uint8_t *data, size_t len), struct err *e)
{
    while (len > 0) {
        struct build_chunk c = {.data = data, .len = (uint32_t)cut(data, len)};

        if (build_put(b, &c, 1, e) != 0) {
            return -1;
        }
        build_group_chunk(g, &c);
        data += c.len;
        len -= c.len;
    }
    return 0;
}

/*
 * What was read, and is emptied. What stands from `grown` on is all of a file that is a
 * big one by now: in chunks of its own, cut as it will be when it is in a group of its
 * own.
 */
static int
put_contents(struct build *b, struct build_group *g, struct buf *small, size_t grown,
             struct err *e)
{
    int rc = put_cut(b, g, small->data, grown, cut_small, e) == 0 &&
                     put_cut(b, g, small->data + grown, small->len - grown, chunker_cut,
                             e) == 0
                 ? 0
                 : -1;

    (void)pthread_mutex_lock(&b->lock);
    b->read_bytes += small->len;
    (void)pthread_mutex_unlock(&b->lock);
    small->len = 0;
    return rc;
}

int
build_read_group(struct build *b, struct build_group *g, struct buf *small, struct err *e)
{
    small->len = 0;
    for (size_t i = 0; i < g->n; i++) {
        size_t before = small->len;

        if (read_entry(b, g, i, small, e) != 0) {
            return -1;
        }
        if (small->len - before >= TREE_BIG_FILE_BYTES &&
            put_contents(b, g, small, before, e) != 0) {
            return -1;
        }
    }
    return small->len == 0 ? 0 : put_contents(b, g, small, small->len, e);
}
