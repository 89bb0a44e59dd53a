#ifndef STORAGE_PACK_H
#define STORAGE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/hash.h"
#include "storage/store.h"

/*
 * Packs: files of about 32 MiB that hold chunks one after another, each behind a
 * header that tells all there is to know of it. A pack is filled by one process,
 * sealed (a table of its entries at the end, fdatasync), and never changed
 * again. Layout to the byte: DESIGN.md.
 *
 * A pack being filled is locked (flock) by its writer until the index knows it; a
 * file in packs/ that nobody locks and the index does not know is rubbish of a
 * process that died.
 *
 * Memory is the caller's unless said otherwise. A struct pack_writer is guarded by the
 * caller; pack_write_entry alone may run beside other calls.
 */
#define PACK_NAME_LEN        16 /* random bytes; the file is their hex and ".pack" */
#define PACK_FILE_NAME_LEN   (2 * PACK_NAME_LEN + 5)
#define PACK_FILE_NAME_BYTES (PACK_FILE_NAME_LEN + 1) /* with the NUL */
#define PACK_HEADER_LEN      64
#define PACK_ENTRY_LEN       64
#define PACK_ROW_LEN         48
#define PACK_TRAILER_LEN     32
#define PACK_FULL_BYTES      ((uint64_t)32 << 20)  /* a pack is sealed from this on */
#define PACK_FILE_MAX        ((uint64_t)128 << 20) /* a longer one is not ours */

struct pack_name {
    uint8_t b[PACK_NAME_LEN];
};

struct pack_entry {
    struct sha256 id;
    uint32_t offset; /* of the entry's header in the pack */
    uint32_t raw_len;
    uint32_t stored_len;
    uint8_t codec; /* enum store_codec */
    uint8_t kind;  /* enum store_kind */
    bool second;   /* the second copy of an entry that is in this pack already */
};

struct pack_list {
    struct pack_entry *v;
    size_t n;
    size_t cap;
};
void pack_list_add(struct pack_list *l, const struct pack_entry *en);
void pack_list_free(struct pack_list *l);

void pack_file_name(const struct pack_name *name, char out[PACK_FILE_NAME_BYTES]);
bool pack_file_parse(const char *file, struct pack_name *name) MUST_USE;

/* ---- writing ---- */

struct pack_writer {
    struct pack_name name;
    int fd;
    uint64_t end;          /* bytes reserved so far */
    uint64_t second_bytes; /* what second copies will take at the seal */
    struct pack_list entries;
    bool sealed;
};

/* Make a new, locked pack in packs_fd. *out is the caller's: pack_writer_free. */
int pack_create(struct pack_writer **out, int packs_fd, struct err *e) MUST_USE;

/* Reserve room for an entry: fills en->offset and takes it into the list. */
void pack_reserve(struct pack_writer *w, struct pack_entry *en);
/* Take back all entries but the first n, which nobody may be writing. */
int pack_rewind(struct pack_writer *w, size_t n, struct err *e) MUST_USE;
/* Is it time for another pack? */
bool pack_full(const struct pack_writer *w);
/* Write the reserved entry en with its encoded bytes. */
int pack_write_entry(const struct pack_writer *w, const struct pack_entry *en,
                     const void *data, struct err *e) MUST_USE;
/*
 * All entries are written: add second copies of STORE_KIND_META and the table, and
 * fdatasync. The name is durable once the directory is synced.
 */
int pack_seal(struct pack_writer *w, struct err *e) MUST_USE;
/* Close (which unlocks) and free; with discard, the file goes too. NULL is allowed. */
void pack_writer_free(struct pack_writer *w, int packs_fd, bool discard);

/* Of entries: how many, and how long, second copies aside. */
struct pack_sums {
    uint64_t n, raw, stored;
};
struct pack_sums pack_sums(const struct pack_entry *entries, size_t n);

/* ---- reading ---- */

/* ERR_NOT_FOUND if there is no such file. */
int pack_open(int packs_fd, const struct pack_name *name, int *out_fd,
              struct err *e) MUST_USE;

/* Is the file's own header sound, and of that name? ERR_CORRUPT. */
int pack_check_header(int fd, const struct pack_name *name, struct err *e) MUST_USE;

/* Read the table of a sealed pack. ERR_CORRUPT: there is none, or it is damaged. */
int pack_read_table(int fd, struct pack_list *out, struct err *e) MUST_USE;

/* A disk that fails to read may do better the next time: only then are bytes lost. */
#define STORE_READ_TRIES 3
/* Is a failure to read damage (bytes that are wrong or cannot be read), or our trouble?
 */
bool pack_is_damage(const struct err *e);

/* Can every byte be read? -1 with what pack_is_damage tells of. */
int pack_check_readable(int fd, struct err *e) MUST_USE;

/*
 * Find the entries by their headers alone, passing over what is damaged, torn off or
 * cannot be read.
 * *whole: the headers followed each other without a gap, up to a sound table (a
 * sealed, undamaged pack) as far as headers can tell.
 */
int pack_scan(int fd, struct pack_list *out, bool *whole, struct err *e) MUST_USE;

/*
 * Up to n bytes at that offset of a pack; fewer at its end only. A disk that fails to
 * read is asked again before it is believed. -1: errno.
 */
ssize_t pack_pread(int fd, void *to, size_t n, uint64_t at);

/*
 * Read the encoded bytes of en to `to` (PACK_ENTRY_LEN + en->stored_len bytes of room;
 * they come behind the header, at to + PACK_ENTRY_LEN) and check them: header, its
 * sum, that it is this entry, and the sum over the bytes. ERR_CORRUPT.
 */
int pack_read_entry(int fd, const struct pack_entry *en, uint8_t *to,
                    struct err *e) MUST_USE;

/* ---- the bytes, for tests and fuzzing ---- */

void pack_entry_encode(const struct pack_entry *en, uint32_t data_crc,
                       uint8_t out[PACK_ENTRY_LEN]);
/* *offset of the entry is left to the caller. ERR_CORRUPT. */
int pack_entry_decode(const uint8_t in[PACK_ENTRY_LEN], struct pack_entry *out,
                      uint32_t *data_crc, struct err *e) MUST_USE;

#endif
