#include "tests/unit/storage/store_util.h"

#include <fcntl.h>

#include "base/bytes.h"
#include "storage/pack.h"
#include "storage/rebuild.h"
#include "tests/unit/unit.h"

/* What a store does about damage: of a chunk, of a pack, and the loss of its index. */

#define CHUNK ((size_t)20000)

static struct store *
open_store(const char *dir)
{
    struct store *s = NULL;

    OK(store_open(&s, dir, NULL, e));
    return s;
}

/* The one pack in dir/packs. */
static char *
only_pack(const char *dir)
{
    char *cmd = xasprintf("ls %s/packs/*.pack", dir);
    char *line = xcalloc(1, 4096);
    FILE *f = popen(cmd, "r"); /* NOLINT: a test's own command */

    assert_non_null(f);
    assert_non_null(fgets(line, 4096, f));
    line[strcspn(line, "\n")] = '\0';
    (void)pclose(f);
    free(cmd);
    return line;
}

static void
store__sets_a_damaged_chunk_aside_and_takes_it_anew(void **state)
{
    char *dir = scratch_dir();
    struct store *s = open_store(dir);
    struct sha256 a = put_chunk_n(s, 2, CHUNK, NULL);
    struct sha256 b = put_chunk_n(s, 4, CHUNK, NULL);
    struct store_loc loc;
    struct buf out = BUF_INIT;
    char *pack;
    bool added;

    (void)state;
    OK(store_commit(s, e));
    OK(store_locate(s, &a, 1, &loc, e));
    pack = only_pack(dir);
    unit_flip(pack, (off_t)loc.offset + 64 + 5, 0x40);
    FAILS(store_read_encoded(s, &a, &loc, &out, e), ERR_CORRUPT);
    assert_int_equal(out.len, 0);
    FAILS(store_get(s, &a, &out, e), ERR_NOT_FOUND);
    assert_false(has_one(s, &a));
    assert_true(has_one(s, &b));
    check_chunk(s, 4, CHUNK);
    (void)put_chunk_n(s, 2, CHUNK, &added);
    assert_true(added);
    OK(store_commit(s, e));
    check_chunk(s, 2, CHUNK);
    store_close(s);
    free(pack);
    scratch_free(dir);
}

/* Other bytes under right sums: only the chunk's own hash tells. */
static void
store__believes_no_sum_but_the_hash(void **state)
{
    char *dir = scratch_dir();
    struct store *s = open_store(dir);
    uint8_t data[5000];
    uint8_t bytes[PACK_ENTRY_LEN + sizeof data];
    struct sha256 id;
    struct store_loc loc;
    struct pack_entry en;
    struct buf out = BUF_INIT;
    struct err why = {0};
    char hex[SHA256_HEX_LEN + 1];
    uint32_t crc;
    char *pack;
    int fd;

    (void)state;
    fill_random(data, sizeof data, 7);
    OK(store_put(s, STORE_KIND_DATA, data, sizeof data, &id, NULL, e));
    OK(store_commit(s, e));
    OK(store_locate(s, &id, 1, &loc, e));
    pack = only_pack(dir);
    fd = open(pack, O_RDWR | O_CLOEXEC);
    assert_int_not_equal(fd, -1);
    assert_int_equal(pread(fd, bytes, sizeof bytes, (off_t)loc.offset), sizeof bytes);
    OK(pack_entry_decode(bytes, &en, &crc, e));
    assert_int_equal(en.stored_len, sizeof data); /* as it is: random bytes */
    bytes[PACK_ENTRY_LEN + 9] ^= 1;
    pack_entry_encode(&en, crc32c(0, bytes + PACK_ENTRY_LEN, sizeof data), bytes);
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, (off_t)loc.offset), sizeof bytes);
    assert_int_equal(close(fd), 0);
    assert_int_equal(store_get(s, &id, &out, &why), -1);
    assert_int_equal(why.code, ERR_CORRUPT);
    sha256_format(&id, hex);
    assert_non_null(strstr(why.msg, hex)); /* which, it says */
    assert_int_equal(out.len, 0);
    buf_free(&out);
    store_close(s);
    free(pack);
    scratch_free(dir);
}

static void
store__reads_the_second_copy_of_metadata(void **state)
{
    char *dir = scratch_dir();
    struct store *s = open_store(dir);
    uint8_t data[5000];
    struct sha256 id;
    struct store_loc loc;
    struct buf out = BUF_INIT;
    char *pack;

    (void)state;
    fill_random(data, sizeof data, 5);
    OK(store_put(s, STORE_KIND_META, data, sizeof data, &id, NULL, e));
    OK(store_commit(s, e));
    OK(store_locate(s, &id, 1, &loc, e));
    pack = only_pack(dir);
    unit_flip(pack, (off_t)loc.offset + 64 + 100, 0x40);
    OK(store_get(s, &id, &out, e));
    assert_memory_equal(out.data, data, sizeof data);
    unit_flip(pack, (off_t)loc.offset + 64 + 100, 0x40);
    unit_flip(pack, (off_t)loc.offset + 20, 0x40); /* its header */
    OK(store_get(s, &id, &out, e));
    assert_true(has_one(s, &id));
    buf_free(&out);
    store_close(s);
    free(pack);
    scratch_free(dir);
}

static void
drop_index(const char *dir)
{
    char *db = path_join(dir, "index.db");
    char *journal = path_join(dir, "index.db-journal");

    assert_int_equal(unlink(db), 0);
    (void)unlink(journal);
    free(db);
    free(journal);
}

/* Every row of the index, packs by name; to be freed. */
static char *
rows_of(const char *dir)
{
    char *cmd = xasprintf(
        "sqlite3 %s/index.db 'SELECT hex(name), bytes, n, raw, stored FROM pack ORDER BY "
        "name; SELECT hex(id), hex(name), off, c.stored, c.raw, codec FROM chunk c "
        "JOIN pack ON no = c.pack ORDER BY id'",
        dir);
    FILE *f = popen(cmd, "r"); /* NOLINT: a test's own command */
    struct buf b = BUF_INIT;
    char line[512];
    char *rows;

    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        buf_add(&b, line, strlen(line));
    }
    assert_int_equal(pclose(f), 0);
    rows = xstrdup(buf_str(&b));
    buf_free(&b);
    free(cmd);
    return rows;
}

static void
store__makes_a_lost_index_anew(void **state)
{
    char *dir = scratch_dir();
    struct store *s = open_store(dir);
    struct store_stats before, after;
    char *rows;
    char *rows_after;

    (void)state;
    for (uint64_t i = 0; i < 100; i++) {
        (void)put_chunk_n(s, i, CHUNK, NULL);
        if (i % 10 == 0) {
            OK(store_commit(s, e));
        }
    }
    OK(store_commit(s, e));
    OK(store_stats(s, &before, e));
    FAILS(store_rebuild(dir, NULL, e), ERR_BUSY);
    store_close(s);
    rows = rows_of(dir);
    drop_index(dir);
    s = open_store(dir);
    rows_after = rows_of(dir);
    assert_true(strlen(rows) > (size_t)100 * 2 * SHA256_LEN);
    assert_string_equal(rows, rows_after);
    free(rows);
    free(rows_after);
    OK(store_stats(s, &after, e));
    assert_int_equal(before.n_packs, after.n_packs);
    assert_int_equal(before.n_chunks, after.n_chunks);
    assert_int_equal(before.raw_bytes, after.raw_bytes);
    assert_int_equal(before.stored_bytes, after.stored_bytes);
    assert_int_equal(before.pack_bytes, after.pack_bytes);
    for (uint64_t i = 0; i < 100; i++) {
        check_chunk(s, i, CHUNK);
    }
    store_close(s);
    scratch_free(dir);
}

static void
rebuild__takes_over_what_is_good_in_a_damaged_pack(void **state)
{
    char *dir = scratch_dir();
    struct store *s = open_store(dir);
    struct rebuild_result r;
    struct sha256 id = {{0}};
    struct store_loc loc;
    char *pack;

    (void)state;
    for (uint64_t i = 0; i < 20; i++) {
        struct sha256 got = put_chunk_n(s, 2 * i, CHUNK, NULL);

        id = i == 7 ? got : id;
    }
    OK(store_commit(s, e));
    OK(store_locate(s, &id, 1, &loc, e));
    store_close(s);
    pack = only_pack(dir);
    unit_flip(pack, (off_t)loc.offset + 3, 0x40);                   /* one header */
    assert_int_equal(truncate(pack, (off_t)loc.offset + 60000), 0); /* and the tail */
    OK(store_rebuild(dir, &r, e));
    assert_int_equal(r.n_salvaged, 1);
    assert_in_range(r.n_chunks, 8, 12);
    OK(store_rebuild(dir, &r, e)); /* now nothing is wrong any more */
    assert_int_equal(r.n_salvaged, 0);
    s = open_store(dir);
    for (uint64_t i = 0; i < 7; i++) {
        check_chunk(s, 2 * i, CHUNK);
    }
    assert_false(has_one(s, &id));
    check_chunk(s, 16, CHUNK);
    store_close(s);
    free(pack);
    scratch_free(dir);
}

/* Duplicates over packs and within one: each chunk has one row, the first pack's. */
static void
rebuild__counts_each_chunk_once(void **state)
{
    enum { N = 40 };
    char *dir = scratch_dir();
    char *other_dir = scratch_dir();
    struct rebuild_result r;
    struct store *s;
    char *cmd;

    (void)state;
    for (int round = 0; round < 2; round++) { /* two stores with the same chunks */
        s = open_store(round == 0 ? dir : other_dir);
        for (uint64_t i = 0; i < N + (uint64_t)round; i++) {
            (void)put_chunk_n(s, i, CHUNK, NULL);
        }
        OK(store_commit(s, e));
        store_close(s);
    }
    cmd = xasprintf("cp %s/packs/* %s/packs/", other_dir, dir);
    assert_int_equal(system(cmd), 0); /* NOLINT: a test's own command */
    OK(store_rebuild(dir, &r, e));
    assert_int_equal(r.n_packs, 2);
    assert_int_equal(r.n_salvaged, 0);
    assert_int_equal(r.n_chunks, N + 1);
    s = open_store(dir);
    for (uint64_t i = 0; i < N + 1; i++) {
        check_chunk(s, i, CHUNK);
    }
    store_close(s);
    free(cmd);
    scratch_free(dir);
    scratch_free(other_dir);
}

/*
 * A chunk is damaged, and put again; then the index is lost, which alone knew which of
 * the two is good. Many times, as packs come in the order of their random names.
 */
static void
rebuild__takes_the_sound_one_of_two(void **state)
{
    (void)state;
    for (int round = 0; round < 8; round++) {
        char *dir = scratch_dir();
        struct store *s = open_store(dir);
        struct sha256 id = put_chunk_n(s, 2, CHUNK, NULL);
        struct store_loc loc;
        struct buf out = BUF_INIT;
        char *pack;
        bool added;

        (void)put_chunk_n(s, 4, CHUNK, NULL);
        OK(store_commit(s, e));
        OK(store_locate(s, &id, 1, &loc, e));
        pack = only_pack(dir);
        unit_flip(pack, (off_t)loc.offset + PACK_ENTRY_LEN + 5, 0x40);
        FAILS(store_get(s, &id, &out, e), ERR_CORRUPT);
        (void)put_chunk_n(s, 2, CHUNK, &added);
        assert_true(added);
        OK(store_commit(s, e));
        store_close(s);
        drop_index(dir);
        s = open_store(dir);
        check_chunk(s, 2, CHUNK);
        check_chunk(s, 4, CHUNK);
        store_close(s);
        buf_free(&out);
        free(pack);
        scratch_free(dir);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store__sets_a_damaged_chunk_aside_and_takes_it_anew),
        cmocka_unit_test(store__believes_no_sum_but_the_hash),
        cmocka_unit_test(store__reads_the_second_copy_of_metadata),
        cmocka_unit_test(store__makes_a_lost_index_anew),
        cmocka_unit_test(rebuild__takes_over_what_is_good_in_a_damaged_pack),
        cmocka_unit_test(rebuild__counts_each_chunk_once),
        cmocka_unit_test(rebuild__takes_the_sound_one_of_two),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
