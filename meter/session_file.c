/*
 * The journal's file under a running session. Policy: every record is written by one
 * pwrite behind the last durable byte and fdatasynced before the call returns, so at
 * most one record can be torn; space is reserved ahead, so that a disk that fills up
 * fails late. What the disk refuses stays in memory and is tried again.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "meter/session_internal.h"

#define RESERVE_STEP_BYTES ((uint64_t)64 << 10)
#define READ_STEP_BYTES    ((size_t)1 << 20)
/* A torn tail is part of one small record; of more, a copy is kept as evidence. */
#define TORN_MAX_BYTES 4096

void
session_file_close(struct meter_session *s)
{
    /* All that counts was synced; a failing close has nothing left to lose. */
    (void)fd_close(&s->fd);
}

/* Not every file system can; then a full disk is met when it is met. */
static void
reserve(struct meter_session *s, uint64_t need_bytes)
{
    if (need_bytes + RESERVE_STEP_BYTES / 2 > s->reserved_bytes) {
        (void)fallocate(s->fd, FALLOC_FL_KEEP_SIZE, (off_t)s->reserved_bytes,
                        (off_t)RESERVE_STEP_BYTES);
        s->reserved_bytes += RESERVE_STEP_BYTES;
    }
}

int
session_flush(struct meter_session *s, struct err *e)
{
    size_t n = s->unwritten.len;

    if (n == 0) {
        return 0;
    }
    reserve(s, s->on_disk_bytes + n);
    if (fd_pwrite_all(s->fd, s->unwritten.data, n, (off_t)s->on_disk_bytes) == -1 ||
        fdatasync(s->fd) == -1) {
        return err_set_sys(e, errno, "cannot write the usage journal");
    }
    s->on_disk_bytes += n;
    buf_reset(&s->unwritten);
    /* Nothing follows a receipt: what was reserved ahead is given back now, as on a full
     * disk the record of the end may need it. */
    if (s->r->ended && ftruncate(s->fd, (off_t)s->on_disk_bytes) == -1) {
        return err_set_sys(e, errno, "cannot close the usage journal");
    }
    return 0;
}

static struct meter_session *
new_session(const struct meter_session_options *o, const struct sign_public *host)
{
    struct meter_session *s = xcalloc(1, sizeof *s);

    s->r = journal_reader_new(host, NULL);
    s->key = o->host_key;
    s->dir_fd = o->dir_fd;
    s->name = xstrdup(o->name != NULL ? o->name : "usage");
    s->fd = -1;
    s->busy_ns = -1;
    s->setup_boot_ns = -1;
    s->ready_boot_ns = -1;
    clock_boot_id(s->boot);
    s->checkpoint_boot_ns = clock_boot_ns();
    return s;
}

static int
create(struct meter_session *s, struct err *e)
{
    s->fd = openat(s->dir_fd, s->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                   0600);
    if (s->fd == -1 && errno == EEXIST) {
        return err_set(e, ERR_EXISTS, "there is a usage journal '%s' already", s->name);
    }
    if (s->fd == -1) {
        return err_set_sys(e, errno, "cannot make the usage journal '%s'", s->name);
    }
    return 0;
}

static int
put_open(struct meter_session *s, const struct meter_session_options *o, struct err *e)
{
    struct journal_entry x;
    struct usage_track t;
    int rc = session_prepare(s, JOURNAL_OPEN, &x, &t, e);

    if (rc == 0) {
        usage_enter(&t, USAGE_SHIPPING);
        (void)strcpy(x.lease, o->grant->lease);
        (void)strcpy(x.job, o->grant->job);
        buf_add(&x.offer, o->offer->bytes.data, o->offer->bytes.len);
        buf_add(&x.grant, o->grant->bytes.data, o->grant->bytes.len);
        rc = session_put(s, &x, &t, o->grant, e);
    }
    journal_entry_clear(&x);
    return rc;
}

int
meter_session_start(struct meter_session **out, const struct meter_session_options *o,
                    struct err *e)
{
    struct sign_public host;
    struct meter_session *s;
    int rc = -1;

    sign_key_public(o->host_key, &host);
    s = new_session(o, &host);
    if (create(s, e) != 0) {
        goto out;
    }
    rc = put_open(s, o, e);
    if (rc == 0 && fsync(s->dir_fd) == -1) { /* the file is synced: now its name */
        rc = err_set_sys(e, errno, "cannot sync the usage journal '%s'", s->name);
    }
    if (rc != 0) {
        (void)unlinkat(s->dir_fd, s->name, 0);
        goto out;
    }
    *out = s;
    s = NULL;

out:
    meter_session_free(s);
    return rc;
}

/* Taking up again ----------------------------------------------------------- */

/* All of the file through the reader; stops at the first wrong record. */
static int
read_back(struct meter_session *s, bool *damaged, struct err *e)
{
    uint8_t *piece = xmalloc(READ_STEP_BYTES);
    struct err wrong;
    off_t at = 0;
    int rc = -1;

    *damaged = false;
    for (;;) {
        ssize_t n = fd_pread_full(s->fd, piece, READ_STEP_BYTES, at);

        if (n == -1) {
            err_set_sys(e, errno, "cannot read the usage journal '%s'", s->name);
            goto out;
        }
        if (n == 0) {
            break;
        }
        if (journal_reader_feed(s->r, piece, (size_t)n, &wrong) != 0) {
            *damaged = true;
            break;
        }
        at += n;
    }
    if (s->r->last.seq == 0) {
        /* No record stands: there is nothing to go on from, and nothing is billed. */
        *e = *damaged ? wrong : *e;
        if (!*damaged) {
            err_set(e, ERR_CORRUPT, "the usage journal has no whole record");
        }
        goto out;
    }
    rc = 0;

out:
    free(piece);
    return rc;
}

/* Bytes that are no torn tail are evidence of something: keep them beside. */
static int
save_damage(const struct meter_session *s, uint64_t from, uint64_t to, struct err *e)
{
    struct buf b = BUF_INIT;
    char *name = xasprintf("%s.damaged", s->name);
    size_t n = to - from < SIZE_MAX / 2 ? (size_t)(to - from) : SIZE_MAX / 2;
    int rc = -1;

    buf_reserve(&b, n);
    if (fd_pread_full(s->fd, b.data, n, (off_t)from) != (ssize_t)n) {
        err_set_sys(e, errno, "cannot read the usage journal '%s'", s->name);
    } else {
        rc = file_replace_at(s->dir_fd, name, b.data, n, e);
    }
    buf_free(&b);
    free(name);
    return rc;
}

/* Cut what is not a record; *cut is how many bytes that were. */
static int
cut_tail(struct meter_session *s, int64_t *cut, struct err *e)
{
    uint64_t good = journal_reader_good_bytes(s->r);
    struct stat st;

    if (fstat(s->fd, &st) == -1) {
        return err_set_sys(e, errno, "cannot look at the usage journal '%s'", s->name);
    }
    *cut = (int64_t)((uint64_t)st.st_size - good);
    if (*cut > (int64_t)TORN_MAX_BYTES &&
        save_damage(s, good, (uint64_t)st.st_size, e) != 0) {
        return -1;
    }
    if (*cut > 0 && (ftruncate(s->fd, (off_t)good) == -1 || fsync(s->fd) == -1)) {
        return err_set_sys(e, errno, "cannot cut the usage journal '%s'", s->name);
    }
    s->on_disk_bytes = good;
    s->reserved_bytes = good;
    return 0;
}

static int
put_reopen(struct meter_session *s, int64_t cut, struct err *e)
{
    struct journal_entry x;
    struct usage_track t;
    int rc;

    /* The reader may have met a wrong record; what it holds is right all the same. */
    s->r->failed = false;
    buf_reset(&s->r->waiting);
    s->held_bytes = s->r->last.held_bytes;
    s->busy_ns = s->r->last.busy_ns;
    rc = session_prepare(s, JOURNAL_REOPEN, &x, &t, e);
    if (rc == 0) {
        x.cut_bytes = cut;
        usage_enter(&t, USAGE_FAULT);
        rc = session_put(s, &x, &t, &s->r->grant, e);
    }
    journal_entry_clear(&x);
    return rc;
}

int
meter_session_reopen(struct meter_session **out, const struct meter_session_options *o,
                     struct err *e)
{
    struct sign_public host;
    struct meter_session *s;
    bool damaged;
    int64_t cut = 0;
    int rc = -1;

    sign_key_public(o->host_key, &host);
    s = new_session(o, &host);
    s->fd = openat(s->dir_fd, s->name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (s->fd == -1) {
        (void)(errno == ENOENT
                   ? err_set(e, ERR_NOT_FOUND, "there is no usage journal '%s'", s->name)
                   : err_set_sys(e, errno, "cannot open the usage journal '%s'",
                                 s->name));
        goto out;
    }
    if (read_back(s, &damaged, e) != 0) {
        goto out;
    }
    if (s->r->ended) {
        err_set(e, ERR_EXISTS, "the session has ended: its receipt is there");
        goto out;
    }
    if (cut_tail(s, &cut, e) != 0 || put_reopen(s, cut, e) != 0) {
        goto out;
    }
    *out = s;
    s = NULL;
    rc = 0;

out:
    meter_session_free(s);
    return rc;
}
