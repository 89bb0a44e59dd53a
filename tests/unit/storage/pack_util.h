#ifndef TESTS_UNIT_STORAGE_PACK_UTIL_H
#define TESTS_UNIT_STORAGE_PACK_UTIL_H

#include <fcntl.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "storage/codec.h"
#include "storage/pack_internal.h"
#include "storage/packs.h"
#include "tests/unit/storage/store_util.h"

/* A directory of packs, packs of known chunks in it, and bytes of them changed. */

#define CHUNK ((size_t)3000)

struct place {
    char *dir;
    int dir_fd;
    int packs_fd;
    struct codec *codec;
};

static inline int
set_up(void **state)
{
    struct place *p = xcalloc(1, sizeof *p);
    char *packs;
    char *bad;

    p->dir = scratch_dir();
    packs = path_join(p->dir, "packs");
    bad = path_join(p->dir, "bad");
    assert_int_equal(mkdir(packs, 0700), 0);
    assert_int_equal(mkdir(bad, 0700), 0);
    p->dir_fd = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p->packs_fd = open(packs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(p->dir_fd >= 0 && p->packs_fd >= 0);
    p->codec = codec_new();
    free(packs);
    free(bad);
    *state = p;
    return 0;
}

static inline int
tear_down(void **state)
{
    struct place *p = *state;

    codec_free(p->codec);
    (void)close(p->dir_fd);
    (void)close(p->packs_fd);
    scratch_free(p->dir);
    free(p);
    return 0;
}

/* Chunk number n as a raw entry. */
static inline struct pack_entry
put_raw(struct pack_writer *w, uint64_t n, enum store_kind kind)
{
    uint8_t data[CHUNK];
    size_t len = make_chunk(n, data, sizeof data);
    struct pack_entry en = {.raw_len = (uint32_t)len,
                            .stored_len = (uint32_t)len,
                            .codec = STORE_CODEC_RAW,
                            .kind = (uint8_t)kind};

    sha256_of(data, len, &en.id);
    pack_reserve(w, &en);
    OK(pack_write_entry(w, &en, data, e));
    return en;
}

/* A sealed pack of chunks [from, to), opened for reading and writing. */
static inline int
make_pack(struct place *p, uint64_t from, uint64_t to, struct pack_name *name,
          struct pack_entry *entries)
{
    struct pack_writer *w = NULL;
    char file[PACK_FILE_NAME_BYTES];
    int fd;

    OK(pack_create(&w, p->packs_fd, e));
    for (uint64_t n = from; n < to; n++) {
        struct pack_entry en = put_raw(w, n, STORE_KIND_DATA);

        if (entries != NULL) {
            entries[n - from] = en;
        }
    }
    OK(pack_seal(w, e));
    *name = w->name;
    pack_writer_free(w, p->packs_fd, false);
    pack_file_name(name, file);
    fd = openat(p->packs_fd, file, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static inline uint64_t
size_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return (uint64_t)st.st_size;
}

static inline void
poke(int fd, uint64_t at, const void *data, size_t len)
{
    assert_int_equal(pwrite(fd, data, len, (off_t)at), (ssize_t)len);
}

static inline void
flip(int fd, uint64_t at)
{
    uint8_t b;

    assert_int_equal(pread(fd, &b, 1, (off_t)at), 1);
    b ^= 0x40;
    poke(fd, at, &b, 1);
}

/* Make the sums of table and trailer right for what they hold by now. */
static inline void
sum_again(int fd)
{
    uint8_t trailer[PACK_TRAILER_LEN];
    uint64_t size = size_of(fd);
    uint8_t *table;
    uint64_t at;
    size_t len;

    assert_int_equal(pread(fd, trailer, sizeof trailer, (off_t)(size - sizeof trailer)),
                     sizeof trailer);
    at = get_u32(trailer + 12);
    len = (size_t)(size - sizeof trailer - at);
    table = xmalloc(len);
    assert_int_equal(pread(fd, table, len, (off_t)at), (ssize_t)len);
    put_u32(trailer + 16, crc32c(0, table, len));
    put_u32(trailer + 28, crc32c(0, trailer, 28));
    poke(fd, size - sizeof trailer, trailer, sizeof trailer);
    free(table);
}

static inline uint64_t
table_of(int fd)
{
    uint8_t at[4];

    assert_int_equal(pread(fd, at, 4, (off_t)(size_of(fd) - PACK_TRAILER_LEN + 12)), 4);
    return get_u32(at);
}

#endif
