#include <sys/stat.h>

#include "base/rec.h"
#include "tests/unit/unit.h"

#define TYPE "gpurun.test.v1"

static struct rec *
parse_or_die(const void *data, size_t len)
{
    struct rec *r = NULL;
    struct err e;

    assert_ok(rec_parse(&r, data, len, TYPE, &e));
    return r;
}

static void
encoding__is_as_the_header_says(void **state)
{
    struct rec *r = rec_new(TYPE);
    struct buf b = BUF_INIT;

    (void)state;
    rec_add(r, "a", "plain = text");
    rec_add(r, "a", "again");
    rec_add(r, "empty", "");
    rec_add_bytes(r, "x_9.z", "\0\x1f\n\\\x7f\xff\xc3\xa9", 8);
    rec_add_int(r, "n", INT64_MIN);
    rec_add_hex(r, "h", "\xde\xad", 2);
    rec_addf(r, "f", "%d/%s", 3, "4");
    rec_encode(r, &b);
    assert_string_equal(buf_str(&b), TYPE "\n"
                                          "a=plain = text\n"
                                          "a=again\n"
                                          "empty=\n"
                                          "x_9.z=\\x00\\x1f\\x0a\\\\\\x7f\xff\xc3\xa9\n"
                                          "n=-9223372036854775808\n"
                                          "h=dead\n"
                                          "f=3/4\n");
    buf_free(&b);
    rec_free(r);
}

/* The property that signatures rest on, over every byte in every place. */
static void
parse__returns_what_was_encoded(void **state)
{
    struct rec *r = rec_new(TYPE);
    struct rec *back;
    struct buf once = BUF_INIT;
    struct buf twice = BUF_INIT;

    (void)state;
    for (int c = 0; c < 256; c++) {
        uint8_t three[] = {(uint8_t)c, 'm', (uint8_t)c};

        rec_add_bytes(r, "v", three, 3);
        rec_add_bytes(r, "w", three, 1);
    }
    rec_encode(r, &once);
    back = parse_or_die(once.data, once.len);
    assert_int_equal(rec_n_fields(back), 512);
    for (size_t i = 0; i < 256; i++) {
        size_t len;
        const char *v = rec_get_nth(back, "v", i, &len);

        assert_int_equal(len, 3);
        assert_int_equal((uint8_t)v[0], i);
        assert_int_equal((uint8_t)v[2], i);
        assert_int_equal(v[3], 0);
    }
    rec_encode(back, &twice);
    assert_int_equal(once.len, twice.len);
    assert_memory_equal(once.data, twice.data, once.len);
    buf_free(&once);
    buf_free(&twice);
    rec_free(back);
    rec_free(r);
}

static void
parse__refuses_every_other_spelling(void **state)
{
#define TYPE_LINE TYPE "\n"
    static const char *const bad[] = {
        "",
        "\n",
        TYPE,                           /* cut off */
        TYPE_LINE "k=v",                /* cut off */
        TYPE_LINE "\n",                 /* an empty line */
        TYPE_LINE "k\n",                /* no value */
        TYPE_LINE "=v\n",               /* no key */
        TYPE_LINE "K=v\n",              /* key outside its alphabet */
        TYPE_LINE "k-k=v\n",            /* ditto */
        TYPE_LINE " k=v\n",             /* ditto */
        TYPE_LINE "k =v\n",             /* ditto */
        TYPE_LINE "k=a\tb\n",           /* a raw control byte */
        TYPE_LINE "k=a\x7f\n",          /* ditto */
        TYPE_LINE "k=a\r\n",            /* ditto */
        TYPE_LINE "k=\\\n",             /* half an escape */
        TYPE_LINE "k=\\n\n",            /* an escape we do not write */
        TYPE_LINE "k=\\x0\n",           /* cut off */
        TYPE_LINE "k=\\x0A\n",          /* upper case */
        TYPE_LINE "k=\\X0a\n",          /* ditto */
        TYPE_LINE "k=\\x41\n",          /* 'A' has a shorter spelling */
        TYPE_LINE "k=\\x20\n",          /* so has the space */
        TYPE_LINE "k=\\x5c\n",          /* and the backslash */
        TYPE_LINE "k=\\xff\n",          /* and bytes above */
        TYPE_LINE "k=v\nbroken\nk=v\n", /* in the middle */
        "Gpurun.test.v1\n",             /* type outside its alphabet */
        "gpurun test\n",                /* ditto */
        "\xef\xbb\xbf" TYPE_LINE,       /* byte order mark */
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct rec *r = (void *)&bad;
        struct err e;

        assert_refused(rec_parse(&r, bad[i], strlen(bad[i]), NULL, &e), ERR_CORRUPT);
        assert_ptr_equal(r, &bad); /* untouched */
    }
}

static void
parse__refuses_zero_bytes(void **state)
{
    static const char text[] = TYPE "\nk=a\0b\n";
    static const char type[] = "gpu\0run\n";
    struct rec *r = NULL;
    struct err e;

    (void)state;
    assert_refused(rec_parse(&r, text, sizeof text - 1, NULL, &e), ERR_CORRUPT);
    assert_refused(rec_parse(&r, type, sizeof type - 1, NULL, &e), ERR_CORRUPT);
    assert_refused(rec_parse(&r, NULL, 0, NULL, &e), ERR_CORRUPT);
}

static void
parse__tells_another_type_from_garbage(void **state)
{
    struct rec *r = NULL;
    struct err e;

    (void)state;
    assert_refused(rec_parse(&r, "gpurun.test.v2\n", 15, TYPE, &e), ERR_VERSION);
    assert_string_equal(e.msg,
                        "a gpurun.test.v2 record where gpurun.test.v1 was expected");
    assert_ok(rec_parse(&r, "gpurun.test.v2\n", 15, NULL, &e));
    assert_string_equal(rec_type(r), "gpurun.test.v2");
    assert_int_equal(rec_n_fields(r), 0);
    rec_free(r);
}

static void
keys__are_at_most_64_bytes(void **state)
{
    for (size_t len = 63; len <= 65; len++) {
        struct buf b = BUF_INIT;
        struct rec *r = NULL;
        struct err e;

        (void)state;
        buf_add_str(&b, TYPE "\n");
        for (size_t i = 0; i < len; i++) {
            buf_add_u8(&b, 'k');
        }
        buf_add_str(&b, "=v\n");
        if (len <= 64) {
            assert_ok(rec_parse(&r, b.data, b.len, TYPE, &e));
            rec_free(r);
        } else {
            assert_refused(rec_parse(&r, b.data, b.len, TYPE, &e), ERR_CORRUPT);
        }
        buf_free(&b);
    }
}

static void
limits__of_size_hold_to_the_byte(void **state)
{
    const size_t head = strlen(TYPE "\nk=");
    struct buf b = BUF_INIT;
    struct rec *r = NULL;
    struct err e;

    (void)state;
    buf_add_str(&b, TYPE "\nk=");
    buf_reserve(&b, REC_MAX_BYTES);
    memset(b.data + head, 'v', REC_MAX_BYTES - head + 1);
    b.len = REC_MAX_BYTES - 1;
    buf_add_u8(&b, '\n');
    assert_ok(rec_parse(&r, b.data, b.len, TYPE, &e));
    rec_free(r);
    b.data[b.len - 1] = 'v';
    buf_add_u8(&b, '\n');
    assert_refused(rec_parse(&r, b.data, b.len, TYPE, &e), ERR_CORRUPT);
    buf_free(&b);
}

static void
limits__of_fields_hold_to_the_field(void **state)
{
    struct buf b = BUF_INIT;
    struct rec *r = NULL;
    struct err e;

    (void)state;
    buf_add_str(&b, TYPE "\n");
    for (int i = 0; i < REC_MAX_FIELDS; i++) {
        buf_add_str(&b, "k=v\n");
    }
    assert_ok(rec_parse(&r, b.data, b.len, TYPE, &e));
    assert_int_equal(rec_count(r, "k"), REC_MAX_FIELDS);
    rec_free(r);
    buf_add_str(&b, "k=v\n");
    assert_refused(rec_parse(&r, b.data, b.len, TYPE, &e), ERR_CORRUPT);
    buf_free(&b);
}

static void
get__finds_values_by_key_and_number(void **state)
{
    struct rec *r = rec_new(TYPE);
    const char *early;
    size_t len = 77;

    (void)state;
    assert_null(rec_get(r, "a"));
    assert_int_equal(rec_count(r, "a"), 0);
    rec_add(r, "b", "b0");
    early = rec_get(r, "b");
    rec_add(r, "a", "a0");
    rec_add(r, "b", "b1");
    rec_add(r, "ab", "ab0");
    rec_add(r, "b", "b2");
    assert_string_equal(rec_get(r, "a"), "a0");
    assert_string_equal(rec_get(r, "b"), "b0");
    assert_string_equal(rec_get_nth(r, "b", 1, &len), "b1");
    assert_int_equal(len, 2);
    assert_string_equal(rec_get_nth(r, "b", 2, NULL), "b2");
    len = 77;
    assert_null(rec_get_nth(r, "b", 3, &len));
    assert_int_equal(len, 77);
    assert_null(rec_get_nth(r, "a", 1, NULL));
    assert_null(rec_get(r, ""));
    assert_null(rec_get(r, "c"));
    assert_int_equal(rec_count(r, "b"), 3);
    assert_int_equal(rec_count(r, "c"), 0);
    assert_true(rec_has(r, "ab"));
    assert_false(rec_has(r, "aa"));
    /* Many more fields later the early value is where it was. */
    for (int i = 0; i < 5000; i++) {
        rec_add_int(r, "more", i);
    }
    assert_ptr_equal(rec_get(r, "b"), early);
    assert_string_equal(early, "b0");
    assert_string_equal(rec_get_nth(r, "more", 4999, NULL), "4999");
    rec_free(r);
}

static void
fields__can_be_walked_in_order(void **state)
{
    struct rec *r = rec_new(TYPE);
    const char *v;
    size_t len;

    (void)state;
    rec_add(r, "z", "1");
    rec_add(r, "a", "22");
    (void)rec_get(r, "a"); /* sorting for look-ups must not reorder */
    assert_string_equal(rec_field(r, 0, &v, &len), "z");
    assert_string_equal(v, "1");
    assert_int_equal(len, 1);
    assert_string_equal(rec_field(r, 1, &v, NULL), "a");
    assert_string_equal(v, "22");
    assert_string_equal(rec_field(r, 1, NULL, &len), "a");
    assert_int_equal(len, 2);
    rec_free(r);
}

static void
need_int__takes_canonical_integers_in_range(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t v;
    } cases[] = {
        {"0", true, 0},
        {"7", true, 7},
        {"-7", true, -7},
        {"10", true, 10},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"92233720368547758070", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"-0", false, 0},
        {"00", false, 0},
        {"07", false, 0},
        {"-07", false, 0},
        {"+7", false, 0},
        {" 7", false, 0},
        {"7 ", false, 0},
        {"7.0", false, 0},
        {"0x7", false, 0},
        {"--7", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rec *r = rec_new(TYPE);
        int64_t v = 1234;
        struct err e;

        rec_add(r, "n", cases[i].text);
        if (cases[i].ok) {
            assert_ok(rec_need_int(r, "n", INT64_MIN, INT64_MAX, &v, &e));
            assert_true(v == cases[i].v);
        } else {
            assert_refused(rec_need_int(r, "n", INT64_MIN, INT64_MAX, &v, &e),
                           ERR_INVALID);
            assert_int_equal(v, 1234);
        }
        rec_free(r);
    }
}

static void
need_int__holds_its_bounds(void **state)
{
    struct rec *r = rec_new(TYPE);
    int64_t v = 0;
    struct err e;

    (void)state;
    rec_add_bytes(r, "zero", "7\0", 2);
    rec_add(r, "n", "7");
    assert_ok(rec_need_int(r, "n", 7, 7, &v, &e));
    assert_int_equal(v, 7);
    assert_refused(rec_need_int(r, "n", 8, 100, &v, &e), ERR_INVALID);
    assert_string_equal(e.msg, "'n' of gpurun.test.v1 is no integer from 8 to 100");
    assert_refused(rec_need_int(r, "n", 0, 6, &v, &e), ERR_INVALID);
    assert_refused(rec_need_int(r, "m", 0, 6, &v, &e), ERR_INVALID);
    assert_string_equal(e.msg, "gpurun.test.v1 lacks 'm'");
    assert_refused(rec_need_int(r, "zero", 0, 100, &v, &e), ERR_INVALID);
    assert_ok(rec_opt_int(r, "m", 0, 6, -5, &v, &e));
    assert_int_equal(v, -5);
    assert_ok(rec_opt_int(r, "n", 0, 7, -5, &v, &e));
    assert_int_equal(v, 7);
    assert_refused(rec_opt_int(r, "n", 0, 6, -5, &v, &e), ERR_INVALID);
    rec_free(r);
}

static void
need__refuses_two_answers(void **state)
{
    struct rec *r = rec_new(TYPE);
    const char *s = NULL;
    uint8_t h[1];
    int64_t v;
    struct err e;

    (void)state;
    rec_add(r, "k", "11");
    rec_add(r, "k", "11");
    assert_refused(rec_need_int(r, "k", 0, 99, &v, &e), ERR_INVALID);
    assert_string_equal(e.msg, "gpurun.test.v1 has more than one 'k'");
    assert_refused(rec_opt_int(r, "k", 0, 99, 0, &v, &e), ERR_INVALID);
    assert_refused(rec_need_hex(r, "k", h, 1, &e), ERR_INVALID);
    assert_refused(rec_need_str(r, "k", &s, &e), ERR_INVALID);
    rec_free(r);
}

static void
need_hex__takes_exactly_so_many_bytes(void **state)
{
    struct rec *r = rec_new(TYPE);
    uint8_t h[2] = {1, 2};
    struct err e;

    (void)state;
    rec_add(r, "good", "00ff");
    rec_add(r, "short", "00f");
    rec_add(r, "less", "00");
    rec_add(r, "more", "00ff00");
    rec_add(r, "upper", "00FF");
    rec_add(r, "junk", "00fg");
    assert_refused(rec_need_hex(r, "short", h, 2, &e), ERR_INVALID);
    assert_refused(rec_need_hex(r, "less", h, 2, &e), ERR_INVALID);
    assert_refused(rec_need_hex(r, "more", h, 2, &e), ERR_INVALID);
    assert_refused(rec_need_hex(r, "upper", h, 2, &e), ERR_INVALID);
    assert_refused(rec_need_hex(r, "junk", h, 2, &e), ERR_INVALID);
    assert_refused(rec_need_hex(r, "none", h, 2, &e), ERR_INVALID);
    assert_int_equal(h[0], 1); /* untouched by all of these */
    assert_int_equal(h[1], 2);
    assert_ok(rec_need_hex(r, "good", h, 2, &e));
    assert_int_equal(h[0], 0);
    assert_int_equal(h[1], 0xff);
    rec_free(r);
}

static void
need_str__is_neither_empty_nor_cut(void **state)
{
    struct rec *r = rec_new(TYPE);
    const char *s = NULL;
    struct err e;

    (void)state;
    rec_add(r, "good", "text");
    rec_add(r, "empty", "");
    rec_add_bytes(r, "zero", "a\0b", 3);
    assert_ok(rec_need_str(r, "good", &s, &e));
    assert_string_equal(s, "text");
    assert_refused(rec_need_str(r, "empty", &s, &e), ERR_INVALID);
    assert_refused(rec_need_str(r, "zero", &s, &e), ERR_INVALID);
    assert_refused(rec_need_str(r, "none", &s, &e), ERR_INVALID);
    assert_string_equal(s, "text");
    rec_free(r);
}

/* 200,000 values are read one by one in a straight line, whatever the keys are. */
static void
big_records__are_not_slow(void **state)
{
    struct rec *r = rec_new(TYPE);
    char key[32];

    (void)state;
    for (int i = 0; i < 200000; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        rec_add_int(r, i % 2 == 0 ? "list" : key, i);
    }
    for (size_t i = 0; i < 100000; i++) {
        assert_non_null(rec_get_nth(r, "list", i, NULL));
        (void)snprintf(key, sizeof key, "k%zu", 2 * i + 1);
        assert_non_null(rec_get(r, key));
    }
    rec_free(r);
}

static void
save_and_load__go_through_a_file(void **state)
{
    char *path = path_join(*state, "rec");
    struct rec *r = rec_new(TYPE);
    struct rec *back = NULL;
    struct stat st;
    struct err e;

    assert_refused(rec_load(&back, path, TYPE, &e), ERR_NOT_FOUND);
    rec_add(r, "k", "v\n");
    assert_ok(rec_save(r, path, &e));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_ok(rec_load(&back, path, TYPE, &e));
    assert_string_equal(rec_get(back, "k"), "v\n");
    rec_free(back);
    back = NULL;
    assert_refused(rec_load(&back, path, "gpurun.other.v1", &e), ERR_VERSION);
    assert_non_null(strstr(e.msg, path));
    assert_null(back);
    assert_ok(file_replace(path, TYPE "\nk=v", strlen(TYPE) + 4, &e));
    assert_refused(rec_load(&back, path, TYPE, &e), ERR_CORRUPT);
    rec_free(r);
    free(path);
}

static void
save__refuses_what_could_not_be_read_again(void **state)
{
    char *path = path_join(*state, "rec");
    struct rec *r = rec_new(TYPE);
    char *big = xcalloc(1, REC_MAX_BYTES);
    struct err e;

    rec_add_bytes(r, "k", big, REC_MAX_BYTES / 4); /* 4 bytes for each of them */
    assert_refused(rec_save(r, path, &e), ERR_RANGE);
    assert_false(file_exists(path));
    rec_free(r);
    r = rec_new(TYPE);
    for (int i = 0; i <= REC_MAX_FIELDS; i++) {
        rec_add(r, "k", "");
    }
    assert_refused(rec_save(r, path, &e), ERR_RANGE);
    assert_false(file_exists(path));
    rec_free(r);
    rec_free(NULL);
    rec_free_wiped(NULL);
    free(big);
    free(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoding__is_as_the_header_says),
        cmocka_unit_test(parse__returns_what_was_encoded),
        cmocka_unit_test(parse__refuses_every_other_spelling),
        cmocka_unit_test(parse__refuses_zero_bytes),
        cmocka_unit_test(parse__tells_another_type_from_garbage),
        cmocka_unit_test(keys__are_at_most_64_bytes),
        cmocka_unit_test(limits__of_size_hold_to_the_byte),
        cmocka_unit_test(limits__of_fields_hold_to_the_field),
        cmocka_unit_test(get__finds_values_by_key_and_number),
        cmocka_unit_test(fields__can_be_walked_in_order),
        cmocka_unit_test(need_int__takes_canonical_integers_in_range),
        cmocka_unit_test(need_int__holds_its_bounds),
        cmocka_unit_test(need__refuses_two_answers),
        cmocka_unit_test(need_hex__takes_exactly_so_many_bytes),
        cmocka_unit_test(need_str__is_neither_empty_nor_cut),
        cmocka_unit_test(big_records__are_not_slow),
        unit_test_in_dir(save_and_load__go_through_a_file),
        unit_test_in_dir(save__refuses_what_could_not_be_read_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
