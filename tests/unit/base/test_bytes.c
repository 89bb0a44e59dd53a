#include "base/bytes.h"
#include "tests/unit/unit.h"

static void
cursor__reads_what_buf_writes(void **state)
{
    struct buf b = BUF_INIT;
    struct cursor c;

    (void)state;
    buf_add_u8(&b, 0xab);
    buf_add_u16(&b, 0xabcd);
    buf_add_u32(&b, 0xabcdef01);
    buf_add_u64(&b, 0xabcdef0123456789);
    buf_add_varint(&b, 300);
    buf_add_str(&b, "tail");
    c = cursor_of(b.data, b.len);
    assert_int_equal(cursor_u8(&c), 0xab);
    assert_int_equal(cursor_u16(&c), 0xabcd);
    assert_int_equal(cursor_u32(&c), 0xabcdef01);
    assert_true(cursor_u64(&c) == 0xabcdef0123456789);
    assert_int_equal(cursor_varint(&c), 300);
    assert_false(cursor_done(&c)); /* not all read yet */
    assert_memory_equal(cursor_bytes(&c, 4), "tail", 4);
    assert_true(cursor_done(&c));
    buf_free(&b);
}

static void
cursor__stays_bad_and_reads_zero(void **state)
{
    static const uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8};

    (void)state;
    for (size_t have = 0; have < 8; have++) {
        struct cursor c = cursor_of(data, have);

        assert_true(cursor_u64(&c) == 0);
        assert_true(c.bad);
        assert_int_equal(c.left, have); /* nothing was taken */
        assert_int_equal(cursor_u8(&c), 0);
        assert_null(cursor_bytes(&c, 0));
        assert_int_equal(cursor_varint(&c), 0);
        assert_false(cursor_done(&c));
    }
}

static void
cursor_bytes__of_an_empty_input_are_there(void **state)
{
    struct cursor c = cursor_of(NULL, 0);

    (void)state;
    assert_non_null(cursor_bytes(&c, 0));
    assert_true(cursor_done(&c));
    assert_null(cursor_bytes(&c, 1));
    assert_true(c.bad);
    c = cursor_of("x", 1);
    assert_null(cursor_bytes(&c, SIZE_MAX));
}

static void
varint__has_one_form_only(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        bool ok;
        uint64_t v;
    } cases[] = {
        {"\x00", 1, true, 0},
        {"\x7f", 1, true, 127},
        {"\x80\x01", 2, true, 128},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, true, UINT64_MAX},
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 10, true, UINT64_C(1) << 63},
        {"", 0, false, 0},
        {"\x80", 1, false, 0},                                      /* cut off */
        {"\x80\x00", 2, false, 0},                                  /* 0 in two bytes */
        {"\xff\x00", 2, false, 0},                                  /* 127 in two */
        {"\x80\x80\x00", 3, false, 0},                              /* 0 in three */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10, false, 0}, /* 65 bits */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", 11, false, 0},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cursor c = cursor_of(cases[i].bytes, cases[i].len);
        uint64_t v = cursor_varint(&c);

        assert_true(v == cases[i].v);
        assert_int_equal(cursor_done(&c), cases[i].ok);
        assert_int_equal(c.bad, !cases[i].ok);
    }
}

static void
varint__goes_both_ways_at_every_width(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t around = UINT64_C(1) << bit;

        for (uint64_t v = around - 1; v <= around + 1; v++) {
            struct buf b = BUF_INIT;
            struct cursor c;

            buf_add_varint(&b, v);
            c = cursor_of(b.data, b.len);
            assert_true(cursor_varint(&c) == v);
            assert_true(cursor_done(&c));
            buf_free(&b);
        }
    }
}

static void
put_and_get__are_little_endian(void **state)
{
    uint8_t p[8];

    (void)state;
    put_u16(p, 0x1234);
    assert_memory_equal(p, "\x34\x12", 2);
    assert_int_equal(get_u16(p), 0x1234);
    put_u32(p, 0x12345678);
    assert_memory_equal(p, "\x78\x56\x34\x12", 4);
    assert_int_equal(get_u32(p), 0x12345678);
    put_u64(p, 0x0123456789abcdef);
    assert_memory_equal(p, "\xef\xcd\xab\x89\x67\x45\x23\x01", 8);
    assert_true(get_u64(p) == 0x0123456789abcdef);
}

static void
crc32c__agrees_with_rfc_3720(void **state)
{
    uint8_t data[48] = {0};
    uint32_t whole;

    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(0, data, 32), 0x8a9136aa);
    memset(data, 0xff, 32);
    assert_int_equal(crc32c(0, data, 32), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++) {
        data[i] = i;
    }
    assert_int_equal(crc32c(0, data, 32), 0x46dd794e);
    /* In pieces of every length it is the same. */
    whole = crc32c(0, data, sizeof data);
    for (size_t cut = 0; cut <= sizeof data; cut++) {
        assert_int_equal(crc32c(crc32c(0, data, cut), data + cut, sizeof data - cut),
                         whole);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursor__reads_what_buf_writes),
        cmocka_unit_test(cursor__stays_bad_and_reads_zero),
        cmocka_unit_test(cursor_bytes__of_an_empty_input_are_there),
        cmocka_unit_test(varint__has_one_form_only),
        cmocka_unit_test(varint__goes_both_ways_at_every_width),
        cmocka_unit_test(put_and_get__are_little_endian),
        cmocka_unit_test(crc32c__agrees_with_rfc_3720),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
