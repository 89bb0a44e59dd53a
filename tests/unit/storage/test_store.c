#include "tests/unit/storage/store_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

#include "storage/putq.h"

#define CHUNK ((size_t)20000)

static struct {
    int n;
    off_t at[8];
    off_t len[8];
} advice;

/* In the C library's place. */
int
posix_fadvise(int fd, off_t at, off_t len, int what)
{
    (void)fd;
    assert_int_equal(what, POSIX_FADV_WILLNEED);
    assert_true(advice.n < 8);
    advice.at[advice.n] = at;
    advice.len[advice.n++] = len;
    return 0;
}

static struct store *
open_store(const char *dir)
{
    struct store *s = NULL;

    OK(store_open(&s, dir, NULL, e));
    return s;
}

static void
store__gives_back_what_was_put(void **state)
{
    char *dir = scratch_dir();
    struct store *s = open_store(dir);
    struct store_stats st;
    bool added;

    (void)state;
    for (uint64_t i = 0; i < 200; i++) {
        (void)put_chunk_n(s, i, CHUNK, &added);
        assert_true(added);
    }
    for (uint64_t i = 0; i < 200; i++) {
        check_chunk(s, i, CHUNK); /* before the commit too */
        (void)put_chunk_n(s, i, CHUNK, &added);
        assert_false(added);
    }
    OK(store_commit(s, e));
    for (uint64_t i = 0; i < 200; i++) {
        check_chunk(s, i, CHUNK);
        (void)put_chunk_n(s, i, CHUNK, &added);
        assert_false(added);
    }
    OK(store_stats(s, &st, e));
    assert_int_equal(st.n_chunks, 200);
    assert_int_equal(st.n_packs, 1);
    assert_int_equal(st.put_chunks, 600);
    assert_int_equal(st.new_chunks, 200);
    assert_true(st.stored_bytes < st.raw_bytes);
    store_close(s);
    s = open_store(dir);
    for (uint64_t i = 0; i < 200; i++) {
        check_chunk(s, i, CHUNK);
    }
    store_close(s);
    scratch_free(dir);
}

static void
store__forgets_what_was_not_committed(void **state)
{
    char *dir = scratch_dir();
    struct store *s = open_store(dir);
    struct sha256 kept, lost;
    struct store_stats st;

    (void)state;
    kept = put_chunk_n(s, 1, CHUNK, NULL);
    OK(store_commit(s, e));
    OK(store_commit(s, e)); /* nothing new: nothing happens */
    lost = put_chunk_n(s, 2, CHUNK, NULL);
    assert_true(has_one(s, &lost));
    store_close(s);
    s = open_store(dir);
    assert_true(has_one(s, &kept));
    assert_false(has_one(s, &lost));
    OK(store_stats(s, &st, e));
    assert_int_equal(st.n_packs, 1);
    store_close(s);
    scratch_free(dir);
}

static void
store__answers_for_many_at_once_in_any_order(void **state)
{
    enum { N = 1000 };
    char *dir = scratch_dir();
    struct store *s = open_store(dir);
    struct sha256 ids[2 * N];
    struct store_loc locs[2 * N];
    uint8_t bits[2 * N / 8];

    (void)state;
    for (uint64_t i = 0; i < 2 * N; i++) {
        uint8_t data[64];
        size_t len = make_chunk(i, data, sizeof data);

        memcpy(data, &i, len < 8 ? len : 8);
        data[len < 60 ? len++ : len - 1] = (uint8_t)i;
        sha256_of(data, len, &ids[i]);
        if (i % 2 == 0) {
            OK(store_put(s, STORE_KIND_DATA, data, len, &ids[i], NULL, e));
        }
        if (i == N) {
            OK(store_commit(s, e)); /* half are in the index, half are not */
        }
    }
    OK(store_has(s, ids, (size_t)2 * N, bits, e));
    OK(store_locate(s, ids, (size_t)2 * N, locs, e));
    for (size_t i = 0; i < (size_t)2 * N; i++) {
        bool here = (bits[i / 8] >> (i % 8) & 1) != 0;

        assert_true(here || i % 2 == 1);
        assert_int_equal(here, locs[i].pack != 0);
    }
    OK(store_commit(s, e));
    for (size_t some = 0; some < 40;
         some += 13) { /* by single look-ups and by the walk */
        OK(store_has(s, ids, some, bits, e));
        for (size_t i = 0; i < some; i += 2) {
            assert_true((bits[i / 8] >> (i % 8) & 1) != 0);
        }
    }
    OK(store_has(s, ids, (size_t)2 * N, bits, e));
    OK(store_locate(s, ids, (size_t)2 * N, locs, e));
    for (size_t i = 0; i < (size_t)2 * N; i++) {
        struct store_loc alone; /* by the other way to look it up */

        OK(store_locate(s, &ids[i], 1, &alone, e));
        assert_int_equal((bits[i / 8] >> (i % 8) & 1) != 0, alone.pack != 0);
        assert_int_equal(locs[i].pack, alone.pack);
        assert_int_equal(locs[i].offset, alone.offset);
        assert_int_equal(locs[i].raw_len, alone.raw_len);
    }
    store_prefetch(s, locs, (size_t)2 * N);
    assert_int_equal(advice.n, 2); /* two packs, close together each */
    advice.n = 0;
    store_close(s);
    scratch_free(dir);
}

static size_t
n_open_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    assert_non_null(d);
    while (readdir(d) != NULL) {
        n++;
    }
    (void)closedir(d);
    return n;
}

/* One descriptor for each pack, as long as there are not too many of them. */
static void
store__opens_a_pack_once(void **state)
{
    enum { PACKS = 34 }; /* two more than are kept open */
    char *dir = scratch_dir();
    size_t at_first = n_open_files();
    struct store *s = open_store(dir);
    size_t before = 0;

    (void)state;
    for (uint64_t i = 0; i < PACKS; i++) {
        (void)put_chunk_n(s, 2 * i, CHUNK, NULL);
        (void)put_chunk_n(s, 2 * i + 1, CHUNK, NULL);
        OK(store_commit(s, e));
        before = i == 0 ? n_open_files() : before;
    }
    assert_int_equal(n_open_files(), before); /* what is committed is closed */
    for (uint64_t i = 0; i < 2 * PACKS; i++) {
        check_chunk(s, i % 8, CHUNK);
        assert_true(n_open_files() <= before + 4);
    }
    for (uint64_t i = 0; i < (uint64_t)4 * PACKS; i++) {
        check_chunk(s, i % ((uint64_t)2 * PACKS), CHUNK);
    }
    assert_int_equal(n_open_files(), before + 32);
    store_close(s);
    assert_int_equal(n_open_files(), at_first);
    store_close(NULL);
    scratch_free(dir);
}

/* Neighbours are asked for in one piece, as far as 64 KiB apart; packs each for itself.
 */
static void
prefetch__asks_for_neighbours_at_once(void **state)
{
    const uint64_t gap = (uint64_t)64 * 1024;
    char *dir = scratch_dir();
    struct store *s = open_store(dir);
    struct sha256 id[2];
    struct store_loc locs[6] = {{0}};

    (void)state;
    id[0] = put_chunk_n(s, 2, CHUNK, NULL);
    OK(store_commit(s, e));
    id[1] = put_chunk_n(s, 4, CHUNK, NULL);
    OK(store_commit(s, e));
    OK(store_locate(s, id, 2, locs, e));
    locs[2] = locs[0];
    locs[2].offset = locs[0].offset + 64 + locs[0].stored_len + gap; /* just near */
    locs[3] = locs[2];
    locs[3].offset =
        locs[2].offset + 64 + locs[2].stored_len + gap + 1; /* not any more */
    store_prefetch(s, locs, 5);                             /* and one that is nowhere */
    assert_int_equal(advice.n, 3);
    assert_int_equal(advice.at[0], locs[0].offset);
    assert_int_equal(advice.len[0],
                     locs[2].offset + 64 + locs[2].stored_len - locs[0].offset);
    assert_int_equal(advice.at[1], locs[3].offset);
    assert_int_equal(advice.len[1], 64 + locs[3].stored_len);
    assert_int_equal(advice.at[2], locs[1].offset);
    advice.n = 0;
    store_close(s);
    scratch_free(dir);
}

static void
store__refuses_impossible_chunks(void **state)
{
    char *dir = scratch_dir();
    struct store *s = open_store(dir);
    uint8_t *big = xcalloc(1, STORE_CHUNK_MAX_BYTES + 1);
    struct sha256 id = {{0}};
    bool added = true;

    (void)state;
    FAILS(store_put(s, STORE_KIND_DATA, big, 0, &id, NULL, e), ERR_RANGE);
    FAILS(store_put(s, STORE_KIND_DATA, big, STORE_CHUNK_MAX_BYTES + 1, &id, NULL, e),
          ERR_RANGE);
    FAILS(store_put(s, (enum store_kind)9, big, 10, &id, NULL, e), ERR_INVALID);
    FAILS(store_put_checked(s, STORE_KIND_DATA, &id, big, 10, &added, e), ERR_CORRUPT);
    OK(store_put(s, STORE_KIND_DATA, big, STORE_CHUNK_MAX_BYTES, &id, NULL, e));
    OK(store_put_checked(s, STORE_KIND_DATA, &id, big, STORE_CHUNK_MAX_BYTES, &added, e));
    assert_false(added);
    free(big);
    store_close(s);
    scratch_free(dir);
}

/* What is refused before a byte is decoded, and what is taken at its very limit. */
static void
store__takes_encoded_chunks_of_possible_lengths(void **state)
{
    char *dir = scratch_dir();
    struct store *s = open_store(dir);
    uint8_t *big = xcalloc(1, STORE_CHUNK_MAX_BYTES + 1);
    struct sha256 one;
    struct sha256 most;
    bool added = false;

    (void)state;
    sha256_of(big, 1, &one);
    sha256_of(big, STORE_CHUNK_MAX_BYTES, &most);
    FAILS(store_put_encoded(s, STORE_KIND_DATA, &one, STORE_CODEC_RAW, 1, big, 0, NULL,
                            &added, e),
          ERR_RANGE);
    FAILS(store_put_encoded(s, STORE_KIND_DATA, &one, STORE_CODEC_RAW, 1, big, 2, NULL,
                            &added, e),
          ERR_RANGE);
    FAILS(store_put_encoded(s, STORE_KIND_DATA, &one, STORE_CODEC_ZSTD, 1, big, 1, NULL,
                            &added, e),
          ERR_RANGE);
    FAILS(store_put_encoded(s, STORE_KIND_DATA, &one, STORE_CODEC_RAW,
                            STORE_CHUNK_MAX_BYTES + 1, big, STORE_CHUNK_MAX_BYTES + 1,
                            NULL, &added, e),
          ERR_RANGE);
    OK(store_put_encoded(s, STORE_KIND_DATA, &one, STORE_CODEC_RAW, 1, big, 1, NULL,
                         &added, e));
    assert_true(added);
    OK(store_put_encoded(s, STORE_KIND_META, &most, STORE_CODEC_RAW,
                         STORE_CHUNK_MAX_BYTES, big, STORE_CHUNK_MAX_BYTES, NULL, &added,
                         e));
    assert_true(added);
    OK(store_commit(s, e));
    assert_true(has_one(s, &one) && has_one(s, &most));
    free(big);
    store_close(s);
    scratch_free(dir);
}

static void
store__passes_encoded_chunks_on_as_they_are(void **state)
{
    char *dir = scratch_dir();
    char *dir2 = scratch_dir();
    struct store *s = open_store(dir);
    struct store *t = open_store(dir2);
    struct sha256 other = {{1}};

    (void)state;
    for (uint64_t i = 0; i < 50; i++) {
        struct sha256 id = put_chunk_n(s, i, CHUNK, NULL);
        struct buf enc = BUF_INIT;
        struct store_loc loc;
        bool added;

        OK(store_locate(s, &id, 1, &loc, e));
        OK(store_read_encoded(s, &id, &loc, &enc, e));
        assert_int_equal(enc.len, loc.stored_len);
        OK(store_put_encoded(t, STORE_KIND_DATA, &id, loc.codec, loc.raw_len, enc.data,
                             enc.len, NULL, &added, e));
        assert_true(added);
        FAILS(store_put_encoded(t, STORE_KIND_DATA, &other, loc.codec, loc.raw_len,
                                enc.data, enc.len, NULL, &added, e),
              ERR_CORRUPT);
        if (loc.codec == STORE_CODEC_ZSTD) {
            FAILS(store_put_encoded(t, STORE_KIND_DATA, &id, loc.codec, loc.raw_len + 1,
                                    enc.data, enc.len, NULL, &added, e),
                  ERR_CORRUPT);
            FAILS(store_put_encoded(t, STORE_KIND_DATA, &id, loc.codec, loc.raw_len,
                                    enc.data, enc.len - 1, NULL, &added, e),
                  ERR_CORRUPT);
            buf_add_u8(&enc, 0);
            FAILS(store_put_encoded(t, STORE_KIND_DATA, &id, loc.codec, loc.raw_len,
                                    enc.data, enc.len, NULL, &added, e),
                  ERR_CORRUPT);
        }
        FAILS(store_put_encoded(t, STORE_KIND_DATA, &id, (enum store_codec)7, enc.len,
                                enc.data, enc.len, NULL, &added, e),
              ERR_INVALID);
        FAILS(store_put_encoded(t, STORE_KIND_DATA, &id, STORE_CODEC_ZSTD,
                                STORE_CHUNK_MAX_BYTES + 1, enc.data, enc.len, NULL,
                                &added, e),
              ERR_RANGE);
        buf_free(&enc);
    }
    OK(store_commit(t, e));
    for (uint64_t i = 0; i < 50; i++) {
        check_chunk(t, i, CHUNK);
    }
    store_close(s);
    store_close(t);
    scratch_free(dir);
    scratch_free(dir2);
}

static void
store__opens_only_stores(void **state)
{
    char *dir = scratch_dir();
    char *deep = path_join(dir, "a/b/c");
    char *file = path_join(dir, "foreign");
    char *format = path_join(deep, "format");
    const struct store_options must = {.must_exist = true};
    struct store *s = NULL;

    (void)state;
    FAILS(store_open(&s, deep, &must, e), ERR_NOT_FOUND);
    s = open_store(deep);
    store_close(s);
    OK(store_open(&s, deep, &must, e));
    store_close(s);
    OK(file_replace(file, "x", 1, e));
    FAILS(store_open(&s, dir, &must, e), ERR_NOT_FOUND);
    FAILS(store_open(&s, dir, NULL, e), ERR_CORRUPT);
    assert_int_equal(access(dir, F_OK), 0);
    OK(file_replace(format, "gpurun.store.v2\n", 16, e));
    FAILS(store_open(&s, deep, NULL, e), ERR_VERSION);
    free(deep);
    free(file);
    free(format);
    scratch_free(dir);
}

/* ---- several at once ---- */

struct put_job {
    struct store *s;
    uint64_t from, to;
};

static void *
put_range(void *arg)
{
    struct put_job *j = arg;

    for (uint64_t i = j->from; i < j->to; i++) {
        (void)put_chunk_n(j->s, i, CHUNK, NULL);
    }
    OK(store_commit(j->s, e));
    for (uint64_t i = j->from; i < j->to; i++) {
        check_chunk(j->s, i, CHUNK);
    }
    return NULL;
}

static void
store__takes_puts_from_many_threads(void **state)
{
    char *dir = scratch_dir();
    struct store *s = open_store(dir);
    struct put_job jobs[4];
    pthread_t threads[4];
    struct store_stats st;

    (void)state;
    for (uint64_t i = 0; i < 4; i++) {
        jobs[i] = (struct put_job){s, i * 100, i * 100 + 200}; /* overlapping */
        assert_int_equal(pthread_create(&threads[i], NULL, put_range, &jobs[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    OK(store_stats(s, &st, e));
    assert_int_equal(st.n_chunks, 500);
    store_close(s);
    s = open_store(dir);
    for (uint64_t i = 0; i < 500; i++) {
        check_chunk(s, i, CHUNK);
    }
    store_close(s);
    scratch_free(dir);
}

static void
store__is_shared_by_processes(void **state)
{
    char *dir = scratch_dir();
    pid_t pids[3];
    struct store *s;

    (void)state;
    for (uint64_t i = 0; i < 3; i++) {
        pids[i] = fork();
        assert_int_not_equal(pids[i], -1);
        if (pids[i] == 0) {
            struct put_job j = {NULL, i * 50, i * 50 + 100};

            j.s = open_store(dir); /* all three may make it */
            (void)put_range(&j);
            store_close(j.s);
            _exit(0);
        }
    }
    for (size_t i = 0; i < 3; i++) {
        int status = -1;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    s = open_store(dir);
    for (uint64_t i = 0; i < 200; i++) {
        check_chunk(s, i, CHUNK);
    }
    store_close(s);
    scratch_free(dir);
}

static void
store__fills_many_packs(void **state)
{
    enum { N = 500 }; /* of 512 KiB: 250 MB, eight packs */
    char *dir = scratch_dir();
    struct store *s = open_store(dir);
    size_t len = 512 * 1024;
    uint8_t *data = xmalloc(len);
    struct sha256 ids[N];
    struct store_stats st;
    struct putq *q = NULL;

    (void)state;
    fill_random(data, len, 9);
    OK(putq_open(&q, s, 3, e));
    for (uint64_t i = 0; i < N; i++) {
        memcpy(data + 1000, &i, sizeof i);
        OK(putq_put(q, STORE_KIND_DATA, data, len, &ids[i], e));
    }
    OK(putq_wait(q, e));
    putq_close(q);
    OK(store_commit(s, e));
    OK(store_stats(s, &st, e));
    assert_int_equal(st.n_chunks, N);
    assert_in_range(st.n_packs, 7, 9);
    store_close(s);
    s = open_store(dir);
    for (uint64_t i = 0; i < N; i++) {
        struct buf got = BUF_INIT;

        memcpy(data + 1000, &i, sizeof i);
        OK(store_get(s, &ids[i], &got, e));
        assert_int_equal(got.len, len);
        assert_memory_equal(got.data, data, len);
        buf_free(&got);
    }
    store_close(s);
    free(data);
    scratch_free(dir);
}

static void
putq__tells_the_first_failure(void **state)
{
    char *dir = scratch_dir();
    struct store *s = open_store(dir);
    struct putq *q = NULL;
    struct sha256 id;
    struct err err = {0};

    (void)state;
    OK(putq_open(&q, s, 0, e)); /* as many as there are cores */
    OK(putq_put(q, STORE_KIND_DATA, "z", 1, &id, e));
    OK(putq_wait(q, e));
    assert_true(has_one(s, &id));
    putq_close(q);
    OK(putq_open(&q, s, 2, e));
    FAILS(putq_put(q, STORE_KIND_DATA, "", 0, &id, e), ERR_RANGE);
    OK(putq_put(q, (enum store_kind)77, "x", 1, &id, e));
    assert_int_equal(putq_wait(q, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    FAILS(putq_put(q, STORE_KIND_DATA, "y", 1, &id, e), ERR_INVALID);
    putq_close(q);
    store_close(s);
    scratch_free(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store__gives_back_what_was_put),
        cmocka_unit_test(store__forgets_what_was_not_committed),
        cmocka_unit_test(store__answers_for_many_at_once_in_any_order),
        cmocka_unit_test(store__opens_a_pack_once),
        cmocka_unit_test(prefetch__asks_for_neighbours_at_once),
        cmocka_unit_test(store__refuses_impossible_chunks),
        cmocka_unit_test(store__takes_encoded_chunks_of_possible_lengths),
        cmocka_unit_test(store__passes_encoded_chunks_on_as_they_are),
        cmocka_unit_test(store__opens_only_stores),
        cmocka_unit_test(store__takes_puts_from_many_threads),
        cmocka_unit_test(store__is_shared_by_processes),
        cmocka_unit_test(store__fills_many_packs),
        cmocka_unit_test(putq__tells_the_first_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
