#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/file.h"
#include "storage/pack.h"
#include "storage/pack_internal.h"

/*
 * Make and lock a file of that name. *fd stays -1, without an error, if somebody
 * sweeps it away between the two steps, or is about to.
 */
static int
create_locked(int packs_fd, const char *file, int *fd, struct err *e)
{
    struct stat st;
    int f = openat(packs_fd, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (f == -1) {
        return err_set_sys(e, errno, "cannot create pack '%s'", file);
    }
    if (flock(f, LOCK_EX | LOCK_NB) == -1) {
        if (errno == EWOULDBLOCK) {
            (void)close(f); /* gc takes it for rubbish, and has the lock */
            return 0;
        }
        err_set_sys(e, errno, "cannot lock pack '%s'", file);
        goto fail;
    }
    /* Under the lock: nobody removes it from now on, but gc may have. */
    if (fstat(f, &st) == -1) {
        err_set_sys(e, errno, "cannot stat pack '%s'", file);
        goto fail;
    }
    if (st.st_nlink == 0) {
        (void)close(f);
        return 0;
    }
    *fd = f;
    return 0;

fail:
    (void)close(f);
    (void)unlinkat(packs_fd, file, 0);
    return -1;
}

int
pack_create(struct pack_writer **out, int packs_fd, struct err *e)
{
    uint8_t header[PACK_HEADER_LEN];
    char file[PACK_FILE_NAME_BYTES];
    struct pack_writer *w = xcalloc(1, sizeof *w);

    w->fd = -1;
    while (w->fd == -1) {
        random_bytes(w->name.b, PACK_NAME_LEN);
        pack_file_name(&w->name, file);
        if (create_locked(packs_fd, file, &w->fd, e) == -1) {
            free(w);
            return -1;
        }
    }
    pack_header_encode(&w->name, header);
    if (fd_pwrite_all(w->fd, header, sizeof header, 0) == -1) {
        err_set_sys(e, errno, "cannot write pack '%s'", file);
        pack_writer_free(w, packs_fd, true);
        return -1;
    }
    w->end = PACK_HEADER_LEN;
    *out = w;
    return 0;
}

void
pack_reserve(struct pack_writer *w, struct pack_entry *en)
{
    uint64_t bytes = PACK_ENTRY_LEN + (uint64_t)en->stored_len;

    en->offset = (uint32_t)w->end;
    w->end += bytes;
    if (en->kind == STORE_KIND_META && !en->second) {
        w->second_bytes += bytes;
    }
    pack_list_add(&w->entries, en);
}

int
pack_rewind(struct pack_writer *w, size_t n, struct err *e)
{
    while (w->entries.n > n) {
        const struct pack_entry *last = &w->entries.v[--w->entries.n];

        w->end = last->offset;
        if (last->kind == STORE_KIND_META && !last->second) {
            w->second_bytes -= PACK_ENTRY_LEN + (uint64_t)last->stored_len;
        }
    }
    if (ftruncate(w->fd, (off_t)w->end) == -1) {
        return err_set_sys(e, errno, "cannot shorten a pack");
    }
    return 0;
}

bool
pack_full(const struct pack_writer *w)
{
    return w->end + w->second_bytes >= PACK_FULL_BYTES;
}

/* pwritev of header and data, all of it. */
static int
write_both(int fd, const uint8_t *header, const void *data, size_t len, uint64_t at)
{
    struct iovec iov[2] = {{(void *)(uintptr_t)header, PACK_ENTRY_LEN},
                           {(void *)(uintptr_t)data, len}};
    ssize_t n;

    do {
        n = pwritev(fd, iov, 2, (off_t)at);
    } while (n == -1 && errno == EINTR);
    if (n == -1) {
        return -1;
    }
    if (n < PACK_ENTRY_LEN) {
        if (fd_pwrite_all(fd, header + n, (size_t)(PACK_ENTRY_LEN - n), (off_t)at + n) ==
            -1) {
            return -1;
        }
        n = PACK_ENTRY_LEN;
    }
    n -= PACK_ENTRY_LEN;
    return fd_pwrite_all(fd, (const uint8_t *)data + n, len - (size_t)n,
                         (off_t)at + PACK_ENTRY_LEN + n);
}

int
pack_write_entry(const struct pack_writer *w, const struct pack_entry *en,
                 const void *data, struct err *e)
{
    uint8_t header[PACK_ENTRY_LEN];

    pack_entry_encode(en, crc32c(0, data, en->stored_len), header);
    if (write_both(w->fd, header, data, en->stored_len, en->offset) == -1) {
        return err_set_sys(e, errno, "cannot write to a pack");
    }
    return 0;
}

/* Write what must not be lost by one bad sector once more, behind all else. */
static int
write_second_copies(struct pack_writer *w, struct err *e)
{
    size_t n_first = w->entries.n;
    uint8_t *data = NULL;
    int rc = -1;

    for (size_t i = 0; i < n_first; i++) {
        struct pack_entry en = w->entries.v[i];

        if (en.kind != STORE_KIND_META) {
            continue;
        }
        data = xrealloc(data, PACK_ENTRY_LEN + (size_t)en.stored_len);
        if (pack_read_entry(w->fd, &en, data, e) == -1) {
            goto out;
        }
        en.second = true;
        pack_reserve(w, &en);
        if (pack_write_entry(w, &en, data + PACK_ENTRY_LEN, e) == -1) {
            goto out;
        }
    }
    rc = 0;

out:
    free(data);
    return rc;
}

static int
write_table(struct pack_writer *w, struct err *e)
{
    size_t len = 8 + w->entries.n * PACK_ROW_LEN + PACK_TRAILER_LEN;
    uint8_t *table = xcalloc(1, len);
    uint8_t *trailer = table + len - PACK_TRAILER_LEN;
    int rc = 0;

    memcpy(table, PACK_TABLE_MAGIC, 8);
    for (size_t i = 0; i < w->entries.n; i++) {
        pack_row_encode(&w->entries.v[i], table + 8 + i * PACK_ROW_LEN);
    }
    memcpy(trailer, PACK_TRAILER_MAGIC, 8);
    put_u32(trailer + 8, (uint32_t)w->entries.n);
    put_u32(trailer + 12, (uint32_t)w->end);
    put_u32(trailer + 16, crc32c(0, table, len - PACK_TRAILER_LEN));
    put_u32(trailer + 28, crc32c(0, trailer, 28));
    if (fd_pwrite_all(w->fd, table, len, (off_t)w->end) == -1) {
        rc = err_set_sys(e, errno, "cannot write the table of a pack");
    } else {
        w->end += len;
    }
    free(table);
    return rc;
}

int
pack_seal(struct pack_writer *w, struct err *e)
{
    if (write_second_copies(w, e) == -1 || write_table(w, e) == -1) {
        return -1;
    }
    if (fdatasync(w->fd) == -1) {
        return err_set_sys(e, errno, "cannot sync a pack");
    }
    w->sealed = true;
    return 0;
}

void
pack_writer_free(struct pack_writer *w, int packs_fd, bool discard)
{
    char file[PACK_FILE_NAME_BYTES];

    if (w == NULL) {
        return;
    }
    if (discard) {
        pack_file_name(&w->name, file);
        (void)unlinkat(packs_fd, file, 0); /* left over, gc takes it */
    }
    if (w->fd != -1) {
        (void)close(w->fd); /* what counts was synced */
    }
    pack_list_free(&w->entries);
    free(w);
}
