#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/file.h"
#include "storage/pack.h"
#include "storage/pack_internal.h"

/* How much of a damaged pack is looked through at a time. */
#define SCAN_BYTES ((size_t)1 << 20)
/* What a bad sector makes unreadable. */
#define PAGE_BYTES ((size_t)4096)

bool
pack_is_damage(const struct err *e)
{
    return e->code == ERR_CORRUPT || (e->code == ERR_SYSTEM && e->sys_errno == EIO);
}

int
pack_open(int packs_fd, const struct pack_name *name, int *out_fd, struct err *e)
{
    char file[PACK_FILE_NAME_BYTES];
    int fd;

    pack_file_name(name, file);
    fd = openat(packs_fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd == -1 && errno == ENOENT) {
        return err_set(e, ERR_NOT_FOUND, "no pack '%s'", file);
    }
    if (fd == -1) {
        return err_set_sys(e, errno, "cannot open pack '%s'", file);
    }
    *out_fd = fd;
    return 0;
}

static int
file_size(int fd, uint64_t *size, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st) == -1) {
        return err_set_sys(e, errno, "cannot stat a pack");
    }
    if (st.st_size < 0 || (uint64_t)st.st_size > PACK_FILE_MAX) {
        return err_set(e, ERR_CORRUPT, "a pack of impossible size");
    }
    *size = (uint64_t)st.st_size;
    return 0;
}

ssize_t
pack_pread(int fd, void *to, size_t n, uint64_t at)
{
    ssize_t got = -1;

    for (int i = 0; i < STORE_READ_TRIES && got == -1; i++) {
        got = fd_pread_full(fd, to, n, (off_t)at);
        if (got == -1 && errno != EIO) {
            break;
        }
    }
    return got;
}

/* All n bytes at that offset; ERR_CORRUPT where the file is shorter. */
static int
read_at(int fd, void *to, size_t n, uint64_t at, struct err *e)
{
    ssize_t got = pack_pread(fd, to, n, at);

    if (got == -1) {
        return err_set_sys(e, errno, "cannot read a pack");
    }
    if ((size_t)got < n) {
        return err_set(e, ERR_CORRUPT, "a pack ends too early");
    }
    return 0;
}

/*
 * The same where what cannot be read may be passed over: such a page reads as zeros, in
 * which nothing of ours begins.
 */
static int
read_around(int fd, uint8_t *to, size_t n, uint64_t at, struct err *e)
{
    struct err why;

    if (read_at(fd, to, n, at, &why) == 0) {
        return 0;
    }
    for (size_t done = 0; pack_is_damage(&why) && done < n;) {
        size_t page = PAGE_BYTES - (size_t)((at + done) % PAGE_BYTES);
        size_t some = n - done < page ? n - done : page;

        if (read_at(fd, to + done, some, at + done, &why) == -1) {
            if (!pack_is_damage(&why)) {
                break;
            }
            memset(to + done, 0, some);
        }
        done += some;
    }
    if (!pack_is_damage(&why)) {
        *e = why;
        return -1;
    }
    return 0;
}

int
pack_check_header(int fd, const struct pack_name *name, struct err *e)
{
    uint8_t want[PACK_HEADER_LEN];
    uint8_t got[PACK_HEADER_LEN];

    pack_header_encode(name, want);
    if (read_at(fd, got, sizeof got, 0, e) == -1) {
        return -1;
    }
    if (memcmp(got, want, sizeof got) != 0) {
        return err_set(e, ERR_CORRUPT, "the header of a pack is damaged");
    }
    return 0;
}

static int
parse_table(const uint8_t *table, uint32_t n, uint64_t table_offset,
            struct pack_list *out, struct err *e)
{
    struct pack_entry en;

    if (memcmp(table, PACK_TABLE_MAGIC, 8) != 0) {
        return err_set(e, ERR_CORRUPT, "the table of a pack is damaged");
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!pack_row_decode(table + 8 + (size_t)i * PACK_ROW_LEN, table_offset, &en)) {
            return err_set(e, ERR_CORRUPT, "an impossible row in the table of a pack");
        }
        pack_list_add(out, &en);
    }
    return 0;
}

int
pack_read_table(int fd, struct pack_list *out, struct err *e)
{
    uint8_t trailer[PACK_TRAILER_LEN];
    struct pack_list list = {0};
    uint8_t *table = NULL;
    uint64_t size;
    uint64_t at;
    size_t len;
    uint32_t n;
    int rc = -1;

    if (file_size(fd, &size, e) == -1) {
        return -1;
    }
    if (size < PACK_HEADER_LEN + 8 + PACK_TRAILER_LEN) {
        return err_set(e, ERR_CORRUPT, "a pack without a table");
    }
    if (read_at(fd, trailer, sizeof trailer, size - sizeof trailer, e) == -1) {
        return -1;
    }
    n = get_u32(trailer + 8);
    at = get_u32(trailer + 12);
    if (memcmp(trailer, PACK_TRAILER_MAGIC, 8) != 0 ||
        get_u32(trailer + 28) != crc32c(0, trailer, 28) ||
        at + 8 + (uint64_t)n * PACK_ROW_LEN + PACK_TRAILER_LEN != size) {
        return err_set(e, ERR_CORRUPT, "a pack without a table");
    }
    len = (size_t)(size - PACK_TRAILER_LEN - at);
    table = xmalloc(len);
    if (read_at(fd, table, len, at, e) == -1) {
        goto out;
    }
    if (crc32c(0, table, len) != get_u32(trailer + 16)) {
        err_set(e, ERR_CORRUPT, "the table of a pack is damaged");
        goto out;
    }
    if (parse_table(table, n, at, &list, e) == -1) {
        goto out;
    }
    pack_list_free(out);
    *out = list;
    memset(&list, 0, sizeof list);
    rc = 0;

out:
    pack_list_free(&list);
    free(table);
    return rc;
}

/*
 * The first offset from `at` on where a sound entry header begins; size if none does.
 * Entries are not aligned, so every byte is a candidate.
 */
static int
find_entry(int fd, uint64_t at, uint64_t size, uint64_t *found, struct err *e)
{
    uint8_t *block = xmalloc(SCAN_BYTES);
    uint8_t magic[4];
    int rc = -1;

    put_u32(magic, PACK_ENTRY_MAGIC);
    while (at + PACK_ENTRY_LEN <= size) {
        size_t n = size - at < SCAN_BYTES ? (size_t)(size - at) : SCAN_BYTES;

        if (read_around(fd, block, n, at, e) == -1) {
            goto out;
        }
        for (size_t i = 0; i + PACK_ENTRY_LEN <= n; i++) {
            const uint8_t *hit = memchr(block + i, magic[0], n - PACK_ENTRY_LEN + 1 - i);
            struct pack_entry en;
            struct err ignored;
            uint32_t crc;

            if (hit == NULL) {
                break;
            }
            i = (size_t)(hit - block);
            if (pack_entry_decode(hit, &en, &crc, &ignored) == 0) {
                *found = at + i;
                rc = 0;
                goto out;
            }
        }
        at += n - PACK_ENTRY_LEN + 1; /* a header may lie across the border */
    }
    *found = size;
    rc = 0;

out:
    free(block);
    return rc;
}

/* Does a sound table that ends the file begin at `at`? */
static bool
table_at(int fd, uint64_t at)
{
    struct pack_list list = {0};
    struct err ignored;
    uint64_t size;
    bool is = pack_read_table(fd, &list, &ignored) == 0 &&
              file_size(fd, &size, &ignored) == 0 &&
              at + 8 + list.n * PACK_ROW_LEN + PACK_TRAILER_LEN == size;

    pack_list_free(&list);
    return is;
}

int
pack_scan(int fd, struct pack_list *out, bool *whole, struct err *e)
{
    struct pack_list list = {0};
    uint64_t at = PACK_HEADER_LEN;
    uint64_t expected = at;
    uint64_t size;
    bool gapless = true;

    if (file_size(fd, &size, e) == -1) {
        return -1;
    }
    while (at + PACK_ENTRY_LEN <= size) {
        uint8_t header[PACK_ENTRY_LEN];
        struct pack_entry en;
        struct err ignored;
        uint32_t crc;

        if (read_around(fd, header, sizeof header, at, e) == -1) {
            goto fail;
        }
        if (pack_entry_decode(header, &en, &crc, &ignored) == -1 ||
            at + PACK_ENTRY_LEN + en.stored_len > size) {
            if (find_entry(fd, at + 1, size, &at, e) == -1) {
                goto fail;
            }
            continue;
        }
        gapless = gapless && at == expected;
        en.offset = (uint32_t)at;
        pack_list_add(&list, &en);
        at += PACK_ENTRY_LEN + (uint64_t)en.stored_len;
        expected = at;
    }
    *whole = gapless && table_at(fd, expected);
    pack_list_free(out);
    *out = list;
    return 0;

fail:
    pack_list_free(&list);
    return -1;
}

int
pack_check_readable(int fd, struct err *e)
{
    uint8_t *block = xmalloc(SCAN_BYTES);
    uint64_t size;
    int rc = file_size(fd, &size, e);

    for (uint64_t at = 0; rc == 0 && at < size; at += SCAN_BYTES) {
        rc = read_at(fd, block, size - at < SCAN_BYTES ? (size_t)(size - at) : SCAN_BYTES,
                     at, e);
    }
    free(block);
    return rc;
}

int
pack_read_entry(int fd, const struct pack_entry *en, uint8_t *to, struct err *e)
{
    struct pack_entry got;
    uint32_t crc;

    if (read_at(fd, to, PACK_ENTRY_LEN + (size_t)en->stored_len, en->offset, e) == -1 ||
        pack_entry_decode(to, &got, &crc, e) == -1) {
        return -1;
    }
    if (!sha256_equal(&got.id, &en->id) || got.raw_len != en->raw_len ||
        got.stored_len != en->stored_len || got.codec != en->codec) {
        return err_set(e, ERR_CORRUPT, "another chunk lies where one was expected");
    }
    if (crc32c(0, to + PACK_ENTRY_LEN, en->stored_len) != crc) {
        return err_set(e, ERR_CORRUPT, "the bytes of a chunk are damaged");
    }
    return 0;
}
