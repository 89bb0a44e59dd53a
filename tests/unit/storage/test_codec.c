#include "storage/codec.h"

#include <string.h>

#include "base/buf.h"
#include "tests/unit/unit.h"

#define LEN ((size_t)100000)

/* Of each 100 bytes the first `noise` are random, the others are words. */
static void
fill(uint8_t *to, size_t noise, uint64_t seed)
{
    static const char words[] = "one of the words that make up most of any text ";

    for (size_t i = 0; i < LEN; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        to[i] = i % 100 < noise ? (uint8_t)(seed >> 56)
                                : (uint8_t)words[(i + i / 100 * 7) % (sizeof words - 1)];
    }
}

static size_t
encode(struct codec *c, const uint8_t *data, enum store_codec want)
{
    static uint8_t back[LEN];
    const void *out;
    size_t len;
    struct err e = {0};
    enum store_codec how = codec_encode(c, 1, data, LEN, &out, &len);

    assert_int_equal(how, want);
    assert_ok(codec_decode(c, how, out, len, back, LEN, &e));
    assert_memory_equal(back, data, LEN);
    return len;
}

static void
encode__is_fast_where_little_is_to_be_had_and_thorough_elsewhere(void **state)
{
    struct codec *fresh = codec_new();
    struct codec *c = codec_new();
    uint8_t *text = xmalloc(LEN);
    uint8_t *mixed = xmalloc(LEN);
    uint8_t *noise = xmalloc(LEN);
    size_t whole;
    size_t first;

    (void)state;
    fill(text, 5, 1);
    fill(mixed, 80, 2);
    fill(noise, 100, 3);
    whole = encode(fresh, text, STORE_CODEC_ZSTD);
    assert_true(whole < LEN / 2);

    first = encode(c, mixed, STORE_CODEC_ZSTD);
    assert_true(first > LEN - LEN / 4);
    assert_true(encode(c, mixed, STORE_CODEC_ZSTD) < first + first / 32);
    (void)encode(c, noise, STORE_CODEC_RAW);
    (void)encode(c, text, STORE_CODEC_ZSTD); /* tried fast: it turns out to be text */
    assert_int_equal(encode(c, text, STORE_CODEC_ZSTD), whole);

    codec_free(fresh);
    codec_free(c);
    free(text);
    free(mixed);
    free(noise);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            encode__is_fast_where_little_is_to_be_had_and_thorough_elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
