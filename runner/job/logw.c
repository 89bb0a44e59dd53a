#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "runner/job/logseg.h"

#define PUMP_BYTES      ((size_t)128 * 1024)
#define INDEX_BUF_BYTES ((size_t)170 * LOGSEG_ENTRY_BYTES)
#define SPACE_CHECK     ((uint64_t)1 << 20) /* look at the free space this often */

struct segment {
    enum logseg_stream stream;
    uint64_t start;
    uint64_t end;
};

struct stream {
    int fd; /* of the segment being written, -1: none */
    uint64_t seg_start;
    uint64_t seg_end; /* bytes of the stream that are in files, up to here */
    uint64_t end;     /* logical: with what was dropped */
    uint64_t acked;
    bool dirty;
};

struct logw {
    int dir_fd;
    uint64_t cap_bytes;
    uint64_t seg_bytes;
    struct stream st[LOGSEG_STREAMS];
    struct segment *segs; /* on disk, in order of making; the current ones too */
    size_t n_segs;
    uint64_t disk_bytes; /* of finished segments */
    uint64_t dropped;

    int index_fd;
    bool index_dirty;
    bool dir_dirty;
    struct logseg_entry pending; /* stream NONE: nothing pending */
    int64_t pending_since_ns;
    uint8_t index_buf[INDEX_BUF_BYTES];
    size_t index_len;

    int closed_fds[LOGSEG_DIRTY_MAX / 2]; /* finished, not yet synced */
    size_t n_closed;

    int64_t retry_at_ns; /* the disk was full: not before this (boot clock) */
    uint64_t until_check;
    uint8_t pump[PUMP_BYTES];
};

static uint64_t
default_cap(int dir_fd)
{
    struct statvfs v;
    uint64_t tenth;

    if (fstatvfs(dir_fd, &v) != 0) {
        return LOGSEG_CAP_MIN;
    }
    tenth = (uint64_t)v.f_bavail * v.f_frsize / 10;
    return tenth < LOGSEG_CAP_DFLT ? tenth : LOGSEG_CAP_DFLT;
}

static void
add_segment(struct logw *w, enum logseg_stream s, uint64_t start, uint64_t end)
{
    w->segs = xrealloc(w->segs, (w->n_segs + 1) * sizeof *w->segs);
    w->segs[w->n_segs++] = (struct segment){s, start, end};
}

static int
segment_cmp(const void *a, const void *b)
{
    const struct segment *x = a;
    const struct segment *y = b;

    return x->start < y->start ? -1 : x->start > y->start;
}

static int
find_segment(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct logw *w = ctx;
    enum logseg_stream s;
    uint64_t start;
    struct stat sb;

    (void)e;
    if (!logseg_name_parse(name, &s, &start) ||
        fstatat(dir_fd, name, &sb, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(sb.st_mode)) {
        return 0;
    }
    add_segment(w, s, start, start + (uint64_t)sb.st_size);
    w->disk_bytes += (uint64_t)sb.st_size;
    if (start + (uint64_t)sb.st_size > w->st[s].end) {
        w->st[s].end = start + (uint64_t)sb.st_size;
        w->st[s].seg_end = w->st[s].end;
    }
    return 0;
}

/* What an earlier writer left: go on after it. */
static int
find_segments(struct logw *w, struct err *e)
{
    if (file_each_name(w->dir_fd, find_segment, w, e) != 0) {
        return err_wrap(e, "the log");
    }
    if (w->n_segs > 0) {
        qsort(w->segs, w->n_segs, sizeof *w->segs, segment_cmp);
    }
    return 0;
}

int
logw_open(struct logw **out, int dir_fd, uint64_t cap_bytes, struct err *e)
{
    struct logw *w = xcalloc(1, sizeof *w);

    for (int s = 0; s < LOGSEG_STREAMS; s++) {
        w->st[s].fd = -1;
    }
    w->index_fd = -1;
    w->dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
    if (w->dir_fd == -1) {
        err_set_sys(e, errno, "cannot open the log's directory");
        goto fail;
    }
    w->cap_bytes = cap_bytes == 0 ? default_cap(dir_fd) : cap_bytes;
    if (w->cap_bytes < LOGSEG_CAP_MIN) {
        w->cap_bytes = LOGSEG_CAP_MIN;
    }
    w->seg_bytes = w->cap_bytes / 16;
    if (w->seg_bytes > LOGSEG_BYTES) {
        w->seg_bytes = LOGSEG_BYTES;
    } else if (w->seg_bytes < LOGSEG_BYTES_MIN) {
        w->seg_bytes = LOGSEG_BYTES_MIN;
    }
    if (find_segments(w, e) != 0) {
        goto fail;
    }
    /* The index may be missing on a full disk: bytes matter more than times. */
    w->index_fd =
        openat(w->dir_fd, "index", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    w->dir_dirty = true;
    *out = w;
    return 0;

fail:
    logw_close(w);
    return -1;
}

void
logw_close(struct logw *w)
{
    if (w == NULL) {
        return;
    }
    for (int s = 0; s < LOGSEG_STREAMS; s++) {
        (void)fd_close(&w->st[s].fd);
    }
    for (size_t i = 0; i < w->n_closed; i++) {
        (void)fd_close(&w->closed_fds[i]);
    }
    (void)fd_close(&w->index_fd);
    (void)fd_close(&w->dir_fd);
    free(w->segs);
    free(w);
}

/* ---- the index ---- */

static void
index_write(struct logw *w)
{
    if (w->index_len > 0 && w->index_fd != -1) {
        /* A short write tears an entry: cut it off, or all later ones were misaligned. */
        ssize_t n = write(w->index_fd, w->index_buf, w->index_len);

        if (n > 0 && (size_t)n % LOGSEG_ENTRY_BYTES != 0) {
            struct stat sb;

            if (fstat(w->index_fd, &sb) != 0 ||
                ftruncate(w->index_fd, sb.st_size - sb.st_size % LOGSEG_ENTRY_BYTES) !=
                    0) {
                (void)fd_close(&w->index_fd);
            }
        }
        w->index_dirty = true;
    }
    w->index_len = 0;
}

static void
index_push(struct logw *w, const struct logseg_entry *en)
{
    if (w->index_len + LOGSEG_ENTRY_BYTES > sizeof w->index_buf) {
        index_write(w);
    }
    logseg_entry_format(en, w->index_buf + w->index_len);
    w->index_len += LOGSEG_ENTRY_BYTES;
}

static void
index_flush(struct logw *w)
{
    if (w->pending.stream != LOGSEG_NONE) {
        index_push(w, &w->pending);
        w->pending.stream = LOGSEG_NONE;
    }
    index_write(w);
}

static void
index_add(struct logw *w, enum logseg_stream s, unsigned flags, int64_t wall_ns)
{
    struct logseg_entry en = {s, flags, w->st[s].end, wall_ns};

    if (w->pending.stream == s && w->pending.flags == flags &&
        wall_ns >= w->pending_since_ns &&
        wall_ns - w->pending_since_ns < LOGSEG_MERGE_NS) {
        w->pending = en;
        return;
    }
    if (w->pending.stream != LOGSEG_NONE) {
        index_push(w, &w->pending);
    }
    w->pending = en;
    w->pending_since_ns = wall_ns;
}

/* ---- segments ---- */

static void
keep_for_sync(struct logw *w, int fd)
{
    size_t max = sizeof w->closed_fds / sizeof w->closed_fds[0];

    if (w->n_closed == max) {
        /* Nobody syncs as fast as we write: make room by doing it here. */
        (void)fdatasync(w->closed_fds[0]);
        (void)close(w->closed_fds[0]);
        memmove(w->closed_fds, w->closed_fds + 1, (max - 1) * sizeof *w->closed_fds);
        w->n_closed--;
    }
    w->closed_fds[w->n_closed++] = fd;
}

static void
finish_segment(struct logw *w, enum logseg_stream s)
{
    struct stream *st = &w->st[s];

    if (st->fd == -1) {
        return;
    }
    for (size_t i = w->n_segs; i-- > 0;) {
        if (w->segs[i].stream == s && w->segs[i].start == st->seg_start) {
            w->segs[i].end = st->seg_end;
            break;
        }
    }
    w->disk_bytes += st->seg_end - st->seg_start;
    keep_for_sync(w, st->fd);
    st->fd = -1;
    st->dirty = false;
}

static bool
is_current(const struct logw *w, const struct segment *g)
{
    return w->st[g->stream].fd != -1 && w->st[g->stream].seg_start == g->start;
}

/* The oldest segment that a client holds, else the oldest; false: only current ones. */
static bool
drop_one(struct logw *w)
{
    size_t pick = w->n_segs;
    char name[LOGSEG_NAME_MAX];

    for (size_t i = 0; i < w->n_segs; i++) {
        const struct segment *g = &w->segs[i];

        if (is_current(w, g)) {
            continue;
        }
        if (g->end <= w->st[g->stream].acked) {
            pick = i;
            break;
        }
        if (pick == w->n_segs) {
            pick = i;
        }
    }
    if (pick == w->n_segs) {
        return false;
    }
    logseg_name(w->segs[pick].stream, w->segs[pick].start, name);
    if (unlinkat(w->dir_fd, name, 0) != 0 && errno != ENOENT) {
        return false;
    }
    w->dir_dirty = true;
    w->dropped += w->segs[pick].end - w->segs[pick].start;
    w->disk_bytes -= w->segs[pick].end - w->segs[pick].start;
    memmove(w->segs + pick, w->segs + pick + 1, (w->n_segs - pick - 1) * sizeof *w->segs);
    w->n_segs--;
    return true;
}

static uint64_t
total_bytes(const struct logw *w)
{
    uint64_t total = w->disk_bytes;

    for (int s = 0; s < LOGSEG_STREAMS; s++) {
        if (w->st[s].fd != -1) {
            total += w->st[s].seg_end - w->st[s].seg_start;
        }
    }
    return total;
}

/* A segment that begins at the stream's end; false: the disk does not let us. */
static bool
begin_segment(struct logw *w, enum logseg_stream s, int64_t wall_ns)
{
    struct stream *st = &w->st[s];
    char name[LOGSEG_NAME_MAX];

    while (total_bytes(w) + w->seg_bytes > w->cap_bytes && drop_one(w)) {
    }
    logseg_name(s, st->end, name);
    st->fd = openat(w->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                    0600);
    if (st->fd == -1) {
        return false;
    }
    if (st->end != st->seg_end) {
        index_add(w, s, LOGSEG_F_GAP, wall_ns);
    }
    st->seg_start = st->end;
    st->seg_end = st->end;
    add_segment(w, s, st->end, st->end);
    w->dir_dirty = true;
    return true;
}

/* ---- full disks ---- */

static bool
disk_has_room(struct logw *w, size_t n)
{
    struct statvfs v;

    if (w->until_check > n) {
        w->until_check -= n;
        return true;
    }
    if (fstatvfs(w->dir_fd, &v) == 0 &&
        (uint64_t)v.f_bavail * v.f_frsize < LOGSEG_RESERVE + n) {
        return false;
    }
    w->until_check = SPACE_CHECK;
    return true;
}

/* Leave a hole for n bytes, and leave the disk alone for a while. */
static void
drop_bytes(struct logw *w, enum logseg_stream s, size_t n)
{
    struct stream *st = &w->st[s];

    if (st->fd != -1 && st->seg_end == st->seg_start) {
        char name[LOGSEG_NAME_MAX];

        /* An empty segment says nothing; one for every retry would fill the directory. */
        logseg_name(s, st->seg_start, name);
        (void)unlinkat(w->dir_fd, name, 0);
        (void)fd_close(&st->fd);
        w->n_segs--; /* it was the last one made */
        st->dirty = false;
    }
    finish_segment(w, s);
    st->end += n;
    w->dropped += n;
    w->until_check = 0;
    w->retry_at_ns = clock_boot_ns() + LOGSEG_RETRY_NS;
}

void
logw_write(struct logw *w, enum logseg_stream s, const void *data, size_t n,
           int64_t wall_ns)
{
    struct stream *st = &w->st[s];
    const uint8_t *at = data;

    if (n > 0 && w->retry_at_ns != 0) {
        if (clock_boot_ns() < w->retry_at_ns) {
            st->end += n;
            w->dropped += n;
            finish_segment(w, s);
            return;
        }
        w->retry_at_ns = 0;
    }
    while (n > 0) {
        uint64_t room;
        size_t part;
        ssize_t put;

        if (st->fd != -1 && st->seg_end - st->seg_start >= w->seg_bytes) {
            finish_segment(w, s);
        }
        if (!disk_has_room(w, n) || (st->fd == -1 && !begin_segment(w, s, wall_ns))) {
            drop_bytes(w, s, n);
            return;
        }
        room = w->seg_bytes - (st->seg_end - st->seg_start);
        part = n < room ? n : (size_t)room;
        put = write(st->fd, at, part);
        if (put == -1 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            drop_bytes(w, s, n);
            return;
        }
        at += put;
        n -= (size_t)put;
        st->end += (uint64_t)put;
        st->seg_end = st->end;
        st->dirty = true;
    }
    index_add(w, s, 0, wall_ns);
}

int
logw_pump(struct logw *w, enum logseg_stream s, int fd, size_t max, int64_t wall_ns,
          size_t *got)
{
    ssize_t n;

    do {
        n = read(fd, w->pump, max < sizeof w->pump ? max : sizeof w->pump);
    } while (n == -1 && errno == EINTR);
    if (n == -1) {
        return errno;
    }
    logw_write(w, s, w->pump, (size_t)n, wall_ns);
    *got = (size_t)n;
    return 0;
}

uint64_t
logw_end(const struct logw *w, enum logseg_stream s)
{
    return w->st[s].end;
}

uint64_t
logw_dropped(const struct logw *w)
{
    return w->dropped;
}

void
logw_acked(struct logw *w, enum logseg_stream s, uint64_t offset)
{
    if (offset > w->st[s].acked) {
        w->st[s].acked = offset;
    }
}

/* ---- durability ---- */

bool
logw_dirty(const struct logw *w)
{
    return w->dir_dirty || w->index_dirty || w->n_closed > 0 || w->index_len > 0 ||
           w->pending.stream != LOGSEG_NONE || w->st[LOGSEG_OUT].dirty ||
           w->st[LOGSEG_ERR].dirty;
}

static void
take_copy(bool *dirty, int fd, int *fds, size_t *n)
{
    int copy;

    if (!*dirty || fd == -1) {
        return;
    }
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy != -1) {
        fds[(*n)++] = copy;
        *dirty = false;
    }
}

void
logw_take_dirty(struct logw *w, int fds[LOGSEG_DIRTY_MAX], size_t *n)
{
    *n = 0;
    index_flush(w);
    for (size_t i = 0; i < w->n_closed; i++) {
        fds[(*n)++] = w->closed_fds[i];
    }
    w->n_closed = 0;
    take_copy(&w->st[LOGSEG_OUT].dirty, w->st[LOGSEG_OUT].fd, fds, n);
    take_copy(&w->st[LOGSEG_ERR].dirty, w->st[LOGSEG_ERR].fd, fds, n);
    take_copy(&w->index_dirty, w->index_fd, fds, n);
    take_copy(&w->dir_dirty, w->dir_fd, fds, n);
}

int
logw_sync(struct logw *w, struct err *e)
{
    int fds[LOGSEG_DIRTY_MAX];
    size_t n;
    int failed = 0;

    logw_take_dirty(w, fds, &n);
    for (size_t i = 0; i < n; i++) {
        if (fsync(fds[i]) != 0 && failed == 0) {
            failed = errno;
        }
        (void)close(fds[i]);
    }
    return failed == 0 ? 0 : err_set_sys(e, failed, "cannot sync the log");
}
