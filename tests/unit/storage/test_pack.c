#include "tests/unit/storage/store_util.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "storage/codec.h"
#include "storage/pack_internal.h"
#include "storage/packs.h"

/* Packs byte by byte: what each check refuses that no other one would. */

#define CHUNK ((size_t)3000)

struct place {
    char *dir;
    int dir_fd;
    int packs_fd;
    struct codec *codec;
};

static int
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

static int
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
static struct pack_entry
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
static int
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

static uint64_t
size_of(int fd)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    return (uint64_t)st.st_size;
}

static void
poke(int fd, uint64_t at, const void *data, size_t len)
{
    assert_int_equal(pwrite(fd, data, len, (off_t)at), (ssize_t)len);
}

static void
flip(int fd, uint64_t at)
{
    uint8_t b;

    assert_int_equal(pread(fd, &b, 1, (off_t)at), 1);
    b ^= 0x40;
    poke(fd, at, &b, 1);
}

/* Make the sums of table and trailer right for what they hold by now. */
static void
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

static uint64_t
table_of(int fd)
{
    uint8_t at[4];

    assert_int_equal(pread(fd, at, 4, (off_t)(size_of(fd) - PACK_TRAILER_LEN + 12)), 4);
    return get_u32(at);
}

/* ---- names ---- */

static void
file_name__is_32_hex_digits_and_pack(void **state)
{
    static const char good[] = "000102030405060708090a0b0c0d0eff.pack";
    static const char *const bad[] = {
        "",
        "000102030405060708090a0b0c0d0eff",
        "000102030405060708090a0b0c0d0eff.pac",
        "000102030405060708090a0b0c0d0eff.pack2",
        "00102030405060708090a0b0c0d0eff.pack",
        "0000102030405060708090a0b0c0d0eff.pack",
        "000102030405060708090a0b0c0d0eff.kcap",
        "g00102030405060708090a0b0c0d0eff.pack",
    };
    struct pack_name name;
    char file[PACK_FILE_NAME_BYTES];

    (void)state;
    assert_true(pack_file_parse(good, &name));
    pack_file_name(&name, file);
    assert_string_equal(file, good);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(pack_file_parse(bad[i], &name));
    }
}

static void
list__names_packs_in_order_and_nothing_else(void **state)
{
    enum { N = 130 };
    struct place *p = *state;
    struct packs_names names = {0};
    struct pack_name name = {{0}};
    char file[PACK_FILE_NAME_BYTES];
    char *other = path_join(p->dir, "packs/other");

    OK(packs_list(p->packs_fd, &names, e));
    assert_int_equal(names.n, 0);
    free(names.v);
    for (unsigned i = 0; i < N; i++) {
        int fd;

        name.b[0] = (uint8_t)(i * 37);
        name.b[15] = (uint8_t)i;
        pack_file_name(&name, file);
        fd = openat(p->packs_fd, file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        (void)close(fd);
    }
    OK(file_replace(other, "x", 1, e));
    OK(packs_list(p->packs_fd, &names, e));
    assert_int_equal(names.n, N);
    for (size_t i = 1; i < N; i++) {
        assert_true(memcmp(&names.v[i - 1], &names.v[i], sizeof name) < 0);
    }
    free(names.v);
    free(other);
}

/* ---- entries ---- */

static void
entry__takes_lengths_up_to_the_limit_and_none_beyond(void **state)
{
    static const struct {
        uint32_t raw_len;
        uint32_t stored_len;
        uint8_t codec;
        bool good;
    } cases[] = {
        {1, 1, STORE_CODEC_RAW, true},
        {0, 0, STORE_CODEC_RAW, false},
        {1, 0, STORE_CODEC_RAW, false},
        {2, 1, STORE_CODEC_RAW, false},
        {1, 2, STORE_CODEC_RAW, false},
        {STORE_CHUNK_MAX_BYTES, STORE_CHUNK_MAX_BYTES, STORE_CODEC_RAW, true},
        {STORE_CHUNK_MAX_BYTES + 1, STORE_CHUNK_MAX_BYTES + 1, STORE_CODEC_RAW, false},
        {STORE_CHUNK_MAX_BYTES, STORE_CHUNK_MAX_BYTES - 1, STORE_CODEC_ZSTD, true},
        {STORE_CHUNK_MAX_BYTES + 1, 5, STORE_CODEC_ZSTD, false},
        {2, 1, STORE_CODEC_ZSTD, true},
        {2, 2, STORE_CODEC_ZSTD, false},
        {2, 0, STORE_CODEC_ZSTD, false},
        {2, 2, STORE_CODEC_NONE, false},
        {2, 2, 3, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pack_entry en = {.offset = PACK_HEADER_LEN,
                                .raw_len = cases[i].raw_len,
                                .stored_len = cases[i].stored_len,
                                .codec = cases[i].codec,
                                .kind = STORE_KIND_DATA};
        uint8_t bytes[PACK_ENTRY_LEN];
        uint8_t row[PACK_ROW_LEN];
        struct pack_entry got;
        struct err err;
        uint32_t crc;

        pack_entry_encode(&en, 77, bytes);
        pack_row_encode(&en, row);
        if ((pack_entry_decode(bytes, &got, &crc, &err) == 0) != cases[i].good ||
            pack_row_decode(row, 4 << 20, &got) != cases[i].good) {
            fail_msg("case %zu", i);
        }
    }
}

static void
entry__with_a_wrong_magic_or_sum_is_refused(void **state)
{
    struct pack_entry en = {
        .raw_len = 3, .stored_len = 3, .codec = STORE_CODEC_RAW, .kind = 1};
    struct pack_entry got;
    uint8_t b[PACK_ENTRY_LEN];
    uint32_t crc = 0;

    (void)state;
    pack_entry_encode(&en, 77, b);
    OK(pack_entry_decode(b, &got, &crc, e));
    assert_int_equal(crc, 77);
    b[60] ^= 1;
    FAILS(pack_entry_decode(b, &got, &crc, e), ERR_CORRUPT);
    b[60] ^= 1;
    b[0] ^= 1;
    put_u32(b + 60, crc32c(0, b, 60)); /* the sum is right, the magic is not */
    FAILS(pack_entry_decode(b, &got, &crc, e), ERR_CORRUPT);
}

static void
row__lies_between_the_header_and_the_table(void **state)
{
    struct pack_entry en = {.offset = PACK_HEADER_LEN,
                            .raw_len = 10,
                            .stored_len = 10,
                            .codec = STORE_CODEC_RAW,
                            .kind = STORE_KIND_DATA};
    const uint64_t end = PACK_HEADER_LEN + PACK_ENTRY_LEN + 10;
    struct pack_entry got;
    uint8_t row[PACK_ROW_LEN];

    (void)state;
    pack_row_encode(&en, row);
    assert_true(pack_row_decode(row, end, &got));
    assert_false(pack_row_decode(row, end - 1, &got));
    en.offset--;
    pack_row_encode(&en, row);
    assert_false(pack_row_decode(row, end, &got));
}

/* ---- a pack as a whole ---- */

static void
header__is_of_the_file_s_own_name(void **state)
{
    struct place *p = *state;
    struct pack_name name;
    struct pack_name other;
    int fd = make_pack(p, 0, 2, &name, NULL);

    OK(pack_check_header(fd, &name, e));
    other = name;
    other.b[15] ^= 1;
    FAILS(pack_check_header(fd, &other, e), ERR_CORRUPT);
    for (uint64_t at = 0; at < PACK_HEADER_LEN; at += 9) {
        flip(fd, at);
        FAILS(pack_check_header(fd, &name, e), ERR_CORRUPT);
        flip(fd, at);
    }
    assert_int_equal(ftruncate(fd, PACK_HEADER_LEN), 0);
    OK(pack_check_header(fd, &name, e));
    assert_int_equal(ftruncate(fd, PACK_HEADER_LEN - 1), 0);
    FAILS(pack_check_header(fd, &name, e), ERR_CORRUPT);
    (void)close(fd);
}

/* Each word of table and trailer that could be wrong under sums that are right. */
static void
table__that_lies_under_right_sums_is_refused(void **state)
{
    struct place *p = *state;
    struct pack_list list = {0};
    struct pack_name name;
    int fd = make_pack(p, 0, 3, &name, NULL);
    uint64_t size = size_of(fd);
    uint64_t table = table_of(fd);
    uint64_t trailer = size - PACK_TRAILER_LEN;
    const uint64_t places[] = {table, trailer, trailer + 8};
    uint8_t n[4];

    OK(pack_read_table(fd, &list, e));
    assert_int_equal(list.n, 3);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        flip(fd, places[i]); /* magics, and the number of entries */
        sum_again(fd);
        FAILS(pack_read_table(fd, &list, e), ERR_CORRUPT);
        flip(fd, places[i]);
        sum_again(fd);
        OK(pack_read_table(fd, &list, e));
    }
    flip(fd, table + 8 + 36); /* the length of the first: no raw chunk has two */
    FAILS(pack_read_table(fd, &list, e), ERR_CORRUPT);
    sum_again(fd);
    FAILS(pack_read_table(fd, &list, e), ERR_CORRUPT);
    flip(fd, table + 8 + 36);
    sum_again(fd);
    put_u32(n, 4); /* one more than there are rows for */
    poke(fd, trailer + 8, n, 4);
    sum_again(fd);
    FAILS(pack_read_table(fd, &list, e), ERR_CORRUPT);
    assert_int_equal(list.n, 3); /* as before all failures */
    pack_list_free(&list);
    (void)close(fd);
}

static void
table__is_there_in_the_shortest_pack(void **state)
{
    struct place *p = *state;
    struct pack_list list = {0};
    struct pack_name name;
    bool whole = false;
    int fd = make_pack(p, 0, 0, &name, NULL); /* no entry at all */

    OK(pack_read_table(fd, &list, e));
    assert_int_equal(list.n, 0);
    OK(pack_scan(fd, &list, &whole, e));
    assert_true(whole);
    assert_int_equal(ftruncate(fd, (off_t)size_of(fd) - 1), 0);
    FAILS(pack_read_table(fd, &list, e), ERR_CORRUPT);
    (void)close(fd);
}

static void
file__beyond_the_largest_pack_is_not_looked_at(void **state)
{
    struct place *p = *state;
    struct pack_list list = {0};
    struct pack_name name;
    bool whole;
    int fd = make_pack(p, 0, 1, &name, NULL);
    struct err err = {0};

    assert_int_equal(ftruncate(fd, (off_t)PACK_FILE_MAX), 0);
    assert_int_equal(pack_read_table(fd, &list, &err), -1);
    assert_non_null(strstr(err.msg, "without a table"));
    assert_int_equal(ftruncate(fd, (off_t)PACK_FILE_MAX + 1), 0);
    assert_int_equal(pack_read_table(fd, &list, &err), -1);
    assert_non_null(strstr(err.msg, "impossible size"));
    assert_int_equal(pack_scan(fd, &list, &whole, &err), -1);
    assert_non_null(strstr(err.msg, "impossible size"));
    (void)close(fd);
}

/* ---- looking for entries without a table ---- */

static size_t
n_scanned(int fd, bool *whole)
{
    struct pack_list list = {0};
    size_t n;

    OK(pack_scan(fd, &list, whole, e));
    n = list.n;
    pack_list_free(&list);
    return n;
}

static void
scan__takes_an_entry_that_ends_the_file_and_none_that_is_torn(void **state)
{
    struct place *p = *state;
    struct pack_entry en[3];
    struct pack_name name;
    bool whole;
    int fd = make_pack(p, 0, 3, &name, en);

    assert_int_equal(n_scanned(fd, &whole), 3);
    assert_true(whole);
    assert_int_equal(ftruncate(fd, (off_t)table_of(fd)), 0);
    assert_int_equal(n_scanned(fd, &whole), 3);
    assert_false(whole);
    assert_int_equal(ftruncate(fd, (off_t)size_of(fd) - 1), 0);
    assert_int_equal(n_scanned(fd, &whole), 2);
    assert_int_equal(ftruncate(fd, (off_t)en[2].offset + PACK_ENTRY_LEN), 0);
    assert_int_equal(n_scanned(fd, &whole), 2);
    assert_int_equal(ftruncate(fd, (off_t)en[0].offset), 0);
    assert_int_equal(n_scanned(fd, &whole), 0);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(n_scanned(fd, &whole), 0);
    assert_false(whole);
    (void)close(fd);
}

/*
 * Rubbish of every length up to two blocks of the search, and an entry behind it: the
 * header may lie across a border of blocks, or end the file's last one.
 */
static void
scan__finds_a_header_wherever_it_begins(void **state)
{
    const uint64_t block = (uint64_t)1 << 20;
    const uint64_t gaps[] = {1,
                             PACK_ENTRY_LEN - 1,
                             PACK_ENTRY_LEN,
                             block - PACK_ENTRY_LEN - 1,
                             block - PACK_ENTRY_LEN,
                             block - PACK_ENTRY_LEN + 1,
                             block - 1,
                             block,
                             block + 1,
                             2 * block - 30};
    struct place *p = *state;
    uint8_t *rubbish = xmalloc(2 * block);

    memset(rubbish, (int)(PACK_ENTRY_MAGIC & 0xff), 2 * block); /* a hit at each byte */
    for (size_t i = 0; i < sizeof gaps / sizeof gaps[0]; i++) {
        struct pack_writer *w = NULL;
        struct pack_list list = {0};
        struct pack_entry en;
        bool whole;

        OK(pack_create(&w, p->packs_fd, e));
        assert_int_equal(fd_pwrite_all(w->fd, rubbish, (size_t)gaps[i], PACK_HEADER_LEN),
                         0);
        w->end += gaps[i];
        en = put_raw(w, i, STORE_KIND_DATA);
        OK(pack_scan(w->fd, &list, &whole, e));
        assert_int_equal(list.n, 1);
        assert_int_equal(list.v[0].offset, PACK_HEADER_LEN + gaps[i]);
        assert_memory_equal(&list.v[0].id, &en.id, sizeof en.id);
        assert_false(whole);
        OK(pack_seal(w, e));
        OK(pack_scan(w->fd, &list, &whole, e));
        assert_int_equal(list.n, 1);
        assert_false(whole); /* a sound table does not make up for the gap */
        pack_list_free(&list);
        pack_writer_free(w, p->packs_fd, true);
    }
    free(rubbish);
}

/* ---- reading one ---- */

static void
read_entry__is_the_one_that_was_asked_for(void **state)
{
    struct place *p = *state;
    struct pack_entry en[2];
    struct pack_entry wrong;
    struct pack_name name;
    uint8_t to[PACK_ENTRY_LEN + CHUNK + 1];
    int fd = make_pack(p, 0, 2, &name, en);

    OK(pack_read_entry(fd, &en[0], to, e));
    wrong = en[0];
    wrong.id = en[1].id;
    FAILS(pack_read_entry(fd, &wrong, to, e), ERR_CORRUPT);
    wrong = en[0];
    wrong.raw_len++;
    FAILS(pack_read_entry(fd, &wrong, to, e), ERR_CORRUPT);
    wrong = en[0];
    wrong.stored_len--;
    FAILS(pack_read_entry(fd, &wrong, to, e), ERR_CORRUPT);
    wrong = en[0];
    wrong.codec = STORE_CODEC_ZSTD;
    FAILS(pack_read_entry(fd, &wrong, to, e), ERR_CORRUPT);
    wrong = en[0];
    wrong.offset++;
    FAILS(pack_read_entry(fd, &wrong, to, e), ERR_CORRUPT);
    flip(fd, en[0].offset + PACK_ENTRY_LEN);
    FAILS(pack_read_entry(fd, &en[0], to, e), ERR_CORRUPT);
    assert_int_equal(
        ftruncate(fd, (off_t)en[1].offset + PACK_ENTRY_LEN + (off_t)en[1].stored_len), 0);
    OK(pack_read_entry(fd, &en[1], to, e));
    assert_int_equal(ftruncate(fd, (off_t)size_of(fd) - 1), 0);
    FAILS(pack_read_entry(fd, &en[1], to, e), ERR_CORRUPT);
    (void)close(fd);
}

/* Whoever wrote it: sums that are right do not make bytes the chunk they are said to be.
 */
static void
fetch__believes_the_hash_alone(void **state)
{
    struct place *p = *state;
    struct pack_writer *w = NULL;
    struct pack_entry en[2];
    struct pack_entry lie;
    struct pack_name name;
    const uint8_t *data;
    bool scarred = true;
    uint8_t bytes[CHUNK];
    size_t len = make_chunk(9, bytes, sizeof bytes);
    int fd = make_pack(p, 0, 2, &name, en);

    OK(packs_fetch(fd, &en[0], p->codec, &data, &scarred, e));
    assert_false(scarred);
    flip(fd, en[0].offset + 20);
    OK(packs_fetch(fd, &en[0], p->codec, &data, &scarred, e));
    assert_true(scarred);
    flip(fd, en[1].offset + PACK_ENTRY_LEN + 7);
    FAILS(packs_fetch(fd, &en[1], p->codec, &data, &scarred, e), ERR_CORRUPT);
    assert_int_equal(ftruncate(fd, (off_t)en[1].offset + 10), 0);
    FAILS(packs_fetch(fd, &en[1], p->codec, &data, &scarred, e), ERR_CORRUPT);
    (void)close(fd);

    OK(pack_create(&w, p->packs_fd, e));
    lie = (struct pack_entry){.id = en[0].id,
                              .raw_len = (uint32_t)len,
                              .stored_len = (uint32_t)len,
                              .codec = STORE_CODEC_RAW,
                              .kind = STORE_KIND_DATA};
    pack_reserve(w, &lie);
    OK(pack_write_entry(w, &lie, bytes, e));
    FAILS(packs_fetch(w->fd, &lie, p->codec, &data, &scarred, e), ERR_CORRUPT);
    pack_writer_free(w, p->packs_fd, true);
}

/* ---- both sources together ---- */

/* Table and header tell two ids of one place: only reading can tell which is right. */
static void
entries__keeps_what_table_and_headers_say_apart(void **state)
{
    struct place *p = *state;
    struct pack_writer *w = NULL;
    struct pack_list list = {0};
    struct pack_list bad = {0};
    struct pack_entry true_one;
    struct pack_writer *copy = NULL;
    uint64_t n_scarred = 0;
    bool whole = true;

    OK(pack_create(&w, p->packs_fd, e));
    true_one = put_raw(w, 4, STORE_KIND_DATA);
    (void)put_raw(w, 6, STORE_KIND_DATA);
    w->entries.v[0].id.b[0] ^= 1; /* what the table will say */
    OK(pack_seal(w, e));
    OK(packs_entries(w->fd, &w->name, &list, &whole, e));
    assert_int_equal(list.n, 3);
    OK(pack_create(&copy, p->packs_fd, e));
    OK(packs_copy_good(w->fd, &list, copy, &bad, &n_scarred, e));
    assert_int_equal(copy->entries.n, 2);
    assert_memory_equal(&copy->entries.v[0].id, &true_one.id, sizeof true_one.id);
    assert_int_equal(bad.n, 1);
    assert_int_equal(n_scarred, 1);
    pack_list_free(&list);
    pack_list_free(&bad);
    pack_writer_free(copy, p->packs_fd, true);
    pack_writer_free(w, p->packs_fd, true);
}

static void
entries__tells_whether_all_of_the_pack_is_sound(void **state)
{
    struct place *p = *state;
    struct pack_list list = {0};
    struct pack_entry en[3];
    struct pack_name name;
    bool whole = false;
    int fd = make_pack(p, 0, 3, &name, en);
    const uint64_t places[] = {0, 20, en[1].offset + 2, table_of(fd) + 9,
                               size_of(fd) - 1};

    OK(packs_entries(fd, &name, &list, &whole, e));
    assert_int_equal(list.n, 3);
    assert_true(whole);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        flip(fd, places[i]);
        OK(packs_entries(fd, &name, &list, &whole, e));
        assert_int_equal(list.n, 3); /* one of the two sources has each */
        assert_false(whole);
        flip(fd, places[i]);
    }
    pack_list_free(&list);
    (void)close(fd);
}

/* Second copies count as copies; a chunk with a good one is not bad. */
static void
copy_good__loses_a_chunk_only_when_both_copies_are_bad(void **state)
{
    struct place *p = *state;
    struct pack_writer *w = NULL;
    struct pack_entry first;

    OK(pack_create(&w, p->packs_fd, e));
    (void)put_raw(w, 2, STORE_KIND_DATA);
    first = put_raw(w, 4, STORE_KIND_META);
    OK(pack_seal(w, e));
    assert_int_equal(w->entries.n, 3);
    assert_true(w->entries.v[2].second);
    for (unsigned round = 0; round < 3; round++) {
        struct pack_list list = {0};
        struct pack_list bad = {0};
        struct pack_writer *copy = NULL;
        uint64_t n_scarred = 0;
        bool whole;

        if (round > 0) {
            flip(w->fd, w->entries.v[round].offset + PACK_ENTRY_LEN);
        }
        OK(packs_entries(w->fd, &w->name, &list, &whole, e));
        assert_int_equal(list.n, 3);
        OK(pack_create(&copy, p->packs_fd, e));
        OK(packs_copy_good(w->fd, &list, copy, &bad, &n_scarred, e));
        assert_int_equal(n_scarred, round);
        assert_int_equal(copy->entries.n, round < 2 ? 2 : 1);
        assert_int_equal(bad.n, round < 2 ? 0 : 1);
        if (round < 2) {
            assert_memory_equal(&copy->entries.v[1].id, &first.id, sizeof first.id);
            assert_false(copy->entries.v[1].second);
        }
        pack_list_free(&list);
        pack_list_free(&bad);
        pack_writer_free(copy, p->packs_fd, true);
    }
    pack_writer_free(w, p->packs_fd, true);
}

/* ---- writing ---- */

static void
full__counts_second_copies_to_the_byte(void **state)
{
    struct pack_writer w = {.end = PACK_FULL_BYTES - 200};
    struct pack_entry en = {.raw_len = 136 - 1,
                            .stored_len = 136 - 1,
                            .codec = STORE_CODEC_RAW,
                            .kind = STORE_KIND_DATA};

    (void)state;
    pack_reserve(&w, &en); /* 64 of header and 135 */
    assert_false(pack_full(&w));
    w.end++;
    assert_true(pack_full(&w));
    w.end = PACK_FULL_BYTES - 2 * 65;
    en.raw_len = en.stored_len = 1;
    en.kind = STORE_KIND_META;
    pack_reserve(&w, &en);
    assert_true(pack_full(&w)); /* with the copy that is to come */
    w.second_bytes--;
    assert_false(pack_full(&w));
    w.second_bytes = 0;
    en.second = true;
    pack_reserve(&w, &en);
    assert_int_equal(w.second_bytes, 0);
    pack_list_free(&w.entries);
}

static void
lock__is_held_until_the_writer_ends(void **state)
{
    struct place *p = *state;
    struct pack_writer *w = NULL;
    struct pack_name name;
    struct pack_name nobody = {{7}};
    int fd = -1;

    OK(pack_create(&w, p->packs_fd, e));
    name = w->name;
    OK(packs_lock(p->packs_fd, &name, &fd, e));
    assert_int_equal(fd, -1);
    pack_writer_free(w, p->packs_fd, false);
    OK(packs_lock(p->packs_fd, &name, &fd, e));
    assert_true(fd >= 0);
    (void)close(fd);
    OK(packs_lock(p->packs_fd, &nobody, &fd, e));
    assert_int_equal(fd, -1);
    FAILS(pack_open(p->packs_fd, &nobody, &fd, e), ERR_NOT_FOUND);
    pack_writer_free(NULL, p->packs_fd, true);
}

/* ---- salvage ---- */

static bool
is_in_bad(const struct place *p, const struct pack_name *name)
{
    char file[PACK_FILE_NAME_BYTES];
    char *path;
    bool is;

    pack_file_name(name, file);
    path = xasprintf("%s/bad/%s", p->dir, file);
    is = access(path, F_OK) == 0;
    free(path);
    return is;
}

static bool
is_a_pack(const struct place *p, const struct pack_name *name)
{
    int fd = -1;
    struct err ignored;
    bool is = pack_open(p->packs_fd, name, &fd, &ignored) == 0;

    (void)fd_close(&fd);
    return is;
}

static void
salvage__keeps_a_damaged_file_and_removes_a_torn_one(void **state)
{
    struct place *p = *state;
    struct packs_salvage sv = {0};
    struct pack_entry en[3];
    struct pack_name name;
    int fd = make_pack(p, 0, 3, &name, en);

    assert_int_equal(ftruncate(fd, (off_t)table_of(fd) - 1), 0); /* torn */
    (void)close(fd);
    OK(packs_salvage(p->dir_fd, p->packs_fd, &name, &sv, e));
    assert_true(sv.made && sv.n_good == 2 && sv.n_bad == 0);
    assert_true(is_a_pack(p, &sv.new_name));
    assert_false(is_a_pack(p, &name) || is_in_bad(p, &name));

    fd = make_pack(p, 0, 3, &name, en);
    flip(fd, en[1].offset + PACK_ENTRY_LEN);
    (void)close(fd);
    memset(&sv, 0, sizeof sv);
    OK(packs_salvage(p->dir_fd, p->packs_fd, &name, &sv, e));
    assert_true(sv.made && sv.n_good == 2 && sv.n_bad == 1);
    assert_true(is_in_bad(p, &name));
    assert_false(is_a_pack(p, &name));

    fd = make_pack(p, 0, 1, &name, en); /* nothing good in it */
    flip(fd, en[0].offset + PACK_ENTRY_LEN);
    (void)close(fd);
    memset(&sv, 0, sizeof sv);
    OK(packs_salvage(p->dir_fd, p->packs_fd, &name, &sv, e));
    assert_true(!sv.made && sv.n_good == 0 && sv.n_bad == 1);
    assert_true(is_in_bad(p, &name));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_name__is_32_hex_digits_and_pack),
        T(list__names_packs_in_order_and_nothing_else),
        cmocka_unit_test(entry__takes_lengths_up_to_the_limit_and_none_beyond),
        cmocka_unit_test(entry__with_a_wrong_magic_or_sum_is_refused),
        cmocka_unit_test(row__lies_between_the_header_and_the_table),
        T(header__is_of_the_file_s_own_name),
        T(table__that_lies_under_right_sums_is_refused),
        T(table__is_there_in_the_shortest_pack),
        T(file__beyond_the_largest_pack_is_not_looked_at),
        T(scan__takes_an_entry_that_ends_the_file_and_none_that_is_torn),
        T(scan__finds_a_header_wherever_it_begins),
        T(read_entry__is_the_one_that_was_asked_for),
        T(fetch__believes_the_hash_alone),
        T(entries__keeps_what_table_and_headers_say_apart),
        T(entries__tells_whether_all_of_the_pack_is_sound),
        T(copy_good__loses_a_chunk_only_when_both_copies_are_bad),
        cmocka_unit_test(full__counts_second_copies_to_the_byte),
        T(lock__is_held_until_the_writer_ends),
        T(salvage__keeps_a_damaged_file_and_removes_a_torn_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
