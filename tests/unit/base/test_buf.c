#include <inttypes.h>

#include "tests/unit/unit.h"

static void
buf__is_text_at_any_moment(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    assert_string_equal(buf_str(&b), "");
    buf_add(&b, NULL, 0);
    assert_string_equal(buf_str(&b), "");
    buf_add_str(&b, "abc");
    buf_add_u8(&b, 'd');
    buf_printf(&b, "-%d-%s", 12, "");
    assert_string_equal(buf_str(&b), "abcd-12-");
    assert_int_equal(b.len, 8);
    buf_reset(&b);
    assert_int_equal(b.len, 0);
    assert_string_equal(buf_str(&b), "");
    buf_free(&b);
    assert_null(b.data);
    buf_free(&b); /* twice is fine */
}

static void
buf__grows_through_its_boundaries(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    for (size_t i = 0; i < 10000; i++) {
        buf_add_u8(&b, (uint8_t)i);
        assert_true(b.cap > b.len);
        assert_int_equal(b.data[b.len], 0);
    }
    for (size_t i = 0; i < b.len; i++) {
        assert_int_equal(b.data[i], (uint8_t)i);
    }
    buf_free(&b);
}

static void
buf_reserve__makes_room_once(void **state)
{
    struct buf b = BUF_INIT;
    uint8_t *data;

    (void)state;
    buf_reserve(&b, 5000);
    data = b.data;
    assert_int_equal(b.len, 0);
    for (int i = 0; i < 5000; i++) {
        buf_add_u8(&b, 1);
    }
    assert_ptr_equal(b.data, data);
    buf_free(&b);
}

static void
integers__are_little_endian(void **state)
{
    static const uint8_t want[] = {1, 2, 1, 4, 3, 2, 1, 8, 7, 6, 5, 4, 3, 2, 1};
    struct buf b = BUF_INIT;

    (void)state;
    buf_add_u8(&b, 1);
    buf_add_u16(&b, 0x0102);
    buf_add_u32(&b, 0x01020304);
    buf_add_u64(&b, 0x0102030405060708);
    assert_int_equal(b.len, sizeof want);
    assert_memory_equal(b.data, want, sizeof want);
    buf_free(&b);
}

static void
varints__are_shortest(void **state)
{
    static const struct {
        uint64_t v;
        size_t len;
        uint8_t bytes[10];
    } cases[] = {
        {0, 1, {0}},
        {1, 1, {1}},
        {127, 1, {0x7f}},
        {128, 2, {0x80, 1}},
        {16383, 2, {0xff, 0x7f}},
        {16384, 3, {0x80, 0x80, 1}},
        {UINT64_MAX >> 1, 9, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}},
        {UINT64_MAX, 10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf b = BUF_INIT;

        buf_add_varint(&b, cases[i].v);
        assert_int_equal(b.len, cases[i].len);
        assert_memory_equal(b.data, cases[i].bytes, b.len);
        buf_free(&b);
    }
}

static void
buf_drop_front__keeps_the_rest(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    buf_drop_front(&b, 0);
    buf_add_str(&b, "abcdef");
    buf_drop_front(&b, 0);
    assert_string_equal(buf_str(&b), "abcdef");
    buf_drop_front(&b, 2);
    assert_string_equal(buf_str(&b), "cdef");
    buf_drop_front(&b, 4);
    assert_string_equal(buf_str(&b), "");
    assert_int_equal(b.len, 0);
    buf_free(&b);
}

static void
buf_steal__leaves_an_empty_one(void **state)
{
    struct buf b = BUF_INIT;
    char *s = buf_steal(&b);

    (void)state;
    assert_string_equal(s, "");
    free(s);
    buf_add_str(&b, "word");
    s = buf_steal(&b);
    assert_string_equal(s, "word");
    assert_null(b.data);
    assert_int_equal(b.len + b.cap, 0);
    free(s);
}

static void
buf_printf__takes_what_is_longer_than_its_room(void **state)
{
    struct buf b = BUF_INIT;
    char word[500];

    (void)state;
    memset(word, 'w', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    buf_printf(&b, "%s|%s", word, word);
    assert_int_equal(b.len, 999);
    assert_int_equal(b.data[499], '|');
    assert_int_equal(strlen(buf_str(&b)), 999);
    buf_free(&b);
}

static void
allocations__of_nothing_are_something(void **state)
{
    void *a = xmalloc(0);
    void *b = xcalloc(0, 8);
    void *c = xmemdup(NULL, 0);
    char *d = xasprintf("%s/%d", "a", 1);

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_string_equal(d, "a/1");
    a = xrealloc(a, 0);
    assert_non_null(a);
    free(a);
    free(b);
    free(c);
    free(d);
}

static void
buf_add_int__is_what_printf_writes(void **state)
{
    static const int64_t cases[] = {
        0,         7,        -7,        10,        -10,
        99,        100,      INT32_MAX, INT32_MIN, 1000000000000000000,
        INT64_MAX, INT64_MIN};
    struct buf got = BUF_INIT;
    struct buf want = BUF_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_add_int(&got, cases[i]);
        buf_printf(&want, "%" PRId64, cases[i]);
        assert_string_equal(buf_str(&got), buf_str(&want));
    }
    buf_free(&got);
    buf_free(&want);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf__is_text_at_any_moment),
        cmocka_unit_test(buf__grows_through_its_boundaries),
        cmocka_unit_test(buf_reserve__makes_room_once),
        cmocka_unit_test(integers__are_little_endian),
        cmocka_unit_test(varints__are_shortest),
        cmocka_unit_test(buf_add_int__is_what_printf_writes),
        cmocka_unit_test(buf_drop_front__keeps_the_rest),
        cmocka_unit_test(buf_steal__leaves_an_empty_one),
        cmocka_unit_test(buf_printf__takes_what_is_longer_than_its_room),
        cmocka_unit_test(allocations__of_nothing_are_something),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
