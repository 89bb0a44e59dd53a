#include "tests/unit/storage/tree_util.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "storage/scache_internal.h"
#include "storage/tree_internal.h"

/* Scan caches byte by byte: what is read back, what is refused, what is trusted. */

#define S ((int64_t)1000000000)

/* Group number i of a cache: so many entries, their marks numbered on from n_marks. */
static void
add_group(struct scache_writer *w, size_t i, size_t n, size_t *n_marks)
{
    struct tree_entry *entries = xcalloc(n, sizeof *entries);
    char(*paths)[16] = xcalloc(n, sizeof *paths);
    struct tree_group g = {.entries = entries, .n_entries = n};
    struct buf body = BUF_INIT;
    struct buf b = BUF_INIT;
    struct err e = {0};

    for (size_t k = 0; k < n; k++) {
        struct scache_mark m = {.ino = *n_marks + 1,
                                .ctime_ns = (int64_t)*n_marks + 2,
                                .rest = (uint32_t)*n_marks + 3};

        (void)snprintf(paths[k], sizeof paths[k], "%04zu/%04zu", i % 10000, k % 10000);
        entries[k] = (struct tree_entry){.path = paths[k],
                                         .path_len = strlen(paths[k]),
                                         .type = TREE_FIFO,
                                         .user = "",
                                         .group = ""};
        assert_int_equal(scache_add_mark(w, &m), *n_marks);
        ++*n_marks;
    }
    tree_group_encode(&g, &body);
    buf_add_varint(&b, body.len);
    buf_add(&b, body.data, body.len);
    assert_ok(scache_add(w, b.data, b.len, &e));
    buf_free(&body);
    buf_free(&b);
    free(entries);
    free(paths);
}

static const struct sha256 TREE = {{1, 2, 3}};

/* A cache of n_groups groups of n entries, and marks of nothing behind them. */
static void
make_cache(const char *path, size_t n_groups, size_t n, size_t n_more)
{
    struct scache_writer *w = NULL;
    struct err e = {0};
    size_t n_marks = 0;

    assert_ok(scache_create(&w, path, &e));
    for (size_t i = 0; i < n_groups; i++) {
        add_group(w, i, n, &n_marks);
    }
    for (size_t i = 0; i < n_more; i++) {
        (void)scache_add_mark(w, &(struct scache_mark){.ino = 7});
    }
    assert_ok(scache_commit(w, &TREE, 1234567, &e));
}

/* How many entries come out whole; *damaged as scache_next says. */
static size_t
read_all(const char *path, bool *damaged)
{
    struct scache *c = scache_open(path);
    struct scache_group g;
    size_t n = 0;

    *damaged = false;
    assert_non_null(c);
    while (scache_next(c, &g, damaged)) {
        for (size_t i = 0; i < g.n_entries; i++, n++) {
            assert_int_equal(g.marks[i].ino, n + 1);
            assert_int_equal(g.marks[i].ctime_ns, n + 2);
            assert_int_equal(g.marks[i].rest, n + 3);
        }
    }
    assert_false(scache_next(c, &g, damaged));
    scache_close(c);
    return n;
}

static void
cache__comes_back_over_many_blocks(void **state)
{
    char *path = path_join(*state, "cache");
    struct scache *c;
    struct sha256 tree;
    bool damaged;

    make_cache(path, 20, 500, 0); /* marks of four blocks */
    assert_int_equal(read_all(path, &damaged), 20 * 500);
    assert_false(damaged);
    c = scache_open(path);
    scache_tree(c, &tree);
    assert_memory_equal(&tree, &TREE, sizeof tree);
    assert_int_equal(scache_n_entries(c), 20 * 500);
    assert_int_equal(c->reference, 1234567);
    scache_close(c);
    make_cache(path, 1, TREE_GROUP_ENTRIES_MAX, 0);
    assert_int_equal(read_all(path, &damaged), TREE_GROUP_ENTRIES_MAX);
    assert_false(damaged);
    make_cache(path, 0, 0, 0);
    assert_int_equal(read_all(path, &damaged), 0);
    assert_false(damaged);
    free(path);
}

/* Marks far apart take the most room that there is, and come back as well. */
static void
cache__keeps_marks_of_any_value(void **state)
{
    enum { N = TREE_GROUP_ENTRIES_MAX };
    static const struct scache_mark MARKS[] = {{UINT64_MAX, INT64_MIN, UINT32_MAX},
                                               {0, INT64_MAX, 0},
                                               {(uint64_t)1 << 63, -1, 0x12345678},
                                               {1, INT64_MIN, 1},
                                               {((uint64_t)1 << 63) - 1, 0, UINT32_MAX}};
    size_t n_kinds = sizeof MARKS / sizeof MARKS[0];
    char *path = path_join(*state, "cache");
    struct scache_writer *w = NULL;
    struct scache_group g;
    struct scache *c;
    size_t n_marks = 0;
    bool damaged = false;
    struct err e = {0};

    assert_ok(scache_create(&w, path, &e));
    add_group(w, 0, N, &n_marks);
    for (size_t i = 0; i < N; i++) {
        scache_set_mark(w, i, &MARKS[i % n_kinds]);
    }
    assert_ok(scache_commit(w, &TREE, 1, &e));
    c = scache_open(path);
    assert_non_null(c);
    assert_true(scache_next(c, &g, &damaged));
    assert_int_equal(g.n_entries, N);
    for (size_t i = 0; i < N; i++) {
        assert_memory_equal(&g.marks[i], &MARKS[i % n_kinds], sizeof MARKS[0]);
    }
    assert_false(scache_next(c, &g, &damaged));
    assert_false(damaged);
    scache_close(c);
    free(path);
}

/* The parts of a big file, group by group, are given as one; a part too few is damage. */
static void
cache__joins_the_parts_of_a_big_file(void **state)
{
    enum { PARTS = 4, N = 700 };
    char *path = path_join(*state, "cache");
    struct tree_chunk *chunks = xcalloc((size_t)PARTS * N, sizeof *chunks);
    struct tree_entry big = {.path = "big",
                             .path_len = 3,
                             .type = TREE_FILE,
                             .size = PARTS * N,
                             .stored = PARTS * N,
                             .user = "",
                             .group = ""};
    struct err e = {0};

    for (uint32_t i = 0; i < PARTS * N; i++) {
        put_u32(chunks[i].id.b, i);
        chunks[i].len = 1;
    }
    for (size_t n_parts = PARTS - 1; n_parts <= PARTS; n_parts++) {
        struct scache_writer *w = NULL;
        struct scache_group got;
        struct scache *c;
        bool damaged = false;

        assert_ok(scache_create(&w, path, &e));
        for (size_t i = 0; i < n_parts; i++) {
            struct tree_group g = {.entries = &big,
                                   .n_entries = i == 0,
                                   .chunks = chunks + i * N,
                                   .n_chunks = N,
                                   .continues = i > 0,
                                   .more = i + 1 < PARTS};
            struct buf body = BUF_INIT;
            struct buf b = BUF_INIT;

            tree_group_encode(&g, &body);
            buf_add_varint(&b, body.len);
            buf_add(&b, body.data, body.len);
            assert_ok(scache_add(w, b.data, b.len, &e));
            buf_free(&body);
            buf_free(&b);
        }
        (void)scache_add_mark(w, &(struct scache_mark){.ino = 1});
        assert_ok(scache_commit(w, &TREE, 1, &e));
        c = scache_open(path);
        assert_non_null(c);
        assert_int_equal(scache_next(c, &got, &damaged), n_parts == PARTS);
        assert_int_equal(damaged, n_parts < PARTS);
        if (n_parts == PARTS) {
            assert_int_equal(got.n_entries, 1);
            assert_int_equal(got.n_chunks, PARTS * N);
            assert_memory_equal(got.chunks, chunks, (size_t)PARTS * N * sizeof *chunks);
        }
        scache_close(c);
    }
    free(chunks);
    free(path);
}

/* More marks than entries, or fewer: it does not fit together, and that is said. */
static void
cache__whose_marks_do_not_fit_is_damaged(void **state)
{
    char *path = path_join(*state, "cache");
    struct buf b = BUF_INIT;
    struct err e = {0};
    bool damaged;

    make_cache(path, 2, 5, 1);
    assert_int_equal(read_all(path, &damaged), 10);
    assert_true(damaged);
    make_cache(path, 2, 5, 0);
    assert_ok(file_read(path, 1 << 20, &b, &e));
    put_u64(b.data + SCACHE_AT_N_ENTRIES, 9);
    put_u32(b.data + SCACHE_AT_CRC, crc32c(0, b.data, SCACHE_AT_CRC));
    assert_ok(file_replace(path, b.data, b.len, &e));
    assert_int_equal(read_all(path, &damaged), 5);
    assert_true(damaged);
    buf_free(&b);
    free(path);
}

/* The header with one field changed, its sum made right; NULL: no cache. */
static struct scache *
open_forged(const char *path, const struct buf *good, size_t at, const void *data,
            size_t len)
{
    struct buf b = BUF_INIT;
    struct err e = {0};

    buf_add(&b, good->data, good->len);
    memcpy(b.data + at, data, len);
    put_u32(b.data + SCACHE_AT_CRC, crc32c(0, b.data, SCACHE_AT_CRC));
    assert_ok(file_replace(path, b.data, b.len, &e));
    buf_free(&b);
    return scache_open(path);
}

static void
header__that_lies_under_a_right_sum_is_no_cache(void **state)
{
    char *path = path_join(*state, "cache");
    struct buf good = BUF_INIT;
    struct scache *c;
    uint8_t u64[8];
    struct err e = {0};

    make_cache(path, 1, 3, 0);
    assert_ok(file_read(path, 1 << 20, &good, &e));
    c = open_forged(path, &good, 0, "GPRSCAN3", 8);
    assert_non_null(c);
    scache_close(c);
    assert_null(open_forged(path, &good, 0, "GPRSCAN2", 8));
    put_u64(u64, (uint64_t)1 << 32);
    c = open_forged(path, &good, SCACHE_AT_N_ENTRIES, u64, 8);
    assert_non_null(c); /* it will not come to that many */
    scache_close(c);
    put_u64(u64, ((uint64_t)1 << 32) + 1);
    assert_null(open_forged(path, &good, SCACHE_AT_N_ENTRIES, u64, 8));
    put_u64(u64, (uint64_t)INT64_MAX / 2);
    c = open_forged(path, &good, SCACHE_AT_STREAM_LEN, u64, 8);
    assert_non_null(c);
    scache_close(c);
    put_u64(u64, (uint64_t)INT64_MAX / 2 + 1);
    assert_null(open_forged(path, &good, SCACHE_AT_STREAM_LEN, u64, 8));
    put_u64(u64, (uint64_t)INT64_MAX / 2 + 1);
    assert_null(open_forged(path, &good, SCACHE_AT_MARKS, u64, 8));
    good.data[SCACHE_AT_CRC] ^= 1;
    assert_ok(file_replace(path, good.data, good.len, &e));
    assert_null(scache_open(path));
    assert_ok(file_replace(path, good.data, SCACHE_HEADER_BYTES - 1, &e));
    assert_null(scache_open(path));
    buf_free(&good);
    free(path);
}

/* After a reboot only what had been quiet for two minutes counts. */
static void
header__of_another_boot_moves_the_reference_back(void **state)
{
    char *path = path_join(*state, "cache");
    struct buf good = BUF_INIT;
    struct scache *c;
    uint8_t u64[8];
    struct err e = {0};

    make_cache(path, 1, 3, 0);
    assert_ok(file_read(path, 1 << 20, &good, &e));
    put_u64(good.data + SCACHE_AT_WRITTEN, (uint64_t)(1000 * S));
    put_u64(u64, (uint64_t)(999 * S));
    memcpy(good.data + SCACHE_AT_REFERENCE, u64, 8);
    c = open_forged(path, &good, SCACHE_AT_REFERENCE, u64, 8);
    assert_true(c->reference == 999 * S);
    scache_close(c);
    good.data[SCACHE_AT_BOOT] ^= 1;
    c = open_forged(path, &good, SCACHE_AT_REFERENCE, u64, 8);
    assert_true(c->reference == 880 * S);
    scache_close(c);
    put_u64(u64, (uint64_t)(700 * S));
    c = open_forged(path, &good, SCACHE_AT_REFERENCE, u64, 8);
    assert_true(c->reference == 700 * S);
    scache_close(c);
    buf_free(&good);
    free(path);
}

/* Lengths and sums of blocks: each wrong one ends the cache there. */
static void
block__that_is_wrong_ends_the_cache(void **state)
{
    char *path = path_join(*state, "cache");
    struct buf good = BUF_INIT;
    uint8_t *head;
    struct err e = {0};
    bool damaged;

    make_cache(path, 1, 3, 0);
    assert_ok(file_read(path, 1 << 20, &good, &e));
    head = good.data + SCACHE_HEADER_BYTES;
    for (int i = 0; i < 7; i++) {
        uint32_t stored = get_u32(head);
        uint32_t len = get_u32(head + 4);

        switch (i) {
        case 0:
            put_u32(head, 0);
            break;
        case 1:
            put_u32(head, stored + 1);
            break; /* its sum is another then */
        case 2:
            put_u32(head, len + 1);
            break; /* nothing grows by being stored */
        case 3:
            put_u32(head + 4, 0);
            break;
        case 4:
            put_u32(head + 4, SCACHE_BLOCK_BYTES + 1);
            break;
        case 5:
            put_u32(head + 4, len + 1);
            break; /* more than the frame holds */
        default:
            head[8] ^= 1;
            break; /* the sum */
        }
        assert_ok(file_replace(path, good.data, good.len, &e));
        assert_int_equal(read_all(path, &damaged), 0);
        assert_true(damaged);
        put_u32(head, stored);
        put_u32(head + 4, len);
    }
    buf_free(&good);
    free(path);
}

/* ---- trust ---- */

static struct scan_entry
some_entry(void)
{
    return (struct scan_entry){.type = TREE_FILE,
                               .dev = 1,
                               .ino = 2,
                               .mode = 0644,
                               .nlink = 1,
                               .uid = 3,
                               .gid = 4,
                               .rdev = 5,
                               .size = 6,
                               .mtime_ns = 7,
                               .ctime_ns = 100 * S + 1};
}

static void
trust__ends_at_the_reference(void **state)
{
    struct scache c = {.reference = 100 * S + 2};
    struct scan_entry entry = some_entry();
    struct scache_mark m = scache_mark_of(&entry);

    (void)state;
    assert_true(scache_trusts(&c, &m, &entry));
    c.reference--;
    assert_false(scache_trusts(&c, &m, &entry));
    entry.ctime_ns = 100 * S; /* whole seconds: coarse, so three seconds more */
    m = scache_mark_of(&entry);
    c.reference = 103 * S + 1;
    assert_true(scache_trusts(&c, &m, &entry));
    c.reference--;
    assert_false(scache_trusts(&c, &m, &entry));
    c.reference = INT64_MIN; /* and no wrap where nothing is trusted */
    assert_false(scache_trusts(&c, &m, &entry));
    c.reference = INT64_MIN + 3 * S - 1;
    assert_false(scache_trusts(&c, &m, &entry));
}

static void
trust__is_lost_by_any_difference(void **state)
{
    const struct scache c = {.reference = 200 * S};
    const struct scan_entry was = some_entry();
    const struct scache_mark m = scache_mark_of(&was);

    (void)state;
    assert_true(scache_trusts(&c, &m, &was));
    for (int how = 0; how < 12; how++) {
        struct scan_entry now = was;

        now.damage = how == 0 ? TREE_UNREADABLE : TREE_WHOLE;
        now.ino += how == 1;
        now.ctime_ns += how == 2;
        now.dev += how == 3;
        now.type = how == 4 ? TREE_FIFO : TREE_FILE;
        now.mode += how == 5;
        now.uid += how == 6;
        now.gid += how == 7;
        now.mtime_ns += how == 8;
        now.size += how == 9;
        now.nlink += how == 10;
        now.rdev += how == 11;
        if (scache_trusts(&c, &m, &now)) {
            fail_msg("difference %d", how);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        unit_test_in_dir(cache__comes_back_over_many_blocks),
        unit_test_in_dir(cache__keeps_marks_of_any_value),
        unit_test_in_dir(cache__joins_the_parts_of_a_big_file),
        unit_test_in_dir(cache__whose_marks_do_not_fit_is_damaged),
        unit_test_in_dir(header__that_lies_under_a_right_sum_is_no_cache),
        unit_test_in_dir(header__of_another_boot_moves_the_reference_back),
        unit_test_in_dir(block__that_is_wrong_ends_the_cache),
        cmocka_unit_test(trust__ends_at_the_reference),
        cmocka_unit_test(trust__is_lost_by_any_difference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
