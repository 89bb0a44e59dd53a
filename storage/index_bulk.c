#include "storage/index_bulk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/file.h"
#include "storage/index_internal.h"
#include "storage/pack_internal.h"

#define HEAPS          256
#define HEAP_MEM_BYTES ((size_t)64 * 1024) /* of one heap before it goes to its file */
#define RECORD_LEN     (PACK_ROW_LEN + 4)  /* a row as in packs, and the pack's number */

struct heap {
    struct buf mem;
    int fd; /* -1: everything is in mem */
    uint64_t file_bytes;
};

struct index_bulk {
    struct index *ix;
    int dir_fd;
    index_sound_fn *sound; /* while it is finished */
    void *arg;
    struct pack_name *names; /* of pack i + first_no */
    uint32_t first_no;
    uint32_t n_names;
    struct heap heaps[HEAPS];
};

int
index_bulk_open(struct index_bulk **out, struct index *ix, int dir_fd, struct err *e)
{
    struct index_bulk *b = xcalloc(1, sizeof *b);

    b->ix = ix;
    b->dir_fd = dir_fd;
    for (size_t i = 0; i < HEAPS; i++) {
        b->heaps[i].fd = -1;
    }
    if (index_run(ix, SQL_BEGIN_WRITE, e) == -1) {
        index_bulk_close(b);
        return -1;
    }
    *out = b;
    return 0;
}

/* A file without a name; where the file system cannot, one whose name is gone at once. */
static int
nameless_file(int dir_fd, int *fd, struct err *e)
{
    static const char name[] = "index.heap";

    *fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd != -1) {
        return 0;
    }
    *fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd == -1) {
        return err_set_sys(e, errno, "cannot create a temporary file");
    }
    (void)unlinkat(dir_fd, name, 0);
    return 0;
}

static int
heap_to_file(struct index_bulk *b, struct heap *h, struct err *e)
{
    if (h->fd == -1 && nameless_file(b->dir_fd, &h->fd, e) == -1) {
        return -1;
    }
    if (fd_pwrite_all(h->fd, h->mem.data, h->mem.len, (off_t)h->file_bytes) == -1) {
        return err_set_sys(e, errno, "cannot write a temporary file");
    }
    h->file_bytes += h->mem.len;
    buf_reset(&h->mem);
    return 0;
}

/* Numbers are given one after another. */
static void
note_name(struct index_bulk *b, uint32_t no, const struct pack_name *name)
{
    if (b->n_names == 0) {
        b->first_no = no;
    }
    assert(no == b->first_no + b->n_names);
    if ((b->n_names & (b->n_names - 1)) == 0) { /* full: 0, 1, 2, 4, ... */
        b->names = xrealloc(b->names, ((size_t)2 * b->n_names + 1) * sizeof *b->names);
    }
    b->names[b->n_names++] = *name;
}

int
index_bulk_add(struct index_bulk *b, const struct index_pack *p, struct err *e)
{
    uint8_t record[RECORD_LEN];
    uint32_t no = 0;

    if (index_insert_pack(b->ix, p, &no, e) == -1) {
        return -1;
    }
    note_name(b, no, &p->name);
    for (size_t i = 0; i < p->n_entries; i++) {
        struct heap *h = &b->heaps[p->entries[i].id.b[0]];

        if (p->entries[i].second) {
            continue;
        }
        pack_row_encode(&p->entries[i], record);
        put_u32(record + PACK_ROW_LEN, no);
        buf_add(&h->mem, record, sizeof record);
        if (h->mem.len >= HEAP_MEM_BYTES && heap_to_file(b, h, e) == -1) {
            return -1;
        }
    }
    return 0;
}

/* By id; equal ids in the order in which they were given (pack, then offset). */
static int
cmp_records(const void *a, const void *b)
{
    const uint8_t *x = a;
    const uint8_t *y = b;
    int order = memcmp(x, y, SHA256_LEN);
    uint32_t px = get_u32(x + PACK_ROW_LEN);
    uint32_t py = get_u32(y + PACK_ROW_LEN);

    if (order != 0) {
        return order;
    }
    if (px != py) {
        return px < py ? -1 : 1;
    }
    return get_u32(x + SHA256_LEN) < get_u32(y + SHA256_LEN) ? -1 : 1;
}

/* How many of the n records are of the first one's id? */
static size_t
count_same(const uint8_t *r, size_t n)
{
    size_t same = 1;

    while (same < n && memcmp(r, r + same * RECORD_LEN, SHA256_LEN) == 0) {
        same++;
    }
    return same;
}

/*
 * The row of a chunk of which there are n records: one that is damaged, and was put
 * again, is in two packs.
 */
static int
insert_one_of(struct index_bulk *b, const uint8_t *r, size_t n, struct err *e)
{
    struct pack_entry en;
    size_t i = 0;

    for (; n > 1 && b->sound != NULL && i < n; i++) {
        const uint8_t *one = r + i * RECORD_LEN;

        if (pack_row_decode(one, PACK_FILE_MAX, &en) &&
            b->sound(b->arg, &b->names[get_u32(one + PACK_ROW_LEN) - b->first_no], &en)) {
            break;
        }
    }
    r += (i == n ? 0 : i) * RECORD_LEN;
    if (!pack_row_decode(r, PACK_FILE_MAX, &en)) {
        return err_set(e, ERR_CORRUPT, "a temporary file is damaged");
    }
    return index_insert_row(b->ix, &en, get_u32(r + PACK_ROW_LEN), e);
}

static int
heap_finish(struct index_bulk *b, struct heap *h, uint64_t *n_chunks, struct err *e)
{
    uint8_t *all;
    size_t n;
    int rc = -1;

    if (h->fd != -1 && heap_to_file(b, h, e) == -1) {
        return -1;
    }
    n = (size_t)(h->file_bytes + h->mem.len) / RECORD_LEN;
    all = h->mem.data;
    if (h->fd != -1) {
        all = xmalloc((size_t)h->file_bytes);
        if (fd_pread_full(h->fd, all, (size_t)h->file_bytes, 0) !=
            (ssize_t)h->file_bytes) {
            err_set_sys(e, errno, "cannot read a temporary file");
            goto out;
        }
    }
    if (n != 0) {
        qsort(all, n, RECORD_LEN, cmp_records);
    }
    for (size_t i = 0, same; i < n; i += same) {
        const uint8_t *r = all + i * RECORD_LEN;

        same = count_same(r, n - i);
        if (insert_one_of(b, r, same, e) == -1) {
            goto out;
        }
        ++*n_chunks;
    }
    rc = 0;

out:
    if (h->fd != -1) {
        free(all);
    }
    return rc;
}

int
index_bulk_finish(struct index_bulk *b, index_sound_fn *sound, void *arg,
                  uint64_t *n_chunks, struct err *e)
{
    b->sound = sound;
    b->arg = arg;
    *n_chunks = 0;
    for (size_t i = 0; i < HEAPS; i++) {
        if (heap_finish(b, &b->heaps[i], n_chunks, e) == -1) {
            return -1;
        }
    }
    return index_run(b->ix, SQL_COMMIT, e);
}

void
index_bulk_close(struct index_bulk *b)
{
    if (b == NULL) {
        return;
    }
    index_rollback(b->ix);
    free(b->names);
    for (size_t i = 0; i < HEAPS; i++) {
        buf_free(&b->heaps[i].mem);
        (void)fd_close(&b->heaps[i].fd);
    }
    free(b);
}
