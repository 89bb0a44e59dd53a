#include "tests/unit/storage/store_util.h"

#include "storage/chunker.h"
#include "storage/chunker_internal.h"

/* Cut data as chunker_cut does, forced ends aside. */
static size_t
cut_all(const uint8_t *data, size_t len, size_t *lens, size_t max)
{
    size_t n = 0;

    for (size_t at = 0; at < len; n++) {
        assert_true(n < max);
        lens[n] = chunker_cut(data + at, len - at);
        at += lens[n];
    }
    return n;
}

static void
gear__is_the_table_it_was(void **state)
{
    uint8_t bytes[256 * 8];
    struct sha256 h;
    char hex[SHA256_HEX_LEN + 1];

    (void)state;
    for (size_t i = 0; i < 256; i++) {
        for (size_t k = 0; k < 8; k++) {
            bytes[i * 8 + k] = (uint8_t)(chunker_gear[i] >> (8 * k));
        }
    }
    sha256_of(bytes, sizeof bytes, &h);
    sha256_format(&h, hex);
    assert_string_equal(
        hex, "a0f4bec1f96c31f6cea28a85fa49070717a1c8090c14720ee11a13d5aa66f5c1");
}

static void
cut__finds_the_places_it_always_found(void **state)
{
    size_t len = (size_t)8 << 20;
    uint8_t *data = xmalloc(len);
    size_t lens[256];
    struct sha256 h;
    char hex[SHA256_HEX_LEN + 1];
    size_t n;

    (void)state;
    fill_random(data, len, 42);
    n = cut_all(data, len, lens, 256);
    for (size_t i = 0; i + 1 < n; i++) {
        assert_in_range(lens[i], CHUNKER_MIN_BYTES + 1, CHUNKER_MAX_BYTES);
    }
    sha256_of(lens, n * sizeof *lens, &h);
    sha256_format(&h, hex);
    assert_string_equal(
        hex, "e2efbb1f93439d8a0e9533206920cf70bd6d289d180d5a9fb95afc35bb60ea7b");
    free(data);
}

static void
cut__of_short_data_is_all_of_it(void **state)
{
    uint8_t byte = 7;

    (void)state;
    assert_int_equal(chunker_cut(&byte, 1), 1);
}

static void
cut__of_equal_bytes_is_the_maximum(void **state)
{
    size_t len = 2 * CHUNKER_MAX_BYTES;
    uint8_t *data = xcalloc(1, len);

    (void)state;
    assert_int_equal(chunker_cut(data, len), CHUNKER_MAX_BYTES);
    assert_int_equal(chunker_cut(data, CHUNKER_MAX_BYTES), CHUNKER_MAX_BYTES);
    assert_int_equal(chunker_cut(data, CHUNKER_MAX_BYTES - 1), CHUNKER_MAX_BYTES - 1);
    free(data);
}

static void
cut__comes_back_into_step_after_an_insertion(void **state)
{
    size_t len = (size_t)16 << 20;
    uint8_t *a = xmalloc(len);
    uint8_t *b = xmalloc(len + 100);
    size_t lens_a[512];
    size_t lens_b[512];
    size_t n_a, n_b;
    size_t same = 0;

    (void)state;
    fill_random(a, len, 1);
    memcpy(b, a, len / 2);
    fill_random(b + len / 2, 100, 2);
    memcpy(b + len / 2 + 100, a + len / 2, len / 2);
    n_a = cut_all(a, len, lens_a, 512);
    n_b = cut_all(b, len + 100, lens_b, 512);
    while (same < n_a && same < n_b && lens_a[n_a - 1 - same] == lens_b[n_b - 1 - same]) {
        same++;
    }
    assert_true(same > n_a * 2 / 5); /* the last chunks of the second half are the same */
    free(a);
    free(b);
}

/* Chunks of the data as it is now that it did not have when it was cut as lens. */
static size_t
new_bytes(const uint8_t *data, size_t len, const size_t *lens, size_t n)
{
    size_t fresh = 0;
    size_t old = 0; /* where chunk i begins, i */
    size_t i = 0;

    for (size_t at = 0, cut; at < len; at += cut) {
        cut = chunker_cut(data + at, len - at);
        while (i < n && old < at) {
            old += lens[i++];
        }
        fresh += i < n && old == at && lens[i] == cut ? 0 : cut;
    }
    return fresh;
}

/* What is replaced costs itself, and two chunks more, or three. */
static void
cut__is_soon_in_step_after_a_stretch_that_changed(void **state)
{
    const size_t len = (size_t)24 << 20;
    const size_t stretch = (size_t)1 << 20;
    uint8_t *data = xmalloc(len);
    uint8_t *was = xmalloc(stretch);
    size_t lens[512];
    size_t sum = 0;
    size_t n;

    (void)state;
    fill_random(data, len, 5);
    n = cut_all(data, len, lens, 512);
    for (uint64_t i = 0; i < 40; i++) {
        uint8_t *at = data + (size_t)i * 400000;

        memcpy(was, at, stretch);
        fill_random(at, stretch, 100 + i);
        sum += new_bytes(data, len, lens, n);
        memcpy(at, was, stretch);
    }
    assert_in_range(sum / 40, stretch, stretch + 350000);
    free(was);
    free(data);
}

struct cuts {
    size_t lens[4096];
    size_t n;
    struct sha256 hash; /* over all bytes that came out */
};

static void
drain(struct chunker *c, struct cuts *out, struct sha256_ctx *h)
{
    const uint8_t *chunk;
    size_t len;

    while (chunker_next(c, &chunk, &len)) {
        assert_true(out->n < 4096 && len > 0 && len <= CHUNKER_MAX_BYTES);
        sha256_update(h, chunk, len);
        out->lens[out->n++] = len;
    }
}

/* Feed data in files of the given sizes, in pieces of at most `piece` bytes. */
static void
feed(const uint8_t *data, const size_t *sizes, size_t n_sizes, size_t piece,
     struct cuts *out)
{
    struct chunker *c = chunker_new();
    struct sha256_ctx *h = sha256_new();

    out->n = 0;
    for (size_t i = 0; i < n_sizes; i++) {
        chunker_file(c, sizes[i]);
        drain(c, out, h);
        for (size_t left = sizes[i]; left > 0;) {
            size_t room;
            uint8_t *to = chunker_space(c, &room);
            size_t n = left < piece ? left : piece;

            n = n < room ? n : room;
            memcpy(to, data, n);
            data += n;
            left -= n;
            chunker_filled(c, n);
            drain(c, out, h);
        }
    }
    chunker_end(c);
    drain(c, out, h);
    sha256_final(h, &out->hash);
    sha256_free(h);
    chunker_free(c);
}

static void
chunker__cuts_the_same_however_it_is_fed(void **state)
{
    static const size_t pieces[] = {777, 65536, 1 << 20, SIZE_MAX};
    size_t len = (size_t)6 << 20;
    uint8_t *data = xmalloc(len);
    struct cuts *got = xmalloc(sizeof *got);
    size_t lens[256];
    size_t n;
    struct sha256 all;

    (void)state;
    fill_random(data, len, 3);
    sha256_of(data, len, &all);
    n = cut_all(data, len, lens, 256);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        feed(data, &len, 1, pieces[i], got);
        assert_int_equal(got->n, n);
        assert_memory_equal(got->lens, lens, n * sizeof *lens);
        assert_true(sha256_equal(&got->hash, &all));
    }
    free(data);
    free(got);
}

static void
chunker__gives_big_files_boundaries_of_their_own(void **state)
{
    size_t big = (size_t)1 << 20;
    size_t sizes[] = {100, 200, big, 300, 0, 400};
    size_t len = big + 1000;
    uint8_t *data = xmalloc(len);
    struct cuts *alone = xmalloc(sizeof *alone);
    struct cuts *among = xmalloc(sizeof *among);

    (void)state;
    fill_random(data, len, 4);
    feed(data + 300, &big, 1, 4096, alone);
    feed(data, sizes, 6, 4096, among);
    assert_int_equal(among->n, alone->n + 2);
    assert_int_equal(among->lens[0], 300);
    assert_memory_equal(among->lens + 1, alone->lens, alone->n * sizeof *alone->lens);
    assert_int_equal(among->lens[among->n - 1], 700);
    free(data);
    free(alone);
    free(among);
}

static void
chunker__is_as_new_after_the_end(void **state)
{
    struct chunker *c = chunker_new();
    const uint8_t *chunk;
    size_t room;
    size_t len;

    (void)state;
    for (int i = 0; i < 3; i++) {
        chunker_file(c, CHUNKER_BIG_FILE_BYTES);
        assert_false(chunker_next(c, &chunk, &len));
        memset(chunker_space(c, &room), 'x', 10);
        chunker_filled(c, 10);
        assert_false(chunker_next(c, &chunk, &len));
        chunker_end(c);
        assert_true(chunker_next(c, &chunk, &len));
        assert_int_equal(len, 10);
        assert_false(chunker_next(c, &chunk, &len));
    }
    chunker_free(c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gear__is_the_table_it_was),
        cmocka_unit_test(cut__finds_the_places_it_always_found),
        cmocka_unit_test(cut__of_short_data_is_all_of_it),
        cmocka_unit_test(cut__of_equal_bytes_is_the_maximum),
        cmocka_unit_test(cut__comes_back_into_step_after_an_insertion),
        cmocka_unit_test(cut__is_soon_in_step_after_a_stretch_that_changed),
        cmocka_unit_test(chunker__cuts_the_same_however_it_is_fed),
        cmocka_unit_test(chunker__gives_big_files_boundaries_of_their_own),
        cmocka_unit_test(chunker__is_as_new_after_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
