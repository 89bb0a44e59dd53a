#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "runner/job/logseg.h"

struct starts {
    uint64_t *v; /* sorted */
    size_t n;
};

struct open_segment {
    int fd; /* -1: none */
    uint64_t start;
};

struct logr {
    int dir_fd;
    int index_fd;
    struct starts starts[LOGSEG_STREAMS];
    struct open_segment open[LOGSEG_STREAMS];
};

int
logr_open(struct logr **out, int dir_fd, struct err *e)
{
    struct logr *r = xcalloc(1, sizeof *r);

    r->index_fd = -1;
    for (int s = 0; s < LOGSEG_STREAMS; s++) {
        r->open[s].fd = -1;
    }
    r->dir_fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
    if (r->dir_fd == -1) {
        err_set_sys(e, errno, "cannot open the log's directory");
        logr_close(r);
        return -1;
    }
    *out = r;
    return 0;
}

void
logr_close(struct logr *r)
{
    if (r == NULL) {
        return;
    }
    for (int s = 0; s < LOGSEG_STREAMS; s++) {
        free(r->starts[s].v);
        (void)fd_close(&r->open[s].fd);
    }
    (void)fd_close(&r->index_fd);
    (void)fd_close(&r->dir_fd);
    free(r);
}

static int
start_cmp(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static int
add_start(void *ctx, int dir_fd, const char *name, struct err *e)
{
    struct logr *r = ctx;
    enum logseg_stream s;
    uint64_t start;

    (void)dir_fd;
    (void)e;
    if (logseg_name_parse(name, &s, &start)) {
        struct starts *l = &r->starts[s];

        l->v = xrealloc(l->v, (l->n + 1) * sizeof *l->v);
        l->v[l->n++] = start;
    }
    return 0;
}

static int
list_segments(struct logr *r, struct err *e)
{
    for (int s = 0; s < LOGSEG_STREAMS; s++) {
        r->starts[s].n = 0;
    }
    if (file_each_name(r->dir_fd, add_start, r, e) != 0) {
        return err_wrap(e, "the log");
    }
    for (int s = 1; s < LOGSEG_STREAMS; s++) {
        if (r->starts[s].n > 1) {
            qsort(r->starts[s].v, r->starts[s].n, sizeof(uint64_t), start_cmp);
        }
    }
    return 0;
}

/* Number of segments that start at or before offset. */
static size_t
n_starts_upto(const struct starts *l, uint64_t offset)
{
    size_t lo = 0;
    size_t hi = l->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (l->v[mid] <= offset) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* Open the segment that begins at start; *gone if it was dropped meanwhile. */
static int
open_segment(struct logr *r, enum logseg_stream s, uint64_t start, bool *gone,
             struct err *e)
{
    struct open_segment *o = &r->open[s];
    char name[LOGSEG_NAME_MAX];

    *gone = false;
    if (o->fd != -1 && o->start == start) {
        return 0;
    }
    (void)fd_close(&o->fd);
    logseg_name(s, start, name);
    o->fd = openat(r->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    o->start = start;
    if (o->fd == -1 && errno == ENOENT) {
        *gone = true;
        return 0;
    }
    return o->fd == -1 ? err_set_sys(e, errno, "cannot open the log's '%s'", name) : 0;
}

/* Read what is there at offset by the list as it is; *got 0: nothing. */
static int
read_at(struct logr *r, enum logseg_stream s, uint64_t offset, void *to, size_t n,
        size_t *got, struct err *e)
{
    size_t before = n_starts_upto(&r->starts[s], offset);
    uint64_t start;
    bool gone;
    ssize_t k;

    *got = 0;
    if (before == 0) {
        return 0;
    }
    start = r->starts[s].v[before - 1];
    if (open_segment(r, s, start, &gone, e) != 0) {
        return -1;
    }
    if (gone) {
        return 0;
    }
    k = fd_pread_full(r->open[s].fd, to, n, (off_t)(offset - start));
    if (k == -1) {
        return err_set_sys(e, errno, "cannot read the log");
    }
    *got = (size_t)k;
    return 0;
}

int
logr_read(struct logr *r, enum logseg_stream s, uint64_t offset, uint64_t end, void *to,
          size_t n, size_t *got, uint64_t *skip_to, struct err *e)
{
    size_t after;
    size_t k;

    if (offset > LOGSEG_OFFSET_MAX) {
        return err_set(e, ERR_RANGE, "log offset out of range");
    }
    if (end != 0 && offset >= end) {
        n = 0;
    } else if (end != 0 && end - offset < n) {
        n = (size_t)(end - offset);
    }
    *skip_to = offset;
    *got = 0;
    if (n == 0) {
        return 0;
    }
    if (read_at(r, s, offset, to, n, &k, e) != 0) {
        return -1;
    }
    if (k == 0) {
        /* Perhaps a newer segment: what was listed before is no proof of a hole. */
        if (list_segments(r, e) != 0 || read_at(r, s, offset, to, n, &k, e) != 0) {
            return -1;
        }
    }
    if (k > 0) {
        *got = k;
        return 0;
    }
    after = n_starts_upto(&r->starts[s], offset);
    if (after < r->starts[s].n) {
        *skip_to = r->starts[s].v[after];
        if (end != 0 && *skip_to > end) {
            *skip_to = end;
        }
    } else if (end != 0) {
        *skip_to = end;
    }
    return 0;
}

int
logr_end(struct logr *r, enum logseg_stream s, uint64_t *end, struct err *e)
{
    struct starts *l = &r->starts[s];
    struct stat sb;
    bool gone;

    if (list_segments(r, e) != 0) {
        return -1;
    }
    if (l->n == 0) {
        *end = 0;
        return 0;
    }
    if (open_segment(r, s, l->v[l->n - 1], &gone, e) != 0) {
        return -1;
    }
    if (gone) { /* the newest one is only removed when it was empty */
        *end = l->v[l->n - 1];
        return 0;
    }
    if (fstat(r->open[s].fd, &sb) != 0) {
        return err_set_sys(e, errno, "cannot look at the log");
    }
    *end = l->v[l->n - 1] + (uint64_t)sb.st_size;
    return 0;
}

/* *there: false where no index was ever written. */
static int
open_index(struct logr *r, bool *there, struct err *e)
{
    if (r->index_fd == -1) {
        r->index_fd = openat(r->dir_fd, "index", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    *there = r->index_fd != -1;
    return *there || errno == ENOENT ? 0
                                     : err_set_sys(e, errno, "cannot open the log index");
}

int
logr_index_bytes(struct logr *r, uint64_t offset, void *to, size_t n, size_t *got,
                 struct err *e)
{
    bool there;
    ssize_t k;

    *got = 0;
    if (offset > LOGSEG_OFFSET_MAX) {
        return err_set(e, ERR_RANGE, "log index out of range");
    }
    if (open_index(r, &there, e) != 0) {
        return -1;
    }
    if (!there) {
        return 0;
    }
    k = fd_pread_full(r->index_fd, to, n, (off_t)offset);
    if (k < 0) {
        return err_set_sys(e, errno, "cannot read the log index");
    }
    *got = (size_t)k;
    return 0;
}

int
logr_index_end(struct logr *r, uint64_t *end, struct err *e)
{
    struct stat sb;
    bool there;

    *end = 0;
    if (open_index(r, &there, e) != 0) {
        return -1;
    }
    if (!there) {
        return 0;
    }
    if (fstat(r->index_fd, &sb) != 0) {
        return err_set_sys(e, errno, "cannot look at the log index");
    }
    *end = (uint64_t)sb.st_size / LOGSEG_ENTRY_BYTES * LOGSEG_ENTRY_BYTES;
    return 0;
}

int
logr_index(struct logr *r, uint64_t at, struct logseg_entry *to, size_t max, size_t *n,
           struct err *e)
{
    uint8_t raw[LOGSEG_ENTRY_BYTES * 64];

    *n = 0;
    if (at > LOGSEG_OFFSET_MAX / LOGSEG_ENTRY_BYTES) {
        return err_set(e, ERR_RANGE, "log index out of range");
    }
    while (*n < max) {
        size_t want = max - *n < 64 ? max - *n : 64;
        size_t whole;
        size_t k;

        if (logr_index_bytes(r, (at + *n) * LOGSEG_ENTRY_BYTES, raw,
                             want * LOGSEG_ENTRY_BYTES, &k, e) != 0) {
            return -1;
        }
        whole = k / LOGSEG_ENTRY_BYTES;
        for (size_t i = 0; i < whole; i++) {
            if (!logseg_entry_parse(raw + i * LOGSEG_ENTRY_BYTES, &to[*n])) {
                return 0; /* what follows a torn entry says nothing */
            }
            (*n)++;
        }
        if (whole < want) {
            break;
        }
    }
    return 0;
}
