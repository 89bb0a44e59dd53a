#include "tests/unit/storage/pack_util.h"

#include <dirent.h>
#include <errno.h>
#include <sys/file.h>
#include <sys/syscall.h>

/* Packs byte by byte: what each check refuses that no other one would. */

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

/* ---- a new one, and who takes it for rubbish ---- */

/* Removes the packs that are there, as gc does with those that nobody has locked. */
static struct {
    int packs_fd;
    int n_refusals; /* times it has the lock when somebody else wants it */
    bool sweeps;    /* at the next time that somebody wants the lock and may have it */
} collector;

static void
sweep(void)
{
    DIR *d = fdopendir(openat(collector.packs_fd, ".", O_RDONLY | O_DIRECTORY));
    const struct dirent *entry;

    assert_non_null(d);
    while ((entry = readdir(d)) != NULL) {
        if (entry->d_name[0] != '.') {
            assert_int_equal(unlinkat(collector.packs_fd, entry->d_name, 0), 0);
        }
    }
    (void)closedir(d);
}

/* In libc's place. */
int
flock(int fd, int operation)
{
    if (collector.n_refusals > 0) {
        collector.n_refusals--;
        errno = EWOULDBLOCK;
        return -1;
    }
    if (collector.sweeps) {
        collector.sweeps = false;
        sweep();
    }
    return (int)syscall(SYS_flock, fd, operation);
}

static void
create__gives_a_pack_that_is_there(void **state)
{
    struct place *p = *state;

    collector.packs_fd = p->packs_fd;
    for (int n_refusals = 0; n_refusals < 3; n_refusals++) {
        struct pack_writer *w = NULL;
        char file[PACK_FILE_NAME_BYTES];

        collector.n_refusals = n_refusals;
        collector.sweeps = true;
        OK(pack_create(&w, p->packs_fd, e));
        pack_file_name(&w->name, file);
        assert_int_equal(faccessat(p->packs_fd, file, F_OK, 0), 0);
        pack_writer_free(w, p->packs_fd, true);
    }
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

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_name__is_32_hex_digits_and_pack),
        cmocka_unit_test(entry__takes_lengths_up_to_the_limit_and_none_beyond),
        cmocka_unit_test(entry__with_a_wrong_magic_or_sum_is_refused),
        cmocka_unit_test(row__lies_between_the_header_and_the_table),
        T(header__is_of_the_file_s_own_name),
        T(table__that_lies_under_right_sums_is_refused),
        T(table__is_there_in_the_shortest_pack),
        T(file__beyond_the_largest_pack_is_not_looked_at),
        T(scan__takes_an_entry_that_ends_the_file_and_none_that_is_torn),
        T(scan__finds_a_header_wherever_it_begins),
        T(create__gives_a_pack_that_is_there),
        T(read_entry__is_the_one_that_was_asked_for),
        cmocka_unit_test(full__counts_second_copies_to_the_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
